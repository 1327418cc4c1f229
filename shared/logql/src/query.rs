//! Queries: text in, something that can be run out.

use crate::ast::LogExpr;
use crate::error::ParseError;
use crate::parse::{self, Either, Metric};
use crate::print;
use skerry_promql::Matcher;

/// A parsed query.
#[derive(Debug, Clone)]
pub enum Query {
    /// Gives lines.
    Log(LogQuery),
    /// Gives numbers.
    Metric(MetricQuery),
}

/// A query for lines.
#[derive(Debug, Clone)]
pub struct LogQuery {
    pub(crate) log: LogExpr,
}

/// A query for numbers.
#[derive(Debug, Clone)]
pub struct MetricQuery {
    pub(crate) metric: Metric,
}

impl Query {
    /// Parses and checks a text of at most 32 KiB.
    ///
    /// # Errors
    /// [`ParseError`], with its place.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Ok(match parse::query(text)? {
            Either::Log(log) => Self::Log(LogQuery { log }),
            Either::Metric(metric) => Self::Metric(MetricQuery { metric }),
        })
    }
}

impl Query {
    /// The query in its canonical form, as Loki's `format_query` tells it.
    #[must_use]
    pub fn format(&self) -> String {
        match self {
            Self::Log(query) => print::log(&query.log),
            Self::Metric(query) => print::metric(&query.metric),
        }
    }
}

impl LogQuery {
    /// Conditions on the labels of streams.
    #[must_use]
    pub fn matchers(&self) -> &[Matcher] {
        &self.log.matchers
    }
}

impl MetricQuery {
    /// Conditions on the labels of streams, of each range aggregation.
    pub fn matchers(&self) -> impl Iterator<Item = &[Matcher]> {
        self.metric.ranges.iter().map(|range| range.log.matchers.as_slice())
    }
}

/// Parses a selector that stands alone, such as `{app="x"}`.
///
/// # Errors
/// [`ParseError`], with its place.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    parse::selector(text)
}
