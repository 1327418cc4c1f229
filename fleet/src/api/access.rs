//! Who may use the API: holders of the one API token, in a header or, for browsers, in a cookie.

use super::{ApiError, Fleet};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use skerry_seal::sha256;

/// Name of the browser's cookie.
const COOKIE: &str = "skerry_token";

/// Knows the API token by its hash.
#[derive(Debug, Clone, Copy)]
pub struct Access([u8; 32]);

impl Access {
    /// Admits the token with this SHA-256.
    #[must_use]
    pub const fn of_hash(sha256: [u8; 32]) -> Self {
        Self(sha256)
    }

    /// Whether `token` is the one, compared in constant time.
    #[must_use]
    pub fn admits(&self, token: &str) -> bool {
        let offered = sha256(token.as_bytes());
        offered.iter().zip(&self.0).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
    }

    /// Whether a request's headers carry the token.
    #[must_use]
    pub fn admits_headers(&self, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let bearer = text(header::AUTHORIZATION).strip_prefix("Bearer ").unwrap_or_default();
        self.admits(bearer) || self.admits_cookie(headers)
    }

    /// Whether a browser's cookie carries the token.
    #[must_use]
    pub fn admits_cookie(&self, headers: &HeaderMap) -> bool {
        let cookies = headers.get(header::COOKIE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        cookies.split("; ").filter_map(|pair| pair.split_once('=')).any(|(k, v)| k == COOKIE && self.admits(v))
    }

    /// The cookie that a browser is given. It is sent to no other site, no script reads it, and it ends with the
    /// browser's session.
    #[must_use]
    pub fn cookie(token: &str, is_https: bool) -> String {
        let secure = if is_https { "; Secure" } else { "" };
        format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict{secure}")
    }
}

/// Lets only holders of the token through.
pub(super) async fn bearer(
    State(fleet): State<Fleet>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    fleet.requests.count();
    if fleet.access.admits_headers(&headers) {
        return Ok(next.run(request).await);
    }
    fleet.requests.refuse("unauthorized");
    let message = "the API token is missing or wrong: send `Authorization: Bearer TOKEN`; `skerry init` wrote it to \
                   admin.yaml";
    Err(ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_cookie_count_and_nothing_else() {
        let access = Access::of_hash(sha256(b"secret"));
        let with = |name, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            headers
        };
        assert!(access.admits_headers(&with(header::AUTHORIZATION, "Bearer secret")));
        assert!(access.admits_headers(&with(header::COOKIE, "a=b; skerry_token=secret")));
        for bad in ["secret", "Bearer secret2", "Bearer ", "Basic secret"] {
            assert!(!access.admits_headers(&with(header::AUTHORIZATION, bad)), "{bad}");
        }
        assert!(!access.admits_headers(&HeaderMap::new()));
        assert!(Access::cookie("t", true).ends_with("; Secure") && !Access::cookie("t", false).contains("Secure"));
    }
}
