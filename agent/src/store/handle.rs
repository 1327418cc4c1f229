//! The store as the rest of the agent sees it: a handle over bounded channels to the thread that writes ([`super::shell`]).
//!
//! Senders wait when a channel is full. Log inputs have a channel of their own, so that they alone wait while the
//! store has no room for them and everything else goes on.

use super::config::Config;
use super::head::Pace;
use super::kept::Kept;
use super::lanes::Tag;
use super::load::{LoadError, LoadRequest};
use super::open::OpenError;
use super::read::{self, ReadError, SeriesQuery};
use super::search::LogSource;
use super::shell::{Command, Reply, Shell, Waiting, moment};
use super::stats::Stats;
use super::streams::Tip;
use super::writer::{WriteError, Writer};
use crate::clock::Clock;
use crate::data::{LogGate, LogInput};
use skerry_model::{Epoch, Labels, LossEntry, Sample, Scrape, Seq, SeriesId, StreamKind, TimeRange, UnixMillis};
use skerry_promql::Matcher;
use skerry_wire::{Ack, Batch, Event};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

/// Commands that wait for the thread at most.
const COMMANDS_MAX: usize = 32;
/// Log inputs that wait for the thread at most.
const LOG_INPUTS_MAX: usize = 2;
/// Memory of log inputs that wait for the thread at most, in KiB, however many records they are. A larger one waits
/// alone.
pub(super) const LOG_KIB_WAITING_MAX: u32 = 1024;

/// The store's thread has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store is closed")]
pub struct Closed;

/// Why a durable change failed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// It was not written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The store has been closed.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Why a value of the state could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The database could not be read.
    #[error("cannot read the agent's state from the store")]
    Read(#[from] rusqlite::Error),
    /// The store has been closed.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// An open store.
#[derive(Debug)]
pub struct Opened {
    /// The handle.
    pub store: Store,
    /// The thread. It ends after [`Store::close`], when the last handle is dropped, or when a commit meets damage in
    /// the file: every call then says [`Closed`], and the agent has to start again.
    pub thread: JoinHandle<()>,
    /// Positions of the log inputs, by key.
    pub positions: Vec<(String, Vec<u8>)>,
    /// Whether the run before ended in order.
    pub clean: bool,
    /// Where a damaged database was set aside, if one was found.
    pub replaced: Option<PathBuf>,
}

/// Handle to the store; cheap to clone. Each call waits while the thread has [`COMMANDS_MAX`] commands to do.
#[derive(Debug, Clone)]
pub struct Store {
    commands: mpsc::Sender<Command>,
    logs: mpsc::Sender<Waiting>,
    /// Room of the queue of log inputs, in KiB.
    pub(super) log_room: Arc<Semaphore>,
    gate: LogGate,
    tips: watch::Receiver<Arc<Vec<Tip>>>,
    stats: watch::Receiver<Arc<Stats>>,
    path: Arc<Path>,
    kept: Option<Arc<Kept>>,
    tap: Option<Tap>,
}

/// Whoever looks at scrapes beside the store.
#[derive(Clone)]
struct Tap(Arc<dyn Fn(&Scrape) + Send + Sync>);

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tap")
    }
}

/// Opens the store and starts its thread. Blocks: after an unclean stop the whole file is checked, which takes
/// seconds for a large one on slow flash. `random` gives 64 random bits for each new epoch.
///
/// # Errors
/// [`OpenError`]. A damaged database is none: it is set aside and said in [`Opened::replaced`].
pub fn open(path: &Path, config: Config, clock: Clock, random: impl FnMut() -> u64) -> Result<Opened, OpenError> {
    let (writer, restored) = Writer::open(path, config, moment(&clock), random)?;
    let unstarted = |source| OpenError::Thread { source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(unstarted)?;
    let (commands, command_queue) = mpsc::channel(COMMANDS_MAX);
    let (logs, log_queue) = mpsc::channel(LOG_INPUTS_MAX);
    let (tips_out, tips) = watch::channel(Arc::new(writer.tips()));
    let (stats_out, stats) = watch::channel(Arc::new(writer.stats(moment(&clock))));
    let (gate_out, gate) = watch::channel(Arc::default());
    let shell =
        Shell { clock, commands: command_queue, logs: log_queue, gate: gate_out, tips: tips_out, stats: stats_out };
    let run = move || shell.run(writer, &runtime);
    let thread = std::thread::Builder::new().name("store".into()).spawn(run).map_err(unstarted)?;
    let log_room = Arc::new(Semaphore::new(LOG_KIB_WAITING_MAX as usize));
    let store = Store {
        commands,
        logs,
        log_room,
        gate: LogGate::new(gate),
        tips,
        stats,
        path: path.into(),
        kept: None,
        tap: None,
    };
    Ok(Opened { store, thread, positions: restored.positions, clean: restored.clean, replaced: restored.replaced })
}

impl Store {
    async fn send(&self, command: Command) -> Result<(), Closed> {
        self.commands.send(command).await.map_err(|_| Closed)
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Closed> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply)).await?;
        answer.await.map_err(|_| Closed)
    }

    /// As [`Self::ask`], on a thread that may block.
    fn ask_on_thread<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Closed> {
        let (reply, answer) = oneshot::channel();
        self.commands.blocking_send(command(reply)).map_err(|_| Closed)?;
        answer.blocking_recv().map_err(|_| Closed)
    }

    pub(super) fn with_kept(self, kept: Kept) -> Self {
        Self { kept: Some(Arc::new(kept)), ..self }
    }

    /// The same store, with somebody who looks at each scrape that is handed over from now on. It must not wait.
    #[must_use]
    pub fn with_tap(self, tap: impl Fn(&Scrape) + Send + Sync + 'static) -> Self {
        Self { tap: Some(Tap(Arc::new(tap))), ..self }
    }

    pub(super) fn kept(&self) -> Option<&Kept> {
        self.kept.as_deref()
    }

    /// Hands over a scrape. It can be sent at once, but for what ship policies keep here; it is committed when the
    /// schedule says so.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn append_scrape(&self, scrape: Scrape, pace: Pace) -> Result<(), Closed> {
        if let Some(Tap(tap)) = &self.tap {
            tap(&scrape);
        }
        match self.kept() {
            Some(kept) => self.append_parted(kept, scrape, pace).await,
            None => self.append_shipped(scrape, pace).await,
        }
    }

    /// Hands over a scrape, all of which can be sent.
    pub(super) async fn append_shipped(&self, scrape: Scrape, pace: Pace) -> Result<(), Closed> {
        self.send(Command::Scrape(scrape, pace)).await
    }

    /// Hands over what a log input read. Waits while the store has no room for log records; the input then leaves
    /// its lines in their file. `show` sees the input in the very moment in which it is handed over: whoever asks the
    /// store for log records after that is answered with these too, and whoever watches before is shown them.
    ///
    /// # Errors
    /// [`Closed`]: the positions are not stored either, so the lines are read again at the next start.
    pub async fn append_logs(&self, input: LogInput, show: impl FnOnce(&LogInput)) -> Result<(), Closed> {
        let kib = u32::try_from(input.memory_bytes().div_ceil(1024)).unwrap_or(u32::MAX);
        let room = self.log_room.clone().acquire_many_owned(kib.clamp(1, LOG_KIB_WAITING_MAX)).await;
        let room = room.map_err(|_| Closed)?;
        let place = self.logs.reserve().await.map_err(|_| Closed)?;
        show(&input);
        place.send((input, room));
        Ok(())
    }

    /// Tells which sources of log records have to wait.
    #[must_use]
    pub fn log_gate(&self) -> LogGate {
        self.gate.clone()
    }

    /// Ships what an `on-alert` rule of log records holds back of a time; says how many records. What was shipped
    /// before is not shipped again.
    ///
    /// # Errors
    /// [`LoadError`]: part of it may have been shipped.
    pub(super) async fn release_records(&self, rule: Tag, range: TimeRange) -> Result<u64, LoadError> {
        let mut records = 0;
        loop {
            // One transaction at a time, so that others come in between.
            let released = self.ask(|reply| Command::Release(rule, range, reply)).await;
            let released = released.map_err(|Closed| LoadError::Closed)??;
            records += released.records;
            if !released.more {
                return Ok(records);
            }
        }
    }

    /// Stores events; returns when they are committed.
    ///
    /// # Errors
    /// [`CommitError::Write`] where the disk takes nothing now: they wait and are tried again.
    pub async fn append_events(&self, events: Vec<Event>) -> Result<(), CommitError> {
        Ok(self.ask(|reply| Command::Events(events, reply)).await??)
    }

    /// Notes a loss for the ledger. Losses of one stream, reason and source become one entry of the next commit.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn record_loss(&self, entry: LossEntry) -> Result<(), Closed> {
        self.send(Command::Loss(entry)).await
    }

    /// The batch that begins at `at`, or at the first number after it that is held or gone; `None` where there is
    /// none. Numbers given up come as [`skerry_wire::Body::Gone`]. `dict_known` is the highest series id up to which
    /// the receiver holds this epoch's dictionary: entries above it that the batch may need come along. `bytes_max`
    /// bounds the batch, but one number is loaded in any case.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn load(
        &self,
        stream: StreamKind,
        epoch: Epoch,
        at: Seq,
        dict_known: Option<SeriesId>,
        bytes_max: usize,
    ) -> Result<Option<Batch>, LoadError> {
        let want = LoadRequest { stream, epoch, at, dict_known, bytes_max };
        self.ask(|reply| Command::Load(want, reply)).await.map_err(|Closed| LoadError::Closed)?
    }

    /// Takes in what the fleet has committed. Saying it twice does no harm.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn acknowledge(&self, ack: Ack) -> Result<(), Closed> {
        self.send(Command::Acknowledge(ack)).await
    }

    /// Where each epoch stands that the fleet does not have completely, and each current one. Of each stream the
    /// oldest epoch comes first and the current one last.
    #[must_use]
    pub fn tips(&self) -> watch::Receiver<Arc<Vec<Tip>>> {
        self.tips.clone()
    }

    /// What the store has done and how full it is.
    #[must_use]
    pub fn stats(&self) -> watch::Receiver<Arc<Stats>> {
        self.stats.clone()
    }

    /// Changes keys of the agent's own state, with events that tell of it, in one transaction; returns when it is
    /// on the disk. `None` deletes a key.
    ///
    /// # Errors
    /// [`CommitError`]: nothing was changed.
    pub async fn put_state(
        &self,
        changes: Vec<(String, Option<Vec<u8>>)>,
        events: Vec<Event>,
    ) -> Result<(), CommitError> {
        Ok(self.ask(|reply| Command::PutState(changes, events, reply)).await??)
    }

    /// As [`Self::put_state`], for what was decided and will not be decided otherwise: where the disk takes nothing it
    /// waits with the store, events and changes together, over a kill too as far as room was set aside, and is written
    /// once the disk takes it. Returns when it is on the disk or waits.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn keep(&self, changes: Vec<(String, Option<Vec<u8>>)>, events: Vec<Event>) -> Result<(), Closed> {
        self.ask(|reply| Command::Keep(changes, events, reply)).await
    }

    /// Value of a key of the agent's own state.
    ///
    /// # Errors
    /// [`StateError`].
    pub async fn state(&self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.ask(|reply| Command::State(key.to_owned(), reply)).await??)
    }

    /// Commits all that waits.
    ///
    /// # Errors
    /// [`CommitError`]; what waits still waits.
    pub async fn flush(&self) -> Result<(), CommitError> {
        Ok(self.ask(Command::Flush).await??)
    }

    /// Commits all that waits, marks the run as ended in order, and ends the thread. Other handles are then closed.
    ///
    /// # Errors
    /// [`CommitError`]: the next start will take this run's end for a crash.
    pub async fn close(self) -> Result<(), CommitError> {
        Ok(self.ask(Command::Close).await??)
    }

    /// Latest value of every series that is in memory.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn newest(&self) -> Result<Vec<(Labels, Sample)>, Closed> {
        let mut newest = self.ask(Command::Newest).await?;
        if let Some(kept) = self.kept() {
            newest.extend(kept.store.ask(Command::Newest).await?);
        }
        Ok(newest)
    }

    /// Samples kept here, by series. A downsampled series has the last sample of each window twice.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read_series(&self, query: SeriesQuery) -> Result<Vec<(Labels, Vec<Sample>)>, ReadError> {
        let store = self.clone();
        blocking(move || store.series_on_thread(query)).await
    }

    /// As [`Self::read_series`], on a thread that may block, which is not to wait for another thread of its pool: were all
    /// of them such threads, none would ever go on.
    pub(crate) fn series_on_thread(&self, query: SeriesQuery) -> Result<Vec<(Labels, Vec<Sample>)>, ReadError> {
        let Some(kept) = self.kept() else { return self.own_series(&query) };
        let mut all: BTreeMap<Labels, Vec<Sample>> = kept.store.own_series(&query)?.into_iter().collect();
        for (labels, samples) in self.own_series(&query)? {
            all.entry(labels).or_default().extend(samples);
        }
        Ok(all.into_iter().collect())
    }

    fn own_series(&self, query: &SeriesQuery) -> Result<Vec<(Labels, Vec<Sample>)>, ReadError> {
        let asked = query.clone();
        let snapshot = self.ask_on_thread(|reply| Command::Series(asked, reply)).map_err(|Closed| ReadError::Closed)?;
        read::series(&self.path, snapshot, query)
    }

    /// Label sets of the series known here that meet `matchers`, in any order.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn label_sets(&self, matchers: Vec<Matcher>) -> Result<Vec<Labels>, ReadError> {
        let store = self.clone();
        blocking(move || store.label_sets_on_thread(&matchers)).await
    }

    /// As [`Self::label_sets`], on a thread that may block.
    pub(crate) fn label_sets_on_thread(&self, matchers: &[Matcher]) -> Result<Vec<Labels>, ReadError> {
        let Some(kept) = self.kept() else { return self.own_label_sets(matchers) };
        let mut all: BTreeSet<Labels> = kept.store.own_label_sets(matchers)?.into_iter().collect();
        all.extend(self.own_label_sets(matchers)?);
        Ok(all.into_iter().collect())
    }

    fn own_label_sets(&self, matchers: &[Matcher]) -> Result<Vec<Labels>, ReadError> {
        let nothing = TimeRange { from: UnixMillis(i64::MAX), to: UnixMillis(i64::MIN) };
        let asked = SeriesQuery { matchers: Vec::new(), range: nothing, samples_max: 0 };
        let snapshot = self.ask_on_thread(|reply| Command::Series(asked, reply)).map_err(|Closed| ReadError::Closed)?;
        read::label_sets(&self.path, snapshot.unsaved, matchers)
    }

    /// The logs kept here, for queries.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn log_source(&self) -> Result<LogSource, Closed> {
        let mut snapshots = Vec::new();
        for store in std::iter::once(self).chain(self.kept().map(|kept| &kept.store)) {
            snapshots.push((store.path.clone(), store.ask(Command::Logs).await?));
        }
        Ok(LogSource::new(snapshots))
    }

    /// Every loss booked in this database.
    ///
    /// # Errors
    /// [`StateError`].
    pub async fn ledger(&self) -> Result<Vec<LossEntry>, StateError> {
        Ok(self.ask(Command::Ledger).await??)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(ReadError::Closed))
}
