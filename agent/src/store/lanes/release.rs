//! Ships what an `on-alert` rule held back of a time: moves records from the blocks that stay here to the shipped stream.
//!
//! A block that lies in that time as a whole moves as it is; of others the part. Leaving one place and standing in the
//! other is one transaction, so a release that is repeated, also after a crash, moves only what is still held back.

use super::super::blocks::{self, Body};
use super::super::commit::Due;
use super::super::draft::Extra;
use super::super::load::{LoadError, Read};
use super::super::logbuf::STEADY_LEVEL;
use super::super::streams::BlockMeta;
use super::super::writer::Writer;
use super::{Lane, Tag};
use skerry_chunk::{LogBuilder, LogReader};
use skerry_model::Now;
use skerry_model::{LogRecord, TimeRange};

/// Bytes of blocks that move in one transaction; one block moves in any case.
const MOVED_BYTES_MAX: usize = 1 << 20;

/// A block that moves.
#[derive(Debug)]
pub(in crate::store) struct Move {
    /// As it stands among those that stay here.
    pub(in crate::store) block: BlockMeta,
    /// What of it is shipped.
    pub(in crate::store) shipped: Body,
    /// What of it still stays.
    pub(in crate::store) stays: Option<Body>,
}

/// What one transaction moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Released {
    /// Records.
    pub(in crate::store) records: u64,
    /// There is more of that time.
    pub(in crate::store) more: bool,
}

impl Writer {
    /// Ships what a rule holds back of a time, as much as one transaction takes.
    ///
    /// # Errors
    /// [`LoadError`]; what was not moved is still held back.
    pub(in crate::store) fn release(&mut self, rule: Tag, range: TimeRange, now: Now) -> Result<Released, LoadError> {
        if self.logs.lanes().iter().any(|(lane, _)| lane.held_by == rule) {
            self.commit(Due { logs: true, ..Due::default() }, Extra::default(), now)?;
        }
        let at = self.kept_stream();
        let stream = &self.streams[at];
        let is_hit = |block: &&BlockMeta| {
            stream.lane(block).held_by == rule && block.range.from <= range.to && block.range.to >= range.from
        };
        let hits: Vec<BlockMeta> = stream.blocks.iter().filter(is_hit).copied().collect();
        let (mut moves, mut bytes, mut records, mut more) = (Vec::new(), 0, 0, false);
        for block in hits {
            if bytes >= MOVED_BYTES_MAX {
                more = true;
                break;
            }
            let parts = match self.body(&block)? {
                Read::Body(body) => divide(&block, body, range),
                Read::Unreadable => None,
            };
            let Some((shipped, stays)) = parts else {
                self.book_unreadable(at, block, now)?;
                continue;
            };
            let Some(shipped) = shipped else { continue };
            bytes += shipped.bytes.len();
            records += u64::from(shipped.records);
            moves.push(Move { block, shipped, stays });
        }
        if !moves.is_empty() {
            self.commit(Due::default(), Extra { moves, ..Extra::default() }, now)?;
        }
        Ok(Released { records, more })
    }
}

/// What of a block lies in a time, and what does not; nothing where it cannot be read.
fn divide(block: &BlockMeta, body: Vec<u8>, range: TimeRange) -> Option<(Option<Body>, Option<Body>)> {
    let lane = Lane { held_by: 0, ..Lane::from_column(super::KEPT, block.high) };
    if range.from <= block.range.from && block.range.to <= range.to {
        let whole = Body { bytes: body, records: block.records, range: block.range, high: lane.column() };
        return Some((Some(whole), None));
    }
    let records = LogReader::open(&body, &blocks::LIMITS).and_then(|reader| reader.records()).ok()?;
    let (inside, outside): (Vec<LogRecord>, Vec<LogRecord>) =
        records.into_iter().partition(|record| range.from <= record.at && record.at <= range.to);
    let encode = |records: Vec<LogRecord>, high| {
        let mut part = LogBuilder::new();
        part.extend(records);
        match part.is_empty() {
            true => Some(None),
            false => Some(Some(Body { high, ..blocks::logs(&part, STEADY_LEVEL).ok()? })),
        }
    };
    Some((encode(inside, lane.column())?, encode(outside, block.high)?))
}
