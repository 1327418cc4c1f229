//! Queries: text in, checked expression out; and the steps they are evaluated at.

use crate::error::QueryError;
use crate::eval::Evaluator;
use crate::matcher::Matcher;
use crate::parse::ast::{Expr, Kind, Shift, Type};
use crate::parse::{parse, print};
use crate::reads::{self, Read};
use crate::source::Source;
use crate::value::Answer;
use skerry_model::UnixMillis;
use std::fmt;
use std::time::Duration;

/// Longest text, in bytes.
pub const QUERY_BYTES_MAX: usize = 32 * 1024;
/// Deepest nesting that is evaluated.
pub const DEPTH_MAX: usize = 256;
/// Most steps of a range query, as in Prometheus.
const STEPS_MAX: i64 = 11_000;

/// What a query may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How far back a selector looks for a series' newest sample.
    pub lookback: Duration,
    /// Samples looked at and values made, together.
    pub values_max: u64,
    /// Step of a subquery that names none.
    pub subquery_step: Duration,
}

impl Default for Limits {
    /// Prometheus's defaults: 5 min, 50 million, 1 min.
    fn default() -> Self {
        Self { lookback: Duration::from_secs(300), values_max: 50_000_000, subquery_step: Duration::from_secs(60) }
    }
}

/// The moments at which a query is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// Zero for an instant.
    pub(crate) step: i64,
}

impl Span {
    /// One moment.
    #[must_use]
    pub const fn instant(at: UnixMillis) -> Self {
        Self { start: at.0, end: at.0, step: 0 }
    }

    /// `start`, `start + step`, … up to `end`.
    ///
    /// # Errors
    /// [`QueryError::Parse`] where the end is before the start, the step is zero, or there are more than 11,000 steps.
    pub fn range(start: UnixMillis, end: UnixMillis, step: Duration) -> Result<Self, QueryError> {
        let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
        if step == 0 {
            return Err(QueryError::Parse("the step has to be at least a millisecond".into()));
        }
        let Some(length) = end.0.checked_sub(start.0).filter(|length| *length >= 0) else {
            return Err(QueryError::Parse("the end has to be after the start".into()));
        };
        if length / step >= STEPS_MAX {
            return Err(QueryError::Parse(format!(
                "exceeded maximum resolution of {STEPS_MAX} points per timeseries. Try decreasing the query resolution \
                 (?step=XX)"
            )));
        }
        Ok(Self { start: start.0, end: end.0, step })
    }

    /// The first moment.
    #[must_use]
    pub const fn start(self) -> UnixMillis {
        UnixMillis(self.start)
    }

    /// Time between two moments, in milliseconds; 0 of an instant.
    #[must_use]
    pub const fn step_ms(self) -> i64 {
        self.step
    }

    /// How many moments there are; at least one.
    #[must_use]
    pub fn steps(self) -> usize {
        match self.step {
            0 => 1,
            step => usize::try_from((self.end - self.start) / step).unwrap_or(usize::MAX) + 1,
        }
    }

    pub(crate) const fn is_instant(self) -> bool {
        self.step == 0
    }
}

/// What an expression is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A number.
    Scalar,
    /// A text.
    String,
    /// Series with one value each.
    Vector,
    /// Series with many values.
    Matrix,
}

/// A parsed query.
#[derive(Debug, Clone)]
pub struct Query {
    expr: Expr,
    text: String,
}

impl Query {
    /// Parses and checks a text.
    ///
    /// # Errors
    /// [`QueryError::Parse`] if it is no expression, [`QueryError::TooDeep`] if it is nested too deep.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        if text.len() > QUERY_BYTES_MAX {
            let length = text.len();
            return Err(QueryError::Parse(format!(
                "the expression has {length} bytes, at most {QUERY_BYTES_MAX} are taken"
            )));
        }
        Ok(Self { expr: parse(text)?, text: text.to_owned() })
    }

    /// Evaluates it over `span`.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn evaluate(&self, source: &dyn Source, span: Span, limits: Limits) -> Result<Answer, QueryError> {
        self.measured(source, span, limits).map(|(answer, _)| answer)
    }

    /// As [`Self::evaluate`], with how many samples were looked at and values made.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn measured(&self, source: &dyn Source, span: Span, limits: Limits) -> Result<(Answer, u64), QueryError> {
        let kind = self.expr.kind_of_value();
        if !span.is_instant() && !matches!(kind, Type::Scalar | Type::Vector) {
            return Err(QueryError::Parse(format!(
                "invalid expression type {:?} for range query, must be Scalar or instant Vector",
                kind.to_string()
            )));
        }
        Evaluator::new(&self.text, source, span, limits).run(&self.expr)
    }

    /// What it reads of the source when it is evaluated at one moment, in the order of the text.
    #[must_use]
    pub fn reads(&self, limits: Limits) -> Vec<Read> {
        reads::of(&self.expr, limits)
    }

    /// The conditions of a query that is a selector and nothing else, as `match[]` wants them.
    ///
    /// # Errors
    /// [`QueryError::Parse`] where it is more than that.
    pub fn matchers(&self) -> Result<Vec<Matcher>, QueryError> {
        match &*self.expr.kind {
            Kind::Vector(selector) if selector.shift == Shift::default() => Ok(selector.matchers.clone()),
            _ => Err(QueryError::Parse("a plain selector is expected, such as up{job=\"node\"}".into())),
        }
    }

    /// What it is worth, which no data change.
    #[must_use]
    pub fn shape(&self) -> Shape {
        match self.expr.kind_of_value() {
            Type::Scalar => Shape::Scalar,
            Type::Text => Shape::String,
            Type::Vector => Shape::Vector,
            Type::Matrix => Shape::Matrix,
        }
    }

    /// The expression, written in the canonical way.
    #[must_use]
    pub fn prettify(&self) -> String {
        print::pretty(&self.expr)
    }
}

/// The expression on one line, written in the canonical way.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print::line(&self.expr))
    }
}
