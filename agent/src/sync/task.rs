//! The sync task: carries out what the outbox decides, and hands what comes down to whom it concerns.
//!
//! It owns no data. Batches come from a [`Backlog`] (the node store) at the moment they are sent, and acknowledgements
//! go back to it. Sealed documents are passed on unread: whether they are obeyed is decided elsewhere.

use super::Config;
use super::link::{LinkEvent, Outgoing};
use super::live::LiveView;
use super::outbox::{Action, Limits, Outbox, Tip};
use crate::clock::Clock;
use bytes::Bytes;
use skerry_model::{Epoch, Mono, NodeId, Seq, SeriesId, StreamKind};
use skerry_wire::{
    ASK_BYTES_MAX, ASKS_VERSION, Ack, Acks, Answer, AnswerPart, Ask, AskId, AskKind, Backlog as BacklogReport, Batch,
    ConfigState, DownLeaf, Hello, HostFacts, LiveLine, MESSAGE_BYTES_MAX, PROTOCOL_VERSION, Status, StatusReport,
    StreamTip, Trust, UpLeaf, codec,
};
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

/// How often a status is sent while nothing changes.
const STATUS_EVERY: Duration = Duration::from_secs(60);
/// Wait before a report that the backlog is gone.
const STATUS_SOON: Duration = Duration::from_secs(1);
/// Largest batch asked of the store: leaves room for the envelope within [`MESSAGE_BYTES_MAX`].
const BATCH_BYTES_MAX: usize = MESSAGE_BYTES_MAX - (64 << 10);

/// Where batches come from. The node store stands behind it; the simulation puts a model there.
pub trait Backlog: Clone + Send + Sync + 'static {
    /// Where every epoch of every stream stands: oldest epoch of a stream first.
    fn tips(&self) -> watch::Receiver<Arc<Vec<Tip>>>;
    /// The batch that begins at `at`, or at the first number held after it; `None` where there is none.
    fn load(
        &self,
        stream: StreamKind,
        epoch: Epoch,
        at: Seq,
        dict_known: Option<SeriesId>,
        bytes_max: usize,
    ) -> impl Future<Output = Result<Option<Batch>, String>> + Send;
    /// The fleet holds these numbers: they may be released.
    fn acknowledge(&self, ack: Ack) -> impl Future<Output = ()> + Send;
}

/// What the node says of itself in hello and status.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Configs that run.
    pub configs: Vec<ConfigState>,
    /// Epoch and version of the assignment held.
    pub assignment: Option<(u64, u64)>,
    /// Version of the newest root held.
    pub root_version: u64,
    /// Whether the wall clock is trusted.
    pub time_trusted: bool,
    /// What somebody should look at.
    pub problems: Vec<String>,
    /// What waits for acknowledgement, per stream.
    pub backlog: Vec<BacklogReport>,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Size of the database.
    pub db_bytes: u64,
}

/// Something sealed that came down.
#[derive(Debug)]
pub enum Sealed {
    /// A config envelope.
    Config(Bytes),
    /// Roots and assignment.
    Trust(Trust),
}

/// Counters for the agent's own metrics.
#[derive(Debug, Default)]
pub struct SyncStats {
    /// Whether the link is up and the fleet has answered.
    pub ready: AtomicBool,
    /// Connections that came up.
    pub connects: AtomicU64,
    /// Connections that ended and attempts that failed.
    pub failures: AtomicU64,
    /// Batches handed to the link.
    pub batches_sent: AtomicU64,
    /// Bytes of those.
    pub bytes_sent: AtomicU64,
    /// Acknowledgements taken.
    pub acks: AtomicU64,
    /// Messages from the fleet that could not be read.
    pub refused: AtomicU64,
    /// Batches that the store could not give.
    pub load_errors: AtomicU64,
    /// Wall time of the last acknowledgement in milliseconds; zero before the first.
    pub last_ack_ms: AtomicU64,
    /// Why the link is down; `None` while it is up, and before the first attempt.
    pub down: Mutex<Option<String>>,
}

impl SyncStats {
    /// Why the link is down, for people.
    #[must_use]
    pub fn down_reason(&self) -> Option<String> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes how the link is; the state before.
    fn note_down(&self, reason: Option<String>) -> Option<String> {
        std::mem::replace(&mut *self.down.lock().unwrap_or_else(PoisonError::into_inner), reason)
    }
}

/// The task's ends.
pub struct SyncTask<B> {
    /// This node.
    pub node: NodeId,
    /// Limits and times.
    pub config: watch::Receiver<Config>,
    /// Random number of this process.
    pub session: u64,
    /// Kernel's boot id.
    pub boot_id: String,
    /// What the machine is.
    pub host: HostFacts,
    /// The store.
    pub backlog: B,
    /// What the link tells.
    pub events: mpsc::Receiver<LinkEvent>,
    /// To the link. Full only while the link is down; what does not fit is sent again after the next hello.
    pub outgoing: mpsc::Sender<Outgoing>,
    /// To whoever verifies. The task waits where it is slow, which holds back the fleet.
    pub sealed: mpsc::Sender<Sealed>,
    /// Log lines as they are read, for live views; lines that are overtaken are counted as skipped.
    pub live: broadcast::Sender<Arc<Vec<LiveLine>>>,
    /// Questions to whoever answers them. Full in a flood: what comes on top is refused.
    pub asks: mpsc::Sender<Ask>,
    /// What the node says of itself.
    pub facts: Arc<dyn Fn() -> Facts + Send + Sync>,
    /// Wakes the task to send its status at once.
    pub changed: Arc<tokio::sync::Notify>,
    /// Counters.
    pub stats: Arc<SyncStats>,
    /// Clocks.
    pub clock: Clock,
}

/// Outbox limits from the config.
fn limits(config: &Config) -> Limits {
    Limits {
        metrics_wait: config.metrics_wait.0,
        ack_timeout: config.ack_timeout.0,
        hello_wait_max: config.reconnect_max.0,
        backlog_bytes_per_s: config.bandwidth.map(|bytes| bytes.0),
        ..Limits::default()
    }
}

impl<B: Backlog> SyncTask<B> {
    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tips = self.backlog.tips();
        let mut outbox = Outbox::new(limits(&self.config.borrow_and_update()));
        outbox.tips(tips.borrow_and_update().to_vec());
        let mut live = LiveView::default();
        let mut status_at = Mono(u64::MAX);
        // What the last report said waits: once all of it is acknowledged, the next report comes soon, so that the
        // centre does not show a backlog for a minute that was gone in a second.
        let mut reported = 0;
        loop {
            let now = self.clock.mono();
            if now >= status_at {
                reported = self.send_status();
                status_at = now + STATUS_EVERY;
            } else if reported > 0 && outbox.is_ready() && StreamKind::ALL.iter().all(|s| outbox.waiting(*s) == 0) {
                reported = 0;
                status_at = status_at.min(now + STATUS_SOON);
            }
            self.perform(&mut outbox).await;
            self.stats.ready.store(outbox.is_ready(), Ordering::Relaxed);
            let now = self.clock.mono();
            let wake = outbox.wake_at(now).unwrap_or(status_at).min(status_at);
            tokio::select! {
                () = stop.cancelled() => break,
                event = self.events.recv() => {
                    let Some(event) = event else { break };
                    self.link_event(event, &mut outbox, &mut live, &mut status_at).await;
                }
                changed = tips.changed() => {
                    if changed.is_err() { break }
                    outbox.tips(tips.borrow_and_update().to_vec());
                }
                Ok(()) = self.config.changed() => outbox.set_limits(limits(&self.config.borrow_and_update())),
                () = self.changed.notified() => if outbox.is_ready() { status_at = now },
                answer = live.next(now) => self.publish(UpLeaf::Answer, codec::encode::<Answer>(&answer)),
                () = tokio::time::sleep(wake.since(now).min(STATUS_EVERY)) => {}
            }
        }
        let goodbye = Status::Gone { session: self.session, clean: true };
        self.publish(UpLeaf::Status, codec::encode(&goodbye));
    }

    async fn link_event(&self, event: LinkEvent, outbox: &mut Outbox, live: &mut LiveView, status_at: &mut Mono) {
        let now = self.clock.mono();
        match event {
            LinkEvent::Up => {
                self.stats.connects.fetch_add(1, Ordering::Relaxed);
                tracing::info!("link up");
                outbox.connected(now);
            }
            LinkEvent::Down(reason) => {
                self.stats.failures.fetch_add(1, Ordering::Relaxed);
                // Logged when it goes down and when the reason becomes another one, not at each attempt.
                if self.stats.note_down(Some(reason.clone())).as_ref() == Some(&reason) {
                    tracing::debug!(reason, "link still down");
                } else {
                    tracing::warn!(reason, "link down; data is kept and sent when it returns");
                }
                outbox.disconnected();
                live.clear();
                *status_at = Mono(u64::MAX);
            }
            LinkEvent::Stray(topic) => self.refuse("topic", &format!("{topic} carries no message of this version")),
            LinkEvent::Message(DownLeaf::Ack, payload) => match codec::decode::<Acks>(&payload, MESSAGE_BYTES_MAX) {
                Ok(acks) => {
                    let was_ready = outbox.is_ready();
                    outbox.acknowledged(&acks.acks, now);
                    if !was_ready {
                        self.stats.note_down(None);
                        tracing::info!("fleet answered; sync begins");
                        *status_at = now;
                    }
                    self.stats.acks.fetch_add(acks.acks.len() as u64, Ordering::Relaxed);
                    let wall = u64::try_from(self.clock.wall().0).unwrap_or(0);
                    self.stats.last_ack_ms.store(wall, Ordering::Relaxed);
                    for ack in acks.acks {
                        self.backlog.acknowledge(ack).await;
                    }
                }
                Err(error) => self.refuse("ack", &error.to_string()),
            },
            LinkEvent::Message(DownLeaf::Config, payload) => {
                let _ = self.sealed.send(Sealed::Config(payload)).await;
            }
            LinkEvent::Message(DownLeaf::Trust, payload) => match codec::decode(&payload, MESSAGE_BYTES_MAX) {
                Ok(trust) => {
                    let _ = self.sealed.send(Sealed::Trust(trust)).await;
                }
                Err(error) => self.refuse("trust", &error.to_string()),
            },
            LinkEvent::Message(DownLeaf::Ask, payload) => match codec::decode::<Ask>(&payload, ASK_BYTES_MAX) {
                Ok(ask) => self.ask(ask, live, now),
                Err(error) => {
                    self.refuse("ask", &error.to_string());
                    // A later kind of question: who asks should not have to wait to learn that.
                    if let Ok(AskId { id }) = codec::decode(&payload, ASK_BYTES_MAX) {
                        self.cannot_answer(id, "this version of the agent does not know the question; update it");
                    }
                }
            },
            LinkEvent::Message(DownLeaf::Job, _) => {
                self.refuse("job", "this version of the agent runs no jobs; update it first");
            }
        }
    }

    fn ask(&self, ask: Ask, live: &mut LiveView, now: Mono) {
        let id = ask.id;
        // The end of a question is for both: its number says whose it is.
        live.ask(&ask, &self.node, &self.live, now);
        if !matches!(ask.kind, AskKind::FollowLogs { .. }) && self.asks.try_send(ask).is_err() {
            self.cannot_answer(id, "too many questions at once; ask again later");
        }
    }

    fn cannot_answer(&self, id: u64, reason: &str) {
        let part = AnswerPart::Failed { kind: "unavailable".into(), reason: reason.to_owned() };
        self.publish(UpLeaf::Answer, codec::encode(&Answer { id, part }));
    }

    fn refuse(&self, what: &str, why: &str) {
        self.stats.refused.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(message = what, error = why, "message from the fleet refused");
    }

    /// Does what the outbox says until it has nothing more to say.
    async fn perform(&self, outbox: &mut Outbox) {
        while let Some(action) = outbox.poll(self.clock.mono()) {
            match action {
                Action::Hello => self.publish(UpLeaf::Hello, codec::encode(&self.hello(outbox.stream_tips()))),
                Action::Load { stream, epoch, at, dict_known } => {
                    match self.backlog.load(stream, epoch, at, dict_known, BATCH_BYTES_MAX).await {
                        Ok(Some(batch)) if batch.to >= at => {
                            let payload = codec::encode(&batch);
                            let bytes = payload.len() as u64;
                            if self.outgoing.try_send(Outgoing { leaf: UpLeaf::of_stream(stream), payload }).is_err() {
                                // The link is going down and will say so; the number stays unsent.
                                outbox.load_failed();
                                return;
                            }
                            self.stats.batches_sent.fetch_add(1, Ordering::Relaxed);
                            self.stats.bytes_sent.fetch_add(bytes, Ordering::Relaxed);
                            outbox.sent(stream, epoch, batch.from, batch.to, bytes, self.clock.mono());
                        }
                        Ok(_) => outbox.absent(stream, epoch, at),
                        Err(error) => {
                            self.stats.load_errors.fetch_add(1, Ordering::Relaxed);
                            tracing::warn!(%stream, seq = at.0, error, "batch could not be loaded");
                            outbox.load_failed();
                            return;
                        }
                    }
                }
            }
        }
    }

    fn publish(&self, leaf: UpLeaf, payload: Vec<u8>) {
        // Full while the link is down: a hello is asked for again, a status follows, an answer is live and may go.
        let _ = self.outgoing.try_send(Outgoing { leaf, payload });
    }

    fn hello(&self, streams: Vec<StreamTip>) -> Hello {
        let facts = (self.facts)();
        Hello {
            protocol: PROTOCOL_VERSION,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            boot_id: self.boot_id.clone(),
            session: self.session,
            host: self.host.clone(),
            streams,
            configs: facts.configs,
            assignment: facts.assignment,
            root_version: facts.root_version,
            at: self.clock.wall(),
            time_trusted: facts.time_trusted,
            asks: ASKS_VERSION,
        }
    }

    /// Reports, and says how much of it waits.
    fn send_status(&self) -> u64 {
        let facts = (self.facts)();
        let waiting = facts.backlog.iter().map(|stream| stream.waiting).sum();
        let report = StatusReport {
            at: self.clock.wall(),
            backlog: facts.backlog,
            configs: facts.configs,
            rss_bytes: facts.rss_bytes,
            db_bytes: facts.db_bytes,
            time_trusted: facts.time_trusted,
            problems: facts.problems,
        };
        self.publish(UpLeaf::Status, codec::encode(&Status::Alive(report)));
        waiting
    }
}
