//! The HTTP API: what the CLI, the console and scripts speak to.
//!
//! JSON in and out, times as Unix milliseconds in fields named `*_ms`. Everything below `/api/v1` but enrolment, and
//! everything below `/loki/api/v1` and `/api/v2`, wants the API token. An error is a status and `{"error":{"code","message"}}`: the code is stable, the message says what
//! to do next, and the cause goes to the log.
//!
//! Invariants:
//! - The token is compared as a SHA-256, in constant time; it is in no log and no answer.
//! - A request's body is bounded, and so is every answer but the live view, which goes while somebody reads it.
//! - So many queries are evaluated at once, and the others wait, whoever asks.

mod access;
mod alerts;
mod documents;
mod edge;
mod enrol;
mod error;
mod logs;
mod loki;
mod nodes;
mod operations;
mod prometheus;
mod scaling;
mod tail;
mod tokens;
pub mod view;
mod write;

pub use access::Access;
pub(crate) use alerts::history_of;
pub use error::ApiError;
pub(crate) use logs::{newest, query_of};
pub use nodes::{node_detail, node_views};
pub use operations::Requests;
pub use prometheus::Turns;
pub(crate) use scaling::{capacity_of, known_policies, known_workloads};
pub use tail::Tails;

use crate::alerts::Alerts;
use crate::clock::WallClock;
use crate::control::Control;
use crate::delivery::Delivery;
use crate::edge::EdgeQueries;
use crate::enrol::Enrolment;
use crate::forward::Forwards;
use crate::ingest::{Asks, Counters, Liveness};
use crate::mqtt::{Admission, Stats};
use crate::remote::{Receiver, Targets};
use crate::rules::RulesView;
use crate::store::Store;
use crate::trust::Trust;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, delete, get, post};
use skerry_promapi::Runtime;
use std::sync::Arc;

/// Largest body of a request: an envelope has at most 256 KiB.
const BODY_BYTES_MAX: usize = 512 * 1024;
/// Largest body of a remote-write request, compressed.
const WRITE_BYTES_MAX: usize = 8 << 20;

/// What the handlers work with; cheap to clone.
#[derive(Clone)]
pub struct Fleet {
    /// Nodes, tokens, documents.
    pub control: Control,
    /// What nodes sent.
    pub store: Store,
    /// Root documents.
    pub trust: Trust,
    /// Who is there.
    pub liveness: Liveness,
    /// Questions to nodes.
    pub asks: Asks,
    /// Queries that nodes answer.
    pub edge: EdgeQueries,
    /// Turns of those that the centre answers.
    pub turns: Turns,
    /// Hands documents to nodes.
    pub delivery: Delivery,
    /// Takes nodes in.
    pub enrolment: Enrolment,
    /// Whose connections are cut.
    pub admission: Admission,
    /// Who may use the API.
    pub access: Access,
    /// Intake's counters.
    pub counters: Arc<Counters>,
    /// The transport's counters.
    pub mqtt: Arc<Stats>,
    /// What is counted of the API itself.
    pub requests: Arc<Requests>,
    /// Live views of logs.
    pub tails: Tails,
    /// Where samples are sent on to.
    pub targets: Targets,
    /// Where log records are sent on to.
    pub forwards: Forwards,
    /// Routing of alerts.
    pub alerts: Alerts,
    /// Rules and their alerts.
    pub rules: RulesView,
    /// Takes samples of others in.
    pub receiver: Receiver,
    /// Whether browsers reach the console over TLS.
    pub is_https: bool,
    /// The running program, as Prometheus's API tells of it.
    pub runtime: Arc<Runtime>,
    /// Wall time.
    pub wall: WallClock,
}

/// All routes of the API.
pub fn router(fleet: Fleet) -> Router {
    let guarded = Router::new()
        .route("/nodes", get(nodes::list))
        .route("/nodes/{node}", get(nodes::show))
        .route("/nodes/{node}/approve", post(nodes::approve))
        .route("/nodes/{node}/revoke", post(nodes::revoke))
        .route("/nodes/{node}/events", get(nodes::events))
        .route("/nodes/{node}/losses", get(nodes::losses))
        .route("/nodes/{node}/logs", get(logs::read))
        .merge(prometheus::router())
        .merge(scaling::router())
        .route("/alert-history", get(alerts::history))
        .route("/remote-write", get(operations::remote_write))
        .route("/forward", get(operations::forward))
        .route("/write", post(write::write).layer(DefaultBodyLimit::max(WRITE_BYTES_MAX)))
        .route("/configs", get(documents::streams).post(documents::add_config))
        .route("/configs/{kind}/{name}", get(documents::revisions))
        .route("/assignments", post(documents::add_assignment))
        .route("/assignments/{node}", get(documents::assignment))
        .route("/roots", post(documents::add_root))
        .route("/trust", get(documents::trust))
        .route("/tokens", get(tokens::list).post(tokens::add))
        .route("/tokens/{id}", delete(tokens::remove))
        .route_layer(axum::middleware::from_fn_with_state(fleet.clone(), access::bearer));
    let logs = loki::router().route_layer(axum::middleware::from_fn_with_state(fleet.clone(), access::bearer));
    let alertmanager = Router::new()
        .route("/{*path}", any(alerts::v2))
        .route_layer(axum::middleware::from_fn_with_state(fleet.clone(), access::bearer));
    Router::new()
        .nest("/api/v1", guarded)
        .nest("/api/v2", alertmanager)
        .nest("/loki/api/v1", logs)
        .route("/ready", get(async || "ready\n"))
        .route("/api/v1/enrol", post(enrol::enrol))
        .route("/metrics", get(operations::metrics))
        .route("/healthz", get(operations::healthz))
        .route("/readyz", get(operations::readyz))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(fleet)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod write_tests;
