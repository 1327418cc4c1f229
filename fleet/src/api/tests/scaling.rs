//! Scaling over the API: nodes that answer, nodes that do not, and what they told.

use super::Api;
use crate::edge::EdgeQueries;
use crate::ingest::{Asks, Liveness};
use crate::intake::fixture::{events, hello, node};
use crate::mqtt::{Downlink, SessionId};
use crate::testkit::{Kit, NOW};
use axum::http::StatusCode;
use serde_json::{Value, json};
use skerry_chunk::{Column, MetricBlock};
use skerry_model::{Epoch, Labels, LabelsBuilder, Seq, SeriesId, StreamKind, UnixMillis};
use skerry_wire::{
    ASKS_VERSION, Answer, AnswerPart, Ask, AskKind, Batch, Body, Done, Event, EventKind, Hello, Packed, Piece,
    Question, ResultKind, SCALING_TEXT_BYTES_MAX, ScalingAsk, ScalingEvent, WorkloadEvent, codec,
};
use tokio::sync::mpsc;

/// What a node that scales says.
fn said(ask: &ScalingAsk) -> Result<Vec<Value>, (&'static str, String)> {
    let web = json!({"policy": "web", "target": "Container/web", "min": 1, "max": 4, "current": 2, "desired": 3,
        "later": ["a field of a later version"]});
    match ask {
        ScalingAsk::List => Ok(vec![web, json!({"policy": "api", "target": "Exec//bin/api", "error": "it hangs"})]),
        ScalingAsk::Explain { policy } if policy == "web" => {
            let mut explained = web;
            explained["text"] = json!("web: 2 to 3");
            Ok(vec![explained])
        }
        ScalingAsk::Explain { policy } => Err(("not_found", format!("no policy {policy} runs on this node"))),
        ScalingAsk::Try { file, text } if text.contains("bad") => Err(("bad_data", format!("{file}:1: kind: bad"))),
        ScalingAsk::Try { .. } => Ok(vec![json!({"policy": "new", "text": "new: 1 to 1"})]),
        ScalingAsk::Recommend => Ok(vec![json!({"container": 7})]),
        ScalingAsk::Workloads => Ok(vec![json!({"workload": "till", "wanted": 2, "ready": 1, "message": null,
            "containers": [{"name": "1/till", "state": "Waiting", "reason": "CrashLoopBackOff", "since_ms": null, "image": null}]})]),
    }
}

/// A fleet with node "a", which is connected and answers as [`said`], and node "b", which is not.
async fn with_nodes() -> Api {
    let mut kit = Kit::new().await;
    kit.joined("a").await;
    kit.joined("b").await;
    let (sender, mut sent) = mpsc::channel(16);
    let liveness = Liveness::default();
    liveness.on_connected(&node("a"), SessionId(1), None, None, NOW);
    liveness.on_hello(&node("a"), Hello { asks: ASKS_VERSION, ..hello(&[]) }, None, NOW);
    let asks = Asks::new(Downlink::to_channel(sender), NOW);
    kit.fleet.edge = EdgeQueries::new(asks.clone(), liveness);
    kit.fleet.asks = asks.clone();
    tokio::spawn(async move {
        while let Some(outbound) = sent.recv().await {
            let ask: Ask = codec::decode(&outbound.payload, 1 << 20).unwrap();
            let AskKind::Query(query) = ask.kind else { continue };
            let Question::Scaling(question) = query.question else { panic!("{query:?}") };
            let parts = match said(&question) {
                Ok(values) => {
                    let piece = Piece::Texts(values.iter().map(Value::to_string).collect());
                    let done = Done { kind: ResultKind::Documents, pieces: 1, warnings: vec![], infos: vec![] };
                    let result = AnswerPart::Result { number: 0, piece: Packed::pack(&piece).unwrap() };
                    vec![result, AnswerPart::Done(done)]
                }
                Err((kind, reason)) => vec![AnswerPart::Failed { kind: kind.into(), reason }],
            };
            for part in parts {
                asks.deliver(&outbound.node, Answer { id: ask.id, part }).await;
            }
        }
    });
    let router = crate::api::router(kit.fleet.clone());
    Api { kit, router }
}

/// What node "b" sent before its link was cut: samples of one round, an hour ago.
async fn remember(api: &Api, at: UnixMillis) {
    let metric = |name: &str| LabelsBuilder::metric(name);
    let policy = |name: &str| metric(name).label("horizontalpodautoscaler", "web").build();
    let ours = |name: &str| metric(name).label("policy", "web");
    let condition = |status: &str| {
        metric("kube_horizontalpodautoscaler_status_condition")
            .label("horizontalpodautoscaler", "web")
            .label("condition", "ScalingActive")
            .label("status", status)
            .build()
    };
    let series: Vec<(Labels, f64)> = vec![
        (policy("kube_horizontalpodautoscaler_spec_min_replicas"), 1.0),
        (policy("kube_horizontalpodautoscaler_spec_max_replicas"), 9.0),
        (policy("kube_horizontalpodautoscaler_status_current_replicas"), 4.0),
        (policy("kube_horizontalpodautoscaler_status_desired_replicas"), 5.0),
        (condition("true"), 0.0),
        (condition("false"), 1.0),
        (ours("skerry_scaling_pending_replicas").label("target", "Container/web").build(), 1.0),
        (ours("skerry_scaling_replica_request_cpu_cores").build(), 0.5),
        (ours("skerry_scaling_replica_request_memory_bytes").build(), 1_073_741_824.0),
        (metric("skerry_scaling_allocatable_cpu_cores").build(), 2.0),
        (metric("skerry_scaling_allocatable_memory_bytes").build(), 4_294_967_296.0),
        (metric("skerry_scaling_used_cpu_cores").build(), 1.5),
        (metric("skerry_scaling_used_memory_bytes").build(), 2_147_483_648.0),
    ];
    let ids = (1_u32..).map(SeriesId);
    let dict: Vec<(SeriesId, Labels)> = ids.clone().zip(series.iter().map(|(labels, _)| labels.clone())).collect();
    let columns = ids.zip(&series).map(|(id, (_, value))| Column { series: id, values: vec![Some(*value)] }).collect();
    let block = MetricBlock { timestamps: vec![at], columns };
    let batch = Batch {
        epoch: Epoch(1),
        from: Seq(1),
        to: Seq(1),
        dict: skerry_chunk::dict::encode(&dict).unwrap(),
        body: Body::Block(block.encode().unwrap()),
    };
    api.kit.fleet.store.ingest(&node("b"), StreamKind::Metrics, batch, NOW).await.unwrap();
}

async fn told(api: &Api, at: i64, to: u32) {
    let decision = ScalingEvent {
        policy: "web".into(),
        target: "Container/web".into(),
        from: 1,
        to,
        reason: "SuccessfulRescale".into(),
        message: "cpu".into(),
    };
    let happened = WorkloadEvent {
        workload: "till".into(),
        container: Some("till-1".into()),
        reason: "BackOff".into(),
        message: "again in 10 s".into(),
    };
    let all = vec![
        Event { at: UnixMillis(at), kind: EventKind::Scaling(decision) },
        Event { at: UnixMillis(at), kind: EventKind::Workload(happened) },
    ];
    api.kit.fleet.store.ingest(&node("b"), StreamKind::Events, events(1, 1, &all), NOW).await.unwrap();
}

#[tokio::test]
async fn nodes_say_how_they_scale_and_of_others_it_is_known_from_when() {
    let api = with_nodes().await;
    let hour_ago = UnixMillis(NOW.0 - 3_600_000);
    remember(&api, hour_ago).await;
    let (status, list) = api.get("/api/v1/scaling").await;
    assert_eq!(status, StatusCode::OK, "{list}");
    let items = list["items"].as_array().unwrap();
    let brief: Vec<_> = items.iter().map(|i| (i["node"].clone(), i["policy"].clone(), i["live"].clone())).collect();
    let expected = [("a", "web", true), ("a", "api", true), ("b", "web", false)];
    assert_eq!(brief, expected.map(|(node, policy, live)| (json!(node), json!(policy), json!(live))));
    assert_eq!((items[0]["desired"].clone(), items[1]["error"].clone()), (json!(3), json!("it hangs")));
    let known = &items[2];
    for (key, value) in [
        ("as_of_ms", json!(hour_ago.0)),
        ("target", json!("Container/web")),
        ("min", json!(1)),
        ("max", json!(9)),
        ("current", json!(4)),
        ("desired", json!(5)),
        ("pending", json!(1)),
    ] {
        assert_eq!(known[key], value, "{key} of {known}");
    }
    assert_eq!(known["conditions"][0]["kind"], "ScalingActive");
    assert_eq!(
        (known["conditions"][0]["status"].clone(), known["conditions"][1].clone()),
        (json!("False"), json!(null))
    );
    assert_eq!(
        (list["nodes"]["a"]["status"].clone(), list["nodes"]["b"]["status"].clone()),
        (json!("answered"), json!("unreachable"))
    );
    // The centre alone, and one node alone.
    let (_, list) = api.get("/api/v1/scaling?at=centre&node=b").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let (_, list) = api.get("/api/v1/scaling?at=centre&node=a").await;
    assert_eq!(list["items"], json!([]), "it sent no samples");
    // What cannot be read is no answer.
    let (status, list) = api.get("/api/v1/scaling/recommendations?node=a").await;
    assert_eq!((status, list["nodes"]["a"]["status"].clone()), (StatusCode::OK, json!("error")), "{list}");
    let (_, list) = api.get("/api/v1/workloads?node_selector=node%3Da").await;
    assert_eq!((list["items"][0]["wanted"].clone(), list["items"][0]["ready"].clone()), (json!(2), json!(1)));
    assert_eq!(list["items"][0]["containers"][0]["reason"], "CrashLoopBackOff", "{list}");
    for (path, code) in [("scaling?at=moon", (400, "bad_data")), ("workloads?node=c", (404, "not_found"))] {
        let (status, told) = api.code("GET", &format!("/api/v1/{path}"), vec![]).await;
        assert_eq!((status, told.as_str()), code, "{path}");
    }
}

#[tokio::test]
async fn a_policy_is_explained_by_its_node_or_by_what_was_decided_last() {
    let api = with_nodes().await;
    let explain = "/api/v1/scaling/explain";
    let (status, told_by_node) = api.get(&format!("{explain}?node=a&policy=web")).await;
    assert_eq!((status, told_by_node["text"].clone()), (StatusCode::OK, json!("web: 2 to 3")), "{told_by_node}");
    for (path, code) in [
        ("?node=a&policy=none", (404, "not_found")),
        ("?node=a", (400, "bad_data")),
        ("?node=c&policy=web", (404, "node_unknown")),
        ("?node=b&policy=web", (503, "unavailable")),
    ] {
        let (status, told) = api.code("GET", &format!("{explain}{path}"), vec![]).await;
        assert_eq!((status, told.as_str()), code, "{path}");
    }
    told(&api, NOW.0 - 5000, 2).await;
    let (_, last) = api.get(&format!("{explain}?node=b&policy=web")).await;
    assert_eq!((last["live"].clone(), last["last_decision"]["to"].clone()), (json!(false), json!(2)), "{last}");
    assert_eq!(last["silence"], "it is not connected");
    for (body, code) in [
        ("kind: ScalingPolicy".to_owned(), (200, "")),
        ("bad".to_owned(), (400, "bad_data")),
        ("x".repeat(SCALING_TEXT_BYTES_MAX + 1), (400, "bad_data")),
    ] {
        let (status, told) = api.code("POST", &format!("{explain}?node=a&file=f.yaml"), body.into_bytes()).await;
        assert_eq!((status, told.as_str()), code);
    }
    assert_eq!(api.code("POST", &format!("{explain}?node=b"), b"kind: x".to_vec()).await.0, 503);
}

#[tokio::test]
async fn history_has_each_decision_once_and_capacity_is_summed() {
    let api = with_nodes().await;
    told(&api, NOW.0 - 5000, 2).await;
    told(&api, NOW.0 - 5000, 2).await;
    let (_, history) = api.get("/api/v1/scaling/history").await;
    assert_eq!(history["decisions"].as_array().unwrap().len(), 1, "{history}");
    assert_eq!(history["decisions"][0]["at_ms"], NOW.0 - 5000);
    for (query, rows) in [("?policy=web&node=b", 1), ("?policy=api", 0), ("?node=a", 0), ("?from_ms=1899999999999", 0)]
    {
        let (_, history) = api.get(&format!("/api/v1/scaling/history{query}")).await;
        assert_eq!(history["decisions"].as_array().unwrap().len(), rows, "{query}");
    }
    let (_, history) = api.get("/api/v1/workloads/history?workload=till").await;
    assert_eq!(history["events"][0]["container"], "till-1");
    remember(&api, UnixMillis(NOW.0 - 3_600_000)).await;
    let (_, capacity) = api.get("/api/v1/capacity?by=node").await;
    assert_eq!(capacity["unknown"], json!(["a"]));
    let site = &capacity["sites"][0];
    assert_eq!((site["site"].clone(), site["nodes"].clone(), site["silent"].clone()), (json!("b"), json!(1), json!(1)));
    assert_eq!((site["pending"].clone(), site["needs_nodes"].clone()), (json!(1), json!(1)), "{capacity}");
    assert_eq!(site["allocatable"], json!({"cpu_milli": 2000, "memory_bytes": 4_294_967_296_u64}));
    let (_, capacity) = api.get("/api/v1/capacity").await;
    assert_eq!((capacity["by"].clone(), capacity["sites"][0]["site"].clone()), (json!("site"), json!("")));
}
