//! Log records that wait for their commit.
//!
//! Each record goes into the block that its lane fills, and a full block is encoded at once: what waits is a block's text
//! and, while a backlog is drained, full blocks as they will be stored. Past [`super::commit`]'s bound they are committed,
//! so this memory does not grow with the backlog; nor does it with the lanes, which share one block's worth of text.

use super::blocks::{self, Body, LINE_BYTES_MAX, LOG_BLOCK_BYTES_MAX};
use super::lanes::{Lane, Router};
use super::ledger::Losses;
use crate::data::LogInput;
use skerry_chunk::LogBuilder;
use skerry_model::{LogRecord, LossEntry, LossReason, Mono, StreamKind, TimeRange, UnixMillis};
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// zstd level for logs as they trickle in, and for a backlog. Blocks of 256 KiB of mixed service lines of 101 bytes take,
/// with what encodes them: level 1 14.7 bytes and 0.2 us a line, 3: 15.1 and 0.2, 5: 14.1 and 0.6, 6: 13.0 and 0.7, 9:
/// 12.3 and 0.9, 12: 12.0 and 1.3.
pub(super) const STEADY_LEVEL: i32 = 9;
const BACKLOG_LEVEL: i32 = 1;
/// Bytes per second past which records are a backlog: level 9 would take a hundredth of a core for each such.
const BACKLOG_BYTES_PER_S: u64 = 1 << 20;

/// Most blocks that are filled at a time: each takes its own filter of tokens. Where there are more lanes than that,
/// blocks end early.
const TAILS_MAX: usize = 8;

/// A block that is being filled.
#[derive(Debug, Default)]
struct Tail {
    lane: Lane,
    block: LogBuilder,
    since: Mono,
}

/// Log records that wait for their commit.
#[derive(Debug, Default)]
pub(super) struct LogBuffer {
    /// Full blocks, as they will be stored.
    full: Vec<(Lane, Body)>,
    full_bytes: usize,
    /// Bytes of the lines and columns of the full blocks.
    full_raw_bytes: usize,
    /// Blocks that are being filled, at most [`TAILS_MAX`], of different lanes.
    tails: Vec<Tail>,
    /// The one that was filled last: records of a lane come in runs.
    last: usize,
    pub(super) positions: BTreeMap<String, Option<Vec<u8>>>,
    /// Committed with the records: an input that reads again after a crash reports them again.
    pub(super) losses: Losses,
    pub(super) since: Option<Mono>,
    /// Who is to be told when this is committed.
    promises: Vec<oneshot::Sender<()>>,
    pub(super) promised_since: Option<Mono>,
}

impl LogBuffer {
    /// Takes what an input read, with what says where records go; says how many stay here.
    pub(super) fn take(&mut self, input: LogInput, router: Option<&mut Router>, now: Mono) -> u64 {
        if !input.records.is_empty() || !input.losses.is_empty() {
            self.since.get_or_insert(now);
        }
        let mut kept = 0;
        match router {
            None => input.records.iter().for_each(|record| self.push(record, Lane::default(), now)),
            Some(router) => {
                for record in &input.records {
                    let lane = router.lane(&record.labels, record.output, record.level);
                    kept += u64::from(lane.is_kept);
                    self.push(record, lane, now);
                }
            }
        }
        for loss in input.losses {
            self.losses.add(loss);
        }
        if let Some(promise) = input.committed {
            self.promises.push(promise);
            self.promised_since.get_or_insert(now);
        }
        self.positions.extend(input.positions.into_iter().map(|position| (position.key, position.state)));
        kept
    }

    fn push(&mut self, record: &LogRecord, lane: Lane, now: Mono) {
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
        if self.tails.get(self.last).is_none_or(|tail| tail.lane != lane) {
            self.turn_to(lane, now);
        }
        // One lane is the rule. Several share the room of one, and the one with most text makes room for the others.
        while self.tail_bytes() + record.line.len() > LOG_BLOCK_BYTES_MAX
            && let Some(at) = self.longest()
        {
            self.seal(at, now);
        }
        let tail = &mut self.tails[self.last];
        if tail.block.is_empty() {
            tail.since = now;
        }
        tail.block.push(record);
    }

    /// Goes on with the block of a lane.
    fn turn_to(&mut self, lane: Lane, now: Mono) {
        if let Some(at) = self.tails.iter().position(|tail| tail.lane == lane) {
            self.last = at;
        } else if let Some(at) = self.tails.iter().position(|tail| tail.block.is_empty()) {
            self.last = at;
        } else if self.tails.len() < TAILS_MAX {
            self.tails.push(Tail::default());
            self.last = self.tails.len() - 1;
        } else {
            self.last = self.longest().unwrap_or(0);
            self.seal(self.last, now);
        }
        self.tails[self.last].lane = lane;
    }

    /// The block with the most text; none where no block has a record.
    fn longest(&self) -> Option<usize> {
        let filled = self.tails.iter().enumerate().filter(|(_, tail)| !tail.block.is_empty());
        filled.max_by_key(|(_, tail)| tail.block.raw_bytes()).map(|(at, _)| at)
    }

    fn tail_bytes(&self) -> usize {
        self.tails.iter().map(|tail| tail.block.raw_bytes()).sum()
    }

    /// Encodes a block that is being filled, and begins another.
    fn seal(&mut self, at: usize, now: Mono) {
        let tail = &mut self.tails[at];
        match blocks::logs(&tail.block, tail.level(now)) {
            Ok(body) => {
                self.full_bytes += body.bytes.len();
                self.full_raw_bytes += tail.block.raw_bytes();
                self.full.push((tail.lane, body));
            }
            Err(_) => self.losses.add(unencoded(&tail.block)),
        }
        tail.block.clear();
    }

    /// Whether nothing waits, neither records nor positions nor losses.
    pub(super) fn is_empty(&self) -> bool {
        self.has_no_records() && self.positions.is_empty() && self.losses.is_empty()
    }

    /// Whether no records wait.
    pub(super) fn has_no_records(&self) -> bool {
        self.full.is_empty() && self.longest().is_none()
    }

    /// Bytes of records that wait, before compression.
    pub(super) fn raw_bytes(&self) -> usize {
        self.full_raw_bytes + self.tail_bytes()
    }

    /// Bytes of full blocks that wait.
    pub(super) const fn full_bytes(&self) -> usize {
        self.full_bytes
    }

    /// Lanes of the blocks that wait, with their bytes: of full ones as they will be stored, of others before compression.
    pub(super) fn lanes(&self) -> Vec<(Lane, usize)> {
        let full = self.full.iter().map(|(lane, body)| (*lane, body.bytes.len()));
        let filled = self.tails.iter().filter(|tail| !tail.block.is_empty());
        full.chain(filled.map(|tail| (tail.lane, tail.block.raw_bytes()))).collect()
    }

    /// The blocks of a commit, of each lane the oldest first, and the losses that stand for what cannot be encoded.
    pub(super) fn bodies(&self, now: Mono) -> (Vec<(Lane, Body)>, Vec<LossEntry>) {
        let (mut bodies, mut losses) = (self.full.clone(), Vec::new());
        for tail in self.tails.iter().filter(|tail| !tail.block.is_empty()) {
            match blocks::logs(&tail.block, tail.level(now)) {
                Ok(body) => bodies.push((tail.lane, body)),
                Err(_) => losses.push(unencoded(&tail.block)),
            }
        }
        (bodies, losses)
    }

    /// What waits, as encoded blocks, of each lane the oldest first.
    pub(super) fn waiting(&self) -> Vec<(Vec<u8>, TimeRange)> {
        let tails = self.tails.iter().filter(|tail| !tail.block.is_empty());
        let tails = tails.filter_map(|tail| blocks::logs(&tail.block, BACKLOG_LEVEL).ok());
        let full = self.full.iter().map(|(_, body)| body.clone());
        full.chain(tails).map(|body| (body.bytes, body.range)).collect()
    }

    /// Forgets what was committed, and tells those who wait for that.
    pub(super) fn committed(&mut self) {
        self.full.clear();
        (self.full_bytes, self.full_raw_bytes) = (0, 0);
        // Of several lanes each had a part of the room, which is given back.
        self.tails.truncate(1);
        self.tails.iter_mut().for_each(|tail| tail.block.clear());
        self.last = 0;
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

impl Tail {
    fn level(&self, now: Mono) -> i32 {
        let ms = u64::try_from(now.since(self.since).as_millis()).unwrap_or(u64::MAX);
        let bytes = self.block.raw_bytes();
        let is_backlog = bytes as u64 * 1000 > BACKLOG_BYTES_PER_S.saturating_mul(ms);
        // A little text tells no rate, and takes little time at any level.
        if is_backlog && bytes > 64 << 10 { BACKLOG_LEVEL } else { STEADY_LEVEL }
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
