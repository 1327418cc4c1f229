//! A node: the real outbox over a model of the node store.
//!
//! The model keeps to the store's rules: a scrape is in memory until four are unacknowledged or twenty are there; log
//! lines are committed with the position behind them; events are committed at once; after an unclean stop the metrics
//! begin a new epoch and the ledger gets a crash gap. What a power cut takes is exactly what was not committed.

use skerry_agent::sync::outbox::{Action, Limits, Outbox, Tip};
use skerry_chunk::{Column, LogBlock, MetricBlock, dict};
use skerry_model::{
    Epoch, Labels, LabelsBuilder, Level, LogRecord, LossEntry, LossReason, Mono, NodeId, OutputStream, Seq, SeriesId,
    StreamKind, TimeRange, UnixMillis,
};
use skerry_wire::{
    Ack, Acks, Batch, Body, Event, EventKind, Gone, Hello, HostFacts, MESSAGE_BYTES_MAX, PROTOCOL_VERSION, SeqSet,
    codec,
};
use std::collections::BTreeMap;

/// Most rows of one metrics batch, and scrapes after which memory is committed in any case.
const ROWS_MAX: usize = 20;
/// Unacknowledged scrapes in memory after which they are committed.
const UNACKED_MAX: u64 = 4;

/// What one number holds.
#[derive(Debug, Clone)]
enum Entry {
    /// A scrape at this moment with this many series.
    Scrape {
        at: u64,
        series: u32,
    },
    /// Lines `from..=to`.
    Lines {
        from: u64,
        to: u64,
    },
    Events(Vec<Event>),
    Gone(Gone),
}

/// One epoch of a stream.
#[derive(Debug, Clone)]
struct Log {
    stream: StreamKind,
    epoch: Epoch,
    next: Seq,
    entries: BTreeMap<u64, Entry>,
    have: SeqSet,
}

impl Log {
    fn new(stream: StreamKind, random: u64) -> Self {
        let epoch = Epoch::from_random(random);
        Self { stream, epoch, next: Seq::FIRST, entries: BTreeMap::new(), have: SeqSet::new() }
    }

    fn push(&mut self, entry: Entry) {
        self.entries.insert(self.next.0, entry);
        self.next = self.next.next();
    }

    fn tip(&self) -> Tip {
        let first = self.entries.keys().next().map_or(self.next, |seq| Seq(*seq));
        Tip { stream: self.stream, epoch: self.epoch, first, next: self.next, have: self.have.clone() }
    }
}

/// What stands on disk, or in memory as it will stand on disk.
#[derive(Debug, Clone)]
struct Store {
    logs: Vec<Log>,
    /// Labels are given to ids in order; the number says in which metrics epoch an id was given out.
    series: Vec<Epoch>,
    /// Lines up to here are stored.
    position: u64,
    last_scrape: u64,
}

impl Store {
    /// The current epoch of a stream.
    fn log(&mut self, stream: StreamKind) -> &mut Log {
        self.logs.iter_mut().rfind(|log| log.stream == stream).expect("every stream has an epoch")
    }
}

/// One simulated node.
#[derive(Debug)]
pub(super) struct Node {
    id: NodeId,
    /// What a power cut leaves.
    disk: Store,
    /// The running agent's view; `None` while the power is off.
    memory: Option<(Store, Outbox)>,
    has_run: bool,
    /// Lines that the application has written to its file.
    written: u64,
    /// Scrapes taken, by moment: what has to be accounted for.
    scrapes: BTreeMap<u64, u32>,
    /// Labels given to each series of each epoch, as the fleet should know them.
    labels: BTreeMap<(Epoch, SeriesId), Labels>,
}

impl Node {
    pub(super) fn new(id: NodeId, random: u64) -> Self {
        let logs = [StreamKind::Events, StreamKind::Metrics, StreamKind::Logs];
        let logs = logs.iter().zip(1..).map(|(stream, n)| Log::new(*stream, random.wrapping_mul(n))).collect();
        let disk = Store { logs, series: Vec::new(), position: 0, last_scrape: 0 };
        let (scrapes, labels) = (BTreeMap::new(), BTreeMap::new());
        Self { id, disk, memory: None, has_run: false, written: 0, scrapes, labels }
    }

    pub(super) fn id(&self) -> &NodeId {
        &self.id
    }

    pub(super) fn is_up(&self) -> bool {
        self.memory.is_some()
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn scrapes(&self) -> impl Iterator<Item = (u64, u32)> {
        self.scrapes.iter().map(|(at, series)| (*at, *series))
    }

    pub(super) fn labels(&self, epoch: Epoch, series: SeriesId) -> Option<&Labels> {
        self.labels.get(&(epoch, series))
    }

    /// Numbers that are not known to have arrived.
    pub(super) fn waiting(&self) -> u64 {
        self.memory
            .as_ref()
            .map_or(u64::MAX, |(_, outbox)| StreamKind::ALL.into_iter().map(|stream| outbox.waiting(stream)).sum())
    }

    /// Power on: what the store does at open, then a new outbox.
    pub(super) fn boot(&mut self, now: u64, random: u64) {
        if self.memory.is_some() {
            return;
        }
        if self.has_run {
            let range = TimeRange { from: UnixMillis(self.disk.last_scrape as i64 + 1), to: UnixMillis(now as i64) };
            self.disk.logs.push(Log::new(StreamKind::Metrics, random));
            self.disk.log(StreamKind::Events).push(loss(StreamKind::Metrics, LossReason::Crash, None, range, now));
        }
        self.has_run = true;
        self.memory = Some((self.disk.clone(), Outbox::new(Limits { newest: 2, ..Limits::default() })));
        self.tips();
    }

    /// Power off, now. Says whether it was on.
    pub(super) fn crash(&mut self) -> bool {
        self.memory.take().is_some()
    }

    pub(super) fn connected(&mut self, now: Mono) {
        if let Some((_, outbox)) = &mut self.memory {
            outbox.connected(now);
        }
    }

    pub(super) fn disconnected(&mut self) {
        if let Some((_, outbox)) = &mut self.memory {
            outbox.disconnected();
        }
    }

    pub(super) fn wake_at(&self, now: Mono) -> Option<Mono> {
        self.memory.as_ref()?.1.wake_at(now)
    }

    /// Takes a scrape, where the power is on; `grow` adds a series first.
    pub(super) fn scrape(&mut self, now: u64, grow: bool) -> bool {
        let Some((store, _)) = &mut self.memory else { return false };
        if grow || store.series.is_empty() {
            let epoch = store.log(StreamKind::Metrics).epoch;
            store.series.push(epoch);
        }
        let series = store.series.len() as u32;
        let log = store.log(StreamKind::Metrics);
        log.push(Entry::Scrape { at: now, series });
        let epoch = log.epoch;
        self.scrapes.insert(now, series);
        let uncommitted = log.next.0 - self.disk.log(StreamKind::Metrics).next.0;
        let log = store.log(StreamKind::Metrics);
        let last = Seq(log.next.0 - 1);
        let unacked = log.have.missing(Seq(log.next.0.saturating_sub(uncommitted).max(1)), last);
        let unacked: u64 = unacked.iter().map(|(from, to)| to.0 - from.0 + 1).sum();
        for id in 0..series {
            let labels = labels_of(store.series[id as usize], SeriesId(id));
            self.labels.entry((epoch, SeriesId(id))).or_insert(labels);
        }
        if unacked >= UNACKED_MAX || uncommitted >= ROWS_MAX as u64 {
            store.last_scrape = now;
            self.disk = store.clone();
        }
        self.tips();
        true
    }

    /// The application writes to its log, power or not: the file is on another disk.
    pub(super) fn write(&mut self, lines: u64) {
        self.written += lines;
    }

    /// Reads what the application wrote and commits it with the position.
    pub(super) fn commit_logs(&mut self) {
        let written = self.written;
        self.commit(|store| {
            if store.position < written {
                let (from, to) = (store.position + 1, written);
                store.log(StreamKind::Logs).push(Entry::Lines { from, to });
                store.position = written;
            }
        });
    }

    /// The disk is full: the oldest log block that is not acknowledged is given up, with its ledger entry, in one commit.
    pub(super) fn evict(&mut self, now: u64) {
        self.commit(|store| {
            let log = store.log(StreamKind::Logs);
            let oldest = log.entries.iter_mut().find_map(|(seq, entry)| match entry {
                Entry::Lines { from, to } if !log.have.contains(Seq(*seq)) => Some((*from, *to, entry)),
                _ => None,
            });
            let Some((from, to, entry)) = oldest else { return };
            let range = TimeRange { from: UnixMillis(from as i64), to: UnixMillis(to as i64) };
            *entry = Entry::Gone(Gone { reason: LossReason::Retention, range });
            let count = Some(to - from + 1);
            let entry = loss(StreamKind::Logs, LossReason::Retention, count, range, now);
            store.log(StreamKind::Events).push(entry);
        });
    }

    /// Takes an acknowledgement. The store writes it down with its next commit.
    pub(super) fn receive(&mut self, message: &[u8], now: Mono) {
        let Some((store, outbox)) = &mut self.memory else { return };
        let acks: Acks = codec::decode(message, MESSAGE_BYTES_MAX).expect("the server sends sound acknowledgements");
        outbox.acknowledged(&acks.acks, now);
        for Ack { stream, epoch, have, .. } in &acks.acks {
            let log = store.logs.iter_mut().find(|log| log.stream == *stream && log.epoch == *epoch);
            if let Some(log) = log {
                log.have.extend(have);
                let have = log.have.clone();
                log.entries.retain(|seq, _| !have.contains(Seq(*seq)));
            }
        }
        self.tips();
    }

    /// The next message the outbox wants on its way.
    pub(super) fn next_message(&mut self, now: Mono) -> Option<(&'static str, Vec<u8>)> {
        let (store, outbox) = self.memory.as_mut()?;
        loop {
            match outbox.poll(now)? {
                Action::Hello => {
                    let hello = hello(outbox, now);
                    return Some(("hello", codec::encode(&hello)));
                }
                Action::Load { stream, epoch, at, dict_known } => match load(store, stream, epoch, at, dict_known) {
                    Some(batch) => {
                        let message = codec::encode(&batch);
                        outbox.sent(stream, epoch, batch.from, batch.to, message.len() as u64, now);
                        return Some((stream.as_str(), message));
                    }
                    None => outbox.absent(stream, epoch, at),
                },
            }
        }
    }

    /// Changes the store and makes all of it durable.
    fn commit(&mut self, change: impl FnOnce(&mut Store)) {
        let Some((store, _)) = &mut self.memory else { return };
        change(store);
        store.last_scrape = self.scrapes.last_key_value().map_or(0, |(at, _)| *at);
        self.disk = store.clone();
        self.tips();
    }

    fn tips(&mut self) {
        if let Some((store, outbox)) = &mut self.memory {
            outbox.tips(store.logs.iter().map(Log::tip).collect());
        }
    }
}

fn labels_of(given_out_in: Epoch, id: SeriesId) -> Labels {
    LabelsBuilder::metric("m").label("id", id.0.to_string()).label("given", given_out_in.0.to_string()).build()
}

/// Value of a series at a moment: what the check at the end expects.
pub(super) fn value_of(at: u64, id: SeriesId) -> f64 {
    at as f64 * 1000.0 + f64::from(id.0)
}

fn loss(stream: StreamKind, reason: LossReason, count: Option<u64>, range: TimeRange, now: u64) -> Entry {
    let entry = LossEntry { stream, reason, count, range, source: String::new() };
    Entry::Events(vec![Event { at: UnixMillis(now as i64), kind: EventKind::Loss(entry) }])
}

fn hello(outbox: &Outbox, now: Mono) -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        agent_version: "simulated".into(),
        boot_id: String::new(),
        session: 1,
        host: HostFacts::default(),
        streams: outbox.stream_tips(),
        configs: Vec::new(),
        assignment: None,
        root_version: 0,
        at: UnixMillis(now.0 as i64),
        time_trusted: true,
        asks: 0,
    }
}

/// What the store answers: the run of like entries that begins at `at`, or at the first held number after it.
fn load(store: &Store, stream: StreamKind, epoch: Epoch, at: Seq, dict_known: Option<SeriesId>) -> Option<Batch> {
    let log = store.logs.iter().find(|log| log.stream == stream && log.epoch == epoch)?;
    let (first, entry) = log.entries.range(at.0..).next()?;
    let from = Seq(*first);
    let batch = |to, dict, body| Some(Batch { epoch, from, to, dict, body });
    match entry {
        Entry::Lines { from: low, to: high } => batch(from, Vec::new(), Body::Block(lines(*low, *high))),
        Entry::Events(events) => batch(from, Vec::new(), Body::Block(codec::encode(events))),
        Entry::Gone(gone) => batch(from, Vec::new(), Body::Gone(*gone)),
        Entry::Scrape { .. } => {
            let rows: Vec<(u64, u32)> = (*first..)
                .map_while(|seq| match log.entries.get(&seq) {
                    Some(Entry::Scrape { at, series }) => Some((*at, *series)),
                    _ => None,
                })
                .take(ROWS_MAX)
                .collect();
            let width = rows.iter().map(|(_, series)| *series).max().unwrap_or(0);
            let column = |id: u32| Column {
                series: SeriesId(id),
                values: rows.iter().map(|(at, series)| (id < *series).then(|| value_of(*at, SeriesId(id)))).collect(),
            };
            let timestamps = rows.iter().map(|(at, _)| UnixMillis(*at as i64)).collect();
            let block = MetricBlock { timestamps, columns: (0..width).map(column).collect() };
            let unknown = dict_known.map_or(0, |id| id.0 + 1)..width;
            let entries: Vec<_> =
                unknown.map(|id| (SeriesId(id), labels_of(store.series[id as usize], SeriesId(id)))).collect();
            let dict = if entries.is_empty() { Vec::new() } else { dict::encode(&entries).expect("ids rise") };
            let body = Body::Block(block.encode().expect("columns are even and rise"));
            batch(Seq(from.0 + rows.len() as u64 - 1), dict, body)
        }
    }
}

fn lines(from: u64, to: u64) -> Vec<u8> {
    let labels = Labels::new([("source", "app")]).expect("sound labels");
    let record = |n: u64| LogRecord {
        at: UnixMillis(n as i64),
        labels: labels.clone(),
        output: OutputStream::None,
        level: Level::Info,
        fields: Labels::default(),
        line: n.to_string().into_bytes(),
    };
    LogBlock { records: (from..=to).map(record).collect() }.encode(1).expect("a block can be written")
}
