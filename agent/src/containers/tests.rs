//! The server here is a stand-in for a runtime: it speaks HTTP on a unix socket with answers of Docker's form.

use super::*;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use skerry_model::{ContainerAddress, ContainerInfo, ContainerNetwork, ContainerPort, Span, UnixMillis};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OTHER: &str = "ffff456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn inspected() -> String {
    format!(
        r#"{{"Id":"{ID}","Name":"/web-1","RestartCount":2,"LogPath":"/var/lib/docker/x-json.log",
        "State":{{"Status":"running","Pid":42,"ExitCode":0,"OOMKilled":false,"Health":{{"Status":"healthy"}},"StartedAt":"2026-11-21T04:00:00.5Z"}},
        "Config":{{"Image":"nginx:1","Labels":{{"a":"b"}}}},"HostConfig":{{"NetworkMode":"bridge","LogConfig":{{"Type":"json-file"}}}},"New":1,
        "NetworkSettings":{{"Networks":{{"bridge":{{"IPAddress":"172.17.0.2","NetworkID":"n1"}},"six":{{"GlobalIPv6Address":"fd00::2"}},"none":null}},
        "Ports":{{"80/tcp":[{{"HostIp":"0.0.0.0","HostPort":"8080"}},{{"HostIp":"::","HostPort":"8080"}}],"53/udp":null,"x":[]}}}}}}"#
    )
}

/// Answers on `socket`: the version, the list, and the description of [`ID`].
fn serve(socket: &Path, list: String, status: StatusCode) -> tokio::task::JoinHandle<()> {
    let listener = tokio::net::UnixListener::bind(socket).unwrap();
    let version = r#"{"ApiVersion":"1.41","MinAPIVersion":"1.12"}"#;
    let app = Router::new().route("/version", get(move || async move { version }));
    let app = app.route("/v1.41/containers/json", get(move || async move { (status, list) })).route(
        "/v1.41/containers/{id}/json",
        get(|path: axum::extract::Path<String>| async move {
            if path.0 == ID { (StatusCode::OK, inspected()) } else { (StatusCode::NOT_FOUND, "{}".to_owned()) }
        }),
    );
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() })
}

/// The first list that the task finds.
async fn first(socket: &Path) -> Arc<Vec<ContainerInfo>> {
    let (found, mut list) = watch::channel(Arc::new(Vec::new()));
    let config = Config { sockets: vec![socket.into()], interval: Span::secs(1), ..Config::default() };
    let stop = CancellationToken::new();
    let run = tokio::spawn(ContainersTask { config, found }.run(stop.clone()));
    list.changed().await.unwrap();
    let containers = list.borrow().clone();
    stop.cancel();
    run.await.unwrap();
    containers
}

#[tokio::test]
async fn containers_are_described_and_odd_ones_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let list = format!(
        r#"[{{"Id":"{ID}","State":"running","Names":["/web-1"]}},{{"Id":"{OTHER}","State":"exited"}},{{"Id":"../etc"}},{{}}]"#
    );
    let server = serve(&socket, list, StatusCode::OK);
    let expected = ContainerInfo {
        id: ID.into(),
        name: "web-1".into(),
        image: "nginx:1".into(),
        labels: [("a".to_owned(), "b".to_owned())].into(),
        state: "running".into(),
        health: Some("healthy".into()),
        exit_code: None,
        oom_killed: false,
        started_at: Some(UnixMillis(1_795_233_600_500)),
        restarts: 2,
        pid: Some(42),
        json_log_path: Some("/var/lib/docker/x-json.log".into()),
        network: ContainerNetwork {
            mode: "bridge".into(),
            networks: [("bridge", "172.17.0.2", "n1"), ("none", "", ""), ("six", "fd00::2", "")]
                .map(|(name, ip, id)| (name.to_owned(), ContainerAddress { ip: ip.into(), id: id.into() }))
                .into(),
            ports: vec![
                ContainerPort { private: 53, is_tcp: false, public: None },
                ContainerPort { private: 80, is_tcp: true, public: Some(("0.0.0.0".into(), 8080)) },
            ],
        },
    };
    assert_eq!(*first(&socket).await, [expected]);
    server.abort();
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_fails_or_is_not_there_is_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    for (name, list, status) in [
        ("absent.sock", None, StatusCode::OK),
        ("broken.sock", Some("<html>"), StatusCode::OK),
        ("refusing.sock", Some("[]"), StatusCode::FORBIDDEN),
    ] {
        let socket = folder.path().join(name);
        let server = list.map(|list| serve(&socket, list.into(), status));
        let (found, list) = watch::channel(Arc::new(Vec::new()));
        let config = Config { sockets: vec![socket], interval: Span::secs(1), ..Config::default() };
        let stop = CancellationToken::new();
        let run = tokio::spawn(ContainersTask { config, found }.run(stop.clone()));
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        assert!(!run.is_finished(), "{name}");
        stop.cancel();
        run.await.unwrap();
        assert!(list.borrow().is_empty(), "{name}");
        if let Some(server) = server {
            server.abort();
        }
    }
}

#[test]
fn faults_are_named() {
    let config = Config { sockets: vec!["docker.sock".into()], interval: Span::millis(5), ..Config::default() };
    let keys: Vec<String> = config.faults().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["interval", "sockets[0]"]);
    assert_eq!(Config::default().faults(), []);
}
