//! Puts a run of the agent together: the one file that knows every feature.
//!
//! A run lasts until the agent is stopped, or until something that everything stands on changes: an adopted config,
//! an enrolment, the local file. Then it ends in order, with all data on the disk, and the next one begins with what
//! counts by then. So no feature has to know how to change its settings while it works.
//!
//! ```text
//! collect ──────────────┐
//! scrape, probes, push ─┤
//! log inputs ─ forward ─┴─> store <──> sync <──> link <──> fleet
//! rules <─ all that goes to the store; alerts ─> people
//! containers ─> all           ^          │ sealed
//! enrol ─> next run           └── adopt <┘ ─> next run
//! ```

mod alerting;
mod recommend;
mod scaling;
mod workloads;

pub use alerting::Lasting;

use crate::adopt::{self, AdoptTask, Adoption};
use crate::board::Board;
use crate::clock::Clock;
use crate::collect::{CollectTask, Collector};
use crate::config::{Effective, Local};
use crate::containers::ContainersTask;
use crate::data::LogInput;
use crate::enrol::EnrolTask;
use crate::identity::{self, Enrolment, Keys, Memory};
use crate::logs::LogInputs;
use crate::logs::inputs::{Ends, Inputs};
use crate::onalert::OnAlertTask;
use crate::probes::{Probes, ProbesTask};
use crate::push::{self, PushTask};
use crate::query::{About, AskTask, Queries};
use crate::scrape::{self, ScrapeTask};
use crate::store::{self, CommitError, Opened, Store};
use crate::supervise::Tasks;
use crate::sync::link::{Link, Peer};
use crate::sync::outbox::Tip;
use crate::sync::task::{Backlog, SyncStats, SyncTask};
use crate::vitals::Vitals;
use crate::{alerts, api, host, own, scale, workloads as kept};
use alerting::{Alerting, Running};
use anyhow::{Context, bail};
use scaling::Scale;
use skerry_model::{ContainerInfo, Epoch, Now, Seq, SeriesId, StreamKind};
use skerry_seal::NodeIdentity;
use skerry_wire::{Ack, Batch, Event, EventKind, LIVE_LINE_BYTES_MAX, LiveLine, Status as WireStatus, codec};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use workloads::Keeping;

/// How long tasks may take to end.
const DRAIN: Duration = Duration::from_secs(10);

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was stopped.
    Stop,
    /// Something changed that the next run begins with.
    Reload,
    /// A part ended by itself: the next run should begin after a pause.
    Failed,
}

/// What lasts longer than a run.
pub struct Process {
    /// Clocks.
    pub clock: Clock,
    /// The socket of the local HTTP.
    pub listener: TcpListener,
    /// Set when the agent is to stop.
    pub stop: CancellationToken,
    /// Woken when the local file is to be read again.
    pub reload: Arc<Notify>,
    /// Rules and alerts.
    pub alerting: Lasting,
}

/// One run, from opening the store to closing it.
///
/// # Errors
/// What keeps a run from beginning: keys, database, address.
pub async fn run(local: &Local, process: &Process) -> anyhow::Result<Exit> {
    let Process { clock, listener, stop, reload, alerting: lasting } = process;
    let folder = identity::folder(&local.data_dir);
    let keys = Arc::new(Keys::load_or_create(&folder).context("the node's keys")?);
    let enrolment = Enrolment::load(&folder).context("the node's enrolment")?;
    let path = local.data_dir.join("agent.db");
    let adoption = match &enrolment {
        Some(enrolment) => Some(adoption(local, enrolment, &keys, clock, &path)?),
        None => None,
    };
    let signed = adoption.as_ref().map(Adoption::layers).unwrap_or_default();
    let mut effective = Effective::of(std::iter::once(&local.sections).chain(&signed));
    // Read before the store is open, as other state that a run begins with.
    let pushed = if effective.push.gateway { store::peek(&path, push::PREFIX) } else { Vec::new() };
    let told_before = store::peek(&path, alerts::PREFIX);
    let scaled_before = store::peek(&path, scale::PREFIX);
    let kept_before = store::peek(&path, kept::PREFIX);
    let recommended_before = store::peek(&path, crate::recommend::PREFIX);
    let Opened { store, thread, positions, clean, replaced } =
        store::open(&path, effective.store.clone(), clock.clone(), random_bits).context("the node's database")?;
    let beside_path = local.data_dir.join("agent-kept.db");
    let (store, beside) = store
        .keep_beside(&beside_path, &effective.store, clock.clone(), random_bits)
        .context("the database of what ship policies keep here")?;
    if let Some(aside) = replaced {
        tracing::error!(aside = %aside.display(), "the database was damaged; it was set aside and a new one begun");
    }
    let node = enrolment.as_ref().map_or(&local.node, |enrolment| &enrolment.node).clone();
    let board = Board::default();
    let keeping = Keeping::install(kept_before);
    let scaling = Scale::install(&mut effective, scaled_before, &board);
    let needs = Scale::needs(&effective);
    let alerting = Alerting::install(lasting, local, &effective, told_before, needs, clock, &board);
    let recommender = recommend::install(&effective, &recommended_before, clock, &board);
    let (seen, used, ticking) = (alerting.memory.clone(), recommender.clone(), clock.clone());
    let store = store.with_tap(move |scrape| {
        seen.push(scrape);
        used.push(scrape, Now { wall: ticking.wall(), mono: ticking.mono() });
    });
    let saved = positions.clone();
    let inputs = LogInputs::new(&effective.logs, positions).map_err(|faults| anyhow::anyhow!("logs: {faults:?}"))?;
    let inputs = inputs.behind(store.log_gate());
    let others = Inputs::new(&effective.logs, &saved, clean, inputs.stats())
        .map_err(|faults| anyhow::anyhow!("logs: {faults:?}"))?;
    drop(saved);
    let probes = Probes::new(&effective.probes).map_err(|faults| anyhow::anyhow!("probes: {faults:?}"))?;
    let collector = Collector::new(&effective.collect, local.roots.clone(), clock.clone())
        .map_err(|faults| anyhow::anyhow!("collect: {faults:?}"))?;
    let (latest_in, latest) = watch::channel(Arc::default());
    let vitals = Vitals {
        node: node.clone(),
        fleet: enrolment.as_ref().map(|enrolment| (enrolment.fleet.to_string(), enrolment.url())),
        started: clock.mono(),
        clock: clock.clone(),
        board,
        latest,
        store: store.stats(),
        kept: beside.as_ref().map(|beside| beside.handle().stats()),
        logs: inputs.stats(),
        inputs: others.stats(),
        probes: Arc::default(),
        push: Arc::default(),
        rules: lasting.rules.clone(),
        memory: alerting.memory.clone(),
        alert_stats: Arc::default(),
        scaling: scaling.scaling.clone(),
        workloads: keeping.workloads.clone(),
        recommender,
        rule_stats: Arc::default(),
        targets: scrape::State::default(),
        sync: Arc::new(SyncStats::default()),
        asks: Arc::default(),
    };
    let started = EventKind::Started { version: env!("CARGO_PKG_VERSION").into(), clean };
    tell(&store, clock, started).await;

    let (intake, shipping) = (CancellationToken::new(), CancellationToken::new());
    let (mut intake_tasks, mut tasks) = (Tasks::default(), Tasks::default());
    if let Some(beside) = &beside {
        beside.resume(&store, clock.wall()).await.context("what ship policies keep here")?;
        tasks.spawn_fallible("settle", store::Beside::settle(beside.handle(), shipping.clone()));
    }
    let (live, _) = broadcast::channel(64);
    let (containers_in, containers) = watch::channel(Arc::new(Vec::<ContainerInfo>::new()));
    let (logs_in, logs_out) = mpsc::channel(2);
    let measured = vitals.clone();
    let collect = CollectTask {
        collector,
        interval: effective.collect.interval.0,
        own: Box::new(move || own::observe(&measured)),
        containers: containers.clone(),
        store: store.clone(),
        latest: latest_in,
        board: vitals.board.clone(),
        clock: clock.clone(),
    };
    intake_tasks.spawn_fallible("collect", collect.run(intake.clone()));
    let scraping = ScrapeTask {
        config: effective.scrape.clone(),
        containers: containers.clone(),
        store: store.clone(),
        state: vitals.targets.clone(),
        board: vitals.board.clone(),
        clock: clock.clone(),
    };
    intake_tasks.spawn_fallible("scrape", scraping.run(intake.clone()));
    let ends = Ends { out: logs_in.clone(), gate: store.log_gate(), board: vitals.board.clone(), clock: clock.clone() };
    others.spawn(ends, &mut intake_tasks, &intake).map_err(|faults| anyhow::anyhow!("logs: {faults:?}"))?;
    intake_tasks.spawn_fallible("logs", inputs.run(containers, logs_in, clock.clone(), intake.clone()));
    intake_tasks.spawn_fallible("forward", forward(logs_out, store.clone(), live.clone()));
    let probes = ProbesTask {
        probes,
        store: store.clone(),
        board: vitals.board.clone(),
        stats: vitals.probes.clone(),
        clock: clock.clone(),
    };
    intake_tasks.spawn_fallible("probes", probes.run(intake.clone()));
    // When it is full whoever pushes waits; requests are few and small.
    let (pushes, requests) = mpsc::channel(4);
    let push = PushTask {
        config: effective.push.clone(),
        state: pushed,
        requests,
        store: store.clone(),
        board: vitals.board.clone(),
        stats: vitals.push.clone(),
        clock: clock.clone(),
    };
    intake_tasks.spawn_fallible("push", push.run(intake.clone()));
    let containers = ContainersTask { config: effective.containers.clone(), found: containers_in };
    intake_tasks.spawn("containers", containers.run(intake.clone()));
    let local_http = tokio::net::TcpListener::from_std(listener.try_clone()?).context("the local HTTP")?;
    let about = About {
        config: effective.shown(),
        retention: format!("{} or {}", effective.store.metrics.max_age, effective.store.metrics.max_bytes),
        started: clock.wall(),
    };
    let pushes = effective.push.gateway.then_some(pushes);
    let queries = Queries::new(store.clone(), vitals.clone(), about);
    let running = Running { intake_tasks: &mut intake_tasks, intake: &intake, tasks: &mut tasks, stop: &shipping };
    let alerts = alerting.start(local, &effective, &queries, &store, &vitals, running);
    keeping.start(&effective, &store, &vitals, (&mut intake_tasks, &intake));
    scaling.start(local, &effective, &queries, &store, &vitals, (&mut intake_tasks, &intake));
    recommend::start(&effective, &store, &vitals, (&mut tasks, &shipping));
    let tails = api::Tails::new(live.clone(), shipping.clone());
    let doors = api::Doors { pushes, alerts, scales: scaling::scales(&vitals) };
    tasks.spawn_fallible("api", api::run(local_http, vitals.clone(), queries.clone(), doors, tails));

    let policies = store::OnAlert::among(&effective.store.ship, &effective.store.log_ship);
    let on_alert =
        OnAlertTask { rules: policies, queries: queries.clone(), store: store.clone(), clock: clock.clone() };
    intake_tasks.spawn("on-alert", on_alert.run(intake.clone()));

    let (again_in, mut again) = mpsc::channel::<()>(1);
    match (enrolment, adoption) {
        (Some(enrolment), Some(adoption)) => {
            let parts =
                Shipping { local, effective: &effective, keys: &keys, vitals: &vitals, store: &store, queries, live };
            parts.start(enrolment, adoption, &mut tasks, again_in, &shipping)?;
        }
        _ => {
            let enrol = EnrolTask { source: local.enrol.clone(), node, keys, board: vitals.board.clone() };
            let stop = shipping.clone();
            tasks.spawn_fallible("enrol", async move {
                if let Some(enrolment) = enrol.run(stop.clone()).await {
                    enrolment.save(&folder)?;
                    let _ = again_in.send(()).await;
                }
                stop.cancelled().await;
                Ok::<(), identity::IdentityError>(())
            });
        }
    }
    tracing::info!(node = %vitals.node, version = env!("CARGO_PKG_VERSION"), http = ?listener.local_addr().ok(), "agent runs");

    let exit = tokio::select! {
        () = stop.cancelled() => Exit::Stop,
        () = reload.notified() => Exit::Reload,
        Some(()) = again.recv() => Exit::Reload,
        ended = intake_tasks.next() => failed(&ended),
        ended = tasks.next() => failed(&ended),
    };

    // Inputs first, then what they gave to the store, then the link, then the store itself.
    intake.cancel();
    report(intake_tasks.drain(DRAIN).await);
    if exit == Exit::Stop {
        tell(&store, clock, EventKind::Stopped).await;
    }
    shipping.cancel();
    report(tasks.drain(DRAIN).await);
    let mut threads = vec![thread];
    let mut stores = vec![store];
    if let Some(beside) = beside {
        stores.push(beside.handle());
        threads.push(beside.thread);
    }
    for store in stores {
        match store.close().await {
            Ok(()) => {}
            Err(CommitError::Closed(_)) if exit == Exit::Failed => {}
            Err(error) => tracing::error!(%error, "the store could not write what was in memory"),
        }
    }
    let _ = tokio::task::spawn_blocking(move || threads.into_iter().try_for_each(JoinHandle::join)).await;
    tracing::info!(?exit, "run ended");
    Ok(exit)
}

fn failed(ended: &crate::supervise::Ended) -> Exit {
    tracing::error!(task = ended.name, error = ended.error, "a part of the agent ended by itself; it begins anew");
    Exit::Failed
}

fn report(ended: Vec<crate::supervise::Ended>) {
    for ended in ended {
        tracing::warn!(task = ended.name, error = ended.error, "a part of the agent did not end in order");
    }
}

fn adoption(
    local: &Local,
    enrolment: &Enrolment,
    keys: &Keys,
    clock: &Clock,
    path: &std::path::Path,
) -> anyhow::Result<Adoption> {
    if enrolment.node != local.node {
        bail!(
            "this node has joined its fleet as {}, and the local file names it {}; set `node: {}`, or delete {} to join anew",
            enrolment.node,
            local.node,
            enrolment.node,
            identity::folder(&local.data_dir).display()
        );
    }
    let identity = NodeIdentity {
        node: enrolment.node.clone(),
        tls_pin: keys.tls_pin(),
        key: keys.x25519.clone(),
        agent: env!("CARGO_PKG_VERSION").parse().context("the agent's version")?,
    };
    let memory = Memory::load(&identity::folder(&local.data_dir)).context("the node's trust state")?;
    let stored = adopt::Stored::read(store::peek(path, adopt::PREFIX));
    let (adoption, told) = Adoption::restore(identity, &enrolment.roots, memory, stored, clock.mono())
        .context("the fleet's root documents; enrol the node anew")?;
    for problem in told {
        tracing::warn!(problem, "part of the adopted documents is left out");
    }
    Ok(adoption)
}

/// What the parts that talk to the fleet are made from.
struct Shipping<'a> {
    local: &'a Local,
    effective: &'a Effective,
    keys: &'a Keys,
    vitals: &'a Vitals,
    store: &'a Store,
    queries: Queries,
    live: broadcast::Sender<Arc<Vec<LiveLine>>>,
}

impl Shipping<'_> {
    fn start(
        self,
        enrolment: Enrolment,
        adoption: Adoption,
        tasks: &mut Tasks,
        again: mpsc::Sender<()>,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let Self { local, effective, keys, vitals, store, queries, live } = self;
        let session = random_bits();
        let sync = &effective.sync;
        let peer = Peer {
            node: enrolment.node.clone(),
            host: enrolment.host.clone(),
            port: enrolment.port,
            tls: enrolment.tls(keys).map_err(anyhow::Error::msg)?,
            keepalive: sync.keepalive.0,
            retry_min: sync.reconnect_min.0,
            retry_max: sync.reconnect_max.0,
            will: codec::encode(&WireStatus::Gone { session, clean: false }),
        };
        let (events_in, events) = mpsc::channel(64);
        let (outgoing, outgoing_out) = mpsc::channel(64);
        let (sealed_in, sealed) = mpsc::channel(8);
        let (peer_in, peer) = watch::channel(Some(peer));
        let (config_in, config) = watch::channel(sync.clone());
        let (tips_in, tips) = watch::channel(Arc::default());
        tasks.spawn("tips", follow_tips(store.tips(), tips_in, stop.clone()));
        let changed = Arc::new(Notify::new());
        let (asks_in, asks) = mpsc::channel(32);
        let (answers_in, answers) = mpsc::channel(2);
        let asked = AskTask {
            queries,
            scales: scaling::scales(vitals),
            is_on: sync.answer_queries,
            asks,
            answers: answers_in,
            stats: vitals.asks.clone(),
            clock: vitals.clock.clone(),
        };
        tasks.spawn("asks", asked.run(stop.clone()));
        let link = Link { peer, events: events_in, outgoing: outgoing_out, answers, seed: random_bits() };
        let stated = vitals.clone();
        let task = SyncTask {
            node: enrolment.node,
            config,
            session,
            boot_id: host::boot_id(),
            host: host::facts(),
            backlog: StoreBacklog { store: store.clone(), tips },
            events,
            outgoing,
            sealed: sealed_in,
            live,
            asks: asks_in,
            facts: Arc::new(move || stated.facts()),
            changed: changed.clone(),
            stats: vitals.sync.clone(),
            clock: vitals.clock.clone(),
        };
        let (well, reached) = (vitals.clone(), vitals.clone());
        let adopt = AdoptTask {
            adoption,
            store: store.clone(),
            folder: identity::folder(&local.data_dir),
            board: vitals.board.clone(),
            sealed,
            unwell: Box::new(move |needs_fleet| well.unwell(needs_fleet)),
            link_up: Box::new(move || reached.fleet_reached()),
            changed,
            clock: vitals.clock.clone(),
        };
        let link_stop = stop.clone();
        tasks.spawn("link", async move {
            link.run(link_stop).await;
            // Held to the end: the peer and the settings of a run do not change.
            drop((peer_in, config_in));
        });
        tasks.spawn("sync", task.run(stop.clone()));
        let stop = stop.clone();
        tasks.spawn_fallible("adopt", async move {
            match adopt.run(stop.clone()).await {
                Ok(adopt::Ended::Stopped) => {}
                Ok(adopt::Ended::Restart) => {
                    let _ = again.send(()).await;
                }
                Err(error) => {
                    tracing::error!(%error, "an adopted document could not be stored; what is stored counts");
                    let _ = again.send(()).await;
                }
            }
            stop.cancelled().await;
            Ok::<(), std::convert::Infallible>(())
        });
        Ok(())
    }
}

/// Hands what log inputs read to the store, and shows it to whoever watches. Ends when the inputs have.
async fn forward(
    mut inputs: mpsc::Receiver<LogInput>,
    store: Store,
    live: broadcast::Sender<Arc<Vec<LiveLine>>>,
) -> Result<(), store::Closed> {
    let show = |input: &LogInput| {
        if live.receiver_count() > 0 {
            // Nobody watching any more is no failure.
            let _ = live.send(Arc::new(input.records.iter().map(live_line).collect()));
        }
    };
    while let Some(input) = inputs.recv().await {
        store.append_logs(input, show).await?;
    }
    Ok(())
}

fn live_line(record: &skerry_model::LogRecord) -> LiveLine {
    let mut line = String::from_utf8_lossy(&record.line).into_owned();
    line.truncate(line.floor_char_boundary(LIVE_LINE_BYTES_MAX));
    LiveLine {
        at: record.at,
        labels: record.labels.clone(),
        output: record.output,
        level: record.level,
        fields: record.fields.clone(),
        line,
    }
}

async fn tell(store: &Store, clock: &Clock, kind: EventKind) {
    if let Err(error) = store.append_events(vec![Event { at: clock.wall(), kind }]).await {
        tracing::warn!(%error, "an event could not be stored yet");
    }
}

/// Random bits for epochs, sessions and jitter; the system's generator does not fail once it has begun.
fn random_bits() -> u64 {
    skerry_seal::random().map_or(0, u64::from_le_bytes)
}

/// Passes on where the store's streams stand, as far as the outbox needs to know.
async fn follow_tips(
    mut from: watch::Receiver<Arc<Vec<store::Tip>>>,
    to: watch::Sender<Arc<Vec<Tip>>>,
    stop: CancellationToken,
) {
    loop {
        let short = |tip: &store::Tip| Tip {
            stream: tip.stream,
            epoch: tip.epoch,
            first: tip.first,
            next: tip.next,
            have: tip.have.clone(),
        };
        to.send_replace(Arc::new(from.borrow_and_update().iter().map(short).collect()));
        tokio::select! {
            () = stop.cancelled() => return,
            changed = from.changed() => if changed.is_err() { return stop.cancelled().await },
        }
    }
}

/// The store as the sync sees it.
#[derive(Clone)]
struct StoreBacklog {
    store: Store,
    tips: watch::Receiver<Arc<Vec<Tip>>>,
}

impl Backlog for StoreBacklog {
    fn tips(&self) -> watch::Receiver<Arc<Vec<Tip>>> {
        self.tips.clone()
    }

    async fn load(
        &self,
        stream: StreamKind,
        epoch: Epoch,
        at: Seq,
        dict_known: Option<SeriesId>,
        bytes_max: usize,
    ) -> Result<Option<Batch>, String> {
        self.store.load(stream, epoch, at, dict_known, bytes_max).await.map_err(|error| error.to_string())
    }

    async fn acknowledge(&self, ack: Ack) {
        // A store that has ended is noticed by those who write to it.
        let _ = self.store.acknowledge(ack).await;
    }
}
