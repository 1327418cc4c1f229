//! Which blocks of log records have to go: pure planning.
//!
//! In this order: what is too old; of each budget what exceeds it; of what stays here what exceeds its room; then of all
//! what exceeds the room of log records. Each step takes first what the fleet has, then what stays here, and only where
//! the policy allows it what the fleet does not have.
//!
//! A budget that blocks is a promise both ways. Its source waits as soon as unacknowledged blocks fill it, so the planner
//! only takes what came all the same past [`BLOCK_SLACK_BYTES`], from sources that cannot wait. And others may not push
//! its blocks out: all such budgets together fit the room of log records, so there is always something else to take.

use super::super::config::{Policy, Retention};
use super::super::retention::{STEP, Victim, Worth, candidates, take};
use super::super::streams::{BlockMeta, Stream};
use super::{Budget, Lane};
use skerry_model::{StreamKind, UnixMillis};
use std::collections::BTreeSet;

/// By how much a budget that blocks may be exceeded before its oldest records go: what its source had read when it was
/// told to wait. Batches of 256 KiB are in the tailer's hands, two in its channel, one on the way, in the store's channel
/// and in its buffer; incompressible lines take in blocks what they take in memory.
pub(in crate::store) const BLOCK_SLACK_BYTES: u64 = 2 << 20;

/// Room of log records.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Room<'a> {
    pub(in crate::store) logs: &'a Retention,
    pub(in crate::store) kept: &'a Retention,
    pub(in crate::store) budgets: &'a [Budget],
}

impl Room<'_> {
    /// Whether others may not push out what the fleet does not have of a lane.
    pub(in crate::store) fn is_promised(&self, lane: Lane) -> bool {
        let of = self.budgets.iter().find(|budget| budget.tag == lane.budget);
        self.logs.policy == Policy::Block || of.is_some_and(|budget| budget.policy == Policy::Block)
    }

    /// Whether a block that stays here has done so for long enough.
    pub(in crate::store) fn is_past(&self, block: &BlockMeta, now: UnixMillis) -> bool {
        !self.kept.max_age.0.is_zero() && now.since(block.range.to) > self.kept.max_age.0
    }

    /// Blocks that have to go so that `incoming` ones find room, when those in `leaving` go anyway.
    pub(in crate::store) fn plan(
        &self,
        streams: &[Stream],
        incoming: &[(Lane, u64)],
        leaving: &BTreeSet<i64>,
        now: UnixMillis,
    ) -> Vec<Victim> {
        let mut plan = Plan { streams, incoming, gone: leaving.clone(), victims: Vec::new() };
        let is_old = |stream: &Stream, block: &BlockMeta| match stream.is_kept() {
            true => self.is_past(block, now),
            false => {
                let max_age = self.logs.max_age.0;
                !max_age.is_zero() && now.since(block.range.to) > max_age && stream.is_acked(block)
            }
        };
        plan.take_all(is_old);
        for budget in self.budgets {
            let of = |lane: Lane| lane.budget == budget.tag;
            match budget.policy {
                Policy::DropOldest => plan.fit(of, budget.max_bytes, |_| true),
                Policy::Block => {
                    plan.fit(of, budget.max_bytes, |_| false);
                    plan.fit(of, budget.max_bytes + BLOCK_SLACK_BYTES, |_| true);
                }
            }
        }
        plan.fit(|lane| lane.is_kept, self.kept.max_bytes.0, |_| true);
        plan.fit(|_| true, self.logs.max_bytes.0, |lane| !self.is_promised(lane));
        plan.victims
    }

    /// Whether each budget's source has to wait. `waiting` are bytes in memory by lane.
    pub(in crate::store) fn closed(&self, streams: &[Stream], waiting: &[(Lane, usize)]) -> Vec<bool> {
        let is_closed = |budget: &Budget| {
            if budget.policy != Policy::Block {
                return false;
            }
            let of = |lane: Lane| lane.budget == budget.tag && !lane.is_kept;
            let blocks = streams.iter().filter(|stream| stream.kind == StreamKind::Logs && !stream.forgotten);
            let blocks = blocks.flat_map(|stream| stream.blocks.iter().map(move |block| (stream, block)));
            let stuck = blocks.filter(|(stream, block)| of(stream.lane(block)) && !stream.is_acked(block));
            let memory = waiting.iter().filter(|(lane, _)| of(*lane)).map(|(_, bytes)| *bytes as u64);
            stuck.map(|(_, block)| block.room()).chain(memory).sum::<u64>() >= budget.max_bytes
        };
        self.budgets.iter().map(is_closed).collect()
    }
}

struct Plan<'a> {
    streams: &'a [Stream],
    incoming: &'a [(Lane, u64)],
    gone: BTreeSet<i64>,
    victims: Vec<Victim>,
}

impl Plan<'_> {
    fn take_all(&mut self, of: impl Fn(&Stream, &BlockMeta) -> bool) {
        for (at, stream) in self.streams.iter().enumerate().filter(|(_, stream)| stream.kind == StreamKind::Logs) {
            for block in &stream.blocks {
                if !self.gone.contains(&block.id) && of(stream, block) {
                    self.gone.insert(block.id);
                    self.victims.push(Victim { stream: at, block: *block });
                }
            }
        }
    }

    /// Takes what exceeds `max_bytes` of some lanes, and a little more.
    fn fit(&mut self, of: impl Fn(Lane) -> bool, max_bytes: u64, may_lose: impl Fn(Lane) -> bool) {
        let ours = |stream: &Stream, block: &BlockMeta| {
            stream.kind == StreamKind::Logs && !self.gone.contains(&block.id) && of(stream.lane(block))
        };
        let incoming: u64 = self.incoming.iter().filter(|(lane, _)| of(*lane)).map(|(_, bytes)| bytes).sum();
        let held = self.streams.iter().flat_map(|stream| stream.blocks.iter().map(move |block| (stream, block)));
        let held: u64 = held.filter(|(stream, block)| ours(stream, block)).map(|(_, block)| block.room()).sum();
        let used = held + incoming;
        if used <= max_bytes {
            return;
        }
        let target = max_bytes - max_bytes / STEP;
        let found: Vec<(Worth, Victim)> = candidates(self.streams, ours, |stream, block| may_lose(stream.lane(block)));
        let before = self.victims.len();
        take(&mut self.victims, found, used - target);
        self.gone.extend(self.victims[before..].iter().map(|victim| victim.block.id));
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::streams::Core;
    use super::super::KEPT;
    use super::*;
    use skerry_model::{Bytes, Epoch, Span, TimeRange};

    const NOISY: Lane = Lane { is_kept: false, budget: 1, held_by: 0 };
    const DEAR: Lane = Lane { is_kept: false, budget: 2, held_by: 0 };
    const FREE: Lane = Lane { is_kept: false, budget: 0, held_by: 0 };
    const KEPT_FREE: Lane = Lane { is_kept: true, budget: 0, held_by: 0 };

    /// Blocks of 1000 bytes of room each in these lanes, oldest first, ids and seconds from 1 on; `acked` by id.
    fn streams(lanes: &[Lane], acked: &[i64]) -> Vec<Stream> {
        let mut shipped = Stream::new(StreamKind::Logs, Epoch(5), true, Core::new());
        let mut kept = Stream::new(StreamKind::Logs, KEPT, false, Core::new());
        kept.forgotten = true;
        for (id, lane) in (1i64..).zip(lanes) {
            let stream = if lane.is_kept { &mut kept } else { &mut shipped };
            stream.add(BlockMeta {
                id,
                first: stream.core.next,
                rows: 1,
                records: 1,
                bytes: 936,
                range: TimeRange::at(UnixMillis(id * 1000)),
                high: lane.column(),
            });
            let seq = stream.core.next;
            stream.core.next = seq.next();
            if acked.contains(&id) {
                stream.core.acked.insert(seq, seq);
            }
        }
        vec![shipped, kept]
    }

    fn keep(max_bytes: u64, max_age: u64, policy: Policy) -> Retention {
        Retention { max_bytes: Bytes(max_bytes), max_age: Span::secs(max_age), policy }
    }

    fn budgets(noisy: Policy) -> Vec<Budget> {
        let budget = |tag, max_bytes, policy| Budget { tag, matchers: Vec::new(), max_bytes, policy };
        vec![budget(1, 3_000, noisy), budget(2, 4_000, Policy::Block)]
    }

    fn ids(victims: &[Victim]) -> Vec<i64> {
        victims.iter().map(|victim| victim.block.id).collect()
    }

    #[test]
    fn a_noisy_source_pays_itself_and_the_total_holds() {
        let (logs, kept) = (keep(10_000, 0, Policy::DropOldest), keep(2_000, 0, Policy::DropOldest));
        let budgets = budgets(Policy::DropOldest);
        let room = Room { logs: &logs, kept: &kept, budgets: &budgets };
        let plan = |lanes: &[Lane], acked: &[i64], incoming: &[(Lane, u64)]| {
            ids(&room.plan(&streams(lanes, acked), incoming, &BTreeSet::new(), UnixMillis(0)))
        };
        assert_eq!(plan(&[FREE, NOISY, NOISY, NOISY, NOISY], &[], &[]), [2, 3], "its own oldest, with a step");
        assert_eq!(plan(&[FREE, NOISY, NOISY, NOISY], &[4], &[(NOISY, 1_000)]), [4, 2], "delivered before older");
        assert_eq!(plan(&[FREE; 10], &[], &[]), [0i64; 0]);
        assert_eq!(plan(&[FREE; 10], &[], &[(NOISY, 500)]), [1]);
        assert_eq!(plan(&[KEPT_FREE, KEPT_FREE, FREE], &[], &[(KEPT_FREE, 1)]), [1]);
        let crowd = [DEAR, FREE, KEPT_FREE, FREE, FREE, FREE, FREE, FREE, FREE, DEAR];
        assert_eq!(plan(&crowd, &[7], &[(FREE, 3_000)]), [7, 3, 2, 4], "delivered, kept, then the oldest that may go");
    }

    #[test]
    fn what_blocks_is_not_pushed_out_and_does_not_grow_without_bound() {
        let (logs, kept) = (keep(5_000, 0, Policy::DropOldest), keep(9_000, 0, Policy::DropOldest));
        let budgets = budgets(Policy::Block);
        let room = Room { logs: &logs, kept: &kept, budgets: &budgets };
        let full = streams(&[NOISY, NOISY, NOISY, FREE, DEAR], &[]);
        assert_eq!(ids(&room.plan(&full, &[(FREE, 9_000)], &BTreeSet::new(), UnixMillis(0))), [4]);
        assert_eq!(room.closed(&full, &[]), [true, false]);
        assert_eq!(room.closed(&full, &[(DEAR, 2_999)]), [true, false]);
        assert_eq!(room.closed(&full, &[(DEAR, 3_000)]), [true, true]);
        assert_eq!(room.closed(&streams(&[NOISY; 3], &[2]), &[]), [false, false]);
        let past = [(NOISY, BLOCK_SLACK_BYTES)];
        let logs = keep(1 << 30, 0, Policy::DropOldest);
        let room = Room { logs: &logs, ..room };
        assert_eq!(ids(&room.plan(&full, &past, &BTreeSet::new(), UnixMillis(0))), [0i64; 0]);
        let past = [(NOISY, BLOCK_SLACK_BYTES + 1)];
        assert_eq!(ids(&room.plan(&full, &past, &BTreeSet::new(), UnixMillis(0))), [1, 2, 3]);
    }

    #[test]
    fn age_takes_what_is_delivered_or_kept() {
        let (logs, kept) = (keep(1 << 20, 3, Policy::DropOldest), keep(1 << 20, 5, Policy::DropOldest));
        let room = Room { logs: &logs, kept: &kept, budgets: &[] };
        let streams = streams(&[FREE, FREE, KEPT_FREE, KEPT_FREE, FREE], &[1, 5]);
        let plan = |at| ids(&room.plan(&streams, &[], &BTreeSet::new(), UnixMillis(at)));
        assert_eq!(plan(4_000), [0i64; 0]);
        assert_eq!(plan(8_500), [1, 5, 3]);
        assert_eq!(plan(i64::MAX), [1, 5, 3, 4]);
        let leaving = BTreeSet::from([3]);
        assert_eq!(ids(&room.plan(&streams, &[], &leaving, UnixMillis(i64::MAX))), [1, 5, 4]);
    }
}
