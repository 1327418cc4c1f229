//! The functions of the language: what they take and what they give.

use super::ast::Type::{self, Matrix, Scalar, Text, Vector};

/// A function.
#[derive(Debug, Clone, Copy)]
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) args: &'static [Type],
    pub(super) more: More,
    pub(super) returns: Type,
}

/// How often the last argument may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    /// Once.
    No,
    /// This many times at most, or not at all.
    UpTo(usize),
    /// Any number of times, or not at all.
    Any,
}

const fn of(name: &'static str, args: &'static [Type], returns: Type) -> Function {
    Function { name, args, more: More::No, returns }
}

const fn with(name: &'static str, args: &'static [Type], more: More, returns: Type) -> Function {
    Function { name, args, more, returns }
}

/// The function of that name.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// From Prometheus's documentation of its functions, the experimental ones among them that take no histograms.
static FUNCTIONS: &[Function] = &[
    of("abs", &[Vector], Vector),
    of("absent", &[Vector], Vector),
    of("absent_over_time", &[Matrix], Vector),
    of("acos", &[Vector], Vector),
    of("acosh", &[Vector], Vector),
    of("asin", &[Vector], Vector),
    of("asinh", &[Vector], Vector),
    of("atan", &[Vector], Vector),
    of("atanh", &[Vector], Vector),
    of("avg_over_time", &[Matrix], Vector),
    of("ceil", &[Vector], Vector),
    of("changes", &[Matrix], Vector),
    of("clamp", &[Vector, Scalar, Scalar], Vector),
    of("clamp_max", &[Vector, Scalar], Vector),
    of("clamp_min", &[Vector, Scalar], Vector),
    of("cos", &[Vector], Vector),
    of("cosh", &[Vector], Vector),
    of("count_over_time", &[Matrix], Vector),
    with("day_of_month", &[Vector], More::UpTo(1), Vector),
    with("day_of_week", &[Vector], More::UpTo(1), Vector),
    with("day_of_year", &[Vector], More::UpTo(1), Vector),
    with("days_in_month", &[Vector], More::UpTo(1), Vector),
    of("deg", &[Vector], Vector),
    of("delta", &[Matrix], Vector),
    of("deriv", &[Matrix], Vector),
    of("double_exponential_smoothing", &[Matrix, Scalar, Scalar], Vector),
    of("end", &[], Scalar),
    of("exp", &[Vector], Vector),
    of("first_over_time", &[Matrix], Vector),
    of("floor", &[Vector], Vector),
    of("histogram_avg", &[Vector], Vector),
    of("histogram_count", &[Vector], Vector),
    of("histogram_fraction", &[Scalar, Scalar, Vector], Vector),
    of("histogram_quantile", &[Scalar, Vector], Vector),
    with("histogram_quantiles", &[Vector, Text, Scalar, Scalar], More::UpTo(9), Vector),
    of("histogram_stddev", &[Vector], Vector),
    of("histogram_stdvar", &[Vector], Vector),
    of("histogram_sum", &[Vector], Vector),
    with("hour", &[Vector], More::UpTo(1), Vector),
    of("idelta", &[Matrix], Vector),
    of("increase", &[Matrix], Vector),
    with("info", &[Vector, Vector], More::UpTo(1), Vector),
    of("irate", &[Matrix], Vector),
    with("label_join", &[Vector, Text, Text, Text], More::Any, Vector),
    of("label_replace", &[Vector, Text, Text, Text, Text], Vector),
    of("last_over_time", &[Matrix], Vector),
    of("ln", &[Vector], Vector),
    of("log10", &[Vector], Vector),
    of("log2", &[Vector], Vector),
    of("mad_over_time", &[Matrix], Vector),
    of("max_of", &[Scalar, Scalar], Scalar),
    of("max_over_time", &[Matrix], Vector),
    of("min_of", &[Scalar, Scalar], Scalar),
    of("min_over_time", &[Matrix], Vector),
    with("minute", &[Vector], More::UpTo(1), Vector),
    with("month", &[Vector], More::UpTo(1), Vector),
    of("pi", &[], Scalar),
    of("predict_linear", &[Matrix, Scalar], Vector),
    of("present_over_time", &[Matrix], Vector),
    of("quantile_over_time", &[Scalar, Matrix], Vector),
    of("rad", &[Vector], Vector),
    of("range", &[], Scalar),
    of("rate", &[Matrix], Vector),
    of("resets", &[Matrix], Vector),
    with("round", &[Vector, Scalar], More::UpTo(1), Vector),
    of("scalar", &[Vector], Scalar),
    of("sgn", &[Vector], Vector),
    of("sin", &[Vector], Vector),
    of("sinh", &[Vector], Vector),
    of("sort", &[Vector], Vector),
    with("sort_by_label", &[Vector, Text], More::Any, Vector),
    with("sort_by_label_desc", &[Vector, Text], More::Any, Vector),
    of("sort_desc", &[Vector], Vector),
    of("sqrt", &[Vector], Vector),
    of("start", &[], Scalar),
    of("stddev_over_time", &[Matrix], Vector),
    of("stdvar_over_time", &[Matrix], Vector),
    of("step", &[], Scalar),
    of("sum_over_time", &[Matrix], Vector),
    of("tan", &[Vector], Vector),
    of("tanh", &[Vector], Vector),
    of("time", &[], Scalar),
    of("timestamp", &[Vector], Vector),
    of("ts_of_first_over_time", &[Matrix], Vector),
    of("ts_of_last_over_time", &[Matrix], Vector),
    of("ts_of_max_over_time", &[Matrix], Vector),
    of("ts_of_min_over_time", &[Matrix], Vector),
    of("vector", &[Scalar], Vector),
    with("year", &[Vector], More::UpTo(1), Vector),
];
