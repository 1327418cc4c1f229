//! Where the samples of a remote-write sender stand. A sender is kept like a node: its samples are one stream, with an
//! epoch that lasts over restarts of the fleet.

use super::error::ReadError;
use super::ledger::{damaged, labels_of};
use super::{ranges, series};
use rusqlite::{Connection, OptionalExtension, params};
use skerry_model::{Epoch, Labels, NodeId, Sample, Seq, SeriesId, UnixMillis};

/// A sender's open epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct SenderState {
    /// Which.
    pub epoch: Epoch,
    /// The next number.
    pub next: Seq,
    /// Its series, by rising id, each with its newest sample where that lies within five minutes of the sender's
    /// newest block.
    pub series: Vec<(SeriesId, Labels, Option<Sample>)>,
}

pub(super) fn state(
    connection: &Connection,
    sender: &NodeId,
    now: UnixMillis,
) -> Result<Option<SenderState>, ReadError> {
    let found: Option<(i64, i64, Vec<u8>)> = connection
        .prepare_cached(
            "SELECT id, epoch, have FROM stream
             WHERE node = (SELECT id FROM node WHERE name = ?) AND kind = 'metrics' AND open
             ORDER BY id DESC LIMIT 1",
        )?
        .query_row([sender.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((stream, epoch, have)) = found else { return Ok(None) };
    let have = ranges::decode(&have).ok_or_else(|| damaged("stream.have is no set of ranges"))?;
    let next = have.ranges().last().map_or(Seq::FIRST, |(_, to)| Seq(to + 1));
    let newest = series::newest_of(connection, sender, now)?;
    let mut query = connection.prepare_cached(
        "SELECT r.sid, t.labels, l.id FROM series r JOIN labelset l ON l.id = r.labelset JOIN label_text t ON t.id = l.text
         WHERE r.stream = ? ORDER BY r.sid",
    )?;
    let mut rows = query.query(params![stream])?;
    let mut series = Vec::new();
    while let Some(row) = rows.next()? {
        let id = SeriesId(row.get(0)?);
        let labels = labels_of(row.get_ref(1)?.as_str().unwrap_or_default())?;
        // What was put together goes by the number of the label set.
        let chunked = u32::try_from(row.get::<_, i64>(2)?).ok().and_then(|set| newest.get(&(None, SeriesId(set))));
        let held = [newest.get(&(Some(stream), id)), chunked].into_iter().flatten().max_by_key(|sample| sample.at);
        series.push((id, labels, held.copied()));
    }
    Ok(Some(SenderState { epoch: Epoch(u64::try_from(epoch).unwrap_or(0)), next, series }))
}
