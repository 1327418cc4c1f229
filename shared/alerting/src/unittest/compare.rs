//! What was expected and what came, as values and as text.

use super::file::Expected;
use super::memory::Stored;
use skerry_model::{Labels, Span};
use skerry_promql::quoted;
use std::time::Duration;

/// Indentation of the lists in a failure.
const INDENT: &str = "            ";

/// Whether expressions gave what was expected; both are sorted by labels.
pub(super) fn same_samples(expected: &[(Labels, Expected)], found: &[(Labels, Stored)], fuzzy: bool) -> bool {
    let same = |(wanted, found): (&(Labels, Expected), &(Labels, Stored))| {
        wanted.0 == found.0
            && match (&wanted.1, &found.1) {
                (Expected::Number(a), Stored::Number(b)) => same_number(*a, *b, fuzzy),
                (Expected::Histogram(a), Stored::Histogram(b)) => a.is_same(b),
                _ => false,
            }
    };
    expected.len() == found.len() && expected.iter().zip(found).all(same)
}

/// Equal; where it may be fuzzy, also neighbours among the numbers that there are. NaN equals nothing, as in promtool.
#[expect(clippy::float_cmp, reason = "this is what is asked for")]
fn same_number(a: f64, b: f64, fuzzy: bool) -> bool {
    a == b || fuzzy && (a.next_up() == b || a.next_down() == b)
}

/// Samples as text, one a line.
pub(super) fn expected_lines(samples: &[(Labels, Expected)]) -> Vec<String> {
    let line = |(labels, value): &(Labels, Expected)| match value {
        Expected::Number(value) => format!("{} {}", label_text(labels), scientific(*value)),
        Expected::Histogram(histogram) => format!("{} {histogram}", label_text(labels)),
    };
    samples.iter().map(line).collect()
}

/// Samples as text, one a line.
pub(super) fn found_lines(samples: &[(Labels, Stored)]) -> Vec<String> {
    let line = |(labels, value): &(Labels, Stored)| match value {
        Stored::Number(value) => format!("{} {}", label_text(labels), scientific(*value)),
        Stored::Histogram(histogram) => format!("{} {histogram}", label_text(labels)),
    };
    samples.iter().map(line).collect()
}

/// Alerts as text, each in two lines.
pub(super) fn alert_lines(alerts: &[(Labels, Labels)]) -> Vec<String> {
    let line = |(n, (labels, annotations)): (usize, &(Labels, Labels))| {
        format!("{n}:\n{INDENT}  Labels:{}\n{INDENT}  Annotations:{}", label_text(labels), label_text(annotations))
    };
    alerts.iter().enumerate().map(line).collect()
}

/// A list of samples as promtool shows it.
pub(super) fn sample_list(lines: &[String]) -> String {
    if lines.is_empty() { "nil".into() } else { lines.join(", ") }
}

/// A list of alerts as promtool shows it.
pub(super) fn alert_list(lines: &[String]) -> String {
    if lines.is_empty() {
        return "[]".into();
    }
    let items: Vec<String> = lines.iter().map(|line| format!("\n{INDENT}{line}")).collect();
    format!("[{}\n{INDENT}]", items.join(","))
}

/// What only one side has, each line with its sign, between what both have.
pub(super) fn difference(expected: &[String], found: &[String]) -> String {
    let mut out = String::new();
    let mut line = |sign: char, text: &str| {
        for part in text.lines() {
            out.push_str("\n        ");
            out.push(sign);
            out.push(' ');
            out.push_str(part.trim_start());
        }
    };
    // Both are sorted, so what is the same stands in the same order.
    let mut rest = found.iter().peekable();
    for wanted in expected {
        if !found.contains(wanted) {
            line('-', wanted);
            continue;
        }
        while let Some(other) = rest.next_if(|other| *other != wanted) {
            line('+', other);
        }
        if let Some(same) = rest.next() {
            line(' ', same);
        }
    }
    rest.for_each(|other| line('+', other));
    out
}

/// Labels in braces, the metric's name among them.
pub(super) fn label_text(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// A span of milliseconds.
pub(super) fn span_text(millis: i64) -> String {
    Span(Duration::from_millis(millis.unsigned_abs())).to_string()
}

/// A number as promtool shows it: `1.5E+00`.
fn scientific(value: f64) -> String {
    if !value.is_finite() {
        return skerry_promql::number_text(value);
    }
    let text = format!("{value:E}");
    let (digits, exponent) = text.split_once('E').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
    format!("{digits}E{sign}{exponent:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_like_promtools() {
        for (value, text) in [
            (1.0, "1E+00"),
            (0.0, "0E+00"),
            (-31.5, "-3.15E+01"),
            (1e-7, "1E-07"),
            (1e100, "1E+100"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(scientific(value), text);
        }
    }

    #[test]
    fn only_neighbours_are_almost_equal() {
        for (a, b, exact, fuzzy) in [
            (3.0, 3.0, true, true),
            (3.0, 2.999_999_999_999_999_6, false, true),
            (3.0, 3.000_000_000_000_000_4, false, true),
            (3.0, 2.999_999_999_999_998_7, false, false),
            (f64::INFINITY, f64::INFINITY, true, true),
            (f64::NAN, f64::NAN, false, false),
            (0.0, -0.0, true, true),
        ] {
            assert_eq!((same_number(a, b, false), same_number(a, b, true)), (exact, fuzzy), "{a} {b}");
        }
    }

    #[test]
    fn a_difference_shows_both_sides() {
        let lines = |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
        let shown = difference(&lines("a b d"), &lines("b c d e"));
        assert_eq!(shown.split_whitespace().collect::<Vec<_>>(), ["-", "a", "b", "+", "c", "d", "+", "e"]);
    }
}
