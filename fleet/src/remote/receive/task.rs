//! The task that takes requests in, one after the other, and the handle that hands them to it.

use super::core::{Sender, Taken};
use crate::clock::WallClock;
use crate::intake::core::Verdict;
use crate::store::{LossRow, Matcher, ReadError, SAMPLES_MAX, Select, Store, StoreError};
use bytes::Bytes;
use skerry_model::{Epoch, NodeId, StreamKind, TimeRange, UnixMillis};
use skerry_promapi::with_node;
use skerry_remote::{DecodeError, Limits, Protocol, unpack};
use std::collections::{HashMap, VecDeque};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Requests that wait; further ones are told to come again.
const QUEUE_MAX: usize = 8;
/// Largest message, unpacked.
const MESSAGE_BYTES_MAX: usize = 32 << 20;
/// Senders that are in memory at a time; the one that was quiet for longest makes room.
const SENDERS_MAX: usize = 64;
/// Series of all senders together that are in memory: about 100 MB.
const SERIES_MAX: usize = 250_000;
/// Requests of a sender whose answers are remembered.
const ANSWERS_MAX: usize = 32;

/// What a sender is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// Samples that are stored now, those among them that were before.
    pub written: u64,
    /// What was not taken and why, for people; empty where all was.
    pub rejected: String,
}

/// Why a request has no such answer.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// It cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It could not be stored; it may come again.
    #[error("the samples were not stored: {0}")]
    Store(#[from] StoreError),
    /// The store could not be read.
    #[error("the sender's series were not read: {0}")]
    Read(#[from] ReadError),
    /// The store took the request and not what is in it, which it should.
    #[error("the store refused the samples: {0}")]
    Verdict(String),
    /// The work ended without a result.
    #[error("the samples were not taken in: {0}")]
    Aborted(#[from] tokio::task::JoinError),
}

/// A request that waits.
struct Job {
    sender: NodeId,
    protocol: Protocol,
    body: Bytes,
    reply: oneshot::Sender<Result<Told, ReceiveError>>,
}

/// What is counted.
#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    samples: AtomicU64,
    repeated: AtomicU64,
    rejected: AtomicU64,
    exemplars: AtomicU64,
}

/// Hands requests to the task; cheap to clone.
#[derive(Clone)]
pub struct Receiver {
    jobs: mpsc::Sender<Job>,
    counters: Arc<Counters>,
}

impl Receiver {
    /// A place in the queue; `None` while it is full. To be taken before a body is read, so that no more bodies are in
    /// memory than the queue holds.
    #[must_use]
    pub fn admit(&self) -> Option<Admitted> {
        self.jobs.clone().try_reserve_owned().ok().map(Admitted)
    }

    /// The counters in Prometheus's text format.
    #[must_use]
    pub fn exposition(&self) -> String {
        let counters = [
            ("requests", "Requests.", &self.counters.requests),
            ("samples", "Samples that were stored.", &self.counters.samples),
            ("repeated_samples", "Samples that were stored before.", &self.counters.repeated),
            ("rejected_samples", "Samples and native histograms that were not taken.", &self.counters.rejected),
            ("exemplars", "Exemplars, which are not kept.", &self.counters.exemplars),
        ];
        let mut text = String::new();
        // Writing to a string does not fail.
        for (name, help, counter) in counters {
            let name = format!("skerry_fleet_remote_receive_{name}_total");
            let count = counter.load(Ordering::Relaxed);
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {count}\n");
        }
        text
    }
}

/// A place in the queue.
pub struct Admitted(mpsc::OwnedPermit<Job>);

impl Admitted {
    /// Queues a body and waits for its answer; `None` where the server stops.
    pub async fn run(self, sender: NodeId, protocol: Protocol, body: Bytes) -> Option<Result<Told, ReceiveError>> {
        let (reply, told) = oneshot::channel();
        drop(self.0.send(Job { sender, protocol, body, reply }));
        told.await.ok()
    }
}

/// Takes requests in.
pub struct ReceiveTask {
    jobs: mpsc::Receiver<Job>,
    store: Store,
    wall: WallClock,
    counters: Arc<Counters>,
    senders: HashMap<NodeId, Known>,
    /// Counts jobs, to tell which sender was quiet for longest.
    turn: u64,
}

/// A sender in memory.
struct Known {
    sender: Sender,
    used: u64,
    /// Digests of its last bodies with what they were told.
    answers: VecDeque<([u8; 32], Told)>,
}

impl ReceiveTask {
    /// A task and its handle.
    #[must_use]
    pub fn new(store: Store, wall: WallClock) -> (Self, Receiver) {
        let (jobs_in, jobs) = mpsc::channel(QUEUE_MAX);
        let counters = Arc::new(Counters::default());
        let receiver = Receiver { jobs: jobs_in, counters: counters.clone() };
        (Self { jobs, store, wall, counters, senders: HashMap::new(), turn: 0 }, receiver)
    }

    /// Works until `stop`; what waits then is not answered, and comes again.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let job = tokio::select! {
                () = stop.cancelled() => return,
                job = self.jobs.recv() => job,
            };
            let Some(Job { sender, protocol, body, reply }) = job else { return };
            let told = self.take(&sender, protocol, body).await;
            if let Err(
                error @ (ReceiveError::Store(_)
                | ReceiveError::Read(_)
                | ReceiveError::Verdict(_)
                | ReceiveError::Aborted(_)),
            ) = &told
            {
                // What is in memory may be ahead of what was stored.
                self.senders.remove(&sender);
                tracing::warn!(%sender, %error, "a remote-write request was not taken in; its sender tries again");
            }
            // Nobody waits where the sender has gone; it will come again.
            let _ = reply.send(told);
        }
    }

    async fn take(&mut self, name: &NodeId, protocol: Protocol, body: Bytes) -> Result<Told, ReceiveError> {
        let now = (self.wall)();
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        let digest = skerry_seal::sha256(&body);
        let mut known = match self.senders.remove(name) {
            Some(known) => known,
            None => self.load(name, now).await?,
        };
        if let Some((_, told)) = known.answers.iter().find(|(of, _)| *of == digest) {
            let told = told.clone();
            self.counters.repeated.fetch_add(told.written, Ordering::Relaxed);
            self.keep(name, known);
            return Ok(told);
        }
        let work = move || {
            let taken = unpack(&body, MESSAGE_BYTES_MAX)
                .and_then(|message| known.sender.take(protocol, &message, &Limits::default(), now));
            (known, taken)
        };
        let (mut known, taken) = tokio::task::spawn_blocking(work).await?;
        let mut taken = match taken {
            Ok(taken) => taken,
            Err(error) => {
                self.keep(name, known);
                return Err(error.into());
            }
        };
        self.resolve(name, &mut taken).await?;
        let told = self.store(name, taken, now).await?;
        known.answers.truncate(ANSWERS_MAX - 1);
        known.answers.push_front((digest, told.clone()));
        self.make_room(name, &mut known).await?;
        self.keep(name, known);
        Ok(told)
    }

    fn keep(&mut self, name: &NodeId, mut known: Known) {
        self.turn += 1;
        known.used = self.turn;
        self.senders.insert(name.clone(), known);
    }

    async fn load(&self, name: &NodeId, now: UnixMillis) -> Result<Known, ReceiveError> {
        let sender = match self.store.sender_state(name, now).await? {
            Some(state) => Sender::restored(state.epoch, state.next, state.series),
            None => Sender::new(new_epoch()),
        };
        Ok(Known { sender, used: 0, answers: VecDeque::new() })
    }

    /// Drops senders that were quiet, and where that does not help the series of this one, which begins a new epoch.
    async fn make_room(&mut self, name: &NodeId, known: &mut Known) -> Result<(), ReceiveError> {
        let series =
            |senders: &HashMap<NodeId, Known>| senders.values().map(|known| known.sender.series()).sum::<usize>();
        while self.senders.len() >= SENDERS_MAX || series(&self.senders) + known.sender.series() > SERIES_MAX {
            let quiet = self.senders.iter().min_by_key(|(_, known)| known.used).map(|(name, _)| name.clone());
            let Some(quiet) = quiet else { break };
            self.senders.remove(&quiet);
        }
        if known.sender.series() > SERIES_MAX {
            let epoch = new_epoch();
            self.store.close_epochs_but(name, epoch).await?;
            known.sender = Sender::new(epoch);
            tracing::info!(sender = %name, "a remote-write sender had so many series that their list was begun anew");
        }
        Ok(())
    }

    /// Looks up samples that may be held already.
    async fn resolve(&self, name: &NodeId, taken: &mut Taken) -> Result<(), ReceiveError> {
        let times = taken.doubtful.iter().map(|(_, sample)| TimeRange::at(sample.at));
        let Some(range) = times.reduce(TimeRange::cover) else { return Ok(()) };
        let matchers = vec![Matcher::equal("node", name.as_str())];
        let held = match self
            .store
            .select(Select { matchers, from: range.from, to: range.to, samples_max: SAMPLES_MAX })
            .await
        {
            Ok(selected) => selected.series,
            // Too much to look through: they count as out of order.
            Err(ReadError::TooLarge { .. }) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        taken.resolve(|labels, sample| {
            let labels = with_node(labels, name);
            let series = held.binary_search_by(|series| series.labels.cmp(&labels)).ok().and_then(|at| held.get(at));
            series.is_some_and(|series| series.samples.contains(sample))
        });
        Ok(())
    }

    async fn store(&self, name: &NodeId, taken: Taken, now: UnixMillis) -> Result<Told, ReceiveError> {
        let mut outcomes = Vec::with_capacity(taken.batches.len());
        for batch in taken.batches {
            outcomes.push(self.store.submit(name, StreamKind::Metrics, batch, now).await?);
        }
        for outcome in outcomes {
            let verdict = outcome.await.unwrap_or(Err(StoreError::Closed))?.verdict;
            if !matches!(verdict, Verdict::Stored { .. }) {
                return Err(ReceiveError::Verdict(format!("{verdict:?}")));
            }
        }
        if !taken.rejected.is_empty() {
            let loss = |rejected: &super::core::Rejected| LossRow {
                stream: StreamKind::Metrics,
                reason: rejected.reason,
                count: Some(rejected.count),
                range: rejected.range,
                source: "remote_write receiver".into(),
                received: now,
            };
            let losses = taken.rejected.iter().map(|rejected| (name.clone(), loss(rejected))).collect();
            self.store.book_losses(losses).await?;
        }
        self.counters.samples.fetch_add(taken.samples, Ordering::Relaxed);
        self.counters.repeated.fetch_add(taken.repeated, Ordering::Relaxed);
        self.counters.exemplars.fetch_add(taken.exemplars, Ordering::Relaxed);
        let mut rejected = String::new();
        for one in &taken.rejected {
            self.counters.rejected.fetch_add(one.count, Ordering::Relaxed);
            let between = if rejected.is_empty() { "" } else { "; " };
            let _ = write!(rejected, "{between}{} not stored, the first: {}", one.count, one.first);
        }
        Ok(Told { written: taken.samples + taken.repeated, rejected })
    }
}

/// An epoch that was never used: a random 63-bit number.
fn new_epoch() -> Epoch {
    Epoch(skerry_seal::random().map_or(1, u64::from_le_bytes) >> 1)
}
