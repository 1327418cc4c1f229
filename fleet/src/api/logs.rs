//! A node's stored log records, in this API's own form.

use super::loki::search;
use super::nodes::existing;
use super::view::{LogList, LogView};
use super::{ApiError, Fleet};
use crate::store::LogSource;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use skerry_logql::{Direction, LogRequest, Query as LogQl, run_log};
use skerry_model::{NodeId, TimeRange, UnixMillis};
use skerry_promapi::text_json as quoted;
use std::collections::BTreeMap;

/// Records that one answer has at most, and where nothing is asked.
const RECORDS_MAX: usize = 10_000;
const RECORDS_DEFAULT: usize = 200;

/// Newest records of a node that meet the query: `from_ms`, `to_ms`, `limit`, `contains`, `label.NAME`.
pub(super) async fn read(
    State(fleet): State<Fleet>,
    Path(name): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Json<LogList>, ApiError> {
    let node = existing(&fleet, &name).await?.node;
    let mut range = TimeRange { from: UnixMillis(i64::MIN), to: UnixMillis(i64::MAX) };
    let (mut limit, mut conditions, mut pipeline) = (RECORDS_DEFAULT, String::new(), String::new());
    let bad = |key: &str| {
        let message =
            format!("{key}: from_ms, to_ms and limit as whole numbers, contains, and label.NAME=VALUE are understood");
        ApiError::new(StatusCode::BAD_REQUEST, "query_invalid", message)
    };
    for (key, value) in &query {
        let number = || value.parse::<i64>().map_err(|_| bad(key));
        match key.as_str() {
            "from_ms" => range.from = UnixMillis(number()?),
            "to_ms" => range.to = UnixMillis(number()?),
            "limit" => limit = usize::try_from(number()?).map_err(|_| bad(key))?.min(RECORDS_MAX),
            "contains" => pipeline = format!(" |= {}", quoted(value)),
            _ => match key.strip_prefix("label.") {
                Some(label) => conditions.push_str(&format!(", {label}={}", quoted(value))),
                None => return Err(bad(key)),
            },
        }
    }
    let text = format!("{{node={}{conditions}}}{pipeline}", quoted(node.as_str()));
    newest(&fleet, &text, range, limit).await.map(Json)
}

/// A LogQL query of one node's records: `query` may begin with a selector or with what follows one.
pub(crate) fn query_of(node: &NodeId, query: &str) -> String {
    let node = quoted(node.as_str());
    match query.trim().strip_prefix('{').map(str::trim_start) {
        None => format!("{{node={node}}} {}", query.trim()),
        Some(rest) if rest.starts_with('}') => format!("{{node={node}{rest}"),
        Some(rest) => format!("{{node={node}, {rest}"),
    }
}

/// The newest records that a query finds, oldest first.
pub(crate) async fn newest(fleet: &Fleet, text: &str, range: TimeRange, limit: usize) -> Result<LogList, ApiError> {
    let invalid = |message: String| ApiError::new(StatusCode::BAD_REQUEST, "query_invalid", message);
    let query = match LogQl::parse(text) {
        Ok(LogQl::Log(query)) => query,
        Ok(LogQl::Metric(_)) => return Err(invalid("a query that finds log records is expected".into())),
        Err(error) => return Err(invalid(format!("{text}: {error}"))),
    };
    // One more says whether there are more.
    let request = LogRequest { range, limit: limit.saturating_add(1), direction: Direction::Backward };
    let work = move |source: &LogSource<'_>, budget: skerry_logql::Budget<'_>| {
        (run_log(&query, source, request, budget), source.damaged_blocks())
    };
    let (found, damaged_blocks) = search(fleet, work).await?;
    let found = found.map_err(|error| match error.is_of_query() {
        true => invalid(error.to_string()),
        false => ApiError::internal(&error),
    })?;
    let mut records: Vec<LogView> = Vec::new();
    for stream in found.streams {
        let labels: BTreeMap<String, String> =
            stream.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        records.extend(stream.entries.into_iter().rev().map(|entry| LogView {
            at_ms: entry.at.0,
            labels: labels.clone(),
            level: labels.get("level").cloned().unwrap_or_default(),
            line: String::from_utf8_lossy(&entry.line).into_owned(),
        }));
    }
    records.sort_by_key(|record| record.at_ms);
    let more = records.len() > limit;
    records.drain(..records.len().saturating_sub(limit));
    Ok(LogList { records, more, damaged_blocks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_narrowed_to_the_node() {
        let node: NodeId = "pi-4".parse().unwrap();
        for (query, expected) in [
            ("", r#"{node="pi-4"} "#),
            ("|= \"x\"", r#"{node="pi-4"} |= "x""#),
            (" { a=\"b\" } | json", r#"{node="pi-4", a="b" } | json"#),
            ("{} | json", r#"{node="pi-4"} | json"#),
        ] {
            assert_eq!(query_of(&node, query), expected);
        }
    }
}
