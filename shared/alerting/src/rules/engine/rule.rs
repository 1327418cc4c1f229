//! A rule with its state, and its evaluation.

use super::alerts::{ALERTS, ALERTS_FOR_STATE, Alerts, Before, Changed, Demands, Met, Rows};
use super::evaluation::before;
use crate::rules::texts::{Prepared, Texts, cut, prepared};
use crate::rules::{GroupSpec, Kind, Limits, RuleSpec};
use skerry_model::{Labels, Sample, UnixMillis, stale_nan};
use skerry_promapi::RuleHealth;
use skerry_promql::{Query, Series, Source, Span, Value};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// How many alerts and series there may be besides those that there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) alerts: usize,
    pub(super) series: usize,
}

/// What an evaluation is told.
pub(super) struct Moment<'a> {
    /// The group's slot.
    pub(super) at: UnixMillis,
    /// How far before it queries look.
    pub(super) offset: Duration,
    /// The group's.
    pub(super) limit: usize,
    /// Whether alerts write series.
    pub(super) writes: bool,
    /// How much more there may be of all rules.
    pub(super) room: Room,
    pub(super) limits: &'a Limits,
    pub(super) source: &'a dyn Source,
    pub(super) texts: &'a Texts<'a>,
}

impl Moment<'_> {
    /// The moment that queries look at and samples carry.
    pub(super) fn looks_at(&self) -> UnixMillis {
        before(self.at, self.offset)
    }
}

/// A rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    pub(super) query: Query,
    /// The expression on one line.
    pub(super) text: Arc<str>,
    /// Labels that it sets, as written, those of the group among them.
    pub(super) labels: Vec<(String, String)>,
    /// The same without those that are empty, which take a label away.
    pub(super) shown: Labels,
    pub(super) health: RuleHealth,
    pub(super) last_error: Arc<str>,
    /// The last error of a template, so that the same one is told once.
    pub(super) template_error: Arc<str>,
    pub(super) took: Duration,
    pub(super) last: Option<UnixMillis>,
    pub(super) work: Work,
    /// Series that the last good evaluation wrote.
    pub(super) wrote: Vec<Labels>,
}

/// What is particular to a kind of rule.
#[derive(Debug)]
pub(super) enum Work {
    /// With the labels of the last results in the order of [`Rule::wrote`].
    Recording {
        results: Vec<Labels>,
    },
    Alerting {
        hold: Duration,
        keep_firing: Duration,
        annotations: Labels,
        alerts: Alerts,
    },
}

/// What an evaluation gave.
#[derive(Default)]
pub(super) struct Outcome {
    /// By metric.
    pub(super) samples: Vec<(Arc<str>, Rows)>,
    /// Series that ended.
    pub(super) ended: Vec<Labels>,
    pub(super) changes: Vec<Changed>,
    pub(super) values: u64,
    /// Why it failed; the changes of an exceeded limit come all the same.
    pub(super) error: Option<String>,
    /// The first template that failed.
    pub(super) template_error: Option<String>,
}

impl Rule {
    pub(super) fn new(spec: RuleSpec, group: &GroupSpec) -> Self {
        let inherited = group.labels.iter().filter(|(name, _)| spec.labels.iter().all(|(own, _)| own != name));
        let mut labels: Vec<_> = spec.labels.iter().chain(inherited).cloned().collect();
        labels.sort_unstable();
        let work = match spec.kind {
            Kind::Recording => Work::Recording { results: Vec::new() },
            Kind::Alerting { hold, keep_firing, annotations } => {
                // Bounded where the file was read.
                let annotations = Labels::new(annotations).unwrap_or_default();
                Work::Alerting { hold, keep_firing, annotations, alerts: Alerts::default() }
            }
        };
        Self {
            name: spec.name,
            text: spec.query.to_string().into(),
            query: spec.query,
            shown: Labels::new(labels.iter().map(|(name, text)| (&**name, &**text))).unwrap_or_default(),
            labels,
            health: RuleHealth::Unknown,
            last_error: "".into(),
            template_error: "".into(),
            took: Duration::ZERO,
            last: None,
            work,
            wrote: Vec::new(),
        }
    }

    /// Metrics that it writes.
    pub(super) fn metrics(&self) -> Vec<Arc<str>> {
        match self.work {
            Work::Recording { .. } => vec![Arc::clone(&self.name)],
            Work::Alerting { .. } => vec![ALERTS.into(), ALERTS_FOR_STATE.into()],
        }
    }

    pub(super) fn alerts(&self) -> Option<&Alerts> {
        match &self.work {
            Work::Alerting { alerts, .. } => Some(alerts),
            Work::Recording { .. } => None,
        }
    }

    /// How many alerts it has, those that ended among them, and how many series it records.
    pub(super) fn held(&self) -> (usize, usize) {
        match &self.work {
            Work::Recording { .. } => (0, self.wrote.len()),
            Work::Alerting { alerts, .. } => (alerts.len(), 0),
        }
    }

    /// Takes over the state of the same rule before a reload.
    pub(super) fn take_over(&mut self, old: Self) {
        if let (Work::Alerting { alerts, .. }, Work::Alerting { alerts: held, .. }) = (&mut self.work, old.work) {
            *alerts = held;
        }
        if self.text == old.text {
            (self.health, self.last_error, self.took, self.last) = (old.health, old.last_error, old.took, old.last);
            self.template_error = old.template_error;
        }
        self.wrote = old.wrote;
    }

    /// Evaluates it. On an error nothing has changed but what [`Alerts::take`] says.
    pub(super) fn evaluate(&mut self, moment: &Moment<'_>, known: impl Fn(&Labels) -> Option<Before>) -> Outcome {
        let mut outcome = Outcome::default();
        if let Err(error) = self.run(moment, known, &mut outcome) {
            outcome.samples.clear();
            outcome.ended.clear();
            outcome.error = Some(cut(error, moment.limits.text_bytes_max));
        }
        outcome
    }

    fn run(
        &mut self,
        moment: &Moment<'_>,
        known: impl Fn(&Labels) -> Option<Before>,
        outcome: &mut Outcome,
    ) -> Result<(), String> {
        let asked = self.query.measured(moment.source, Span::instant(moment.looks_at()), moment.limits.query);
        let (answer, values) = asked.map_err(|error| {
            // What went wrong in the source is its cause.
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            format!("{error}{cause}")
        })?;
        outcome.values = values;
        let results = match answer.value {
            Value::Vector(series) => series,
            Value::Scalar(points) => vec![Series { labels: Labels::default(), points }],
            Value::String(_) | Value::Matrix(_) => return Err("rule result is not a vector or scalar".into()),
        };
        match &self.work {
            Work::Recording { .. } => self.record(&results, moment, outcome),
            Work::Alerting { .. } => self.alert(results, moment, known, outcome),
        }
    }

    fn record(&mut self, results: &[Series], moment: &Moment<'_>, outcome: &mut Outcome) -> Result<(), String> {
        if moment.limit > 0 && results.len() > moment.limit {
            return Err(format!("exceeded limit of {} with {} series", moment.limit, results.len()));
        }
        let (found, most, all) = (results.len(), moment.limits.rule_series_max, moment.limits.series_max);
        if found > most || found > self.wrote.len().saturating_add(moment.room.series) {
            return Err(format!(
                "{found} series, a rule may write {most} and all together {all}; narrow its selectors or aggregate"
            ));
        }
        let Work::Recording { results: held } = &mut self.work else { return Ok(()) };
        let is_same = held.len() == results.len()
            && self.wrote.len() == held.len()
            && held.iter().zip(results).all(|(held, now)| held.is_same(&now.labels) || *held == now.labels);
        if !is_same {
            let known: HashMap<&Labels, &Labels> = held.iter().zip(&self.wrote).collect();
            let mut written = Vec::with_capacity(results.len());
            for result in results {
                written.push(match known.get(&result.labels) {
                    Some(labels) => Labels::clone(labels),
                    None => recorded(&result.labels, &self.name, &self.labels)?,
                });
            }
            let distinct: HashSet<&Labels> = written.iter().collect();
            if distinct.len() < written.len() {
                return Err("vector contains metrics with the same labelset after applying rule labels".into());
            }
            outcome.ended = self.wrote.iter().filter(|labels| !distinct.contains(labels)).cloned().collect();
            self.wrote = written;
            *held = results.iter().map(|result| result.labels.clone()).collect();
        }
        let at = moment.looks_at();
        let values = results.iter().map(|result| result.points.first().map_or_else(stale_nan, |point| point.value));
        let samples = self.wrote.iter().cloned().zip(values.map(|value| Sample { at, value })).collect();
        outcome.samples.push((Arc::clone(&self.name), samples));
        Ok(())
    }

    fn alert(
        &mut self,
        results: Vec<Series>,
        moment: &Moment<'_>,
        known: impl Fn(&Labels) -> Option<Before>,
        outcome: &mut Outcome,
    ) -> Result<(), String> {
        let Work::Alerting { hold, keep_firing, annotations, alerts } = &mut self.work else { return Ok(()) };
        let (found, most) = (results.len(), moment.limits.rule_alerts_max);
        if found > most || found > alerts.len().saturating_add(moment.room.alerts) {
            return Err(format!(
                "{found} alerts, a rule may have {most} and all together {}",
                moment.limits.alerts_max
            ));
        }
        let mut met = BTreeMap::new();
        // A rule that is quiet reads none of its texts.
        let read = |text: &str| prepared(&self.name, text);
        let label_texts: Vec<Prepared> = self.labels.iter().filter(|_| found > 0).map(|(_, text)| read(text)).collect();
        let annotation_texts: Vec<Prepared> =
            annotations.iter().filter(|_| found > 0).map(|(_, text)| read(text)).collect();
        for Series { labels, points } in results {
            let value = points.first().map_or(0.0, |point| point.value);
            let mut expand = |text: &Prepared| match moment.texts.expand(&self.name, text, &labels, value) {
                Ok(text) => text,
                Err(error) => {
                    let text = cut(format!("<error expanding template: {error}>"), moment.limits.text_bytes_max);
                    outcome.template_error.get_or_insert_with(|| text.clone());
                    text
                }
            };
            let named = self.labels.iter().zip(&label_texts);
            let set: Vec<(&str, String)> = named.map(|((name, _), text)| (&**name, expand(text))).collect();
            let named = annotations.iter().zip(&annotation_texts);
            let told: Vec<(&str, String)> = named.map(|((name, _), text)| (name, expand(text))).collect();
            let labels = alert_labels(&labels, &set, &self.name)?;
            if met.insert(labels, Met { value, annotations: fitting(told) }).is_some() {
                return Err("vector contains metrics with the same labelset after applying alert labels".into());
            }
        }
        let demands = Demands { hold: *hold, keep_firing: *keep_firing, limit: moment.limit };
        let (changes, taken) = alerts.take(met, moment.at, demands, known);
        outcome.changes = changes;
        taken?;
        if !moment.writes {
            return Ok(());
        }
        let (states, since) = alerts.samples(moment.looks_at());
        let written: Vec<Labels> = states.iter().chain(&since).map(|(labels, _)| labels.clone()).collect();
        if self.wrote != written {
            let distinct: HashSet<&Labels> = written.iter().collect();
            outcome.ended = self.wrote.iter().filter(|labels| !distinct.contains(labels)).cloned().collect();
            self.wrote = written;
        }
        outcome.samples = vec![(ALERTS.into(), states), (ALERTS_FOR_STATE.into(), since)];
        Ok(())
    }
}

/// Labels of a recorded series.
fn recorded(result: &Labels, name: &str, set: &[(String, String)]) -> Result<Labels, String> {
    let is_set = |held: &str| held == "__name__" || set.iter().any(|(name, _)| name == held);
    let kept = result.iter().filter(|(held, _)| !is_set(held));
    let set = set.iter().map(|(name, value)| (&**name, &**value));
    Labels::new(kept.chain([("__name__", name)]).chain(set)).map_err(|error| error.to_string())
}

/// Labels of an alert: those of the result, then those that the rule sets, then its name, which wins over all.
fn alert_labels(result: &Labels, set: &[(&str, String)], name: &str) -> Result<Labels, String> {
    let is_set = |held: &str| ["__name__", "alertname"].contains(&held) || set.iter().any(|(name, _)| *name == held);
    let kept = result.iter().filter(|(held, _)| !is_set(held));
    let set = set.iter().filter(|(held, _)| *held != "alertname").map(|(name, value)| (*name, &**value));
    Labels::new(kept.chain(set).chain([("alertname", name)])).map_err(|error| error.to_string())
}

/// Annotations, their texts cut where they are too long in sum.
fn fitting(mut pairs: Vec<(&str, String)>) -> Labels {
    for bytes_max in [usize::MAX, 1024, 128] {
        for (_, text) in &mut pairs {
            text.truncate(text.floor_char_boundary(bytes_max));
        }
        if let Ok(labels) = Labels::new(pairs.iter().map(|(name, text)| (*name, &**text))) {
            return labels;
        }
    }
    Labels::default()
}
