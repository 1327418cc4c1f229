//! No text and no samples make it panic, and what it touches is bounded.

use proptest::prelude::*;
use skerry_model::{Labels, Sample, UnixMillis, stale_nan};
use skerry_promql::{Limits, Matcher, Query, QueryError, Selected, Source, SourceError, Span};
use std::time::Duration;

/// The same few series for whatever is asked, with the numbers that are hardest.
struct Odd;

impl Source for Odd {
    fn select(&self, _: &[Matcher], from: UnixMillis, to: UnixMillis, _: u64) -> Result<Vec<Selected>, SourceError> {
        let values = [0.0, -0.0, 1.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, stale_nan(), -7.0, 1e-300];
        let series = |labels: &[(&str, &str)]| {
            let times = (0..40).map(|n| UnixMillis(n * 7_000)).filter(|at| *at >= from && *at <= to);
            let samples = times.enumerate().map(|(n, at)| Sample { at, value: values[n % values.len()] });
            Selected { labels: Labels::new(labels.iter().copied()).expect("sound labels"), samples: samples.collect() }
        };
        let all = [
            series(&[("__name__", "a_total"), ("le", "1"), ("job", "x")]),
            series(&[("__name__", "a_total"), ("le", "+Inf"), ("job", "x")]),
            series(&[("__name__", "b"), ("job", "y"), ("instance", "1")]),
        ];
        Ok(all.into_iter().filter(|series| !series.samples.is_empty()).collect())
    }
}

fn evaluate(text: &str) -> Result<(), QueryError> {
    let query = Query::parse(text)?;
    let limits = Limits { values_max: 200_000, ..Limits::default() };
    let range = Span::range(UnixMillis(-60_000), UnixMillis(300_000), Duration::from_secs(13))?;
    let instant = query.evaluate(&Odd, Span::instant(UnixMillis(100_000)), limits).map(drop);
    query.evaluate(&Odd, range, limits).map(drop).and(instant)
}

fn operand() -> impl Strategy<Value = String> {
    let words = [
        "a_total",
        "b",
        "1",
        "-2.5",
        "NaN",
        "{job=\"x\"}",
        "a_total[1m]",
        "b[3m:7s]",
        "\"le\"",
        "time()",
        "b @ 60 offset -1m",
    ];
    prop::sample::select(words.to_vec()).prop_map(str::to_owned)
}

fn expression() -> impl Strategy<Value = String> {
    operand().prop_recursive(4, 24, 3, |inner| {
        let functions = [
            "rate",
            "increase",
            "irate",
            "delta",
            "deriv",
            "abs",
            "ceil",
            "sort",
            "absent",
            "timestamp",
            "scalar",
            "vector",
            "year",
            "sum_over_time",
            "max_over_time",
            "changes",
            "resets",
            "absent_over_time",
            "stddev_over_time",
            "mad_over_time",
            "ts_of_max_over_time",
            "round",
            "info",
            "sgn",
            "histogram_count",
        ];
        let pairs =
            ["quantile_over_time", "predict_linear", "clamp_min", "histogram_quantile", "sort_by_label", "round"];
        let operators = [
            "+",
            "/",
            "%",
            "^",
            "atan2",
            "==",
            "!= bool",
            ">",
            "and",
            "or",
            "unless",
            "/ on(job) group_left()",
            "* ignoring(le) fill(0)",
        ];
        let aggregations = [
            "sum",
            "avg by (job)",
            "topk",
            "quantile without (le)",
            "count_values",
            "stddev",
            "limitk",
            "group by (__name__)",
        ];
        prop_oneof![
            (prop::sample::select(functions.to_vec()), inner.clone()).prop_map(|(f, a)| format!("{f}({a})")),
            (prop::sample::select(pairs.to_vec()), inner.clone(), inner.clone())
                .prop_map(|(f, a, b)| format!("{f}({a}, {b})")),
            (inner.clone(), prop::sample::select(operators.to_vec()), inner.clone())
                .prop_map(|(a, o, b)| format!("({a} {o} {b})")),
            (prop::sample::select(aggregations.to_vec()), inner.clone()).prop_map(|(f, a)| format!("{f}({a})")),
            (prop::sample::select(aggregations.to_vec()), inner.clone(), inner.clone())
                .prop_map(|(f, a, b)| format!("{f}({a}, {b})")),
            inner.prop_map(|a| format!("(-{a})[5m:17s]")),
        ]
    })
}

/// Text of pieces that series notation is made of, in any order.
fn notation() -> impl Strategy<Value = String> {
    let pieces = [
        " ",
        "1",
        "-2.5",
        "+",
        "-",
        "x",
        "3",
        "x5",
        "_",
        "_x2",
        "stale",
        "NaN",
        "{{",
        "}}",
        "{{count:1 sum:2 buckets:[1 2]}}",
        "{{schema:3 buckets:[1] offset:-2000000000}}",
        "buckets:[",
        "]",
        "up{a=\"b\"}",
        "{",
        "}",
        "\"",
        "\\",
        "ä",
        "offset:2147483647 ",
        "n_buckets:[1 2]",
        "schema:-53 ",
        "999999",
        "1e308",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn series_notation_is_read_or_refused(text in prop_oneof![notation(), ".{0,60}"]) {
        if let Ok(line) = skerry_promql::notation::line(&text) {
            prop_assert!(line.slots.len() <= skerry_promql::notation::SLOTS_MAX);
        }
    }


    #[test]
    fn expressions_end(text in expression()) {
        let _ = evaluate(&text);
    }

    #[test]
    fn texts_end(text in "\\PC{0,60}") {
        let _ = evaluate(&text);
    }
}

#[test]
fn depth_length_and_work_are_bounded() {
    let deep = |n: usize| format!("{}b{}", "(".repeat(n), ")".repeat(n));
    assert!(evaluate(&deep(100)).is_ok());
    assert!(matches!(evaluate(&deep(5_000)), Err(QueryError::TooDeep(_))));
    assert!(matches!(evaluate(&format!("{}b", "-".repeat(5_000))), Err(QueryError::TooDeep(_))));
    assert!(matches!(evaluate(&"b + ".repeat(2_000)), Err(QueryError::TooDeep(_))));
    assert!(matches!(
        evaluate(&format!("{}b", "b + ".repeat(2_000))),
        Err(QueryError::TooDeep(_) | QueryError::TooMuch(_))
    ));
    assert!(matches!(evaluate(&" ".repeat(40_000)), Err(QueryError::Parse(_))));
    assert!(matches!(evaluate("sum_over_time(b[10y:1ms])"), Err(QueryError::TooMuch(_))));
    let span = Span::range(UnixMillis(0), UnixMillis(12_000_000), Duration::from_secs(1));
    assert!(matches!(span, Err(QueryError::Parse(_))));
}
