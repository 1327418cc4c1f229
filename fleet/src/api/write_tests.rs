//! Remote write against the routes of the API.

use crate::testkit::{Kit, NOW};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use http_body_util::BodyExt;
use skerry_model::{Labels, Sample, UnixMillis, stale_nan};
use skerry_remote::{Protocol, Series, write};
use tower::ServiceExt;

struct Api {
    kit: Kit,
    router: Router,
}

/// Status, headers and body of an answer.
struct Told(u16, HeaderMap, String);

impl Api {
    async fn new() -> Self {
        let kit = Kit::new().await;
        let router = super::router(kit.fleet.clone());
        Self { kit, router }
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Told {
        let mut request = Request::post(format!("/api/v1/write{path}"))
            .header("authorization", format!("Bearer {}", self.kit.api_token));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Told(status, headers, String::from_utf8_lossy(&answer.into_body().collect().await.unwrap().to_bytes()).into())
    }

    async fn write(&self, protocol: Protocol, path: &str, series: &[Series]) -> Told {
        self.post(path, &[("content-type", protocol.content_type())], write(protocol, series)).await
    }

    async fn query(&self, text: &str) -> serde_json::Value {
        let path = format!("/api/v1/query?query={text}&time={}", NOW.0 / 1000 + 100);
        let request = Request::get(path).header("authorization", format!("Bearer {}", self.kit.api_token));
        let answer = self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()["data"]["result"].clone()
    }
}

fn series(name: &str, samples: &[(i64, f64)]) -> Series {
    let sample = |(at, value): &(i64, f64)| Sample { at: UnixMillis(NOW.0 + at * 1000), value: *value };
    Series {
        labels: Labels::new([("__name__", name), ("node", "x")]).unwrap(),
        samples: samples.iter().map(sample).collect(),
    }
}

#[tokio::test]
async fn what_is_written_is_queried_by_sender() {
    let api = Api::new().await;
    assert_eq!(api.write(Protocol::V1, "", &[series("up", &[(0, 1.0), (15, 2.0)])]).await.0, 204);
    let told = api
        .write(
            Protocol::V2,
            "?sender=prom-1",
            &[series("up", &[(30, 3.0)]), series("gone", &[(0, 1.0), (15, stale_nan())])],
        )
        .await;
    assert_eq!(told.0, 204);
    for (kind, count) in [("samples", "3"), ("histograms", "0"), ("exemplars", "0")] {
        assert_eq!(told.1[&format!("x-prometheus-remote-write-{kind}-written")], count);
    }
    let found = api.query("up").await;
    let row = |at: usize| {
        let (metric, value) = (&found[at]["metric"], &found[at]["value"][1]);
        serde_json::json!([metric["node"], metric["exported_node"], value])
    };
    assert_eq!(found.as_array().unwrap().len(), 2);
    assert_eq!(row(0), serde_json::json!(["remote", "x", "2"]));
    assert_eq!(row(1), serde_json::json!(["remote.prom-1", "x", "3"]));
    assert_eq!(api.query("gone").await, serde_json::json!([]), "its stale marker ends it");
}

#[tokio::test]
async fn what_is_out_of_order_is_told_and_booked_and_the_rest_kept() {
    let api = Api::new().await;
    api.write(Protocol::V1, "", &[series("up", &[(10, 1.0)])]).await;
    let told = api.write(Protocol::V2, "", &[series("up", &[(5, 1.0), (20, 2.0)])]).await;
    assert_eq!(told.0, 400);
    assert_eq!(told.1["x-prometheus-remote-write-samples-written"], "1");
    assert!(told.2.contains("out of order sample: up{node="), "{}", told.2);
    let losses = api.kit.fleet.store.losses(&"remote".parse().unwrap(), 9).await.unwrap();
    assert_eq!((losses.len(), losses[0].reason.as_str(), losses[0].count), (1, "out_of_order", Some(1)));
    assert_eq!(api.query("up").await[0]["value"][1], "2");
    // The very same body again is told the same, and is not booked again.
    let again = api.write(Protocol::V2, "", &[series("up", &[(5, 1.0), (20, 2.0)])]).await;
    assert_eq!((again.0, again.2), (told.0, told.2));
    assert_eq!(api.kit.fleet.store.losses(&"remote".parse().unwrap(), 9).await.unwrap()[0].count, Some(1));
}

#[tokio::test]
async fn bodies_that_are_none_are_told_apart() {
    let api = Api::new().await;
    let good = write(Protocol::V1, &[series("up", &[(0, 1.0)])]);
    let many: Vec<Series> = (0..100_001).map(|_| Series { labels: Labels::default(), samples: Vec::new() }).collect();
    for (path, headers, body, status, words) in [
        ("", &[][..], b"garbage".to_vec(), 400, "snappy"),
        ("", &[], good[..good.len() - 3].to_vec(), 400, "snappy"),
        ("", &[], Vec::new(), 400, "snappy"),
        ("", &[], vec![0xff, 0xff, 0xff, 0xff, 0x0f], 413, "4294967295 bytes"),
        ("", &[], write(Protocol::V1, &many), 413, "100001 series"),
        ("", &[("content-length", "9000000")], vec![0; 9_000_000], 413, "too large"),
        ("", &[("content-type", "application/json")], good.clone(), 415, "application/json"),
        ("", &[("content-type", "application/x-protobuf;proto=x.Y")], good.clone(), 415, "proto=x.Y"),
        ("", &[("content-encoding", "gzip")], good.clone(), 415, "gzip"),
        ("?sender=a/b", &[], good.clone(), 400, "sender"),
    ] {
        let told = api.post(path, headers, body).await;
        assert_eq!(told.0, status, "{}", told.2);
        assert!(told.2.contains(words), "{words} is missing in {}", told.2);
    }
    assert_eq!(api.query("up").await, serde_json::json!([]));
    assert_eq!(api.post("", &[], good).await.0, 204, "a sender that names no type is one of 1.0");
    let open = Request::post("/api/v1/write").body(Body::empty()).unwrap();
    assert_eq!(api.router.clone().oneshot(open).await.unwrap().status(), 401);
}

#[tokio::test]
async fn names_of_senders_are_kept_from_nodes() {
    let api = Api::new().await;
    for name in ["remote", "remote.a"] {
        let token = api.kit.token(1, false).await;
        let request = crate::testkit::TestNode::new(name).request(Some(&token)).encode();
        let refused = api.kit.fleet.enrolment.answer(&request, NOW).await.unwrap_err();
        assert_eq!(refused.code(), "name_reserved");
    }
    api.kit.joined("remote-site").await;
}

#[tokio::test]
async fn targets_are_what_nodes_scrape() {
    let api = Api::new().await;
    api.write(Protocol::V1, "", &[series("up", &[(-30, 1.0), (-15, 0.0)]), series("up_not", &[(-15, 1.0)])]).await;
    let request = Request::get("/api/v1/targets").header("authorization", format!("Bearer {}", api.kit.api_token));
    let answer = api.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    let told: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let targets = told["data"]["activeTargets"].as_array().unwrap();
    assert_eq!(targets.len(), 1, "{told}");
    assert_eq!(targets[0]["labels"], serde_json::json!({"node": "remote", "exported_node": "x"}));
    assert_eq!((&targets[0]["health"], &targets[0]["scrapeInterval"]), (&"down".into(), &"15s".into()));
}
