//! The router, without a socket.

use super::*;
use crate::board::Board;
use crate::clock::Clock;
use crate::logs::LogStats;
use crate::store::{self, Store};
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use skerry_model::{LabelsBuilder, Meta, MetricKind, MetricMeta, Observation, UnixMillis};
use std::sync::Arc;
use tokio::sync::watch;
use tower::ServiceExt;

static METER: MetricMeta = MetricMeta::fixed("m_total", MetricKind::Counter, "For tests.");

fn vitals(folder: &std::path::Path) -> (Vitals, Store) {
    let clock = Clock::system();
    let opened = store::open(&folder.join("agent.db"), store::Config::default(), clock.clone(), || 1).unwrap();
    let observation =
        Observation { meta: Meta::Fixed(&METER), labels: LabelsBuilder::metric("m_total").build(), value: 4.0 };
    let vitals = Vitals {
        node: "pi-4".parse().unwrap(),
        fleet: None,
        started: clock.mono(),
        clock,
        board: Board::default(),
        latest: watch::channel(Arc::new(vec![observation])).1,
        store: opened.store.stats(),
        kept: None,
        logs: Arc::new(LogStats::default()),
        probes: Arc::default(),
        targets: crate::scrape::State::default(),
        sync: Arc::default(),
        asks: Arc::default(),
    };
    (vitals, opened.store)
}

async fn ask(vitals: &Vitals, path: &str, accept: &str) -> (StatusCode, String, String) {
    let request = Request::get(path).header("accept", accept).body(Body::empty()).unwrap();
    let answer = router(vitals.clone()).oneshot(request).await.unwrap();
    let kind = answer.headers().get("content-type").map_or("", |v| v.to_str().unwrap()).to_owned();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, kind, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn every_page_answers() {
    let folder = tempfile::tempdir().unwrap();
    let (vitals, _store) = vitals(folder.path());
    let (status, kind, body) = ask(&vitals, "/metrics", "*/*").await;
    assert_eq!((status, kind.as_str()), (StatusCode::OK, Format::Prometheus.media_type()));
    assert!(body.ends_with("m_total 4\n"), "{body}");
    let (_, kind, body) = ask(&vitals, "/metrics", "application/openmetrics-text; version=1.0.0").await;
    assert_eq!(kind, Format::OpenMetrics.media_type());
    assert!(body.ends_with("# EOF\n"));
    assert_eq!(ask(&vitals, "/healthz", "").await.0, StatusCode::OK);
    assert_eq!(ask(&vitals, "/nothing", "").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_agent_is_ready_when_it_has_measured_and_can_store() {
    let folder = tempfile::tempdir().unwrap();
    let (vitals, _store) = vitals(folder.path());
    let (status, _, body) = ask(&vitals, "/readyz", "").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("no round of collection"), "{body}");
    vitals.board.write(|entries| entries.last_round = Some((UnixMillis(7), 1)));
    assert_eq!(ask(&vitals, "/readyz", "").await.0, StatusCode::OK);
    vitals.board.problem("collector cpu", "no /proc");
    let (_, _, body) = ask(&vitals, "/status", "").await;
    let status: Status = serde_json::from_str(&body).unwrap();
    assert_eq!((status.node.as_str(), status.last_round_ms), ("pi-4", Some(7)));
    assert!(status.text().contains("Problem:     collector cpu: no /proc\n"), "{}", status.text());
}
