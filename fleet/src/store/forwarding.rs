//! What forward targets have yet to be sent: their places in the queue of log blocks, see [`queue`](super::queue).
//!
//! A place moves record by record, with each request that was taken: after kill -9 a target is sent at most one request
//! again. Records are named by epoch, number and place within their block, so what is sent again bears the same names.

use super::error::ReadError;
use super::events::{LossRow, name};
use super::queue::{self, LOGS};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, params};
use skerry_model::{Epoch, LossReason, NodeId, Seq, TimeRange, UnixMillis};

/// - `forward_target`: `sent` is the last number of the queue that it has whole; of number `part` it has `skip` records
///   beside. `state` is the sender's own, as the length of a file.
/// - `forward_block`: the queue. `only`: for this target alone, which began with what was there.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS forward_target(
  name TEXT PRIMARY KEY, sent INTEGER NOT NULL, part INTEGER NOT NULL DEFAULT 0, skip INTEGER NOT NULL DEFAULT 0,
  state TEXT) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS forward_block(
  id INTEGER PRIMARY KEY AUTOINCREMENT, block INTEGER NOT NULL, node INTEGER NOT NULL, only TEXT) STRICT;
CREATE INDEX IF NOT EXISTS forward_block_block ON forward_block(block);
CREATE INDEX IF NOT EXISTS forward_block_only ON forward_block(only, id) WHERE only IS NOT NULL;
CREATE TRIGGER IF NOT EXISTS forward_block_held BEFORE DELETE ON log_block
  WHEN EXISTS (SELECT 1 FROM forward_block WHERE block = OLD.id)
  BEGIN SELECT RAISE(ABORT, 'a forward target still waits for this block'); END;
";

/// A change that the writer makes.
pub(super) enum Change {
    /// Targets; the set ones begin with what is held already.
    Targets(Vec<(String, Start)>),
    Advance {
        target: String,
        place: Place,
        state: Option<String>,
        losses: Vec<(NodeId, LossRow)>,
    },
}

/// What a new target begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With what comes in from now on.
    Now,
    /// With the oldest that is held.
    Beginning,
}

/// What a target has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Everything of the queue up to this number.
    pub through: i64,
    /// The number of which it has a part beside; 0 where there is none.
    pub part: i64,
    /// How many records of it, counted from its first.
    pub skip: u32,
}

/// A stretch of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogWindow {
    /// What the target has.
    pub place: Place,
    /// The sender's own state.
    pub state: Option<String>,
    /// Blocks in the order in which they came in.
    pub blocks: Vec<WaitingBlock>,
}

/// A block in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingBlock {
    /// Number in the queue.
    pub id: i64,
    /// Whose records.
    pub node: NodeId,
    /// The block; `None` where it should be there and is not: the file was changed by something else.
    pub found: Option<FoundBlock>,
}

/// A block that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundBlock {
    /// Epoch of its stream.
    pub epoch: Epoch,
    /// Its number there.
    pub seq: Seq,
    /// When it came in.
    pub received: UnixMillis,
    /// How many records.
    pub records: u64,
    /// Their times.
    pub range: TimeRange,
    /// The block as `skerry_chunk` encodes it.
    pub data: Vec<u8>,
}

/// The entry for records that a target does not get.
#[must_use]
pub fn not_forwarded(target: &str, reason: LossReason, records: u64, range: TimeRange, now: UnixMillis) -> LossRow {
    LOGS.loss(target, reason, records, range, now)
}

pub(super) fn apply(connection: &Connection, change: &Change) -> rusqlite::Result<()> {
    match change {
        Change::Targets(targets) => set_targets(connection, targets),
        Change::Advance { target, place, state, losses } => {
            connection
                .prepare_cached(
                    "UPDATE forward_target SET sent = ?, part = ?, skip = ?, state = coalesce(?, state) WHERE name = ?",
                )?
                .execute(params![place.through, place.part, place.skip, state, target])?;
            connection
                .prepare_cached("DELETE FROM forward_block WHERE only = ? AND id <= ?")?
                .execute(params![target, place.through])?;
            queue::book(connection, losses)?;
            LOGS.forget_sent(connection)
        }
    }
}

fn set_targets(connection: &Connection, targets: &[(String, Start)]) -> rusqlite::Result<()> {
    let names: Vec<String> = targets.iter().map(|(name, _)| name.clone()).collect();
    let new = LOGS.set_targets(connection, &names)?;
    connection.execute(
        "DELETE FROM forward_block WHERE only IS NOT NULL AND only NOT IN (SELECT name FROM forward_target)",
        [],
    )?;
    let beginning = |name: &&str| targets.iter().any(|(target, start)| target == name && *start == Start::Beginning);
    for name in new.into_iter().filter(beginning) {
        connection.execute(
            "INSERT INTO forward_block(block, node, only)
             SELECT b.id, s.node, ? FROM log_block b JOIN stream s ON s.id = b.stream ORDER BY b.id",
            [name],
        )?;
    }
    Ok(())
}

/// The next blocks of a target, behind number `after` where that is given: as many as hold `bytes_max`, one at least.
pub(super) fn window(
    connection: &Connection,
    target: &str,
    after: Option<i64>,
    bytes_max: usize,
) -> Result<LogWindow, ReadError> {
    let place = connection
        .prepare_cached("SELECT sent, part, skip, state FROM forward_target WHERE name = ?")?
        .query_row([target], |row| {
            Ok((Place { through: row.get(0)?, part: row.get(1)?, skip: row.get(2)? }, row.get(3)?))
        })
        .optional()?;
    let Some((place, state)) = place else { return Ok(LogWindow::default()) };
    let mut window = LogWindow { place, state, blocks: Vec::new() };
    let mut query = connection.prepare_cached(
        "SELECT r.id, n.name, s.epoch, b.seq, b.received, b.records, b.t0, b.t1, b.data
         FROM forward_block r JOIN node n ON n.id = r.node
         LEFT JOIN log_block b ON b.id = r.block LEFT JOIN stream s ON s.id = b.stream
         WHERE r.id > ? AND (r.only IS NULL OR r.only = ?) ORDER BY r.id",
    )?;
    let mut rows = query.query(params![after.unwrap_or(place.through), target])?;
    let mut bytes = 0;
    while bytes < bytes_max
        && let Some(row) = rows.next()?
    {
        let (id, node) = (row.get(0)?, name(row.get_ref(1)?.as_str().unwrap_or_default())?);
        let number = |at| Ok::<_, rusqlite::Error>(u64::try_from(row.get::<_, i64>(at)?).unwrap_or(0));
        let found = match row.get_ref(2)? {
            ValueRef::Null => None,
            _ => Some(FoundBlock {
                epoch: Epoch(number(2)?),
                seq: Seq(number(3)?),
                received: UnixMillis(row.get(4)?),
                records: number(5)?,
                range: TimeRange { from: UnixMillis(row.get(6)?), to: UnixMillis(row.get(7)?) },
                data: row.get(8)?,
            }),
        };
        bytes += found.as_ref().map_or(0, |found| found.data.len());
        window.blocks.push(WaitingBlock { id, node, found });
    }
    Ok(window)
}
