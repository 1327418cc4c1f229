//! `POST /write`: samples of others by Prometheus remote write.

use super::{ApiError, Fleet};
use crate::remote::receive::{ReceiveError, Told, sender_node};
use axum::body::Bytes;
use axum::extract::{FromRequest, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use skerry_remote::Protocol;
use std::time::Duration;

/// Most bytes of a sample's labels that an answer shows.
const WORDS_MAX: usize = 600;
/// How long a body may take to arrive: it keeps a place in the queue meanwhile.
const BODY_MAX: Duration = Duration::from_secs(30);

/// Takes a request in: 204, or 400 with what was not taken.
///
/// # Errors
/// 415 for another type of content, 413 for too much of it, 400 where it cannot be read, 503 where it should come
/// again.
pub(super) async fn write(
    State(fleet): State<Fleet>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, ApiError> {
    let refuse = |status, code, message: String| {
        fleet.requests.refuse(code);
        ApiError::new(status, code, message)
    };
    let protocol =
        protocol(&headers).map_err(|message| refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", message))?;
    let name = query.as_deref().unwrap_or_default();
    let name = name.split('&').find_map(|pair| pair.strip_prefix("sender=")).unwrap_or_default();
    let Some(sender) = sender_node(name) else {
        let message = "the parameter `sender` names who sends: at most 56 letters, digits, '.', '_' or '-'";
        return Err(refuse(StatusCode::BAD_REQUEST, "sender_invalid", message.into()));
    };
    let Some(admitted) = fleet.receiver.admit() else {
        let error = refuse(StatusCode::SERVICE_UNAVAILABLE, "overload", "too many requests wait; send it again".into());
        return Ok(([(header::RETRY_AFTER, "1")], error).into_response());
    };
    // Senders drop what they are told any 4xx for.
    let Ok(read) = tokio::time::timeout(BODY_MAX, Bytes::from_request(request, &())).await else {
        let message = format!("the body did not arrive within {} s", BODY_MAX.as_secs());
        return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "body", message));
    };
    let body = match read {
        Ok(body) => body,
        Err(rejection) => {
            let status = rejection.status();
            let message = if status == StatusCode::PAYLOAD_TOO_LARGE {
                "the body is too large; lower max_samples_per_send".to_owned()
            } else {
                rejection.body_text()
            };
            return Err(refuse(status, "body", message));
        }
    };
    let Some(done) = admitted.run(sender, protocol, body).await else {
        return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the server stops; send it again".into()));
    };
    match done {
        Ok(told) => Ok(answer(protocol, &told, &refuse)),
        Err(ReceiveError::Decode(error)) => {
            let status = if error.is_too_large() { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
            Err(refuse(status, "write_request_invalid", error.to_string()))
        }
        Err(error) => {
            // Logged where it happened.
            let error = refuse(StatusCode::SERVICE_UNAVAILABLE, "not_stored", format!("{error}; send it again"));
            Ok(([(header::RETRY_AFTER, "5")], error).into_response())
        }
    }
}

fn answer(protocol: Protocol, told: &Told, refuse: &impl Fn(StatusCode, &'static str, String) -> ApiError) -> Response {
    let mut response = if told.rejected.is_empty() {
        StatusCode::NO_CONTENT.into_response()
    } else {
        let words: String = told.rejected.chars().take(WORDS_MAX).collect();
        refuse(StatusCode::BAD_REQUEST, "samples_rejected", words).into_response()
    };
    if protocol == Protocol::V2 {
        for (kind, count) in [("samples", told.written), ("histograms", 0), ("exemplars", 0)] {
            let name = format!("x-prometheus-remote-write-{kind}-written");
            if let Ok(name) = HeaderName::try_from(name) {
                response.headers_mut().insert(name, HeaderValue::from(count));
            }
        }
    }
    response
}

/// What the headers say the body is.
fn protocol(headers: &HeaderMap) -> Result<Protocol, String> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    // Before 1.0 was written down, senders named neither.
    let encoding = text(header::CONTENT_ENCODING).unwrap_or("snappy");
    if !encoding.eq_ignore_ascii_case("snappy") {
        return Err(format!("content encoding {encoding:?} is not known; snappy is expected"));
    }
    let content = text(header::CONTENT_TYPE).unwrap_or("application/x-protobuf");
    Protocol::of_content_type(content).ok_or_else(|| {
        let (one, two) = (Protocol::V1.content_type(), Protocol::V2.content_type());
        format!("content type {content:?} is not known; {one} (remote write 1.0) or {two} (2.0) is expected")
    })
}
