//! Queries as text again, in one canonical form.

use crate::ast::{
    Compare, Extract, FormatFrom, Grouping, LabelFilter, LineFilter, LineOp, LogExpr, Pick, RangeExpr, RangeOp, Sought,
    Stage, Unwrap,
};
use crate::parse::{Metric, PLACEHOLDER};
use skerry_model::Span;
use skerry_promql::{MatchOp, Matcher, number_text, quoted};
use std::time::Duration;

/// A log expression, one line.
pub(crate) fn log(log: &LogExpr) -> String {
    let mut out = selector(&log.matchers);
    for stage in &log.stages {
        out.push(' ');
        out.push_str(&self::stage(stage));
    }
    out
}

/// A metric query: short ones on one line, long ones over several.
pub(crate) fn metric(metric: &Metric) -> String {
    let mut out = metric.rest.prettify();
    for (number, range) in metric.ranges.iter().enumerate() {
        let selector = format!("{{{PLACEHOLDER}=\"{number}\"}}");
        let window = span(range.range_ms);
        let placed = match (range.op, &range.param) {
            (RangeOp::Quantile, Some(param)) => {
                let param = param.parse().map_or_else(|_| param.clone(), number_text);
                format!("quantile_over_time({param}, {selector}[{window}])")
            }
            (RangeOp::RateCounter, _) => format!("rate({selector}[{window}])"),
            _ => selector,
        };
        out = out.replacen(&placed, &self::range(range), 1);
    }
    out
}

fn span(millis: i64) -> String {
    let text = Span(Duration::from_millis(millis.unsigned_abs())).to_string();
    if millis < 0 { format!("-{text}") } else { text }
}

fn range(range: &RangeExpr) -> String {
    let mut out = format!("{}(", range.op.as_str());
    if let Some(param) = &range.param {
        out.push_str(param);
        out.push_str(", ");
    }
    out.push_str(&log(&range.log));
    if let Some(unwrap) = &range.unwrap {
        out.push_str(&self::unwrap(unwrap));
    }
    let blank = if range.log.stages.is_empty() && range.unwrap.is_none() { "" } else { " " };
    out.push_str(&format!("{blank}[{}]", span(range.range_ms)));
    if range.offset_ms != 0 {
        out.push_str(&format!(" offset {}", span(range.offset_ms)));
    }
    out.push(')');
    if let Some(Grouping { is_by, names }) = &range.grouping {
        let word = if *is_by { "by" } else { "without" };
        out.push_str(&format!(" {word} ({})", names.join(", ")));
    }
    out
}

fn unwrap(unwrap: &Unwrap) -> String {
    let mut out = match unwrap.function {
        Some(function) => format!(" | unwrap {function}({})", unwrap.label),
        None => format!(" | unwrap {}", unwrap.label),
    };
    for filter in &unwrap.filters {
        out.push_str(&format!(" | {}", label_filter(filter)));
    }
    out
}

/// A text in quotes: as it stands between backticks where that saves escapes.
fn text(text: &str) -> String {
    let is_raw = text.contains(['"', '\\']) && !text.contains(|c: char| c == '`' || c.is_control());
    if is_raw { format!("`{text}`") } else { quoted(text) }
}

fn selector(matchers: &[Matcher]) -> String {
    let parts: Vec<String> = matchers.iter().map(matcher).collect();
    format!("{{{}}}", parts.join(", "))
}

fn matcher(matcher: &Matcher) -> String {
    let op = match matcher.op() {
        MatchOp::Equal => "=",
        MatchOp::NotEqual => "!=",
        MatchOp::Regex => "=~",
        MatchOp::NotRegex => "!~",
    };
    format!("{}{op}{}", matcher.label(), text(matcher.value()))
}

fn stage(stage: &Stage) -> String {
    match stage {
        Stage::Line(filter) => line_filter(filter),
        Stage::Json(list) => format!("| json{}", extracts(list)),
        Stage::Logfmt { strict, keep_empty, extracts: list } => {
            let strict = if *strict { " --strict" } else { "" };
            let keep_empty = if *keep_empty { " --keep-empty" } else { "" };
            format!("| logfmt{strict}{keep_empty}{}", extracts(list))
        }
        Stage::Regexp(_, expression) => format!("| regexp {}", text(expression)),
        Stage::Pattern(_, pattern) => format!("| pattern {}", text(pattern)),
        Stage::Unpack => "| unpack".into(),
        Stage::Decolorize => "| decolorize".into(),
        Stage::Labels(filter) => format!("| {}", label_filter(filter)),
        Stage::LineFormat(template) => format!("| line_format {}", text(template.text())),
        Stage::LabelFormat(formats) => {
            let part = |format: &crate::ast::Format| match &format.from {
                FormatFrom::Label(from) => format!("{}={from}", format.name),
                FormatFrom::Template(template) => format!("{}={}", format.name, text(template.text())),
            };
            format!("| label_format {}", formats.iter().map(part).collect::<Vec<_>>().join(", "))
        }
        Stage::Drop(list) => format!("| drop {}", picks(list)),
        Stage::Keep(list) => format!("| keep {}", picks(list)),
    }
}

fn line_filter(filter: &LineFilter) -> String {
    let op = match filter.op {
        LineOp::Contains => "|=",
        LineOp::NotContains => "!=",
        LineOp::Regex => "|~",
        LineOp::NotRegex => "!~",
        LineOp::Pattern => "|>",
        LineOp::NotPattern => "!>",
    };
    let sought = |sought: &Sought| match sought {
        Sought::Text(_, needle) => text(needle),
        Sought::Regex(regex) => text(regex.as_str()),
        Sought::Pattern(_, pattern) => text(pattern),
        Sought::Ip(_, range) => format!("ip({})", text(range)),
    };
    format!("{op} {}", filter.alternatives.iter().map(sought).collect::<Vec<_>>().join(" or "))
}

fn extracts(list: &[Extract]) -> String {
    let part = |extract: &Extract| format!("{}={}", extract.name, text(&extract.text));
    let parts: Vec<String> = list.iter().map(part).collect();
    if parts.is_empty() { String::new() } else { format!(" {}", parts.join(", ")) }
}

fn picks(list: &[Pick]) -> String {
    let part = |pick: &Pick| match pick {
        Pick::Name(name) => name.clone(),
        Pick::Matching(matching) => matcher(matching),
    };
    list.iter().map(part).collect::<Vec<_>>().join(", ")
}

fn label_filter(filter: &LabelFilter) -> String {
    // Conditions are read from left to right, so only what stands on the right needs parentheses.
    let right = |filter: &LabelFilter| match filter {
        LabelFilter::And(..) | LabelFilter::Or(..) => format!("({})", label_filter(filter)),
        _ => label_filter(filter),
    };
    match filter {
        LabelFilter::And(left, other) => format!("{} and {}", label_filter(left), right(other)),
        LabelFilter::Or(left, other) => format!("{} or {}", label_filter(left), right(other)),
        LabelFilter::Text(matching) => matcher(matching),
        LabelFilter::Quantity { name, op, text, .. } => {
            let op = match op {
                Compare::Equal => "==",
                Compare::NotEqual => "!=",
                Compare::Greater => ">",
                Compare::GreaterEqual => ">=",
                Compare::Less => "<",
                Compare::LessEqual => "<=",
            };
            format!("{name} {op} {text}")
        }
        LabelFilter::Ip { name, is_not, text: range, .. } => {
            format!("{name} {} ip({})", if *is_not { "!=" } else { "=" }, text(range))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Query;
    use proptest::prelude::*;

    fn format(text: &str) -> Result<String, crate::ParseError> {
        Query::parse(text).map(|query| query.format())
    }

    #[test]
    fn queries_are_written_in_one_form() {
        for (text, expected) in [
            (r#"{a="b",c=~`d\d`}|="x" or"y"!~"z""#, r#"{a="b", c=~`d\d`} |= "x" or "y" !~ "z""#),
            (
                r#"{a="b"}|json x,y="z[0]"|logfmt --strict|c>5ms,d="e""#,
                r#"{a="b"} | json x="x", y="z[0]" | logfmt --strict | c > 5ms and d="e""#,
            ),
            (
                r#"{a="b"}|(c=1 or d=2)and(e=3 or f=ip("::1"))"#,
                r#"{a="b"} | c == 1 or d == 2 and (e == 3 or f = ip("::1"))"#,
            ),
            (
                r#"{a="b"}|line_format"{{.x}} \"y\""|label_format p=q,r="{{.s}}"|drop t,u="v""#,
                r#"{a="b"} | line_format `{{.x}} "y"` | label_format p=q, r="{{.s}}" | drop t, u="v""#,
            ),
            (
                r#"sum(rate({a="b"}|="c"[90s]offset 1h))by(d)>5"#,
                r#"sum by (d) (rate({a="b"} |= "c" [1m30s] offset 1h)) > 5"#,
            ),
            (
                r#"quantile_over_time(0.990,{a="b"}|unwrap duration(x)|__error__=""[5m])by(y)"#,
                r#"quantile_over_time(0.990, {a="b"} | unwrap duration(x) | __error__="" [5m]) by (y)"#,
            ),
            (
                r#"rate_counter({a="b"}|unwrap x[5m])+count_over_time({a="b"}[1m])"#,
                r#"rate_counter({a="b"} | unwrap x [5m]) + count_over_time({a="b"}[1m])"#,
            ),
            ("vector(1)", "vector(1)"),
        ] {
            assert_eq!(format(text).unwrap(), expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(
            stages in proptest::collection::vec(prop_oneof![
                Just("|= \"a\\\"`\""), Just("!~ `b\\d`"), Just("|> \"a <_>\" or \"b\""), Just("| json"), Just("| json a=\"b.c\", d"),
                Just("| logfmt --keep-empty e"), Just("| regexp \"(?P<f>.)\""), Just("| pattern \"<g> h\""), Just("| unpack"),
                Just("| decolorize"), Just("| i=\"j\" or k>5 and (l<=1MB or m!=-3h)"), Just("| n=ip(\"1.2.3.4/8\")"),
                Just("| line_format \"{{.o}}\\n\""), Just("| label_format p=q,r=\"s\""), Just("| drop t, u=~\"v\""), Just("| keep w"),
            ], 0..6),
            wrap in prop_oneof![
                Just(("", "")), Just(("rate(", "[5m])")), Just(("sum by (a) (count_over_time(", "[1h30m] offset -5s))")),
                Just(("1 + avg_over_time(", "| unwrap bytes(x) | y=\"z\" [1d]) without (b)")),
                Just(("topk(3, quantile_over_time(0.5, ", "| unwrap x [1ms])) / ignoring(c) group_left vector(2)")),
            ],
        ) {
            let text = format!("{}{{a=\"b\"}} {} {}", wrap.0, stages.join(" "), wrap.1);
            let once = format(&text).unwrap();
            prop_assert_eq!(format(&once).unwrap(), once);
        }
    }
}
