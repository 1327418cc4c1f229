//! Series as tests of Prometheus write them: `name{label="value"} 1 2+3x4 _ _x2 stale {{count:1 sum:2}}x3`.
//!
//! Both its PromQL scripts and promtool's rule tests use it.

mod histogram;

pub use histogram::{Buckets, Histogram, ResetHint};

use crate::matcher::MatchOp;
use crate::query::Query;
use skerry_model::{Labels, stale_nan};
use std::sync::Arc;

/// Most values of one series.
pub const SLOTS_MAX: usize = 1_000_000;

/// A value in a series' notation.
#[derive(Debug, Clone, PartialEq)]
pub enum Slot {
    /// None.
    Nothing,
    /// A number; the stale marker among them.
    Number(f64),
    /// A native histogram.
    Histogram(Arc<Histogram>),
}

/// A line: labels and values.
#[derive(Debug, Clone)]
pub struct Line {
    /// The series' labels.
    pub labels: Labels,
    /// Its values, one a step.
    pub slots: Vec<Slot>,
}

/// Reads a line.
///
/// # Errors
/// What is wrong with it.
pub fn line(text: &str) -> Result<Line, String> {
    let (metric, values) = split(text)?;
    Ok(Line { labels: labels(metric)?, slots: slots(values)? })
}

/// The metric and the values of a line: braces hold spaces, and quotes hold braces.
fn split(text: &str) -> Result<(&str, &str), String> {
    let (mut depth, mut is_quoted, mut is_escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            '{' if !is_quoted => depth += 1,
            '}' if !is_quoted => {
                depth -= 1;
                if depth == 0 {
                    return Ok(text.split_at(at + 1));
                }
            }
            c if c.is_whitespace() && depth == 0 => {
                // A name without braces, unless they follow.
                let rest = text[at..].trim_start();
                if !rest.starts_with('{') || rest.starts_with("{{") {
                    return Ok((&text[..at], rest));
                }
            }
            _ => {}
        }
    }
    if depth == 0 { Ok((text, "")) } else { Err(format!("braces of {text:?} do not close")) }
}

/// Reads labels that are written like a selector, `name{label="value"}`; of nothing and of `{}` there are none.
///
/// # Errors
/// Where it is none, or compares otherwise than by `=`.
pub fn labels(metric: &str) -> Result<Labels, String> {
    let compact = metric.trim();
    if compact.is_empty() || compact.strip_prefix('{').is_some_and(|rest| rest.trim() == "}") {
        return Ok(Labels::default());
    }
    let matchers = Query::parse(compact).and_then(|query| query.matchers());
    let matchers = matchers.map_err(|error| format!("{metric:?}: {error}"))?;
    if let Some(odd) = matchers.iter().find(|matcher| matcher.op() != MatchOp::Equal) {
        return Err(format!("{metric:?}: label {} has to be set with =", odd.label()));
    }
    let pairs = matchers.iter().map(|matcher| (matcher.label(), matcher.value()));
    Labels::new(pairs).map_err(|error| format!("{metric:?}: {error}"))
}

/// Reads values.
///
/// # Errors
/// What is wrong with them, or that there are more than [`SLOTS_MAX`].
pub fn slots(text: &str) -> Result<Vec<Slot>, String> {
    let mut all = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if rest.starts_with("{{") {
            rest = histograms(rest, &mut all)?.trim_start();
            continue;
        }
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        word_slots(word, &mut all)?;
        rest = after.trim_start();
    }
    Ok(all)
}

/// `{{…}}`, `{{…}}x2`, `{{…}}+{{…}}x2` or `{{…}}-{{…}}x2` at the beginning of `text`; what comes behind it.
fn histograms<'a>(text: &'a str, all: &mut Vec<Slot>) -> Result<&'a str, String> {
    let (mut histogram, rest) = braced(text)?;
    let (step, rest) = match rest.strip_prefix(['+', '-']).filter(|behind| behind.starts_with("{{")) {
        Some(behind) => {
            let (step, behind) = braced(behind)?;
            (Some((step, if rest.starts_with('-') { -1.0 } else { 1.0 })), behind)
        }
        None => (None, rest),
    };
    let (word, rest) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
    let times = match word.strip_prefix('x') {
        Some(times) => count(times, word)?,
        None if word.is_empty() && step.is_none() => 0,
        None => return Err(format!("{word:?} behind a histogram: xN is expected")),
    };
    room(all, times)?;
    let Some((step, factor)) = step else {
        all.extend(std::iter::repeat_n(Slot::Histogram(Arc::new(histogram)), times + 1));
        return Ok(rest);
    };
    for n in 0..=times {
        all.push(Slot::Histogram(Arc::new(histogram.clone())));
        if n < times {
            histogram = histogram.plus(&step, factor)?;
        }
    }
    Ok(rest)
}

fn braced(text: &str) -> Result<(Histogram, &str), String> {
    let inner = text.strip_prefix("{{").unwrap_or(text);
    let (inner, rest) = inner.split_once("}}").ok_or("a histogram does not close")?;
    Ok((Histogram::parse(inner)?, rest))
}

fn word_slots(word: &str, all: &mut Vec<Slot>) -> Result<(), String> {
    let (head, times) = match word.split_once('x') {
        Some((head, times)) => (head, Some(count(times, word)?)),
        None => (word, None),
    };
    room(all, times.unwrap_or(0))?;
    if head == "_" {
        all.extend(std::iter::repeat_n(Slot::Nothing, times.unwrap_or(1)));
        return Ok(());
    }
    let Some(times) = times else {
        all.push(Slot::Number(value(head)?));
        return Ok(());
    };
    // The sign between start and step; not the first one, and not an exponent's.
    let sign = head.char_indices().skip(1).find(|(at, c)| matches!(c, '+' | '-') && !head[..*at].ends_with(['e', 'E']));
    let (start, step) = match sign {
        None => (value(head)?, 0.0),
        Some((at, _)) => (value(&head[..at])?, number(&head[at..])?),
    };
    let mut value = start;
    for n in 0..=times {
        all.push(Slot::Number(value));
        // A step of nothing leaves markers and zeros as they are.
        if n < times && sign.is_some() {
            value += step;
        }
    }
    Ok(())
}

/// The N of `xN`.
fn count(times: &str, word: &str) -> Result<usize, String> {
    times.parse().map_err(|_| format!("{word:?}: a count is expected behind x"))
}

fn room(all: &[Slot], times: usize) -> Result<(), String> {
    match all.len().checked_add(times) {
        Some(sum) if sum < SLOTS_MAX => Ok(()),
        _ => Err(format!("a series has more than {SLOTS_MAX} values")),
    }
}

fn value(word: &str) -> Result<f64, String> {
    if word == "stale" { Ok(stale_nan()) } else { number(word) }
}

/// A number as Prometheus reads it.
///
/// # Errors
/// Where it is none.
pub fn number(word: &str) -> Result<f64, String> {
    let plain = word.trim().trim_start_matches('+').replace('_', "");
    plain.parse().map_err(|_| format!("{word:?} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notation_is_read() {
        let read = |text: &str| line(text).unwrap();
        let plain = read("http{path=\"/a b}\", x=\"1\"} 0+10x2 _ _x2 -1e-3 7x1");
        assert_eq!(plain.labels.value("path"), "/a b}");
        let n = Slot::Number;
        let nothing = || Slot::Nothing;
        assert_eq!(plain.slots, [n(0.0), n(10.0), n(20.0), nothing(), nothing(), nothing(), n(-1e-3), n(7.0), n(7.0)]);
        assert_eq!(read("metric 8-2x1").slots, [n(8.0), n(6.0)]);
        assert_eq!(read("metric 1e-2-5e-3x1").slots, [n(0.01), n(0.005)]);
        assert_eq!(read("{} 5").labels, Labels::default());
        assert_eq!(read("{} 0x2").slots, [n(0.0), n(0.0), n(0.0)]);
        let stale = read("m stalex1 stale").slots;
        assert!(
            stale.len() == 3
                && stale.iter().all(|slot| matches!(slot, Slot::Number(value) if skerry_model::is_stale(*value)))
        );
        let shown = |text: &str| -> Vec<String> {
            let slots = read(text).slots;
            let text =
                |slot: Slot| if let Slot::Histogram(histogram) = slot { histogram.to_string() } else { "-".into() };
            slots.into_iter().map(text).collect()
        };
        assert_eq!(shown("m {{sum:1 count:2}}x1 3"), ["{{count:2 sum:1}}", "{{count:2 sum:1}}", "-"]);
        assert_eq!(shown("m {{sum:1}}+{{sum:2}}x2"), ["{{sum:1}}", "{{sum:3}}", "{{sum:5}}"]);
        assert_eq!(shown("m {{sum:1}}-{{sum:2}}x1 _x1 {{}}"), ["{{sum:1}}", "{{sum:-1}}", "-", "{{}}"]);
    }

    #[test]
    fn what_is_no_notation_is_refused() {
        for text in [
            "up{job=\"a\" 1",
            "up{job=~\"a\"} 1",
            "up 1x",
            "up 1x-1",
            "up a",
            "up 1+x2",
            "up {{sum:1",
            "up {{sum:1}}y",
            "up 1+2",
            "up 1x99999999999",
            "up _x99999999999999999999999",
            "up 1x600000 1x600000",
            "up + up 1",
        ] {
            assert!(line(text).is_err(), "{text}");
        }
        assert_eq!(labels(" { } ").unwrap(), Labels::default());
        assert_eq!(labels("").unwrap(), Labels::default());
    }
}
