//! Where each epoch of each stream stands: what is held, what is acknowledged, what is gone.
//!
//! Pure: the index of the database's blocks in memory, 72 bytes a block, so that planning and looking up never
//! scan the disk.
//!
//! Invariants, for every epoch that is not forgotten:
//! - Every number below `next` is held (in a block or in the head), gone, or acknowledged.
//! - Blocks rise in number and never overlap. A gone range may lie over a held block; it hides what is below it.

use super::lanes::{self, Lane};
use serde::{Deserialize, Serialize};
use skerry_model::{Epoch, LossReason, Seq, SeriesId, StreamKind, TimeRange, UnixMillis};
use skerry_wire::{Ack, SeqSet};
use std::collections::VecDeque;

/// Where one epoch of a stream stands, for the outbox and the status page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tip {
    /// The stream.
    pub stream: StreamKind,
    /// The epoch.
    pub epoch: Epoch,
    /// Whether new numbers are given out in this epoch; an old one only waits for its acknowledgements.
    pub current: bool,
    /// Lowest number that is held or gone; `next` where nothing is.
    pub first: Seq,
    /// The number that will be given out next.
    pub next: Seq,
    /// What the fleet has acknowledged.
    pub have: SeqSet,
    /// Numbers that wait for acknowledgement.
    pub waiting: u64,
    /// When the oldest of them was taken.
    pub oldest: Option<UnixMillis>,
    /// Highest series id up to which the fleet holds this epoch's dictionary (metrics alone).
    pub dict: Option<SeriesId>,
}

/// Numbers given up before they were acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GoneRange {
    pub(super) from: Seq,
    pub(super) to: Seq,
    pub(super) reason: LossReason,
    pub(super) range: TimeRange,
}

/// The part of a stream's standing that is one row of the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Core {
    pub(super) next: Seq,
    pub(super) acked: SeqSet,
    pub(super) dict: Option<SeriesId>,
    pub(super) gone: Vec<GoneRange>,
}

impl Core {
    pub(super) const fn new() -> Self {
        Self { next: Seq::FIRST, acked: SeqSet::new(), dict: None, gone: Vec::new() }
    }

    /// Notes that numbers are gone. Neighbours of the same reason become one range.
    pub(super) fn lose(&mut self, gone: GoneRange) {
        let at = self.gone.partition_point(|other| other.from < gone.from);
        self.gone.insert(at, gone);
        self.gone.dedup_by(|right, left| {
            let joins = left.reason == right.reason && right.from.0 <= left.to.0.saturating_add(1);
            if joins {
                left.to = left.to.max(right.to);
                left.range = left.range.cover(right.range);
            }
            joins
        });
    }

    /// The lowest gone range that reaches `at` or lies above it.
    fn gone_from(&self, at: Seq) -> Option<&GoneRange> {
        self.gone.iter().find(|gone| gone.to >= at)
    }

    /// As this is to be stored when numbers from `next` on are not on the disk yet.
    pub(super) fn before(&self, next: Seq) -> Self {
        let mut acked = SeqSet::new();
        for (from, to) in self.acked.ranges() {
            acked.insert(Seq(*from), Seq((*to).min(next.0.saturating_sub(1))));
        }
        Self { next: next.min(self.next), acked, ..self.clone() }
    }
}

/// What memory knows of a stored block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockMeta {
    /// Its row in the database. Rises with time.
    pub(super) id: i64,
    /// First number.
    pub(super) first: Seq,
    /// How many numbers.
    pub(super) rows: u32,
    /// Samples, lines or events.
    pub(super) records: u32,
    /// Bytes of the body.
    pub(super) bytes: u32,
    /// Time covered.
    pub(super) range: TimeRange,
    /// Highest series id in it, of samples; of log records what tells their lane.
    pub(super) high: Option<SeriesId>,
}

impl BlockMeta {
    /// Last number.
    pub(super) const fn last(&self) -> Seq {
        Seq(self.first.0 + self.rows as u64 - 1)
    }

    /// About when a number of it was taken, as if its numbers were spread evenly.
    pub(super) fn taken_at(&self, seq: Seq) -> UnixMillis {
        let span = i128::from(self.range.to.0) - i128::from(self.range.from.0);
        let part = span * i128::from(seq.0.saturating_sub(self.first.0)) / i128::from(self.rows.max(2) - 1);
        let at = i128::from(self.range.from.0) + part.clamp(0, span);
        UnixMillis(i64::try_from(at).unwrap_or(i64::MAX))
    }

    /// Room it takes in the database: the body and its row's other columns.
    pub(super) const fn room(&self) -> u64 {
        self.bytes as u64 + 64
    }
}

/// Where a number is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place {
    /// Given up.
    Gone(GoneRange),
    /// In a block.
    Block(BlockMeta),
}

/// One epoch of a stream.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    pub(super) kind: StreamKind,
    pub(super) epoch: Epoch,
    /// Whether new numbers are given out here.
    pub(super) current: bool,
    /// Whether the fleet has everything, so that only history is left.
    pub(super) forgotten: bool,
    pub(super) core: Core,
    pub(super) blocks: VecDeque<BlockMeta>,
    /// Room that the blocks take.
    pub(super) bytes: u64,
    /// Whether `core` differs from what is stored.
    pub(super) dirty: bool,
}

impl Stream {
    /// An epoch without blocks.
    pub(super) const fn new(kind: StreamKind, epoch: Epoch, current: bool, core: Core) -> Self {
        let blocks = VecDeque::new();
        Self { kind, epoch, current, forgotten: false, core, blocks, bytes: 0, dirty: true }
    }

    /// Whether this is the epoch of log records that stay here.
    pub(super) fn is_kept(&self) -> bool {
        self.kind == StreamKind::Logs && self.epoch == lanes::KEPT
    }

    /// Which lane the records of a block are in.
    pub(super) fn lane(&self, block: &BlockMeta) -> Lane {
        Lane::from_column(self.epoch, block.high)
    }

    /// Adds a block: above all others, but for what is left of one that was released in part.
    pub(super) fn add(&mut self, block: BlockMeta) {
        self.bytes += block.room();
        self.blocks.insert(self.blocks.partition_point(|other| other.id < block.id), block);
    }

    /// Takes a block out of the index.
    pub(super) fn remove(&mut self, id: i64) {
        if let Ok(at) = self.blocks.binary_search_by_key(&id, |block| block.id)
            && let Some(block) = self.blocks.remove(at)
        {
            self.bytes -= block.room();
        }
    }

    /// Whether the fleet has all of a block.
    pub(super) fn is_acked(&self, block: &BlockMeta) -> bool {
        self.forgotten || self.core.acked.missing(block.first, block.last()).is_empty()
    }

    /// Where `at` is, or the first number after it that is gone or in a block.
    pub(super) fn place(&self, at: Seq) -> Option<Place> {
        let block = self.blocks.get(self.blocks.partition_point(|block| block.last() < at));
        match (self.core.gone_from(at), block) {
            (Some(gone), Some(block)) if gone.from <= block.first.max(at) => Some(Place::Gone(*gone)),
            (Some(gone), None) => Some(Place::Gone(*gone)),
            (_, Some(block)) => Some(Place::Block(*block)),
            (None, None) => None,
        }
    }

    /// Takes an acknowledgement in; says whether it told anything new. Numbers that were never given out are not
    /// believed: they would make future data count as delivered.
    pub(super) fn acknowledge(&mut self, ack: &Ack) -> bool {
        let before = self.core.clone();
        for (from, to) in ack.have.ranges() {
            self.core.acked.insert(Seq(*from), Seq((*to).min(self.core.next.0 - 1)));
        }
        self.core.dict = self.core.dict.max(ack.dict);
        let acked = &self.core.acked;
        self.core.gone.retain(|gone| !acked.missing(gone.from, gone.to).is_empty());
        let changed = self.core != before;
        self.dirty |= changed;
        changed
    }

    /// Lowest number that is held or gone. `head` is the first number in memory.
    pub(super) fn first(&self, head: Option<Seq>) -> Seq {
        let gone = self.core.gone.first().map(|gone| gone.from);
        let block = self.blocks.front().map(|block| block.first);
        gone.into_iter().chain(block).chain(head).min().unwrap_or(self.core.next)
    }

    /// Numbers that wait for acknowledgement, lowest first.
    pub(super) fn waiting(&self, head: Option<Seq>) -> Vec<(Seq, Seq)> {
        let first = self.first(head);
        if self.forgotten || first >= self.core.next {
            return Vec::new();
        }
        self.core.acked.missing(first, Seq(self.core.next.0 - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(moment: i64) -> TimeRange {
        TimeRange::at(UnixMillis(moment))
    }

    fn gone(from: u64, to: u64, reason: LossReason) -> GoneRange {
        GoneRange { from: Seq(from), to: Seq(to), reason, range: at(from as i64) }
    }

    fn block(id: i64, first: u64, rows: u32) -> BlockMeta {
        BlockMeta { id, first: Seq(first), rows, records: rows, bytes: 100, range: at(first as i64), high: None }
    }

    fn stream() -> Stream {
        let mut stream = Stream::new(StreamKind::Metrics, Epoch(1), true, Core::new());
        stream.add(block(1, 5, 4));
        stream.add(block(2, 9, 1));
        stream.add(block(3, 12, 3));
        stream.core.next = Seq(15);
        stream
    }

    fn ack(ranges: &[(u64, u64)], dict: Option<u32>) -> Ack {
        Ack { stream: StreamKind::Metrics, epoch: Epoch(1), have: ranges.to_vec().into(), dict: dict.map(SeriesId) }
    }

    #[test]
    fn neighbours_of_one_reason_join() {
        let mut core = Core::new();
        core.lose(gone(5, 6, LossReason::Retention));
        core.lose(gone(9, 9, LossReason::Retention));
        core.lose(gone(1, 4, LossReason::Corrupt));
        assert_eq!(core.gone.len(), 3);
        core.lose(gone(7, 8, LossReason::Retention));
        assert_eq!(core.gone.len(), 2);
        assert_eq!((core.gone[1].from, core.gone[1].to), (Seq(5), Seq(9)));
        assert_eq!(core.gone[1].range, TimeRange { from: UnixMillis(5), to: UnixMillis(9) });
    }

    #[test]
    fn a_number_is_found_in_its_block_or_hidden_by_what_is_gone() {
        let mut stream = stream();
        let find = |stream: &Stream, n| match stream.place(Seq(n)) {
            Some(Place::Block(block)) => block.id,
            Some(Place::Gone(gone)) => -(gone.from.0 as i64),
            None => 0,
        };
        assert_eq!([1, 5, 8, 9, 10, 14, 15].map(|n| find(&stream, n)), [1, 1, 1, 2, 3, 3, 0]);
        stream.core.lose(gone(7, 7, LossReason::Oversize));
        stream.core.lose(gone(10, 11, LossReason::Retention));
        assert_eq!([1, 6, 7, 8, 9, 10, 11, 12].map(|n| find(&stream, n)), [1, 1, -7, 1, 2, -10, -10, 3]);
    }

    #[test]
    fn acknowledgements_merge_and_never_run_ahead() {
        let mut stream = stream();
        stream.core.lose(gone(1, 4, LossReason::Retention));
        assert_eq!(stream.first(None), Seq(1));
        assert!(stream.acknowledge(&ack(&[(1, 6)], Some(3))));
        assert!(!stream.acknowledge(&ack(&[(2, 6)], Some(2))), "nothing new");
        assert!(stream.core.gone.is_empty());
        assert_eq!(stream.core.dict, Some(SeriesId(3)));
        assert!(stream.acknowledge(&ack(&[(9, u64::MAX)], None)));
        assert_eq!(stream.core.acked.ranges(), [(1, 6), (9, 14)]);
        assert_eq!(stream.waiting(None), [(Seq(7), Seq(8))]);
        assert!(!stream.is_acked(&stream.blocks[0]) && stream.is_acked(&stream.blocks[1]));
        let stored = stream.core.before(Seq(12));
        assert_eq!((stored.next, stored.acked.ranges()), (Seq(12), &[(1, 6), (9, 11)][..]));
    }

    #[test]
    fn nothing_was_given_out_so_nothing_can_be_acknowledged() {
        let mut stream = Stream::new(StreamKind::Logs, Epoch(1), true, Core::new());
        assert!(!stream.acknowledge(&ack(&[(1, 100)], None)));
        assert_eq!(stream.waiting(None), []);
        assert_eq!(stream.first(None), Seq(1));
    }

    #[test]
    fn room_is_counted_by_block() {
        let mut stream = stream();
        stream.remove(2);
        stream.remove(77);
        assert_eq!(stream.bytes, stream.blocks.iter().map(BlockMeta::room).sum::<u64>());
        assert_eq!(stream.blocks.len(), 2);
    }
}
