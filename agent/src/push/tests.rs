//! The whole of it, with a store and real sockets.

use super::*;
use crate::board::Board;
use crate::clock::Clock;
use crate::data::PushRequest;
use crate::store::{self, Store};
use skerry_model::Span;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::net::{UdpSocket, UnixDatagram};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Running {
    store: Store,
    stats: Arc<PushStats>,
    requests: mpsc::Sender<PushRequest>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), PushError>>,
}

fn start(folder: &std::path::Path, config: Config) -> Running {
    assert_eq!(config.faults(), []);
    let (path, clock) = (folder.join("agent.db"), Clock::system());
    let state = store::peek(&path, PREFIX);
    let store = store::open(&path, store::Config::default(), clock.clone(), || 1).unwrap().store;
    let (requests, queue) = mpsc::channel(4);
    let (stats, stop) = (Arc::new(PushStats::default()), CancellationToken::new());
    let task = PushTask {
        config,
        state,
        requests: queue,
        store: store.clone(),
        board: Board::default(),
        stats: stats.clone(),
        clock,
    };
    let task = tokio::spawn(task.run(stop.clone()));
    Running { store, stats, requests, stop, task }
}

impl Running {
    async fn push(&self, verb: &'static str, path: &str, body: &'static str) -> Result<(), String> {
        let (reply, outcome) = oneshot::channel();
        let request = PushRequest { verb, path: path.into(), body: body.into(), reply };
        self.requests.send(request).await.unwrap();
        outcome.await.unwrap()
    }

    /// Ends the run, which stores what came; what the store then holds.
    async fn end(self) -> (BTreeMap<String, f64>, Store) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
        let newest = self.store.newest().await.unwrap();
        let series = newest.into_iter().map(|(labels, sample)| (labels.to_string(), sample.value));
        (series.collect(), self.store)
    }
}

#[tokio::test]
async fn datagrams_become_series_and_bad_lines_losses() {
    let folder = tempfile::tempdir().unwrap();
    let free = skerry_ports::free_address().unwrap();
    let socket = folder.path().join("statsd.sock");
    // What an earlier run left is no hindrance.
    drop(std::os::unix::net::UnixDatagram::bind(&socket).unwrap());
    let statsd = Statsd { listen: Some(free), socket: Some(socket.clone()), ..Statsd::default() };
    let running = start(folder.path(), Config { statsd, ..Config::default() });
    let (udp, unix) = (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UnixDatagram::unbound().unwrap());
    // Until the sockets are there, datagrams are refused.
    while unix.send_to(b"a.b:1|c\nnonsense\n", &socket).await.is_err() {
        tokio::task::yield_now().await;
    }
    udp.send_to(b"a.b:2|c|#x:y\na.b:4|c", free).await.unwrap();
    while running.stats.packets.value() < 2 {
        tokio::task::yield_now().await;
    }
    let stats = running.stats.clone();
    let (series, store) = running.end().await;
    assert_eq!((series["a_b"], series["a_b{x=\"y\"}"]), (5.0, 2.0));
    assert_eq!((stats.lines.value(), stats.dropped[0].value()), (3, 1));
    store.flush().await.unwrap();
    let ledger = store.ledger().await.unwrap();
    assert_eq!((&*ledger[0].source, ledger[0].count), ("statsd", Some(1)));
    assert!(!socket.exists());
}

#[tokio::test]
async fn groups_are_given_out_and_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { gateway: true, interval: Span::secs(3600), ..Config::default() };
    let running = start(folder.path(), config.clone());
    running.push("POST", "job/backup/instance/pi", "# TYPE done gauge\ndone 1\n").await.unwrap();
    let told = running.push("PUT", "job/other", "# TYPE done counter\ndone 1\n").await.unwrap_err();
    assert!(told.contains("inconsistent"), "{told}");
    assert_eq!((running.stats.pushes.value(), running.stats.refused.value()), (1, 1));
    let (series, store) = running.end().await;
    assert_eq!(series["done{instance=\"pi\",job=\"backup\"}"], 1.0);
    assert!(series["push_time_seconds{instance=\"pi\",job=\"backup\"}"] > 1e9);
    assert!(series["push_failure_time_seconds{job=\"other\"}"] > 1e9);
    store.close().await.unwrap();
    let running = start(folder.path(), config);
    running.push("DELETE", "job/other", "").await.unwrap();
    let (series, store) = running.end().await;
    assert_eq!(series["done{instance=\"pi\",job=\"backup\"}"], 1.0);
    let is_gone = series.get("push_time_seconds{job=\"other\"}").is_none_or(|value| skerry_model::is_stale(*value));
    assert!(is_gone, "{series:?}");
    store.close().await.unwrap();
    assert_eq!(store::peek(&folder.path().join("agent.db"), PREFIX).len(), 1);
}

#[test]
fn faults_have_their_keys() {
    let config = Config {
        interval: Span::millis(1),
        gateway_series_max: 0,
        statsd: Statsd {
            listen: Some("127.0.0.1:0".parse().unwrap()),
            socket: Some("here".into()),
            buckets: vec![2.0, 1.0],
            ttl: Span::secs(1),
            series_max: 0,
            ..Statsd::default()
        },
        ..Config::default()
    };
    let keys: Vec<String> = config.faults().into_iter().map(|(key, _)| key).collect();
    let expected = [
        "interval",
        "gateway_series_max",
        "statsd.series_max",
        "statsd.listen",
        "statsd.socket",
        "statsd.ttl",
        "statsd.buckets",
    ];
    assert_eq!(keys, expected);
    assert_eq!(Config::default().faults(), []);
}
