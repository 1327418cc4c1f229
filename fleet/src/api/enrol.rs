//! `POST /enrol`: the one request that needs no API token, because the enrolment token proves it.

use super::{ApiError, Fleet};
use crate::enrol::Answer;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Takes a node in, or notes that it waits.
pub(super) async fn enrol(State(fleet): State<Fleet>, body: Bytes) -> Result<Response, ApiError> {
    fleet.requests.count();
    match fleet.enrolment.answer(&body, (fleet.wall)()).await {
        Ok(Answer::Joined(_, response)) => Ok(([(header::CONTENT_TYPE, "application/cbor")], response).into_response()),
        Ok(Answer::Pending(node, words)) => {
            let body = serde_json::json!({"state": "pending", "node": node, "fingerprint": words.join(" ")});
            Ok((StatusCode::ACCEPTED, Json(body)).into_response())
        }
        Err(refusal) if refusal.is_internal() => Err(ApiError::internal(&refusal)),
        Err(refusal) => {
            fleet.requests.refuse(refusal.code());
            tracing::warn!(code = refusal.code(), reason = %refusal, "a node was not taken in");
            let status = match refusal.code() {
                "node_exists" => StatusCode::CONFLICT,
                "too_many_pending" => StatusCode::SERVICE_UNAVAILABLE,
                "token_unknown" | "token_expired" | "token_used_up" | "enrol_bad_proof" | "node_revoked" => {
                    StatusCode::FORBIDDEN
                }
                _ => StatusCode::BAD_REQUEST,
            };
            Err(ApiError::new(status, refusal.code(), refusal.to_string()))
        }
    }
}
