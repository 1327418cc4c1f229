//! Prometheus's HTTP API over what this node keeps.

use crate::query::Queries;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, get, on};
use skerry_promapi::{Endpoint, Params, ROUTES};

/// Longest form of a request.
const FORM_BYTES_MAX: usize = 64 * 1024;

/// Its routes.
pub(super) fn router(queries: Queries) -> Router {
    let fixed = ROUTES
        .into_iter()
        .fold(Router::new(), |router, (path, endpoint)| router.route(&format!("/api/v1/{path}"), at(endpoint)));
    fixed
        .route("/api/v1/label/{name}/values", get(label_values))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .with_state(queries)
}

fn at(endpoint: Endpoint) -> MethodRouter<Queries> {
    let handler = move |State(queries): State<Queries>, RawQuery(query): RawQuery, form: Bytes| async move {
        respond(&queries, endpoint, query, &form).await
    };
    on(MethodFilter::GET.or(MethodFilter::POST), handler)
}

async fn label_values(State(queries): State<Queries>, Path(name): Path<String>, RawQuery(query): RawQuery) -> Response {
    respond(&queries, Endpoint::LabelValues(name), query, &[]).await
}

async fn respond(queries: &Queries, endpoint: Endpoint, query: Option<String>, form: &[u8]) -> Response {
    let params = Params::decode(query.unwrap_or_default().as_bytes(), form);
    let Some(done) = queries.answer(endpoint, params).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let status = StatusCode::from_u16(done.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "application/json")], done.body).into_response()
}
