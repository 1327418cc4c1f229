//! Pushgateway's endpoint, `/metrics/job/NAME…`: open only where `push.gateway` says so.
//!
//! It is the one thing here that changes anything, and the local HTTP has no access control beyond loopback. A page in
//! a browser on the node may ask loopback too; browsers say where such a page came from, and it is refused.

use crate::data::PushRequest;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{RequestExt, extract::rejection::BytesRejection};
use tokio::sync::{mpsc, oneshot};

/// Longest body.
const BODY_BYTES_MAX: usize = 1 << 20;
const OFF: &str = "the push endpoint is off: set push.gateway: true in this node's config\n";

/// Where pushes go; `None` where the endpoint is off.
pub type Pushes = Option<mpsc::Sender<PushRequest>>;

pub(super) fn router(pushes: Pushes) -> Router {
    Router::new().route("/metrics/{*path}", any(push)).layer(DefaultBodyLimit::max(BODY_BYTES_MAX)).with_state(pushes)
}

async fn push(State(pushes): State<Pushes>, Path(path): Path<String>, request: Request) -> Response {
    let refuse = |status: StatusCode, text: String| (status, text).into_response();
    let Some(pushes) = pushes else { return refuse(StatusCode::FORBIDDEN, OFF.into()) };
    if !path.starts_with("job/") && !path.starts_with("job@base64/") {
        return refuse(StatusCode::NOT_FOUND, "/metrics/job/NAME is expected\n".into());
    }
    let verb = match *request.method() {
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        _ => return refuse(StatusCode::METHOD_NOT_ALLOWED, "PUT, POST or DELETE is expected\n".into()),
    };
    if let Err((status, text)) = readable(request.headers()) {
        return refuse(status, text.into());
    }
    let body: Result<Bytes, BytesRejection> = request.extract().await;
    let body = match body {
        Ok(body) => body,
        Err(error) => return error.into_response(),
    };
    let (reply, outcome) = oneshot::channel();
    let gone = || refuse(StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping; push again in a moment\n".into());
    if pushes.send(PushRequest { verb, path, body, reply }).await.is_err() {
        return gone();
    }
    match outcome.await {
        Ok(Ok(())) if verb == "DELETE" => StatusCode::ACCEPTED.into_response(),
        Ok(Ok(())) => StatusCode::OK.into_response(),
        Ok(Err(why)) => refuse(StatusCode::BAD_REQUEST, format!("{why}\n")),
        Err(_) => gone(),
    }
}

/// Whether a browser asks on behalf of a page.
pub(super) fn is_of_a_page(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site")
}

/// Whether a push is of a program, and in a form that is read here.
fn readable(headers: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
    let value = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if is_of_a_page(headers) {
        return Err((StatusCode::FORBIDDEN, "pushes of web pages are not taken\n"));
    }
    if value(header::CONTENT_TYPE).starts_with("application/vnd.google.protobuf") {
        let text = "protobuf is not read here: push the text format (in Go, Format(expfmt.FmtText))\n";
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    if !["", "identity"].contains(&value(header::CONTENT_ENCODING)) {
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "compressed bodies are not read here: push them plain\n"));
    }
    Ok(())
}
