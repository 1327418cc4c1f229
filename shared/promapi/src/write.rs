//! JSON as Prometheus writes it: values as texts, times as seconds with at most three decimals.

use crate::asked::Found;
use skerry_model::{Labels, UnixMillis};
use skerry_promql::{Answer, Point, Series, Value, number_text};
use std::fmt::Write;

/// A successful answer around `data`.
pub(crate) fn success(data: &str, warnings: &[&str], infos: &[&str]) -> String {
    let mut body = format!("{{\"status\":\"success\",\"data\":{data}");
    for (name, texts) in [("warnings", warnings), ("infos", infos)] {
        if !texts.is_empty() {
            let items: Vec<String> = texts.iter().map(|item| text(item)).collect();
            let _ = write!(body, ",\"{name}\":[{}]", items.join(","));
        }
    }
    body.push('}');
    body
}

/// Said where not all is shown.
pub(crate) const CUT: &str = "results truncated due to limit";

/// What a question found, at most `limit` items of it.
pub(crate) fn found(found: &Found, limit: Option<usize>) -> String {
    let (data, is_cut) = match found {
        Found::Answer { answer: value, at } => return answer(value, *at, limit),
        Found::Series(sets) => items(sets.iter().map(labels), sets.len(), limit),
        Found::Texts(texts) => items(texts.iter().map(|item| text(item)), texts.len(), limit),
        // Asked for through Loki's API alone, which writes them itself.
        Found::Logs(_) | Found::Documents(_) => ("[]".to_owned(), false),
    };
    success(&data, if is_cut { &[CUT] } else { &[] }, &[])
}

/// A list of at most `limit` items, and whether there were more.
pub(crate) fn items(items: impl Iterator<Item = String>, of: usize, limit: Option<usize>) -> (String, bool) {
    let limit = limit.unwrap_or(usize::MAX);
    let items: Vec<String> = items.take(limit).collect();
    (format!("[{}]", items.join(",")), of > limit)
}

/// An answer of the evaluator; `at` is what a text is dated with.
fn answer(answer: &Answer, at: UnixMillis, limit: Option<usize>) -> String {
    let (data, is_cut) = match &answer.value {
        Value::String(content) => (string(at, content), false),
        // An instant query's, which has one.
        Value::Scalar(points) => (typed("scalar", &points.first().map(pair).unwrap_or_default()), false),
        Value::Vector(all) => series_list(all, true, limit),
        Value::Matrix(all) => series_list(all, false, limit),
    };
    let mut warnings: Vec<&str> = answer.annotations.warnings().collect();
    if is_cut {
        warnings.push(CUT);
    }
    let infos: Vec<&str> = answer.annotations.infos().collect();
    success(&data, &warnings, &infos)
}

/// A text as a result.
pub(crate) fn string(at: UnixMillis, content: &str) -> String {
    typed("string", &format!("[{},{}]", time(at), text(content)))
}

/// A vector or a matrix of at most `limit` series, and whether there were more.
#[must_use]
pub fn series_list(all: &[Series], single: bool, limit: Option<usize>) -> (String, bool) {
    let (list, is_cut) = items(all.iter().map(|item| series(item, single)), all.len(), limit);
    (typed(if single { "vector" } else { "matrix" }, &list), is_cut)
}

fn typed(kind: &str, result: &str) -> String {
    format!("{{\"resultType\":\"{kind}\",\"result\":{result}}}")
}

fn series(series: &Series, single: bool) -> String {
    let mut body = format!("{{\"metric\":{},", labels(&series.labels));
    match (single, series.points.first()) {
        (true, Some(point)) => {
            let _ = write!(body, "\"value\":{}}}", pair(point));
        }
        _ => {
            body.push_str("\"values\":[");
            for (at, point) in series.points.iter().enumerate() {
                if at > 0 {
                    body.push(',');
                }
                body.push_str(&pair(point));
            }
            body.push_str("]}");
        }
    }
    body
}

/// A label set as an object.
#[must_use]
pub fn labels(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{}:{}", text(name), text(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

/// A text with quotes.
#[must_use]
pub fn text(content: &str) -> String {
    serde_json::Value::from(content).to_string()
}

fn pair(point: &Point) -> String {
    format!("[{},\"{}\"]", time(point.at), number_text(point.value))
}

/// A time in seconds, with at most three decimals.
#[must_use]
pub fn time(at: UnixMillis) -> String {
    let (sign, millis) = (if at.0 < 0 { "-" } else { "" }, at.0.unsigned_abs());
    match millis % 1000 {
        0 => format!("{sign}{}", millis / 1000),
        rest => format!("{sign}{}.{}", millis / 1000, format!("{rest:03}").trim_end_matches('0')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_texts_are_jsons() {
        assert_eq!(time(UnixMillis(1_435_781_451_781)), "1435781451.781");
        assert_eq!(time(UnixMillis(1_500)), "1.5");
        assert_eq!(time(UnixMillis(-2_000)), "-2");
        assert_eq!(text("a\"\n"), "\"a\\\"\\n\"");
    }
}
