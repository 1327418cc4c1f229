//! Enrolment tokens.

use super::{ApiError, Fleet};
use crate::control::{NewToken, TokenRow};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use skerry_model::UnixMillis;
use skerry_seal::TokenId;

/// Most uses of one token.
const USES_MAX: u32 = 100_000;

/// A token that the admin tool has made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenBody {
    id: String,
    secret: String,
    uses: u32,
    expires_ms: i64,
    #[serde(default)]
    approval: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct TokenList {
    tokens: Vec<TokenRow>,
}

fn bad(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "token_invalid", message)
}

/// Makes a token known.
pub(super) async fn add(State(fleet): State<Fleet>, Json(body): Json<TokenBody>) -> Result<StatusCode, ApiError> {
    let now = (fleet.wall)();
    let id = body.id.parse().map_err(|_| bad("id: 16 hexadecimal digits are expected"))?;
    let secret = body.secret.parse().map_err(|_| bad("secret: 32 hexadecimal digits are expected"))?;
    if !(1..=USES_MAX).contains(&body.uses) {
        return Err(bad(format!("uses: 1 to {USES_MAX} is expected")));
    }
    if body.expires_ms <= now.0 {
        return Err(bad("expires_ms: a time to come is expected; compare the clocks of this machine and the server"));
    }
    let expires = UnixMillis(body.expires_ms);
    let token = NewToken { id, secret, uses: body.uses, expires, approval: body.approval };
    if fleet.control.add_token(token, now).await? {
        return Ok(StatusCode::CREATED);
    }
    let message = "too many tokens; remove some with `skerry enrol revoke`";
    Err(ApiError::new(StatusCode::CONFLICT, "too_many_tokens", message))
}

/// All tokens, without their secrets.
pub(super) async fn list(State(fleet): State<Fleet>) -> Result<Json<TokenList>, ApiError> {
    Ok(Json(TokenList { tokens: fleet.control.tokens().await? }))
}

/// Removes a token.
pub(super) async fn remove(State(fleet): State<Fleet>, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    let parsed: TokenId = id.parse().map_err(|_| bad("16 hexadecimal digits are expected"))?;
    if fleet.control.remove_token(parsed, (fleet.wall)()).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let message = format!("no token {parsed}; `skerry enrol list` shows them");
    Err(ApiError::new(StatusCode::NOT_FOUND, "token_unknown", message))
}
