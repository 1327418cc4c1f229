//! The task that feeds and evaluates the rules.

use super::config::Config;
use super::feed::Unknown;
use super::roster::{Nodes, Roster};
use super::view::RulesView;
use super::work::{Done, Work, stopwatch};
use crate::clock::WallClock;
use crate::delivery::Delivery;
use crate::intake::core::Verdict;
use crate::source::FleetSource;
use crate::store::{ArrivedBlock, OWN, Store, StoreError};
use anyhow::Context;
use skerry_alerting::Now;
use skerry_alerting::rules::{Change, Engine, Limits, Settings, Stage};
use skerry_alerting::window::Window;
use skerry_model::{Alert, Epoch, Labels, Mono, NodeId, SeriesId, StreamKind, UnixMillis};
use skerry_promapi::{Runtime, with_signed};
use skerry_wire::Batch;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often what the fleet knows of its nodes is made into series, where no rule asks for it.
const NODES_EVERY: Duration = Duration::from_secs(15);
/// Rounds that follow each other faster share it.
const NODES_APART: Duration = Duration::from_secs(5);
/// How often it is noted that the server runs.
const ALIVE_EVERY: Duration = Duration::from_secs(30);
/// Bytes of blocks that are read at once.
const ARRIVED_BYTES: usize = 8 << 20;
/// Blocks of one arrival are read together.
const ARRIVED_APART: Duration = Duration::from_millis(200);
/// Samples and values that one rule may touch.
const VALUES_MAX: u64 = 20_000_000;
/// Alerts and series of one rule, and alerts of all: a rule may well speak of every node.
const RULE_ALERTS_MAX: usize = 20_000;
const ALERTS_MAX: usize = 100_000;
const RULE_SERIES_MAX: usize = 200_000;

/// What a round of evaluations brought for routing. Its samples are durable.
#[derive(Debug, Clone, Default)]
pub struct Fired {
    /// Alerts that are due to be sent.
    pub alerts: Vec<Alert>,
    /// Alerts whose state changed.
    pub changes: Vec<Change>,
    /// Names of nodes that may no longer connect; alerts that they told end.
    pub revoked: Vec<NodeId>,
    /// Every alert of the rules that fires; `None` until all state that could be was taken up again.
    pub firing: Option<Vec<Labels>>,
}

/// Feeds and evaluates the rules.
pub struct RulesTask {
    /// Which rules.
    pub config: Config,
    /// Where `$externalURL` leads.
    pub external_url: String,
    /// What nodes sent.
    pub store: Store,
    /// What the fleet knows of them.
    pub delivery: Delivery,
    /// Wall time.
    pub wall: WallClock,
    /// The running program.
    pub about: Arc<Runtime>,
    /// How the rules fare.
    pub view: RulesView,
    /// Where alerts go. While it is full rounds wait.
    pub fired: mpsc::Sender<Fired>,
}

impl RulesTask {
    /// Works until `stop`, or until the store or the control data cannot be read at the start.
    pub async fn run(self, stop: CancellationToken) {
        let work = async {
            let started = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                started = Running::start(self) => started?,
            };
            started.run(stop.clone()).await
        };
        let done: anyhow::Result<()> = work.await;
        if let Err(error) = done {
            tracing::error!(error = &*error, "rules are evaluated no more");
        }
    }
}

/// Series of a stream that were never looked at.
struct Learnt {
    stream: i64,
    node: NodeId,
    series: Vec<(SeriesId, Labels)>,
}

struct Running {
    task: RulesTask,
    own: NodeId,
    began: Instant,
    arrivals: watch::Receiver<u64>,
    through: i64,
    roster: Roster,
    nodes_at: Option<Instant>,
    alive_at: Option<Instant>,
    /// `None` while it is worked on.
    work: Option<Box<Work>>,
    storing: bool,
}

impl Running {
    async fn start(task: RulesTask) -> anyhow::Result<Self> {
        let own: NodeId = OWN.parse().context("the name of the fleet's own series")?;
        let began = Instant::now();
        let wall = (task.wall)();
        let mut roster = Roster::restored(task.store.contacts().await?, wall);
        // Signed labels have to be known before the first samples are read.
        roster.read(&task.delivery, &task.store, wall).await?;
        let arrivals = task.store.arrivals();
        let through = task.store.arrived(-1, 0).await?.through;
        let epoch = new_epoch();
        task.store.close_epochs_but(&own, epoch).await?;
        let engine = Engine::new(task.config.files.clone(), settings(&task), None, Now { wall, mono: Mono(0) });
        let memory = usize::try_from(task.config.memory.0).unwrap_or(usize::MAX);
        let mut window = Window::new(&engine.needs(), memory, wall);
        let behind = source(&task, &roster, wall);
        let seeded = tokio::task::spawn_blocking(move || {
            let seeded = window.seed(&behind, wall).map_err(|error| error.to_string());
            (window, seeded)
        });
        let (window, seeded) = seeded.await?;
        if let Err(error) = seeded {
            tracing::info!(
                error,
                "samples that rules read are not all in memory yet; they are read from disk at first"
            );
        }
        let work = Some(Box::new(Work::new(engine, window, epoch)));
        let (nodes_at, alive_at) = (None, None);
        Ok(Self { task, own, began, arrivals, through, roster, nodes_at, alive_at, work, storing: true })
    }

    async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            let next = self.next();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep_until(next) => self.round().await?,
                changed = self.arrivals.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    self.feed().await?;
                    // What comes in meanwhile is read together.
                    tokio::select! {
                        () = stop.cancelled() => return Ok(()),
                        () = tokio::time::sleep(ARRIVED_APART.min(next.saturating_duration_since(Instant::now()))) => {}
                    }
                }
            }
        }
    }

    fn now(&self) -> Now {
        let mono = Mono(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX));
        Now { wall: (self.task.wall)(), mono }
    }

    /// When the next round is due.
    fn next(&self) -> Instant {
        let nodes = self.nodes_at.map_or(self.began, |last| last + NODES_EVERY);
        let rules = self.work.as_ref().and_then(|work| work.engine.next());
        rules.map_or(nodes, |at| nodes.min(self.began + Duration::from_millis(at.0)))
    }

    /// Hands what came in to the window.
    async fn feed(&mut self) -> anyhow::Result<()> {
        loop {
            let arrived = match self.task.store.arrived(self.through, ARRIVED_BYTES).await {
                Ok(arrived) => arrived,
                Err(error) => {
                    tracing::warn!(%error, "rules could not read what came in; they try again with the next");
                    return Ok(());
                }
            };
            self.through = arrived.through;
            if arrived.blocks.is_empty() {
                return Ok(());
            }
            let mut blocks = arrived.blocks;
            // Series that were never looked at are learnt, and their blocks handed on again.
            for _ in 0..2 {
                let unknown = self.work(move |work| work.take(blocks)).await?;
                if unknown.is_empty() {
                    break;
                }
                blocks = self.learn(unknown).await?;
            }
        }
    }

    async fn learn(&mut self, unknown: Vec<(ArrivedBlock, Unknown)>) -> anyhow::Result<Vec<ArrivedBlock>> {
        let mut learnt: Vec<Learnt> = Vec::new();
        let mut blocks = Vec::with_capacity(unknown.len());
        for (block, (stream, after)) in unknown {
            if !learnt.iter().any(|known| known.stream == stream) {
                match self.task.store.stream_series(stream, after).await {
                    Ok(series) => learnt.push(Learnt { stream, node: block.node.clone(), series }),
                    Err(error) => {
                        tracing::warn!(node = %block.node, %error, "labels of a node's series were not read for rules");
                        continue;
                    }
                }
            }
            blocks.push(block);
        }
        self.work(move |work| {
            learnt.into_iter().for_each(|one| work.feed.learn(one.stream, &one.node, one.series));
        })
        .await?;
        Ok(blocks)
    }

    /// Evaluates what is due.
    async fn round(&mut self) -> anyhow::Result<()> {
        self.feed().await?;
        let now = self.now();
        let nodes = self.nodes(now.wall).await;
        let behind = source(&self.task, &self.roster, now.wall);
        let revoked = nodes.as_ref().map(|nodes| nodes.revoked.clone()).unwrap_or_default();
        let roster = std::mem::take(&mut self.roster);
        let (roster, done, restored) = self
            .work(move |work| {
                let turns = work.engine.due(now);
                let done = work.round(turns, nodes.map(|nodes| (nodes, &roster)), &behind, now);
                let restored = work.engine.restored();
                (roster, done, restored)
            })
            .await?;
        self.roster = roster;
        self.settle(done, revoked, restored, now.wall).await
    }

    /// What is known of the nodes, unless that was asked a moment ago.
    async fn nodes(&mut self, now: UnixMillis) -> Option<Nodes> {
        if self.nodes_at.is_some_and(|last| last.elapsed() < NODES_APART) {
            return None;
        }
        self.nodes_at = Some(Instant::now());
        let nodes = self.roster.read(&self.task.delivery, &self.task.store, now).await;
        if self.alive_at.is_none_or(|last| last.elapsed() >= ALIVE_EVERY) {
            self.alive_at = Some(Instant::now());
            if let Err(error) = self.task.store.note_contacts(now, self.roster.take_fresh()).await {
                tracing::warn!(%error, "it was not noted when nodes were heard");
            }
        }
        nodes
            .map_err(|error| {
                tracing::warn!(error = &error as &dyn std::error::Error, "series of nodes were not made");
            })
            .ok()
    }

    async fn settle(
        &mut self,
        mut done: Done,
        revoked: Vec<NodeId>,
        restored: bool,
        now: UnixMillis,
    ) -> anyhow::Result<()> {
        for error in done.errors.iter().filter(|error| error.is_new) {
            let what = match error.stage {
                Stage::Evaluation => "evaluation",
                Stage::Template => "template",
                Stage::Restore => "restore",
            };
            let (file, group, rule) = (&*error.file, &*error.group, &*error.rule);
            tracing::warn!(file, group, rule, what, error = &*error.text, "a rule failed");
        }
        let stored = match done.unmade.take() {
            Some(error) => Err(error),
            None => self.keep(std::mem::take(&mut done.batches), now).await,
        };
        match stored {
            Ok(()) if !self.storing => {
                self.storing = true;
                tracing::info!("samples of rules are stored again");
            }
            Ok(()) => {}
            Err(error) => {
                self.task.view.unstored();
                if std::mem::take(&mut self.storing) {
                    tracing::error!(error, "samples of rules were not stored");
                }
                // What was not stored may have held labels; a new epoch brings them all again.
                self.begin_epoch().await?;
            }
        }
        if self.work.as_ref().is_some_and(|work| work.own.is_full()) {
            self.begin_epoch().await?;
        }
        let firing = restored.then(|| firing(&done.told.groups, &self.task.config.external_labels));
        self.task.view.tell(std::mem::take(&mut done.told));
        let fired = Fired { alerts: done.alerts, changes: done.changes, revoked, firing };
        // Whoever routes has ended where this fails, and the server with it.
        let _ = self.task.fired.send(fired).await;
        Ok(())
    }

    async fn keep(&self, batches: Vec<Batch>, now: UnixMillis) -> Result<(), String> {
        let mut outcomes = Vec::with_capacity(batches.len());
        for batch in batches {
            let taken = self.task.store.submit(&self.own, StreamKind::Metrics, batch, now).await;
            outcomes.push(taken.map_err(|error| error.to_string())?);
        }
        for outcome in outcomes {
            let outcome = outcome.await.unwrap_or(Err(StoreError::Closed)).map_err(|error| error.to_string())?;
            if !matches!(outcome.verdict, Verdict::Stored { .. }) {
                return Err(format!("the store refused them: {:?}", outcome.verdict));
            }
        }
        Ok(())
    }

    async fn begin_epoch(&mut self) -> anyhow::Result<()> {
        let before = self.work.as_ref().map(|work| work.own.epoch());
        let epoch = new_epoch();
        if let Err(error) = self.task.store.close_epochs_but(&self.own, epoch).await {
            tracing::warn!(%error, before = before.map(|epoch| epoch.0), "an epoch of rules was not closed");
        }
        self.work(move |work| work.own = super::own::Own::new(epoch)).await
    }

    /// Lets a thread work that may block.
    async fn work<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Work) -> T + Send + 'static,
    ) -> anyhow::Result<T> {
        let mut held = self.work.take().context("rules are worked on")?;
        let done = tokio::task::spawn_blocking(move || {
            let value = work(&mut held);
            (held, value)
        });
        let (held, value) = done.await.context("the work on rules ended badly")?;
        self.work = Some(held);
        Ok(value)
    }
}

/// Labels of every alert that fires, as it is routed.
fn firing(groups: &[skerry_alerting::rules::GroupStatus], external: &Labels) -> Vec<Labels> {
    let rules = groups.iter().flat_map(|group| &group.rules);
    let alerts = rules.filter_map(|rule| rule.alerting.as_ref()).flat_map(|alerting| &alerting.alerts);
    alerts
        .filter(|alert| alert.state == skerry_alerting::rules::State::Firing)
        .map(|alert| with_signed(&alert.labels, external.iter()))
        .collect()
}

fn settings(task: &RulesTask) -> Settings {
    let mut settings = Settings {
        external_labels: task.config.external_labels.clone(),
        external_url: task.external_url.clone(),
        interval: task.config.evaluation_interval,
        query_offset: task.config.query_offset,
        limits: Limits {
            rule_alerts_max: RULE_ALERTS_MAX,
            alerts_max: ALERTS_MAX,
            rule_series_max: RULE_SERIES_MAX,
            ..Limits::default()
        },
        stopwatch: Some(stopwatch),
        ..Settings::default()
    };
    settings.limits.query.values_max = VALUES_MAX;
    settings.limits.query.subquery_step = task.config.evaluation_interval;
    settings
}

fn source(task: &RulesTask, roster: &Roster, now: UnixMillis) -> FleetSource {
    FleetSource {
        store: task.store.clone(),
        runtime: Handle::current(),
        nodes: roster.signed(),
        about: task.about.clone(),
        rules: task.view.clone(),
        now,
    }
}

/// An epoch that was never used: a random 63-bit number.
fn new_epoch() -> Epoch {
    Epoch(skerry_seal::random().map_or(1, u64::from_le_bytes) >> 1)
}
