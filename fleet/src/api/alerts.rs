//! Alertmanager's API v2 below `/api/v2`, as `amtool` and Grafana speak it, and the history of alerts.

use super::{ApiError, Fleet, prometheus};
use crate::alerts::{Asked, HistoryList, HistoryQuery, history};
use crate::node_labels::NodeLabels;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, RawQuery, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use skerry_alerting::manager::matcher::{self, Matcher};
use skerry_model::UnixMillis;

/// Episodes that one answer has at most.
const ROWS_MAX: usize = 10_000;
/// Episodes that an answer has where nothing is asked.
const ROWS: usize = 200;

/// Which episodes.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Wanted {
    node: Option<String>,
    /// Matchers, as `{severity="page"}`.
    #[serde(rename = "match")]
    matching: Option<String>,
    from_ms: Option<i64>,
    firing: Option<bool>,
    limit: Option<usize>,
}

pub(super) async fn v2(
    State(fleet): State<Fleet>,
    method: Method,
    Path(path): Path<String>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<Response, ApiError> {
    let asked = Asked {
        method: method.as_str().to_owned(),
        path: format!("/{path}"),
        query: query.unwrap_or_default(),
        body: body.to_vec(),
    };
    let answer = fleet.alerts.ask(asked).await.ok_or_else(busy)?;
    if answer.status >= 400 {
        fleet.requests.refuse("alertmanager");
    }
    let body = String::from_utf8(answer.body).map_err(|error| ApiError::internal(&error))?;
    Ok(prometheus::json(skerry_promapi::Response { status: answer.status, body }))
}

fn busy() -> ApiError {
    let message = "too many requests about alerts wait, or the server stops; try again";
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
}

pub(super) async fn history(
    State(fleet): State<Fleet>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<HistoryList>, ApiError> {
    let matchers = match &wanted.matching {
        None => Vec::new(),
        Some(text) => selector(text)?,
    };
    let node = match &wanted.node {
        None => None,
        Some(name) => Some(name.parse().map_err(|_| ApiError::no_node(name))?),
    };
    let query = HistoryQuery {
        node,
        matchers,
        from: wanted.from_ms.map(UnixMillis),
        firing: wanted.firing.unwrap_or(false),
        limit: wanted.limit.unwrap_or(ROWS).min(ROWS_MAX),
    };
    history_of(&fleet, query).await.map(Json)
}

/// Episodes that meet a query.
pub(crate) async fn history_of(fleet: &Fleet, query: HistoryQuery) -> Result<HistoryList, ApiError> {
    let signed = NodeLabels::read(&fleet.delivery).await?;
    Ok(history::read(&fleet.store, &signed, query).await?)
}

/// Matchers as Alertmanager writes them.
fn selector(text: &str) -> Result<Vec<Matcher>, ApiError> {
    matcher::parse_all(text).map_err(|problem| {
        let message = format!("match: {problem}; matchers such as {{severity=\"page\",site=~\"lab.*\"}} are expected");
        ApiError::new(StatusCode::BAD_REQUEST, "matchers_invalid", message)
    })
}
