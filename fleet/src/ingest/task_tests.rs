//! The intake as a whole: transport events in, a real store, messages to nodes out.

use super::*;
use crate::intake::core::Verdict;
use crate::intake::fixture::{self, at, node};
use crate::mqtt::{Done, Downlink, EndReason, Inbound, Outbound, SessionId};
use crate::store::{Config, LogQuery, Store};
use bytes::Bytes;
use skerry_model::{NodeId, Seq, SeriesId, StreamKind, UnixMillis};
use skerry_wire::{
    Ack, Acks, Answer, AnswerPart, Ask, AskKind, Batch, DownLeaf, Hello, MESSAGE_BYTES_MAX, Status, StatusReport,
    UpLeaf, codec,
};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Gives every node one trust message and one config.
struct Control;

impl Desired for Control {
    async fn for_node(&self, node: &NodeId, hello: &Hello) -> Vec<(DownLeaf, Bytes)> {
        let config = format!("config of {node} at {}", hello.boot_id);
        vec![(DownLeaf::Trust, Bytes::from_static(b"trust")), (DownLeaf::Config, config.into())]
    }
}

struct Fleet {
    inbound: mpsc::Sender<Inbound>,
    sent: mpsc::Receiver<Outbound>,
    store: Store,
    liveness: Liveness,
    asks: Asks,
    counters: Arc<Counters>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    folder: TempDir,
}

impl Fleet {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, _writer) = crate::store::open(&folder.path().join("data.db"), Config::default()).unwrap();
        let (outbound, sent) = mpsc::channel(1024);
        let downlink = Downlink::to_channel(outbound);
        let (inbound, events) = mpsc::channel(1024);
        let (liveness, counters) = (Liveness::default(), Arc::new(Counters::new()));
        let asks = Asks::new(downlink.clone(), at(0));
        let ingest = Ingest {
            store: store.clone(),
            downlink,
            liveness: liveness.clone(),
            asks: asks.clone(),
            counters: counters.clone(),
            desired: Control,
            wall: Arc::new(|| at(0)),
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(ingest.run(events, stop.clone()));
        Self { inbound, sent, store, liveness, asks, counters, stop, task, folder }
    }

    async fn publish(&self, name: &str, leaf: UpLeaf, payload: Vec<u8>) {
        let message = Inbound::Message { node: node(name), leaf, payload: payload.into(), done: Done::default() };
        self.inbound.send(message).await.unwrap();
    }

    async fn batch(&self, name: &str, stream: StreamKind, batch: &Batch) {
        self.publish(name, UpLeaf::of_stream(stream), codec::encode(batch)).await;
    }

    async fn next(&mut self) -> Outbound {
        tokio::time::timeout(Duration::from_secs(20), self.sent.recv()).await.expect("an answer in time").unwrap()
    }

    /// The next acknowledgements; any other message is a fault.
    async fn acks(&mut self) -> (NodeId, Vec<Ack>) {
        let Outbound { node, leaf, payload } = self.next().await;
        assert_eq!(leaf, DownLeaf::Ack);
        (node, codec::decode::<Acks>(&payload, MESSAGE_BYTES_MAX).unwrap().acks)
    }

    /// Reads acknowledgements until one of that stream covers `seq`.
    async fn acked(&mut self, name: &str, stream: StreamKind, seq: u64) -> Ack {
        loop {
            let (of, acks) = self.acks().await;
            let found = acks.into_iter().find(|ack| ack.stream == stream && ack.have.contains(Seq(seq)));
            if let Some(ack) = found.filter(|_| of == node(name)) {
                return ack;
            }
        }
    }

    /// Waits until what was published is dealt with: messages of a node are taken in order.
    async fn settled(&mut self, name: &str) {
        self.batch(name, StreamKind::Logs, &fixture::logs(77, 1)).await;
        self.acked(name, StreamKind::Logs, 1).await;
    }

    async fn lines(&self, name: &str) -> usize {
        let (from, to) = (UnixMillis(i64::MIN), UnixMillis(i64::MAX));
        let query =
            LogQuery { node: node(name), from, to, limit: 5000, contains: None, matchers: Vec::new(), before: None };
        self.store.logs(query).await.unwrap().rows.len()
    }
}

fn report() -> StatusReport {
    StatusReport {
        at: at(1),
        backlog: Vec::new(),
        configs: Vec::new(),
        rss_bytes: 1,
        db_bytes: 2,
        time_trusted: true,
        problems: vec!["p".repeat(300); 20],
    }
}

#[tokio::test]
async fn a_hello_brings_acks_then_trust_then_config() {
    let mut fleet = Fleet::new();
    fleet.batch("a", StreamKind::Logs, &fixture::logs(2, 1)).await;
    fleet.acked("a", StreamKind::Logs, 1).await;
    let hello = fixture::hello(&[(StreamKind::Logs, 2), (StreamKind::Metrics, 3)]);
    fleet.publish("a", UpLeaf::Hello, codec::encode(&hello)).await;
    let (_, acks) = fleet.acks().await;
    assert_eq!(acks.len(), 2);
    assert_eq!((acks[0].have.ranges(), acks[1].have.is_empty()), (&[(1, 1)][..], true));
    assert_eq!(fleet.next().await.leaf, DownLeaf::Trust);
    let config = fleet.next().await;
    assert_eq!((config.leaf, &config.payload[..]), (DownLeaf::Config, &b"config of a at b"[..]));
    assert_eq!(fleet.liveness.node(&node("a")).unwrap().hello.as_deref(), Some(&hello));
    assert_eq!(fleet.store.seen().await.unwrap()[0].hello.as_ref(), Some(&hello));
}

#[tokio::test]
async fn batches_are_stored_and_acknowledged_together() {
    let mut fleet = Fleet::new();
    for n in 1..=30 {
        fleet.batch("a", StreamKind::Logs, &fixture::logs(1, n)).await;
    }
    fleet.batch("a", StreamKind::Metrics, &fixture::metrics(1, 1, 3, Some(SeriesId(2)))).await;
    let last = loop {
        let (_, acks) = fleet.acks().await;
        let of = |stream| acks.iter().filter(|ack| ack.stream == stream).count();
        assert!(of(StreamKind::Logs) <= 1 && of(StreamKind::Metrics) <= 1, "an epoch stands twice in {acks:?}");
        if let Some(ack) = acks.into_iter().find(|ack| ack.stream == StreamKind::Metrics) {
            break ack;
        }
    };
    // The dictionary was missing: nothing is held, and the watermark says what to send.
    assert!(last.have.is_empty() && last.dict.is_none());
    assert_eq!(fleet.lines("a").await, 90);
    fleet.batch("a", StreamKind::Metrics, &fixture::metrics(1, 1, 3, None)).await;
    assert_eq!(fleet.acked("a", StreamKind::Metrics, 3).await.dict, Some(SeriesId(5)));
    let text = fleet.counters.exposition();
    for line in ["samples_total 12", "log_lines_total 90", "dictionaries_asked_total 1", "commit_seconds_count 32"] {
        assert!(text.contains(&format!("skerry_fleet_ingest_{line}\n")), "{line} is missing in\n{text}");
    }
}

#[tokio::test]
async fn what_is_no_message_is_counted_and_the_rest_goes_on() {
    let mut fleet = Fleet::new();
    for leaf in UpLeaf::ALL {
        fleet.publish("a", leaf, vec![0xff, 0xff]).await;
        fleet.publish("a", leaf, codec::encode(&Ask { id: 1, kind: AskKind::Stop })).await;
    }
    fleet.publish("a", UpLeaf::Logs, vec![0; MESSAGE_BYTES_MAX + 1]).await;
    let mut crowded = fixture::hello(&[]);
    crowded.streams = vec![fixture::hello(&[(StreamKind::Logs, 1)]).streams[0]; 2000];
    fleet.publish("a", UpLeaf::Hello, codec::encode(&crowded)).await;
    let mut bad_range = fixture::logs(1, 1);
    bad_range.from = Seq(0);
    fleet.batch("a", StreamKind::Logs, &bad_range).await;
    fleet.settled("a").await;
    assert_eq!(fleet.counters.refused("malformed"), 7);
    assert_eq!(fleet.counters.refused("unexpected"), 6);
    assert_eq!(fleet.counters.refused("too_many_entries"), 1);
    assert_eq!(fleet.counters.refused("bad_range"), 1);
    assert_eq!(fleet.lines("a").await, 3);
}

#[tokio::test]
async fn a_foreign_protocol_is_named_and_nothing_of_it_is_taken() {
    let mut fleet = Fleet::new();
    let mut hello = fixture::hello(&[]);
    hello.protocol = 9;
    fleet.publish("a", UpLeaf::Hello, codec::encode(&hello)).await;
    fleet.batch("a", StreamKind::Logs, &fixture::logs(1, 1)).await;
    hello.protocol = skerry_wire::PROTOCOL_VERSION;
    // Only here does the node get an answer.
    fleet.publish("b", UpLeaf::Hello, codec::encode(&hello)).await;
    assert_eq!(fleet.next().await.node, node("b"));
    fleet.stop.cancel();
    (&mut fleet.task).await.unwrap();
    assert_eq!(fleet.lines("a").await, 0);
    assert_eq!(fleet.counters.refused("protocol"), 2);
    let fault = fleet.liveness.node(&node("a")).unwrap().fault.unwrap();
    assert!(fault.contains("protocol 9"), "{fault}");
}

#[tokio::test]
async fn connections_reports_and_wills_show() {
    let mut fleet = Fleet::new();
    let session = SessionId(4);
    let connected = Inbound::Connected { node: node("a"), session, peer: None, cert_pin: None };
    fleet.inbound.send(connected).await.unwrap();
    fleet.publish("a", UpLeaf::Hello, codec::encode(&fixture::hello(&[]))).await;
    fleet.publish("a", UpLeaf::Status, codec::encode(&Status::Alive(report()))).await;
    for leaf in [DownLeaf::Trust, DownLeaf::Config] {
        assert_eq!(fleet.next().await.leaf, leaf);
    }
    fleet.settled("a").await;
    let live = fleet.liveness.node(&node("a")).unwrap();
    assert_eq!((live.state(at(0)), live.session), (LiveState::Connected, Some(session)));
    let status = live.status.unwrap();
    assert_eq!((status.problems.len(), status.problems[0].len()), (16, 256));
    assert_eq!(fleet.store.seen().await.unwrap()[0].status.as_ref(), Some(&*status));
    fleet.publish("a", UpLeaf::Status, codec::encode(&fixture::hello(&[]).will())).await;
    fleet.inbound.send(Inbound::Disconnected { node: node("a"), session, reason: EndReason::Lost }).await.unwrap();
    fleet.stop.cancel();
    (&mut fleet.task).await.unwrap();
    assert_eq!(fleet.liveness.node(&node("a")).unwrap().state(at(0)), LiveState::Gone);
    let restored = Liveness::restored(fleet.store.seen().await.unwrap());
    let live = restored.node(&node("a")).unwrap();
    assert_eq!((live.state(at(0)), live.last_seen, live.hello.is_some()), (LiveState::Gone, Some(at(0)), true));
}

#[tokio::test]
async fn answers_go_to_whoever_asked() {
    let mut fleet = Fleet::new();
    let mut handle = fleet.asks.ask(&node("a"), AskKind::follow(9)).await.unwrap();
    let ask: Ask = codec::decode(&fleet.next().await.payload, 4096).unwrap();
    fleet.publish("a", UpLeaf::Answer, codec::encode(&Answer { id: ask.id, part: AnswerPart::End })).await;
    assert_eq!(handle.next().await, Some(AnswerPart::End));
}

#[tokio::test]
async fn a_flood_from_one_node_leaves_another_its_place() {
    let mut fleet = Fleet::new();
    for n in 1..=600 {
        fleet.batch("flood", StreamKind::Logs, &fixture::logs(1, n)).await;
    }
    fleet.batch("quiet", StreamKind::Logs, &fixture::logs(1, 1)).await;
    fleet.acked("quiet", StreamKind::Logs, 1).await;
    fleet.stop.cancel();
    (&mut fleet.task).await.unwrap();
    // What was shed was not acknowledged: the node sends it again.
    let shed = fleet.counters.refused("overload");
    assert_eq!(fleet.lines("flood").await as u64, 3 * (600 - shed));
    let again = fleet.store.ingest(&node("flood"), StreamKind::Logs, fixture::logs(1, 1), at(0)).await.unwrap();
    assert_eq!((again.verdict, again.ack.have.len()), (Verdict::Duplicate, 600 - shed));
}

#[tokio::test]
async fn without_a_commit_there_is_no_acknowledgement() {
    let mut fleet = Fleet::new();
    let other = rusqlite::Connection::open(fleet.folder.path().join("data.db")).unwrap();
    other.execute_batch("ALTER TABLE log_block RENAME TO away").unwrap();
    fleet.batch("a", StreamKind::Logs, &fixture::logs(1, 1)).await;
    fleet.batch("a", StreamKind::Metrics, &fixture::metrics(1, 1, 1, None)).await;
    let (_, acks) = fleet.acks().await;
    assert_eq!((acks.len(), acks[0].stream), (1, StreamKind::Metrics));
    assert!(fleet.counters.exposition().contains("skerry_fleet_ingest_store_failures_total 1\n"));
    other.execute_batch("ALTER TABLE away RENAME TO log_block").unwrap();
    fleet.batch("a", StreamKind::Logs, &fixture::logs(1, 1)).await;
    fleet.acked("a", StreamKind::Logs, 1).await;
}

#[tokio::test]
async fn stopping_commits_what_is_queued() {
    let mut fleet = Fleet::new();
    for n in 1..=20 {
        fleet.batch("a", StreamKind::Logs, &fixture::logs(1, n)).await;
    }
    // Wait for the first, so that the rest is known to be on its way.
    fleet.acked("a", StreamKind::Logs, 1).await;
    fleet
        .inbound
        .send(Inbound::Disconnected { node: node("a"), session: SessionId(1), reason: EndReason::Lost })
        .await
        .unwrap();
    while fleet.inbound.capacity() < fleet.inbound.max_capacity() {
        tokio::task::yield_now().await;
    }
    fleet.stop.cancel();
    (&mut fleet.task).await.unwrap();
    assert_eq!(fleet.lines("a").await, 60);
}
