//! Loki's HTTP API over the logs of the whole fleet. Every stream has the label `node` and the labels that the admins
//! signed for its node; a label of that name that the stream has itself is shown as `exported_NAME`.
//!
//! With `node` or `node_selector` the nodes answer themselves, from what they keep.

use super::tail;
use super::{ApiError, Fleet, edge};
use crate::edge::core::{nodes_json, warnings};
use crate::node_labels::NodeLabels;
use crate::store::{LogSource, ReadError};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, get, on};
use skerry_logql::{Budget, Limits};
use skerry_lokiapi::{Encoding, Endpoint, Found, ROUTES, Refusal, Run, answer, answer_of_nodes, question};
use skerry_promapi::Params;
use skerry_promapi::edge::Wanted;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long one query may take.
const TIME_MAX: Duration = Duration::from_secs(60);
const ENCODING: HeaderName = HeaderName::from_static("x-loki-response-encoding-flags");

/// Its routes, below `/loki/api/v1`.
pub(super) fn router() -> Router<Fleet> {
    let fixed = ROUTES
        .into_iter()
        .fold(Router::new(), |router, (path, endpoint)| router.route(&format!("/{path}"), at(endpoint)));
    fixed.route("/label/{name}/values", get(label_values)).route("/tail", get(tail::tail))
}

fn at(endpoint: Endpoint) -> MethodRouter<Fleet> {
    let handler = move |State(fleet): State<Fleet>, headers: HeaderMap, RawQuery(query): RawQuery, form: Bytes| async move {
        respond(&fleet, endpoint, &headers, query, &form).await
    };
    on(MethodFilter::GET.or(MethodFilter::POST), handler)
}

async fn label_values(
    State(fleet): State<Fleet>,
    Path(name): Path<String>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    respond(&fleet, Endpoint::LabelValues(name), &headers, query, &[]).await
}

/// In which form a client wants its entries.
pub(super) fn encoding(headers: &HeaderMap) -> Encoding {
    Encoding::of_header(headers.get(ENCODING).and_then(|value| value.to_str().ok()))
}

/// An answer as HTTP has it.
pub(super) fn written(done: skerry_lokiapi::Response) -> Response {
    let status = StatusCode::from_u16(done.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, done.media_type())], done.body).into_response()
}

async fn respond(
    fleet: &Fleet,
    endpoint: Endpoint,
    headers: &HeaderMap,
    query: Option<String>,
    form: &[u8],
) -> Result<Response, ApiError> {
    let params = Params::decode(query.unwrap_or_default().as_bytes(), form);
    let encoding = encoding(headers);
    let done = match Wanted::of(&params) {
        Ok(Some(wanted)) => of_nodes(fleet, endpoint, params, encoding, wanted).await?,
        Ok(None) => {
            let (now, began) = ((fleet.wall)(), Instant::now());
            let work = move |source: &LogSource<'_>, budget: Budget<'_>| {
                let elapsed = || began.elapsed();
                let run = Run { endpoint: &endpoint, params: &params, encoding, now, elapsed: &elapsed };
                answer(&run, source, budget)
            };
            search(fleet, work).await?
        }
        Err(refused) => Refusal::from(refused).into(),
    };
    if done.status >= 400 {
        fleet.requests.refuse("log_query");
    }
    Ok(written(done))
}

/// Lets `work` read all logs, with a budget that ends with whoever waits for it.
pub(super) async fn search<T: Send + 'static>(
    fleet: &Fleet,
    work: impl FnOnce(&LogSource<'_>, Budget<'_>) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let nodes = NodeLabels::read(&fleet.delivery).await?;
    let gone = CancellationToken::new();
    let _gone_with_us = gone.clone().drop_guard();
    let found = fleet
        .store
        .search(
            move |node| nodes.of(node),
            move |source| {
                let began = Instant::now();
                let should_stop = || gone.is_cancelled() || began.elapsed() > TIME_MAX;
                let done = work(source, Budget { limits: Limits::default(), should_stop: &should_stop });
                if source.damaged_blocks() > 0 {
                    tracing::warn!(blocks = source.damaged_blocks(), "a query of logs left out damaged blocks");
                }
                done
            },
        )
        .await;
    found.map_err(|error: ReadError| ApiError::internal(&error))
}

async fn of_nodes(
    fleet: &Fleet,
    endpoint: Endpoint,
    params: Params,
    encoding: Encoding,
    wanted: Wanted,
) -> Result<skerry_lokiapi::Response, ApiError> {
    let (now, began) = ((fleet.wall)(), Instant::now());
    let question = question(&endpoint, &params, now).map_err(skerry_promapi::Refusal::from);
    let edge::Answers { question, merge, fates } = match edge::gather(fleet, question, wanted).await? {
        Ok(answers) => answers,
        Err((refused, _)) => return Ok(Refusal::from(refused).into()),
    };
    let (told, nodes) = (warnings(&fates), nodes_json(&fates));
    // Writing a large answer takes a while, which other requests need not wait for.
    let write = move || {
        let elapsed = || began.elapsed();
        let run = Run { endpoint: &endpoint, params: &params, encoding, now, elapsed: &elapsed };
        answer_of_nodes(&run, Found::of_nodes(&question, merge), &told, &nodes)
    };
    tokio::task::spawn_blocking(write).await.map_err(|error| ApiError::internal(&error))
}
