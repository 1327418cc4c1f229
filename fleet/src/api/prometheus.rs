//! Prometheus's HTTP API over the whole fleet. Every series has the label `node` and the labels that the admins signed
//! for its node; a label that the series has itself wins over those.
//!
//! With `node` or `node_selector` the nodes answer themselves, from what they keep.

use super::{ApiError, Fleet};
use crate::node_labels::NodeLabels;
use crate::source::FleetSource;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, get, on};
use skerry_promapi::{Endpoint, Params, ROUTES, Refusal, answer, edge, question};
use skerry_promql::Limits;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Samples and values that one query may touch: about 400 MB at the very most.
const VALUES_MAX: u64 = 20_000_000;
/// Queries that are evaluated at once. Each holds a thread while it waits for those that read the store, so there have to
/// be far fewer than threads, and each may take its share of memory.
const AT_ONCE_MAX: usize = 8;
/// How long a query waits for its turn, as long as Prometheus lets one wait and run.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// Turns of queries over what the centre keeps; cheap to clone.
#[derive(Debug, Clone)]
pub struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE_MAX)))
    }
}

impl Turns {
    /// A turn, which lasts as long as what is returned.
    pub(super) async fn take(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        // Never closed.
        timeout(WAIT_MAX, self.0.clone().acquire_owned()).await.ok().and_then(Result::ok).ok_or_else(|| Refusal {
            status: 503,
            kind: "timeout",
            text: format!(
                "{AT_ONCE_MAX} queries are being evaluated, and none ended within {} s; ask again, or for less at once",
                WAIT_MAX.as_secs()
            ),
        })
    }
}

/// Its routes.
pub(super) fn router() -> Router<Fleet> {
    let fixed = ROUTES
        .into_iter()
        .fold(Router::new(), |router, (path, endpoint)| router.route(&format!("/{path}"), at(endpoint)));
    fixed.route("/label/{name}/values", get(label_values))
}

fn at(endpoint: Endpoint) -> MethodRouter<Fleet> {
    let handler = move |State(fleet): State<Fleet>, RawQuery(query): RawQuery, body: Bytes| async move {
        respond(&fleet, endpoint, query, &body).await
    };
    on(MethodFilter::GET.or(MethodFilter::POST), handler)
}

async fn label_values(
    State(fleet): State<Fleet>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    respond(&fleet, Endpoint::LabelValues(name), query, &[]).await
}

async fn respond(fleet: &Fleet, endpoint: Endpoint, query: Option<String>, form: &[u8]) -> Result<Response, ApiError> {
    let params = Params::decode(query.unwrap_or_default().as_bytes(), form);
    match edge::Wanted::of(&params) {
        Ok(None) => {}
        Ok(Some(wanted)) => return super::edge::respond(fleet, question(&endpoint, &params), wanted).await,
        Err(refused) => return Ok(json(refused.into())),
    }
    let turn = match fleet.turns.take().await {
        Ok(turn) => turn,
        Err(refused) => {
            fleet.requests.refuse("query_busy");
            return Ok(json(refused.into()));
        }
    };
    let now = (fleet.wall)();
    let source = FleetSource {
        store: fleet.store.clone(),
        runtime: Handle::current(),
        nodes: Arc::new(NodeLabels::read(&fleet.delivery).await?),
        about: fleet.runtime.clone(),
        rules: fleet.rules.clone(),
        now,
    };
    let limits = Limits { values_max: VALUES_MAX, ..Limits::default() };
    let work = move || {
        // Whoever asked may go away; the turn lasts until the work is done all the same.
        let _turn = turn;
        answer(&endpoint, &params, &source, now, limits)
    };
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::internal(&error))?;
    if done.status >= 400 {
        fleet.requests.refuse("query");
    }
    Ok(json(done))
}

/// An answer as HTTP has it.
pub(super) fn json(done: skerry_promapi::Response) -> Response {
    let status = StatusCode::from_u16(done.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "application/json")], done.body).into_response()
}
