//! The stage `to_metric`: counts, gauges and histograms of what records say.

use super::reader::{Faults, LIST_MAX, Reader, quoted};
use super::work::{FieldName, Work, fields};
use serde_json::Value;
use skerry_model::{Labels, Meta, MetricKind, MetricMeta, Observation};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// Most series of one stage, and how many by default.
const SERIES_MAX: u64 = 10_000;
const SERIES_DEFAULT: u64 = 1000;
/// Longest value of a label; longer ones are cut.
const VALUE_BYTES_MAX: usize = 256;
/// Prometheus's default buckets, in seconds.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[derive(Debug)]
struct Series {
    /// Label set without a name.
    labels: Labels,
    /// The value; of a histogram the sum.
    value: f64,
    /// How many values were in each bucket, those of smaller buckets not included; the last one has no upper bound.
    counts: Vec<u64>,
}

/// A checked `to_metric` with its series.
#[derive(Debug)]
pub(super) struct ToMetric {
    meta: Arc<MetricMeta>,
    value: Option<FieldName>,
    labels: Vec<FieldName>,
    buckets: Vec<f64>,
    series_max: usize,
    series: HashMap<String, Series>,
    key: String,
}

/// What became of a record's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Yes,
    /// It has none, or it is no number.
    NoValue,
    /// There are too many series.
    NoRoom,
}

impl ToMetric {
    /// Reads `{type: counter, name: …, help: …, value: FIELD, labels: [FIELD], buckets: […], series_max: N}`.
    pub(super) fn read(value: &Value, key: &str, faults: &mut Faults) -> Option<Self> {
        let mut reader = Reader::new(value, key, faults)?;
        let kinds =
            [("counter", MetricKind::Counter), ("gauge", MetricKind::Gauge), ("histogram", MetricKind::Histogram)];
        if !reader.has("type") {
            reader.fault("type", "is missing: counter, gauge or histogram is expected", faults);
        }
        let kind = reader.word("type", &kinds, faults);
        let name = reader.required("name", faults);
        if let Some(name) = &name {
            check_name(name, &reader, faults);
        }
        let help = reader.text("help", faults).unwrap_or_else(|| "Made of log records.".to_owned());
        let value = super::work::field(&mut reader, "value", faults);
        if value.is_none() && matches!(kind, Some(MetricKind::Gauge | MetricKind::Histogram)) {
            reader.fault("value", "is missing: the field with the number is expected", faults);
        }
        let labels = fields(&mut reader, "labels", faults);
        if labels.iter().any(|name| matches!(name.as_str(), "le" | "source") || name.as_str().starts_with("__")) {
            reader.fault("labels", "le, source and names with __ in front are set by the agent itself", faults);
        }
        let buckets = buckets(&mut reader, kind, faults);
        let series_max = reader.whole("series_max", 1, SERIES_MAX, faults).unwrap_or(SERIES_DEFAULT) as usize;
        reader.finish(faults);
        let meta = MetricMeta { name: Cow::Owned(name?), kind: kind?, help: Cow::Owned(help), unit: Cow::Borrowed("") };
        let meta = Arc::new(meta);
        Some(Self { meta, value, labels, buckets, series_max, series: HashMap::new(), key: String::new() })
    }

    /// The metric's name.
    pub(super) fn name(&self) -> &str {
        &self.meta.name
    }

    /// Takes in what a record says.
    pub(super) fn take(&mut self, work: &Work<'_>) -> Taken {
        let number = match &self.value {
            None => 1.0,
            Some(name) => match work.value(name).and_then(|text| text.trim().parse::<f64>().ok()) {
                Some(number) if number.is_finite() && (number >= 0.0 || self.meta.kind != MetricKind::Counter) => {
                    number
                }
                _ => return Taken::NoValue,
            },
        };
        self.key.clear();
        self.key.push_str(work.record.labels.value("source"));
        for name in &self.labels {
            self.key.push('\0');
            let value = work.value(name).unwrap_or_default();
            // NUL stands between values in the key.
            let value = value.split('\0').next().unwrap_or_default();
            self.key.push_str(&value[..value.floor_char_boundary(VALUE_BYTES_MAX)]);
        }
        if !self.series.contains_key(&self.key) {
            if self.series.len() >= self.series_max {
                return Taken::NoRoom;
            }
            let values = self.key.split('\0');
            let names = std::iter::once("source").chain(self.labels.iter().map(FieldName::as_str));
            // The same name twice is no label set.
            let Ok(labels) = Labels::new(names.zip(values)) else { return Taken::NoRoom };
            let counts =
                if self.meta.kind == MetricKind::Histogram { vec![0; self.buckets.len() + 1] } else { Vec::new() };
            self.series.insert(self.key.clone(), Series { labels, value: 0.0, counts });
        }
        let Some(series) = self.series.get_mut(&self.key) else { return Taken::NoRoom };
        match self.meta.kind {
            MetricKind::Gauge => series.value = number,
            _ => series.value += number,
        }
        if !series.counts.is_empty() {
            series.counts[self.buckets.partition_point(|bound| *bound < number)] += 1;
        }
        Taken::Yes
    }

    /// The series with their values now.
    pub(super) fn observe(&self, out: &mut Vec<Observation>) {
        let name = &self.meta.name;
        for series in self.series.values() {
            let mut tell = |suffix: &str, le: Option<String>, value: f64| {
                let extra = [("__name__", format!("{name}{suffix}")), ("le", le.unwrap_or_default())];
                let own = series.labels.iter().map(|(name, value)| (name, value.to_owned()));
                if let Ok(labels) = Labels::new(own.chain(extra)) {
                    out.push(Observation { meta: Meta::Learnt(Arc::clone(&self.meta)), labels, value });
                }
            };
            if series.counts.is_empty() {
                tell("", None, series.value);
                continue;
            }
            let mut sum = 0;
            for (at, count) in series.counts.iter().enumerate() {
                sum += count;
                let bound = self.buckets.get(at).map_or_else(|| "+Inf".to_owned(), |bound| format!("{bound}"));
                tell("_bucket", Some(bound), sum as f64);
            }
            tell("_sum", None, series.value);
            tell("_count", None, sum as f64);
        }
    }
}

fn check_name(name: &str, reader: &Reader<'_>, faults: &mut Faults) {
    let good = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':'))
        && name.as_bytes().first().is_some_and(|b| !b.is_ascii_digit())
        && name.len() <= 128;
    if !good {
        let problem = format!("{} is no metric name: letters, digits, '_' and ':' are expected", quoted(name));
        reader.fault("name", problem, faults);
    } else if name.starts_with("skerry_") {
        reader.fault("name", "skerry_ in front is for the agent's own metrics: another name is expected", faults);
    }
}

fn buckets(reader: &mut Reader<'_>, kind: Option<MetricKind>, faults: &mut Faults) -> Vec<f64> {
    let told = reader.has("buckets");
    let numbers: Vec<Option<f64>> = reader.list("buckets", faults).iter().map(Value::as_f64).collect();
    if told && kind != Some(MetricKind::Histogram) {
        reader.fault("buckets", "are for a histogram alone", faults);
    }
    if !told {
        return if kind == Some(MetricKind::Histogram) { BUCKETS.to_vec() } else { Vec::new() };
    }
    let bounds: Vec<f64> = numbers.iter().flatten().copied().collect();
    if bounds.is_empty() || bounds.len() != numbers.len() || !bounds.is_sorted_by(|a, b| a < b) {
        reader.fault("buckets", format_args!("1 to {LIST_MAX} rising numbers are expected"), faults);
    }
    bounds
}
