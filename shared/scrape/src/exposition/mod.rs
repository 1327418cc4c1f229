//! The exposition formats: lines of text to samples and metadata, nothing copied.
//!
//! Facts: Prometheus's documentation of its text format 0.0.4, the OpenMetrics 1.0 specification, and how Prometheus's
//! own scraper reads both. Where the scraper is laxer than the documents, so is this; where a document allows what the
//! scraper refuses, it is refused here too.
//!
//! Left out: exemplars are read over, and timestamps of `_created` series stay what they are, series.

mod line;
mod parser;
mod series;
#[cfg(test)]
mod tests;

pub use parser::Parser;
pub use series::Series;

use skerry_model::{MetricKind, UnixMillis};
use std::borrow::Cow;

/// Longest line, in bytes. A label set may be 16 KiB long at most; escapes may double that.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// Most labels of a line, as far as parsing goes.
pub const LINE_LABELS_MAX: usize = 128;
/// The NaN that Prometheus stores for any NaN of an exposition, so that none passes for a stale marker.
const NORMAL_NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `text/plain; version=0.0.4`; what says nothing else is taken for it.
    Prometheus,
    /// `application/openmetrics-text`.
    OpenMetrics,
}

impl Format {
    /// The format that a `Content-Type` header names.
    #[must_use]
    pub fn of_content_type(content_type: &str) -> Self {
        let media = content_type.split(';').next().unwrap_or_default().trim();
        if media.eq_ignore_ascii_case("application/openmetrics-text") { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// What an HTTP client wants, by its `Accept` header: OpenMetrics where it is named at all, as Prometheus does.
    #[must_use]
    pub fn wanted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// Its media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What a line says.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry<'a> {
    /// A value.
    Sample(Sample<'a>),
    /// `# HELP`.
    Help {
        /// The metric's, in OpenMetrics the family's name.
        name: Cow<'a, str>,
        /// The text, without escapes.
        help: Cow<'a, str>,
    },
    /// `# TYPE`.
    Type {
        /// The metric's, in OpenMetrics the family's name.
        name: Cow<'a, str>,
        /// Its type.
        kind: MetricKind,
    },
    /// `# UNIT`, in OpenMetrics alone.
    Unit {
        /// The family's name.
        name: Cow<'a, str>,
        /// The unit, `""` for none.
        unit: &'a str,
    },
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample<'a> {
    /// Which series.
    pub series: Series<'a>,
    /// The value. Any NaN comes as Prometheus's normal one, never as a stale marker.
    pub value: f64,
    /// When it was taken, where the target says so.
    pub at: Option<UnixMillis>,
}

/// The line that ended an exposition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}{}", excerpt_text(excerpt))]
pub struct BadLine {
    /// Its number, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub problem: Problem,
    /// Its begin, at most 80 characters.
    pub excerpt: String,
}

fn excerpt_text(excerpt: &str) -> String {
    if excerpt.is_empty() { String::new() } else { format!(", in {excerpt:?}") }
}

/// What can be wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Over [`LINE_BYTES_MAX`].
    #[error("longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
    /// Over [`LINE_LABELS_MAX`].
    #[error("more than {LINE_LABELS_MAX} labels")]
    TooManyLabels,
    /// Not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// No name where a line begins.
    #[error("a metric name is expected")]
    MetricName,
    /// Neither before the braces nor in them.
    #[error("the series has no metric name")]
    NoMetricName,
    /// Before the braces and in them.
    #[error("the series has two metric names")]
    TwoMetricNames,
    /// Neither a label name nor the end of the labels.
    #[error("a label name or }} is expected")]
    LabelName,
    /// Not `=`.
    #[error("= is expected after a label name")]
    Equals,
    /// Not a quoted text.
    #[error("a value in double quotes is expected after =")]
    LabelValue,
    /// A quoted text does not end.
    #[error("a double quote is not closed")]
    OpenQuote,
    /// Neither `,` nor `}`.
    #[error(", or }} is expected after a label")]
    LabelEnd,
    /// Not a number.
    #[error("a number is expected after the series")]
    Value,
    /// Not a time.
    #[error("a timestamp is expected after the value")]
    Timestamp,
    /// Something after the end of a sample.
    #[error("nothing more is expected on the line")]
    Trailing,
    /// An exemplar that is none.
    #[error("an exemplar is malformed")]
    Exemplar,
    /// A type that there is not.
    #[error("the metric type is unknown")]
    Type,
    /// OpenMetrics: a name has to end in its unit.
    #[error("the unit is no suffix of the metric's name")]
    Unit,
    /// A line of metadata without text.
    #[error("text is expected after the metric's name")]
    MetaText,
    /// OpenMetrics has no empty lines and no comments of other kinds.
    #[error("HELP, TYPE, UNIT, EOF or a sample is expected")]
    Unknown,
    /// OpenMetrics: nothing may follow.
    #[error("nothing is expected after # EOF")]
    AfterEof,
    /// OpenMetrics: what was cut off looks like this.
    #[error("the exposition does not end with # EOF")]
    NoEof,
}
