//! Events, the loss ledger and the quarantine.

use super::counts;
use super::error::ReadError;
use super::ledger::damaged;
use rusqlite::{Connection, Row, params};
use skerry_model::{Epoch, LossEntry, LossReason, NodeId, Seq, StreamKind, TimeRange, UnixMillis};
use skerry_wire::{Event, EventKind, MESSAGE_BYTES_MAX, codec};

/// An event of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// Rises in the order of arrival.
    pub id: i64,
    /// Whose.
    pub node: NodeId,
    /// When it came in.
    pub received: UnixMillis,
    /// The event.
    pub event: Event,
}

/// An entry of the loss ledger: told by the node, or made here for a batch in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LossRow {
    /// Which stream the records belonged to.
    pub stream: StreamKind,
    /// Why they are missing.
    pub reason: LossReason,
    /// How many; `None` where nobody can know.
    pub count: Option<u64>,
    /// When they were taken, as far as known; for a quarantined batch when it came in.
    pub range: TimeRange,
    /// What they came from; `quarantine:CODE` where the fleet could not read them.
    pub source: String,
    /// When the entry came in.
    pub received: UnixMillis,
}

impl LossRow {
    pub(super) fn of_entry(entry: &LossEntry, received: UnixMillis) -> Self {
        let LossEntry { stream, reason, count, range, source } = entry.clone();
        Self { stream, reason, count, range, source, received }
    }
}

/// A batch that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineRow {
    /// Whose.
    pub node: NodeId,
    /// Which stream.
    pub stream: StreamKind,
    /// Which epoch of it.
    pub epoch: Epoch,
    /// First number it closed.
    pub from: Seq,
    /// Last number it closed.
    pub to: Seq,
    /// Short stable word for what is wrong.
    pub code: String,
    /// What is wrong, for people.
    pub reason: String,
    /// When it came in.
    pub received: UnixMillis,
    /// The batch; `None` where the quarantine was full, or where an earlier row holds it.
    pub bytes: Option<Vec<u8>>,
}

/// Stable word for a kind of event, as it stands in tables and in the API.
#[must_use]
pub fn event_kind(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::Started { .. } => "started",
        EventKind::Stopped => "stopped",
        EventKind::ConfigApplied(_) => "config_applied",
        EventKind::ConfigRefused { .. } => "config_refused",
        EventKind::ConfigRolledBack { .. } => "config_rolled_back",
        EventKind::AssignmentApplied { .. } => "assignment_applied",
        EventKind::Loss(_) => "loss",
        EventKind::CollectorFailed { .. } => "collector_failed",
        EventKind::CollectorRecovered { .. } => "collector_recovered",
        EventKind::ClockStep { .. } => "clock_step",
        EventKind::Alert(_) => "alert",
        EventKind::Scaling(_) => "scaling",
        EventKind::Workload(_) => "workload",
    }
}

pub(super) fn add(connection: &Connection, node: i64, event: &Event, received: UnixMillis) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO event(node, at, kind, received, data) VALUES(?, ?, ?, ?, ?)")?
        .execute(params![node, event.at.0, event_kind(&event.kind), received.0, codec::encode(event)])
        .map(drop)
}

pub(super) fn add_loss(connection: &Connection, node: i64, loss: &LossRow) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO loss(node, stream, reason, count, t0, t1, source, received) VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            node,
            loss.stream.as_str(),
            loss.reason.as_str(),
            loss.count.map(counts::clamp),
            loss.range.from.0,
            loss.range.to.0,
            loss.source,
            loss.received.0,
        ])
        .map(drop)
}

/// Losses of one cause that follow each other within this time are one entry.
const LOSS_MERGE_MS: i64 = 60_000;
/// How many of a node's newest entries are looked at for one of the same cause.
const LOSS_MERGE_ROWS: i64 = 16;

/// Books a loss of the fleet's own making, which may come with every request: a young entry of the
/// same cause grows instead.
pub(super) fn merge_loss(connection: &Connection, node: i64, loss: &LossRow) -> rusqlite::Result<()> {
    if let Some(count) = loss.count {
        let merged = connection
            .prepare_cached(
                "UPDATE loss SET count = count + ?1, t0 = min(t0, ?2), t1 = max(t1, ?3) WHERE id =
                   (SELECT max(id) FROM (SELECT * FROM loss WHERE node = ?4 ORDER BY id DESC LIMIT ?9)
                    WHERE stream = ?5 AND reason = ?6 AND source = ?7 AND count IS NOT NULL AND received > ?8)",
            )?
            .execute(params![
                counts::clamp(count),
                loss.range.from.0,
                loss.range.to.0,
                node,
                loss.stream.as_str(),
                loss.reason.as_str(),
                loss.source,
                loss.received.0.saturating_sub(LOSS_MERGE_MS),
                LOSS_MERGE_ROWS,
            ])?;
        if merged > 0 {
            return Ok(());
        }
    }
    add_loss(connection, node, loss)?;
    counts::add(connection, node, &counts::Delta { losses: 1, ..counts::Delta::default() })
}

/// The newest `limit` events of a node, or of all, newest first.
pub(super) fn newest(connection: &Connection, node: Option<&NodeId>, limit: u32) -> Result<Vec<EventRow>, ReadError> {
    let mut query = connection.prepare_cached(match node {
        Some(_) => {
            "SELECT e.id, n.name, e.received, e.data FROM event e JOIN node n ON n.id = e.node
             WHERE n.name = ?1 ORDER BY e.id DESC LIMIT ?2"
        }
        None => {
            "SELECT e.id, n.name, e.received, e.data FROM event e JOIN node n ON n.id = e.node
             WHERE ?1 IS NULL ORDER BY e.id DESC LIMIT ?2"
        }
    })?;
    let rows = query.query_map(params![node.map(NodeId::as_str), limit], event_row)?;
    rows.collect::<Result<_, _>>().map_err(Into::into)
}

/// An event of a row of its number, its node, when it came in, and its bytes.
pub(super) fn event_row(row: &Row<'_>) -> rusqlite::Result<EventRow> {
    let event = codec::decode(&row.get::<_, Vec<u8>>(3)?, MESSAGE_BYTES_MAX);
    Ok(EventRow {
        id: row.get(0)?,
        node: name(&row.get::<_, String>(1)?)?,
        received: UnixMillis(row.get(2)?),
        event: event.map_err(|_| damaged("event.data is no event"))?,
    })
}

/// The newest `limit` entries of a node's loss ledger, newest first.
pub(super) fn losses(connection: &Connection, node: &NodeId, limit: u32) -> Result<Vec<LossRow>, ReadError> {
    let mut query = connection.prepare_cached(
        "SELECT l.stream, l.reason, l.count, l.t0, l.t1, l.source, l.received FROM loss l
         WHERE l.node = (SELECT id FROM node WHERE name = ?) ORDER BY l.id DESC LIMIT ?",
    )?;
    let rows = query.query_map(params![node.as_str(), limit], |row| {
        let reason = LossReason::from_name(&row.get::<_, String>(1)?);
        Ok(LossRow {
            stream: kind(&row.get::<_, String>(0)?)?,
            reason: reason.ok_or_else(|| damaged("loss.reason is no reason"))?,
            count: row.get::<_, Option<i64>>(2)?.and_then(|count| u64::try_from(count).ok()),
            range: TimeRange { from: UnixMillis(row.get(3)?), to: UnixMillis(row.get(4)?) },
            source: row.get(5)?,
            received: UnixMillis(row.get(6)?),
        })
    })?;
    rows.collect::<Result<_, _>>().map_err(Into::into)
}

/// The newest `limit` quarantined batches, newest first.
pub(super) fn quarantine(connection: &Connection, limit: u32) -> Result<Vec<QuarantineRow>, ReadError> {
    let mut query = connection.prepare_cached(
        "SELECT n.name, s.kind, s.epoch, q.seq_from, q.seq_to, q.code, q.reason, q.received, q.data
         FROM quarantine q JOIN stream s ON s.id = q.stream JOIN node n ON n.id = s.node
         ORDER BY q.id DESC LIMIT ?",
    )?;
    let rows = query.query_map([limit], |row| {
        let number = |at| row.get::<_, i64>(at).map(|n| u64::try_from(n).unwrap_or(0));
        Ok(QuarantineRow {
            node: name(&row.get::<_, String>(0)?)?,
            stream: kind(&row.get::<_, String>(1)?)?,
            epoch: Epoch(number(2)?),
            from: Seq(number(3)?),
            to: Seq(number(4)?),
            code: row.get(5)?,
            reason: row.get(6)?,
            received: UnixMillis(row.get(7)?),
            bytes: row.get(8)?,
        })
    })?;
    rows.collect::<Result<_, _>>().map_err(Into::into)
}

pub(super) fn name(text: &str) -> rusqlite::Result<NodeId> {
    text.parse().map_err(|_| damaged("node.name is no node name"))
}

pub(super) fn kind(text: &str) -> rusqlite::Result<StreamKind> {
    StreamKind::from_name(text).ok_or_else(|| damaged("stream kind is unknown"))
}
