//! StatsD's aggregator: lines go in, series come out at each flush.
//!
//! A counter adds up what it got since the agent began; a gauge keeps its last value; a set tells how many different
//! values came since the last flush; timers (in seconds), histograms and distributions become summaries or histograms.
//! One name is of one type: a line of another is dropped.

mod line;
mod sketch;

pub use line::DropReason;

use super::config::{Statsd, Timers};
use line::{Kind, Line, Value};
use skerry_model::{Labels, Mono};
use sketch::Window;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// Quantiles of a summary.
const QUANTILES: [(&str, f64); 3] = [("0.5", 0.5), ("0.9", 0.9), ("0.99", 0.99)];
/// Most metrics with quantiles: each takes up to 16 KiB.
const SUMMARIES_MAX: usize = 256;
/// Most bytes of all names and tags together; series of 2000 programs' usual size stay below half of it.
const LABEL_BYTES_MAX: usize = 2 << 20;
/// Most different values of a set that are told apart.
const SET_MAX: usize = 4096;

/// Holds what came.
#[derive(Debug)]
pub struct Aggregator {
    timers: Timers,
    buckets: Arc<[f64]>,
    ttl: Duration,
    series_max: usize,
    metrics: HashMap<Labels, Metric>,
    /// What each name is, and how many metrics bear it.
    names: HashMap<String, (Type, usize)>,
    summaries: usize,
    label_bytes: usize,
    dropped: BTreeMap<DropReason, u64>,
}

/// What a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Counter,
    Gauge,
    Set,
    Observed,
}

#[derive(Debug)]
struct Metric {
    seen: Mono,
    state: State,
}

#[derive(Debug)]
enum State {
    Counter(f64),
    Gauge(f64),
    Set(HashSet<u64>),
    Summary { window: Window, sum: f64, count: f64 },
    Histogram { counts: Box<[f64]>, sum: f64, count: f64 },
}

impl Aggregator {
    /// With these settings, which hold.
    #[must_use]
    pub fn new(config: &Statsd) -> Self {
        Self {
            timers: config.timers,
            buckets: config.buckets.clone().into(),
            ttl: config.ttl.0,
            series_max: config.series_max as usize,
            metrics: HashMap::new(),
            names: HashMap::new(),
            summaries: 0,
            label_bytes: 0,
            dropped: BTreeMap::new(),
        }
    }

    /// Metrics held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.metrics.len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.metrics.is_empty()
    }

    /// Takes a datagram of any number of lines; how many lines of it were taken.
    pub fn feed(&mut self, packet: &[u8], now: Mono) -> u64 {
        let mut taken = 0;
        for line in packet.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
            match line::parse(line).and_then(|line| self.take(&line, now)) {
                Ok(()) => taken += 1,
                Err(reason) => *self.dropped.entry(reason).or_default() += 1,
            }
        }
        taken
    }

    /// What was dropped since this was asked last, by reason.
    pub fn dropped(&mut self) -> BTreeMap<DropReason, u64> {
        std::mem::take(&mut self.dropped)
    }

    /// The series now. Metrics that nobody wrote for too long are forgotten first; sets begin anew.
    pub fn flush(&mut self, now: Mono) -> Vec<(Labels, f64)> {
        let (names, summaries, ttl) = (&mut self.names, &mut self.summaries, self.ttl);
        let label_bytes = &mut self.label_bytes;
        self.metrics.retain(|labels, metric| {
            let stays = now.since(metric.seen) < ttl;
            if !stays {
                *label_bytes -= bytes(labels);
                *summaries -= usize::from(matches!(metric.state, State::Summary { .. }));
                if let Some((_, count)) = names.get_mut(labels.metric()) {
                    *count -= 1;
                    if *count == 0 {
                        names.remove(labels.metric());
                    }
                }
            }
            stays
        });
        let mut series = Vec::with_capacity(self.metrics.len());
        for (labels, metric) in &mut self.metrics {
            metric.state.give(labels, &self.buckets, now, &mut series);
        }
        series
    }

    fn take(&mut self, line: &Line<'_>, now: Mono) -> Result<(), DropReason> {
        let name = metric_name(line.name);
        let labels = line.tags.iter().map(|(name, value)| (label_name(name), (*value).to_owned()));
        // A tag that stands twice counts once; one cannot rename the metric.
        let labels: BTreeMap<String, String> = labels.filter(|(name, _)| !name.starts_with("__")).collect();
        for value in &line.values {
            let kind = type_of(value.kind);
            let reserved = match (kind, self.timers) {
                (Type::Observed, Timers::Summary) => "quantile",
                (Type::Observed, Timers::Histogram) => "le",
                _ => "",
            };
            let pairs = labels.iter().filter(|(name, _)| *name != reserved).map(|(name, value)| (&**name, &**value));
            let labels =
                Labels::new([("__name__", &*name)].into_iter().chain(pairs)).map_err(|_| DropReason::Oversize)?;
            let buckets = self.buckets.clone();
            self.metric(labels, kind, now)?.add(value, &buckets, now);
        }
        Ok(())
    }

    /// The metric of these labels, new where it is not held yet.
    fn metric(&mut self, labels: Labels, kind: Type, now: Mono) -> Result<&mut State, DropReason> {
        let held = self.names.get(labels.metric());
        if held.is_some_and(|(held, _)| *held != kind) || self.is_part_of_another(labels.metric()) {
            return Err(DropReason::Conflict);
        }
        if !self.metrics.contains_key(&labels) {
            let is_summary = kind == Type::Observed && self.timers == Timers::Summary;
            let is_full = self.metrics.len() >= self.series_max || self.label_bytes + bytes(&labels) > LABEL_BYTES_MAX;
            if is_full || (is_summary && self.summaries >= SUMMARIES_MAX) {
                return Err(DropReason::SeriesLimit);
            }
            if kind == Type::Observed
                && ["_sum", "_count", "_bucket"]
                    .iter()
                    .any(|end| self.names.contains_key(&format!("{}{end}", labels.metric())))
            {
                return Err(DropReason::Conflict);
            }
            self.label_bytes += bytes(&labels);
            self.summaries += usize::from(is_summary);
            self.names.entry(labels.metric().to_owned()).or_insert((kind, 0)).1 += 1;
        }
        let (timers, buckets) = (self.timers, self.buckets.len());
        let metric = self
            .metrics
            .entry(labels)
            .or_insert_with(|| Metric { seen: now, state: State::new(kind, timers, buckets, now) });
        metric.seen = now;
        Ok(&mut metric.state)
    }

    /// Whether a name is one that a timer's series bear.
    fn is_part_of_another(&self, name: &str) -> bool {
        let bases = ["_sum", "_count", "_bucket"].iter().filter_map(|end| name.strip_suffix(end));
        bases.into_iter().any(|base| matches!(self.names.get(base), Some((Type::Observed, _))))
    }
}

fn bytes(labels: &Labels) -> usize {
    labels.iter().map(|(name, value)| name.len() + value.len()).sum()
}

const fn type_of(kind: Kind) -> Type {
    match kind {
        Kind::Counter => Type::Counter,
        Kind::Gauge => Type::Gauge,
        Kind::Set => Type::Set,
        Kind::Timer | Kind::Distribution => Type::Observed,
    }
}

impl State {
    fn new(kind: Type, timers: Timers, buckets: usize, now: Mono) -> Self {
        match (kind, timers) {
            (Type::Counter, _) => Self::Counter(0.0),
            (Type::Gauge, _) => Self::Gauge(0.0),
            (Type::Set, _) => Self::Set(HashSet::new()),
            (Type::Observed, Timers::Summary) => Self::Summary { window: Window::new(now), sum: 0.0, count: 0.0 },
            (Type::Observed, Timers::Histogram) => {
                Self::Histogram { counts: vec![0.0; buckets].into(), sum: 0.0, count: 0.0 }
            }
        }
    }

    fn add(&mut self, value: &Value<'_>, buckets: &[f64], now: Mono) {
        let weight = 1.0 / value.rate;
        let observed = if value.kind == Kind::Timer { value.number / 1000.0 } else { value.number };
        match self {
            Self::Counter(total) => *total += value.number * weight,
            Self::Gauge(level) if value.is_relative => *level += value.number,
            Self::Gauge(level) => *level = value.number,
            Self::Set(values) => {
                if values.len() < SET_MAX {
                    let mut hasher = DefaultHasher::new();
                    value.text.hash(&mut hasher);
                    values.insert(hasher.finish());
                }
            }
            Self::Summary { window, sum, count } => {
                window.add(observed, weight, now);
                (*sum, *count) = (*sum + observed * weight, *count + weight);
            }
            Self::Histogram { counts, sum, count } => {
                if let Some(held) = counts.get_mut(buckets.partition_point(|bound| *bound < observed)) {
                    *held += weight;
                }
                (*sum, *count) = (*sum + observed * weight, *count + weight);
            }
        }
    }

    fn give(&mut self, labels: &Labels, buckets: &[f64], now: Mono, series: &mut Vec<(Labels, f64)>) {
        // One label and a longer name may be too much for the bounds of a label set; such a series is left out.
        let mut give = |end: &str, label: Option<(&str, String)>, value: f64| {
            let named = labels.with("__name__", &format!("{}{end}", labels.metric()));
            let full = match label {
                Some((name, text)) => named.and_then(|labels| labels.with(name, &text)),
                None => named,
            };
            series.extend(full.ok().map(|labels| (labels, value)));
        };
        match self {
            Self::Counter(value) | Self::Gauge(value) => give("", None, *value),
            Self::Set(values) => {
                give("", None, values.len() as f64);
                values.clear();
            }
            Self::Summary { window, sum, count } => {
                for (text, share) in QUANTILES {
                    give("", Some(("quantile", text.to_owned())), window.quantile(share, now));
                }
                give("_sum", None, *sum);
                give("_count", None, *count);
            }
            Self::Histogram { counts, sum, count } => {
                let mut below = 0.0;
                for (bound, held) in buckets.iter().zip(&**counts) {
                    below += held;
                    give("_bucket", Some(("le", format!("{bound}"))), below);
                }
                give("_bucket", Some(("le", "+Inf".to_owned())), *count);
                give("_sum", None, *sum);
                give("_count", None, *count);
            }
        }
    }
}

/// A name as Prometheus takes it: what may not stand in one becomes `_`, and one comes before a digit at its begin.
fn metric_name(name: &str) -> String {
    escaped(name, |c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

fn label_name(name: &str) -> String {
    escaped(name, |c| c.is_ascii_alphanumeric() || c == '_')
}

fn escaped(name: &str, stays: impl Fn(char) -> bool) -> String {
    let prefix = if name.starts_with(|c: char| c.is_ascii_digit()) { "_" } else { "" };
    prefix.chars().chain(name.chars().map(|c| if stays(c) { c } else { '_' })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use skerry_model::Span;

    fn aggregator(timers: Timers) -> Aggregator {
        Aggregator::new(&Statsd { timers, buckets: vec![0.1, 1.0], series_max: 4, ..Statsd::default() })
    }

    fn shown(series: Vec<(Labels, f64)>) -> Vec<String> {
        let mut lines: Vec<String> = series.into_iter().map(|(labels, value)| format!("{labels} {value}")).collect();
        lines.sort();
        lines
    }

    #[test]
    fn counters_gauges_and_sets() {
        let mut held = aggregator(Timers::Summary);
        let packet = b"web.hits:2|c|#path:/a\nweb.hits:1|c|@0.5|#path:/a\r\n\n2-level:5|g\n2-level:+1.5|g\n2-level:-1|g\nusers:a|s\nusers:b|s\nusers:a|s";
        assert_eq!(held.feed(packet, Mono(0)), 8);
        assert_eq!(shown(held.flush(Mono(0))), ["_2_level 5.5", "users 2", "web_hits{path=\"/a\"} 4"]);
        held.feed(b"web.hits:1|c|#path:/a\nusers:a|s", Mono(1));
        assert_eq!(shown(held.flush(Mono(1))), ["_2_level 5.5", "users 1", "web_hits{path=\"/a\"} 5"]);
    }

    #[test]
    fn timers_are_in_seconds_and_weighted() {
        let mut held = aggregator(Timers::Histogram);
        held.feed(b"t:62.5|ms|@0.5\nt:500|ms\nt:5000|ms\nt:0.0625|h", Mono(0));
        let expected =
            ["t_bucket{le=\"+Inf\"} 5", "t_bucket{le=\"0.1\"} 3", "t_bucket{le=\"1\"} 4", "t_count 5", "t_sum 5.6875"];
        assert_eq!(shown(held.flush(Mono(0))), expected);
        let mut held = aggregator(Timers::Summary);
        held.feed(b"t:0:0:0|d", Mono(0));
        let expected =
            ["t_count 3", "t_sum 0", "t{quantile=\"0.5\"} 0", "t{quantile=\"0.9\"} 0", "t{quantile=\"0.99\"} 0"];
        assert_eq!(shown(held.flush(Mono(0))), expected);
    }

    #[test]
    fn one_name_is_of_one_type_and_there_is_an_end() {
        let mut held = aggregator(Timers::Summary);
        let taken = held.feed(b"a:1|c\na:1|g\na_count:1|c\nt:1|ms\nt_count:1|c\na:1|ms\nnonsense", Mono(0));
        assert_eq!(taken, 3);
        assert_eq!(held.dropped(), [(DropReason::Malformed, 1), (DropReason::Conflict, 3)].into());
        assert_eq!(held.feed(b"b:1|c\nc:1|c\nd:1|c", Mono(1)), 1);
        assert_eq!(held.dropped(), [(DropReason::SeriesLimit, 2)].into());
        let later = Mono(u64::try_from(Span::secs(3600).0.as_millis()).unwrap());
        assert_eq!(shown(held.flush(later)), ["b 1"], "the others were not written for an hour");
        assert_eq!(held.feed(b"a:1|g\nt_count:1|c", later), 2, "their names are free again");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_taken_or_counted(packet in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut held = aggregator(Timers::Summary);
            let lines = packet.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count() as u64;
            let taken = held.feed(&packet, Mono(0));
            prop_assert_eq!(taken + held.dropped().values().sum::<u64>(), lines);
        }

        #[test]
        fn near_lines_do_no_harm(line in "[a.:|#@cgmsh0-9+\\-,]{0,40}") {
            let mut held = aggregator(Timers::Histogram);
            held.feed(line.as_bytes(), Mono(0));
            for (labels, _) in held.flush(Mono(0)) {
                prop_assert!(!labels.metric().is_empty());
            }
        }
    }
}
