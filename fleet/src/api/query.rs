//! `query`, in the form of Prometheus's HTTP API. Understood so far: an instant selector (`up{node="a"}`) and a range
//! selector (`up[5m]`), with `offset`; anything richer is refused with its own code.

use super::nodes::{number, pairs};
use super::{ApiError, Fleet};
use crate::store::{InvalidMatcher, MatchOp, Matcher, Select, Selected, SeriesData};
use axum::Json;
use axum::extract::{Form, Query, State};
use axum::http::StatusCode;
use promql_parser::label::MatchOp as PromOp;
use promql_parser::parser::{Expr, Offset, VectorSelector, parse};
use serde::Deserialize;
use skerry_model::{NodeId, Sample, UnixMillis};
use std::collections::BTreeMap;
use std::time::Duration;

/// How far back an instant selector looks for a series' newest sample, as in Prometheus.
const LOOKBACK: Duration = Duration::from_secs(300);
/// Longest expression.
const QUERY_BYTES_MAX: usize = 16 * 1024;

/// What is asked.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    query: String,
    /// Unix seconds with fractions, as in Prometheus; the server's now where absent.
    time: Option<String>,
}

struct Plan {
    matchers: Vec<Matcher>,
    /// Of a range selector.
    range: Option<Duration>,
    /// Milliseconds that the selector looks into the past.
    offset_ms: i64,
}

/// `GET`.
pub(super) async fn query(
    State(fleet): State<Fleet>,
    Query(asked): Query<Asked>,
) -> Result<Json<serde_json::Value>, ApiError> {
    answer(&fleet, asked).await.map(Json)
}

/// `POST` with a form, which Prometheus's clients use for long expressions.
pub(super) async fn query_form(
    State(fleet): State<Fleet>,
    Form(asked): Form<Asked>,
) -> Result<Json<serde_json::Value>, ApiError> {
    answer(&fleet, asked).await.map(Json)
}

async fn answer(fleet: &Fleet, asked: Asked) -> Result<serde_json::Value, ApiError> {
    let bad = |message: String| ApiError::new(StatusCode::BAD_REQUEST, "bad_data", message);
    let now = match &asked.time {
        None => (fleet.wall)(),
        Some(text) => {
            moment(text).ok_or_else(|| bad(format!("time: {text:?} is neither Unix seconds nor RFC 3339")))?
        }
    };
    let plan = plan(&asked.query)?;
    let to = UnixMillis(now.0.saturating_sub(plan.offset_ms));
    let back = i64::try_from(plan.range.unwrap_or(LOOKBACK).as_millis()).unwrap_or(i64::MAX);
    // Left-open, as Prometheus 3 has it.
    let from = UnixMillis(to.0.saturating_sub(back).saturating_add(1));
    let found = fleet.store.select(Select { matchers: plan.matchers, from, to }).await?;
    let labels = node_labels(fleet, &found).await?;
    let mut warnings = Vec::new();
    if found.damaged_blocks > 0 {
        warnings.push(format!("{} damaged blocks were left out", found.damaged_blocks));
    }
    let metric = |series: &SeriesData| {
        let mut metric = labels.get(&series.node).cloned().unwrap_or_default();
        metric.extend(pairs(&series.labels));
        metric
    };
    let (kind, result): (_, Vec<serde_json::Value>) = match plan.range {
        None => (
            "vector",
            found
                .series
                .iter()
                .filter_map(|series| {
                    let newest = series.samples.last().filter(|sample| !skerry_model::is_stale(sample.value))?;
                    Some(serde_json::json!({"metric": metric(series), "value": [seconds(now), number(newest.value)]}))
                })
                .collect(),
        ),
        Some(_) => (
            "matrix",
            found
                .series
                .iter()
                .filter_map(|series| {
                    let fresh: Vec<_> = series
                        .samples
                        .iter()
                        .filter(|sample| !skerry_model::is_stale(sample.value))
                        .map(pair)
                        .collect();
                    (!fresh.is_empty()).then(|| serde_json::json!({"metric": metric(series), "values": fresh}))
                })
                .collect(),
        ),
    };
    let mut body = serde_json::json!({"status": "success", "data": {"resultType": kind, "result": result}});
    if !warnings.is_empty() {
        body["warnings"] = serde_json::json!(warnings);
    }
    Ok(body)
}

/// Labels that the admins signed for the nodes in an answer. A series' own labels win over them.
async fn node_labels(fleet: &Fleet, found: &Selected) -> Result<BTreeMap<NodeId, BTreeMap<String, String>>, ApiError> {
    let mut labels = BTreeMap::new();
    for series in &found.series {
        if labels.contains_key(&series.node) {
            continue;
        }
        let assignment = fleet.control.assignment(&series.node).await?.and_then(|stored| fleet.delivery.read(&stored));
        labels.insert(series.node.clone(), assignment.map(|doc| doc.labels).unwrap_or_default());
    }
    Ok(labels)
}

fn pair(sample: &Sample) -> serde_json::Value {
    serde_json::json!([seconds(sample.at), number(sample.value)])
}

fn seconds(at: UnixMillis) -> f64 {
    at.as_secs_f64()
}

fn moment(text: &str) -> Option<UnixMillis> {
    if let Ok(seconds) = text.parse::<f64>() {
        let is_sane = seconds.is_finite() && seconds.abs() < 1e15;
        #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
        return is_sane.then_some(UnixMillis((seconds * 1000.0).round() as i64));
    }
    text.parse::<jiff::Timestamp>().ok().map(|at| UnixMillis(at.as_millisecond()))
}

fn plan(text: &str) -> Result<Plan, ApiError> {
    if text.len() > QUERY_BYTES_MAX {
        let message = format!("the expression has {} bytes, at most {QUERY_BYTES_MAX} are taken", text.len());
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "bad_data", message));
    }
    let nesting = text.bytes().fold((0usize, 0usize), |(depth, deepest), byte| match byte {
        b'(' => (depth + 1, deepest.max(depth + 1)),
        b')' => (depth.saturating_sub(1), deepest),
        _ => (depth, deepest),
    });
    if nesting.1 > 64 {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "bad_data", "more than 64 nested parentheses"));
    }
    let parsed = parse(text).map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, "bad_data", error))?;
    let (selector, range) = match parsed {
        Expr::VectorSelector(selector) => (selector, None),
        Expr::MatrixSelector(matrix) => (matrix.vs, Some(matrix.range)),
        _ => return Err(unsupported("a function, operator, aggregation or literal")),
    };
    if selector.at.is_some() {
        return Err(unsupported("the @ modifier"));
    }
    if !selector.matchers.or_matchers.is_empty() {
        return Err(unsupported("`or` between matchers"));
    }
    let matchers =
        matchers(&selector).map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, "bad_data", error.to_string()))?;
    if matchers.iter().all(|matcher| matcher.matches("")) {
        let message = "the selector needs at least one matcher that does not match the empty value";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "bad_data", message));
    }
    let millis = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
    let offset_ms = match &selector.offset {
        None => 0,
        Some(Offset::Pos(by)) => millis(*by),
        Some(Offset::Neg(by)) => -millis(*by),
    };
    Ok(Plan { matchers, range, offset_ms })
}

fn unsupported(what: &str) -> ApiError {
    let message = format!(
        "{what} is not supported by this version; a selector is, such as node_load1{{node=\"pi-4\"}} or node_load1[5m]"
    );
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "unsupported_expression", message)
}

fn matchers(selector: &VectorSelector) -> Result<Vec<Matcher>, InvalidMatcher> {
    let mut all: Vec<Matcher> = selector.name.iter().map(|name| Matcher::equal("__name__", name)).collect();
    for matcher in &selector.matchers.matchers {
        let op = match &matcher.op {
            PromOp::Equal => MatchOp::Equal,
            PromOp::NotEqual => MatchOp::NotEqual,
            PromOp::Re(_) => MatchOp::Regex,
            PromOp::NotRe(_) => MatchOp::NotRegex,
        };
        all.push(Matcher::new(&matcher.name, op, &matcher.value)?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_understood() {
        let plan = |text: &str| plan(text).unwrap();
        let instant = plan("node_load1{node=\"a\",job!~\"x.*\"}");
        assert_eq!((instant.matchers.len(), instant.range, instant.offset_ms), (3, None, 0));
        let range = plan("{__name__=\"up\"}[5m] offset 1m");
        assert_eq!((range.range, range.offset_ms), (Some(Duration::from_secs(300)), 60_000));
        assert_eq!(plan("up offset -30s").offset_ms, -30_000);
    }

    #[test]
    fn the_rest_is_refused_by_code() {
        for (text, status) in [
            ("rate(up[5m])", 422),
            ("1 + 1", 422),
            ("sum(up)", 422),
            ("up @ 5", 422),
            ("up{", 400),
            ("{a=~\".*\"}", 400),
            ("", 400),
        ] {
            let error = plan(text).err().unwrap();
            assert_eq!(error.status().as_u16(), status, "{text}: {}", error.message());
        }
        assert_eq!(plan(&"(".repeat(20_000)).err().unwrap().status().as_u16(), 400);
        assert_eq!(plan(&format!("{}up{}", "(".repeat(70), ")".repeat(70))).err().unwrap().status().as_u16(), 400);
    }

    #[test]
    fn moments_are_seconds_or_rfc_3339() {
        assert_eq!(moment("1.5"), Some(UnixMillis(1500)));
        assert_eq!(moment("1970-01-01T00:00:02Z"), Some(UnixMillis(2000)));
        assert!(moment("NaN").is_none() && moment("soon").is_none() && moment("1e300").is_none());
    }
}
