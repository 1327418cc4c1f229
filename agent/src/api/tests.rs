//! The router, without a socket.

use super::*;
use crate::clock::Clock;
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
    let latest = watch::channel(Arc::new(vec![observation])).1;
    let vitals = Vitals { latest, ..Vitals::idle(clock, opened.store.stats()) };
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

async fn pushed(pushes: Pushes, request: axum::http::request::Builder, body: &'static str) -> (StatusCode, String) {
    let answer = push::router(pushes).oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn pushes_are_taken_where_the_config_says_so() {
    let (status, told) = pushed(None, Request::post("/metrics/job/a"), "m 1\n").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(told.contains("push.gateway: true"), "{told}");
    let (sender, mut requests) = mpsc::channel::<crate::data::PushRequest>(1);
    let answering = tokio::spawn(async move {
        let mut seen = Vec::new();
        while let Some(request) = requests.recv().await {
            let outcome = if request.body.is_empty() { Ok(()) } else { Err("why not".to_owned()) };
            seen.push(format!("{} {}", request.verb, request.path));
            request.reply.send(outcome).unwrap();
        }
        seen
    });
    let open = || Some(sender.clone());
    assert_eq!(pushed(open(), Request::put("/metrics/job/a%20b/x/"), "").await.0, StatusCode::OK);
    assert_eq!(pushed(open(), Request::delete("/metrics/job@base64/YQ"), "").await.0, StatusCode::ACCEPTED);
    assert_eq!(
        pushed(open(), Request::post("/metrics/job/a"), "x").await,
        (StatusCode::BAD_REQUEST, "why not\n".into())
    );
    for (request, status) in [
        (Request::get("/metrics/job/a"), StatusCode::METHOD_NOT_ALLOWED),
        (Request::post("/metrics/other/a"), StatusCode::NOT_FOUND),
        (Request::post("/metrics/job/a").header("origin", "http://evil.example"), StatusCode::FORBIDDEN),
        (Request::post("/metrics/job/a").header("content-encoding", "gzip"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (
            Request::post("/metrics/job/a").header("content-type", "application/vnd.google.protobuf; x=y"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
    ] {
        assert_eq!(pushed(open(), request, "").await.0, status);
    }
    let large: &'static str = "x".repeat(2 << 20).leak();
    assert_eq!(pushed(open(), Request::post("/metrics/job/a"), large).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    drop(sender);
    assert_eq!(answering.await.unwrap(), ["PUT job/a b/x/", "DELETE job@base64/YQ", "POST job/a"]);
}
