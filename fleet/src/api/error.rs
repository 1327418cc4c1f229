//! Errors as the API tells them.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use std::error::Error;

/// An error for whoever called.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl ApiError {
    /// An error that the caller can do something about.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// The server's own failure: the cause is logged, and the caller told where to look.
    #[must_use]
    pub fn internal(cause: &(dyn Error + 'static)) -> Self {
        tracing::error!(error = cause, "a request failed");
        let message = "the server failed; its log has the cause";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    /// There is no such node.
    #[must_use]
    pub fn no_node(name: &str) -> Self {
        let message = format!("no node named '{name}'; `skerry get nodes` lists them");
        Self::new(StatusCode::NOT_FOUND, "node_unknown", message)
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The text for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = serde_json::json!({"error": {"code": self.code, "message": self.message}});
        (self.status, axum::Json(body)).into_response()
    }
}

impl From<crate::control::ControlError> for ApiError {
    fn from(error: crate::control::ControlError) -> Self {
        Self::internal(&error)
    }
}

impl From<crate::store::ReadError> for ApiError {
    fn from(error: crate::store::ReadError) -> Self {
        Self::internal(&error)
    }
}
