//! What is kept of logs, as the engine of queries reads it: the blocks in the database, the records still in memory, and
//! the same of the database beside it.
//!
//! The writer names the blocks and hands over what is in memory, all in one moment, so that no record is missed and none
//! is read twice. The blocks are then read one after the other through a connection of their own. One that is evicted
//! in between is left out; one that cannot be read is left out from where it is damaged, and said in the agent's log.

use super::blocks;
use super::read::{ReadError, with_body};
use super::schema;
use super::writer::Writer;
use rusqlite::Connection;
use skerry_chunk::Unpacker;
use skerry_logql::{Block, Selection, Source};
use skerry_lokiapi::scan::{DirectorySum, StreamList, scan};
use skerry_lokiapi::{Catalog, Directory, Member};
use skerry_model::{Labels, RecordRef, StreamKind, TimeRange};
use skerry_promql::Matcher;
use std::cell::{OnceCell, RefCell};
use std::cmp::Reverse;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// A block's name is its number in its database, with the database above and, above that, whether it is in memory.
const DATABASE_BIT: u32 = 62;
const MEMORY_BIT: u32 = 63;

/// What one database holds at a moment.
#[derive(Debug)]
pub(super) struct LogSnapshot {
    blocks: Vec<(i64, TimeRange)>,
    /// Records that are in no block yet, as blocks.
    memory: Vec<(Vec<u8>, TimeRange)>,
}

impl Writer {
    /// What a query of logs needs of the writer.
    pub(super) fn log_snapshot(&self) -> LogSnapshot {
        let ours = self.streams.iter().filter(|stream| stream.kind == StreamKind::Logs);
        let blocks = ours.flat_map(|stream| &stream.blocks).map(|block| (block.id, block.range)).collect();
        LogSnapshot { blocks, memory: self.logs.waiting() }
    }
}

/// One database of the source.
struct Part {
    path: Arc<Path>,
    blocks: Vec<(i64, TimeRange)>,
    /// Records that are in no block yet, as blocks.
    memory: Vec<(Vec<u8>, TimeRange)>,
    /// Opened with the first block that is read.
    db: OnceCell<Connection>,
}

/// The logs that are kept here, at the moment when this was made. Its calls block, on a thread that may.
pub struct LogSource {
    parts: Vec<Part>,
    member: Option<Member>,
    unpacker: RefCell<Unpacker>,
}

impl LogSource {
    /// Over these databases.
    pub(super) fn new(snapshots: Vec<(Arc<Path>, LogSnapshot)>) -> Self {
        let part = |(path, LogSnapshot { blocks, memory })| Part { path, blocks, memory, db: OnceCell::new() };
        let parts = snapshots.into_iter().map(part).collect();
        Self { parts, member: None, unpacker: RefCell::new(Unpacker::new()) }
    }

    /// With the labels by which the centre knows this node.
    #[must_use]
    pub fn of_member(self, member: Member) -> Self {
        Self { member: Some(member), ..self }
    }

    fn show(&self, labels: &Labels) -> Labels {
        self.member.as_ref().map_or_else(|| labels.clone(), |member| member.show(labels))
    }

    fn offered(&self, range: TimeRange) -> Vec<Block> {
        let mut blocks = Vec::new();
        for (database, part) in (0u64..).zip(&self.parts) {
            let key = |id: u64, memory: u64| id | database << DATABASE_BIT | memory << MEMORY_BIT;
            let stored = part.blocks.iter().map(|(id, range)| (key(id.unsigned_abs(), 0), *range));
            let waiting = (0u64..).zip(&part.memory).map(|(at, (_, range))| (key(at, 1), *range));
            blocks.extend(stored.chain(waiting).map(|(key, range)| Block { key, range }));
        }
        blocks.retain(|block| block.range.from <= range.to && block.range.to >= range.from);
        // A number that is higher is newer, and what is in memory is newest.
        blocks.sort_by_key(|block| Reverse((block.range.to, block.range.from, block.key)));
        blocks
    }

    /// What `read` makes of a block; nothing where it is gone.
    fn with_block(&self, key: u64, read: impl FnOnce(&[u8])) -> Result<(), ReadError> {
        let id = key & ((1 << DATABASE_BIT) - 1);
        let database = usize::try_from(key >> DATABASE_BIT & 1).unwrap_or(usize::MAX);
        let Some(part) = self.parts.get(database) else { return Ok(()) };
        if key >> MEMORY_BIT == 1 {
            if let Some((block, _)) = usize::try_from(id).ok().and_then(|at| part.memory.get(at)) {
                read(block);
            }
            return Ok(());
        }
        let fail = |source| ReadError::Database { path: part.path.to_path_buf(), source };
        let db = match part.db.get() {
            Some(db) => db,
            None => {
                let opened = schema::open_reader(&part.path).map_err(fail)?;
                part.db.get_or_init(|| opened)
            }
        };
        let id = i64::try_from(id).unwrap_or(i64::MAX);
        with_body(db, id, read).map(drop).map_err(fail)
    }
}

fn unreadable(block: Block, error: &skerry_chunk::DecodeError) {
    tracing::warn!(block = block.key, %error, "stored block cannot be read");
}

impl Source for LogSource {
    type Error = ReadError;

    fn blocks(&self, selection: &Selection) -> Result<Vec<Block>, ReadError> {
        if self.member.as_ref().is_some_and(|member| !member.may_meet(&selection.matchers)) {
            return Ok(Vec::new());
        }
        Ok(self.offered(selection.range))
    }

    fn read(
        &self,
        block: Block,
        selection: &Selection,
        each: &mut dyn FnMut(&Labels, RecordRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.with_block(block.key, |bytes| {
            let mut unpacker = self.unpacker.borrow_mut();
            let show = |labels: &Labels| self.show(labels);
            if let Err(error) = scan(bytes, &blocks::LIMITS, &mut unpacker, selection, &show, each) {
                unreadable(block, &error);
            }
        })
    }

    fn streams(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<Labels>, ReadError> {
        let mut list = StreamList::new(matchers, range);
        if self.member.as_ref().is_some_and(|member| !member.may_meet(matchers)) {
            return Ok(Vec::new());
        }
        for block in self.offered(range) {
            self.with_block(block.key, |bytes| {
                let mut unpacker = self.unpacker.borrow_mut();
                if let Err(error) = list.add(bytes, &blocks::LIMITS, &mut unpacker, 0, &|labels| self.show(labels)) {
                    unreadable(block, &error);
                }
            })?;
        }
        Ok(list.into_streams())
    }
}

impl Catalog for LogSource {
    fn directory(&self, matchers: &[Matcher], range: TimeRange) -> Result<Directory, ReadError> {
        let mut sum = DirectorySum::new(matchers, range);
        for block in self.offered(range) {
            self.with_block(block.key, |bytes| {
                if let Err(error) = sum.add(bytes, &blocks::LIMITS, 0, &|labels| self.show(labels)) {
                    unreadable(block, &error);
                }
            })?;
        }
        Ok(sum.finish())
    }
}
