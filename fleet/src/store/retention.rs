//! Drops what is too old or too much, oldest arrivals first, in small transactions so that intake goes on between.
//!
//! Blocks go; what was held of a stream stays, so that nothing dropped comes in again. Labels go with the last block
//! of a closed epoch. Everything that is dropped is counted in the file, for good, and stands in its node's loss ledger.

use super::alerts;
use super::compact::step;
use super::config::Config;
use super::counts::{self, Usage};
use super::events::{self, LossRow};
use super::ledger::labels_of;
use super::queue::Queue;
use rusqlite::{Connection, OptionalExtension, params};
use skerry_model::{LossReason, StreamKind, TimeRange, UnixMillis};
use std::collections::BTreeMap;
use std::time::Duration;

/// Blocks dropped in one transaction.
const ROWS_PER_ROUND: usize = 256;
/// Transactions in one run; what is left waits for the next.
const ROUNDS_MAX: usize = 64;
/// Free pages given back to the file system in one run.
const VACUUM_PAGES: u32 = 4096;
/// How often the small tables are tidied.
const TIDY_EVERY: Duration = Duration::from_secs(3600);
/// Closed epochs of one stream of a node that are remembered, so that a stick which was long on its way brings nothing
/// twice.
const EPOCHS_CLOSED_MAX: i64 = 4096;
/// Rows of the tables `gone` and `quarantine`.
const SMALL_ROWS_MAX: i64 = 100_000;

/// What one run dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retained {
    /// Blocks of samples and of log records.
    pub blocks: u64,
    /// Samples in them.
    pub samples: u64,
    /// Log records in them.
    pub log_lines: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Retained {
    fn add(&mut self, other: Self) {
        self.blocks += other.blocks;
        self.samples += other.samples;
        self.log_lines += other.log_lines;
        self.bytes += other.bytes;
    }
}

/// A table of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Table {
    Metrics,
    Chunks,
    Logs,
}

impl Table {
    const ALL: [Self; 3] = [Self::Metrics, Self::Chunks, Self::Logs];

    const fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metric_block",
            Self::Chunks => "metric_chunk",
            Self::Logs => "log_block",
        }
    }

    const fn stream(self) -> StreamKind {
        match self {
            Self::Metrics | Self::Chunks => StreamKind::Metrics,
            Self::Logs => StreamKind::Logs,
        }
    }

    /// The oldest first. Numbers of blocks rise with arrival; those of chunks do not.
    const fn oldest(self) -> &'static str {
        match self {
            Self::Metrics => {
                "SELECT b.id, b.received, b.samples, length(b.data), s.node, b.t0, b.t1
                 FROM metric_block b JOIN stream s ON s.id = b.stream ORDER BY b.id LIMIT ?"
            }
            Self::Chunks => {
                "SELECT id, received, samples, length(data), node, t0, t1 FROM metric_chunk ORDER BY received, id LIMIT ?"
            }
            Self::Logs => {
                "SELECT b.id, b.received, b.records, length(b.data), s.node, b.t0, b.t1
                 FROM log_block b JOIN stream s ON s.id = b.stream ORDER BY b.id LIMIT ?"
            }
        }
    }
}

/// One of the oldest blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    table: Table,
    id: i64,
    received: i64,
    records: i64,
    bytes: i64,
    node: i64,
    t0: i64,
    t1: i64,
}

/// Which of the oldest blocks, given by rising arrival, have to go: those that came before `cutoff`, and as many more
/// as hold `excess` bytes.
fn plan(heads: &[Head], cutoff: i64, excess: i64) -> usize {
    let mut freed = 0;
    heads
        .iter()
        .take_while(|head| {
            let goes = head.received < cutoff || freed < excess;
            freed += head.bytes;
            goes
        })
        .count()
}

/// When the small tables were tidied last.
#[derive(Debug, Default)]
pub(super) struct Tidied(Option<UnixMillis>);

/// Drops what has to go by `now`.
pub(super) fn retain(
    connection: &mut Connection,
    config: &Config,
    now: UnixMillis,
    tidied: &mut Tidied,
) -> rusqlite::Result<Retained> {
    let cutoff = before(now, config.max_age.0);
    let mut total = Retained::default();
    for _ in 0..ROUNDS_MAX {
        let excess = used_bytes(connection)? - counts::clamp(config.max_bytes.0);
        let heads = heads(connection)?;
        let count = plan(&heads, cutoff, excess);
        if count == 0 {
            break;
        }
        total.add(drop_blocks(connection, &heads[..count], now)?);
    }
    if tidied.0.is_none_or(|last| now.since(last) >= TIDY_EVERY) || total.blocks > 0 {
        tidy(connection, config, now)?;
        tidied.0 = Some(now);
    }
    if total.blocks > 0 {
        // The pragma frees one page per step, so it has to be stepped to its end.
        let mut vacuum = connection.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
        let mut rows = vacuum.query([])?;
        while rows.next()?.is_some() {}
    }
    Ok(total)
}

fn before(now: UnixMillis, age: Duration) -> i64 {
    now.0.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
}

/// Bytes of the file that hold something.
pub(super) fn used_bytes(connection: &Connection) -> rusqlite::Result<i64> {
    let pragma = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    Ok((pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?)
}

/// The oldest blocks of all tables by rising arrival, at most one round of them.
fn heads(connection: &Connection) -> rusqlite::Result<Vec<Head>> {
    let mut heads = Vec::new();
    for table in Table::ALL {
        let mut query = connection.prepare_cached(table.oldest())?;
        let rows = query.query_map([ROWS_PER_ROUND as u32], |row| {
            let (id, received, records, bytes) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            Ok(Head { table, id, received, records, bytes, node: row.get(4)?, t0: row.get(5)?, t1: row.get(6)? })
        })?;
        heads.extend(rows.collect::<Result<Vec<_>, _>>()?);
    }
    heads.sort_by_key(|head| (head.received, head.id));
    heads.truncate(ROWS_PER_ROUND);
    Ok(heads)
}

fn drop_blocks(connection: &mut Connection, heads: &[Head], now: UnixMillis) -> rusqlite::Result<Retained> {
    let transaction = connection.transaction()?;
    for table in Table::ALL {
        if let Some(queue) = Queue::of_table(table.name()) {
            let blocks = heads.iter().filter(|head| head.table == table);
            queue.give_up(&transaction, blocks.map(|head| head.id), now)?;
        }
    }
    let mut dropped = Retained::default();
    for table in Table::ALL {
        let mut delete = transaction.prepare_cached(&format!("DELETE FROM {} WHERE id = ?", table.name()))?;
        let (mut sum, mut records) = (Usage::default(), 0);
        for head in heads.iter().filter(|head| head.table == table) {
            delete.execute([head.id])?;
            sum.rows += 1;
            sum.bytes += head.bytes;
            records += head.records;
        }
        counts::shrink(&transaction, table.name(), sum.rows, sum.bytes)?;
        let records = u64::try_from(records).unwrap_or(0);
        dropped.blocks += u64::try_from(sum.rows).unwrap_or(0);
        dropped.bytes += u64::try_from(sum.bytes).unwrap_or(0);
        match table {
            Table::Metrics | Table::Chunks => dropped.samples += records,
            Table::Logs => dropped.log_lines += records,
        }
    }
    let mut losses: BTreeMap<(i64, StreamKind), (i64, TimeRange)> = BTreeMap::new();
    for head in heads {
        let range = TimeRange { from: UnixMillis(head.t0), to: UnixMillis(head.t1) };
        let (count, covered) = losses.entry((head.node, head.table.stream())).or_insert((0, range));
        *count += head.records;
        *covered = covered.cover(range);
    }
    for ((node, stream), (count, range)) in losses {
        book(&transaction, node, stream, count, range, now)?;
    }
    counts::shrink(&transaction, "dropped_samples", -counts::clamp(dropped.samples), 0)?;
    counts::shrink(&transaction, "dropped_log_lines", -counts::clamp(dropped.log_lines), 0)?;
    transaction.commit()?;
    Ok(dropped)
}

/// Where a loss entry says that data was dropped here and not at the node.
pub(super) const SOURCE: &str = "centre";

/// Adds to the one entry of a node's ledger that says what retention dropped here. It becomes the newest of its table,
/// so that it is not the first to be tidied away.
fn book(
    connection: &Connection,
    node: i64,
    stream: StreamKind,
    count: i64,
    range: TimeRange,
    now: UnixMillis,
) -> rusqlite::Result<()> {
    let reason = LossReason::Retention;
    let before = connection
        .prepare_cached(
            "DELETE FROM loss WHERE node = ? AND stream = ? AND reason = ? AND source = ? RETURNING count, t0, t1",
        )?
        .query_row(params![node, stream.as_str(), reason.as_str(), SOURCE], |row| {
            let range = TimeRange { from: UnixMillis(row.get(1)?), to: UnixMillis(row.get(2)?) };
            Ok((row.get::<_, Option<i64>>(0)?, range))
        })
        .optional()?;
    let (held, covered) = before.unwrap_or((Some(0), range));
    let count = u64::try_from(held.unwrap_or(0).saturating_add(count)).unwrap_or(0);
    let range = covered.cover(range);
    let entry = LossRow { stream, reason, count: Some(count), range, source: SOURCE.into(), received: now };
    events::add_loss(connection, node, &entry)
}

/// Brings the small tables into their bounds.
fn tidy(connection: &mut Connection, config: &Config, now: UnixMillis) -> rusqlite::Result<()> {
    let cutoff = before(now, config.events_max_age.0);
    let transaction = connection.transaction()?;
    for table in ["event", "loss", "gone", "quarantine"] {
        // Ids rise with arrival: the newest that is too old takes all before it along.
        transaction.execute(
            &format!("DELETE FROM {table} WHERE id <= (SELECT coalesce(max(id), 0) FROM {table} WHERE received < ?)"),
            [cutoff],
        )?;
    }
    for table in ["event", "loss"] {
        let mut full = transaction.prepare(&format!("SELECT node FROM {table} GROUP BY node HAVING count(*) > ?"))?;
        let nodes: Vec<i64> = full.query_map([config.events_per_node], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for node in nodes {
            transaction.execute(
                &format!(
                    "DELETE FROM {table} WHERE node = ?1 AND id <=
                       (SELECT id FROM {table} WHERE node = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)"
                ),
                params![node, config.events_per_node],
            )?;
        }
    }
    for table in ["gone", "quarantine"] {
        transaction.execute(
            &format!("DELETE FROM {table} WHERE id <= (SELECT id FROM {table} ORDER BY id DESC LIMIT 1 OFFSET ?)"),
            [SMALL_ROWS_MAX],
        )?;
    }
    transaction.execute(
        "INSERT OR REPLACE INTO usage(kind, rows, bytes)
         SELECT 'quarantine', count(*), coalesce(sum(length(data)), 0) FROM quarantine",
        [],
    )?;
    alerts::tidy(&transaction, cutoff, config.events_per_node)?;
    forget_labels(&transaction, now)?;
    forget_epochs(&transaction)?;
    transaction.commit()
}

/// Drops the dictionary of closed epochs without blocks, then label sets that no epoch uses. Should such an epoch come
/// back, its dictionary is asked for again.
fn forget_labels(connection: &Connection, now: UnixMillis) -> rusqlite::Result<()> {
    let mut query = connection.prepare(
        "SELECT s.id FROM stream s WHERE s.kind = 'metrics' AND NOT s.open AND length(s.series) > 0
           AND NOT EXISTS (SELECT 1 FROM metric_block b WHERE b.stream = s.id)",
    )?;
    let streams: Vec<i64> = query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for stream in streams {
        connection.execute("UPDATE stream SET series = x'' WHERE id = ?", [stream])?;
        let mut query = connection.prepare("DELETE FROM series WHERE stream = ? RETURNING labelset")?;
        let sets: Vec<i64> = query.query_map([stream], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let mut end = connection.prepare_cached(
            "UPDATE labelset SET until = ?2 WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM series WHERE labelset = ?1)",
        )?;
        for set in sets {
            end.execute([set, now.0])?;
        }
    }
    // A set that no epoch names may still be in chunks of what came in before that was so.
    let mut query = connection.prepare("SELECT DISTINCT node FROM labelset WHERE until IS NOT NULL")?;
    let nodes: Vec<i64> = query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for node in nodes {
        let oldest = step::oldest_arrival(connection, node)?.unwrap_or(i64::MAX);
        let mut query = connection
            .prepare("DELETE FROM labelset WHERE node = ? AND until IS NOT NULL AND until < ? RETURNING text")?;
        let texts: Vec<i64> = query.query_map([node, oldest], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for text in texts {
            forget_text(connection, text)?;
        }
    }
    Ok(())
}

/// Drops a label set from the whole fleet's table where no node has it any more.
fn forget_text(connection: &Connection, text: i64) -> rusqlite::Result<()> {
    let labels: Option<String> = connection
        .prepare_cached(
            "DELETE FROM label_text WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM labelset WHERE text = ?1)
             RETURNING labels",
        )?
        .query_row([text], |row| row.get(0))
        .optional()?;
    let Some(labels) = labels else { return Ok(()) };
    let mut pair = connection.prepare_cached("DELETE FROM label_pair WHERE name = ? AND value = ? AND text = ?")?;
    for (name, value) in labels_of(&labels)?.iter() {
        pair.execute(params![name, value, text])?;
    }
    Ok(())
}

/// Forgets the closed epochs of a stream that were used longest ago, beyond the number that is remembered.
fn forget_epochs(connection: &Connection) -> rusqlite::Result<()> {
    let mut query = connection
        .prepare("SELECT node, kind, count(*) FROM stream WHERE NOT open GROUP BY node, kind HAVING count(*) > ?")?;
    let full: Vec<(i64, String, i64)> = query
        .query_map([EPOCHS_CLOSED_MAX], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    for (node, kind, count) in full {
        let mut query = connection.prepare(
            "SELECT id FROM stream s WHERE node = ? AND kind = ? AND NOT open
               AND NOT EXISTS (SELECT 1 FROM metric_block b WHERE b.stream = s.id)
               AND NOT EXISTS (SELECT 1 FROM log_block b WHERE b.stream = s.id)
             ORDER BY used LIMIT ?",
        )?;
        let ids: Vec<i64> = query
            .query_map(params![node, kind, count - EPOCHS_CLOSED_MAX], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for id in ids {
            for table in ["gone", "quarantine"] {
                connection.execute(&format!("DELETE FROM {table} WHERE stream = ?"), [id])?;
            }
            connection.execute("DELETE FROM series WHERE stream = ?", [id])?;
            connection.execute("DELETE FROM stream WHERE id = ?", [id])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(received: i64, bytes: i64) -> Head {
        Head { table: Table::Logs, id: received, received, records: 1, bytes, node: 1, t0: 0, t1: 0 }
    }

    #[test]
    fn the_oldest_go_until_age_and_size_fit() {
        let heads = [head(1, 10), head(2, 10), head(3, 10)];
        assert_eq!(plan(&heads, 0, 0), 0);
        assert_eq!(plan(&heads, 3, 0), 2);
        assert_eq!(plan(&heads, 0, 1), 1);
        assert_eq!(plan(&heads, 0, 11), 2);
        assert_eq!(plan(&heads, 2, 25), 3);
        assert_eq!(plan(&[], 9, 9), 0);
    }
}
