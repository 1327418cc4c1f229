//! The store's one writer: what is in memory, and when and how it becomes durable.
//!
//! Synchronous and without a clock of its own, so that simulations drive it in virtual time; [`super::handle`] runs
//! it on its thread.
//!
//! Invariants:
//! - Memory changes only after the transaction that says so has been committed. A failed commit leaves everything
//!   as it was, to be tried again.
//! - Positions are never committed ahead of the records they cover.

use super::age::Age;
use super::commit::{self, Budget, Due, RETRY_AFTER_MAX, RETRY_AFTER_MIN, Waiting};
use super::config::{Config, Policy};
use super::draft::{Draft, Extra, Running};
use super::head::{Head, Pace, Row};
use super::held::{Held, Snapshot};
use super::lanes::{Room, Router};
use super::ledger::Losses;
use super::logbuf::LogBuffer;
use super::series::SeriesMap;
use super::stats::Stats;
use super::streams::{Stream, Tip};
use super::transact::{self, Change};
use super::{schema, wear};
use crate::data::LogInput;
use rusqlite::Connection;
use skerry_model::{
    Labels, LossEntry, LossReason, Mono, Now, Sample, Scrape, Seq, SeriesId, StreamKind, TimeRange, UnixMillis,
};
use skerry_promql::Matcher;
use skerry_wire::{Ack, Event};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Most memory for scrapes that the disk does not take. After that the newest are dropped, into the ledger.
const HEAD_BYTES_HARD_MAX: usize = 3 << 20;
/// Most events that wait for a disk that takes nothing.
const EVENTS_WAITING_MAX: usize = 4096;

/// Why something was not committed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// No room, even after evicting. Tried again every few seconds.
    #[error(
        "no room to write {}: free space on its file system, or raise store.max_bytes if that limit is reached", .path.display()
    )]
    Full {
        /// The database.
        path: PathBuf,
        /// SQLite's word.
        source: rusqlite::Error,
    },
    /// Any other failure.
    #[error("write to {} failed; check the file system and its device", .path.display())]
    Failed {
        /// The database.
        path: PathBuf,
        /// SQLite's word.
        source: rusqlite::Error,
    },
}

/// The database with all that is in memory around it.
pub struct Writer {
    pub(super) db: Connection,
    /// Held as long as the writer lives: one process at a time writes.
    pub(super) _lock: std::fs::File,
    pub(super) path: PathBuf,
    pub(super) config: Config,
    pub(super) streams: Vec<Stream>,
    pub(super) head: Head,
    pub(super) series: SeriesMap,
    /// Where log records go; none where all are shipped and no source has a budget.
    pub(super) router: Option<Router>,
    /// Which of the budgets' sources have to wait.
    budgets_closed: Vec<bool>,
    /// By what time ages are judged.
    pub(super) age: Age,
    /// Series that fell silent, not yet marked so in the database.
    pub(super) retired: Vec<SeriesId>,
    pub(super) logs: LogBuffer,
    pub(super) events: Vec<Event>,
    /// Changes of the agent's own state that wait with the events that tell of them; as many keys as there are.
    pub(super) state_waiting: BTreeMap<String, Option<Vec<u8>>>,
    /// Where both lie while the disk takes nothing.
    pub(super) held: Held,
    pub(super) losses: Losses,
    pub(super) losses_since: Option<Mono>,
    pub(super) next_block: i64,
    /// What the next commit says about this run.
    pub(super) running: Running,
    budget: Budget,
    retry_at: Option<Mono>,
    retry_after: Duration,
    pub(super) logs_full: bool,
    is_broken: bool,
    pub(super) stats: Stats,
}

impl Writer {
    /// Puts the parts together; [`super::open`] read them.
    pub(super) fn assemble(
        db: Connection,
        lock: std::fs::File,
        path: PathBuf,
        config: Config,
        streams: Vec<Stream>,
        series: SeriesMap,
        now: Now,
    ) -> Self {
        let next_block = streams.iter().filter_map(|stream| stream.blocks.back()).map(|block| block.id).max();
        Self {
            db,
            _lock: lock,
            path,
            streams,
            head: Head::default(),
            series,
            // The config has been checked.
            router: Router::new(&config).unwrap_or_default(),
            budgets_closed: Vec::new(),
            age: Age::begin(None, now),
            retired: Vec::new(),
            logs: LogBuffer::default(),
            events: Vec::new(),
            state_waiting: BTreeMap::new(),
            held: Held::default(),
            losses: Losses::default(),
            losses_since: None,
            next_block: next_block.unwrap_or(0) + 1,
            running: Running::Keep,
            budget: Budget::new(config.write_budget.0, now.mono),
            retry_at: None,
            retry_after: RETRY_AFTER_MIN,
            logs_full: false,
            is_broken: false,
            stats: Stats::new(now.mono),
            config,
        }
    }

    /// Place in the list of the epoch that gives out new numbers.
    pub(super) fn current(&self, kind: StreamKind) -> usize {
        let at = self.streams.iter().position(|stream| stream.kind == kind && stream.current);
        at.expect("opening gives each stream a current epoch, and no current epoch is ever forgotten")
    }

    /// Place in the list of the log records that stay here.
    pub(super) fn kept_stream(&self) -> usize {
        let at = self.streams.iter().position(Stream::is_kept);
        at.expect("opening makes it where it is missing, and it is never forgotten")
    }

    /// Room of log records.
    pub(super) fn log_room(&self) -> Room<'_> {
        let budgets = self.router.as_ref().map_or(&[][..], Router::budgets);
        Room { logs: &self.config.logs, kept: &self.config.log_kept, budgets }
    }

    /// First number in memory, for the epoch it belongs to.
    pub(super) fn head_first(&self, stream: &Stream) -> Option<Seq> {
        (stream.kind == StreamKind::Metrics && stream.current).then(|| self.head.first()).flatten()
    }

    /// Takes a scrape. It can be sent from now on; it is committed when the schedule says so.
    pub fn append_scrape(&mut self, scrape: &Scrape, pace: Pace, now: Now) {
        let at = self.current(StreamKind::Metrics);
        if self.head.bytes() >= HEAD_BYTES_HARD_MAX {
            self.head.shed(&self.streams[at].core.acked);
        }
        if self.head.bytes() >= HEAD_BYTES_HARD_MAX {
            return self.lose_samples(LossReason::DiskFull, scrape.values.len(), scrape.at, now);
        }
        if pace == Pace::Round {
            self.series.begin_scrape();
        }
        if self.series.is_full() {
            self.retired.extend(self.series.retire());
        }
        let mut values = Vec::with_capacity(scrape.values.len());
        for (labels, value) in &scrape.values {
            if let Some(id) = self.series.resolve(labels) {
                values.push((id, *value));
            }
        }
        let refused = scrape.values.len() - values.len();
        if refused > 0 {
            self.lose_samples(LossReason::SeriesLimit, refused, scrape.at, now);
        }
        values.sort_by_key(|(id, _)| *id);
        values.dedup_by_key(|(id, _)| *id);
        let core = &mut self.streams[at].core;
        let seq = core.next;
        core.next = seq.next();
        self.stats.samples += values.len() as u64;
        self.head.push(Row { seq, at: scrape.at, pace, since: now.mono, values: values.into_boxed_slice() });
    }

    fn lose_samples(&mut self, reason: LossReason, count: usize, at: UnixMillis, now: Now) {
        let (stream, range) = (StreamKind::Metrics, TimeRange::at(at));
        self.record_loss(LossEntry { stream, reason, count: Some(count as u64), range, source: String::new() }, now);
    }

    /// Takes what a log input read.
    pub fn append_logs(&mut self, input: LogInput, now: Now) {
        self.stats.log_lines += input.records.len() as u64;
        self.stats.log_lines_kept += self.logs.take(input, self.router.as_mut(), now.mono);
        if self.router.is_some() {
            self.check_log_room();
        }
    }

    /// Whether log inputs must wait: their room is full and the policy keeps what is there, or the disk takes
    /// nothing. Their files keep the lines meanwhile.
    #[must_use]
    pub fn logs_wait(&self) -> bool {
        self.logs_full || (self.retry_at.is_some() && self.logs.raw_bytes() as u64 >= self.config.log_bytes.0)
    }

    /// Takes events and commits them.
    ///
    /// # Errors
    /// [`WriteError`] where the disk takes nothing now. The events wait and are tried again, as with [`Self::keep`].
    pub fn append_events(&mut self, events: Vec<Event>, now: Now) -> Result<(), WriteError> {
        self.wait(Vec::new(), events, now);
        let outcome = self.commit(Due::default(), Extra::default(), now);
        if outcome.is_err() {
            self.held.write(&self.events, &self.state_waiting);
        }
        outcome
    }

    /// Changes keys of the agent's own state, with events that tell of it, in one transaction. Where the disk takes
    /// nothing now they wait together, in memory and where room was set aside, and are tried again until they are
    /// written: neither a kill nor whoever calls again makes the events come twice or not at all.
    pub fn keep(&mut self, state: Vec<Change>, events: Vec<Event>, now: Now) {
        self.wait(state, events, now);
        let is_pause = self.retry_at.is_some_and(|at| now.mono < at);
        if is_pause || self.commit(Due::default(), Extra::default(), now).is_err() {
            self.held.write(&self.events, &self.state_waiting);
        }
    }

    fn wait(&mut self, state: Vec<Change>, events: Vec<Event>, now: Now) {
        self.held.set_aside();
        self.state_waiting.extend(state);
        self.events.extend(events);
        // The oldest go: what came last says how things are, such as that an alert has ended.
        let over = self.events.len().saturating_sub(EVENTS_WAITING_MAX);
        for event in self.events.drain(..over).collect::<Vec<_>>() {
            self.held.lose(&event);
            self.lose_events(1, TimeRange::at(event.at), now);
        }
    }

    /// Takes up what the run before could not write.
    pub(super) fn take_up(&mut self, (held, found): (Held, Snapshot), now: Now) {
        (self.held, self.events, self.state_waiting) = (held, found.events, found.state);
        if let Some((count, range)) = found.lost {
            self.lose_events(count, range, now);
        }
    }

    fn lose_events(&mut self, count: u64, range: TimeRange, now: Now) {
        let (stream, reason, source) = (StreamKind::Events, LossReason::DiskFull, String::new());
        self.record_loss(LossEntry { stream, reason, count: Some(count), range, source }, now);
    }

    /// Notes a loss. Equal ones become one; they are committed with the next commit.
    pub fn record_loss(&mut self, entry: LossEntry, now: Now) {
        self.losses_since.get_or_insert(now.mono);
        self.losses.add(entry);
    }

    /// Takes an acknowledgement in. It is stored with the next commit; should it be lost, the fleet says it again.
    pub fn acknowledge(&mut self, ack: &Ack) {
        let known = |s: &&mut Stream| s.kind == ack.stream && s.epoch == ack.epoch && !s.is_kept();
        if let Some(stream) = self.streams.iter_mut().find(known) {
            stream.acknowledge(ack);
        }
        self.check_log_room();
    }

    /// Changes keys of the agent's own state, with events that tell of it, in one transaction.
    ///
    /// # Errors
    /// [`WriteError`]: nothing was changed.
    pub fn put_state(&mut self, state: Vec<Change>, events: Vec<Event>, now: Now) -> Result<(), WriteError> {
        self.commit(Due::default(), Extra { events, state, ..Extra::default() }, now)
    }

    /// Value of a key of the agent's own state.
    ///
    /// # Errors
    /// SQLite's, where the database cannot be read.
    pub fn state(&self, key: &str) -> rusqlite::Result<Option<Vec<u8>>> {
        use rusqlite::OptionalExtension;
        if let Some(value) = self.state_waiting.get(key) {
            return Ok(value.clone());
        }
        self.db.prepare_cached("SELECT v FROM state WHERE k = ?1")?.query_row([key], |row| row.get(0)).optional()
    }

    /// Commits what is due.
    pub fn tick(&mut self, now: Now) {
        if self.retry_at.is_some_and(|at| now.mono < at) {
            return;
        }
        let retry = self.retry_at.is_some();
        let due = commit::due(&self.config, self.budget.factor(now.mono), &self.waiting(), now.mono);
        if due.any() || (retry && self.has_waiting()) {
            // The failure is in the statistics, and what waits is tried again.
            let _ = self.commit(due, Extra::default(), now);
        } else {
            self.retry_at = None;
        }
    }

    /// When [`Self::tick`] has something to do if nothing else comes.
    #[must_use]
    pub fn next_wake(&self, now: Now) -> Option<Mono> {
        self.retry_at.or_else(|| commit::next_due(&self.config, self.budget.factor(now.mono), &self.waiting()))
    }

    /// Whether events or changes of the state wait for a disk that takes them.
    pub(super) fn has_waiting(&self) -> bool {
        !(self.events.is_empty() && self.state_waiting.is_empty())
    }

    fn waiting(&self) -> Waiting {
        let acked = &self.streams[self.current(StreamKind::Metrics)].core.acked;
        Waiting {
            scrapes: self.head.rounds(),
            scrapes_unacked: self.head.unacked(acked).filter(|row| row.pace == Pace::Round).count(),
            scrape_bytes: self.head.bytes(),
            scrape_since: self.head.unacked(acked).next().map(|row| row.since),
            log_bytes: self.logs.raw_bytes(),
            log_full_bytes: self.logs.full_bytes(),
            log_since: self.logs.since.into_iter().chain(self.losses_since).min(),
            promised_since: self.logs.promised_since,
        }
    }

    /// Whether a commit has met damage in the file. Nothing can be stored any more; the next start sets the file
    /// aside and begins a new one.
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Commits all that waits.
    ///
    /// # Errors
    /// [`WriteError`]; what waits still waits.
    pub fn flush(&mut self, now: Now) -> Result<(), WriteError> {
        self.commit(Due::ALL, Extra::default(), now)
    }

    /// Commits all that waits and marks the run as ended in order.
    ///
    /// # Errors
    /// [`WriteError`]: the next start will take this for a crash, which is what it amounts to.
    pub fn close(mut self, now: Now) -> Result<(), WriteError> {
        self.running = Running::Clear;
        self.commit(Due::ALL, Extra::default(), now)?;
        // Leaves one file behind. That it fails is no loss: the log is read at the next start.
        let _ = self.db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        Ok(())
    }

    /// One transaction with what is due and what is extra; losses, events and acknowledgements ride along. When there
    /// is no room, evicts and tries again.
    pub(super) fn commit(&mut self, due: Due, extra: Extra, now: Now) -> Result<(), WriteError> {
        let before = wear::written_by_thread();
        self.age.look(now);
        let mut squeeze = 0;
        let outcome = loop {
            let draft = Draft::new(self, due, &extra, squeeze, now);
            if draft.is_empty() {
                break Ok(0);
            }
            let failed = match transact::write(&mut self.db, &draft.changes) {
                Ok(()) => {
                    let bytes = draft.bytes();
                    draft.apply(self, now);
                    break Ok(bytes);
                }
                Err(error) => error,
            };
            let spared = draft.evicts_all();
            if !schema::is_full(&failed) || spared || squeeze > self.config.max_bytes.0 {
                break Err(failed);
            }
            // The log's own room may be what is missing.
            let _ = self.db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
            squeeze = (squeeze * 4).max(4 * draft.bytes()).max(256 << 10);
        };
        self.book(before, outcome, now)
    }

    fn book(&mut self, before: Option<u64>, outcome: rusqlite::Result<u64>, now: Now) -> Result<(), WriteError> {
        let measured = before.zip(wear::written_by_thread()).map(|(before, after)| after.saturating_sub(before));
        let spent = measured.unwrap_or_else(|| outcome.as_ref().map_or(0, |bytes| wear::estimate(*bytes)));
        self.budget.spend(spent, now.mono);
        self.stats.wrote(spent, now.mono);
        self.check_log_room();
        match outcome {
            Ok(_) => {
                self.retry_at = None;
                self.retry_after = RETRY_AFTER_MIN;
                self.stats.last_error = None;
                Ok(())
            }
            Err(source) => {
                self.retry_at = Some(now.mono + self.retry_after);
                self.retry_after = (self.retry_after * 2).min(RETRY_AFTER_MAX);
                self.stats.failed_commits += 1;
                let path = self.path.clone();
                let full = schema::is_full(&source);
                self.is_broken |= schema::is_corrupt(&source);
                let cause = source.to_string();
                let error = if full { WriteError::Full { path, source } } else { WriteError::Failed { path, source } };
                self.stats.last_error = Some(format!("{error}: {cause}"));
                Err(error)
            }
        }
    }

    /// Under the policy `block`, log inputs wait from the moment that unacknowledged blocks fill their room.
    fn check_log_room(&mut self) {
        self.budgets_closed = self.log_room().closed(&self.streams, &self.logs.lanes());
        if self.config.logs.policy != Policy::Block {
            return;
        }
        let ours = || self.streams.iter().filter(|stream| stream.kind == StreamKind::Logs);
        let used: u64 = ours().map(|stream| stream.bytes).sum();
        self.logs_full = used >= self.config.logs.max_bytes.0
            && !ours().any(|stream| stream.blocks.iter().any(|block| stream.is_acked(block)));
    }

    /// Conditions of each budget and whether its sources have to wait, in the order in which they are asked; nothing
    /// where none has to.
    #[must_use]
    pub fn log_gate(&self) -> Vec<(Vec<Matcher>, bool)> {
        if !self.budgets_closed.contains(&true) {
            return Vec::new();
        }
        let budgets = self.log_room().budgets.iter().map(|budget| budget.matchers.clone());
        budgets.zip(self.budgets_closed.iter().copied()).collect()
    }

    /// Which of the budgets' sources have to wait; empty where there are no budgets.
    #[must_use]
    pub fn budgets_closed(&self) -> &[bool] {
        &self.budgets_closed
    }

    /// Where each epoch stands that the fleet does not have completely, and each current one. Of each stream the
    /// oldest epoch comes first and the current one last.
    #[must_use]
    pub fn tips(&self) -> Vec<Tip> {
        self.streams.iter().filter(|stream| !stream.forgotten).map(|stream| self.tip(stream)).collect()
    }

    fn tip(&self, stream: &Stream) -> Tip {
        let head = self.head_first(stream);
        let waiting = stream.waiting(head);
        Tip {
            stream: stream.kind,
            epoch: stream.epoch,
            current: stream.current,
            first: stream.first(head),
            next: stream.core.next,
            have: stream.core.acked.clone(),
            waiting: waiting.iter().map(|(from, to)| to.0 - from.0 + 1).sum(),
            oldest: waiting.first().and_then(|(from, _)| self.taken_at(stream, *from)),
            dict: stream.core.dict,
        }
    }

    fn taken_at(&self, stream: &Stream, seq: Seq) -> Option<UnixMillis> {
        use super::streams::Place;
        match stream.place(seq) {
            Some(Place::Gone(gone)) => Some(gone.range.from),
            Some(Place::Block(block)) => Some(block.taken_at(seq)),
            None if stream.current => self.head.run_from(seq).first().map(|row| row.at),
            None => None,
        }
    }

    /// What the store has done and how full it is.
    #[must_use]
    pub fn stats(&self, now: Now) -> Stats {
        let mut stats = self.stats.clone();
        stats.fill(&self.path, &self.tips());
        stats.series = self.series.len() as u64;
        let metrics = self.streams.iter().filter(|stream| stream.kind == StreamKind::Metrics);
        let blocks = metrics.flat_map(|stream| &stream.blocks);
        stats.metric_blocks = blocks.clone().count() as u64;
        stats.metric_range = blocks.map(|block| block.range).reduce(TimeRange::cover);
        stats.scrapes_waiting = self.head.len() as u64;
        stats.log_bytes_waiting = self.logs.raw_bytes() as u64;
        stats.logs_wait = self.logs_wait();
        stats.commit_factor = self.budget.factor(now.mono);
        stats
    }

    /// Latest value of every series that is in memory, by labels.
    #[must_use]
    pub fn newest(&self) -> Vec<(Labels, Sample)> {
        let values = self.head.newest();
        let known = values.into_iter().filter_map(|(id, (at, value))| {
            self.series.labels(id).map(|labels| (labels.clone(), Sample { at, value }))
        });
        known.collect()
    }
}
