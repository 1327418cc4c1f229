//! Where collectors put their values.

use skerry_model::{Labels, LabelsBuilder, MetricKind, MetricMeta, Observation};

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

/// The values of one round.
#[derive(Debug, Default)]
pub(super) struct Sink(Vec<Observation>);

impl Sink {
    /// Adds a value with these labels besides the metric's name.
    pub(super) fn push(&mut self, meta: &'static MetricMeta, labels: &[(&str, &str)], value: f64) {
        let builder = labels.iter().fold(LabelsBuilder::metric(&meta.name), |b, (name, value)| b.label(name, *value));
        self.0.push(Observation { meta: meta.into(), labels: builder.build(), value });
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

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// The values; of a label set that stands twice only the first, since a kernel may list a device twice.
    pub(super) fn into_observations(self) -> Vec<Observation> {
        let mut seen: std::collections::HashSet<Labels> = std::collections::HashSet::with_capacity(self.0.len());
        self.0.into_iter().filter(|observation| seen.insert(observation.labels.clone())).collect()
    }
}
