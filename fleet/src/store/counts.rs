//! Totals that are kept as data comes in, so that nobody has to scan for them.

use rusqlite::{Connection, params};
use skerry_model::NodeId;
use std::collections::BTreeMap;

/// What a node has ever sent, less nothing that retention dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Batches that brought something new.
    pub batches: u64,
    /// Samples.
    pub samples: u64,
    /// Log records.
    pub log_lines: u64,
    /// Bytes of their lines.
    pub log_bytes: u64,
    /// Events.
    pub events: u64,
    /// Entries in the loss ledger.
    pub losses: u64,
    /// Sequence numbers that the node gave up.
    pub gone: u64,
    /// Sequence numbers whose content went to quarantine.
    pub quarantined: u64,
}

/// What one transaction adds to a node's [`Counts`].
pub(super) type Delta = Counts;

/// Rows and bytes of content in one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Rows.
    pub rows: i64,
    /// Bytes of their content.
    pub bytes: i64,
}

/// A count as SQLite holds it.
pub(super) fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Adds to a node's totals.
pub(super) fn add(connection: &Connection, node: i64, delta: &Delta) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO counts(node, batches, samples, log_lines, log_bytes, events, losses, gone, quarantined)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT(node) DO UPDATE SET batches = batches + ?2, samples = samples + ?3,
               log_lines = log_lines + ?4, log_bytes = log_bytes + ?5, events = events + ?6, losses = losses + ?7,
               gone = min(gone + ?8, 4611686018427387904), quarantined = quarantined + ?9",
        )?
        .execute(params![
            node,
            clamp(delta.batches),
            clamp(delta.samples),
            clamp(delta.log_lines),
            clamp(delta.log_bytes),
            clamp(delta.events),
            clamp(delta.losses),
            clamp(delta.gone),
            clamp(delta.quarantined),
        ])
        .map(drop)
}

/// Notes one more row of `bytes` content in `table`.
pub(super) fn grow(connection: &Connection, table: &str, bytes: usize) -> rusqlite::Result<()> {
    change(connection, table, 1, clamp(bytes as u64))
}

/// Notes that `rows` rows of `bytes` content were removed from `table`.
pub(super) fn shrink(connection: &Connection, table: &str, rows: i64, bytes: i64) -> rusqlite::Result<()> {
    change(connection, table, -rows, -bytes)
}

fn change(connection: &Connection, table: &str, rows: i64, bytes: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO usage(kind, rows, bytes) VALUES(?1, ?2, ?3)
             ON CONFLICT(kind) DO UPDATE SET rows = rows + ?2, bytes = bytes + ?3",
        )?
        .execute(params![table, rows, bytes])
        .map(drop)
}

/// Rows and bytes of a table's content.
pub(super) fn usage(connection: &Connection, table: &str) -> rusqlite::Result<Usage> {
    connection
        .prepare_cached("SELECT coalesce(sum(rows), 0), coalesce(sum(bytes), 0) FROM usage WHERE kind = ?")?
        .query_row([table], |row| Ok(Usage { rows: row.get(0)?, bytes: row.get(1)? }))
}

/// Totals of every node that ever sent something.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<BTreeMap<NodeId, Counts>> {
    let mut query = connection.prepare_cached(
        "SELECT n.name, c.batches, c.samples, c.log_lines, c.log_bytes, c.events, c.losses, c.gone, c.quarantined
         FROM counts c JOIN node n ON n.id = c.node",
    )?;
    let rows = query.query_map([], |row| {
        let number = |at| row.get::<_, i64>(at).map(|n| u64::try_from(n).unwrap_or(0));
        let counts = Counts {
            batches: number(1)?,
            samples: number(2)?,
            log_lines: number(3)?,
            log_bytes: number(4)?,
            events: number(5)?,
            losses: number(6)?,
            gone: number(7)?,
            quarantined: number(8)?,
        };
        Ok((row.get::<_, String>(0)?, counts))
    })?;
    let mut all = BTreeMap::new();
    for row in rows {
        let (name, counts) = row?;
        if let Ok(node) = name.parse() {
            all.insert(node, counts);
        }
    }
    Ok(all)
}
