//! What one commit will change, in the database and then in memory.
//!
//! A draft is made from the writer's state without changing it, written in one transaction, and only then applied.

use super::age;
use super::blocks::{self, Body};
use super::commit::Due;
use super::head::{self, Row};
use super::held;
use super::lanes::{Lane, Move};
use super::ledger::Losses;
use super::retention::{self, Victim};
use super::streams::{BlockMeta, Core, GoneRange, Stream};
use super::transact::{BlockRow, Change, Changes, StreamRow};
use super::writer::Writer;
use skerry_model::Now;
use skerry_model::{LossEntry, LossReason, Seq, SeriesId, StreamKind, TimeRange, UnixMillis};
use skerry_wire::{Event, EventKind, codec};
use std::collections::{BTreeMap, BTreeSet};

/// What a commit says about this run of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Running {
    /// Nothing.
    Keep,
    /// It began then, and has not ended in order.
    Set(UnixMillis),
    /// It ends in order.
    Clear,
}

/// Key of the mark that a run has not ended in order.
pub(super) const RUNNING: &str = "running";

/// What goes into a commit beside what waits in memory.
#[derive(Debug, Default)]
pub(super) struct Extra {
    pub(super) events: Vec<Event>,
    pub(super) state: Vec<Change>,
    /// Blocks that cannot be read.
    pub(super) corrupt: Vec<Victim>,
    /// Log records that stayed here and are shipped now.
    pub(super) moves: Vec<Move>,
}

/// A commit in the making.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) changes: Changes,
    cores: BTreeMap<usize, Core>,
    victims: Vec<(Victim, LossReason)>,
    blocks: Vec<(usize, BlockMeta)>,
    /// Blocks that move, and what is left of them where they were.
    moved: Vec<(BlockMeta, Option<BlockMeta>)>,
    losses: Losses,
    forgotten: Vec<usize>,
    head_through: Option<Seq>,
    takes_logs: bool,
    series_saved: Option<SeriesId>,
    lost_records: u64,
    evicts_all: bool,
    is_empty: bool,
}

impl Draft {
    /// The commit of what is due, with `extra`, that frees `squeeze` bytes more than retention asks for.
    pub(super) fn new(w: &Writer, due: Due, extra: &Extra, squeeze: u64, now: Now) -> Self {
        let mut draft = Self { takes_logs: due.logs || w.logs.has_no_records(), ..Self::default() };
        if !draft.has_reason(w, due, extra) {
            return Self { is_empty: true, ..Self::default() };
        }
        draft.losses = w.losses.clone();
        if due.scrapes {
            draft.take_scrapes(w, now);
        }
        if draft.takes_logs {
            draft.take_logs(w, now);
        }
        draft.take_moves(w, extra);
        draft.evict(w, extra, squeeze, now);
        draft.take_events(w, extra, now);
        let waiting = w.state_waiting.iter().map(|(key, value)| (key.clone(), value.clone()));
        draft.changes.state = waiting.chain(extra.state.iter().cloned()).collect();
        draft.changes.own.extend(w.held.unstored().map(|number| (held::KEY.into(), Some(number))));
        match w.running {
            Running::Keep => {}
            Running::Set(at) => draft.changes.own.push((RUNNING.into(), Some(at.0.to_le_bytes().to_vec()))),
            Running::Clear => draft.changes.own.push((RUNNING.into(), None)),
        }
        if w.age.is_due() || w.running == Running::Clear {
            draft.changes.own.push((age::KEY.into(), Some(w.age.encode())));
        }
        draft.store_streams(w);
        draft.retire_series(w, due);
        draft
    }

    /// Whether there is anything that deserves a transaction. Acknowledgements and losses ride along with others.
    fn has_reason(&self, w: &Writer, due: Due, extra: &Extra) -> bool {
        let flush = due == Due::ALL;
        w.running != Running::Keep
            || !(extra.events.is_empty() && extra.state.is_empty() && extra.corrupt.is_empty())
            || w.has_waiting()
            || !extra.moves.is_empty()
            || (due.scrapes && w.head.len() > 0)
            || (due.logs && !w.logs.is_empty())
            || (due.logs && !w.losses.is_empty())
            || (flush && w.streams.iter().any(|stream| stream.dirty))
    }

    /// Whether there is nothing to write.
    pub(super) const fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Whether nothing is left that could be evicted to make room.
    pub(super) const fn evicts_all(&self) -> bool {
        self.evicts_all
    }

    /// Bytes of the new blocks.
    pub(super) fn bytes(&self) -> u64 {
        self.blocks.iter().map(|(_, meta)| meta.room()).sum()
    }

    fn core(&mut self, w: &Writer, at: usize) -> &mut Core {
        self.cores.entry(at).or_insert_with(|| w.streams[at].core.clone())
    }

    fn add_block(&mut self, w: &Writer, at: usize, first: Seq, rows: usize, body: Body) {
        let id = w.next_block + self.blocks.len() as i64;
        let meta = self.put_block(w, at, id, first, rows, body);
        self.blocks.push((at, meta));
    }

    fn put_block(&mut self, w: &Writer, at: usize, id: i64, first: Seq, rows: usize, body: Body) -> BlockMeta {
        let stream = &w.streams[at];
        let meta = BlockMeta {
            id,
            first,
            rows: u32::try_from(rows).unwrap_or(u32::MAX),
            records: body.records,
            bytes: u32::try_from(body.bytes.len()).unwrap_or(u32::MAX),
            range: body.range,
            high: body.high,
        };
        self.changes.blocks.push(BlockRow { kind: stream.kind, epoch: stream.epoch, meta, body: body.bytes });
        meta
    }

    /// Adds a block of log records, which has one number.
    fn add_logs(&mut self, w: &Writer, at: usize, body: Body) {
        let seq = self.core(w, at).next;
        self.core(w, at).next = seq.next();
        self.add_block(w, at, seq, 1, body);
    }

    fn take_moves(&mut self, w: &Writer, extra: &Extra) {
        let (shipped, kept) = (w.current(StreamKind::Logs), w.kept_stream());
        for Move { block, shipped: body, stays } in &extra.moves {
            self.changes.deleted.push(block.id);
            self.add_logs(w, shipped, body.clone());
            // Under its old name, so that it keeps its age among the others.
            let left = stays.clone().map(|body| self.put_block(w, kept, block.id, block.first, 1, body));
            self.moved.push((*block, left));
        }
    }

    fn lose(&mut self, stream: StreamKind, reason: LossReason, count: u64, range: TimeRange) {
        self.losses.add(LossEntry { stream, reason, count: Some(count), range, source: String::new() });
    }

    fn take_scrapes(&mut self, w: &Writer, now: Now) {
        let at = w.current(StreamKind::Metrics);
        let mut next = w.head.first();
        while let Some(from) = next {
            let run = w.head.run_from(from);
            let (Some(first), Some(last)) = (run.first(), run.last()) else { break };
            next = Some(last.seq.next());
            self.head_through = Some(last.seq);
            match blocks::metrics(&head::block(&run)) {
                Ok(body) => self.add_block(w, at, first.seq, run.len(), body),
                Err(_) => {
                    let range = head::range(&run).unwrap_or(TimeRange::at(now.wall));
                    let samples = run.iter().map(|row: &&Row| row.values.len() as u64).sum();
                    let gone = GoneRange { from: first.seq, to: last.seq, reason: LossReason::Oversize, range };
                    self.core(w, at).lose(gone);
                    self.lose(StreamKind::Metrics, LossReason::Oversize, samples, range);
                }
            }
        }
        if self.head_through.is_some() {
            self.changes.series = w.series.unsaved().map(|(id, labels)| (id, codec::encode(labels))).collect();
            self.series_saved = Some(w.series.highest());
        }
    }

    fn take_logs(&mut self, w: &Writer, now: Now) {
        let (shipped, kept) = (w.current(StreamKind::Logs), w.kept_stream());
        let (bodies, unencoded) = w.logs.bodies(now.mono);
        for (lane, body) in bodies {
            let at = if lane.is_kept { kept } else { shipped };
            self.add_logs(w, at, Body { high: lane.column(), ..body });
        }
        for loss in unencoded {
            self.losses.add(loss);
        }
        self.changes.positions = w.logs.positions.iter().map(|(key, state)| (key.clone(), state.clone())).collect();
        for loss in w.logs.losses.entries() {
            self.losses.add(loss.clone());
        }
    }

    fn evict(&mut self, w: &Writer, extra: &Extra, squeeze: u64, now: Now) {
        self.victims.extend(extra.corrupt.iter().map(|victim| (*victim, LossReason::Corrupt)));
        let incoming = |kind| {
            let ours = self.blocks.iter().filter(|(at, _)| w.streams[*at].kind == kind);
            ours.map(|(_, meta)| meta.room()).sum()
        };
        let keeps = [(StreamKind::Metrics, &w.config.metrics), (StreamKind::Events, &w.config.events)];
        let (age_now, room) = (w.age.now(now.wall), w.log_room());
        let mut named: BTreeSet<i64> = self.moved.iter().map(|(block, _)| block.id).collect();
        let logs = self.blocks.iter().filter(|(at, _)| w.streams[*at].kind == StreamKind::Logs);
        let logs: Vec<(Lane, u64)> = logs.map(|(at, meta)| (w.streams[*at].lane(meta), meta.room())).collect();
        let mut planned: Vec<(Victim, LossReason)> = keeps
            .into_iter()
            .flat_map(|(kind, keep)| retention::plan(&w.streams, kind, keep, incoming(kind), age_now))
            .chain(room.plan(&w.streams, &logs, &named, age_now))
            .map(|victim| (victim, LossReason::Retention))
            .collect();
        if squeeze > 0 {
            let blocking = |stream: &Stream, block: &BlockMeta| {
                stream.kind == StreamKind::Logs && room.is_promised(stream.lane(block))
            };
            let forced = retention::emergency(&w.streams, squeeze, blocking);
            let freed: u64 = forced.iter().map(|victim| victim.block.room()).sum();
            self.evicts_all = freed < squeeze;
            planned.extend(forced.into_iter().map(|victim| (victim, LossReason::DiskFull)));
        }
        named.extend(self.victims.iter().map(|(victim, _)| victim.block.id));
        planned.retain(|(victim, _)| named.insert(victim.block.id));
        self.victims.extend(planned);
        for (victim, reason) in self.victims.clone() {
            self.changes.deleted.push(victim.block.id);
            if w.streams[victim.stream].is_kept() {
                // What has stayed for as long as it was to be kept is no loss.
                if reason == LossReason::Corrupt || !room.is_past(&victim.block, age_now) {
                    self.give_up_kept(&victim.block, reason);
                }
            } else {
                self.give_up(w, victim, reason);
            }
        }
    }

    fn give_up_kept(&mut self, block: &BlockMeta, reason: LossReason) {
        let count = u64::from(block.records);
        self.lost_records += count;
        let (stream, source) = (StreamKind::Logs, "kept".into());
        self.losses.add(LossEntry { stream, reason, count: Some(count), range: block.range, source });
    }

    /// Books what of a block the fleet does not have.
    fn give_up(&mut self, w: &Writer, Victim { stream: at, block }: Victim, reason: LossReason) {
        let stream = &w.streams[at];
        if stream.is_acked(&block) {
            return;
        }
        let missing = stream.core.acked.missing(block.first, block.last());
        for (from, to) in &missing {
            self.core(w, at).lose(GoneRange { from: *from, to: *to, reason, range: block.range });
        }
        let rows: u64 = missing.iter().map(|(from, to)| to.0 - from.0 + 1).sum();
        // Part of a block: count exactly where it can still be read.
        let count = if rows == u64::from(block.rows) { None } else { w.samples_in(&block, &missing) };
        let count = count.unwrap_or(u64::from(block.records) * rows / u64::from(block.rows));
        self.lost_records += count;
        self.lose(stream.kind, reason, count, block.range);
    }

    fn take_events(&mut self, w: &Writer, extra: &Extra, now: Now) {
        let mut events: Vec<Event> = w.events.iter().chain(&extra.events).cloned().collect();
        let losses = self.losses.entries().cloned();
        events.extend(losses.map(|entry| Event { at: now.wall, kind: EventKind::Loss(entry) }));
        let (mut bodies, oversize) = blocks::events(&events);
        if oversize > 0 {
            self.lose(StreamKind::Events, LossReason::Oversize, oversize as u64, TimeRange::at(now.wall));
            let entries = self.losses.entries().filter(|entry| entry.stream == StreamKind::Events);
            let more: Vec<Event> =
                entries.map(|entry| Event { at: now.wall, kind: EventKind::Loss(entry.clone()) }).collect();
            bodies.extend(blocks::events(&more).0);
        }
        let at = w.current(StreamKind::Events);
        for body in bodies {
            let seq = self.core(w, at).next;
            self.core(w, at).next = seq.next();
            self.add_block(w, at, seq, 1, body);
        }
        self.changes.losses = self.losses.entries().cloned().collect();
    }

    fn store_streams(&mut self, w: &Writer) {
        for (at, stream) in w.streams.iter().enumerate() {
            if stream.forgotten || !(stream.dirty || self.cores.contains_key(&at) || self.has_block_of(at)) {
                continue;
            }
            let mut core = self.core(w, at).clone();
            let finished = !stream.current && core.gone.is_empty() && is_delivered(stream, &core);
            if stream.kind == StreamKind::Metrics && stream.current {
                let through = self.head_through.unwrap_or(Seq(0));
                let in_memory = w.head.rows().map(|row| row.seq).find(|seq| *seq > through);
                core = core.before(in_memory.unwrap_or(core.next));
            }
            if finished {
                self.forgotten.push(at);
            }
            self.changes.streams.push(StreamRow {
                kind: stream.kind,
                epoch: stream.epoch,
                current: stream.current,
                core: (!finished).then(|| codec::encode(&core)),
            });
        }
    }

    fn has_block_of(&self, at: usize) -> bool {
        self.blocks.iter().any(|(of, _)| *of == at)
    }

    /// Marks the retired series with the last block that may use them, which is known once all rows are in blocks.
    fn retire_series(&mut self, w: &Writer, due: Due) {
        if due.scrapes {
            let newest = w.next_block + self.blocks.len() as i64 - 1;
            self.changes.retired = (w.retired.clone(), newest);
        }
        let evicted: BTreeSet<i64> = self.changes.deleted.iter().copied().collect();
        if self.victims.iter().any(|(victim, _)| w.streams[victim.stream].kind == StreamKind::Metrics) {
            let kept = w.streams.iter().filter(|stream| stream.kind == StreamKind::Metrics);
            let oldest =
                kept.flat_map(|stream| stream.blocks.iter().map(|block| block.id).find(|id| !evicted.contains(id)));
            self.changes.forget_series_below = Some(oldest.min().unwrap_or(w.next_block));
        }
    }

    /// Makes memory say what the database now says.
    pub(super) fn apply(self, w: &mut Writer, now: Now) {
        w.next_block += self.blocks.len() as i64;
        w.stats.commits += 1;
        w.stats.lost_records += self.lost_records;
        w.stats.stored(&self.blocks.iter().map(|(at, meta)| (w.streams[*at].kind, *meta)).collect::<Vec<_>>());
        for (at, core) in self.cores {
            w.streams[at].core = core;
            w.streams[at].dirty = false;
        }
        for (victim, reason) in &self.victims {
            w.streams[victim.stream].remove(victim.block.id);
            w.stats.evicted(*reason, &victim.block);
        }
        let kept = w.kept_stream();
        for (block, left) in self.moved {
            w.streams[kept].remove(block.id);
            left.into_iter().for_each(|left| w.streams[kept].add(left));
        }
        for (at, meta) in self.blocks {
            w.streams[at].add(meta);
        }
        for at in self.forgotten {
            w.streams[at].forgotten = true;
        }
        w.streams.retain(|stream| !stream.forgotten || !stream.blocks.is_empty() || stream.is_kept());
        if let Some(through) = self.head_through {
            w.head.committed(through);
        }
        if let Some(saved) = self.series_saved {
            w.series.mark_saved(saved);
        }
        if self.takes_logs {
            w.logs.committed();
        }
        w.events.clear();
        w.state_waiting.clear();
        w.held.committed();
        w.losses = Losses::default();
        w.losses_since = None;
        if w.age.is_due() {
            w.age.stored();
        }
        w.running = Running::Keep;
        w.retired.drain(..self.changes.retired.0.len());
        w.retired.extend(w.series.retire());
        w.stats.last_commit = Some(now.wall);
    }
}

fn is_delivered(stream: &Stream, core: &Core) -> bool {
    core.acked.missing(stream.first(None), Seq(core.next.0.saturating_sub(1))).is_empty()
}
