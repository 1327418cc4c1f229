//! The one transaction that changes the database.
//!
//! Everything that must be true together is written together: blocks with the positions of the inputs they came
//! from, evictions with what the ledger says about them, numbers with what they stand for.

use super::ledger::SOURCES_MAX;
use super::streams::BlockMeta;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use skerry_model::{Epoch, LossEntry, SeriesId, StreamKind};

/// A new block.
#[derive(Debug)]
pub(super) struct BlockRow {
    pub(super) kind: StreamKind,
    pub(super) epoch: Epoch,
    pub(super) meta: BlockMeta,
    pub(super) body: Vec<u8>,
}

/// Standing of one epoch of a stream.
#[derive(Debug)]
pub(super) struct StreamRow {
    pub(super) kind: StreamKind,
    pub(super) epoch: Epoch,
    pub(super) current: bool,
    /// [`super::streams::Core`], encoded; `None` deletes the row.
    pub(super) core: Option<Vec<u8>>,
}

/// A key with its new value; `None` deletes it.
pub type Change = (String, Option<Vec<u8>>);

/// All that one transaction changes.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) deleted: Vec<i64>,
    pub(super) series: Vec<(SeriesId, Vec<u8>)>,
    /// Series that fell silent, and the newest block that may hold them.
    pub(super) retired: (Vec<SeriesId>, i64),
    /// Retired series are forgotten when no block from this one on is left.
    pub(super) forget_series_below: Option<i64>,
    pub(super) blocks: Vec<BlockRow>,
    pub(super) streams: Vec<StreamRow>,
    pub(super) positions: Vec<Change>,
    pub(super) losses: Vec<LossEntry>,
    pub(super) state: Vec<Change>,
    pub(super) own: Vec<Change>,
}

/// Number of a stream in the tables.
pub(super) const fn kind_number(kind: StreamKind) -> i64 {
    match kind {
        StreamKind::Events => 0,
        StreamKind::Metrics => 1,
        StreamKind::Logs => 2,
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Writes all of it, or nothing.
pub(super) fn write(db: &mut Connection, changes: &Changes) -> rusqlite::Result<()> {
    let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // Evictions first: their pages are used again by what follows.
    delete(&tx, changes)?;
    insert(&tx, changes)?;
    put(&tx, "position", &changes.positions)?;
    put(&tx, "state", &changes.state)?;
    put(&tx, "own", &changes.own)?;
    for entry in &changes.losses {
        book(&tx, entry)?;
    }
    tx.commit()
}

fn delete(tx: &Transaction<'_>, changes: &Changes) -> rusqlite::Result<()> {
    let mut statement = tx.prepare_cached("DELETE FROM block WHERE id = ?1")?;
    for id in &changes.deleted {
        statement.execute([id])?;
    }
    let mut statement = tx.prepare_cached("UPDATE series SET last = ?2 WHERE id = ?1")?;
    for id in &changes.retired.0 {
        statement.execute([i64::from(id.0), changes.retired.1])?;
    }
    if let Some(block) = changes.forget_series_below {
        // The highest one stays, so that its number is not given out again after a restart.
        tx.prepare_cached("DELETE FROM series WHERE last < ?1 AND id < (SELECT max(id) FROM series)")?
            .execute([block])?;
    }
    Ok(())
}

fn insert(tx: &Transaction<'_>, changes: &Changes) -> rusqlite::Result<()> {
    let mut statement = tx.prepare_cached("INSERT INTO series (id, labels) VALUES (?1, ?2)")?;
    for (id, labels) in &changes.series {
        statement.execute(params![id.0, labels])?;
    }
    let mut statement = tx.prepare_cached(
        "INSERT INTO block (id, kind, epoch, first, rows, records, t0, t1, high, crc, bytes, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?;
    for BlockRow { kind, epoch, meta, body } in &changes.blocks {
        statement.execute(params![
            meta.id,
            kind_number(*kind),
            number(epoch.0),
            number(meta.first.0),
            meta.rows,
            meta.records,
            meta.range.from.0,
            meta.range.to.0,
            meta.high.map(|series| series.0),
            crc32fast::hash(body),
            meta.bytes,
            body,
        ])?;
    }
    for StreamRow { kind, epoch, current, core } in &changes.streams {
        let key = (kind_number(*kind), number(epoch.0));
        match core {
            Some(core) => tx
                .prepare_cached("INSERT OR REPLACE INTO stream (kind, epoch, current, core) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![key.0, key.1, current, core])?,
            None => tx.prepare_cached("DELETE FROM stream WHERE kind = ?1 AND epoch = ?2")?.execute(key)?,
        };
    }
    Ok(())
}

fn put(tx: &Transaction<'_>, table: &str, changes: &[Change]) -> rusqlite::Result<()> {
    for (key, value) in changes {
        match value {
            Some(value) => tx
                .prepare_cached(&format!("INSERT OR REPLACE INTO {table} (k, v) VALUES (?1, ?2)"))?
                .execute(params![key, value])?,
            None => tx.prepare_cached(&format!("DELETE FROM {table} WHERE k = ?1"))?.execute([key])?,
        };
    }
    Ok(())
}

/// Adds a loss to the ledger's totals. Their number is bounded: past it, new sources are summed up under the empty
/// one. The event that goes out for each loss names its source in any case.
fn book(tx: &Transaction<'_>, entry: &LossEntry) -> rusqlite::Result<()> {
    let (stream, reason) = (entry.stream.as_str(), entry.reason.as_str());
    let known = tx
        .prepare_cached("SELECT 1 FROM loss WHERE stream = ?1 AND reason = ?2 AND source = ?3")?
        .query_row([stream, reason, &entry.source], |_| Ok(()))
        .optional()?
        .is_some();
    let rows: i64 = tx.prepare_cached("SELECT count(*) FROM loss")?.query_row([], |row| row.get(0))?;
    let source = if known || rows < number(SOURCES_MAX as u64) { entry.source.as_str() } else { "" };
    tx.prepare_cached(
        "INSERT INTO loss (stream, reason, source, count, t0, t1) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (stream, reason, source) DO UPDATE
         SET count = count + excluded.count, t0 = min(t0, excluded.t0), t1 = max(t1, excluded.t1)",
    )?
    .execute(params![stream, reason, source, entry.count.map(number), entry.range.from.0, entry.range.to.0])?;
    Ok(())
}
