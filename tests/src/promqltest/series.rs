//! Series notation: `name{label="value"} 1 2+3x4 _ stale`.

use skerry_model::{Labels, stale_nan};
use skerry_promql::Query;

/// A value in a series' notation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Slot {
    /// None.
    Nothing,
    /// A number; the stale marker among them.
    Number(f64),
    /// A native histogram.
    Histogram,
}

/// A line: labels and values.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) labels: Labels,
    pub(super) slots: Vec<Slot>,
}

/// Reads a line.
pub(super) fn line(text: &str) -> Result<Line, String> {
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

fn labels(metric: &str) -> Result<Labels, String> {
    let compact = metric.trim();
    if compact == "{}" {
        return Ok(Labels::default());
    }
    let matchers = Query::parse(compact).and_then(|query| query.matchers());
    let matchers = matchers.map_err(|error| format!("{metric:?}: {error}"))?;
    let pairs = matchers.iter().map(|matcher| (matcher.label(), matcher.value()));
    Labels::new(pairs).map_err(|error| format!("{metric:?}: {error}"))
}

fn slots(text: &str) -> Result<Vec<Slot>, String> {
    let mut all = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if let Some(histogram) = rest.strip_prefix("{{") {
            let (_, after) = histogram.split_once("}}").ok_or("a histogram does not close")?;
            let end = after.find(char::is_whitespace).unwrap_or(after.len());
            let (suffix, after) = after.split_at(end);
            // `{{a}}+{{b}}x5`: the step is a histogram too.
            let (suffix, after) = match suffix.strip_prefix(['+', '-']).and_then(|_| after.find("}}")) {
                Some(_) if suffix.contains("{{") => {
                    let whole = &rest[2 + histogram.find("}}").unwrap_or(0) + 2..];
                    let end = whole.find("}}").map_or(whole.len(), |at| at + 2);
                    let tail = &whole[end..];
                    let stop = tail.find(char::is_whitespace).unwrap_or(tail.len());
                    tail.split_at(stop)
                }
                _ => (suffix, after),
            };
            let times = suffix.rsplit_once('x').map_or(Ok(0), |(_, times)| times.parse::<usize>());
            let times = times.map_err(|error| format!("{suffix:?}: {error}"))?;
            all.extend(std::iter::repeat_n(Slot::Histogram, times + 1));
            rest = after.trim_start();
            continue;
        }
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        all.extend(word_slots(word)?);
        rest = after.trim_start();
    }
    Ok(all)
}

fn word_slots(word: &str) -> Result<Vec<Slot>, String> {
    if let Some(times) = word.strip_prefix("_x") {
        let times: usize = times.parse().map_err(|error| format!("{word:?}: {error}"))?;
        return Ok(vec![Slot::Nothing; times]);
    }
    match word {
        "_" => return Ok(vec![Slot::Nothing]),
        "stale" => return Ok(vec![Slot::Number(stale_nan())]),
        _ => {}
    }
    let Some((head, times)) = word.split_once('x').filter(|_| !word.starts_with("0x") || word.len() > 2) else {
        return Ok(vec![Slot::Number(number(word)?)]);
    };
    let times: usize = times.parse().map_err(|error| format!("{word:?}: {error}"))?;
    // The sign between start and step; not the first one, and not an exponent's.
    let sign = head.char_indices().skip(1).find(|(at, c)| matches!(c, '+' | '-') && !head[..*at].ends_with(['e', 'E']));
    let (start, step) = match sign {
        None => (number(head)?, 0.0),
        Some((at, _)) => (number(&head[..at])?, number(&head[at..])?),
    };
    let mut value = start;
    let mut all = Vec::with_capacity(times + 1);
    for _ in 0..=times {
        all.push(Slot::Number(value));
        value += step;
    }
    Ok(all)
}

/// A number as Prometheus reads it.
pub(super) fn number(word: &str) -> Result<f64, String> {
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
        let nothing = Slot::Nothing;
        assert_eq!(plain.slots, [n(0.0), n(10.0), n(20.0), nothing, nothing, nothing, n(-1e-3), n(7.0), n(7.0)]);
        assert_eq!(read("metric 8-2x1").slots, [n(8.0), n(6.0)]);
        assert_eq!(read("{} 5").labels, Labels::default());
        assert_eq!(read("{} 0x2").slots, [n(0.0); 3]);
        assert_eq!(read("m {{sum:1 count:2}}x1 3").slots, [Slot::Histogram, Slot::Histogram, n(3.0)]);
        assert_eq!(read("m {{sum:1}}+{{sum:2}}x2").slots, [Slot::Histogram; 3]);
    }
}
