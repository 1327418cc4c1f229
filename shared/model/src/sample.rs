//! Samples and what is known about the metric they belong to.

use crate::{Labels, UnixMillis};
use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

/// The bits of the NaN that Prometheus uses to say "this series has ended" (its `value.StaleNaN`).
/// They must survive every encoding.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The stale marker as a value.
#[must_use]
pub fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// Whether a value is the stale marker, by its bits.
#[must_use]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// One value of one series at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// When it was taken.
    pub at: UnixMillis,
    /// The value; any of the 2^64 bit patterns.
    pub value: f64,
}

/// Equality by bits, so that NaN payloads and negative zero count.
impl PartialEq for Sample {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at && self.value.to_bits() == other.value.to_bits()
    }
}

/// Type of a metric, as in the exposition formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MetricKind {
    /// Only grows, until it begins again at zero.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Series `_bucket`, `_sum`, `_count`, whose counts only grow.
    Histogram,
    /// Series with `quantile`, `_sum`, `_count`.
    Summary,
    /// Texts in labels; the value is always 1 (OpenMetrics).
    Info,
    /// One series for each state that there may be, 1 for those that are (OpenMetrics).
    StateSet,
    /// A histogram whose counts go up and down (OpenMetrics).
    GaugeHistogram,
    /// Nothing is known.
    Untyped,
}

impl MetricKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Counter,
        Self::Gauge,
        Self::Histogram,
        Self::Summary,
        Self::Info,
        Self::StateSet,
        Self::GaugeHistogram,
        Self::Untyped,
    ];

    /// Its name in OpenMetrics and in Prometheus's API; `untyped` is `unknown` there.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Untyped => "unknown",
        }
    }

    /// The kind of that name; `untyped` is one too, as in Prometheus's text format.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "untyped" {
            return Some(Self::Untyped);
        }
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Name, type and help of a metric, for the exposition formats and for whoever asks what a metric means.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MetricMeta {
    /// Metric name; for a counter with its `_total`.
    pub name: Cow<'static, str>,
    /// Type.
    pub kind: MetricKind,
    /// One line of help.
    pub help: Cow<'static, str>,
    /// Unit, such as `seconds`; `""` where none is told.
    pub unit: Cow<'static, str>,
}

impl MetricMeta {
    /// Of a metric that is known when the program is written.
    #[must_use]
    pub const fn fixed(name: &'static str, kind: MetricKind, help: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), kind, help: Cow::Borrowed(help), unit: Cow::Borrowed("") }
    }
}

/// A [`MetricMeta`] that many observations refer to.
#[derive(Debug, Clone)]
pub enum Meta {
    /// Part of the program.
    Fixed(&'static MetricMeta),
    /// Learnt while it runs.
    Learnt(Arc<MetricMeta>),
}

impl Deref for Meta {
    type Target = MetricMeta;
    fn deref(&self) -> &MetricMeta {
        match self {
            Self::Fixed(meta) => meta,
            Self::Learnt(meta) => meta,
        }
    }
}

impl From<&'static MetricMeta> for Meta {
    fn from(meta: &'static MetricMeta) -> Self {
        Self::Fixed(meta)
    }
}

impl From<Arc<MetricMeta>> for Meta {
    fn from(meta: Arc<MetricMeta>) -> Self {
        Self::Learnt(meta)
    }
}

/// One measured value with its labels; the metric's name stands in `labels` as `__name__`.
#[derive(Debug, Clone)]
pub struct Observation {
    /// Name, type and help.
    pub meta: Meta,
    /// Full label set, `__name__` included.
    pub labels: Labels,
    /// The value.
    pub value: f64,
}

/// What was measured at one moment. A label set stands at most once.
#[derive(Debug, Clone, Default)]
pub struct Scrape {
    /// The moment that all values carry.
    pub at: UnixMillis,
    /// Full label sets, `__name__` included, and their values, in any order.
    pub values: Vec<(Labels, f64)>,
}
