//! The store on real files, in virtual time.

mod corrupt;
mod crash;
mod full;
mod handle;
mod held;
mod kept;
mod lanes;
mod model;
mod outbox;

use super::*;
use crate::data::{LogInput, PositionUpdate};
use skerry_chunk::{Limits, LogBlock};
use skerry_model::*;
use skerry_wire::{Ack, Batch, Body, Event, EventKind, MESSAGE_BYTES_MAX, SeqSet, codec};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// A store on a temporary folder with a clock that the test moves.
pub(super) struct Rig {
    pub(super) dir: tempfile::TempDir,
    pub(super) config: Config,
    pub(super) now: Now,
    pub(super) random: u64,
    writer: Option<Writer>,
    pub(super) restored: Option<Restored>,
}

pub(super) fn series(n: usize) -> Labels {
    LabelsBuilder::metric("m").label("n", n.to_string()).build()
}

pub(in crate::store) fn record(at: i64, line: &str) -> LogRecord {
    LogRecord {
        at: UnixMillis(at),
        labels: Labels::new([("source", "test"), ("filename", "/x.log")]).unwrap(),
        output: OutputStream::None,
        level: Level::Unknown,
        fields: Labels::default(),
        line: line.as_bytes().to_vec(),
    }
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(super) fn with(config: Config) -> Self {
        // Memory where there is some to spare: these tests commit often.
        let memory = PathBuf::from("/dev/shm");
        let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let dir = tempfile::tempdir_in(folder).unwrap();
        let now = Now { wall: UnixMillis(1_700_000_000_000), mono: Mono(1000) };
        let mut rig = Self { dir, config, now, random: 0, writer: None, restored: None };
        rig.open();
        rig
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().join("agent.db")
    }

    pub(super) fn try_open(&mut self) -> Result<(), OpenError> {
        let (path, config, now) = (self.path(), self.config.clone(), self.now);
        let (writer, restored) = Writer::open(&path, config, now, || {
            self.random += 1;
            self.random
        })?;
        self.writer = Some(writer);
        self.restored = Some(restored);
        Ok(())
    }

    pub(super) fn open(&mut self) {
        self.try_open().unwrap();
    }

    pub(super) fn w(&mut self) -> &mut Writer {
        self.writer.as_mut().unwrap()
    }

    /// What kill -9 leaves: the files as they are, nothing of what was in memory.
    pub(super) fn crash(&mut self) {
        let aside = tempfile::tempdir_in(self.dir.path()).unwrap();
        let names = ["agent.db", "agent.db-wal", "agent.db-held"];
        for name in names {
            let _ = std::fs::copy(self.dir.path().join(name), aside.path().join(name));
        }
        self.writer = None;
        for name in names {
            let _ = std::fs::remove_file(self.dir.path().join(name));
            let _ = std::fs::copy(aside.path().join(name), self.dir.path().join(name));
        }
        let _ = std::fs::remove_file(self.dir.path().join("agent.db-shm"));
    }

    pub(super) fn close(&mut self) {
        let now = self.now;
        self.writer.take().unwrap().close(now).unwrap();
    }

    pub(super) fn take_writer(&mut self) -> Writer {
        self.writer.take().unwrap()
    }

    pub(super) fn drop_writer(&mut self) {
        self.writer = None;
    }

    pub(super) fn restart(&mut self) {
        self.close();
        self.open();
    }

    /// Lets time pass, and the store do what is then due.
    pub(super) fn pass(&mut self, secs: u64) {
        let span = Duration::from_secs(secs);
        self.now = Now { wall: self.now.wall + span, mono: self.now.mono + span };
        let now = self.now;
        self.w().tick(now);
    }

    /// A scrape of `count` series whose values tell it from others.
    pub(super) fn scrape(&mut self, count: usize) -> Scrape {
        let at = self.now.wall;
        let observe = |n| (series(n), at.0 as f64 + n as f64 / 8.0);
        let scrape = Scrape { at, values: (0..count).map(observe).collect() };
        let now = self.now;
        self.w().append_scrape(&scrape, Pace::Round, now);
        self.w().tick(now);
        scrape
    }

    /// A scrape of these series, 15 s after the one before; the store does nothing that is due.
    pub(super) fn scrape_of(&mut self, numbers: impl IntoIterator<Item = usize>) {
        self.pass(15);
        let values = numbers.into_iter().map(|n| (series(n), n as f64)).collect();
        let (scrape, now) = (Scrape { at: self.now.wall, values }, self.now);
        self.w().append_scrape(&scrape, Pace::Round, now);
    }

    /// Scrapes every 15 s.
    pub(super) fn scrapes(&mut self, rounds: usize, count: usize) {
        for _ in 0..rounds {
            self.pass(15);
            self.scrape(count);
        }
    }

    pub(super) fn log(&mut self, lines: &[&str], position: &str) {
        let at = self.now.wall.0;
        let records = lines.iter().map(|line| record(at, line)).collect();
        let positions = vec![PositionUpdate { key: "file".into(), state: Some(position.as_bytes().to_vec()) }];
        let now = self.now;
        self.w().append_logs(LogInput { records, positions, ..LogInput::default() }, now);
        self.w().tick(now);
    }

    pub(super) fn flush(&mut self) {
        let now = self.now;
        self.w().flush(now).unwrap();
    }

    pub(super) fn position(&self) -> Option<String> {
        let positions = &self.restored.as_ref().unwrap().positions;
        positions.iter().find(|(key, _)| key == "file").map(|(_, state)| String::from_utf8(state.clone()).unwrap())
    }

    pub(super) fn tip(&mut self, stream: StreamKind) -> Tip {
        self.w().tips().into_iter().find(|tip| tip.stream == stream && tip.current).unwrap()
    }

    pub(super) fn load(&mut self, tip: &Tip, at: u64, dict: Option<SeriesId>, bytes_max: usize) -> Option<Batch> {
        let now = self.now;
        let want = LoadRequest { stream: tip.stream, epoch: tip.epoch, at: Seq(at), dict_known: dict, bytes_max };
        self.w().load(want, now).unwrap()
    }

    pub(super) fn ack(&mut self, tip: &Tip, ranges: &[(u64, u64)]) {
        let have = ranges.to_vec().into();
        self.w().acknowledge(&Ack { stream: tip.stream, epoch: tip.epoch, have, dict: None });
    }

    pub(super) fn blocks(&mut self, stream: StreamKind) -> usize {
        self.w().streams.iter().filter(|s| s.kind == stream).map(|s| s.blocks.len()).sum()
    }

    pub(super) fn losses(&mut self, stream: StreamKind, reason: LossReason) -> Option<LossEntry> {
        self.w().ledger().unwrap().into_iter().find(|entry| entry.stream == stream && entry.reason == reason)
    }
}

/// What one number stood for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    Scrape(UnixMillis, Vec<(Labels, u64)>),
    Lines(Vec<LogRecord>),
    Events(Vec<Event>),
    Gone(LossReason),
}

/// A fleet server for one node: takes batches, keeps each number once, acknowledges.
#[derive(Default)]
pub(super) struct Fleet {
    pub(super) have: BTreeMap<(StreamKind, Epoch), SeqSet>,
    pub(super) dict: BTreeMap<Epoch, BTreeMap<SeriesId, Labels>>,
    pub(super) content: BTreeMap<(StreamKind, Epoch, Seq), Content>,
}

impl Fleet {
    pub(super) fn dict_known(&self, epoch: Epoch) -> Option<SeriesId> {
        self.dict.get(&epoch)?.keys().last().copied()
    }

    /// Takes a batch. A number that came before must mean the same again, unless it is now gone.
    pub(super) fn take(&mut self, stream: StreamKind, batch: &Batch) {
        let dict = self.dict.entry(batch.epoch).or_default();
        if !batch.dict.is_empty() {
            dict.extend(skerry_chunk::dict::decode(&batch.dict, &Limits::default()).unwrap());
        }
        let contents = contents(stream, batch, dict);
        assert_eq!(contents.len() as u64, batch.to.0 - batch.from.0 + 1);
        for (n, content) in contents.into_iter().enumerate() {
            let key = (stream, batch.epoch, Seq(batch.from.0 + n as u64));
            match self.content.get(&key) {
                Some(known) if !matches!(content, Content::Gone(_)) => assert_eq!(known, &content, "{key:?}"),
                Some(_) => {}
                None => drop(self.content.insert(key, content)),
            }
        }
        self.have.entry((stream, batch.epoch)).or_default().insert(batch.from, batch.to);
    }

    pub(super) fn acks(&self) -> Vec<Ack> {
        let ack = |(key, have): (&(StreamKind, Epoch), &SeqSet)| Ack {
            stream: key.0,
            epoch: key.1,
            have: have.clone(),
            dict: self.dict_known(key.1),
        };
        self.have.iter().map(ack).collect()
    }

    /// Takes all that the node has, oldest first, and acknowledges it.
    pub(super) fn sync(&mut self, rig: &mut Rig) {
        for tip in rig.w().tips() {
            let mut at = tip.first;
            loop {
                let known = self.dict_known(tip.epoch);
                let Some(batch) = rig.load(&tip, at.0, known, MESSAGE_BYTES_MAX) else { break };
                assert!(batch.from >= at && batch.to < tip.next);
                at = batch.to.next();
                self.take(tip.stream, &batch);
            }
        }
        for ack in self.acks() {
            rig.w().acknowledge(&ack);
        }
    }

    pub(super) fn of(&self, stream: StreamKind) -> Vec<&Content> {
        self.content.iter().filter(|((kind, ..), _)| *kind == stream).map(|(_, content)| content).collect()
    }

    pub(super) fn events(&self) -> Vec<&EventKind> {
        let lists = self.of(StreamKind::Events).into_iter().filter_map(|content| match content {
            Content::Events(events) => Some(events.iter().map(|event| &event.kind)),
            _ => None,
        });
        lists.flatten().collect()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let blocks = self.of(StreamKind::Logs).into_iter().filter_map(|content| match content {
            Content::Lines(records) => Some(records),
            _ => None,
        });
        blocks.flatten().map(|record| String::from_utf8(record.line.clone()).unwrap()).collect()
    }
}

fn contents(stream: StreamKind, batch: &Batch, dict: &BTreeMap<SeriesId, Labels>) -> Vec<Content> {
    let bytes = match &batch.body {
        Body::Gone(gone) => return (batch.from.0..=batch.to.0).map(|_| Content::Gone(gone.reason)).collect(),
        Body::Block(bytes) => bytes,
    };
    match stream {
        StreamKind::Events => vec![Content::Events(codec::decode(bytes, MESSAGE_BYTES_MAX).unwrap())],
        StreamKind::Logs => vec![Content::Lines(LogBlock::decode(bytes, &blocks::LIMITS).unwrap().records)],
        StreamKind::Metrics => {
            let block = blocks::read_metrics(bytes).unwrap();
            let row = |n: usize| {
                let values = block.columns.iter().filter_map(|c| c.values[n].map(|v| (dict[&c.series].clone(), v)));
                let mut values: Vec<_> = values.map(|(labels, value)| (labels, value.to_bits())).collect();
                values.sort();
                Content::Scrape(block.timestamps[n], values)
            };
            (0..block.timestamps.len()).map(row).collect()
        }
    }
}

/// A scrape as the fleet should have it.
pub(super) fn content(scrape: &Scrape) -> Content {
    let mut values: Vec<_> = scrape.values.iter().map(|(labels, value)| (labels.clone(), value.to_bits())).collect();
    values.sort();
    Content::Scrape(scrape.at, values)
}
