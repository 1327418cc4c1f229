//! Alertmanager's API v2 over a manager, without the HTTP.

use crate::Now;
use crate::manager::Manager;

/// What is answered: always JSON, or nothing at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP's status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Answers a request. `path` is what follows `/api/v2`, `query` what follows the `?`, both as they came.
pub fn answer(manager: &mut Manager, method: &str, path: &str, query: &str, body: &[u8], now: Now) -> Response {
    let _ = (manager, method, query, body, now);
    Response { status: 404, body: format!("{path:?}").into_bytes() }
}
