//! The alerts of one rule: Prometheus's state machine.
//!
//! ```text
//! absent ── met ─> Pending ── met for `for` ─> Firing ── not met, nor kept ─> Inactive ── 15 min ─> absent
//!    ^── not met ────┘ ^──────── `for` grew ─────┘          met again: a new Pending ──┘
//! ```
//!
//! An alert is its labels. All times are slots of the group, whatever the query offset.

use skerry_model::{InvalidLabels, Labels, Sample, UnixMillis};
use skerry_promapi::{ActiveAlert, AlertState};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long an alert that ended is remembered and said again to have ended.
const RESOLVED_RETENTION: Duration = Duration::from_secs(15 * 60);

/// The series that say which alerts there are.
pub(super) const ALERTS: &str = "ALERTS";
/// The series from which state is taken up after a restart.
pub(super) const ALERTS_FOR_STATE: &str = "ALERTS_FOR_STATE";

/// An alert, apart from its labels.
#[derive(Debug, Clone)]
pub(super) struct Active {
    pub(super) annotations: Labels,
    pub(super) value: f64,
    pub(super) state: AlertState,
    /// Before the last evaluation.
    was: AlertState,
    /// Whether it fired before a restart and was taken up by the last evaluation.
    is_restored: bool,
    pub(super) active_at: UnixMillis,
    pub(super) fired_at: Option<UnixMillis>,
    pub(super) resolved_at: Option<UnixMillis>,
    pub(super) last_sent_at: Option<UnixMillis>,
    pub(super) keep_firing_since: Option<UnixMillis>,
    /// Its `ALERTS` while pending and while firing, and its `ALERTS_FOR_STATE`.
    series: [Labels; 3],
}

/// A result of the rule's expression, with its annotations.
#[derive(Debug, Clone)]
pub(super) struct Met {
    pub(super) value: f64,
    pub(super) annotations: Labels,
}

/// Samples of series.
pub(super) type Rows = Vec<(Labels, Sample)>;

/// What the rule demands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demands {
    /// `for`
    pub(super) hold: Duration,
    /// `keep_firing_for`
    pub(super) keep_firing: Duration,
    /// Most alerts that are pending or fire; 0 is no limit.
    pub(super) limit: usize,
}

/// An alert whose state changed.
#[derive(Debug, Clone)]
pub(super) struct Changed {
    pub(super) labels: Labels,
    pub(super) alert: Active,
    pub(super) was: AlertState,
    pub(super) is: AlertState,
    pub(super) is_restored: bool,
}

/// State that a series holds from before a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Before {
    /// Since when the condition had been met.
    pub(super) active_at: UnixMillis,
    /// The last evaluation that said so.
    pub(super) down_at: UnixMillis,
}

impl Before {
    /// Whether it fired.
    fn fired(self, hold: Duration) -> bool {
        span_ms(self.active_at, self.down_at) >= millis(hold)
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// From `from` to `to`, in milliseconds, below zero where `to` is earlier.
fn span_ms(from: UnixMillis, to: UnixMillis) -> i64 {
    to.0.saturating_sub(from.0)
}

impl Active {
    fn new(labels: &Labels, met: Met, at: UnixMillis) -> Result<Self, InvalidLabels> {
        let for_state = labels.with("__name__", ALERTS_FOR_STATE)?;
        let alerts = labels.with("__name__", ALERTS)?;
        let [pending, firing] =
            [AlertState::Pending, AlertState::Firing].map(|s| alerts.with("alertstate", s.as_str()));
        Ok(Self {
            annotations: met.annotations,
            value: met.value,
            state: AlertState::Pending,
            was: AlertState::Inactive,
            is_restored: false,
            active_at: at,
            fired_at: None,
            resolved_at: None,
            last_sent_at: None,
            keep_firing_since: None,
            series: [pending?, firing?, for_state],
        })
    }

    fn needs_sending(&self, at: UnixMillis, resend_delay: Duration) -> bool {
        if self.state == AlertState::Pending {
            return false;
        }
        let Some(sent) = self.last_sent_at else { return true };
        self.resolved_at.is_some_and(|resolved| resolved > sent) || span_ms(sent, at) > millis(resend_delay)
    }

    /// That it is gone with its rule.
    pub(super) fn gone(&self, labels: &Labels) -> Changed {
        let is = AlertState::Inactive;
        Changed { labels: labels.clone(), alert: self.clone(), was: self.state, is, is_restored: false }
    }

    /// Moves all of its times, when the wall clock was set.
    pub(super) fn shift(&mut self, by_ms: i64) {
        let others = [&mut self.fired_at, &mut self.resolved_at, &mut self.last_sent_at, &mut self.keep_firing_since];
        for at in others.into_iter().flatten().chain([&mut self.active_at]) {
            at.0 = at.0.saturating_add(by_ms);
        }
    }
}

/// All alerts of a rule.
#[derive(Debug, Default)]
pub(super) struct Alerts(BTreeMap<Labels, Active>);

impl Alerts {
    /// Takes the results of an evaluation at `at`. What a new alert was before a restart is asked of `before`; of those
    /// that fired then, firing goes on. On an error nothing has changed, unless the limit is exceeded: then all alerts are
    /// gone. The changes come in either case.
    pub(super) fn take(
        &mut self,
        results: BTreeMap<Labels, Met>,
        at: UnixMillis,
        demands: Demands,
        before: impl Fn(&Labels) -> Option<Before>,
    ) -> (Vec<Changed>, Result<(), String>) {
        let is_met: BTreeSet<Labels> = results.keys().cloned().collect();
        let mut begun = Vec::new();
        let mut goes_on = Vec::new();
        for (labels, met) in results {
            if self.0.get(&labels).is_some_and(|alert| alert.state != AlertState::Inactive) {
                goes_on.push((labels, met));
                continue;
            }
            match Active::new(&labels, met, at) {
                Ok(alert) => begun.push((labels, alert)),
                Err(error) => return (Vec::new(), Err(error.to_string())),
            }
        }
        for alert in self.0.values_mut() {
            (alert.was, alert.is_restored) = (alert.state, false);
        }
        for (labels, met) in goes_on {
            if let Some(alert) = self.0.get_mut(&labels) {
                (alert.value, alert.annotations) = (met.value, met.annotations);
            }
        }
        for (labels, mut alert) in begun {
            if let Some(before) = before(&labels).filter(|before| before.fired(demands.hold)) {
                let fired_at = (before.active_at + demands.hold).min(at);
                (alert.active_at, alert.fired_at) = (before.active_at, Some(fired_at));
                (alert.state, alert.is_restored) = (AlertState::Firing, true);
            }
            self.0.insert(labels, alert);
        }
        let mut changes = Vec::new();
        let mut active = 0;
        self.0.retain(|labels, alert| {
            let stays = step(alert, is_met.contains(labels), at, demands);
            active += usize::from(stays && alert.state != AlertState::Inactive);
            let is = if stays { alert.state } else { AlertState::Inactive };
            if alert.was != is {
                changes.push(changed(labels, alert, is));
            }
            stays
        });
        if demands.limit > 0 && active > demands.limit {
            // Those that began and are gone again were never there.
            changes.retain(|change| change.was != AlertState::Inactive && change.is == AlertState::Inactive);
            for (labels, mut alert) in std::mem::take(&mut self.0) {
                if alert.was != AlertState::Inactive && alert.state != AlertState::Inactive {
                    alert.resolved_at = Some(at);
                    changes.push(changed(&labels, &alert, AlertState::Inactive));
                }
            }
            return (changes, Err(format!("exceeded limit of {} with {active} alerts", demands.limit)));
        }
        (changes, Ok(()))
    }

    /// What the alerts that are pending or fire write at `at`.
    pub(super) fn samples(&self, at: UnixMillis) -> (Rows, Rows) {
        let active = self.0.values().filter(|alert| alert.state != AlertState::Inactive);
        active
            .map(|alert| {
                let [pending, firing, for_state] = &alert.series;
                let series = if alert.state == AlertState::Firing { firing } else { pending };
                #[expect(clippy::cast_precision_loss, reason = "seconds are exact to 2^53")]
                let since = alert.active_at.0.div_euclid(1000) as f64;
                ((series.clone(), Sample { at, value: 1.0 }), (for_state.clone(), Sample { at, value: since }))
            })
            .unzip()
    }

    /// Alerts that have to be sent at `at`; they count as sent.
    pub(super) fn due(&mut self, at: UnixMillis, resend_delay: Duration) -> Vec<(Labels, Active)> {
        let due = self.0.iter_mut().filter(|(_, alert)| alert.needs_sending(at, resend_delay));
        due.map(|(labels, alert)| {
            alert.last_sent_at = Some(at);
            (labels.clone(), alert.clone())
        })
        .collect()
    }

    /// Takes up the pending time of before a restart, after the first evaluations: the time down does not count, and
    /// who would fire within the grace period fires at its end.
    pub(super) fn restore(
        &mut self,
        now: UnixMillis,
        hold: Duration,
        grace: Duration,
        before: impl Fn(&Labels) -> Option<Before>,
    ) {
        for (labels, alert) in self.0.iter_mut().filter(|(_, alert)| alert.state == AlertState::Pending) {
            let Some(before) = before(labels) else { continue };
            let remaining = millis(hold).saturating_sub(span_ms(before.active_at, before.down_at));
            alert.active_at.0 = if remaining <= 0 {
                before.active_at.0
            } else if remaining < millis(grace) {
                now.0.saturating_add(millis(grace)).saturating_sub(millis(hold))
            } else {
                before.active_at.0.saturating_add(span_ms(before.down_at, now))
            };
        }
    }

    /// Alerts that are pending or fire.
    pub(super) fn active(&self) -> impl Iterator<Item = (&Labels, &Active)> {
        self.0.iter().filter(|(_, alert)| alert.state != AlertState::Inactive)
    }

    /// Whether an alert of these labels is pending or fires.
    pub(super) fn is_active(&self, labels: &Labels) -> bool {
        self.0.get(labels).is_some_and(|alert| alert.state != AlertState::Inactive)
    }

    /// How many there are, those that ended among them.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn shift(&mut self, by_ms: i64) {
        self.0.values_mut().for_each(|alert| alert.shift(by_ms));
    }

    /// For the API.
    pub(super) fn shown(&self) -> Vec<ActiveAlert> {
        let shown = |(labels, alert): (&Labels, &Active)| ActiveAlert {
            labels: labels.clone(),
            annotations: alert.annotations.clone(),
            state: alert.state,
            active_at: alert.active_at,
            keep_firing_since: alert.keep_firing_since,
            value: alert.value,
        };
        self.active().map(shown).collect()
    }
}

fn changed(labels: &Labels, alert: &Active, is: AlertState) -> Changed {
    Changed { labels: labels.clone(), alert: alert.clone(), was: alert.was, is, is_restored: alert.is_restored }
}

/// One alert at one evaluation; whether it stays.
fn step(alert: &mut Active, is_met: bool, at: UnixMillis, demands: Demands) -> bool {
    if is_met {
        alert.keep_firing_since = None;
    } else {
        let keeps = alert.state == AlertState::Firing && !demands.keep_firing.is_zero() && {
            let since = *alert.keep_firing_since.get_or_insert(at);
            span_ms(since, at) < millis(demands.keep_firing)
        };
        let is_forgotten = alert.resolved_at.is_some_and(|ended| span_ms(ended, at) > millis(RESOLVED_RETENTION));
        if alert.state == AlertState::Pending || is_forgotten {
            return false;
        }
        if !keeps {
            if alert.state != AlertState::Inactive {
                (alert.state, alert.resolved_at) = (AlertState::Inactive, Some(at));
            }
            return true;
        }
    }
    let is_long = span_ms(alert.active_at, at) >= millis(demands.hold);
    match alert.state {
        AlertState::Pending if is_long => (alert.state, alert.fired_at) = (AlertState::Firing, Some(at)),
        // Its `for` has grown.
        AlertState::Firing if !is_long => {
            (alert.state, alert.fired_at, alert.last_sent_at) = (AlertState::Pending, None, None);
        }
        _ => {}
    }
    true
}
