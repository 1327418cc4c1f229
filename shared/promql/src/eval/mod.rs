//! Evaluation: every expression for all steps at once.
//!
//! A value that is absent at a step is the stale marker, which no sample and no function gives: selectors take it out,
//! and arithmetic is never done on it.

mod aggregate;
mod binary;
mod buckets;
mod column;
mod functions;
mod info;
mod labels;
mod matching;
mod over_time;
mod rates;
mod select;
mod sets;
mod simple;

use crate::annotations::Annotations;
use crate::error::{QueryError, execution};
use crate::parse::ast::{Expr, Kind, Sign};
use crate::parse::place;
use crate::query::{DEPTH_MAX, Limits, Span};
use crate::source::Source;
use crate::value::{Answer, Point, Series, Value};
use column::{Column, is_absent, merged};
pub(crate) use info::conditions as info_conditions;
use skerry_model::UnixMillis;

/// The moments of an evaluation, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Steps {
    start: i64,
    step: i64,
    count: usize,
}

impl Steps {
    fn at(&self, step: usize) -> i64 {
        self.start + self.step * i64::try_from(step).unwrap_or(i64::MAX)
    }

    fn each(&self) -> impl Iterator<Item = i64> + use<> {
        let steps = *self;
        (0..steps.count).map(move |step| steps.at(step))
    }
}

/// What an expression gives.
enum Evaluated {
    /// One number per step.
    Scalar(Vec<f64>),
    /// Columns.
    Vector(Vec<Column>),
    /// A text.
    Text(String),
}

/// Evaluates one query.
pub(crate) struct Evaluator<'a> {
    /// The query, for the places of remarks.
    text: &'a str,
    source: &'a dyn Source,
    span: Span,
    limits: Limits,
    annotations: Annotations,
    used: u64,
    depth: usize,
}

impl<'a> Evaluator<'a> {
    pub(crate) fn new(text: &'a str, source: &'a dyn Source, span: Span, limits: Limits) -> Self {
        Self { text, source, span, limits, annotations: Annotations::default(), used: 0, depth: 0 }
    }

    /// The answer, and how many values were looked at or made.
    pub(crate) fn run(mut self, expr: &Expr) -> Result<(Answer, u64), QueryError> {
        let steps = Steps { start: self.span.start, step: self.span.step, count: self.span.steps() };
        let point = |step: usize, value: f64| Point { at: UnixMillis(steps.at(step)), value };
        let value = match &*expr.bare().kind {
            Kind::Matrix(..) | Kind::Subquery(_) => Value::Matrix(self.raw(expr, &steps)?),
            _ => match self.eval(expr, &steps)? {
                Evaluated::Text(text) => Value::String(text),
                Evaluated::Scalar(values) => {
                    Value::Scalar(values.into_iter().enumerate().map(|(step, value)| point(step, value)).collect())
                }
                Evaluated::Vector(columns) => {
                    let columns = columns.into_iter().map(Column::without_dropped_name).collect();
                    let series = |column: Column| {
                        let present = column.values.iter().enumerate().filter(|(_, value)| !is_absent(**value));
                        let points: Vec<Point> = present.map(|(step, value)| point(step, *value)).collect();
                        (!points.is_empty()).then_some(Series { labels: column.labels, points })
                    };
                    let mut all: Vec<Series> = merged(columns)?.into_iter().filter_map(series).collect();
                    if self.span.is_instant() {
                        Value::Vector(all)
                    } else {
                        all.sort_by(|a, b| a.labels.cmp(&b.labels));
                        Value::Matrix(all)
                    }
                }
            },
        };
        Ok((Answer { value, annotations: self.annotations }, self.used))
    }

    fn eval(&mut self, expr: &Expr, steps: &Steps) -> Result<Evaluated, QueryError> {
        if self.depth >= DEPTH_MAX {
            return Err(QueryError::TooDeep(DEPTH_MAX));
        }
        self.depth += 1;
        let evaluated = self.eval_node(expr, steps);
        self.depth -= 1;
        evaluated
    }

    fn eval_node(&mut self, expr: &Expr, steps: &Steps) -> Result<Evaluated, QueryError> {
        match &*expr.kind {
            Kind::Number(number, _) => {
                self.charge(steps.count)?;
                Ok(Evaluated::Scalar(vec![*number; steps.count]))
            }
            Kind::Text(text) => Ok(Evaluated::Text(text.clone())),
            Kind::Paren(inner) | Kind::Unary(Sign::Plus, inner) => self.eval(inner, steps),
            Kind::Unary(Sign::Minus, inner) => match self.eval(inner, steps)? {
                Evaluated::Scalar(values) => Ok(Evaluated::Scalar(values.into_iter().map(|value| -value).collect())),
                Evaluated::Vector(columns) => {
                    Ok(Evaluated::Vector(columns.into_iter().map(|column| column.mapped(|value| -value)).collect()))
                }
                Evaluated::Text(_) => Err(execution("a string has no negative")),
            },
            Kind::Vector(selector) => self.instant(selector, steps, select::Take::Value).map(Evaluated::Vector),
            Kind::Call(call) => self.call(call, steps),
            Kind::Aggregate(aggregate) => self.aggregate(aggregate, steps).map(Evaluated::Vector),
            Kind::Binary(binary) => self.binary(binary, steps),
            Kind::Matrix(..) | Kind::Subquery(_) => {
                Err(QueryError::Parse("a range vector stands where an instant vector is expected".into()))
            }
        }
    }

    /// Counts values that are looked at or made.
    fn charge(&mut self, values: usize) -> Result<(), QueryError> {
        self.used = self.used.saturating_add(values as u64);
        if self.used > self.limits.values_max { Err(QueryError::TooMuch(self.limits.values_max)) } else { Ok(()) }
    }

    /// Warns of what stands at `expr`.
    fn warn(&mut self, text: &str, expr: &Expr) {
        let place = place(self.text, expr.start);
        self.annotations.warn(format!("{text} ({place})"));
    }

    /// Remarks on what stands at `expr`.
    fn remark(&mut self, text: &str, expr: &Expr) {
        let place = place(self.text, expr.start);
        self.annotations.info(format!("{text} ({place})"));
    }

    fn scalar(&mut self, expr: &Expr, steps: &Steps) -> Result<Vec<f64>, QueryError> {
        match self.eval(expr, steps)? {
            Evaluated::Scalar(values) => Ok(values),
            _ => Err(QueryError::Parse("a scalar is expected".into())),
        }
    }

    fn vector(&mut self, expr: &Expr, steps: &Steps) -> Result<Vec<Column>, QueryError> {
        match self.eval(expr, steps)? {
            Evaluated::Vector(columns) => Ok(columns),
            _ => Err(QueryError::Parse("an instant vector is expected".into())),
        }
    }

    fn text(&mut self, expr: &Expr, steps: &Steps) -> Result<String, QueryError> {
        match self.eval(expr, steps)? {
            Evaluated::Text(text) => Ok(text),
            _ => Err(QueryError::Parse("a string is expected".into())),
        }
    }
}

/// Milliseconds since 1970, or of a span, as the seconds that expressions work with.
#[expect(clippy::cast_precision_loss, reason = "exact to 2^53 ms, 285,000 years")]
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}
