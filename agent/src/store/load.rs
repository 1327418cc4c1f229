//! What goes out: batches of the outbox, read from memory or from the disk.
//!
//! A stored block goes out as it is, unless it has to be cut because the receiver has its beginning or because it is
//! too long for one message.

use super::blocks;
use super::commit::Due;
use super::draft::Extra;
use super::head;
use super::retention::Victim;
use super::schema;
use super::streams::{BlockMeta, GoneRange, Place};
use super::writer::{WriteError, Writer};
use rusqlite::OptionalExtension;
use skerry_chunk::MetricBlock;
use skerry_model::Now;
use skerry_model::{Epoch, Labels, LossEntry, LossReason, Seq, SeriesId, StreamKind, TimeRange};
use skerry_wire::{Batch, Body, Gone, MESSAGE_BYTES_MAX, codec};

/// Room in a message for what is around body and dictionary.
const ENVELOPE_BYTES_MAX: usize = 1024;

/// Why nothing could be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The database could not be read, though it is not damaged.
    #[error("cannot read from the store")]
    Read(#[from] rusqlite::Error),
    /// An unreadable block was found and could not be booked as lost.
    #[error("cannot book an unreadable block")]
    Book(#[from] WriteError),
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

/// What to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadRequest {
    /// From which stream.
    pub stream: StreamKind,
    /// From which epoch of it.
    pub epoch: Epoch,
    /// First number wanted.
    pub at: Seq,
    /// Highest series id up to which the receiver holds the dictionary of this epoch.
    pub dict_known: Option<SeriesId>,
    /// Size that body and dictionary should not exceed. One number is loaded in any case.
    pub bytes_max: usize,
}

pub(super) enum Read {
    Body(Vec<u8>),
    Unreadable,
}

impl Writer {
    /// The batch that begins at the number wanted, or at the first one after it that is held or gone; `None` where
    /// there is none. Never longer than a message may be.
    ///
    /// # Errors
    /// [`LoadError`]. A damaged block is none: it becomes a batch that says so.
    pub fn load(&mut self, want: LoadRequest, now: Now) -> Result<Option<Batch>, LoadError> {
        // Each turn that goes on has taken one block or number out of the way, so this ends.
        loop {
            let Some(at) = self.streams.iter().position(|s| s.kind == want.stream && s.epoch == want.epoch) else {
                return Ok(None);
            };
            let stream = &self.streams[at];
            let run = if self.head_first(stream).is_some() { self.head.run_from(want.at) } else { Vec::new() };
            let in_memory = run.first().map(|row| row.seq);
            match stream.place(want.at) {
                Some(Place::Gone(gone)) if in_memory.is_none_or(|first| gone.from.max(want.at) <= first) => {
                    return Ok(Some(gone_batch(want, &gone)));
                }
                Some(Place::Block(block)) => {
                    let body = match self.body(&block)? {
                        Read::Body(body) => body,
                        Read::Unreadable => {
                            self.book_unreadable(at, block, now)?;
                            continue;
                        }
                    };
                    match self.block_batch(want, &block, body) {
                        Ok(Some(batch)) => return Ok(Some(batch)),
                        Ok(None) => self.lose_oversize(at, block.first.max(want.at), block.range, now),
                        Err(LoadFault::Unreadable) => self.book_unreadable(at, block, now)?,
                        Err(LoadFault::Read(error)) => return Err(error.into()),
                    }
                }
                _ => {
                    let Some(first) = in_memory else { return Ok(None) };
                    let range = head::range(&run).unwrap_or(TimeRange::at(now.wall));
                    match self.cut(want, first, &head::block(&run))? {
                        Some(batch) => return Ok(Some(batch)),
                        None => self.lose_oversize(at, first, range, now),
                    }
                }
            }
        }
    }

    pub(super) fn body(&self, block: &BlockMeta) -> rusqlite::Result<Read> {
        let mut statement = self.db.prepare_cached("SELECT body, crc FROM block WHERE id = ?1")?;
        let found = statement.query_row([block.id], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, u32>(1)?)));
        match found.optional() {
            Ok(Some((body, crc))) if crc32fast::hash(&body) == crc => Ok(Read::Body(body)),
            Ok(_) => Ok(Read::Unreadable),
            Err(error) if schema::is_corrupt(&error) => Ok(Read::Unreadable),
            Err(error) => Err(error),
        }
    }

    /// A stored block as a batch; `None` where its first number alone is too long for a message.
    fn block_batch(&self, want: LoadRequest, block: &BlockMeta, body: Vec<u8>) -> Result<Option<Batch>, LoadFault> {
        if want.stream != StreamKind::Metrics {
            let batch = Batch {
                epoch: want.epoch,
                from: block.first,
                to: block.last(),
                dict: Vec::new(),
                body: Body::Block(body),
            };
            return Ok(Some(batch));
        }
        if want.at <= block.first {
            let dict = self.dictionary(want, block.high)?;
            if body.len() + dict.len() + ENVELOPE_BYTES_MAX <= want.bytes_max.min(MESSAGE_BYTES_MAX) {
                let (from, to) = (block.first, block.last());
                return Ok(Some(Batch { epoch: want.epoch, from, to, dict, body: Body::Block(body) }));
            }
        }
        let rows = blocks::read_metrics(&body).map_err(|_| LoadFault::Unreadable)?;
        let skip = usize::try_from(want.at.0.saturating_sub(block.first.0)).unwrap_or(usize::MAX);
        if rows.timestamps.len() != block.rows as usize {
            return Err(LoadFault::Unreadable);
        }
        let rows = rows.slice(skip, rows.timestamps.len());
        self.cut(want, block.first.max(want.at), &rows).map_err(LoadFault::Read)
    }

    /// As many of the rows as fit, at least one; `None` where the first alone is too long for a message.
    fn cut(&self, want: LoadRequest, from: Seq, rows: &MetricBlock) -> rusqlite::Result<Option<Batch>> {
        let mut take = rows.timestamps.len();
        loop {
            let part = rows.slice(0, take);
            let Ok(body) = blocks::metrics(&part) else {
                if take <= 1 {
                    return Ok(None);
                }
                take /= 2;
                continue;
            };
            let dict = self.dictionary(want, body.high)?;
            let bytes = body.bytes.len() + dict.len() + ENVELOPE_BYTES_MAX;
            if bytes <= want.bytes_max.min(MESSAGE_BYTES_MAX) || (take <= 1 && bytes <= MESSAGE_BYTES_MAX) {
                let to = Seq(from.0 + take.max(1) as u64 - 1);
                return Ok(Some(Batch { epoch: want.epoch, from, to, dict, body: Body::Block(body.bytes) }));
            }
            if take <= 1 {
                return Ok(None);
            }
            take /= 2;
        }
    }

    /// Dictionary entries with ids in `(known, high]` that some row of the epoch may use, encoded. Those that were
    /// retired before the first block that is held of it are left out: after many losses of power, each epoch's first
    /// message would else carry what all blocks before it ever used.
    fn dictionary(&self, want: LoadRequest, high: Option<SeriesId>) -> rusqlite::Result<Vec<u8>> {
        let known = want.dict_known.map_or(0, |id| id.0);
        let Some(high) = high.filter(|high| high.0 > known) else { return Ok(Vec::new()) };
        let stream = self.streams.iter().find(|s| s.kind == StreamKind::Metrics && s.epoch == want.epoch);
        let oldest = stream.and_then(|stream| stream.blocks.front()).map(|block| block.id);
        let mut entries = self.stored_series(known, high, oldest.unwrap_or(self.next_block))?;
        let unsaved = self.series.unsaved().filter(|(id, _)| id.0 > known && *id <= high);
        entries.extend(unsaved.map(|(id, labels)| (id, labels.clone())));
        blocks::dictionary(&entries).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
    }

    /// Those with numbers in `(known, high]` that a block from `oldest` on, or a row in memory, may use.
    fn stored_series(&self, known: u32, high: SeriesId, oldest: i64) -> rusqlite::Result<Vec<(SeriesId, Labels)>> {
        let mut entries = Vec::new();
        if known < self.series.saved().0 {
            let mut statement = self.db.prepare_cached(
                "SELECT id, labels FROM series WHERE id > ?1 AND id <= ?2 AND (last IS NULL OR last >= ?3) ORDER BY id",
            )?;
            let mut rows = statement.query((known, high.0, oldest))?;
            while let Some(row) = rows.next()? {
                let labels: Vec<u8> = row.get(1)?;
                // An unreadable row costs its own series and not the batch.
                if let Ok(labels) = codec::decode(&labels, MESSAGE_BYTES_MAX) {
                    entries.push((SeriesId(row.get(0)?), labels));
                }
            }
        }
        Ok(entries)
    }

    pub(super) fn book_unreadable(&mut self, stream: usize, block: BlockMeta, now: Now) -> Result<(), WriteError> {
        let corrupt = vec![Victim { stream, block }];
        self.commit(Due::default(), Extra { corrupt, ..Extra::default() }, now)
    }

    fn lose_oversize(&mut self, at: usize, seq: Seq, range: TimeRange, now: Now) {
        let reason = LossReason::Oversize;
        let stream = &mut self.streams[at];
        let (kind, source) = (stream.kind, String::new());
        stream.core.lose(GoneRange { from: seq, to: seq, reason, range });
        stream.dirty = true;
        self.record_loss(LossEntry { stream: kind, reason, count: None, range, source }, now);
    }

    /// Samples of a stored block that stand in `ranges` of its numbers; `None` where it cannot be read.
    pub(super) fn samples_in(&self, block: &BlockMeta, ranges: &[(Seq, Seq)]) -> Option<u64> {
        let Ok(Read::Body(body)) = self.body(block) else { return None };
        let rows = blocks::read_metrics(&body).ok()?;
        let place = |seq: Seq| usize::try_from(seq.0.saturating_sub(block.first.0)).unwrap_or(usize::MAX);
        let count = ranges.iter().map(|(from, to)| {
            let to = place(to.next()).min(rows.timestamps.len());
            rows.slice(place(*from).min(to), to).sample_count() as u64
        });
        Some(count.sum())
    }
}

enum LoadFault {
    Unreadable,
    Read(rusqlite::Error),
}

impl From<rusqlite::Error> for LoadFault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Read(error)
    }
}

fn gone_batch(want: LoadRequest, gone: &GoneRange) -> Batch {
    let body = Body::Gone(Gone { reason: gone.reason, range: gone.range });
    Batch { epoch: want.epoch, from: gone.from.max(want.at), to: gone.to, dict: Vec::new(), body }
}
