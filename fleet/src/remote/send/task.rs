//! The task of one target: reads windows of the queue, sends them, moves its place on.

use super::core::{Before, LabelCache, Shown, deal, decode, requests};
use super::lane::Lane;
use super::stats::Targets;
use crate::clock::WallClock;
use crate::control::ControlError;
use crate::delivery::Delivery;
use crate::node_labels::NodeLabels;
use crate::outgoing::stats::TargetStats;
use crate::outgoing::tls::{self, TlsError};
use crate::remote::config::Target;
use crate::store::{LossRow, OutgoingBlock, ReadError, Store, StoreError, Window, WindowMax, shown, unsent};
use skerry_chunk::MetricBlock;
use skerry_model::{LossReason, NodeId, TimeRange};
use skerry_scrape::relabel::relabel;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Requests of every lane in a window, and samples in it at most.
const WINDOW_REQUESTS: u64 = 8;
const WINDOW_SAMPLES: u64 = 200_000;
/// Bytes of blocks in a window.
const WINDOW_BYTES: usize = 4 << 20;
/// How long signed labels are used before they are looked up again.
const LABELS_LAST: Duration = Duration::from_secs(5);
/// Pause after the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Why a target cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("remote_write target {target}")]
pub struct OpenTargetError {
    target: String,
    source: TlsError,
}

/// Sends to one target.
pub struct SendTask {
    target: Arc<Target>,
    lanes: Vec<Lane>,
    store: Store,
    delivery: Delivery,
    wall: WallClock,
    stats: Arc<TargetStats>,
    arrivals: watch::Receiver<u64>,
    cache: LabelCache,
    labels_read: Option<Instant>,
    labels: NodeLabels,
}

/// What came of a try to go on.
enum Step {
    /// The target has all there is.
    Idle,
    /// Samples may wait this long for others.
    Wait(Duration),
    /// A window was sent.
    Sent,
}

/// Why a window could not be read or finished.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error("read what is to be sent: {0}")]
    Read(#[from] ReadError),
    #[error("note what was sent: {0}")]
    Write(#[from] StoreError),
    #[error("read the nodes' labels: {0}")]
    Labels(#[from] ControlError),
    #[error("a window's work ended without a result: {0}")]
    Aborted(#[from] JoinError),
}

impl SendTask {
    /// A task for each target, and how they fare.
    ///
    /// # Errors
    /// [`OpenTargetError`] where a file of its TLS cannot be used.
    pub fn open(
        targets: Vec<Target>,
        store: &Store,
        delivery: &Delivery,
        wall: &WallClock,
    ) -> Result<(Vec<Self>, Targets), OpenTargetError> {
        let mut tasks = Vec::with_capacity(targets.len());
        for target in targets {
            let tls = tls::of_endpoint(&target.endpoint)
                .map_err(|source| OpenTargetError { target: target.name.clone(), source })?;
            let (name, url) = (target.name.clone(), target.endpoint.url.to_string());
            let stats = Arc::new(TargetStats { name, address: url, ..TargetStats::default() });
            let target = Arc::new(target);
            let lane = |_| Lane::new(&target, &tls, &stats, wall);
            let lanes = (0..target.queue.max_shards).map(lane).collect();
            tasks.push(Self {
                lanes,
                store: store.clone(),
                delivery: delivery.clone(),
                wall: wall.clone(),
                stats,
                arrivals: store.arrivals(),
                cache: LabelCache::default(),
                labels_read: None,
                labels: NodeLabels::default(),
                target,
            });
        }
        let stats = Targets(Arc::new(tasks.iter().map(|task| task.stats.clone()).collect()));
        Ok((tasks, stats))
    }

    /// Sends until `stop`. A window that is under way then is sent again at the next start.
    pub async fn run(mut self, stop: CancellationToken) {
        // Requests that wait for an answer are given up with this.
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.work() => {}
        }
    }

    /// Sends until the store is closed.
    async fn work(&mut self) {
        let mut is_failing = false;
        loop {
            // Noted before the queue is looked at, so that nothing comes in unseen between the two.
            self.arrivals.mark_unchanged();
            match self.step().await {
                Ok(step) => {
                    is_failing = false;
                    let wait = match step {
                        Step::Sent => continue,
                        Step::Idle => Duration::MAX,
                        Step::Wait(wait) => wait,
                    };
                    if matches!(tokio::time::timeout(wait, self.arrivals.changed()).await, Ok(Err(_))) {
                        return;
                    }
                }
                Err(StepError::Write(StoreError::Closed)) => return,
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::error!(target = self.target.name, %error, "remote write waits for the store");
                    }
                    tokio::time::sleep(STORE_PAUSE).await;
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Step, StepError> {
        let queue = &self.target.queue;
        let lanes = self.lanes.len() as u64;
        let samples = queue.max_samples_per_send.saturating_mul(WINDOW_REQUESTS).saturating_mul(lanes);
        let max = WindowMax { samples: samples.min(WINDOW_SAMPLES), bytes: WINDOW_BYTES };
        let window = self.store.window(&self.target.name, max).await?;
        let Some(oldest) = window.blocks.first().map(|block| block.received) else {
            self.stats.oldest_ms.store(0, Ordering::Relaxed);
            if window.begun.is_some() || !window.missing.is_empty() {
                let losses = self.missing(&window);
                self.store.finish_window(&self.target.name, window.through, losses).await?;
            }
            return Ok(Step::Idle);
        };
        self.stats.oldest_ms.store(oldest.0, Ordering::Relaxed);
        let waiting: u64 = window.blocks.iter().map(|block| block.samples).sum();
        let waited = (self.wall)().since(oldest);
        if window.begun.is_none() && waiting < queue.max_samples_per_send && waited < queue.batch_send_deadline.0 {
            return Ok(Step::Wait(queue.batch_send_deadline.0 - waited));
        }
        self.send(window).await.map(|()| Step::Sent)
    }

    async fn send(&mut self, window: Window) -> Result<(), StepError> {
        let (target, now) = (self.target.clone(), (self.wall)());
        let name = &target.name;
        let before = if window.begun.is_some() { Before::InDoubt } else { Before::New };
        let samples_max = window.begun.unwrap_or(self.target.queue.max_samples_per_send);
        if before == Before::New {
            self.store.begin_window(name, window.through, samples_max).await?;
        }
        let mut losses = self.missing(&window);
        let (through, blocks_in) = (window.through, window.blocks);
        let decode = move || {
            let read = |block: OutgoingBlock| (decode(&block), block);
            blocks_in.into_iter().map(read).collect::<Vec<_>>()
        };
        let mut blocks = Vec::new();
        for (read, block) in tokio::task::spawn_blocking(decode).await? {
            match read {
                Some(read) => blocks.push((block, read)),
                None => {
                    TargetStats::add(&self.stats.corrupt, block.samples);
                    let loss = unsent(name, LossReason::Corrupt, block.samples, block.range, now);
                    losses.push((block.node, loss));
                }
            }
        }
        self.find_labels(&blocks).await?;
        let planned = requests(&blocks, |stream, series| self.cache.shown(stream, series), samples_max);
        drop(blocks);
        TargetStats::add(&self.stats.excluded, planned.excluded);
        for (node, (samples, range)) in planned.unnamed {
            TargetStats::add(&self.stats.corrupt, samples);
            losses.push((node, unsent(name, LossReason::Corrupt, samples, range, now)));
        }
        let dealt = deal(planned.requests, self.lanes.len());
        let mut under_way = JoinSet::new();
        for (lane, requests) in self.lanes.drain(..).zip(dealt) {
            under_way.spawn(lane.send(requests, before));
        }
        while let Some(ended) = under_way.join_next().await {
            let (lane, refused) = ended?;
            losses.extend(refused);
            self.lanes.push(lane);
        }
        self.store.finish_window(&self.target.name, through, losses).await?;
        Ok(())
    }

    /// Blocks that are gone without a word: nobody knows how much was in them.
    fn missing(&self, window: &Window) -> Vec<(NodeId, LossRow)> {
        let (target, now) = (&self.target.name, (self.wall)());
        let loss = |node: &NodeId| {
            let loss = unsent(target, LossReason::Corrupt, 0, TimeRange::at(now), now);
            (node.clone(), LossRow { count: None, ..loss })
        };
        window.missing.iter().map(loss).collect()
    }

    /// Brings the labels of all series of the blocks into the cache.
    async fn find_labels(&mut self, blocks: &[(OutgoingBlock, MetricBlock)]) -> Result<(), StepError> {
        if self.labels_read.is_none_or(|read| read.elapsed() >= LABELS_LAST) {
            let labels = NodeLabels::read(&self.delivery).await?;
            if labels != self.labels {
                self.labels = labels;
                self.cache.clear();
            }
            self.labels_read = Some(Instant::now());
        }
        let keys = |block: &(OutgoingBlock, MetricBlock)| {
            let stream = block.0.stream;
            block.1.columns.iter().map(move |column| (stream, column.series)).collect::<Vec<_>>()
        };
        let missing = self.cache.missing(blocks.iter().flat_map(keys));
        // Where the cache has to begin anew, what it held for this window is looked up again.
        let missing = if self.cache.has_room(missing.len()) {
            missing
        } else {
            self.cache.clear();
            self.cache.missing(blocks.iter().flat_map(keys))
        };
        let nodes: HashMap<i64, &NodeId> = blocks.iter().map(|(block, _)| (block.stream, &block.node)).collect();
        let found = self.store.series_labels(missing.clone()).await?;
        let shown = missing.into_iter().zip(found).filter_map(|(key, labels)| {
            let node = nodes.get(&key.0)?;
            let labels = self.labels.applied(node, &shown(&labels?, node));
            match relabel(&self.target.relabel, &labels) {
                Ok(Some(labels)) if !labels.is_empty() => Some((key, Shown::As(labels))),
                Ok(_) => Some((key, Shown::Dropped)),
                // Rules that make a label set too large: there is none to send it under.
                Err(_) => None,
            }
        });
        self.cache.add(shown.collect());
        Ok(())
    }
}
