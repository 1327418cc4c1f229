//! The agent's real sync (outbox, task, MQTT link) against the fleet's real endpoint, ingest and SQLite store, over
//! mutual TLS on loopback. Only the node store is a double: it keeps log blocks in memory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use skerry_agent::clock::Clock;
use skerry_agent::sync::Config;
use skerry_agent::sync::link::{Link, Peer};
use skerry_agent::sync::outbox::Tip;
use skerry_agent::sync::task::{Backlog, Facts, SyncStats, SyncTask};
use skerry_chunk::LogBlock;
use skerry_fleet::pki::FleetCa;
use skerry_fleet::store::{LogQuery, Store};
use skerry_model::{
    Epoch, Labels, Level, LogRecord, NodeId, OutputStream, Seq, SeriesId, Span, StreamKind, UnixMillis,
};
use skerry_tests::proxy::Proxy;
use skerry_tests::site::{NodeIdentity, Site, node_identity};
use skerry_wire::{Ack, AnswerPart, AskKind, Batch, Body, HostFacts, LiveLine, SeqSet, Status, codec};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Longest wait for anything that should happen.
const SOON: Duration = Duration::from_secs(60);
const EPOCH: Epoch = Epoch(77);

/// A node store's double: log blocks of one numbered line each, in memory.
#[derive(Clone)]
struct Blocks {
    lines: Arc<Mutex<u64>>,
    tips: Arc<watch::Sender<Arc<Vec<Tip>>>>,
    have: Arc<watch::Sender<SeqSet>>,
}

impl Blocks {
    fn new() -> Self {
        let (tips, _) = watch::channel(Arc::default());
        let (have, _) = watch::channel(SeqSet::new());
        Self { lines: Arc::default(), tips: Arc::new(tips), have: Arc::new(have) }
    }

    /// Stores `count` more blocks.
    fn write(&self, count: u64) {
        let mut lines = self.lines.lock().unwrap();
        *lines += count;
        let have = self.have.borrow().clone();
        let tip = Tip { stream: StreamKind::Logs, epoch: EPOCH, first: Seq(1), next: Seq(*lines + 1), have };
        self.tips.send_replace(Arc::new(vec![tip]));
    }

    /// Waits until everything written is acknowledged.
    async fn arrived(&self) {
        let last = *self.lines.lock().unwrap();
        let mut have = self.have.subscribe();
        let all = have.wait_for(|have| have.through() >= last);
        timeout(SOON, all).await.unwrap_or_else(|_| panic!("not all {last} blocks arrived in time")).unwrap();
    }
}

impl Backlog for Blocks {
    fn tips(&self) -> watch::Receiver<Arc<Vec<Tip>>> {
        self.tips.subscribe()
    }

    async fn load(
        &self,
        _: StreamKind,
        epoch: Epoch,
        at: Seq,
        _: Option<SeriesId>,
        _: usize,
    ) -> Result<Option<Batch>, String> {
        let record = LogRecord {
            at: UnixMillis(at.0 as i64),
            labels: Labels::new([("source", "test")]).unwrap(),
            output: OutputStream::None,
            level: Level::Info,
            fields: Labels::default(),
            line: at.0.to_string().into_bytes(),
        };
        let block = LogBlock { records: vec![record] }.encode(1).unwrap();
        Ok(Some(Batch { epoch, from: at, to: at, dict: Vec::new(), body: Body::Block(block) }))
    }

    async fn acknowledge(&self, ack: Ack) {
        self.have.send_modify(|have| have.extend(&ack.have));
    }
}

/// The agent's side.
struct Agent {
    stats: Arc<SyncStats>,
    live: broadcast::Sender<Arc<Vec<LiveLine>>>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Agent {
    fn start(node: &NodeId, identity: &NodeIdentity, fleet: SocketAddr, blocks: &Blocks) -> Self {
        let config = Config {
            reconnect_min: Span::millis(100),
            reconnect_max: Span::millis(400),
            ack_timeout: Span::secs(2),
            ..Config::default()
        };
        let peer = Peer {
            node: node.clone(),
            host: fleet.ip().to_string(),
            port: fleet.port(),
            tls: identity.tls.clone(),
            keepalive: config.keepalive.0,
            retry_min: config.reconnect_min.0,
            retry_max: config.reconnect_max.0,
            will: codec::encode(&Status::Gone { session: 5, clean: false }),
        };
        let (events_in, events) = mpsc::channel(64);
        let (outgoing, outgoing_out) = mpsc::channel(64);
        let (live, _) = broadcast::channel(64);
        let (sealed, _) = mpsc::channel(8);
        let stats = Arc::new(SyncStats::default());
        let stop = CancellationToken::new();
        // The senders of both watches are dropped: their values never change.
        // No questions are asked here.
        let ((asks, _), (_, answers)) = (mpsc::channel(1), mpsc::channel(1));
        let link = Link { peer: leaked(Some(peer)), events: events_in, outgoing: outgoing_out, answers, seed: 3 };
        let task = SyncTask {
            node: node.clone(),
            config: leaked(config),
            session: 5,
            boot_id: "boot".into(),
            host: HostFacts::default(),
            backlog: blocks.clone(),
            events,
            outgoing,
            sealed,
            live: live.clone(),
            asks,
            facts: Arc::new(Facts::default),
            changed: Arc::new(Notify::new()),
            stats: stats.clone(),
            clock: Clock::system(),
        };
        let tasks = vec![tokio::spawn(link.run(stop.clone())), tokio::spawn(task.run(stop.clone()))];
        Self { stats, live, stop, tasks }
    }

    async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            timeout(SOON, task).await.expect("the agent's tasks end").unwrap();
        }
    }
}

/// A value that never changes, as a watch whose sender lives as long as the process.
fn leaked<T>(value: T) -> watch::Receiver<T> {
    let (sender, receiver) = watch::channel(value);
    std::mem::forget(sender);
    receiver
}

async fn lines(store: &Store, node: &NodeId) -> Vec<u64> {
    let query = LogQuery {
        node: node.clone(),
        from: UnixMillis(0),
        to: UnixMillis(i64::MAX),
        limit: 5000,
        contains: None,
        matchers: Vec::new(),
        before: None,
    };
    let rows = store.logs(query).await.unwrap().rows;
    rows.iter().map(|row| std::str::from_utf8(&row.record.line).unwrap().parse().unwrap()).collect()
}

fn assert_once_each(lines: &[u64], count: u64) {
    let distinct: BTreeSet<u64> = lines.iter().copied().collect();
    assert_eq!(distinct.len() as u64, count, "lines are missing");
    assert_eq!(lines.len() as u64, count, "lines are there twice");
}

fn ca() -> FleetCa {
    FleetCa::generate("test", Clock::system().wall()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_cut_again_and_again_loses_and_repeats_nothing() {
    let (ca, folder, node) = (ca(), tempfile::tempdir().unwrap(), "pi-4".parse().unwrap());
    let site = Site::start(&ca, folder.path()).await;
    let proxy = Proxy::start(site.address).await;
    let blocks = Blocks::new();
    blocks.write(50);
    let agent = Agent::start(&node, &node_identity(&ca, &ca, &node), proxy.address(), &blocks);
    for _ in 0..6 {
        let mut have = blocks.have.subscribe();
        blocks.write(40);
        // Somewhere in the middle of what is under way.
        timeout(SOON, have.changed()).await.unwrap().unwrap();
        proxy.cut();
    }
    blocks.arrived().await;
    assert_once_each(&lines(&site.store, &node).await, 290);
    assert!(proxy.connections() > 1, "the link was never cut");
    agent.stop().await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_while_the_fleet_was_stopped_arrives_when_it_returns() {
    let (ca, folder, node) = (ca(), tempfile::tempdir().unwrap(), "pi-4".parse().unwrap());
    let site = Site::start(&ca, folder.path()).await;
    let proxy = Proxy::start(site.address).await;
    let blocks = Blocks::new();
    blocks.write(20);
    let agent = Agent::start(&node, &node_identity(&ca, &ca, &node), proxy.address(), &blocks);
    blocks.arrived().await;
    proxy.close();
    site.stop().await;
    blocks.write(100);
    let site = Site::start(&ca, folder.path()).await;
    proxy.open(site.address);
    blocks.arrived().await;
    assert_once_each(&lines(&site.store, &node).await, 120);
    assert!(agent.stats.failures.load(Ordering::Relaxed) > 0, "the agent never noticed");
    agent.stop().await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_with_another_ca_gets_nothing() {
    let (ours, theirs, folder, node) = (ca(), ca(), tempfile::tempdir().unwrap(), "pi-4".parse().unwrap());
    let site = Site::start(&theirs, folder.path()).await;
    let blocks = Blocks::new();
    blocks.write(5);
    let agent = Agent::start(&node, &node_identity(&theirs, &ours, &node), site.address, &blocks);
    let tried = async {
        while agent.stats.failures.load(Ordering::Relaxed) < 3 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, tried).await.expect("the agent tries and fails");
    assert_eq!(agent.stats.connects.load(Ordering::Relaxed), 0);
    assert_eq!(lines(&site.store, &node).await, [0u64; 0]);
    agent.stop().await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_view_shows_lines_that_are_nowhere_stored() {
    let (ca, folder, node): (_, _, NodeId) = (ca(), tempfile::tempdir().unwrap(), "pi-4".parse().unwrap());
    let site = Site::start(&ca, folder.path()).await;
    let blocks = Blocks::new();
    blocks.write(1);
    let agent = Agent::start(&node, &node_identity(&ca, &ca, &node), site.address, &blocks);
    blocks.arrived().await;
    let mut view = site.asks.ask(&node, AskKind::follow(30)).await.unwrap();
    let line = LiveLine {
        at: UnixMillis(9),
        labels: Labels::new([("source", "a")]).unwrap(),
        output: OutputStream::None,
        level: Level::Info,
        fields: Labels::default(),
        line: "now".into(),
    };
    let seen = async {
        loop {
            // Nobody listens until the question has reached the node.
            let _ = agent.live.send(Arc::new(vec![line.clone()]));
            if let Ok(part) = timeout(Duration::from_millis(20), view.next()).await {
                return part;
            }
        }
    };
    match timeout(SOON, seen).await.expect("a live line comes") {
        Some(AnswerPart::Lines { lines, skipped: 0 }) => assert_eq!(lines[0], line),
        other => panic!("lines are expected: {other:?}"),
    }
    assert_once_each(&lines(&site.store, &node).await, 1);
    agent.stop().await;
    site.stop().await;
}
