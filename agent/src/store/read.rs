//! Questions about what is kept: samples, the ledger. Log records are read by [`super::search`].
//!
//! The writer names the blocks and hands over what is in memory; the blocks are then read through a connection of
//! their own, so that a long question does not hold up writing. A block that is evicted in between is left out; one
//! that cannot be read is left out and said in the agent's log.

use super::blocks;
use super::head::Row;
use super::schema;
use super::streams::Stream;
use super::writer::Writer;
use rusqlite::{Connection, OptionalExtension};
use skerry_chunk::Unpacker;
use skerry_model::{Labels, LossEntry, LossReason, Sample, SeriesId, StreamKind, TimeRange, UnixMillis};
use skerry_promql::{Matcher, matches_all};
use skerry_wire::{MESSAGE_BYTES_MAX, codec};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// Which samples.
#[derive(Debug, Clone)]
pub struct SeriesQuery {
    /// Conditions that a series has to meet. Empty: every series.
    pub matchers: Vec<Matcher>,
    /// From when to when, both included.
    pub range: TimeRange,
    /// Most samples in the answer; more are an error.
    pub samples_max: usize,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The answer would be too large.
    #[error("more than {samples_max} samples; ask for a shorter time or fewer series")]
    TooMany {
        /// The question's own bound.
        samples_max: usize,
    },
    /// The database could not be read.
    #[error("cannot read {}", .path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// SQLite's word.
        source: rusqlite::Error,
    },
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

/// Samples in memory and the blocks that hold the rest.
#[derive(Debug)]
pub(super) struct SeriesSnapshot {
    blocks: Vec<i64>,
    rows: Vec<Row>,
    pub(super) unsaved: Vec<(SeriesId, Labels)>,
}

fn within(range: TimeRange, at: UnixMillis) -> bool {
    range.from <= at && at <= range.to
}

fn blocks_within(streams: &[Stream], kind: StreamKind, range: TimeRange) -> Vec<i64> {
    let ours = streams.iter().filter(|stream| stream.kind == kind).flat_map(|stream| &stream.blocks);
    let hits = ours.filter(|block| block.range.from <= range.to && block.range.to >= range.from);
    let mut ids: Vec<i64> = hits.map(|block| block.id).collect();
    ids.sort_unstable();
    ids
}

impl Writer {
    /// What a question for samples needs of the writer.
    pub(super) fn series_snapshot(&self, query: &SeriesQuery) -> SeriesSnapshot {
        SeriesSnapshot {
            blocks: blocks_within(&self.streams, StreamKind::Metrics, query.range),
            rows: self.head.rows().filter(|row| within(query.range, row.at)).cloned().collect(),
            unsaved: self.series.unsaved().map(|(id, labels)| (id, labels.clone())).collect(),
        }
    }

    /// Every loss that was ever booked in this database, by stream, reason and source, with what still waits.
    ///
    /// # Errors
    /// SQLite's, where the database cannot be read.
    pub fn ledger(&self) -> rusqlite::Result<Vec<LossEntry>> {
        let mut statement = self.db.prepare("SELECT stream, reason, source, count, t0, t1 FROM loss")?;
        let mut rows = statement.query([])?;
        let mut entries: Vec<LossEntry> = Vec::new();
        while let Some(row) = rows.next()? {
            let (stream, reason): (String, String) = (row.get(0)?, row.get(1)?);
            let (Some(stream), Some(reason)) = (StreamKind::from_name(&stream), LossReason::from_name(&reason)) else {
                continue;
            };
            entries.push(LossEntry {
                stream,
                reason,
                count: row.get::<_, Option<i64>>(3)?.map(i64::unsigned_abs),
                range: TimeRange { from: UnixMillis(row.get(4)?), to: UnixMillis(row.get(5)?) },
                source: row.get(2)?,
            });
        }
        for waiting in self.losses.entries().chain(self.logs.losses.entries()) {
            let same = |entry: &&mut LossEntry| {
                (entry.stream, entry.reason, &entry.source) == (waiting.stream, waiting.reason, &waiting.source)
            };
            match entries.iter_mut().find(same) {
                Some(entry) => super::ledger::merge(entry, waiting),
                None => entries.push(waiting.clone()),
            }
        }
        Ok(entries)
    }
}

/// What `read` makes of a block's body; `None` where the block is gone or its page is damaged.
pub(super) fn with_body<T>(db: &Connection, id: i64, read: impl FnOnce(&[u8]) -> T) -> rusqlite::Result<Option<T>> {
    let mut statement = db.prepare_cached("SELECT body FROM block WHERE id = ?1")?;
    match statement.query_row([id], |row| Ok(read(row.get_ref(0)?.as_blob()?))).optional() {
        Err(error) if schema::is_corrupt(&error) => {
            tracing::warn!(block = id, %error, "stored block cannot be read");
            Ok(None)
        }
        other => other,
    }
}

/// Answers a question for samples: series by labels, samples in the order they were taken.
pub(super) fn series(
    path: &Path,
    snapshot: SeriesSnapshot,
    query: &SeriesQuery,
) -> Result<Vec<(Labels, Vec<Sample>)>, ReadError> {
    let fail = |source| ReadError::Database { path: path.to_owned(), source };
    let db = schema::open_reader(path).map_err(fail)?;
    // One transaction: a lock per statement would cost more than most statements.
    let db = db.unchecked_transaction().map_err(fail)?;
    let mut found: HashMap<SeriesId, Labels> = stored_series(&db, &query.matchers).map_err(fail)?;
    found.extend(snapshot.unsaved.into_iter().filter(|(_, labels)| matches_all(&query.matchers, labels)));
    // A label set that fell silent and came back has several numbers; its samples are one series.
    let mut answer: BTreeMap<Labels, Vec<Sample>> = found.values().map(|labels| (labels.clone(), Vec::new())).collect();
    let places: HashMap<&Labels, usize> = answer.keys().zip(0..).collect();
    let wanted: BTreeMap<SeriesId, usize> = found.iter().map(|(id, labels)| (*id, places[labels])).collect();
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); answer.len()];
    let mut count = 0;
    let mut add = |place: usize, sample: Sample| {
        if within(query.range, sample.at) {
            count += 1;
            if count <= query.samples_max {
                samples[place].push(sample);
            }
        }
        count
    };
    let too_many = || ReadError::TooMany { samples_max: query.samples_max };
    let mut unpacker = Unpacker::new();
    for id in if wanted.is_empty() { Vec::new() } else { snapshot.blocks } {
        let read = with_body(&db, id, |bytes| {
            let mut total = 0;
            let read = blocks::read_samples(&mut unpacker, bytes, &wanted, |place, sample| total = add(place, sample));
            read.map(|()| total)
        });
        match read.map_err(fail)? {
            Some(Ok(total)) if total > query.samples_max => return Err(too_many()),
            Some(Err(error)) => tracing::warn!(block = id, %error, "stored block cannot be read"),
            _ => {}
        }
    }
    for row in snapshot.rows {
        for (series, value) in &row.values {
            if let Some(place) = wanted.get(series)
                && add(*place, Sample { at: row.at, value: *value }) > query.samples_max
            {
                return Err(too_many());
            }
        }
    }
    for (held, samples) in answer.values_mut().zip(samples) {
        *held = samples;
    }
    Ok(answer.into_iter().filter(|(_, samples)| !samples.is_empty()).collect())
}

fn stored_series(db: &Connection, matchers: &[Matcher]) -> rusqlite::Result<HashMap<SeriesId, Labels>> {
    let mut statement = db.prepare("SELECT id, labels FROM series")?;
    let mut rows = statement.query([])?;
    let mut found = HashMap::new();
    while let Some(row) = rows.next()? {
        let labels: Vec<u8> = row.get(1)?;
        if let Ok(labels) = codec::decode::<Labels>(&labels, MESSAGE_BYTES_MAX)
            && matches_all(matchers, &labels)
        {
            found.insert(SeriesId(row.get(0)?), labels);
        }
    }
    Ok(found)
}

/// Label sets of the series that are known, in memory or on disk.
pub(super) fn label_sets(
    path: &Path,
    unsaved: Vec<(SeriesId, Labels)>,
    matchers: &[Matcher],
) -> Result<Vec<Labels>, ReadError> {
    let fail = |source| ReadError::Database { path: path.to_owned(), source };
    let db = schema::open_reader(path).map_err(fail)?;
    let mut known = stored_series(&db, matchers).map_err(fail)?;
    known.extend(unsaved.into_iter().filter(|(_, labels)| matches_all(matchers, labels)));
    Ok(known.into_values().collect())
}
