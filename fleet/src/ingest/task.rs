//! Consumes what the transport delivers, and deals it out to one worker per node.

use super::asks::Asks;
use super::counters::Counters;
use super::liveness::Liveness;
use super::worker::{Message, Worker};
use crate::clock::WallClock;
use crate::mqtt::{Downlink, Inbound};
use crate::store::Store;
use bytes::Bytes;
use skerry_model::NodeId;
use skerry_wire::{DownLeaf, Hello, UpLeaf};
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// Messages that wait for one node's worker: twice what a connection may have unacknowledged, so that it overflows
/// only where a node connects again and again, or publishes with QoS 0.
const QUEUE_MAX: usize = 64;
/// Nodes that have a worker at the same time.
const WORKERS_MAX: usize = 50_000;
/// How often retention runs.
const RETAIN_EVERY: Duration = Duration::from_secs(60);
/// How long putting blocks together may take of that, so that a backlog of it leaves time for everything else.
const COMPACT_FOR: Duration = Duration::from_secs(20);
/// How long queued messages may take at shutdown. What is not committed then comes again.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// What a node should have: the control plane's view of it.
pub trait Desired: Send + Sync + 'static {
    /// The messages that bring the node from what its hello names to what it should have, in the order they are to be
    /// sent: trust first, since a config is verified against it, then configs.
    fn for_node(&self, node: &NodeId, hello: &Hello) -> impl Future<Output = Vec<(DownLeaf, Bytes)>> + Send;
}

/// The intake: everything it works with.
pub struct Ingest<D> {
    /// Where data goes.
    pub store: Store,
    /// The way to the nodes.
    pub downlink: Downlink,
    /// Who is there.
    pub liveness: Liveness,
    /// Open questions to nodes.
    pub asks: Asks,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// What nodes should have.
    pub desired: D,
    /// Wall time.
    pub wall: WallClock,
}

impl<D: Desired> Ingest<D> {
    /// Works until the transport ends, or until `stop` and what was queued by then. What nodes' workers still have is
    /// finished within ten seconds.
    pub async fn run(self, mut inbound: mpsc::Receiver<Inbound>, stop: CancellationToken) {
        let mut dispatch =
            Dispatch { shared: Arc::new(self), queues: HashMap::new(), workers: JoinSet::new(), sheds: 0 };
        let mut retain = tokio::time::interval(RETAIN_EVERY);
        retain.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut retaining: JoinSet<()> = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled(), if !inbound.is_closed() => inbound.close(),
                event = inbound.recv() => match event {
                    Some(event) => dispatch.take(event),
                    None => break, // Closed and drained.
                },
                Some(ended) = dispatch.workers.join_next(), if !dispatch.workers.is_empty() => dispatch.reap(ended),
                Some(_) = retaining.join_next(), if !retaining.is_empty() => {}
                _ = retain.tick(), if retaining.is_empty() => {
                    let shared = dispatch.shared.clone();
                    retaining.spawn(async move {
                        shared.retain().await;
                        shared.compact().await;
                    });
                }
            }
        }
        dispatch.drain().await;
    }

    async fn retain(&self) {
        match self.store.retain((self.wall)()).await {
            Ok(retained) if retained.blocks > 0 => tracing::info!(
                blocks = retained.blocks,
                samples = retained.samples,
                log_lines = retained.log_lines,
                bytes = retained.bytes,
                "retention dropped the oldest data"
            ),
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "retention failed"),
        }
    }
}

impl<D: Desired> Ingest<D> {
    async fn compact(&self) {
        let began = Instant::now();
        while began.elapsed() < COMPACT_FOR {
            match self.store.compact((self.wall)()).await {
                Ok(done) if done.worked => {}
                Ok(_) => return,
                Err(error) => return tracing::error!(%error, "compaction failed"),
            }
        }
    }
}

struct Dispatch<D> {
    shared: Arc<Ingest<D>>,
    queues: HashMap<NodeId, mpsc::Sender<Message>>,
    workers: JoinSet<NodeId>,
    /// Messages that found their node's queue full.
    sheds: u64,
}

impl<D: Desired> Dispatch<D> {
    /// Never waits: what a node's queue does not hold is dropped, which ends the node's connection.
    fn take(&mut self, event: Inbound) {
        let now = (self.shared.wall)();
        match event {
            Inbound::Connected { node, session, peer, cert_pin } => {
                tracing::info!(%node, %session, peer = peer.map(tracing::field::display), "node connected");
                self.shared.liveness.on_connected(&node, session, peer, cert_pin, now);
            }
            Inbound::Disconnected { node, session, reason } => {
                tracing::info!(%node, %session, reason = reason.as_str(), "node disconnected");
                if self.shared.liveness.on_disconnected(&node, session) {
                    // The worker commits what is queued and ends.
                    self.queues.remove(&node);
                }
            }
            Inbound::Message { node, leaf, payload, done } => {
                self.shared.counters.message(payload.len());
                // A status may be the last will of a node that is gone; its worker tells.
                if leaf != UpLeaf::Status {
                    self.shared.liveness.on_message(&node, now);
                }
                self.enqueue(node, Message { leaf, payload, done, at: now });
            }
        }
    }

    fn enqueue(&mut self, node: NodeId, message: Message) {
        let message = match self.queues.get(&node) {
            None => message,
            Some(queue) => match queue.try_send(message) {
                Ok(()) => return,
                Err(TrySendError::Full(_)) => return self.shed(&node),
                // The worker had nothing to do for a while and ended.
                Err(TrySendError::Closed(message)) => message,
            },
        };
        if self.workers.len() >= WORKERS_MAX {
            return self.shed(&node);
        }
        let (queue, messages) = mpsc::channel(QUEUE_MAX);
        // A fresh queue has room, and its receiver is at hand.
        if queue.try_send(message).is_ok() {
            let worker = Worker::new(node.clone(), self.shared.clone(), messages);
            self.workers.spawn(worker.run());
            self.queues.insert(node, queue);
        }
    }

    /// Takes note of a worker's end.
    fn reap(&mut self, ended: Result<NodeId, tokio::task::JoinError>) {
        match ended {
            // Its queue may be a later worker's by now.
            Ok(node) if self.queues.get(&node).is_some_and(mpsc::Sender::is_closed) => drop(self.queues.remove(&node)),
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "a node's intake ended badly; its next message begins a new one"),
        }
    }

    async fn drain(mut self) {
        self.queues.clear();
        let all = async { while self.workers.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_MAX, all).await.is_err() {
            tracing::warn!("intake stopped with messages uncommitted; nodes send them again");
        }
    }

    fn shed(&mut self, node: &NodeId) {
        self.shared.counters.refuse("overload");
        self.sheds += 1;
        if self.sheds.is_power_of_two() {
            tracing::warn!(%node, sheds = self.sheds, "a node sends faster than its data can be committed");
        }
    }
}
