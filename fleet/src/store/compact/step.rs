//! One step of compaction: reads what a plan names, and has the writer swap it for chunks.

use super::Compacted;
use super::merge::{Input, Merge, MergeError, Output};
use super::plan::{Candidate, Stage, WINDOW_MS, plan};
use crate::store::counts;
use crate::store::error::ReadError;
use rusqlite::{Connection, OptionalExtension, params};
use skerry_model::{SeriesId, UnixMillis};
use std::collections::{HashMap, HashSet};

/// Blocks of one stream, and chunks of one node, that are looked at for one step.
const LOOK_MAX: u32 = 4096;
/// Nodes that one step looks at for work.
const NODES_PER_STEP: u32 = 256;
/// Blocks remembered as unfit to be merged.
const UNFIT_MAX: usize = 10_000;

/// Where the last step stood, and what is not to be tried again in this run of the server.
#[derive(Debug, Default)]
pub(in crate::store) struct Progress {
    node: i64,
    unfit: HashSet<(Table, i64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Table {
    Block,
    Chunk,
}

/// A row that is to go, with what tells it from any later row of that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Old {
    id: i64,
    t0: i64,
    t1: i64,
    bytes: i64,
    first: i64,
    received: i64,
}

/// What a step has found and merged: to be swapped in one transaction.
#[derive(Debug)]
pub(in crate::store) struct Swap {
    node: i64,
    stage: Stage,
    old: Vec<Old>,
    new: Vec<Output>,
}

/// Looks for work from where the last step stood, at most once around all nodes, and merges what it finds. `None` where
/// there is nothing to do.
pub(in crate::store) fn prepare(
    connection: &Connection,
    progress: &mut Progress,
    now: UnixMillis,
) -> Result<Look, ReadError> {
    let mut nodes = connection.prepare_cached("SELECT id FROM node WHERE id >= ? ORDER BY id LIMIT ?")?;
    let ids: Vec<i64> =
        nodes.query_map(params![progress.node, NODES_PER_STEP], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for node in &ids {
        progress.node = *node;
        for stage in [Stage::Blocks, Stage::Chunks] {
            if let Some(swap) = of_node(connection, progress, *node, stage, now)? {
                return Ok(Look::Work(Box::new(swap)));
            }
        }
    }
    let is_last = ids.len() < NODES_PER_STEP as usize;
    progress.node = if is_last { 0 } else { progress.node + 1 };
    Ok(if is_last { Look::Done } else { Look::Further })
}

/// What looking for work came to.
pub(in crate::store) enum Look {
    /// There is something to swap.
    Work(Box<Swap>),
    /// Nothing so far; there are more nodes.
    Further,
    /// Nothing, up to the last node.
    Done,
}

fn of_node(
    connection: &Connection,
    progress: &mut Progress,
    node: i64,
    stage: Stage,
    now: UnixMillis,
) -> Result<Option<Swap>, ReadError> {
    let candidates = match stage {
        Stage::Blocks => blocks(connection, node, now)?,
        Stage::Chunks => chunks(connection, node, now)?,
    };
    let table = match stage {
        Stage::Blocks => Table::Block,
        Stage::Chunks => Table::Chunk,
    };
    let fit = candidates.into_iter().filter(|candidate| !progress.unfit.contains(&(table, candidate.id)));
    let ids = plan(stage, fit.collect(), now);
    if ids.is_empty() {
        return Ok(None);
    }
    // A block that cannot be merged is left out, and the others are tried again.
    let mut unfit = Vec::new();
    let swap = loop {
        let ids: Vec<i64> = ids.iter().copied().filter(|id| !unfit.contains(id)).collect();
        match merge(connection, node, stage, &ids)? {
            Ok(swap) => break swap,
            Err((id, error)) => {
                tracing::warn!(block = id, %error, "a block of samples stays as it is");
                unfit.push(id);
            }
        }
    };
    if progress.unfit.len() < UNFIT_MAX {
        progress.unfit.extend(unfit.into_iter().map(|id| (table, id)));
    }
    Ok((!swap.old.is_empty()).then_some(swap))
}

/// Blocks of a node that end in windows which are over. One that covers more than a window, as a clock that was set
/// leaves it, stays as it is: its chunk would be in the way of every query between its ends. So does one that a
/// remote-write target has yet to be sent.
fn blocks(connection: &Connection, node: i64, now: UnixMillis) -> rusqlite::Result<Vec<Candidate>> {
    let mut streams = connection.prepare_cached("SELECT id FROM stream WHERE node = ? AND kind = 'metrics'")?;
    let streams: Vec<i64> = streams.query_map([node], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut query = connection.prepare_cached(
        "SELECT b.id, b.t1, b.samples, b.received FROM metric_block b WHERE b.stream = ? AND b.t1 < ? AND b.t0 >= b.t1 - ?
           AND NOT EXISTS (SELECT 1 FROM remote_block r WHERE r.block = b.id)
         ORDER BY b.t1 LIMIT ?",
    )?;
    let mut found = Vec::new();
    for stream in streams {
        let bounds = params![stream, Stage::Blocks.over_before(now), WINDOW_MS, LOOK_MAX];
        let rows = query.query_map(bounds, |row| candidate(row, 0))?;
        found.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
    }
    Ok(found)
}

fn chunks(connection: &Connection, node: i64, now: UnixMillis) -> rusqlite::Result<Vec<Candidate>> {
    let mut query = connection.prepare_cached(
        "SELECT id, t1, samples, received, s0 FROM metric_chunk WHERE node = ? AND level = 1 AND t1 < ?
         ORDER BY t1 LIMIT ?",
    )?;
    let rows = query.query_map(params![node, Stage::Chunks.over_before(now), LOOK_MAX], |row| {
        let s0 = row.get(4)?;
        candidate(row, s0)
    })?;
    rows.collect()
}

fn candidate(row: &rusqlite::Row<'_>, s0: u32) -> rusqlite::Result<Candidate> {
    let samples = u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
    Ok(Candidate { id: row.get(0)?, t1: row.get(1)?, samples, received: row.get(3)?, s0 })
}

/// Merges blocks; or which of them cannot be, and why.
fn merge(
    connection: &Connection,
    node: i64,
    stage: Stage,
    ids: &[i64],
) -> Result<Result<Swap, (i64, MergeError)>, ReadError> {
    let mut swap = Swap { node, stage, old: Vec::with_capacity(ids.len()), new: Vec::new() };
    let mut query = connection.prepare_cached(match stage {
        Stage::Blocks => {
            "SELECT t0, t1, received, received, stream, data FROM metric_block WHERE id = ? AND length(data) > 0"
        }
        Stage::Chunks => "SELECT t0, t1, first, received, 0, data FROM metric_chunk WHERE id = ? AND length(data) > 0",
    })?;
    let mut names: HashMap<i64, HashMap<SeriesId, SeriesId>> = HashMap::new();
    let mut merge = Merge::default();
    for id in ids {
        let mut rows = query.query([id])?;
        let Some(row) = rows.next()? else { continue };
        let stream: i64 = row.get(4)?;
        if stage == Stage::Blocks && !names.contains_key(&stream) {
            names.insert(stream, names_of(connection, stream)?);
        }
        let data = row.get_ref(5)?.as_blob().unwrap_or_default();
        if let Err(error) = merge.take(&Input { data, names: names.get(&stream) }) {
            return Ok(Err((*id, error)));
        }
        swap.old.push(Old {
            id: *id,
            t0: row.get(0)?,
            t1: row.get(1)?,
            bytes: counts::clamp(data.len() as u64),
            first: row.get(2)?,
            received: row.get(3)?,
        });
    }
    match merge.finish() {
        Ok(new) => {
            swap.new = new;
            Ok(Ok(swap))
        }
        Err(error) => Ok(Err((ids.first().copied().unwrap_or(0), error))),
    }
}

/// The label sets of an epoch's series. One whose number is beyond a series id is left out.
fn names_of(connection: &Connection, stream: i64) -> rusqlite::Result<HashMap<SeriesId, SeriesId>> {
    let mut query = connection.prepare_cached("SELECT sid, labelset FROM series WHERE stream = ?")?;
    let rows = query.query_map([stream], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, i64>(1)?)))?;
    let mut names = HashMap::new();
    for row in rows {
        let (sid, labelset) = row?;
        if let Ok(labelset) = u32::try_from(labelset) {
            names.insert(SeriesId(sid), SeriesId(labelset));
        }
    }
    Ok(names)
}

impl Swap {
    /// Swaps blocks for chunks, in one transaction. `false`, and nothing changed, where retention was quicker.
    pub(in crate::store) fn apply(&self, connection: &mut Connection) -> rusqlite::Result<bool> {
        let transaction = connection.transaction()?;
        let (table, check) = match self.stage {
            Stage::Blocks => (
                "metric_block",
                "DELETE FROM metric_block WHERE id = ? AND t0 = ? AND t1 = ? AND received = ? AND length(data) = ?",
            ),
            Stage::Chunks => (
                "metric_chunk",
                "DELETE FROM metric_chunk WHERE id = ? AND t0 = ? AND t1 = ? AND received = ? AND length(data) = ?",
            ),
        };
        let level = match self.stage {
            Stage::Blocks => 1,
            Stage::Chunks => 2,
        };
        {
            let mut delete = transaction.prepare_cached(check)?;
            for old in &self.old {
                if delete.execute(params![old.id, old.t0, old.t1, old.received, old.bytes])? != 1 {
                    // Dropped, the transaction rolls back.
                    return Ok(false);
                }
            }
            counts::shrink(&transaction, table, counts::clamp(self.old.len() as u64), sum(&self.old))?;
            let mut insert = transaction.prepare_cached(
                "INSERT INTO metric_chunk(node, level, s0, s1, t0, t1, samples, first, received, data)
                 VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?;
            let first = self.old.iter().map(|old| old.first).min().unwrap_or(0);
            let received = self.old.iter().map(|old| old.received).max().unwrap_or(0);
            for new in &self.new {
                insert.execute(params![
                    self.node,
                    level,
                    new.first.0,
                    new.last.0,
                    new.range.from.0,
                    new.range.to.0,
                    counts::clamp(new.samples),
                    first,
                    received,
                    new.data,
                ])?;
                counts::grow(&transaction, "metric_chunk", new.data.len())?;
            }
        }
        transaction.commit()?;
        Ok(true)
    }

    /// What this does.
    pub(in crate::store) fn outcome(&self) -> Compacted {
        Compacted {
            worked: true,
            from: self.old.len() as u64,
            to: self.new.len() as u64,
            samples: self.new.iter().map(|new| new.samples).sum(),
        }
    }
}

fn sum(old: &[Old]) -> i64 {
    old.iter().map(|old| old.bytes).sum()
}

/// Whether a label set that no epoch names may still be in a chunk of its node.
pub(in crate::store) fn oldest_arrival(connection: &Connection, node: i64) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT min(first) FROM metric_chunk WHERE node = ?")?
        .query_row([node], |row| row.get(0))
        .optional()
        .map(Option::flatten)
}
