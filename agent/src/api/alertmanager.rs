//! Alertmanager's API v2 over this node's alerts: `amtool` works against it.
//!
//! It changes things: silences are set, alerts posted. As for pushes, what a page in a browser asks for is refused.

use super::push::is_of_a_page;
use crate::data::AlertsRequest;
use axum::RequestExt;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use tokio::sync::{mpsc, oneshot};

/// Longest body.
const BODY_BYTES_MAX: usize = 1 << 20;

pub(super) fn router(alerts: mpsc::Sender<AlertsRequest>) -> Router {
    let health = || async { "OK" };
    Router::new()
        .route("/api/v2/{*path}", any(ask))
        // What clients of Alertmanager look at before anything else.
        .route("/-/healthy", any(health))
        .route("/-/ready", any(health))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(alerts)
}

async fn ask(State(alerts): State<mpsc::Sender<AlertsRequest>>, request: Request) -> Response {
    let refuse = |status: StatusCode, text: &'static str| (status, text).into_response();
    let method = match *request.method() {
        Method::GET | Method::HEAD => "GET",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        _ => return refuse(StatusCode::METHOD_NOT_ALLOWED, "GET, POST or DELETE is expected\n"),
    };
    if method != "GET" && is_of_a_page(request.headers()) {
        return refuse(StatusCode::FORBIDDEN, "changes by web pages are not taken\n");
    }
    let path = request.uri().path().strip_prefix("/api/v2").unwrap_or_default().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let body: Result<Bytes, BytesRejection> = request.extract().await;
    let body = match body {
        Ok(body) => body,
        Err(error) => return error.into_response(),
    };
    let (reply, answer) = oneshot::channel();
    let gone = || refuse(StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping; ask again in a moment\n");
    if alerts.send(AlertsRequest { method, path, query, body, reply }).await.is_err() {
        return gone();
    }
    let Ok((status, body)) = answer.await else { return gone() };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (status, json, body).into_response()
}
