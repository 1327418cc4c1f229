//! The local HTTP, on loopback: metrics for scrapers, health for supervisors, status for people.
//!
//! `/api/v1` is Prometheus's own API over what the node keeps, and `/loki/api/v1` Loki's over its logs, so that every
//! habit works with the link down.
//!
//! Everything shown is read from [`Vitals`] and the store; nothing here changes anything but the
//! push endpoint, which is off unless the config opens it, and Alertmanager's API, where alerts are posted and silences
//! set. So there is no access control beyond the loopback address.

mod alertmanager;
mod alerts;
mod loki;
mod prometheus;
mod push;
mod scaling;
mod shown;
mod status;
mod targets;

pub use alerts::text as alerts_text;
pub use loki::Tails;
pub use push::Pushes;
pub use scaling::{
    data as scaling_data, explain_texts as scaling_explained, list_text as scaling_text, recommended_text,
    workloads_text,
};
pub use shown::{ShowError, follow_logs, logs_text};
pub use status::{Ready, Status};
pub use targets::text as targets_text;

use crate::data::AlertsRequest;
use crate::exposition;
use crate::query::{Queries, Scales};
use crate::vitals::Vitals;
use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use skerry_scrape::exposition::Format;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Where requests go that change something.
pub struct Doors {
    /// Pushes.
    pub pushes: Pushes,
    /// Requests of Alertmanager's API.
    pub alerts: mpsc::Sender<AlertsRequest>,
    /// Who answers questions about scaling; they change nothing.
    pub scales: Scales,
}

/// Serves until [`Tails::stop`].
///
/// # Errors
/// The system's, where the listener fails.
pub async fn run(
    listener: TcpListener,
    vitals: Vitals,
    queries: Queries,
    doors: Doors,
    tails: Tails,
) -> std::io::Result<()> {
    let Doors { pushes, alerts, scales } = doors;
    let stop = tails.stop.clone();
    let routes = router(vitals)
        .merge(prometheus::router(queries.clone()))
        .merge(loki::router(queries, tails.clone()))
        .merge(push::router(pushes))
        .merge(scaling::router(scales))
        .merge(alertmanager::router(alerts));
    axum::serve(listener, routes).with_graceful_shutdown(async move { stop.cancelled().await }).await?;
    tails.ended().await;
    Ok(())
}

fn router(vitals: Vitals) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .route("/targets", get(targets::page))
        .with_state(vitals)
}

async fn index() -> &'static str {
    "Skerry agent\n\n/metrics   Prometheus text or OpenMetrics\n/healthz   whether the process lives\n/readyz    whether it does its work\n/status    how it is, as JSON\n/targets   what is scraped, and how that goes\n/api/v1    Prometheus's API: query, query_range, series, labels, label/NAME/values, metadata,\n           targets, rules, alerts, status/{buildinfo,config,flags,runtimeinfo,tsdb}\n/api/v1/scaling    policies; /explain?policy=NAME, /recommend; /api/v1/workloads\n/api/v2    Alertmanager's API: alerts, alerts/groups, silences, silence/ID, receivers, status\n/loki/api/v1   Loki's API: query, query_range, labels, label/NAME/values, series, tail,\n           index/stats, index/volume, format_query, status/buildinfo\n"
}

/// The newest round of collection.
async fn metrics(State(vitals): State<Vitals>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = Format::wanted(accept);
    let observations = vitals.latest.borrow().clone();
    ([(header::CONTENT_TYPE, format.media_type())], exposition::write(&observations, format)).into_response()
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(vitals): State<Vitals>) -> Response {
    let ready = Ready::of(&vitals);
    let code = if ready.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(ready)).into_response()
}

async fn status(State(vitals): State<Vitals>) -> Json<Status> {
    Json(Status::of(&vitals))
}

#[cfg(test)]
mod tests;
