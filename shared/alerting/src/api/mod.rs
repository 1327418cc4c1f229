//! Alertmanager's API v2 over a manager, without the HTTP.
//!
//! A request comes in as method, path below `/api/v2`, query and body, and an answer goes out; `amtool` and Grafana work
//! against it. Shapes, status codes and texts are those of Alertmanager 0.25, with fields of later versions beside.
//!
//! Invariants:
//! - Nothing panics on what comes in, and an answer is written alert by alert, so that it costs little more than itself.
//! - Secrets of the config are not shown.

mod alerts;
mod query;
mod silences;
mod time;

use crate::Now;
use crate::manager::Manager;
use query::Query;
use serde_json::{Value, json};

/// What is answered: JSON, or nothing at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP's status.
    pub status: u16,
    /// The body; its type is `application/json`.
    pub body: Vec<u8>,
}

impl Response {
    fn json(value: &Value) -> Self {
        Self { status: 200, body: value.to_string().into_bytes() }
    }

    /// 200 without a body.
    const fn empty() -> Self {
        Self { status: 200, body: Vec::new() }
    }

    /// A fault as Alertmanager's handlers tell it: a text.
    fn text(status: u16, problem: &str) -> Self {
        Self { status, body: Value::from(problem).to_string().into_bytes() }
    }

    /// A fault as the API's frame tells it: a code and a text.
    fn fault(status: u16, code: u16, problem: &str) -> Self {
        Self { status, body: json!({ "code": code, "message": problem }).to_string().into_bytes() }
    }

    /// A list that is written item by item.
    fn list(items: impl Iterator<Item = Value>) -> Self {
        let mut body = b"[".to_vec();
        for item in items {
            if body.len() > 1 {
                body.push(b',');
            }
            body.extend_from_slice(item.to_string().as_bytes());
        }
        body.push(b']');
        Self { status: 200, body }
    }
}

/// Answers a request. `path` is what follows `/api/v2`, `query` what follows the `?`, both as they came; `body` is
/// bounded by whoever read it.
pub fn answer(manager: &mut Manager, method: &str, path: &str, query: &str, body: &[u8], now: Now) -> Response {
    let path = path.trim_end_matches('/');
    let query = Query::read(query);
    let silence = path.strip_prefix("/silence/");
    let methods: &[&str] = match path {
        "/status" | "/receivers" | "/alerts/groups" => &["GET"],
        "/alerts" | "/silences" => &["GET", "POST"],
        _ if silence.is_some() => &["GET", "DELETE"],
        _ => return Response::fault(404, 404, &format!("path /api/v2{path} was not found")),
    };
    let method = if method == "HEAD" { "GET" } else { method };
    if !methods.contains(&method) {
        let problem = format!("method {method} is not allowed, but [{}] are", methods.join(","));
        return Response::fault(405, 405, &problem);
    }
    match (method, path, silence) {
        ("GET", "/status", _) => status(manager),
        ("GET", "/receivers", _) => {
            let receivers = manager.config().receivers();
            Response::list(receivers.iter().map(|receiver| json!({ "name": receiver.name })))
        }
        ("GET", "/alerts", _) => alerts::list(manager, &query, now),
        ("POST", "/alerts", _) => alerts::add(manager, body, now),
        ("GET", "/alerts/groups", _) => alerts::groups(manager, &query, now),
        ("GET", "/silences", _) => silences::list(manager, &query, now),
        ("POST", "/silences", _) => silences::set(manager, body, now),
        ("GET", _, Some(id)) => silences::one(manager, id, now),
        (_, _, Some(id)) => silences::expire(manager, id, now),
        _ => Response::fault(404, 404, "not found"),
    }
}

fn status(manager: &Manager) -> Response {
    let version = env!("CARGO_PKG_VERSION");
    Response::json(&json!({
        "cluster": { "name": "", "peers": [], "status": "disabled" },
        "config": { "original": manager.config().original() },
        "uptime": time::text(manager.started_at()),
        "versionInfo": {
            "branch": "", "buildDate": "", "buildUser": "", "goVersion": "", "revision": "skerry", "version": version,
        },
    }))
}

#[cfg(test)]
mod tests;
