//! One evaluation of a group: its rules in order, each seeing what those before it wrote.

use super::alerts::{Active, Alerts, Changed};
use super::group::Group;
use super::overlay::{Overlay, Written};
use super::restore::Memory;
use super::rule::{Moment, Outcome, Room, Rule, Work};
use crate::Now;
use crate::rules::texts::Texts;
use crate::rules::{Change, Round, RuleError, Settings, Stage};
use skerry_model::{Alert, Labels, Sample, UnixMillis, stale_nan};
use skerry_promapi::{AlertState, RuleHealth};
use skerry_promql::Source;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// What stays the same for all rules of an evaluation.
pub(super) struct Turning<'a> {
    /// The group's slot.
    pub(super) at: UnixMillis,
    pub(super) now: Now,
    pub(super) source: &'a dyn Source,
    pub(super) settings: &'a Settings,
}

impl Turning<'_> {
    fn clock(&self) -> Duration {
        self.settings.stopwatch.map_or(Duration::ZERO, |stopwatch| stopwatch())
    }
}

impl Group {
    /// Evaluates it.
    pub(super) fn evaluate(&mut self, turning: &Turning<'_>, mut room: Room) -> Round {
        let begun = turning.clock();
        let mut round = Round::default();
        let mut written = Written::new(self.shared.clone());
        for number in 0..self.rules.len() {
            let had = self.rules[number].held();
            self.rule(number, turning, room, &mut written, &mut round);
            let has = self.rules[number].held();
            room.alerts = (room.alerts + had.0).saturating_sub(has.0);
            room.series = (room.series + had.1).saturating_sub(has.1);
        }
        let leaving = std::mem::take(&mut self.leaving);
        let leaving = written.without(leaving);
        end(&mut written, leaving, before(turning.at, self.offset));
        self.tell_gone(turning, &mut round);
        if self.restores_in > 0 {
            self.restores_in -= 1;
            if self.restores_in == 0 {
                self.restore(turning, &mut round);
            }
        }
        round.samples = written.samples;
        (self.last, self.took) = (Some(turning.at), turning.clock().saturating_sub(begun));
        (self.evaluations, self.samples) = (self.evaluations + 1, round.samples.len() as u64);
        round
    }

    fn rule(&mut self, number: usize, turning: &Turning<'_>, room: Room, written: &mut Written, round: &mut Round) {
        let &Turning { at, source, settings, .. } = turning;
        let begun = turning.clock();
        let overlay = Overlay { source, written };
        let texts = Texts {
            external_labels: &settings.external_labels,
            external_url: &settings.external_url,
            at,
            limits: settings.limits.query,
            bytes_max: settings.limits.text_bytes_max,
            source: &overlay,
        };
        let moment = Moment {
            at,
            offset: self.offset,
            limit: self.limit,
            writes: self.restores_in == 0,
            room,
            limits: &settings.limits,
            source: &overlay,
            texts: &texts,
        };
        let looks_at = moment.looks_at();
        let rule = &mut self.rules[number];
        let asks = self.restores_in > 0 && settings.restore_firing;
        let memory = asks.then(|| Memory::of(rule, turning, self.offset));
        let Outcome { samples, ended, changes, values, error, template_error } =
            rule.evaluate(&moment, |labels| memory.as_ref().and_then(|memory| memory.of_alert(labels)));
        let is_good = error.is_none();
        let mut is_left_out = false;
        for (metric, samples) in samples {
            is_left_out |= written.add(&metric, samples);
        }
        end(written, ended, looks_at);
        let error = error.or_else(|| is_left_out.then(|| LEFT_OUT.to_owned()));
        let is_well = error.is_none();
        rule.health = if is_well { RuleHealth::Good } else { RuleHealth::Bad };
        rule.last = Some(at);
        let is_new_error = differs(&mut rule.last_error, error);
        // A failed evaluation expanded no templates, or not all.
        let is_new_remark = is_good && differs(&mut rule.template_error, template_error);
        let mut tell = |stage, text: &Arc<str>, is_new| {
            round.errors.push(RuleError {
                file: Arc::clone(&self.file),
                group: Arc::clone(&self.name),
                rule: Arc::clone(&rule.name),
                stage,
                text: Arc::clone(text),
                is_new,
            });
        };
        if !is_well {
            tell(Stage::Evaluation, &rule.last_error, is_new_error);
        }
        if is_good && !rule.template_error.is_empty() {
            tell(Stage::Template, &rule.template_error, is_new_remark);
        }
        if let Some(error) = memory.and_then(|memory| memory.error()) {
            tell(Stage::Restore, &error, true);
        }
        let link = Link::of(rule, turning, self.slots.interval());
        round.values = round.values.saturating_add(values);
        round.changes.extend(changes.into_iter().map(|change| link.change(change)));
        if is_good {
            if let Work::Alerting { alerts, .. } = &mut rule.work {
                let due = alerts.due(at, settings.resend_delay);
                round.alerts.extend(due.into_iter().map(|(labels, alert)| link.alert(&labels, &alert)));
            }
        } else {
            self.failures += 1;
        }
        rule.took = turning.clock().saturating_sub(begun);
    }

    /// Takes up what was pending before a restart. Rules that wait for less than the grace period begin anew.
    fn restore(&mut self, turning: &Turning<'_>, round: &mut Round) {
        let settings = turning.settings;
        for rule in &mut self.rules {
            let Work::Alerting { hold, alerts, .. } = &rule.work else { continue };
            let hold = *hold;
            if hold < settings.grace || alerts.active().all(|(_, alert)| alert.state != AlertState::Pending) {
                continue;
            }
            let memory = Memory::of(rule, turning, self.offset);
            if let Work::Alerting { alerts, .. } = &mut rule.work {
                // By the clock and not by the slot: who waits for the grace period waits for it whole, as in Prometheus.
                alerts.restore(turning.now.wall, hold, settings.grace, |labels| memory.of_alert(labels));
            }
            round.errors.extend(memory.error().map(|text| RuleError {
                file: Arc::clone(&self.file),
                group: Arc::clone(&self.name),
                rule: Arc::clone(&rule.name),
                stage: Stage::Restore,
                text,
                is_new: true,
            }));
        }
    }

    /// Tells of the alerts of rules that are gone since a reload, unless another rule has them.
    fn tell_gone(&mut self, turning: &Turning<'_>, round: &mut Round) {
        for gone in std::mem::take(&mut self.gone) {
            if !self.rules.iter().filter_map(Rule::alerts).any(|alerts| alerts.is_active(&gone.labels)) {
                round.changes.push(gone.told(turning.at, turning.now));
            }
        }
    }
}

/// An alert whose rule is gone.
#[derive(Debug)]
pub(super) struct Gone {
    /// Without external labels.
    pub(super) labels: Labels,
    change: Change,
}

impl Gone {
    /// The alerts of a rule that goes.
    pub(super) fn of(rule: &Rule, turning: &Turning<'_>, interval: Duration) -> Vec<Self> {
        let link = Link::of(rule, turning, interval);
        let active = rule.alerts().into_iter().flat_map(Alerts::active);
        active.map(|(labels, alert)| Self { labels: labels.clone(), change: link.change(alert.gone(labels)) }).collect()
    }

    /// Its end.
    pub(super) fn told(mut self, at: UnixMillis, now: Now) -> Change {
        (self.change.alert.ends_at, self.change.alert.updated_at) = (at, now.wall);
        self.change
    }
}

/// A moment less a span.
pub(super) fn before(at: UnixMillis, span: Duration) -> UnixMillis {
    UnixMillis(at.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
}

/// Said where a rule wrote a series that an earlier one had written otherwise; its alerts go on all the same.
const LEFT_OUT: &str = "duplicate sample for timestamp";

/// Says of series that they ended.
fn end(written: &mut Written, ended: Vec<Labels>, at: UnixMillis) {
    for labels in ended {
        let metric: Arc<str> = labels.metric().into();
        written.add(&metric, [(labels, Sample { at, value: stale_nan() })]);
    }
}

/// Keeps the error, or that there is none; whether it is another one than before, and one at all.
fn differs(held: &mut Arc<str>, error: Option<String>) -> bool {
    let error = error.unwrap_or_default();
    let is_new = !error.is_empty() && **held != *error;
    if **held != *error {
        *held = error.into();
    }
    is_new
}

/// How the alerts of a rule are told to others.
struct Link<'a> {
    rule: Arc<str>,
    /// Its expression.
    text: Arc<str>,
    settings: &'a Settings,
    at: UnixMillis,
    now: Now,
    /// How long what is said holds, unless it is said again.
    holds: Duration,
}

impl<'a> Link<'a> {
    fn of(rule: &Rule, turning: &Turning<'a>, interval: Duration) -> Self {
        let &Turning { at, now, settings, .. } = turning;
        // Two evaluations or sendings may fail.
        let holds = interval.max(settings.resend_delay).saturating_mul(4);
        Self { rule: Arc::clone(&rule.name), text: Arc::clone(&rule.text), settings, at, now, holds }
    }

    fn alert(&self, labels: &Labels, alert: &Active) -> Alert {
        let external = self.settings.external_labels.iter().filter(|(name, _)| labels.value(name).is_empty());
        Alert {
            // Labels that are full to their bounds stay as they are.
            labels: Labels::new(labels.iter().chain(external)).unwrap_or_else(|_| labels.clone()),
            annotations: alert.annotations.clone(),
            starts_at: alert.fired_at.unwrap_or(alert.active_at),
            ends_at: alert.resolved_at.unwrap_or_else(|| self.at + self.holds),
            is_timeout: false,
            generator_url: link(&self.settings.external_url, &self.text),
            updated_at: self.now.wall,
        }
    }

    fn change(&self, Changed { labels, alert, was, is, is_restored }: Changed) -> Change {
        let mut told = self.alert(&labels, &alert);
        if is == AlertState::Inactive {
            told.ends_at = self.at;
        }
        Change { alert: told, value: alert.value, rule: Arc::clone(&self.rule), was, is, is_restored }
    }
}

/// Where an expression can be looked at: Prometheus's own path, with the expression as a query's value.
fn link(external_url: &str, expr: &str) -> String {
    let mut url = format!("{}/graph?g0.expr=", external_url.trim_end_matches('/'));
    for byte in expr.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => url.push(char::from(byte)),
            b' ' => url.push('+'),
            _ => {
                let _ = write!(url, "%{byte:02X}");
            }
        }
    }
    url.push_str("&g0.tab=1");
    url
}
