//! What a query answers.

use crate::annotations::Annotations;
use skerry_model::{Labels, UnixMillis};

/// A value at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When.
    pub at: UnixMillis,
    /// What.
    pub value: f64,
}

/// A series of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// Its values by rising time; at least one.
    pub points: Vec<Point>,
}

/// An answer without its remarks.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number at each step; of an instant query one.
    Scalar(Vec<Point>),
    /// A text, of an instant query.
    String(String),
    /// Series with one value each, of an instant query, in the order of the query where it sorts.
    Vector(Vec<Series>),
    /// Series with many values, sorted by labels.
    Matrix(Vec<Series>),
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What was asked for.
    pub value: Value,
    /// What its reader should know.
    pub annotations: Annotations,
}

/// A value as Prometheus writes it in answers, label values and messages: the shortest digits that read back, without
/// exponent; `NaN`, `+Inf`, `-Inf`.
#[must_use]
pub fn number_text(value: f64) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.into()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_prometheuss() {
        for (value, text) in [
            (0.0, "0"),
            (1.5, "1.5"),
            (-0.5, "-0.5"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (12_000_000.0, "12000000"),
        ] {
            assert_eq!(number_text(value), text);
        }
    }
}
