//! Log records that wait for their commit.
//!
//! Each record goes into the block that is being filled, and a full block is encoded at once: what waits is a block's text
//! and, while a backlog is drained, full blocks as they will be stored. Past [`super::commit`]'s bound they are committed,
//! so this memory does not grow with the backlog.

use super::blocks::{self, Body, LINE_BYTES_MAX, LOG_BLOCK_BYTES_MAX};
use super::ledger::Losses;
use crate::data::LogInput;
use skerry_chunk::LogBuilder;
use skerry_model::{LogRecord, LossEntry, LossReason, Mono, StreamKind, TimeRange, UnixMillis};
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// zstd level for logs as they trickle in, and for a backlog. Blocks of 256 KiB of mixed service lines of 101 bytes take,
/// with what encodes them: level 1 14.7 bytes and 0.2 us a line, 3: 15.1 and 0.2, 5: 14.1 and 0.6, 6: 13.0 and 0.7, 9:
/// 12.3 and 0.9, 12: 12.0 and 1.3.
const STEADY_LEVEL: i32 = 9;
const BACKLOG_LEVEL: i32 = 1;
/// Bytes per second past which records are a backlog: level 9 would take a hundredth of a core for each such.
const BACKLOG_BYTES_PER_S: u64 = 1 << 20;

/// Log records that wait for their commit.
#[derive(Debug, Default)]
pub(super) struct LogBuffer {
    /// Full blocks, as they will be stored.
    full: Vec<Body>,
    full_bytes: usize,
    /// Bytes of the lines and columns of the full blocks.
    full_raw_bytes: usize,
    /// The block that is being filled.
    tail: LogBuilder,
    tail_since: Mono,
    pub(super) positions: BTreeMap<String, Option<Vec<u8>>>,
    /// Committed with the records: an input that reads again after a crash reports them again.
    pub(super) losses: Losses,
    pub(super) since: Option<Mono>,
    /// Who is to be told when this is committed.
    promises: Vec<oneshot::Sender<()>>,
    pub(super) promised_since: Option<Mono>,
}

impl LogBuffer {
    /// Takes what an input read.
    pub(super) fn take(&mut self, input: LogInput, now: Mono) {
        if !input.records.is_empty() || !input.losses.is_empty() {
            self.since.get_or_insert(now);
        }
        for record in input.records {
            self.push(&record, now);
        }
        for loss in input.losses {
            self.losses.add(loss);
        }
        if let Some(promise) = input.committed {
            self.promises.push(promise);
            self.promised_since.get_or_insert(now);
        }
        self.positions.extend(input.positions.into_iter().map(|position| (position.key, position.state)));
    }

    fn push(&mut self, record: &LogRecord, now: Mono) {
        let mut record = record.as_ref();
        if record.line.len() > LINE_BYTES_MAX {
            record.line = &record.line[..LINE_BYTES_MAX];
            self.losses.add(LossEntry {
                stream: StreamKind::Logs,
                reason: LossReason::Oversize,
                count: Some(1),
                range: TimeRange::at(record.at),
                source: record.labels.value("filename").to_owned(),
            });
        }
        if !self.tail.is_empty() && self.tail.raw_bytes() + record.line.len() > LOG_BLOCK_BYTES_MAX {
            self.seal(now);
        }
        if self.tail.is_empty() {
            self.tail_since = now;
        }
        self.tail.push(record);
    }

    /// Encodes the block that is being filled, and begins another.
    fn seal(&mut self, now: Mono) {
        match blocks::logs(&self.tail, self.level(now)) {
            Ok(body) => {
                self.full_bytes += body.bytes.len();
                self.full_raw_bytes += self.tail.raw_bytes();
                self.full.push(body);
            }
            Err(_) => self.losses.add(unencoded(&self.tail)),
        }
        self.tail.clear();
    }

    fn level(&self, now: Mono) -> i32 {
        let ms = u64::try_from(now.since(self.tail_since).as_millis()).unwrap_or(u64::MAX);
        let is_backlog = self.tail.raw_bytes() as u64 * 1000 > BACKLOG_BYTES_PER_S.saturating_mul(ms);
        // A little text tells no rate, and takes little time at any level.
        if is_backlog && self.tail.raw_bytes() > 64 << 10 { BACKLOG_LEVEL } else { STEADY_LEVEL }
    }

    /// Whether nothing waits, neither records nor positions nor losses.
    pub(super) fn is_empty(&self) -> bool {
        self.has_no_records() && self.positions.is_empty() && self.losses.is_empty()
    }

    /// Whether no records wait.
    pub(super) fn has_no_records(&self) -> bool {
        self.full.is_empty() && self.tail.is_empty()
    }

    /// Bytes of records that wait, before compression.
    pub(super) fn raw_bytes(&self) -> usize {
        self.full_raw_bytes + self.tail.raw_bytes()
    }

    /// Bytes of full blocks that wait.
    pub(super) const fn full_bytes(&self) -> usize {
        self.full_bytes
    }

    /// The blocks of a commit, oldest first, and the loss that stands for one that cannot be encoded.
    pub(super) fn bodies(&self, now: Mono) -> (Vec<Body>, Option<LossEntry>) {
        let mut bodies = self.full.clone();
        if self.tail.is_empty() {
            return (bodies, None);
        }
        match blocks::logs(&self.tail, self.level(now)) {
            Ok(body) => bodies.push(body),
            Err(_) => return (bodies, Some(unencoded(&self.tail))),
        }
        (bodies, None)
    }

    /// What waits, as encoded blocks, oldest first.
    pub(super) fn waiting(&self) -> Vec<(Vec<u8>, TimeRange)> {
        let tail = blocks::logs(&self.tail, BACKLOG_LEVEL).ok().filter(|_| !self.tail.is_empty());
        self.full.iter().cloned().chain(tail).map(|body| (body.bytes, body.range)).collect()
    }

    /// Forgets what was committed, and tells those who wait for that.
    pub(super) fn committed(&mut self) {
        self.full.clear();
        (self.full_bytes, self.full_raw_bytes) = (0, 0);
        self.tail.clear();
        self.positions.clear();
        self.losses = Losses::default();
        self.since = None;
        self.promised_since = None;
        for promise in self.promises.drain(..) {
            // Who does not wait any more will send again, and that is theirs to tell apart.
            let _ = promise.send(());
        }
    }
}

fn unencoded(block: &LogBuilder) -> LossEntry {
    LossEntry {
        stream: StreamKind::Logs,
        reason: LossReason::Oversize,
        count: Some(block.len() as u64),
        range: block.range().unwrap_or(TimeRange::at(UnixMillis(0))),
        source: String::new(),
    }
}
