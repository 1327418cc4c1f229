//! Expressions from their parts, with the checks of types that Prometheus makes.

use super::ParseError;
use super::ast::{
    Aggregate, AggregateOp, Binary, Call, Cardinality, Expr, Grouping, Kind, Matching, Op, Shift, Sign, Subquery, Type,
};
use super::functions::{self, Function, More};
use crate::DEPTH_MAX;

type Built = Result<Expr, ParseError>;

fn fail<T>(at: usize, problem: impl Into<String>) -> Result<T, ParseError> {
    Err(ParseError::new(at, problem.into()))
}

/// `Inf` and `NaN`, however they are written.
pub(super) fn special(word: &str) -> Option<f64> {
    match word {
        _ if word.eq_ignore_ascii_case("inf") => Some(f64::INFINITY),
        _ if word.eq_ignore_ascii_case("nan") => Some(f64::NAN),
        _ => None,
    }
}

/// Milliseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "as Prometheus does")]
pub(super) fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

/// Seconds as whole milliseconds; `None` where they are no number or too many.
pub(super) fn millis(seconds: f64) -> Option<i64> {
    let millis = (seconds * 1000.0).round();
    #[expect(clippy::cast_possible_truncation, reason = "bounded")]
    (millis.abs() < 9e15).then_some(millis as i64)
}

pub(super) fn leaf(start: usize, end: usize, kind: Kind) -> Expr {
    Expr { kind: Box::new(kind), start, end, depth: 1 }
}

fn node(start: usize, end: usize, depth_below: usize, kind: Kind) -> Built {
    let depth = depth_below + 1;
    if depth > DEPTH_MAX {
        Err(ParseError::too_deep(start, DEPTH_MAX))
    } else {
        Ok(Expr { kind: Box::new(kind), start, end, depth })
    }
}

/// An expression with marks around it.
pub(super) fn around(start: usize, end: usize, inner: Expr, kind: impl FnOnce(Box<Expr>) -> Kind) -> Built {
    let depth = inner.depth;
    node(start, end, depth, kind(Box::new(inner)))
}

pub(super) fn unary(start: usize, sign: Sign, operand: Expr) -> Built {
    let end = operand.end;
    match (&*operand.kind, operand.kind_of_value()) {
        (Kind::Number(value, is_duration), _) => {
            let value = if sign == Sign::Minus { -value } else { *value };
            Ok(leaf(start, end, Kind::Number(value, *is_duration)))
        }
        (_, Type::Scalar | Type::Vector) => around(start, end, operand, |inner| Kind::Unary(sign, inner)),
        (_, other) => fail(
            start,
            format!(
                "unary expression only allowed on expressions of type scalar or instant vector, got {:?}",
                other.to_string()
            ),
        ),
    }
}

pub(super) fn binary(at: usize, op: Op, left: Expr, right: Expr, matching: Matching) -> Built {
    let (start, end, depth) = (left.start, right.end, left.depth.max(right.depth));
    let (of_left, of_right) = (left.kind_of_value(), right.kind_of_value());
    let is_good = |kind| matches!(kind, Type::Scalar | Type::Vector);
    if matching.is_bool && !op.is_comparison() {
        return fail(at, "bool modifier can only be used on comparison operators");
    }
    if !is_good(of_left) || !is_good(of_right) {
        let at = if is_good(of_left) { right.start } else { left.start };
        return fail(at, "binary expression must contain only scalar and instant vector types");
    }
    match (of_left, of_right) {
        (Type::Scalar, Type::Scalar) if op.is_comparison() && !matching.is_bool => {
            return fail(at, "comparisons between scalars must use BOOL modifier");
        }
        (Type::Vector, Type::Vector) => {}
        _ if op.is_set() => {
            return fail(at, format!("set operator {:?} not allowed in binary scalar expression", op.as_str()));
        }
        _ => {
            let names = match &matching.grouping {
                Some(Grouping::Only(names) | Grouping::Without(names)) => !names.is_empty(),
                None => false,
            };
            let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
            if names || fills || !matches!(matching.card, Cardinality::OneToOne | Cardinality::ManyToMany) {
                return fail(at, "vector matching only allowed between instant vectors");
            }
        }
    }
    if op.is_set() && (matching.fill_left.is_some() || matching.fill_right.is_some()) {
        return fail(at, "filling in missing series not allowed for set operators");
    }
    let (left, right) = (Box::new(left), Box::new(right));
    node(start, end, depth, Kind::Binary(Binary { op, left, right, matching }))
}

pub(super) fn aggregate(
    start: usize,
    end: usize,
    op: AggregateOp,
    param: Option<Expr>,
    expr: Option<Expr>,
    grouping: Option<Grouping>,
) -> Built {
    let Some(expr) = expr else {
        return fail(start, "no arguments for aggregate expression provided");
    };
    expect_type(&expr, Type::Vector, "aggregation expression")?;
    if let (Some(param), Some(wanted)) = (&param, op.param()) {
        expect_type(param, wanted, "aggregation parameter")?;
    }
    let depth = expr.depth.max(param.as_ref().map_or(0, |param| param.depth));
    let (expr, param) = (Box::new(expr), param.map(Box::new));
    node(start, end, depth, Kind::Aggregate(Aggregate { op, expr, param, grouping }))
}

fn expect_type(expr: &Expr, wanted: Type, context: &str) -> Result<(), ParseError> {
    let found = expr.kind_of_value();
    if found == wanted { Ok(()) } else { fail(expr.start, format!("expected type {wanted} in {context}, got {found}")) }
}

pub(super) fn function(name: &str, start: usize) -> Result<&'static Function, ParseError> {
    functions::find(name).ok_or_else(|| ParseError::new(start, format!("unknown function with name {name:?}")))
}

pub(super) fn call(start: usize, end: usize, function: &'static Function, args: Vec<Expr>) -> Built {
    let Function { name, args: wanted, more, returns } = function;
    let (least, most) = match more {
        More::No => (wanted.len(), wanted.len()),
        More::UpTo(times) => (wanted.len() - 1, wanted.len() - 1 + times),
        More::Any => (wanted.len() - 1, usize::MAX),
    };
    let problem = if args.len() < least {
        let at_least = if least == most { "" } else { "at least " };
        Some(format!("expected {at_least}{least} argument(s) in call to {name:?}, got {}", args.len()))
    } else if args.len() > most {
        let at_most = if least == most { "" } else { "at most " };
        Some(format!("expected {at_most}{most} argument(s) in call to {name:?}, got {}", args.len()))
    } else {
        None
    };
    if let Some(problem) = problem {
        return fail(start, problem);
    }
    for (at, arg) in args.iter().enumerate() {
        if let Some(wanted) = wanted.get(at).or(wanted.last()) {
            expect_type(arg, *wanted, &format!("call to function {name:?}"))?;
        }
    }
    let depth = args.iter().map(|arg| arg.depth).max().unwrap_or(0);
    node(start, end, depth, Kind::Call(Call { name, returns: *returns, args }))
}

pub(super) fn matrix(at: usize, expr: Expr, range: i64, end: usize) -> Built {
    let start = expr.start;
    match *expr.kind {
        Kind::Vector(selector) if selector.shift.offset.is_some() => {
            fail(at, "no offset modifiers allowed before range")
        }
        Kind::Vector(selector) if selector.shift.at.is_some() => fail(at, "no @ modifiers allowed before range"),
        Kind::Vector(selector) => Ok(leaf(start, end, Kind::Matrix(selector, range))),
        _ => fail(at, "ranges only allowed for vector selectors"),
    }
}

pub(super) fn subquery(at: usize, expr: Expr, range_ms: i64, step_ms: Option<i64>, end: usize) -> Built {
    let (start, depth, found) = (expr.start, expr.depth, expr.kind_of_value());
    if found != Type::Vector {
        return fail(at, format!("subquery is only allowed on instant vector, got {found} instead"));
    }
    let expr = Box::new(expr);
    node(start, end, depth, Kind::Subquery(Subquery { expr, range_ms, step_ms, shift: Shift::default() }))
}

/// An expression with `@` or `offset` behind it.
pub(super) fn shifted(at: usize, mut expr: Expr, end: usize, by: Shift) -> Built {
    let (word, kinds) = match by.at {
        Some(_) => {
            ("@", "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery")
        }
        None => (
            "offset",
            "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
        ),
    };
    let shift = match &mut *expr.kind {
        Kind::Vector(selector) | Kind::Matrix(selector, _) => &mut selector.shift,
        Kind::Subquery(subquery) => &mut subquery.shift,
        _ => return fail(at, kinds),
    };
    let is_twice = (by.at.is_some() && shift.at.is_some()) || (by.offset.is_some() && shift.offset.is_some());
    if is_twice {
        return fail(at, format!("{word} may not be set multiple times"));
    }
    shift.at = shift.at.or(by.at);
    shift.offset = shift.offset.or(by.offset);
    expr.end = end;
    Ok(expr)
}
