//! What remote-write targets have yet to be sent: each target's place in the queue of blocks, see [`queue`](super::queue).
//!
//! Whoever rewrites blocks leaves those alone that stand in `remote_block`, and puts nothing into it: a target would
//! else be sent samples a second time, or never.
//!
//! Before a window of the queue is sent it is noted with the size of its requests. A server that was killed half way
//! then makes the same requests again, and a target that takes a request whole or not at all misses nothing.

use super::error::ReadError;
use super::events::{LossRow, name};
use super::ledger::labels_of;
use super::queue::{self, SAMPLES};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, params};
use skerry_model::{Epoch, Labels, LossReason, NodeId, SeriesId, TimeRange, UnixMillis};

/// - `remote_target`: `sent` is the last number of the queue that it has; `sending`, if set, the one it is sent up to
///   now, in requests of `samples_max` samples.
/// - `remote_block`: the queue. `late` where its samples begin before the newest that its node had sent.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS remote_target(
  name TEXT PRIMARY KEY, sent INTEGER NOT NULL, sending INTEGER, samples_max INTEGER) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS remote_block(
  id INTEGER PRIMARY KEY AUTOINCREMENT, block INTEGER NOT NULL, node INTEGER NOT NULL, late INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS remote_block_block ON remote_block(block);
CREATE TRIGGER IF NOT EXISTS remote_block_held BEFORE DELETE ON metric_block
  WHEN EXISTS (SELECT 1 FROM remote_block WHERE block = OLD.id)
  BEGIN SELECT RAISE(ABORT, 'remote write still waits for this block'); END;
";

/// A change that the writer makes.
pub(super) enum Change {
    Targets(Vec<String>),
    Begin { target: String, through: i64, samples_max: u64 },
    Finish { target: String, through: i64, losses: Vec<(NodeId, LossRow)> },
    Losses(Vec<(NodeId, LossRow)>),
    CloseEpochsBut { node: NodeId, kept: Epoch },
}

/// How much a window holds. One block is always in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowMax {
    /// Samples at which it takes no further block.
    pub samples: u64,
    /// Bytes of blocks at which it takes no further one.
    pub bytes: usize,
}

/// A stretch of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Window {
    /// Blocks in the order in which they came in.
    pub blocks: Vec<OutgoingBlock>,
    /// Whose blocks should be in it and are not there: the file was changed by something else.
    pub missing: Vec<NodeId>,
    /// The number it ends with.
    pub through: i64,
    /// Set where it was begun before a restart: the size of its requests then.
    pub begun: Option<u64>,
}

/// A block in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingBlock {
    /// Whose samples.
    pub node: NodeId,
    /// Number of their stream, for [`Store::series_labels`](super::Store::series_labels).
    pub stream: i64,
    /// Whether its samples begin before the newest that the node had sent.
    pub is_late: bool,
    /// When it came in.
    pub received: UnixMillis,
    /// How many samples.
    pub samples: u64,
    /// Their times.
    pub range: TimeRange,
    /// The block as `skerry_chunk` encodes it.
    pub data: Vec<u8>,
}

/// The entry for samples that a target does not get.
#[must_use]
pub fn unsent(target: &str, reason: LossReason, samples: u64, range: TimeRange, now: UnixMillis) -> LossRow {
    SAMPLES.loss(target, reason, samples, range, now)
}

/// Newest time of what the node sent, while somebody waits for blocks; `None` where nobody does.
pub(super) fn newest_before(connection: &Connection, node: i64) -> rusqlite::Result<Option<i64>> {
    if !SAMPLES.is_waited(connection)? {
        return Ok(None);
    }
    connection
        .prepare_cached("SELECT coalesce(max(t1), ?2) FROM stream WHERE node = ?1 AND kind = 'metrics'")?
        .query_row(params![node, i64::MIN], |row| row.get(0).map(Some))
}

/// Puts the block that was inserted last into the queue.
pub(super) fn enqueue(connection: &Connection, node: i64, range: TimeRange, before: &mut i64) -> rusqlite::Result<()> {
    let late = range.from.0 <= *before;
    *before = range.to.0.max(*before);
    connection
        .prepare_cached("INSERT INTO remote_block(block, node, late) VALUES(?, ?, ?)")?
        .execute(params![connection.last_insert_rowid(), node, late])
        .map(drop)
}

pub(super) fn apply(connection: &Connection, change: &Change) -> rusqlite::Result<()> {
    match change {
        Change::Targets(targets) => SAMPLES.set_targets(connection, targets).map(drop),
        Change::Begin { target, through, samples_max } => connection
            .prepare_cached("UPDATE remote_target SET sending = ?, samples_max = ? WHERE name = ?")?
            .execute(params![through, i64::try_from(*samples_max).unwrap_or(i64::MAX), target])
            .map(drop),
        Change::Finish { target, through, losses } => {
            connection
                .prepare_cached("UPDATE remote_target SET sent = ?, sending = NULL, samples_max = NULL WHERE name = ?")?
                .execute(params![through, target])?;
            queue::book(connection, losses)?;
            SAMPLES.forget_sent(connection)
        }
        Change::Losses(losses) => queue::book(connection, losses),
        Change::CloseEpochsBut { node, kept } => connection
            .prepare_cached(
                "UPDATE stream SET open = 0
                 WHERE node = (SELECT id FROM node WHERE name = ?) AND kind = 'metrics' AND epoch <> ?",
            )?
            .execute(params![node.as_str(), i64::try_from(kept.0).unwrap_or(i64::MAX)])
            .map(drop),
    }
}

/// The next window of a target.
pub(super) fn window(connection: &Connection, target: &str, max: WindowMax) -> Result<Window, ReadError> {
    let place = connection
        .prepare_cached("SELECT sent, sending, samples_max FROM remote_target WHERE name = ?")?
        .query_row([target], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((sent, sending, begun)): Option<(i64, Option<i64>, Option<i64>)> = place else {
        return Ok(Window::default());
    };
    let mut window = Window {
        blocks: Vec::new(),
        missing: Vec::new(),
        through: sending.unwrap_or(sent),
        begun: begun.and_then(|samples| u64::try_from(samples).ok()),
    };
    let mut query = connection.prepare_cached(
        "SELECT r.id, n.name, b.stream, r.late, b.received, b.samples, b.t0, b.t1, b.data
         FROM remote_block r JOIN node n ON n.id = r.node LEFT JOIN metric_block b ON b.id = r.block
         WHERE r.id > ? AND r.id <= ? ORDER BY r.id",
    )?;
    let mut rows = query.query(params![sent, sending.unwrap_or(i64::MAX)])?;
    let (mut samples, mut bytes) = (0, 0);
    while let Some(row) = rows.next()? {
        let node = name(row.get_ref(1)?.as_str().unwrap_or_default())?;
        if row.get_ref(2)? == ValueRef::Null {
            window.missing.push(node);
            window.through = window.through.max(row.get(0)?);
            continue;
        }
        let block = OutgoingBlock {
            node,
            stream: row.get(2)?,
            is_late: row.get(3)?,
            received: UnixMillis(row.get(4)?),
            samples: u64::try_from(row.get::<_, i64>(5)?).unwrap_or(0),
            range: TimeRange { from: UnixMillis(row.get(6)?), to: UnixMillis(row.get(7)?) },
            data: row.get(8)?,
        };
        samples += block.samples;
        bytes += block.data.len();
        window.blocks.push(block);
        // What was begun is made again as it was.
        if sending.is_none() {
            window.through = row.get(0)?;
            if samples >= max.samples || bytes >= max.bytes {
                break;
            }
        }
    }
    Ok(window)
}

/// Labels of series of streams.
pub(super) fn labels(connection: &Connection, wanted: &[(i64, SeriesId)]) -> Result<Vec<Option<Labels>>, ReadError> {
    let mut query = connection.prepare_cached(
        "SELECT t.labels FROM series r JOIN labelset l ON l.id = r.labelset JOIN label_text t ON t.id = l.text
         WHERE r.stream = ? AND r.sid = ?",
    )?;
    let mut found = Vec::with_capacity(wanted.len());
    for (stream, series) in wanted {
        let text: Option<String> = query.query_row(params![stream, series.0], |row| row.get(0)).optional()?;
        found.push(text.map(|text| labels_of(&text)).transpose()?);
    }
    Ok(found)
}
