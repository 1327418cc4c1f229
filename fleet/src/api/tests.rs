mod scaling;

use crate::testkit::{Kit, NOW, TestNode};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use skerry_model::{Epoch, LogRecord, Seq, UnixMillis};
use tower::ServiceExt;

struct Api {
    kit: Kit,
    router: Router,
}

impl Api {
    async fn new() -> Self {
        let kit = Kit::new().await;
        let router = super::router(kit.fleet.clone());
        Self { kit, router }
    }

    async fn send(&self, method: &str, path: &str, body: Vec<u8>) -> (StatusCode, serde_json::Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.kit.api_token))
            .header("content-type", "application/json")
            .body(Body::from(body))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(serde_json::Value::Null))
    }

    async fn get(&self, path: &str) -> (StatusCode, serde_json::Value) {
        self.send("GET", path, Vec::new()).await
    }

    async fn code(&self, method: &str, path: &str, body: Vec<u8>) -> (u16, String) {
        let (status, body) = self.send(method, path, body).await;
        (status.as_u16(), body["error"]["code"].as_str().unwrap_or_default().to_owned())
    }
}

#[tokio::test]
async fn nothing_but_health_and_enrolment_is_open() {
    let api = Api::new().await;
    for (path, open) in [
        ("/healthz", true),
        ("/readyz", true),
        ("/metrics", true),
        ("/api/v1/nodes", false),
        ("/api/v1/nodes/a", false),
        ("/api/v1/query?query=up", false),
        ("/api/v1/tokens", false),
        ("/api/v1/configs", false),
        ("/api/v1/trust", false),
        ("/api/v1/alert-history", false),
        ("/api/v1/scaling", false),
        ("/api/v1/scaling/explain?node=a&policy=b", false),
        ("/api/v1/scaling/history", false),
        ("/api/v1/capacity", false),
        ("/api/v1/workloads", false),
        ("/api/v1/rules", false),
        ("/api/v2/alerts", false),
        ("/api/v2/status", false),
    ] {
        let request = Request::get(path).header("authorization", "Bearer wrong").body(Body::empty()).unwrap();
        let status = api.router.clone().oneshot(request).await.unwrap().status();
        assert_eq!(status, if open { StatusCode::OK } else { StatusCode::UNAUTHORIZED }, "{path}");
    }
    let (_, metrics) = api.get("/metrics").await;
    assert!(metrics.is_null(), "Prometheus text, not JSON");
}

#[tokio::test]
async fn a_node_joins_is_assigned_and_revoked() {
    let api = Api::new().await;
    let kit = &api.kit;
    let (token, node) = (kit.token(1, false).await, TestNode::new("a"));
    let (status, _) = api.send("POST", "/api/v1/enrol", node.request(Some(&token)).encode()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(api.code("POST", "/api/v1/enrol", vec![1]).await, (400, "enrol_message_invalid".into()));
    let other = TestNode::new("a");
    let again = api.code("POST", "/api/v1/enrol", other.request(Some(&token)).encode()).await;
    assert_eq!(again, (409, "node_exists".into()));
    let (_, list) = api.get("/api/v1/nodes").await;
    assert_eq!(list["nodes"][0]["state"], "approved");
    assert!(list["nodes"][0]["problems"][0].as_str().unwrap().contains("skerry assign a"));

    let envelope = kit.assignment(&node, 1).await.seal(&[&kit.key("assign-1")]).unwrap();
    let (status, reached) = api.send("POST", "/api/v1/assignments", envelope).await;
    assert_eq!((status, reached["nodes"][0].as_str()), (StatusCode::OK, Some("a")));
    let (_, detail) = api.get("/api/v1/nodes/a").await;
    assert_eq!(detail["assignment"]["streams"][0], "group/edge");
    assert_eq!(detail["labels"]["site"], "<b>here</b>");

    let config = kit.config(1, "body").seal(&[&kit.key("config-1")]).unwrap();
    let (status, reached) = api.send("POST", "/api/v1/configs", config.clone()).await;
    assert_eq!((status, reached["is_new"].as_bool()), (StatusCode::OK, Some(true)));
    let (_, revisions) = api.get("/api/v1/configs/group/edge").await;
    assert_eq!(revisions["revisions"][0]["body"], "body");
    let mut changed = config;
    *changed.last_mut().unwrap() ^= 1;
    let (status, code) = api.code("POST", "/api/v1/configs", changed).await;
    assert_eq!(status, 422, "{code}");

    let pin = kit.fleet.control.node(&node.name).await.unwrap().unwrap().tls_pin;
    assert!(kit.fleet.admission.admits(&pin));
    assert_eq!(api.send("POST", "/api/v1/nodes/a/revoke", Vec::new()).await.0, StatusCode::NO_CONTENT);
    assert!(!kit.fleet.admission.admits(&pin));
}

#[tokio::test]
async fn what_is_not_there_and_what_is_wrong_is_named() {
    let api = Api::new().await;
    api.kit.joined("a").await;
    for (method, path, body, status, code) in [
        ("GET", "/api/v1/nodes/b", "", 404, "node_unknown"),
        ("GET", "/api/v1/nodes/NOT%20A%20NAME/logs", "", 404, "node_unknown"),
        ("GET", "/api/v1/nodes/a/logs?limit=x", "", 400, "query_invalid"),
        ("GET", "/api/v1/nodes/a/logs?odd=1", "", 400, "query_invalid"),
        ("GET", "/api/v1/configs/group/none", "", 404, "stream_unknown"),
        ("GET", "/api/v1/assignments/a", "", 404, "unassigned"),
        ("POST", "/api/v1/nodes/b/revoke", "", 404, "node_unknown"),
        ("POST", "/api/v1/nodes/a/approve?tls_pin=5", "", 400, "pin_invalid"),
        ("POST", "/api/v1/configs", "x", 422, "not_cbor"),
        ("POST", "/api/v1/roots", "x", 409, "not_cbor"),
        ("DELETE", "/api/v1/tokens/zz", "", 400, "token_invalid"),
        ("DELETE", "/api/v1/tokens/0011223344556677", "", 404, "token_unknown"),
    ] {
        let found = api.code(method, path, body.into()).await;
        assert_eq!(found.0, status, "{path}: {found:?}");
        if code != "not_cbor" {
            assert_eq!(found.1, code, "{path}");
        }
    }
    for (path, status) in [("query?query=up%7B", 400), ("query?query=up&time=soon", 400), ("query_range?query=up", 400)]
    {
        let (found, body) = api.get(&format!("/api/v1/{path}")).await;
        assert_eq!((found.as_u16(), body["errorType"].as_str()), (status, Some("bad_data")), "{path}: {body}");
    }
    let body = serde_json::json!({"id": "00", "secret": "", "uses": 1, "expires_ms": NOW.0 + 1});
    assert_eq!(api.code("POST", "/api/v1/tokens", body.to_string().into()).await, (400, "token_invalid".into()));
}

#[tokio::test]
async fn stored_records_and_series_are_read_back() {
    let api = Api::new().await;
    let node = api.kit.joined("a").await;
    let labels = skerry_model::Labels::new([("source", "app")]).unwrap();
    let record = |n: i64| LogRecord {
        at: UnixMillis(NOW.0 + n),
        labels: labels.clone(),
        level: skerry_model::Level::Info,
        output: skerry_model::OutputStream::None,
        fields: skerry_model::Labels::default(),
        line: format!("line {n} \"quoted\"").into_bytes(),
    };
    let records: Vec<_> = (0..5).map(record).collect();
    let block = skerry_chunk::LogBlock { records }.encode(1).unwrap();
    let body = skerry_wire::Body::Block(block);
    let batch = skerry_wire::Batch { epoch: Epoch(1), from: Seq(1), to: Seq(1), dict: Vec::new(), body };
    api.kit.fleet.store.ingest(&node.name, skerry_model::StreamKind::Logs, batch, NOW).await.unwrap();
    let (_, list) = api.get("/api/v1/nodes/a/logs?limit=2").await;
    assert_eq!(list["records"][1]["line"], "line 4 \"quoted\"");
    assert_eq!((list["records"].as_array().unwrap().len(), list["more"].as_bool()), (2, Some(true)));
    assert_eq!(list["records"][0]["labels"], serde_json::json!({"level": "info", "node": "a", "source": "app"}));
    let (_, list) = api.get("/api/v1/nodes/a/logs?contains=line+1&label.source=app").await;
    assert_eq!(list["records"].as_array().unwrap().len(), 1);
    let (_, list) = api.get("/api/v1/nodes/a/logs?label.source=web").await;
    assert!(list["records"].as_array().unwrap().is_empty());
    let (_, answer) = api.get("/api/v1/query?query=up").await;
    assert_eq!(answer["data"]["resultType"], "vector");
}

#[tokio::test]
async fn so_many_queries_are_evaluated_at_once_and_the_next_one_waits() {
    let api = Api::new().await;
    let mut held = Vec::new();
    // All turns; the last one is waited for in vain.
    tokio::time::pause();
    while let Ok(turn) = api.kit.fleet.turns.take().await {
        held.push(turn);
    }
    let (status, answer) = api.get("/api/v1/query?query=up").await;
    assert_eq!((status.as_u16(), &answer["errorType"]), (503, &"timeout".into()));
    assert!(answer["error"].as_str().unwrap().starts_with("8 queries are being evaluated"), "{answer}");
    let waiting = api.get("/api/v1/query?query=up");
    tokio::pin!(waiting);
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("there is no turn"),
        () = std::future::ready(()) => {}
    }
    tokio::time::resume();
    held.pop();
    let (status, answer) = waiting.await;
    assert_eq!((status.as_u16(), &answer["status"]), (200, &"success".into()));
}
