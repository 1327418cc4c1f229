//! Which blocks have to go: pure planning.
//!
//! What the fleet has acknowledged goes first and in silence. Only then, and only where the stream's policy allows
//! it, go the oldest unacknowledged blocks, into the loss ledger. Age alone takes acknowledged blocks only: a clock
//! that jumps a year ahead must not cost data that nobody else has.

use super::config::{Policy, Retention};
use super::streams::{BlockMeta, Stream};
use skerry_model::{StreamKind, UnixMillis};
use std::collections::BTreeSet;

/// A block that has to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Victim {
    /// Its stream, by place in the list of streams.
    pub(super) stream: usize,
    /// The block.
    pub(super) block: BlockMeta,
}

/// Part of the room that is freed at a time, so that a full store evicts (and writes a ledger entry) once in a while
/// and not with every commit: one in this many.
pub(super) const STEP: u64 = 50;

/// Blocks of one kind that have to go so that `incoming` more bytes find room.
pub(super) fn plan(
    streams: &[Stream],
    kind: StreamKind,
    keep: &Retention,
    incoming: u64,
    now: UnixMillis,
) -> Vec<Victim> {
    let ours = || streams.iter().enumerate().filter(move |(_, stream)| stream.kind == kind);
    let mut victims = Vec::new();
    let mut used = incoming + ours().map(|(_, stream)| stream.bytes).sum::<u64>();
    if !keep.max_age.0.is_zero() {
        for (at, stream) in ours() {
            // Each by itself: one with a time far ahead must not keep those behind it.
            let old = stream.blocks.iter();
            let old = old.filter(|block| now.since(block.range.to) > keep.max_age.0 && stream.is_acked(block));
            victims.extend(old.map(|block| Victim { stream: at, block: *block }));
        }
        used -= victims.iter().map(|victim| victim.block.room()).sum::<u64>();
    }
    if used > keep.max_bytes.0 {
        let target = keep.max_bytes.0 - keep.max_bytes.0 / STEP;
        let may_lose = keep.policy == Policy::DropOldest;
        let mut candidates = candidates(streams, |stream, _| stream.kind == kind, |_, _| may_lose);
        let named: BTreeSet<i64> = victims.iter().map(|victim| victim.block.id).collect();
        candidates.retain(|(_, candidate)| !named.contains(&candidate.block.id));
        take(&mut victims, candidates, used - target.min(used));
    }
    victims
}

/// Blocks of any kind that have to go so that `need` bytes come free: the disk or the whole database is full.
/// `blocking` says which may not be lost while they are unacknowledged.
pub(super) fn emergency(streams: &[Stream], need: u64, blocking: impl Fn(&Stream, &BlockMeta) -> bool) -> Vec<Victim> {
    let mut victims = Vec::new();
    take(&mut victims, candidates(streams, |_, _| true, |stream, block| !blocking(stream, block)), need);
    victims
}

/// How dear a block is: the cheapest go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worth {
    /// The centre has it.
    Delivered,
    /// Log records that stay here: nobody else has them, and nobody waits for them.
    Kept,
    /// Samples and log records.
    Data,
    /// Events are few, and say what is missing of the rest.
    Event,
}

/// Blocks that may go, cheapest first and of one worth oldest first.
pub(super) fn candidates(
    streams: &[Stream],
    of: impl Fn(&Stream, &BlockMeta) -> bool,
    may_lose: impl Fn(&Stream, &BlockMeta) -> bool,
) -> Vec<(Worth, Victim)> {
    let mut list = Vec::new();
    for (at, stream) in streams.iter().enumerate() {
        for block in stream.blocks.iter().filter(|block| of(stream, block)) {
            let worth = match stream.kind {
                _ if stream.is_kept() => Worth::Kept,
                _ if stream.is_acked(block) => Worth::Delivered,
                _ if !may_lose(stream, block) => continue,
                StreamKind::Events => Worth::Event,
                StreamKind::Metrics | StreamKind::Logs => Worth::Data,
            };
            list.push((worth, Victim { stream: at, block: *block }));
        }
    }
    list.sort_unstable_by_key(|(worth, victim)| (*worth, victim.block.id));
    list
}

pub(super) fn take(victims: &mut Vec<Victim>, candidates: Vec<(Worth, Victim)>, need: u64) {
    let mut freed = 0;
    for (_, victim) in candidates {
        if freed >= need {
            break;
        }
        freed += victim.block.room();
        victims.push(victim);
    }
}

#[cfg(test)]
mod tests {
    use super::super::streams::Core;
    use super::*;
    use skerry_model::{Bytes, Epoch, Seq, Span, TimeRange};

    /// Ten blocks of 936 + 64 bytes each; numbers 1 to 10, taken at 0, 1000, … ms. `acked` are acknowledged.
    fn stream(kind: StreamKind, id_base: i64, acked: &[(u64, u64)]) -> Stream {
        let mut stream = Stream::new(kind, Epoch(1), true, Core::new());
        for n in 0..10i64 {
            stream.add(BlockMeta {
                id: id_base + n,
                first: Seq(n as u64 + 1),
                rows: 1,
                records: 1,
                bytes: 936,
                range: TimeRange::at(UnixMillis(n * 1000)),
                high: None,
            });
        }
        stream.core.next = Seq(11);
        stream.core.acked = acked.to_vec().into();
        stream
    }

    fn keep(max_bytes: u64, max_age: Span, policy: Policy) -> Retention {
        Retention { max_bytes: Bytes(max_bytes), max_age, policy }
    }

    fn numbers(victims: &[Victim]) -> Vec<u64> {
        victims.iter().map(|victim| victim.block.first.0).collect()
    }

    const NEVER: Span = Span::secs(0);

    #[test]
    fn room_takes_delivered_blocks_first_then_the_oldest() {
        let streams = [stream(StreamKind::Logs, 1, &[(3, 4)]), stream(StreamKind::Metrics, 100, &[])];
        let plan = |max, incoming, policy| {
            let keep = keep(max, NEVER, policy);
            numbers(&plan(&streams, StreamKind::Logs, &keep, incoming, UnixMillis(0)))
        };
        assert!(plan(10_000, 0, Policy::DropOldest).is_empty());
        assert_eq!(plan(10_000, 1, Policy::DropOldest), [3], "2 % are freed at a time");
        assert_eq!(plan(8_000, 0, Policy::DropOldest), [3, 4, 1]);
        assert_eq!(plan(8_000, 0, Policy::Block), [3, 4], "what is not delivered stays");
        assert_eq!(plan(1_000, 50_000, Policy::DropOldest).len(), 10);
    }

    #[test]
    fn age_takes_delivered_blocks_alone() {
        let streams = [stream(StreamKind::Logs, 1, &[(1, 3), (5, 5)])];
        let old = |now| {
            let keep = keep(1 << 20, Span::secs(3), Policy::DropOldest);
            numbers(&plan(&streams, StreamKind::Logs, &keep, 0, UnixMillis(now)))
        };
        assert!(old(3000).is_empty());
        assert_eq!(old(5000), [1, 2]);
        assert_eq!(old(i64::MAX), [1, 2, 3, 5], "the fourth is not delivered, whatever the clock says");
    }

    #[test]
    fn a_time_far_off_keeps_no_other_block_from_growing_old() {
        let mut streams = [stream(StreamKind::Logs, 1, &[(1, 10)])];
        streams[0].blocks[1].range.to = UnixMillis(i64::MAX);
        streams[0].blocks[8].range = TimeRange::at(UnixMillis(i64::MIN));
        let keep = keep(1 << 20, Span::secs(3), Policy::DropOldest);
        assert_eq!(numbers(&plan(&streams, StreamKind::Logs, &keep, 0, UnixMillis(6000))), [1, 3, 9]);
    }

    #[test]
    fn age_and_room_do_not_name_a_block_twice() {
        let streams = [stream(StreamKind::Logs, 1, &[(1, 3)])];
        let keep = keep(5_000, Span::secs(3), Policy::DropOldest);
        assert_eq!(numbers(&plan(&streams, StreamKind::Logs, &keep, 0, UnixMillis(5500))), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn an_emergency_spares_events_and_blocking_streams() {
        let streams = [
            stream(StreamKind::Events, 1, &[(2, 2)]),
            stream(StreamKind::Logs, 20, &[]),
            stream(StreamKind::Metrics, 40, &[(10, 10)]),
        ];
        let kinds = |need, blocking: bool| {
            let victims = emergency(&streams, need, |stream, _| blocking && stream.kind == StreamKind::Logs);
            victims.iter().map(|victim| (victim.stream, victim.block.first.0)).collect::<Vec<_>>()
        };
        assert_eq!(kinds(2_000, false), [(0, 2), (2, 10)]);
        assert_eq!(kinds(4_000, false), [(0, 2), (2, 10), (1, 1), (1, 2)]);
        assert_eq!(kinds(4_000, true), [(0, 2), (2, 10), (2, 1), (2, 2)]);
        assert_eq!(kinds(12_000, true).last(), Some(&(0, 1)), "events last");
        assert_eq!(kinds(u64::MAX, false).len(), 30);
    }
}
