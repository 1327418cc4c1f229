//! The [`Ledger`] that SQLite makes durable: writes within the transaction that the writer has open.

use super::alerts;
use super::counts::{self, Delta};
use super::events::{self, LossRow};
use super::outgoing;
use super::queue;
use super::ranges;
use crate::intake::core::{Content, Ledger, LogRows, MetricRows, StreamKey, StreamState, Taken};
use rusqlite::{Connection, OptionalExtension, params};
use skerry_model::{Labels, LossReason, NodeId, Seq, SeriesId, StreamKind, TimeRange, UnixMillis};
use skerry_wire::{EventKind, Gone};

/// Bytes of quarantined batches that are kept; of further ones only the fact.
pub(super) const QUARANTINE_BYTES_MAX: i64 = 64 << 20;

/// Writes into the open transaction of `connection`.
pub(super) struct SqlLedger<'a> {
    connection: &'a Connection,
}

/// Number of a stream's row.
#[derive(Clone, Copy)]
struct StreamRow(i64);

impl<'a> SqlLedger<'a> {
    pub(super) fn new(connection: &'a Connection) -> Self {
        Self { connection }
    }

    /// Closes the epochs of a node that its hello does not name: the node holds nothing of them that it would send.
    pub(super) fn close_others(&self, node: i64, named: &[(StreamKind, i64)]) -> rusqlite::Result<()> {
        let mut query = self.connection.prepare_cached("SELECT id, kind, epoch FROM stream WHERE node = ? AND open")?;
        let rows = query.query_map([node], |row| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?)))?;
        let mut close = self.connection.prepare_cached("UPDATE stream SET open = 0 WHERE id = ?")?;
        for row in rows {
            let (id, kind, epoch): (i64, String, i64) = row?;
            if !named.iter().any(|(stream, named)| stream.as_str() == kind && *named == epoch) {
                close.execute([id])?;
            }
        }
        Ok(())
    }

    fn upsert(&self, taken: &Taken, node: i64, range: Option<TimeRange>) -> rusqlite::Result<StreamRow> {
        self.connection
            .prepare_cached(
                "INSERT INTO stream(node, kind, epoch, have, series, open, used, t0, t1)
                 VALUES(?1, ?2, ?3, ?4, ?5, 1, ?6, ?7, ?8)
                 ON CONFLICT(node, kind, epoch) DO UPDATE SET have = ?4, series = ?5, used = ?6,
                   t0 = min(coalesce(t0, ?7), coalesce(?7, t0)), t1 = max(coalesce(t1, ?8), coalesce(?8, t1))
                 RETURNING id",
            )?
            .query_row(
                params![
                    node,
                    taken.key.stream.as_str(),
                    epoch(&taken.key),
                    ranges::encode(&taken.state.have),
                    ranges::encode(&taken.state.series),
                    taken.received.0,
                    range.map(|range| range.from.0),
                    range.map(|range| range.to.0),
                ],
                |row| row.get(0).map(StreamRow),
            )
    }

    fn add_series(&self, node: i64, stream: StreamRow, dict: &[(SeriesId, Labels)]) -> rusqlite::Result<()> {
        let mut find = self.connection.prepare_cached("SELECT id, until FROM labelset WHERE node = ? AND text = ?")?;
        let mut add = self.connection.prepare_cached("INSERT INTO labelset(node, text) VALUES(?, ?) RETURNING id")?;
        let mut revive = self.connection.prepare_cached("UPDATE labelset SET until = NULL WHERE id = ?")?;
        let mut name =
            self.connection.prepare_cached("INSERT OR REPLACE INTO series(stream, sid, labelset) VALUES(?, ?, ?)")?;
        for (sid, labels) in dict {
            let text = self.label_text(labels)?;
            let found = find
                .query_row(params![node, text], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?)))
                .optional()?;
            let labelset = match found {
                Some((id, until)) => {
                    if until.is_some() {
                        revive.execute([id])?;
                    }
                    id
                }
                None => add.query_row(params![node, text], |row| row.get(0))?,
            };
            name.execute(params![stream.0, sid.0, labelset])?;
        }
        Ok(())
    }

    /// Number of a label set in the whole fleet's table, given out at first sight.
    fn label_text(&self, labels: &Labels) -> rusqlite::Result<i64> {
        let text = labels_text(labels);
        let found = self
            .connection
            .prepare_cached("SELECT id FROM label_text WHERE labels = ?")?
            .query_row([&text], |row| row.get(0))
            .optional()?;
        if let Some(id) = found {
            return Ok(id);
        }
        let id: i64 = self
            .connection
            .prepare_cached("INSERT INTO label_text(labels) VALUES(?) RETURNING id")?
            .query_row([&text], |row| row.get(0))?;
        let mut pair = self.connection.prepare_cached("INSERT INTO label_pair(name, value, text) VALUES(?, ?, ?)")?;
        for (name, value) in labels.iter() {
            pair.execute(params![name, value, id])?;
        }
        Ok(id)
    }

    fn add_rows(&self, stream: StreamRow, rows: &MetricRows, received: UnixMillis) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "INSERT INTO metric_block(stream, seq_from, seq_to, t0, t1, samples, received, data)
                 VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                stream.0,
                seq(rows.from),
                seq(rows.to),
                rows.range.from.0,
                rows.range.to.0,
                counts::clamp(rows.samples),
                received.0,
                rows.data,
            ])?;
        counts::grow(self.connection, "metric_block", rows.data.len())
    }

    fn add_logs(&self, stream: StreamRow, rows: &LogRows, received: UnixMillis) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "INSERT INTO log_block(stream, seq, t0, t1, records, received, data) VALUES(?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                stream.0,
                seq(rows.seq),
                rows.range.from.0,
                rows.range.to.0,
                counts::clamp(rows.records),
                received.0,
                rows.data,
            ])?;
        counts::grow(self.connection, "log_block", rows.data.len())
    }

    fn add_gone(
        &self,
        stream: StreamRow,
        ranges: &[(Seq, Seq)],
        gone: &Gone,
        received: UnixMillis,
    ) -> rusqlite::Result<()> {
        let mut add = self.connection.prepare_cached(
            "INSERT INTO gone(stream, seq_from, seq_to, reason, t0, t1, received) VALUES(?, ?, ?, ?, ?, ?, ?)",
        )?;
        for (from, to) in ranges {
            let (t0, t1) = (gone.range.from.0, gone.range.to.0);
            add.execute(params![stream.0, seq(*from), seq(*to), gone.reason.as_str(), t0, t1, received.0])?;
        }
        Ok(())
    }

    fn add_quarantine(
        &self,
        stream: StreamRow,
        ranges: &[(Seq, Seq)],
        (code, reason): (&str, &str),
        bytes: &[u8],
        received: UnixMillis,
    ) -> rusqlite::Result<()> {
        let held = counts::usage(self.connection, "quarantine")?.bytes;
        let kept = (held + counts::clamp(bytes.len() as u64) <= QUARANTINE_BYTES_MAX).then_some(bytes);
        let mut add = self.connection.prepare_cached(
            "INSERT INTO quarantine(stream, seq_from, seq_to, code, reason, received, data)
             VALUES(?, ?, ?, ?, ?, ?, ?)",
        )?;
        for (nth, (from, to)) in ranges.iter().enumerate() {
            let kept = kept.filter(|_| nth == 0);
            add.execute(params![stream.0, seq(*from), seq(*to), code, reason, received.0, kept])?;
            counts::grow(self.connection, "quarantine", kept.map_or(0, <[u8]>::len))?;
        }
        Ok(())
    }
}

impl Ledger for SqlLedger<'_> {
    type Error = rusqlite::Error;

    fn load(&mut self, key: &StreamKey) -> rusqlite::Result<Option<StreamState>> {
        let row = self
            .connection
            .prepare_cached(
                "SELECT have, series FROM stream
                 WHERE node = (SELECT id FROM node WHERE name = ?) AND kind = ? AND epoch = ?",
            )?
            .query_row(params![key.node.as_str(), key.stream.as_str(), epoch(key)], |row| {
                Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?))
            })
            .optional()?;
        let Some((have, series)) = row else { return Ok(None) };
        match (ranges::decode(&have), ranges::decode(&series)) {
            (Some(have), Some(series)) => Ok(Some(StreamState { have, series })),
            _ => Err(damaged("stream.have is no set of ranges")),
        }
    }

    fn epochs_open(&mut self, node: &NodeId, stream: StreamKind) -> rusqlite::Result<usize> {
        self.connection
            .prepare_cached(
                "SELECT count(*) FROM stream WHERE node = (SELECT id FROM node WHERE name = ?) AND kind = ? AND open",
            )?
            .query_row(params![node.as_str(), stream.as_str()], |row| row.get::<_, i64>(0))
            .map(|open| usize::try_from(open).unwrap_or(0))
    }

    fn series(&mut self, key: &StreamKey, id: SeriesId) -> rusqlite::Result<Option<Labels>> {
        let text: Option<String> = self
            .connection
            .prepare_cached(
                "SELECT t.labels FROM stream s JOIN series r ON r.stream = s.id JOIN labelset l ON l.id = r.labelset
                   JOIN label_text t ON t.id = l.text
                 WHERE s.node = (SELECT id FROM node WHERE name = ?) AND s.kind = ? AND s.epoch = ? AND r.sid = ?",
            )?
            .query_row(params![key.node.as_str(), key.stream.as_str(), epoch(key), id.0], |row| row.get(0))
            .optional()?;
        text.map(|text| labels_of(&text)).transpose()
    }

    fn take(&mut self, taken: Taken) -> rusqlite::Result<()> {
        let node = node_id(self.connection, &taken.key.node)?;
        let range = match &taken.content {
            Content::Metrics { blocks, .. } => blocks.iter().map(|rows| rows.range).reduce(TimeRange::cover),
            Content::Logs(rows) => Some(rows.range),
            _ => None,
        };
        let mut before = outgoing::newest_before(self.connection, node)?;
        let stream = self.upsert(&taken, node, range)?;
        let received = taken.received;
        let mut delta = Delta { batches: 1, ..Delta::default() };
        match &taken.content {
            Content::Metrics { dict, blocks } => {
                self.add_series(node, stream, dict)?;
                for rows in blocks {
                    self.add_rows(stream, rows, received)?;
                    if let Some(before) = &mut before {
                        outgoing::enqueue(self.connection, node, rows.range, before)?;
                    }
                    delta.samples += rows.samples;
                }
            }
            Content::Logs(rows) => {
                self.add_logs(stream, rows, received)?;
                if queue::LOGS.is_waited(self.connection)? {
                    queue::enqueue_logs(self.connection, node)?;
                }
                delta.log_lines = rows.records;
                delta.log_bytes = rows.raw_bytes;
            }
            Content::Events { events, .. } => {
                for event in events {
                    events::add(self.connection, node, event, received)?;
                    match &event.kind {
                        EventKind::Loss(entry) => {
                            events::add_loss(self.connection, node, &LossRow::of_entry(entry, received))?;
                            delta.losses += 1;
                        }
                        EventKind::Alert(alert) => alerts::take(self.connection, node, alert, received)?,
                        _ => {}
                    }
                }
                delta.events = events.len() as u64;
            }
            Content::Gone { ranges, gone } => {
                self.add_gone(stream, ranges, gone, received)?;
                delta.gone = numbers(ranges);
            }
            Content::Quarantined { ranges, code, reason, bytes } => {
                self.add_quarantine(stream, ranges, (code, reason), bytes, received)?;
                let loss = LossRow {
                    stream: taken.key.stream,
                    reason: LossReason::Corrupt,
                    count: None,
                    range: TimeRange::at(received),
                    source: format!("quarantine:{code}"),
                    received,
                };
                events::add_loss(self.connection, node, &loss)?;
                delta.losses = 1;
                delta.quarantined = numbers(ranges);
            }
        }
        counts::add(self.connection, node, &delta)
    }
}

/// Number of a node, given out at first sight.
pub(super) fn node_id(connection: &Connection, node: &NodeId) -> rusqlite::Result<i64> {
    let found =
        connection.prepare_cached("SELECT id FROM node WHERE name = ?")?.query_row([node.as_str()], |row| row.get(0));
    match found.optional()? {
        Some(id) => Ok(id),
        None => connection
            .prepare_cached("INSERT INTO node(name) VALUES(?) RETURNING id")?
            .query_row([node.as_str()], |row| row.get(0)),
    }
}

/// Labels as a JSON array of pairs sorted by name: equal label sets give equal texts.
fn labels_text(labels: &Labels) -> String {
    serde_json::to_string(labels).expect("labels are strings, which JSON can express")
}

/// Reads what [`labels_text`] wrote.
pub(super) fn labels_of(text: &str) -> rusqlite::Result<Labels> {
    serde_json::from_str(text).map_err(|_| damaged("labelset.labels is no label set"))
}

/// The error for a value that only a damaged file can hold.
pub(super) fn damaged(what: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, what.into())
}

fn numbers(ranges: &[(Seq, Seq)]) -> u64 {
    ranges.iter().map(|(from, to)| to.0 - from.0 + 1).sum()
}

fn seq(seq: Seq) -> i64 {
    // The core refuses numbers above 2^62.
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

fn epoch(key: &StreamKey) -> i64 {
    // The core refuses epochs of 2^63 and above.
    i64::try_from(key.epoch.0).unwrap_or(i64::MAX)
}
