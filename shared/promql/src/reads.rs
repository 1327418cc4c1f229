//! What a query reads, told from its expression alone: for those who keep the samples that queries will need.

use crate::eval::info_conditions;
use crate::matcher::Matcher;
use crate::parse::ast::{At, Expr, Kind, Shift};
use crate::query::Limits;
use std::time::Duration;

/// What one selector of a query reads when the query is evaluated at one moment.
#[derive(Debug, Clone)]
pub struct Read {
    /// Its conditions.
    pub matchers: Vec<Matcher>,
    /// How far before that moment it reads at most: range or lookback, offsets and the subqueries around it in sum. What
    /// lies there is `(moment - back, …]`. `None` where it reads at a moment of its own (`@ 1600000000`).
    pub back: Option<Duration>,
}

/// How far before the query's moment an expression is evaluated at most, in milliseconds; `None` for a moment of its own.
type Base = Option<i64>;

/// What an expression reads.
pub(crate) fn of(expr: &Expr, limits: Limits) -> Vec<Read> {
    let mut reads = Vec::new();
    walk(expr, Some(0), limits, &mut reads);
    reads
}

/// The base of a selector or a subquery that stands at `base`.
fn shifted(base: Base, shift: Shift, range: i64) -> Base {
    let base = match shift.at {
        None => base,
        // Of an instant both are the query's moment.
        Some(At::Start | At::End) => Some(0),
        Some(At::Time(_)) => None,
    };
    base.map(|base| base.saturating_add(shift.offset.unwrap_or(0)).saturating_add(range))
}

/// Recurses as deep as expressions are nested, which is bounded.
fn walk(expr: &Expr, base: Base, limits: Limits, reads: &mut Vec<Read>) {
    let lookback = i64::try_from(limits.lookback.as_millis()).unwrap_or(i64::MAX);
    let mut read = |matchers: &[Matcher], base: Base| {
        let back = base.map(|back| Duration::from_millis(u64::try_from(back).unwrap_or(0)));
        reads.push(Read { matchers: matchers.to_vec(), back });
    };
    match &*expr.kind {
        Kind::Number(..) | Kind::Text(_) => {}
        Kind::Paren(inner) | Kind::Unary(_, inner) => walk(inner, base, limits, reads),
        Kind::Vector(selector) => read(&selector.matchers, shifted(base, selector.shift, lookback)),
        Kind::Matrix(selector, range) => read(&selector.matchers, shifted(base, selector.shift, *range)),
        Kind::Subquery(subquery) => {
            walk(&subquery.expr, shifted(base, subquery.shift, subquery.range_ms), limits, reads);
        }
        Kind::Call(call) if call.name == "info" => {
            let [vector, rest @ ..] = &call.args[..] else { return };
            let from = reads.len();
            walk(vector, base, limits, reads);
            // The info series are looked at when one of the vector's selectors is, with the lookback.
            let far = reads[from..].iter().map(|read| read.back).reduce(|a, b| a.zip(b).map(|(a, b)| a.max(b)));
            let back = far.unwrap_or(Some(Duration::ZERO)).map(|back| back.saturating_add(limits.lookback));
            reads.extend(info_conditions(rest).ok().map(|matchers| Read { matchers, back }));
        }
        Kind::Call(call) => call.args.iter().for_each(|arg| walk(arg, base, limits, reads)),
        Kind::Aggregate(aggregate) => {
            let parts = aggregate.param.iter().chain([&aggregate.expr]);
            parts.for_each(|part| walk(part, base, limits, reads));
        }
        Kind::Binary(binary) => {
            walk(&binary.left, base, limits, reads);
            walk(&binary.right, base, limits, reads);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Limits, Query};

    #[test]
    fn ranges_offsets_and_subqueries_add_up() {
        for (text, expected) in [
            ("1 + time()", &[][..]),
            ("up", &[("up", Some(300))]),
            ("rate(a[10m]) / b offset 1h", &[("a", Some(600)), ("b", Some(3900))]),
            ("max_over_time(rate(a[5m])[1h:1m] offset 1d)", &[("a", Some(86_400 + 3_600 + 300))]),
            ("sum(topk(scalar(k), -(a)))", &[("k", Some(300)), ("a", Some(300))]),
            ("a @ 1000 + b @ start() + c offset -5m", &[("a", None), ("b", Some(300)), ("c", Some(0))]),
            ("sum_over_time((b @ end() + a)[1h:] )", &[("b", Some(300)), ("a", Some(3900))]),
            ("sum_over_time(a[1h:] @ 5)", &[("a", None)]),
            ("info(rate(a[1h]))", &[("a", Some(3600)), ("target_info", Some(3900))]),
            ("absent_over_time(a[1d])", &[("a", Some(86_400))]),
        ] {
            let reads = Query::parse(text).expect(text).reads(Limits::default());
            let found: Vec<(&str, Option<u64>)> =
                reads.iter().map(|read| (read.matchers[0].value(), read.back.map(|back| back.as_secs()))).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn one_line_is_canonical() {
        let query = Query::parse("sum  by(a)(\n rate(x[300s]))>1").expect("sound");
        assert_eq!(query.to_string(), "sum by (a) (rate(x[5m])) > 1");
    }
}
