//! Queues of blocks that targets wait for: one of samples (remote write), one of log records (forwarding).
//!
//! A queue holds no data, only which blocks are waited for; a row goes with the last target that was sent it, or with
//! its block when retention drops that, and then the loss is booked for every target that still waited. Numbers of a
//! queue are never used twice, whatever becomes of the blocks' own. A trigger refuses to delete a block that stands in
//! a queue, so whoever rewrites blocks leaves those alone.

use super::events::{self, LossRow};
use super::ledger::node_id;
use rusqlite::{Connection, params};
use skerry_model::{LossReason, NodeId, StreamKind, TimeRange, UnixMillis};
use std::collections::BTreeMap;

/// A queue: the names of its tables, and what differs.
pub(super) struct Queue {
    /// Table with the place of each target: `name`, `sent` (the last number that it has).
    pub(super) targets: &'static str,
    /// The queue itself: `id`, `block`, `node`.
    pub(super) blocks: &'static str,
    /// Table of the blocks.
    content: &'static str,
    /// How many records of block `b`, at `r` in the queue, target `t` does not have.
    unsent: &'static str,
    /// Whether row `r` is for target `t`.
    concerns: &'static str,
    /// What stands before a target's name as the source of a loss.
    source: &'static str,
    stream: StreamKind,
}

/// Samples for remote write.
pub(super) const SAMPLES: Queue = Queue {
    targets: "remote_target",
    blocks: "remote_block",
    content: "metric_block",
    unsent: "b.samples",
    concerns: "1",
    source: "remote_write:",
    stream: StreamKind::Metrics,
};

/// Log records for forwarding.
pub(super) const LOGS: Queue = Queue {
    targets: "forward_target",
    blocks: "forward_block",
    content: "log_block",
    unsent: "b.records - CASE WHEN t.part = r.id THEN t.skip ELSE 0 END",
    concerns: "(r.only IS NULL OR r.only = t.name)",
    source: "forward:",
    stream: StreamKind::Logs,
};

impl Queue {
    /// The queue that blocks of a table stand in.
    pub(super) fn of_table(table: &str) -> Option<Self> {
        [SAMPLES, LOGS].into_iter().find(|queue| queue.content == table)
    }

    /// The entry for records that a target does not get.
    pub(super) fn loss(
        &self,
        target: &str,
        reason: LossReason,
        records: u64,
        range: TimeRange,
        now: UnixMillis,
    ) -> LossRow {
        let source = format!("{}{target}", self.source);
        LossRow { stream: self.stream, reason, count: Some(records), range, source, received: now }
    }

    /// Whether any target waits for blocks.
    pub(super) fn is_waited(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let text = format!("SELECT EXISTS(SELECT 1 FROM {})", self.targets);
        connection.prepare_cached(&text)?.query_row([], |row| row.get(0))
    }

    /// Makes these the targets: forgets others, and lets new ones begin behind what the queue ever held. Which are new.
    pub(super) fn set_targets<'a>(
        &self,
        connection: &Connection,
        targets: &'a [String],
    ) -> rusqlite::Result<Vec<&'a str>> {
        let mut query = connection.prepare(&format!("SELECT name FROM {}", self.targets))?;
        let known: Vec<String> = query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for name in known.iter().filter(|name| !targets.contains(name)) {
            connection.execute(&format!("DELETE FROM {} WHERE name = ?", self.targets), [name])?;
        }
        let new = targets.iter().filter(|name| !known.contains(name)).map(String::as_str).collect::<Vec<_>>();
        for name in &new {
            connection.execute(
                &format!(
                    "INSERT OR IGNORE INTO {}(name, sent)
                     VALUES(?, coalesce((SELECT seq FROM sqlite_sequence WHERE name = '{}'), 0))",
                    self.targets, self.blocks
                ),
                [name],
            )?;
        }
        self.forget_sent(connection)?;
        Ok(new)
    }

    /// Takes rows out of the queue that every target was sent.
    pub(super) fn forget_sent(&self, connection: &Connection) -> rusqlite::Result<()> {
        let text = format!(
            "DELETE FROM {} WHERE id <= (SELECT coalesce(min(sent), 9223372036854775807) FROM {})",
            self.blocks, self.targets
        );
        connection.prepare_cached(&text)?.execute([]).map(drop)
    }

    /// Takes blocks out of the queue that retention drops, and books what targets miss by it: one entry for each node
    /// and target.
    pub(super) fn give_up(
        &self,
        connection: &Connection,
        blocks: impl Iterator<Item = i64>,
        now: UnixMillis,
    ) -> rusqlite::Result<()> {
        let mut waiting = connection.prepare_cached(&format!(
            "SELECT t.name, r.node, {}, b.t0, b.t1 FROM {} r JOIN {} b ON b.id = r.block
             JOIN {} t ON t.sent < r.id AND {} WHERE r.block = ?",
            self.unsent, self.blocks, self.content, self.targets, self.concerns
        ))?;
        let mut remove = connection.prepare_cached(&format!("DELETE FROM {} WHERE block = ?", self.blocks))?;
        let mut missed: BTreeMap<(String, i64), (u64, TimeRange)> = BTreeMap::new();
        for block in blocks {
            let rows = waiting.query_map([block], |row| {
                let range = TimeRange { from: UnixMillis(row.get(3)?), to: UnixMillis(row.get(4)?) };
                Ok(((row.get(0)?, row.get(1)?), u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0), range))
            })?;
            for row in rows {
                let (key, records, range) = row?;
                let entry = missed.entry(key).or_insert((0, range));
                *entry = (entry.0 + records, entry.1.cover(range));
            }
            remove.execute([block])?;
        }
        for ((target, node), (records, range)) in missed {
            events::merge_loss(connection, node, &self.loss(&target, LossReason::Retention, records, range, now))?;
        }
        Ok(())
    }
}

/// Books losses of nodes, those of one cause within a minute in one entry.
pub(super) fn book(connection: &Connection, losses: &[(NodeId, LossRow)]) -> rusqlite::Result<()> {
    for (node, loss) in losses {
        events::merge_loss(connection, node_id(connection, node)?, loss)?;
    }
    Ok(())
}

/// Puts the block that was inserted last into the queue of log records.
pub(super) fn enqueue_logs(connection: &Connection, node: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO forward_block(block, node) VALUES(?, ?)")?
        .execute(params![connection.last_insert_rowid(), node])
        .map(drop)
}
