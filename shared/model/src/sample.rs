//! Samples and what is known about the metric they belong to.

use crate::{Labels, UnixMillis};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// Only grows, until it begins again at zero.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Nothing is known.
    Untyped,
}

/// Name, type and help of a metric, for the exposition formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MetricMeta {
    /// Metric name; for a counter with its `_total`.
    pub name: &'static str,
    /// Type.
    pub kind: MetricKind,
    /// One line of help.
    pub help: &'static str,
}

/// One measured value with its labels; the metric's name stands in `labels` as `__name__`.
#[derive(Debug, Clone)]
pub struct Observation {
    /// Name, type and help.
    pub meta: &'static MetricMeta,
    /// Full label set, `__name__` included.
    pub labels: Labels,
    /// The value.
    pub value: f64,
}

/// What one round of collection measured: one moment, many series. A label set stands at most once.
#[derive(Debug, Clone, Default)]
pub struct Scrape {
    /// The moment that all values carry.
    pub at: UnixMillis,
    /// Values grouped by metric: all observations of a metric are adjacent.
    pub observations: Vec<Observation>,
}
