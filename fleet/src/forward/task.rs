//! The task of one target: reads the queue, sends batches, moves the place on.

use super::config::{Target, Way};
use super::core::{Attempt, Batch, Fate, Feed, Item, Next, Then};
use super::file::FileSender;
use super::http::HttpSender;
use super::record::{Entry, Read, read};
use super::stats::Forwards;
use super::syslog::{SyslogSender, Transport};
use crate::clock::WallClock;
use crate::control::ControlError;
use crate::delivery::Delivery;
use crate::node_labels::NodeLabels;
use crate::outgoing::backoff::Backoff;
use crate::outgoing::stats::TargetStats;
use crate::outgoing::tls::{self, TlsError};
use crate::store::{LossRow, Place, ReadError, Store, StoreError, WaitingBlock, not_forwarded};
use skerry_model::{LossReason, NodeId, TimeRange};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Bytes of packed blocks that are read at a time.
const WINDOW_BYTES: usize = 512 << 10;
/// How long signed labels are used before they are looked up again.
const LABELS_LAST: Duration = Duration::from_secs(5);
/// Pause after the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How often a place that moves over unwanted records alone is noted.
const PASS_EVERY: Duration = Duration::from_secs(10);

/// Why a target cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("forward target {target}")]
pub struct OpenForwardError {
    target: String,
    source: TlsError,
}

/// Why the store did not give or take something.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error("read what is to be sent: {0}")]
    Read(#[from] ReadError),
    #[error("note what was sent: {0}")]
    Write(#[from] StoreError),
    #[error("read the nodes' labels: {0}")]
    Labels(#[from] ControlError),
    #[error("work on a block or file ended without a result: {0}")]
    Aborted(#[from] JoinError),
}

/// The way to a target, while it is open.
enum Sender {
    Http(HttpSender),
    Syslog(SyslogSender),
    File(Option<Box<FileSender>>),
}

/// What was read and not sent yet.
#[derive(Default)]
struct Open {
    feed: Feed,
    blocks: VecDeque<WaitingBlock>,
    /// Losses found in blocks, with the number of the block.
    losses: VecDeque<(i64, NodeId, LossRow)>,
    noted: Place,
    noted_at: Option<Instant>,
}

impl Open {
    /// Losses in blocks that the place is behind.
    fn losses_through(&mut self, place: Place) -> Vec<(NodeId, LossRow)> {
        let mut losses = Vec::new();
        while let Some((_, node, loss)) = self.losses.pop_front_if(|(block, ..)| *block <= place.through) {
            losses.push((node, loss));
        }
        losses
    }
}

/// Forwards to one target.
pub struct ForwardTask {
    target: Arc<Target>,
    sender: Sender,
    store: Store,
    delivery: Delivery,
    wall: WallClock,
    stats: Arc<TargetStats>,
    arrivals: watch::Receiver<u64>,
    backoff: Backoff,
    is_failing: bool,
    labels: Arc<NodeLabels>,
    labels_read: Option<Instant>,
}

impl ForwardTask {
    /// A task for each target, and how they fare.
    ///
    /// # Errors
    /// [`OpenForwardError`] where a file of its TLS cannot be used.
    pub fn open(
        targets: Vec<Target>,
        store: &Store,
        delivery: &Delivery,
        wall: &WallClock,
    ) -> Result<(Vec<Self>, Forwards), OpenForwardError> {
        let mut tasks = Vec::with_capacity(targets.len());
        for target in targets {
            let failed = |source| OpenForwardError { target: target.name.clone(), source };
            let sender = match &target.way {
                Way::Http(protocol, endpoint) => {
                    let tls = tls::of_endpoint(endpoint).map_err(failed)?;
                    Sender::Http(HttpSender::new(protocol.clone(), endpoint, tls, wall.clone()))
                }
                Way::Syslog(options, files) => {
                    let tls = (options.transport == Transport::Tls).then(|| tls::config(files)).transpose();
                    Sender::Syslog(SyslogSender::new(options.clone(), tls.map_err(failed)?.map(Arc::new)))
                }
                Way::File(_) => Sender::File(None),
            };
            let (kind, address) = target.way.shown();
            let stats = TargetStats { name: target.name.clone(), kind, address, ..TargetStats::default() };
            let seed = skerry_seal::random().map_or(1, u64::from_le_bytes);
            tasks.push(Self {
                backoff: Backoff::new(target.backoff.min.0, target.backoff.max.0, seed),
                target: Arc::new(target),
                sender,
                store: store.clone(),
                delivery: delivery.clone(),
                wall: wall.clone(),
                stats: Arc::new(stats),
                arrivals: store.arrivals(),
                is_failing: false,
                labels: Arc::default(),
                labels_read: None,
            });
        }
        let stats = Forwards(Arc::new(tasks.iter().map(|task| task.stats.clone()).collect()));
        Ok((tasks, stats))
    }

    /// Sends until `stop`. A batch that is under way then is sent again at the next start.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.work() => {}
        }
    }

    /// Sends until the store is closed. After a failure of the store it begins again at the place that is noted.
    async fn work(&mut self) {
        let mut is_failing = false;
        loop {
            let Err(error) = self.go_on(&mut is_failing).await else { return };
            if matches!(error, StepError::Write(StoreError::Closed)) {
                return;
            }
            if !std::mem::replace(&mut is_failing, true) {
                tracing::error!(target = self.target.name, %error, "forwarding waits for the store");
            }
            tokio::time::sleep(STORE_PAUSE).await;
        }
    }

    /// From the noted place on.
    async fn go_on(&mut self, is_failing: &mut bool) -> Result<(), StepError> {
        let window = self.store.log_window(&self.target.name, None, 1).await?;
        let mut open = Open { feed: Feed::at(window.place), noted: window.place, ..Open::default() };
        self.open_file(window.place, window.state).await?;
        loop {
            // Noted before the queue is looked at, so that nothing comes in unseen between the two.
            self.arrivals.mark_unchanged();
            self.fill(&mut open).await?;
            *is_failing = false;
            let oldest = open.feed.oldest();
            self.stats.oldest_ms.store(oldest.map_or(0, |at| at.0), Ordering::Relaxed);
            let wait = match open.feed.next((self.wall)(), &self.target.batch) {
                Next::Send(batch) => {
                    self.deliver(batch, &mut open).await?;
                    continue;
                }
                Next::Wait(wait) => wait,
                Next::Idle(place) if place == open.noted && open.losses.is_empty() => Duration::MAX,
                // Nothing wanted came. That is noted now and then, so that rows of the queue go.
                Next::Idle(place) => {
                    let since = open.noted_at.map_or(PASS_EVERY, |at| at.elapsed());
                    if !open.losses.is_empty() || since >= PASS_EVERY {
                        self.note(place, &mut open).await?;
                        continue;
                    }
                    PASS_EVERY - since
                }
            };
            if matches!(tokio::time::timeout(wait, self.arrivals.changed()).await, Ok(Err(_))) {
                return Ok(());
            }
        }
    }

    /// Opens the file of a file target where its place says, and notes how long it is before anything is written.
    async fn open_file(&mut self, place: Place, state: Option<String>) -> Result<(), StepError> {
        let Way::File(options) = &self.target.way else { return Ok(()) };
        let (options, now, is_new) = (options.clone(), (self.wall)(), state.is_none());
        let open = move || FileSender::new(options, state.as_deref(), now);
        let file = tokio::task::spawn_blocking(open).await?;
        if is_new {
            self.store.advance(&self.target.name, place, file.first_state(), Vec::new()).await?;
        }
        self.sender = Sender::File(Some(Box::new(file)));
        Ok(())
    }

    async fn note(&mut self, place: Place, open: &mut Open) -> Result<(), StepError> {
        let losses = open.losses_through(place);
        self.store.advance(&self.target.name, place, None, losses).await?;
        (open.noted, open.noted_at) = (place, Some(Instant::now()));
        Ok(())
    }

    /// Reads on until there is a batch or the queue has no more.
    async fn fill(&mut self, open: &mut Open) -> Result<(), StepError> {
        while !open.feed.is_full(&self.target.batch) {
            if open.blocks.is_empty() {
                let window = self.store.log_window(&self.target.name, Some(open.feed.read()), WINDOW_BYTES).await?;
                open.blocks = window.blocks.into();
            }
            let Some(block) = open.blocks.pop_front() else { break };
            self.refresh_labels().await?;
            self.take(block, open).await?;
        }
        Ok(())
    }

    /// Takes what is wanted of a block.
    async fn take(&mut self, block: WaitingBlock, open: &mut Open) -> Result<(), StepError> {
        let now = (self.wall)();
        let (name, id, node) = (&self.target.name, block.id, block.node.clone());
        let Some(found) = block.found else {
            // Gone without a word: nobody knows how much was in it.
            let loss = not_forwarded(name, LossReason::Corrupt, 0, TimeRange::at(now), now);
            open.losses.push_back((id, node, LossRow { count: None, ..loss }));
            open.feed.push(id, Vec::new());
            return Ok(());
        };
        let (range, skip) = (found.range, open.feed.skip(id));
        let (target, labels) = (self.target.clone(), self.labels.clone());
        let work = move || read((id, &block.node, &found), skip, &target.wanted, &labels);
        let Read { entries, excluded, corrupt } = tokio::task::spawn_blocking(work).await?;
        TargetStats::add(&self.stats.excluded, excluded);
        if corrupt > 0 {
            TargetStats::add(&self.stats.corrupt, corrupt);
            open.losses.push_back((id, node, not_forwarded(name, LossReason::Corrupt, corrupt, range, now)));
        }
        open.feed.push(id, entries);
        Ok(())
    }

    async fn refresh_labels(&mut self) -> Result<(), StepError> {
        if self.labels_read.is_none_or(|read| read.elapsed() >= LABELS_LAST) {
            self.labels = Arc::new(NodeLabels::read(&self.delivery).await?);
            self.labels_read = Some(Instant::now());
        }
        Ok(())
    }

    /// Sends a batch, however long it takes, and notes the place behind it.
    async fn deliver(&mut self, batch: Batch, open: &mut Open) -> Result<(), StepError> {
        let Batch { entries, place } = batch;
        let entries: Arc<Vec<Entry>> = Arc::new(entries);
        let mut attempt = Attempt::new(entries.len());
        while let Some(part) = attempt.part() {
            let part = part.to_vec();
            let (fate, bytes) = self.send(&entries, &part).await?;
            let taken = match &fate {
                Fate::Taken => part.len() as u64,
                Fate::AllBut { refused, .. } => (part.len() as u64).saturating_sub(*refused),
                Fate::Each(items) => items.iter().filter(|item| **item == Item::Taken).count() as u64,
                _ => 0,
            };
            if taken > 0 {
                TargetStats::add(&self.stats.sent, taken);
                TargetStats::add(&self.stats.sent_requests, 1);
                TargetStats::add(&self.stats.sent_bytes, bytes);
            }
            match attempt.answer(fate) {
                Then::GoOn => self.succeed(),
                Then::Pause { after, why } => {
                    self.fail(&why);
                    tokio::time::sleep(self.backoff.pause(after)).await;
                }
            }
        }
        TargetStats::add(&self.stats.repeated, attempt.repeated);
        let mut losses = open.losses_through(place);
        losses.extend(self.losses(&attempt, &entries));
        let state = match &self.sender {
            Sender::File(Some(file)) => file.state(),
            _ => None,
        };
        self.store.advance(&self.target.name, place, state, losses).await?;
        (open.noted, open.noted_at) = (place, Some(Instant::now()));
        if let Sender::File(Some(file)) = &mut self.sender {
            file.committed();
        }
        Ok(())
    }

    async fn send(&mut self, entries: &Arc<Vec<Entry>>, part: &[usize]) -> Result<(Fate, u64), StepError> {
        let chosen: Vec<&Entry> = part.iter().filter_map(|at| entries.get(*at)).collect();
        Ok(match &mut self.sender {
            Sender::Http(http) => http.send(&chosen).await,
            Sender::Syslog(syslog) => syslog.send(&chosen).await,
            Sender::File(slot) => {
                let Some(mut file) = slot.take() else {
                    return Ok((Fate::Retry { after: None, why: "the file is not open".into() }, 0));
                };
                drop(chosen);
                let (entries, part, now) = (entries.clone(), part.to_vec(), (self.wall)());
                let work = move || {
                    let chosen: Vec<&Entry> = part.iter().filter_map(|at| entries.get(*at)).collect();
                    let done = file.send(&chosen, now);
                    (file, done)
                };
                let (file, done) = tokio::task::spawn_blocking(work).await?;
                *slot = Some(file);
                done
            }
        })
    }

    fn losses(&self, attempt: &Attempt, entries: &[Entry]) -> Vec<(NodeId, LossRow)> {
        let (name, now) = (&self.target.name, (self.wall)());
        let refused = attempt.refused.len() as u64 + attempt.unnamed.iter().map(|(_, count)| count).sum::<u64>();
        if refused == 0 {
            return Vec::new();
        }
        let before = self.stats.refused.fetch_add(refused, Ordering::Relaxed);
        // A target that refuses everything is told of at 1, 2, 4, 8 … thousand records.
        if before == 0 || (before / 1000).leading_zeros() != ((before + refused) / 1000).leading_zeros() {
            let why = &attempt.why;
            tracing::warn!(target = name, refused, why, "a forward target refused log records; they are in the ledger");
        }
        let loss = |(node, (count, range)): (NodeId, (Option<u64>, TimeRange))| {
            let loss = not_forwarded(name, LossReason::Refused, 0, range, now);
            (node, LossRow { count, ..loss })
        };
        attempt.losses(entries).into_iter().map(loss).collect()
    }

    fn fail(&mut self, why: &str) {
        TargetStats::add(&self.stats.failed_requests, 1);
        if self.stats.failing.fail((self.wall)(), why, !std::mem::replace(&mut self.is_failing, true)) {
            tracing::warn!(target = self.target.name, why, "a forward target fails; it is tried until it works");
        }
    }

    fn succeed(&mut self) {
        self.backoff.reset();
        if std::mem::take(&mut self.is_failing) && self.stats.failing.recover() {
            tracing::info!(target = self.target.name, "the forward target works again");
        }
    }
}
