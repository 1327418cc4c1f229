//! Where collectors put their values.

use skerry_model::{Labels, LabelsBuilder, Meta, MetricKind, MetricMeta, Observation};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most metas that [`Metas`] holds: what a machine's sensors and file systems call for is a tenth of it.
const METAS_MAX: usize = 1024;

/// A counter's name and help.
pub(super) const fn counter(name: &'static str, help: &'static str) -> MetricMeta {
    MetricMeta::fixed(name, MetricKind::Counter, help)
}

/// A gauge's name and help.
pub(super) const fn gauge(name: &'static str, help: &'static str) -> MetricMeta {
    MetricMeta::fixed(name, MetricKind::Gauge, help)
}

/// Name and help of a value of which nobody says what it is.
pub(super) const fn untyped(name: &'static str, help: &'static str) -> MetricMeta {
    MetricMeta::fixed(name, MetricKind::Untyped, help)
}

/// Metas whose names are put together while the agent runs, each made once.
#[derive(Debug, Default)]
pub(super) struct Metas(BTreeMap<String, Arc<MetricMeta>>);

impl Metas {
    /// The meta of that name; type and help count when it is asked for first.
    pub(super) fn of(&mut self, name: String, kind: MetricKind, help: impl FnOnce() -> String) -> Meta {
        if let Some(known) = self.0.get(&name) {
            return known.clone().into();
        }
        let meta = Arc::new(MetricMeta { name: name.clone().into(), kind, help: help().into(), unit: "".into() });
        if self.0.len() < METAS_MAX {
            self.0.insert(name, meta.clone());
        }
        meta.into()
    }

    /// Lets go of a meta, so that the next one of its name may have another type.
    pub(super) fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }
}

/// Values that come in the order of things and leave in the order of metrics.
#[derive(Debug, Default)]
pub(super) struct Rows(Vec<Row>);

#[derive(Debug)]
struct Row {
    meta: Meta,
    labels: Vec<(&'static str, String)>,
    value: f64,
}

impl Rows {
    pub(super) fn push(&mut self, meta: impl Into<Meta>, labels: &[(&'static str, &str)], value: f64) {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.0.push(Row { meta: meta.into(), labels, value });
    }

    /// Hands the values over, metric by metric; things keep their order within a metric.
    pub(super) fn pour(mut self, sink: &mut Sink) {
        self.0.sort_by(|a, b| a.meta.name.cmp(&b.meta.name));
        for Row { meta, labels, value } in self.0 {
            let borrowed: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
            sink.push(meta, &borrowed, value);
        }
    }
}

/// The values of one round.
#[derive(Debug, Default)]
pub(super) struct Sink {
    observations: Vec<Observation>,
    problems: Vec<String>,
}

impl Sink {
    /// Adds a value with these labels besides the metric's name.
    pub(super) fn push(&mut self, meta: impl Into<Meta>, labels: &[(&str, &str)], value: f64) {
        let meta = meta.into();
        let builder = labels.iter().fold(LabelsBuilder::metric(&meta.name), |b, (name, value)| b.label(name, *value));
        self.observations.push(Observation { meta, labels: builder.build(), value });
    }

    /// Adds one value per thing for each metric in turn, so that a metric's observations are adjacent: `rows` are the
    /// things with their labels, `value` gives the number of metric `column` for a row, where it has one.
    pub(super) fn table<R>(
        &mut self,
        metas: &'static [MetricMeta],
        rows: &[R],
        labels: impl Fn(&R) -> Vec<(&'static str, String)>,
        value: impl Fn(&R, usize) -> Option<f64>,
    ) {
        for (column, meta) in metas.iter().enumerate() {
            for row in rows {
                let Some(value) = value(row, column) else { continue };
                let owned = labels(row);
                let borrowed: Vec<(&str, &str)> = owned.iter().map(|(n, v)| (*n, v.as_str())).collect();
                self.push(meta, &borrowed, value);
            }
        }
    }

    /// Adds values that are observations already.
    pub(super) fn extend(&mut self, observations: Vec<Observation>) {
        self.observations.extend(observations);
    }

    /// Says what was left out of values that count otherwise.
    pub(super) fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// What was said with [`Self::problem`].
    pub(super) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The names of the metrics so far.
    pub(super) fn names(&self) -> BTreeSet<String> {
        self.observations.iter().map(|observation| observation.meta.name.to_string()).collect()
    }

    /// The values; of a label set that stands twice only the first, since a kernel may list a device twice.
    pub(super) fn into_observations(self) -> Vec<Observation> {
        let mut seen: std::collections::HashSet<Labels> =
            std::collections::HashSet::with_capacity(self.observations.len());
        self.observations.into_iter().filter(|observation| seen.insert(observation.labels.clone())).collect()
    }
}
