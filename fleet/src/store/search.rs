//! What the nodes sent of their logs, as the engine of queries reads it: all nodes' blocks as one source.
//!
//! Nodes are ruled out by the labels that the centre knows them by, before anything of theirs is read; then blocks, by
//! their time; then what [`skerry_lokiapi::scan`] rules out. A query sees one commit.

use super::error::ReadError;
use super::events::name;
use rusqlite::{Connection, OptionalExtension, params};
use skerry_chunk::{DecodeError, Limits, Unpacker};
use skerry_logql::{Block, Selection, Source};
use skerry_lokiapi::scan::{DirectorySum, StreamList, scan};
use skerry_lokiapi::{Catalog, Directory, Member};
use skerry_model::{Labels, NodeId, RecordRef, TimeRange, UnixMillis};
use skerry_promql::Matcher;
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::ControlFlow;

/// Most blocks that one query may have to read.
const BLOCKS_MAX: usize = 1_000_000;
/// Most streams that are listed.
const STREAMS_MAX: usize = 50_000;

/// The fleet's logs, as of one commit.
pub struct LogSource<'a> {
    connection: &'a Connection,
    /// By the node's number.
    members: HashMap<i64, Member>,
    unpacker: RefCell<Unpacker>,
    damaged: Cell<u64>,
}

impl<'a> LogSource<'a> {
    /// Over everything; `signed` says what the admins signed for a node.
    pub(super) fn new(connection: &'a Connection, signed: impl Fn(&NodeId) -> Labels) -> Result<Self, ReadError> {
        let mut list = connection.prepare_cached("SELECT id, name FROM node")?;
        let rows = list.query_map([], |row| Ok((row.get(0)?, name(row.get_ref(1)?.as_str()?)?)))?;
        let members =
            rows.map(|row| row.map(|(id, node)| (id, Member::new(&node, &signed(&node))))).collect::<Result<_, _>>()?;
        Ok(Self { connection, members, unpacker: RefCell::new(Unpacker::new()), damaged: Cell::new(0) })
    }

    /// Blocks that could not be read: the file is damaged there. The rest was read.
    #[must_use]
    pub fn damaged_blocks(&self) -> u64 {
        self.damaged.get()
    }

    fn offered(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<Block>, ReadError> {
        let mut streams = self
            .connection
            .prepare_cached("SELECT id, node FROM stream WHERE kind = 'logs' AND t1 >= ?1 AND t0 <= ?2")?;
        let mut list = self
            .connection
            .prepare_cached("SELECT id, t0, t1, seq FROM log_block WHERE stream = ?1 AND t1 >= ?2 AND t0 <= ?3")?;
        let mut blocks: Vec<(Block, i64, i64)> = Vec::new();
        let mut rows = streams.query(params![range.from.0, range.to.0])?;
        while let Some(row) = rows.next()? {
            let (stream, node): (i64, i64) = (row.get(0)?, row.get(1)?);
            if !self.members.get(&node).is_some_and(|member| member.may_meet(matchers)) {
                continue;
            }
            let found = list.query_map(params![stream, range.from.0, range.to.0], |row| {
                let range = TimeRange { from: UnixMillis(row.get(1)?), to: UnixMillis(row.get(2)?) };
                Ok((Block { key: row.get::<_, i64>(0)?.unsigned_abs(), range }, stream, row.get(3)?))
            })?;
            for block in found {
                blocks.push(block?);
            }
            if blocks.len() > BLOCKS_MAX {
                return Err(ReadError::TooLarge { what: "blocks of log records", limit: BLOCKS_MAX as u64 });
            }
        }
        // Of one stream the order is that of its numbers, in whichever order they came in.
        blocks.sort_by_key(|(block, stream, seq)| Reverse((block.range.to, block.range.from, *stream, *seq)));
        Ok(blocks.into_iter().map(|(block, ..)| block).collect())
    }

    /// What `read` makes of a block and the node it is of; nothing where it is gone.
    fn with_block(
        &self,
        key: u64,
        read: impl FnOnce(&[u8], i64, &Member) -> Result<(), DecodeError>,
    ) -> Result<(), ReadError> {
        let mut find = self.connection.prepare_cached(
            "SELECT s.node, b.data FROM log_block b JOIN stream s ON s.id = b.stream WHERE b.id = ?1",
        )?;
        let id = i64::try_from(key).unwrap_or(i64::MAX);
        let done = find
            .query_row([id], |row| {
                let node: i64 = row.get(0)?;
                let Some(member) = self.members.get(&node) else { return Ok(Ok(())) };
                Ok(read(row.get_ref(1)?.as_blob()?, node, member))
            })
            .optional()?;
        if let Some(Err(error)) = done {
            tracing::warn!(block = key, %error, "a stored block of log records cannot be read");
            self.damaged.set(self.damaged.get() + 1);
        }
        Ok(())
    }
}

impl Source for LogSource<'_> {
    type Error = ReadError;

    fn blocks(&self, selection: &Selection) -> Result<Vec<Block>, ReadError> {
        self.offered(&selection.matchers, selection.range)
    }

    fn read(
        &self,
        block: Block,
        selection: &Selection,
        each: &mut dyn FnMut(&Labels, RecordRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.with_block(block.key, |bytes, _, member| {
            let mut unpacker = self.unpacker.borrow_mut();
            scan(bytes, &Limits::default(), &mut unpacker, selection, &|labels| member.show(labels), each)
        })
    }

    fn streams(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<Labels>, ReadError> {
        let mut list = StreamList::new(matchers, range);
        for block in self.offered(matchers, range)? {
            self.with_block(block.key, |bytes, node, member| {
                let mut unpacker = self.unpacker.borrow_mut();
                let show = |labels: &Labels| member.show(labels);
                list.add(bytes, &Limits::default(), &mut unpacker, node.unsigned_abs(), &show)
            })?;
            if list.len() > STREAMS_MAX {
                return Err(ReadError::TooLarge { what: "streams", limit: STREAMS_MAX as u64 });
            }
        }
        Ok(list.into_streams())
    }
}

impl Catalog for LogSource<'_> {
    fn directory(&self, matchers: &[Matcher], range: TimeRange) -> Result<Directory, ReadError> {
        let mut sum = DirectorySum::new(matchers, range);
        for block in self.offered(matchers, range)? {
            self.with_block(block.key, |bytes, node, member| {
                sum.add(bytes, &Limits::default(), node.unsigned_abs(), &|labels| member.show(labels))
            })?;
        }
        Ok(sum.finish())
    }
}
