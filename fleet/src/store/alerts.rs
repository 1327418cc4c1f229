//! Alerts that began and ended: those that nodes told, and those of the fleet's own rules. And what the routing of
//! alerts wants to find again after a restart.
//!
//! A node's alert is written in the very transaction that takes in the event which tells of it, so it is here exactly
//! once and cannot be lost between the event and whoever acts on it. Every change of a row gives it a new number, which
//! rises; whoever acts remembers the last number it saw, in the same file and the same transaction as what it did.
//!
//! Invariants:
//! - An episode is a row: whose, which labels, since when. It is open until its end is told.
//! - One label set of one owner has at most one open episode.
//! - What one node may have open is bounded, and so are the rows that are kept.

use super::error::ReadError;
use super::events::{LossRow, merge_loss, name};
use super::ledger::{damaged, labels_of};
use rusqlite::{Connection, OptionalExtension, Row, params};
use skerry_model::{Labels, LossReason, NodeId, StreamKind, TimeRange, UnixMillis};
use skerry_wire::{AlertEvent, TOLD_MAX};

/// - `alert`: `node` is null for a rule of the fleet. `told_labels` are those that its owner gave it, `labels` those that
///   it is routed by; null until somebody has seen it. `changed` rises with every change of any row.
/// - `alert_state`: what routing keeps over a restart, by its own keys.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS alert(
  id INTEGER PRIMARY KEY AUTOINCREMENT, node INTEGER, told_labels TEXT NOT NULL, labels TEXT, annotations TEXT NOT NULL,
  value TEXT NOT NULL, starts INTEGER NOT NULL, ends INTEGER, told TEXT NOT NULL, told_by_node TEXT NOT NULL,
  offline INTEGER NOT NULL, received INTEGER NOT NULL, changed INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS alert_episode ON alert(told_labels, node, starts);
CREATE INDEX IF NOT EXISTS alert_labels ON alert(labels, id);
CREATE INDEX IF NOT EXISTS alert_changed ON alert(changed);
CREATE INDEX IF NOT EXISTS alert_open ON alert(node) WHERE ends IS NULL;
CREATE INDEX IF NOT EXISTS alert_node ON alert(node, id);
CREATE TABLE IF NOT EXISTS alert_state(k TEXT PRIMARY KEY, v BLOB NOT NULL) STRICT, WITHOUT ROWID;
";

/// Alerts that one node may have open. Further ones stay events and are counted in its loss ledger.
const OPEN_PER_NODE_MAX: i64 = 1_000;
/// Episodes that are kept over all; the oldest that have ended go first.
const ROWS_MAX: i64 = 500_000;
/// Most receivers that a row names.
const TOLD_ROW_MAX: usize = 64;

/// An episode of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRow {
    /// Its number.
    pub id: i64,
    /// The node that told it; `None` for a rule of the fleet.
    pub node: Option<NodeId>,
    /// Labels that its owner gave it.
    pub told_labels: Labels,
    /// Labels that it is routed by; `None` until it was routed.
    pub labels: Option<Labels>,
    /// What people are told.
    pub annotations: Labels,
    /// Its value when it began, as Prometheus writes numbers.
    pub value: String,
    /// Since when it fires, by its owner's clock.
    pub starts: UnixMillis,
    /// When it ended; `None` while it fires.
    pub ends: Option<UnixMillis>,
    /// Receivers that the fleet told of it.
    pub told: Vec<String>,
    /// Receivers that the node told of it by itself.
    pub told_by_node: Vec<String>,
    /// It began and ended while nobody here could know.
    pub offline: bool,
    /// When it came in.
    pub received: UnixMillis,
    /// Number of its last change.
    pub changed: i64,
}

/// Which episodes to read.
#[derive(Debug, Clone, Default)]
pub struct AlertQuery {
    /// Of this node alone.
    pub node: Option<NodeId>,
    /// Only what was still open then, or began later.
    pub from: Option<UnixMillis>,
    /// Only those that have not ended.
    pub is_open: bool,
    /// Most rows; the newest ones.
    pub limit: u32,
}

/// A change that the writer makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertChange {
    /// Something to be found after a restart; without a value it is forgotten.
    Save {
        /// Its key.
        key: String,
        /// Its value.
        value: Option<Vec<u8>>,
    },
    /// A row is routed by these labels.
    Shown {
        /// Its number.
        id: i64,
        /// The labels.
        labels: Labels,
    },
    /// An alert of the fleet's own rules fires.
    Begun {
        /// Its labels.
        labels: Labels,
        /// What people are told.
        annotations: Labels,
        /// Its value.
        value: String,
        /// Since when.
        starts: UnixMillis,
    },
    /// An alert of the fleet's own rules fires no more.
    Ended {
        /// Its labels.
        labels: Labels,
        /// Since when.
        ends: UnixMillis,
    },
    /// A row's end, for a reason that its owner did not tell: the node is no longer of the fleet.
    Closed {
        /// Its number.
        id: i64,
        /// When.
        ends: UnixMillis,
    },
    /// A receiver was told of the newest episode of a label set.
    Told {
        /// The labels that it is routed by.
        labels: Labels,
        /// The receiver.
        receiver: String,
    },
}

/// Takes in what a node tells of an alert, within the transaction of its event.
pub(super) fn take(
    connection: &Connection,
    node: i64,
    event: &AlertEvent,
    received: UnixMillis,
) -> rusqlite::Result<()> {
    let key = text(&event.labels);
    let told_by_node = names(event.told.iter().take(TOLD_MAX));
    let same: Option<i64> = connection
        .prepare_cached("SELECT id FROM alert WHERE told_labels = ? AND node = ? AND starts = ?")?
        .query_row(params![key, node, event.starts_at.0], |row| row.get(0))
        .optional()?;
    if let Some(id) = same {
        return connection
            .prepare_cached(
                "UPDATE alert SET annotations = ?2, value = ?3, ends = coalesce(?4, ends), told_by_node = ?5,
                   changed = (SELECT max(changed) + 1 FROM alert) WHERE id = ?1",
            )?
            .execute(params![id, text(&event.annotations), event.value, event.ends_at.map(|at| at.0), told_by_node])
            .map(drop);
    }
    // The end of an earlier episode never came; it cannot go on beside this one.
    connection
        .prepare_cached(
            "UPDATE alert SET ends = max(starts, ?3), changed = (SELECT max(changed) + 1 FROM alert)
             WHERE told_labels = ?1 AND node = ?2 AND ends IS NULL",
        )?
        .execute(params![key, node, event.starts_at.0])?;
    if event.ends_at.is_none() && open_of(connection, node)? >= OPEN_PER_NODE_MAX {
        let loss = LossRow {
            stream: StreamKind::Events,
            reason: LossReason::Limit,
            count: Some(1),
            range: TimeRange::at(event.starts_at),
            source: "alerts".into(),
            received,
        };
        return merge_loss(connection, node, &loss);
    }
    let row = Fresh {
        node: Some(node),
        key: &key,
        labels: None,
        annotations: &event.annotations,
        value: &event.value,
        starts: event.starts_at,
        ends: event.ends_at,
        told_by_node: &told_by_node,
        offline: event.is_history,
        received,
    };
    row.insert(connection)
}

fn open_of(connection: &Connection, node: i64) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT count(*) FROM alert WHERE node = ? AND ends IS NULL")?
        .query_row([node], |row| row.get(0))
}

/// A row to be.
struct Fresh<'a> {
    node: Option<i64>,
    key: &'a str,
    labels: Option<&'a str>,
    annotations: &'a Labels,
    value: &'a str,
    starts: UnixMillis,
    ends: Option<UnixMillis>,
    told_by_node: &'a str,
    offline: bool,
    received: UnixMillis,
}

impl Fresh<'_> {
    fn insert(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached(
                "INSERT INTO alert(node, told_labels, labels, annotations, value, starts, ends, told, told_by_node,
                   offline, received, changed)
                 VALUES(?, ?, ?, ?, ?, ?, ?, '[]', ?, ?, ?, (SELECT coalesce(max(changed), 0) + 1 FROM alert))",
            )?
            .execute(params![
                self.node,
                self.key,
                self.labels,
                text(self.annotations),
                self.value,
                self.starts.0,
                self.ends.map(|at| at.0),
                self.told_by_node,
                self.offline,
                self.received.0,
            ])
            .map(drop)
    }
}

/// Makes the changes, all in the writer's open transaction.
pub(super) fn apply(connection: &Connection, changes: &[AlertChange], now: UnixMillis) -> rusqlite::Result<()> {
    changes.iter().try_for_each(|change| apply_one(connection, change, now))
}

fn apply_one(connection: &Connection, change: &AlertChange, now: UnixMillis) -> rusqlite::Result<()> {
    match change {
        AlertChange::Save { key, value: Some(value) } => connection
            .prepare_cached("INSERT INTO alert_state(k, v) VALUES(?1, ?2) ON CONFLICT(k) DO UPDATE SET v = ?2")?
            .execute(params![key, value])
            .map(drop),
        AlertChange::Save { key, value: None } => {
            connection.prepare_cached("DELETE FROM alert_state WHERE k = ?")?.execute([key]).map(drop)
        }
        AlertChange::Shown { id, labels } => connection
            .prepare_cached("UPDATE alert SET labels = ? WHERE id = ?")?
            .execute(params![text(labels), id])
            .map(drop),
        AlertChange::Begun { labels, annotations, value, starts } => {
            let key = text(labels);
            let is_open: bool = connection
                .prepare_cached(
                    "SELECT EXISTS(SELECT 1 FROM alert WHERE told_labels = ? AND node IS NULL AND ends IS NULL)",
                )?
                .query_row([&key], |row| row.get(0))?;
            if is_open {
                return Ok(());
            }
            let row = Fresh {
                node: None,
                key: &key,
                labels: Some(&key),
                annotations,
                value,
                starts: *starts,
                ends: None,
                told_by_node: "[]",
                offline: false,
                received: now,
            };
            row.insert(connection)
        }
        AlertChange::Ended { labels, ends } => connection
            .prepare_cached(
                "UPDATE alert SET ends = max(starts, ?2), changed = (SELECT max(changed) + 1 FROM alert)
                 WHERE told_labels = ?1 AND node IS NULL AND ends IS NULL",
            )?
            .execute(params![text(labels), ends.0])
            .map(drop),
        AlertChange::Closed { id, ends } => connection
            .prepare_cached(
                "UPDATE alert SET ends = max(starts, ?2), changed = (SELECT max(changed) + 1 FROM alert)
                 WHERE id = ?1 AND ends IS NULL",
            )?
            .execute(params![id, ends.0])
            .map(drop),
        AlertChange::Told { labels, receiver } => note_told(connection, labels, receiver),
    }
}

fn note_told(connection: &Connection, labels: &Labels, receiver: &str) -> rusqlite::Result<()> {
    // Node and fleet may both have an episode of the label set; the newest of each is meant.
    let mut query = connection
        .prepare_cached("SELECT max(id), told FROM alert WHERE labels = ? AND offline = 0 GROUP BY node IS NULL")?;
    let found = query
        .query_map([text(labels)], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?
        .collect::<Result<Vec<_>, _>>()?;
    for (id, told) in found {
        let mut told = names_of(&told)?;
        if told.len() < TOLD_ROW_MAX && !told.iter().any(|name| name == receiver) {
            told.push(receiver.to_owned());
            connection
                .prepare_cached("UPDATE alert SET told = ? WHERE id = ?")?
                .execute(params![names(told.iter()), id])?;
        }
    }
    Ok(())
}

const COLUMNS: &str = "a.id, n.name, a.told_labels, a.labels, a.annotations, a.value, a.starts, a.ends, a.told, \
                       a.told_by_node, a.offline, a.received, a.changed FROM alert a LEFT JOIN node n ON n.id = a.node";

fn row_of(row: &Row<'_>) -> rusqlite::Result<AlertRow> {
    let labels = |at: usize| row.get::<_, String>(at).and_then(|text| labels_of(&text));
    Ok(AlertRow {
        id: row.get(0)?,
        node: row.get::<_, Option<String>>(1)?.map(|text| name(&text)).transpose()?,
        told_labels: labels(2)?,
        labels: row.get::<_, Option<String>>(3)?.map(|text| labels_of(&text)).transpose()?,
        annotations: labels(4)?,
        value: row.get(5)?,
        starts: UnixMillis(row.get(6)?),
        ends: row.get::<_, Option<i64>>(7)?.map(UnixMillis),
        told: names_of(&row.get::<_, String>(8)?)?,
        told_by_node: names_of(&row.get::<_, String>(9)?)?,
        offline: row.get(10)?,
        received: UnixMillis(row.get(11)?),
        changed: row.get(12)?,
    })
}

/// Rows that changed after number `after`, in the order of their changes, at most `limit`.
pub(super) fn changed(connection: &Connection, after: i64, limit: u32) -> Result<Vec<AlertRow>, ReadError> {
    let sql = format!("SELECT {COLUMNS} WHERE a.changed > ? ORDER BY a.changed LIMIT ?");
    let mut query = connection.prepare_cached(&sql)?;
    let rows = query.query_map(params![after, limit], row_of)?;
    rows.collect::<Result<_, _>>().map_err(Into::into)
}

/// Episodes that meet a query, newest first.
pub(super) fn rows(connection: &Connection, wanted: &AlertQuery) -> Result<Vec<AlertRow>, ReadError> {
    let mut sql = format!("SELECT {COLUMNS} WHERE ");
    sql.push_str(if wanted.is_open { "a.ends IS NULL" } else { "coalesce(a.ends, 9223372036854775807) >= ?1" });
    sql.push_str(if wanted.node.is_some() {
        " AND a.node = (SELECT id FROM node WHERE name = ?2)"
    } else {
        " AND ?2 IS NULL"
    });
    sql.push_str(" AND ?1 IS NOT NULL ORDER BY a.id DESC LIMIT ?3");
    let mut query = connection.prepare_cached(&sql)?;
    let from = wanted.from.map_or(i64::MIN, |at| at.0);
    let rows = query.query_map(params![from, wanted.node.as_ref().map(NodeId::as_str), wanted.limit], row_of)?;
    rows.collect::<Result<_, _>>().map_err(Into::into)
}

/// What was saved, by key.
pub(super) fn saved(connection: &Connection) -> Result<Vec<(String, Vec<u8>)>, ReadError> {
    let mut query = connection.prepare_cached("SELECT k, v FROM alert_state ORDER BY k")?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect::<Result<_, _>>().map_err(Into::into)
}

/// Drops episodes that ended too long ago, or are too many; the newest change stays, since numbers go on from it.
pub(super) fn tidy(connection: &Connection, cutoff: i64, per_node: u32) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM alert WHERE ends < ? AND received < ?1 AND changed < (SELECT max(changed) FROM alert)",
        [cutoff],
    )?;
    let mut full = connection.prepare("SELECT node FROM alert GROUP BY node HAVING count(*) > ?")?;
    let nodes: Vec<Option<i64>> = full.query_map([per_node], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for node in nodes {
        // The fleet's own rules watch every node, so their share is larger.
        let keep = if node.is_some() { i64::from(per_node) } else { ROWS_MAX };
        drop_oldest(connection, "node IS ?1", params![node, keep])?;
    }
    drop_oldest(connection, "?1 IS NULL", params![None::<i64>, ROWS_MAX])
}

fn drop_oldest(connection: &Connection, of: &str, params: &[&dyn rusqlite::ToSql]) -> rusqlite::Result<()> {
    let sql = format!(
        "DELETE FROM alert WHERE {of} AND ends IS NOT NULL AND changed < (SELECT max(changed) FROM alert) AND id <=
           (SELECT id FROM alert WHERE {of} ORDER BY id DESC LIMIT 1 OFFSET ?2)"
    );
    connection.execute(&sql, params).map(drop)
}

fn text(labels: &Labels) -> String {
    serde_json::to_string(labels).expect("labels are strings, which JSON can express")
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> String {
    serde_json::to_string(&names.collect::<Vec<_>>()).expect("names are strings, which JSON can express")
}

fn names_of(text: &str) -> rusqlite::Result<Vec<String>> {
    serde_json::from_str(text).map_err(|_| damaged("alert.told is no list of names"))
}
