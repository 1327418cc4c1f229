//! The async shell: looks, carries out, and writes down.

use super::body::{Around, Sizes, body, endpoint};
use super::config::Config;
use super::handle::{Request, Wish, Workloads};
use super::images::{Images, failure};
use super::look::Looks;
use super::probe::{Clients, Reach, ask};
use crate::actuate::Initial;
use crate::board::Board;
use crate::clock::Clock;
use crate::docker::{Engine, EngineError};
use crate::store::{Closed, Store};
use skerry_model::{Mono, NodeId, Now};
use skerry_scaling::target::{TargetKind, TargetRef};
use skerry_scaling::vpa::{Resource, Size};
use skerry_scaling::workload::{Act, Changes, Container, Happened, Keeper, LABEL_WORKLOAD, Outcome, Settings};
use skerry_scaling::workload::{LABEL_CONTAINER, LABEL_REPLICA, LABEL_SPEC};
use skerry_wire::{EVENT_TEXT_BYTES_MAX, Event, EventKind, WorkloadEvent};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Pause between two attempts at a runtime that does not answer.
const AGAIN: Duration = Duration::from_secs(2);
/// Shortest sleep between two turns.
const SLEEP_MIN: Duration = Duration::from_millis(20);
/// Containers that are made at a time, once their images are there.
const MAKING_MAX: usize = 2;
/// Most containers that something happened to and that are not looked at yet.
const HAPPENED_MAX: usize = 32;
/// Where the board says that the runtime does not answer.
const PROBLEM: &str = "workloads";

/// Why workloads ended by themselves.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadsError {
    /// Nothing can be kept any more.
    #[error("the store keeps no more state")]
    Store(#[from] Closed),
}

/// The task's ends.
pub struct WorkloadsTask {
    /// Settings, and what is declared.
    pub config: Config,
    /// State of the run before: keys that begin with [`super::PREFIX`].
    pub stored: Vec<(String, Vec<u8>)>,
    /// Names this start of the machine.
    pub boot: String,
    /// This node.
    pub node: NodeId,
    /// What containers are given at their creation where a policy wants that.
    pub initial: Initial,
    /// Where it is put up how they stand.
    pub workloads: Workloads,
    /// Wishes for numbers of replicas.
    pub requests: mpsc::Receiver<Request>,
    /// Where state and events go.
    pub store: Store,
    /// Where it is put up that the runtime does not answer.
    pub board: Board,
    /// Clocks.
    pub clock: Clock,
}

/// What the task does with.
struct Shell {
    keeper: Keeper,
    engine: Arc<Engine>,
    images: Arc<Images>,
    clients: Clients,
    node: Arc<str>,
    initial: Initial,
    making: Arc<Semaphore>,
    looks: Looks,
    running: JoinSet<(Act, Outcome)>,
    /// The runtime did not answer the last time: why, and since when.
    away: Option<(EngineError, Mono)>,
    look_at: Mono,
    stamps: Vec<(std::path::PathBuf, (u64, Option<std::time::SystemTime>))>,
    replies: Vec<oneshot::Sender<bool>>,
}

impl WorkloadsTask {
    /// Keeps workloads until `stop`; containers run on then.
    ///
    /// # Errors
    /// [`WorkloadsError`].
    pub async fn run(self, stop: CancellationToken) -> Result<(), WorkloadsError> {
        let Self { config, stored, boot, node, initial, workloads, mut requests, store, board, clock } = self;
        let now = Now { wall: clock.wall(), mono: clock.mono() };
        let settings = Settings { backoff_max: config.backoff_max.0, boot, is_complete: !config.is_incomplete };
        let keeper = Keeper::new(settings, config.workloads, &stored, now);
        let mut shell = Shell {
            keeper,
            engine: Arc::new(Engine::new(&config.socket)),
            images: Arc::new(Images::new(config.images)),
            clients: Clients::new(),
            node: node.as_str().into(),
            initial,
            making: Arc::new(Semaphore::new(MAKING_MAX)),
            looks: Looks::default(),
            running: JoinSet::new(),
            away: None,
            look_at: now.mono,
            stamps: Vec::new(),
            replies: Vec::new(),
        };
        // When it is full everything is asked for anew.
        let (happened_in, mut happened) = mpsc::channel(HAPPENED_MAX);
        let watching = watch(shell.engine.clone(), happened_in);
        tokio::pin!(watching);
        loop {
            if shell.keeper.is_idle() {
                shell.save(&store, &clock).await?;
                workloads.put(Vec::new());
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    Some(request) = requests.recv() => shell.take(request),
                }
                continue;
            }
            let now = Now { wall: clock.wall(), mono: clock.mono() };
            let looks = now.mono >= shell.look_at || (shell.keeper.is_stale() && shell.away.is_none());
            if looks {
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = shell.look(config.interval.0, &board, &clock) => {}
                }
            }
            let now = Now { wall: clock.wall(), mono: clock.mono() };
            // Of a runtime that does not answer nothing is known, and it would do nothing.
            let acts = if shell.away.is_none() { shell.keeper.step(now) } else { Vec::new() };
            shell.save(&store, &clock).await?;
            for act in acts {
                shell.carry_out(act);
            }
            workloads.put(shell.keeper.status(now));
            if looks {
                workloads.looked(shell.away.is_none());
            }
            let wait = shell.wait(now);
            tokio::select! {
                () = stop.cancelled() => break,
                Some(request) = requests.recv() => shell.take(request),
                Some(done) = shell.running.join_next() => shell.done(done, &clock),
                Some(id) = happened.recv() => shell.happened(id, &mut happened),
                () = &mut watching => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        // What is being done goes on in the runtime, and is looked at when the agent begins again.
        shell.running.abort_all();
        shell.save(&store, &clock).await
    }
}

impl Shell {
    async fn look(&mut self, interval: Duration, board: &Board, clock: &Clock) {
        let looked = self.looks.look(&self.engine).await;
        let now = Now { wall: clock.wall(), mono: clock.mono() };
        match looked {
            Ok(seen) => {
                if let Some((error, since)) = self.away.take() {
                    self.keeper.was_away(now.mono.since(since));
                    tracing::info!(socket = %self.engine.socket().display(), "the runtime of workloads answers");
                    board.solved(PROBLEM);
                    if matches!(error, EngineError::Unreachable { .. }) {
                        self.keeper.forgive();
                    }
                }
                let stamps = self.images.stamps();
                if stamps != self.stamps {
                    self.stamps = stamps;
                    self.keeper.images_changed();
                }
                self.keeper.see(seen, now);
                self.look_at = now.mono + interval;
            }
            Err(error) => {
                self.looks.forget_all();
                if self.away.as_ref().is_none_or(|(away, _)| away.reason() != error.reason()) {
                    tracing::warn!(%error, "the runtime of workloads does not answer; what runs runs on");
                    board.problem(PROBLEM, &error.to_string());
                }
                // A runtime that was gone in between was gone, whatever it says now.
                if !matches!(self.away, Some((EngineError::Unreachable { .. }, _))) {
                    let since = self.away.as_ref().map_or(now.mono, |(_, since)| *since);
                    self.away = Some((error, since));
                }
                self.look_at = now.mono + AGAIN;
            }
        }
    }

    /// Hands on what changed; where the disk takes nothing it waits in the store.
    async fn save(&mut self, store: &Store, clock: &Clock) -> Result<(), WorkloadsError> {
        let Changes { state, events } = self.keeper.take();
        let at = clock.wall();
        let told = |Happened { workload, container, reason, mut message }| {
            message.truncate(message.floor_char_boundary(EVENT_TEXT_BYTES_MAX));
            tracing::info!(workload, container, reason, message, "workload");
            let event = WorkloadEvent { workload, container, reason: reason.to_owned(), message };
            Event { at, kind: EventKind::Workload(event) }
        };
        let events: Vec<Event> = events.into_iter().map(told).collect();
        if !state.is_empty() || !events.is_empty() {
            store.keep(state.into_iter().collect(), events).await?;
        }
        for told in self.replies.drain(..) {
            // Whoever does not wait any more looks again.
            let _ = told.send(true);
        }
        Ok(())
    }

    fn wait(&self, now: Now) -> Duration {
        let mut until = self.look_at;
        if self.away.is_none() {
            until = self.keeper.next(now).map_or(until, |at| at.min(until));
        }
        until.since(now.mono).max(SLEEP_MIN)
    }

    fn take(&mut self, request: Request) {
        let is_taken = match &request.wish {
            Wish::Replicas(replicas) => self.keeper.scale(&request.workload, *replicas),
            Wish::Renew(id) => self.keeper.renew(&request.workload, id),
        };
        if is_taken {
            self.replies.push(request.told);
        } else {
            // Whoever asked is told; nobody waits for the answer of one that went away.
            let _ = request.told.send(false);
        }
    }

    fn happened(&mut self, id: String, more: &mut mpsc::Receiver<String>) {
        let (mut next, mut count) = (Some(id), 0);
        while let Some(id) = next {
            count += 1;
            if id.is_empty() || count >= HAPPENED_MAX {
                // Where there was no room for more, more may have happened.
                self.looks.forget_all();
            } else {
                self.looks.forget(&id);
            }
            next = more.try_recv().ok();
        }
        self.look_at = Mono(0);
    }

    fn done(&mut self, done: Result<(Act, Outcome), tokio::task::JoinError>, clock: &Clock) {
        let Ok((act, outcome)) = done else {
            tracing::error!("an act on a container ended without an outcome");
            return;
        };
        let now = Now { wall: clock.wall(), mono: clock.mono() };
        if let Act::Start { id, .. } | Act::Stop { id, .. } | Act::Remove { id, .. } = &act {
            self.looks.forget(id);
        }
        self.keeper.done(&act, outcome, now);
    }

    fn carry_out(&mut self, act: Act) {
        let reach = match &act {
            Act::Probe { id, .. } => self.looks.reach(id),
            _ => Reach::default(),
        };
        let (engine, images, clients) = (self.engine.clone(), self.images.clone(), self.clients.clone());
        let (making, node, initial) = (self.making.clone(), self.node.clone(), self.initial.clone());
        self.running.spawn(async move {
            let outcome = match &act {
                Act::Create { .. } => create(&engine, &images, &making, (&node, &initial), &act).await,
                Act::Start { id, slot } => {
                    engine.start(id).await.map_err(|e| failure("FailedStart", &slot.container, &e))
                }
                Act::Stop { id, slot, grace } => {
                    gone(engine.stop(id, *grace).await).map_err(|e| failure("FailedKillPod", &slot.container, &e))
                }
                Act::Remove { id, slot, grace } => {
                    // One that cannot be ended in order is removed with force.
                    match gone(engine.stop(id, *grace).await) {
                        Err(error @ EngineError::Unreachable { .. }) => Err(error),
                        _ => engine.remove(id).await,
                    }
                    .map_err(|error| failure("FailedKillPod", &slot.container, &error))
                }
                Act::Probe { id, probe, .. } => ask(&engine, id, probe, &reach, &clients).await,
            };
            (act, outcome)
        });
    }
}

/// A container that is gone needs no end.
fn gone(outcome: Result<(), EngineError>) -> Result<(), EngineError> {
    match outcome {
        Err(EngineError::NotFound { .. }) => Ok(()),
        other => other,
    }
}

/// What a container asks for and may have: as declared, or as somebody recommends.
fn sizes(workload: &str, container: &Container, initial: &Initial) -> Sizes {
    let (mut requests, mut limits) = (container.requests, container.limits);
    let target = TargetRef { kind: TargetKind::Workload, name: workload.to_owned(), scope: String::new() };
    let given = initial(&target, &container.name);
    if let Some(given) = &given {
        let cpu = given.resized(Resource::Cpu, Size { request: requests.cpu_milli, limit: limits.cpu_milli });
        let memory = given.resized(Resource::Memory, Size { request: requests.memory, limit: limits.memory });
        (requests.cpu_milli, requests.memory) = (cpu.request, memory.request);
        (limits.cpu_milli, limits.memory) = (cpu.limit, memory.limit);
    }
    Sizes { requests, limits, is_recommended: given.is_some() }
}

async fn create(
    engine: &Engine,
    images: &Images,
    making: &Semaphore,
    (node, initial): (&str, &Initial),
    act: &Act,
) -> Outcome {
    let Act::Create { slot, name, workload, container } = act else { return Ok(()) };
    let Some(container) = workload.template.containers.get(*container) else { return Ok(()) };
    // An image that is long in coming keeps no other container waiting.
    let image = images.ensure(engine, &container.image, container.pull).await?;
    // Never closed.
    let _one = making.acquire().await;
    let sizes = sizes(&workload.name, container, initial);
    let around = Around { replica: workload.replica_name(slot.replica), node };
    let body = body(workload, container, slot, &image, sizes, &around);
    let failed = |error: &EngineError| failure("FailedCreate", name, error);
    let id = match engine.create(name, &body).await {
        Ok(id) => id,
        // Made by the run before, or by an attempt whose answer did not come: the next look finds it. Anybody else's
        // container stays as it is, also one of ours that somebody gave this name.
        Err(error @ EngineError::Conflict { .. }) => {
            let taken = engine.inspect(name).await;
            let is_same =
                |label: &&str| taken.as_ref().is_ok_and(|taken| taken.label(label) == body["Labels"][*label].as_str());
            let is_it = [LABEL_WORKLOAD, LABEL_REPLICA, LABEL_CONTAINER, LABEL_SPEC].iter().all(is_same);
            return if is_it { Ok(()) } else { Err(failed(&error)) };
        }
        Err(error) => return Err(failed(&error)),
    };
    for network in workload.template.networks.iter().skip(1) {
        if let Err(error) = engine.connect(network, &id, &endpoint(workload, container)).await {
            // Half of it would look like all of it at the next look.
            let _ = engine.remove(&id).await;
            return Err(failed(&error));
        }
    }
    engine.start(&id).await.map_err(|error| failure("FailedStart", name, &error))
}

/// Tells of every container that something happened to; `""` for any. Never ends.
async fn watch(engine: Arc<Engine>, happened: mpsc::Sender<String>) {
    loop {
        let mut sink = |event: crate::docker::Event| {
            // Probes by exec are events too.
            let counts = ["start", "die", "destroy", "pause", "unpause", "oom"].contains(&event.action.as_str());
            if counts && happened.try_send(event.id).is_err() {
                // Whoever empties the queue finds it full.
                tracing::debug!("more happened to containers than is taken in");
            }
            true
        };
        // Why it ended is told by whoever looks.
        let _ = engine.events(None, &[(LABEL_WORKLOAD, "")], &[], &mut sink).await;
        tokio::time::sleep(AGAIN).await;
        let _ = happened.try_send(String::new());
    }
}
