//! Answers of both runtimes, and a runtime that answers badly: a stand-in on a unix socket that speaks HTTP.

use super::*;
use crate::docker::call::{escaped, filters};
use crate::docker::events::Lines;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use proptest::prelude::*;
use serde_json::{Value, json};
use skerry_model::UnixMillis;
use std::path::Path;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn the_version_is_one_that_both_speak() {
    for (what, newest, oldest, spoken) in [
        ("Docker 20.10", "1.41", Some("1.12"), Some((1, 41))),
        ("Docker 28", "1.50", Some("1.24"), Some((1, 44))),
        ("Docker 29", "1.52", Some("1.44"), Some((1, 44))),
        ("one that has left ours behind", "1.70", Some("1.60"), Some((1, 60))),
        ("Podman", "1.41", Some("1.24"), Some((1, 41))),
        ("one that tells no oldest", "1.20", None, Some((1, 20))),
        ("ten is above nine", "1.9", Some("1.9"), Some((1, 9))),
        ("no version", "new", None, None),
        ("nothing", "", None, None),
    ] {
        let mut answer = json!({ "ApiVersion": newest });
        if let Some(oldest) = oldest {
            answer["MinAPIVersion"] = oldest.into();
        }
        assert_eq!(Version::read(&answer).map(|version| version.spoken), spoken, "{what}");
    }
    let podman = json!({"ApiVersion": "1.41", "Components": [{"Name": "Podman Engine"}, {"Name": "Conmon"}]});
    assert!(Version::read(&podman).unwrap().is_podman);
    let docker = json!({"ApiVersion": "1.41", "Components": [{"Name": "Engine"}, {}]});
    assert!(!Version::read(&docker).unwrap().is_podman);
}

#[test]
fn health_is_told_since_its_first_run() {
    let run = |second: u32, code: i64| json!({"Start": "x", "End": format!("2026-11-21T04:00:{second:02}Z"), "ExitCode": code});
    let at = |second: i64| Some(UnixMillis(1_795_233_600_000 + second * 1000));
    for (what, state, expected) in [
        ("none", json!({}), None),
        ("Docker's none", json!({"Health": {"Status": "none"}}), None),
        ("Podman's none", json!({"Health": {"Status": "", "Log": null}}), None),
        ("starting", json!({"Health": {"Status": "starting", "Log": [run(1, 1)]}}), Some((false, true, at(1)))),
        (
            "well from the first",
            json!({"Health": {"Status": "healthy", "Log": [run(1, 0), run(2, 0)]}}),
            Some((true, false, at(1))),
        ),
        (
            "well again",
            json!({"Health": {"Status": "healthy", "Log": [run(1, 1), run(2, 0), run(3, 0)]}}),
            Some((true, false, at(2))),
        ),
        (
            "sick",
            json!({"Health": {"Status": "unhealthy", "Log": [run(1, 0), run(2, 1), run(3, 2)]}}),
            Some((false, false, at(2))),
        ),
        (
            "well by what was before",
            json!({"Health": {"Status": "healthy", "Log": [run(1, 0), run(2, 1)]}}),
            Some((true, false, None)),
        ),
        ("older Podman", json!({"Healthcheck": {"Status": "healthy", "Log": []}}), Some((true, false, None))),
    ] {
        let health = health_of(&json!({ "State": state }));
        assert_eq!(health.map(|health| (health.is_healthy, health.is_starting, health.since)), expected, "{what}");
    }
}

#[test]
fn words_and_forms_of_both_runtimes_are_understood() {
    let container = |state: Value| Container::read(json!({"Id": ID, "Name": "/web", "State": state})).unwrap();
    for (word, status) in [
        ("created", Status::Created),
        ("configured", Status::Created),
        ("running", Status::Running),
        ("stopping", Status::Running),
        ("exited", Status::Exited),
        ("stopped", Status::Exited),
        ("dead", Status::Dead),
        ("hibernating", Status::Other),
    ] {
        assert_eq!(container(json!({ "Status": word })).status(), status, "{word}");
    }
    let never = container(json!({"StartedAt": "0001-01-01T00:00:00Z", "FinishedAt": "", "Pid": 0}));
    assert_eq!((never.started(), never.finished(), never.pid(), never.name()), (None, None, None, "web"));
    assert!(Container::read(json!({"Id": "../etc"})).is_none());
    let image = Image::read(&json!({"Id": "00ff", "RepoTags": ["<none>:<none>", "a:1"], "RepoDigests": null})).unwrap();
    assert_eq!((image.id.as_str(), image.tags.len(), image.digests.len()), ("sha256:00ff", 1, 0));
    let networks = json!({"Id": ID, "NetworkSettings": {"Networks": {"a": {"IPAddress": "", "GlobalIPv6Address": "fd00::2"}, "b": {"IPAddress": "10.0.0.2"}}}});
    assert_eq!(Container::read(networks).unwrap().address(), Some("10.0.0.2"));
}

#[test]
fn limits_keep_their_form() {
    let all = Resources { cpu_milli: Some(250), cpu_shares: Some(512), memory: Some(48), memory_reservation: Some(24) };
    let cpu = Resources { cpu_milli: Some(250), ..Resources::default() };
    let memory = Resources { memory: Some(48), ..Resources::default() };
    for (what, resources, host, docker, oci) in [
        ("nothing", Resources::default(), json!({}), json!({}), json!({})),
        (
            "all, where nothing was set",
            all,
            json!({}),
            json!({"NanoCpus": 250_000_000, "CpuShares": 512, "Memory": 48, "MemorySwap": -1, "MemoryReservation": 24}),
            json!({"cpu": {"period": 100_000, "quota": 25_000, "shares": 512}, "memory": {"limit": 48, "swap": -1, "reservation": 24}}),
        ),
        (
            "a quota stays one",
            cpu,
            json!({"CpuQuota": 10_000, "CpuPeriod": 50_000}),
            json!({"CpuPeriod": 50_000, "CpuQuota": 12_500}),
            json!({"cpu": {"period": 50_000, "quota": 12_500}}),
        ),
        (
            "as much swap as before",
            memory,
            json!({"Memory": 32, "MemorySwap": 40}),
            json!({"Memory": 48, "MemorySwap": 56}),
            json!({"memory": {"limit": 48, "swap": 56}}),
        ),
    ] {
        assert_eq!((resources.as_docker(&host), resources.as_oci(&host)), (docker, oci), "{what}");
    }
}

#[test]
fn names_stay_one_segment() {
    for (name, expected) in
        [("web-1_a.b~", "web-1_a.b~"), ("a/../b?c=d#e f%", "a%2F..%2Fb%3Fc%3Dd%23e%20f%25"), ("ä\n", "%C3%A4%0A")]
    {
        assert_eq!(escaped(name), expected);
    }
    assert_eq!(filters(&[("a", "b=c"), ("d", "")]), escaped(r#"{"label":["a=b=c","d"]}"#));
}

#[test]
fn lines_come_whole_however_they_are_cut() {
    let text = b"{\"n\":1}\nno json\n{\"n\":2}\r\n\n{\"n\":3}";
    for size in 1..=text.len() {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        let mut each = |value: &Value| {
            found.push(value["n"].as_i64());
            Ok(())
        };
        for chunk in text.chunks(size) {
            lines.feed(chunk, &mut each).unwrap();
        }
        lines.end(&mut each).unwrap();
        assert_eq!(found, [Some(1), Some(2), Some(3)], "pieces of {size}");
    }
    let mut lines = Lines::default();
    assert!((0..100).any(|_| lines.feed(&[b'x'; 10_000], &mut |_| Ok(())).is_err()), "a line without end");
}

/// Answers on `socket`.
fn serve(socket: &Path, app: Router) -> tokio::task::JoinHandle<()> {
    let listener = tokio::net::UnixListener::bind(socket).unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() })
}

#[tokio::test]
async fn refusals_are_told_apart_and_their_texts_taken_out() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let said =
        |status: u16, text: &'static str| get(move || async move { (StatusCode::from_u16(status).unwrap(), text) });
    let long: &'static str = Box::leak("y".repeat(20_000).into_boxed_str());
    let app = Router::new()
        .route("/version", get(|| async { r#"{"ApiVersion":"1.41","MinAPIVersion":"1.12"}"# }))
        .route("/v1.41/containers/gone/json", said(404, r#"{"message":"No such container: gone"}"#))
        .route("/v1.41/containers/busy/json", said(409, r#"{"cause":"x","message":"in use","response":409}"#))
        .route("/v1.41/containers/bad/json", said(500, "<html>"))
        .route("/v1.41/containers/long/json", said(400, long))
        .route("/v1.41/containers/odd/json", said(200, r#"{"Id":7}"#))
        .route("/v1.41/containers/cut/json", said(200, r#"{"Id":"#));
    let server = serve(&socket, app);
    let engine = Engine::new(&socket);
    for (name, reason, text) in [
        ("gone", "NotFound", "No such container: gone"),
        ("busy", "Conflict", "in use"),
        ("bad", "Refused", "<html>"),
        ("long", "Refused", "yyy"),
        ("odd", "Malformed", "odd"),
        ("cut", "Malformed", "EOF"),
    ] {
        let error = engine.inspect(name).await.unwrap_err();
        let told = error.to_string();
        assert_eq!(error.reason(), reason, "{told}");
        assert!(told.contains(text) && told.len() < 700, "{told}");
    }
    server.abort();
}

#[tokio::test]
async fn lists_are_lists_or_null() {
    let folder = tempfile::tempdir().unwrap();
    let many: Vec<Value> = (0..3000).map(|n| json!({ "Id": format!("{n:064x}"), "Names": ["/a"] })).collect();
    let many: &'static str = Box::leak(Value::from(many).to_string().into_boxed_str());
    for (at, (body, expected)) in [
        ("[]", Ok(0)),
        ("null", Ok(0)),
        (r#"[{}, 7, {"Id": "short"}]"#, Ok(0)),
        (many, Ok(2048)),
        // Nothing is taken for an empty list that is none: whoever keeps containers would make them all again.
        ("{}", Err("Malformed")),
        (r#""x""#, Err("Malformed")),
        ("[{}", Err("Malformed")),
        ("", Err("Malformed")),
    ]
    .into_iter()
    .enumerate()
    {
        let socket = folder.path().join(at.to_string());
        let app = Router::new()
            .route("/version", get(|| async { r#"{"ApiVersion":"1.41"}"# }))
            .route("/v1.41/containers/json", get(move || async move { body }));
        let server = serve(&socket, app);
        let listed = Engine::new(&socket).list(&[]).await;
        assert_eq!(
            listed.map(|all| all.len()).map_err(|error| error.reason()),
            expected,
            "{}",
            &body[..body.len().min(9)]
        );
        server.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_is_given_up_and_one_that_is_no_runtime_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let engine = |name: &str| Engine::new(&folder.path().join(name));
    let absent = engine("absent").list(&[]).await.unwrap_err();
    assert_eq!(absent.reason(), "Unreachable", "{absent}");
    let app = Router::new().route("/version", get(|| async { std::future::pending::<String>().await }));
    let server = serve(&folder.path().join("hangs"), app);
    let hangs = engine("hangs").list(&[]).await.unwrap_err();
    assert_eq!(hangs.reason(), "Timeout", "{hangs}");
    server.abort();
    let server = serve(&folder.path().join("other"), Router::new().route("/version", get(|| async { "{}" })));
    let other = engine("other").list(&[]).await.unwrap_err();
    assert!(other.reason() == "Malformed" && other.to_string().contains("no Docker or Podman"), "{other}");
    server.abort();
}

proptest! {
    #[test]
    fn no_answer_makes_anything_panic(keys in proptest::collection::vec("[A-Z][A-Za-z]{0,12}", 0..8), leaf in ".*") {
        let mut value: Value = leaf.into();
        for key in keys {
            value = json!({ key: value, "Id": ID, "State": value, "Config": [value], "Names": value, "RepoTags": value });
        }
        let _ = (Listed::read(&value), Image::read(&value), Version::read(&value), health_of(&value));
        if let Some(container) = Container::read(value) {
            let _ = (container.status(), container.address(), container.started(), container.label("a"), container.pid());
        }
    }
}
