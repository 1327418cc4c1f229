//! Reads log records back, newest first by block, in exact order within the answer.
//!
//! Records are ordered by time; those of one moment by epoch (in the order epochs were first seen), number of the
//! block, and place within it, so that lines of one source keep the order they were written in.

use super::error::ReadError;
use rusqlite::{Connection, params};
use skerry_chunk::{Limits, LogReader, Unpacker};
use skerry_model::{Epoch, LogRecord, NodeId, RecordRef, Seq, UnixMillis};
use skerry_promql::Matcher;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Most records one query brings.
const RECORDS_MAX: usize = 100_000;
/// Most bytes of lines one query brings; what does not fit is left out at the old end.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Which records to read.
#[derive(Debug, Clone)]
pub struct LogQuery {
    /// Whose.
    pub node: NodeId,
    /// First moment.
    pub from: UnixMillis,
    /// Last moment; it belongs to the range.
    pub to: UnixMillis,
    /// The newest so many are read.
    pub limit: usize,
    /// Bytes that a line must contain.
    pub contains: Option<Vec<u8>>,
    /// Conditions on the record's labels; `level` looks at its severity unless the record has a label of that name.
    pub matchers: Vec<Matcher>,
    /// Only records before this one: how a reader pages backwards.
    pub before: Option<LogPosition>,
}

/// Place of a record in the order of its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// When it was written.
    pub at: UnixMillis,
    /// Rises in the order in which the fleet first saw the node's epochs.
    pub epoch_order: i64,
    /// Number of its block.
    pub seq: Seq,
    /// Place within the block, from 0.
    pub index: u32,
}

/// A record with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    /// Where it stands.
    pub position: LogPosition,
    /// Epoch of its block. With number and index it names the record for ever.
    pub epoch: Epoch,
    /// The record.
    pub record: LogRecord,
}

/// Answer to a [`LogQuery`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogRows {
    /// Oldest first.
    pub rows: Vec<LogRow>,
    /// Whether older records meet the query as well.
    pub more: bool,
    /// Blocks that could not be read: the file is damaged there. The rest was read.
    pub damaged_blocks: u64,
}

/// A block that may hold records of the answer.
struct Candidate {
    id: i64,
    epoch_order: i64,
    epoch: i64,
    seq: i64,
    last: i64,
}

/// The newest records that meet a query.
///
/// Blocks are read by falling end time. As soon as enough records are found and all further blocks end before the
/// oldest of them, nothing further can belong to the answer.
pub(super) fn logs(connection: &Connection, query: &LogQuery) -> Result<LogRows, ReadError> {
    let mut limit = query.limit.min(RECORDS_MAX);
    let mut answer = LogRows::default();
    let mut kept: BTreeMap<LogPosition, LogRow> = BTreeMap::new();
    let mut line_bytes = 0;
    let mut unpacker = Unpacker::new();
    let mut read = connection.prepare_cached("SELECT data FROM log_block WHERE id = ?")?;
    for block in candidates(connection, query)? {
        let oldest = kept.first_key_value().map(|(position, _)| position.at.0);
        if kept.len() >= limit && oldest.is_none_or(|oldest| block.last < oldest) {
            // Whether older records meet the query too is not known without reading on; they may.
            answer.more = true;
            break;
        }
        let mut rows = read.query([block.id])?;
        // Retention may have dropped the block since it was listed.
        let Some(row) = rows.next()? else { continue };
        let Some(records) = records(row.get_ref(0)?.as_blob().unwrap_or_default(), query, &mut unpacker) else {
            answer.damaged_blocks += 1;
            continue;
        };
        for (index, record) in records {
            let seq = Seq(u64::try_from(block.seq).unwrap_or(0));
            let position = LogPosition { at: record.at, epoch_order: block.epoch_order, seq, index };
            if query.before.is_some_and(|before| position >= before) {
                continue;
            }
            line_bytes += record.line.len();
            let epoch = Epoch(u64::try_from(block.epoch).unwrap_or(0));
            kept.insert(position, LogRow { position, epoch, record });
            while kept.len() > limit || line_bytes > LINE_BYTES_MAX {
                let Some((_, dropped)) = kept.pop_first() else { break };
                line_bytes -= dropped.record.line.len();
                // Once the bytes are used up no older record may slip in, or the answer would have a gap.
                limit = kept.len();
                answer.more = true;
            }
        }
    }
    answer.rows = kept.into_values().collect();
    Ok(answer)
}

fn candidates(connection: &Connection, query: &LogQuery) -> Result<Vec<Candidate>, ReadError> {
    let mut list = connection.prepare_cached(
        "SELECT b.id, s.id, s.epoch, b.seq, b.t1 FROM stream s JOIN log_block b ON b.stream = s.id
         WHERE s.node = (SELECT id FROM node WHERE name = ?1) AND s.kind = 'logs'
           AND s.t1 >= ?2 AND s.t0 <= ?3 AND b.t1 >= ?2 AND b.t0 <= ?3
         ORDER BY b.t1 DESC, s.id DESC, b.seq DESC",
    )?;
    let to = query.before.map_or(query.to, |before| query.to.min(before.at));
    let rows = list.query_map(params![query.node.as_str(), query.from.0, to.0], |row| {
        Ok(Candidate {
            id: row.get(0)?,
            epoch_order: row.get(1)?,
            epoch: row.get(2)?,
            seq: row.get(3)?,
            last: row.get(4)?,
        })
    })?;
    rows.collect::<Result<_, _>>().map_err(Into::into)
}

/// The records of a block that meet the query, with their places; `None` where the block cannot be read.
fn records(data: &[u8], query: &LogQuery, unpacker: &mut Unpacker) -> Option<Vec<(u32, LogRecord)>> {
    let reader = LogReader::open(data, &Limits::default()).ok()?;
    let wanted = |record: &RecordRef<'_>| {
        (query.from..=query.to).contains(&record.at)
            && query.matchers.iter().all(|matcher| match (matcher.label(), record.labels.value(matcher.label())) {
                ("level", "") => matcher.matches(record.level.as_str()),
                (_, value) => matcher.matches(value),
            })
    };
    let texts: Vec<&[u8]> = query.contains.iter().map(Vec::as_slice).collect();
    let mut found = Vec::new();
    let each = |at: usize, record: RecordRef<'_>| {
        if wanted(&record) {
            found.push((u32::try_from(at).unwrap_or(u32::MAX), record.to_record()));
        }
        ControlFlow::Continue(())
    };
    reader.search(unpacker, &texts, |_| true, each).ok()?;
    Some(found)
}
