//! `/metrics`, `/healthz`, `/readyz`.

use super::Fleet;
use super::view::{ForwardList, TargetList};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What is counted of the API.
#[derive(Debug, Default)]
pub struct Requests {
    all: AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

impl Requests {
    pub(super) fn count(&self) {
        self.all.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refuse(&self, code: &'static str) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
    }

    fn exposition(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "# HELP skerry_fleet_http_requests_total API requests.");
        let _ = writeln!(text, "# TYPE skerry_fleet_http_requests_total counter");
        let _ = writeln!(text, "skerry_fleet_http_requests_total {}", self.all.load(Ordering::Relaxed));
        let _ = writeln!(text, "# HELP skerry_fleet_http_refused_total API requests refused, by code.");
        let _ = writeln!(text, "# TYPE skerry_fleet_http_refused_total counter");
        for (code, count) in &*self.refused.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = writeln!(text, "skerry_fleet_http_refused_total{{code=\"{code}\"}} {count}");
        }
        text
    }
}

/// Prometheus text of everything that the server counts of itself.
pub(super) async fn metrics(State(fleet): State<Fleet>) -> Response {
    let mut text = fleet.counters.exposition();
    text.push_str(&fleet.store.stats().exposition());
    text.push_str(&fleet.mqtt.exposition());
    text.push_str(&fleet.requests.exposition());
    text.push_str(&fleet.targets.exposition((fleet.wall)()));
    text.push_str(&fleet.forwards.exposition((fleet.wall)()));
    text.push_str(&fleet.receiver.exposition());
    text.push_str(&fleet.rules.exposition());
    text.push_str(&fleet.alerts.exposition().await);
    let _ = writeln!(text, "# HELP skerry_fleet_nodes_connected Nodes with a connection.");
    let _ = writeln!(text, "# TYPE skerry_fleet_nodes_connected gauge");
    let _ = writeln!(text, "skerry_fleet_nodes_connected {}", fleet.liveness.connected());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// How the remote-write targets fare.
pub(super) async fn remote_write(State(fleet): State<Fleet>) -> Json<TargetList> {
    Json(TargetList { targets: fleet.targets.views((fleet.wall)()) })
}

/// How the forward targets fare.
pub(super) async fn forward(State(fleet): State<Fleet>) -> Json<ForwardList> {
    Json(ForwardList { targets: fleet.forwards.views((fleet.wall)()) })
}

/// The process lives.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Both databases answer.
pub(super) async fn readyz(State(fleet): State<Fleet>) -> Response {
    let control = fleet.control.streams().await.map(drop).map_err(|error| error.to_string());
    let data = fleet.store.usage().await.map(drop).map_err(|error| error.to_string());
    match control.and(data) {
        Ok(()) => "ok\n".into_response(),
        Err(error) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("a database does not answer: {error}\n")).into_response()
        }
    }
}
