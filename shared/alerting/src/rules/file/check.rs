//! Checks of single values: names, time spans, expressions.

use skerry_model::Span;
use skerry_promql::{Query, QueryError};
use std::time::Duration;

/// Longest time span, in milliseconds: Go's, 292 years.
const SPAN_MS_MAX: u64 = i64::MAX as u64 / 1_000_000;
const YEAR_MS: u64 = 365 * 86_400_000;

/// Whether a text can name a label or an annotation.
pub(super) fn is_label_name(name: &str, legacy: bool) -> bool {
    is_name(name, legacy, |c| c == '_')
}

/// Whether a text can name a metric.
pub(super) fn is_metric_name(name: &str, legacy: bool) -> bool {
    is_name(name, legacy, |c| c == '_' || c == ':')
}

fn is_name(name: &str, legacy: bool, more: impl Fn(char) -> bool) -> bool {
    let is_good = |c: char| c.is_ascii_alphanumeric() || more(c);
    let begins = name.chars().next().is_some_and(|c| !c.is_ascii_digit());
    !name.is_empty() && (!legacy || (begins && name.chars().all(is_good)))
}

/// A time span as Prometheus writes it: `1h30m`, with years and weeks, and a bare `0`.
///
/// # Errors
/// What is expected.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let fail = || {
        let shown: String = text.chars().take(40).collect();
        format!(
            "{shown:?} is no time span: whole numbers with y, w, d, h, m, s or ms are expected, such as 30s or 1h30m"
        )
    };
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (years, rest) = match text.split_once('y') {
        Some((years, rest)) => (years.parse::<u32>().map_err(|_| fail())?, rest),
        None => (0, text),
    };
    let is_odd = years_sign(text) || rest.trim() != rest;
    let rest = match rest {
        "" if years > 0 || text.contains('y') => Duration::ZERO,
        rest => rest.parse::<Span>().map_err(|_| fail())?.0,
    };
    let millis = u64::from(years) * YEAR_MS + u64::try_from(rest.as_millis()).unwrap_or(u64::MAX / 2);
    if is_odd || millis > SPAN_MS_MAX {
        return Err(fail());
    }
    Ok(Duration::from_millis(millis))
}

/// Rust's numbers may have a sign, time spans may not.
fn years_sign(text: &str) -> bool {
    text.starts_with(['+', '-'])
}

/// An expression; otherwise the byte where it goes wrong and what is wrong there.
pub(super) fn query(expr: &str) -> Result<Query, (usize, String)> {
    Query::parse(expr).map_err(|error| match error {
        QueryError::Parse(text) => placed(expr, &text).unwrap_or((0, text)),
        other => (0, other.to_string()),
    })
}

/// Byte and problem of the parser's `row:column: parse error: problem`.
fn placed(expr: &str, text: &str) -> Option<(usize, String)> {
    let (place, problem) = text.split_once(": parse error: ")?;
    let (row, column) = place.split_once(':')?;
    let (row, column): (usize, usize) = (row.parse().ok()?, column.parse().ok()?);
    let begins = expr.split_inclusive('\n').take(row.checked_sub(1)?).map(str::len).sum::<usize>();
    Some((expr.floor_char_boundary(begins + column.checked_sub(1)?), problem.to_owned()))
}
