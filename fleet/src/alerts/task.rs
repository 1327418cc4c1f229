//! The task that owns the manager: takes alerts in, lets receivers be told, and keeps what has to last.

use super::config::Config;
use super::handle::{Alerts, Request};
use super::history::routed;
use super::sources::{OfNode, Sources};
use super::state::Waiting;
use crate::clock::WallClock;
use crate::control::ControlError;
use crate::delivery::Delivery;
use crate::node_labels::NodeLabels;
use crate::rules::Fired;
use crate::store::{AlertChange, AlertQuery, AlertRow, Store};
use skerry_alerting::Now;
use skerry_alerting::api;
use skerry_alerting::manager::{Manager, Notice, NoticeId, Options};
use skerry_alerting::notify::{Data, Integration, Outcome};
use skerry_alerting::rules::{Change, State};
use skerry_model::{Alert, Fingerprint, Labels, Mono, NodeId, UnixMillis};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Key of what was taken in so far, among what routing keeps.
pub(super) const SEEN_KEY: &str = "fleet/alerts-seen";
/// Alerts that are read at once.
const READ_MAX: u32 = 1_000;
/// How often routing is told again that alerts of nodes go on.
const AGAIN_EVERY: Duration = Duration::from_secs(1800);
/// When a write that failed is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// From the start to the first notice, so that rules which hold others back were evaluated.
const SETTLE: Duration = Duration::from_secs(30);
/// Alerts and groups that are routed: a fleet may well have one for every node.
const ALERTS_MAX: usize = 100_000;
const GROUPS_MAX: usize = 50_000;
/// How long notices that are under way may take when the server stops.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Tells receivers.
pub trait Tell: Clone + Send + 'static {
    /// Tells one integration of a receiver, within a time.
    fn tell(
        &self,
        integration: &Integration,
        data: &Data,
        within: Duration,
        now: Now,
    ) -> impl Future<Output = Outcome> + Send;
}

/// Says what was signed for a node.
pub trait Signed: Send + 'static {
    /// Its labels now; none where nothing was signed.
    fn labels_of(&self, node: &NodeId) -> impl Future<Output = Result<BTreeMap<String, String>, ControlError>> + Send;
}

impl Signed for Delivery {
    async fn labels_of(&self, node: &NodeId) -> Result<BTreeMap<String, String>, ControlError> {
        let stored = self.control.assignment(node).await?;
        Ok(stored.and_then(|stored| self.read(&stored)).map(|assignment| assignment.labels).unwrap_or_default())
    }
}

/// Everything that the task works with.
pub struct AlertsTask<T, S> {
    config: Config,
    external_url: String,
    store: Store,
    signed: S,
    wall: WallClock,
    shell: T,
    fired: mpsc::Receiver<Fired>,
    requests: mpsc::Receiver<Request>,
}

impl<T: Tell, S: Signed> AlertsTask<T, S> {
    /// A task and its handle.
    #[must_use]
    pub fn new(
        config: Config,
        external_url: String,
        store: Store,
        signed: S,
        wall: WallClock,
        shell: T,
        fired: mpsc::Receiver<Fired>,
    ) -> (Self, Alerts) {
        let (handle, requests) = Alerts::new();
        (Self { config, external_url, store, signed, wall, shell, fired, requests }, handle)
    }

    /// Works until `stop`, or until what was kept cannot be read at the start.
    pub async fn run(self, stop: CancellationToken) {
        let saved = match self.store.alert_state().await {
            Ok(saved) => saved,
            Err(error) => return tracing::error!(%error, "what routing of alerts kept cannot be read"),
        };
        let mut running = Running::new(self, saved);
        running.take_up().await;
        running.run(stop).await;
    }
}

struct Running<T, S> {
    task: AlertsTask<T, S>,
    manager: Manager,
    sources: Sources,
    waiting: Waiting,
    /// Number of the last change that was taken in.
    seen: i64,
    began: Instant,
    again: Instant,
    retry: Option<Instant>,
    /// Whether rows of the fleet's rules were held against what fires since the start.
    is_reconciled: bool,
    /// API calls whose change is not durable yet.
    replies: Vec<(oneshot::Sender<api::Response>, api::Response)>,
    under_way: JoinSet<(NoticeId, Told, Outcome)>,
}

/// Who is told of what.
struct Told {
    receiver: Arc<str>,
    labels: Vec<Labels>,
}

impl<T: Tell, S: Signed> Running<T, S> {
    fn new(task: AlertsTask<T, S>, saved: Vec<(String, Vec<u8>)>) -> Self {
        let (own, saved): (Vec<_>, Vec<_>) = saved.into_iter().partition(|(key, _)| key == SEEN_KEY);
        let seen = own.first().and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse().ok());
        let began = Instant::now();
        let now = Now { wall: (task.wall)(), mono: Mono(0) };
        let mut options = Options {
            settle: task.config.settle.unwrap_or(SETTLE),
            external_url: task.external_url.clone(),
            seed: skerry_seal::random().map_or(0, u64::from_le_bytes),
            // One that a node tells by itself is not told by the fleet.
            enabled: Some(Box::new(|receiver| receiver.local != Some(true))),
            ..Options::default()
        };
        options.bounds.alerts = ALERTS_MAX;
        options.bounds.groups = GROUPS_MAX;
        options.bounds.log_entries = GROUPS_MAX;
        options.bounds.suppressed = ALERTS_MAX;
        let manager = Manager::new(task.config.routing.clone(), options, saved, now);
        Self {
            manager,
            task,
            sources: Sources::default(),
            waiting: Waiting::default(),
            seen: seen.unwrap_or(0),
            began,
            again: began + AGAIN_EVERY,
            retry: None,
            is_reconciled: false,
            replies: Vec::new(),
            under_way: JoinSet::new(),
        }
    }

    fn now(&self) -> Now {
        let mono = Mono(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX));
        Now { wall: (self.task.wall)(), mono }
    }

    /// Takes up the alerts of nodes that were open when the server ended.
    async fn take_up(&mut self) {
        let query = AlertQuery { is_open: true, limit: super::sources::OPEN_MAX as u32, ..AlertQuery::default() };
        match self.task.store.alerts(query).await {
            Ok(rows) => {
                let known = rows.into_iter().filter(|row| row.changed <= self.seen).collect();
                self.take(known).await;
            }
            Err(error) => tracing::error!(%error, "alerts of nodes that go on were not read; they are not routed"),
        }
        self.read().await;
    }

    async fn run(&mut self, stop: CancellationToken) {
        let mut arrivals = self.task.store.arrivals();
        loop {
            self.flush().await;
            let next = self.next();
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep_until(next) => self.tick(),
                fired = self.task.fired.recv() => match fired {
                    Some(fired) => self.take_fired(fired).await,
                    None => break,
                },
                changed = arrivals.changed() => match changed {
                    Ok(()) => self.read().await,
                    Err(_) => break,
                },
                Some(done) = self.under_way.join_next(), if !self.under_way.is_empty() => self.settle(done),
                request = self.task.requests.recv() => match request {
                    Some(request) => self.answer(request),
                    None => break,
                },
            }
        }
        self.drain().await;
    }

    /// When something is due.
    fn next(&self) -> Instant {
        let manager = self.manager.next().map(|at| self.began + Duration::from_millis(at.0));
        [manager, self.retry].into_iter().flatten().fold(self.again, Instant::min)
    }

    fn tick(&mut self) {
        let now = self.now();
        if self.retry.is_some_and(|at| at <= Instant::now()) {
            self.retry = None;
        }
        if self.again <= Instant::now() {
            self.again = Instant::now() + AGAIN_EVERY;
            let alerts = self.sources.again(now.wall);
            self.receive(alerts, now);
        }
    }

    /// Writes what waits, answers what is durable by then, and lets receivers be told.
    async fn flush(&mut self) {
        self.keep().await;
        if self.retry.is_some() {
            // Nobody is told what would be forgotten.
            return;
        }
        let now = self.now();
        for notice in self.manager.poll(now) {
            self.tell(notice, now);
        }
        self.keep().await;
    }

    async fn keep(&mut self) {
        self.waiting.save(self.manager.take_changes());
        if self.retry.is_some() {
            return;
        }
        if !self.waiting.is_empty() {
            let now = (self.task.wall)();
            if let Err(error) = self.task.store.change_alerts(self.waiting.all(), now).await {
                tracing::error!(%error, "what became of alerts was not written; nobody is told until it is");
                self.retry = Some(Instant::now() + RETRY_AFTER);
                return;
            }
            self.waiting.clear();
        }
        for (reply, response) in self.replies.drain(..) {
            // Whoever asked may have gone.
            let _ = reply.send(response);
        }
    }

    fn tell(&mut self, notice: Notice, now: Now) {
        let Notice { id, receiver, index, data, deadline, .. } = notice;
        let labels = data.alerts.iter().filter(|alert| alert.is_firing).map(|alert| alert.labels.clone()).collect();
        let told = Told { receiver: receiver.clone(), labels };
        let found = self.manager.config().receiver(&receiver).and_then(|found| found.integrations.get(index)).cloned();
        let within = deadline.since(now.mono);
        let shell = self.task.shell.clone();
        self.under_way.spawn(async move {
            let outcome = match found {
                Some(integration) => shell.tell(&integration, &data, within, now).await,
                None => Outcome::failed("the receiver is no longer there"),
            };
            (id, told, outcome)
        });
    }

    fn settle(&mut self, done: Result<(NoticeId, Told, Outcome), tokio::task::JoinError>) {
        match done {
            Ok((id, told, outcome)) => {
                if outcome == Outcome::Sent {
                    for labels in told.labels {
                        self.waiting.push(AlertChange::Told { labels, receiver: told.receiver.to_string() });
                    }
                }
                let now = self.now();
                self.manager.done(id, outcome, now);
            }
            // The manager takes it for failed at its deadline.
            Err(error) => tracing::error!(%error, "telling a receiver ended badly"),
        }
    }

    fn receive(&mut self, alerts: Vec<Alert>, now: Now) {
        let problems = self.manager.receive(alerts, now);
        if let Some(problem) = problems.first() {
            tracing::warn!(count = problems.len(), problem, "alerts were not routed");
        }
    }

    /// Takes in what nodes told since the last time.
    async fn read(&mut self) {
        loop {
            match self.task.store.alerts_changed(self.seen, READ_MAX).await {
                Ok(rows) if rows.is_empty() => return,
                Ok(rows) => {
                    if !self.take(rows).await {
                        return;
                    }
                }
                Err(error) => {
                    return tracing::warn!(%error, "alerts of nodes were not read; the next arrival tries again");
                }
            }
        }
    }

    /// Whether all of it was taken in.
    async fn take(&mut self, rows: Vec<AlertRow>) -> bool {
        let now = self.now();
        let Some(signed) = self.signed(&rows).await else { return false };
        let mut alerts = Vec::new();
        for row in rows {
            if row.changed > self.seen {
                self.seen = row.changed;
                self.waiting.seen(row.changed);
            }
            let labels = routed(&row, &signed);
            let Some(node) = row.node else { continue };
            if row.labels.is_none() {
                self.waiting.push(AlertChange::Shown { id: row.id, labels: labels.clone() });
            }
            if row.offline {
                continue;
            }
            let alert = OfNode {
                id: row.id,
                generator_url: format!("{}/nodes/{node}", self.task.external_url.trim_end_matches('/')),
                node,
                labels,
                annotations: row.annotations,
                starts_at: row.starts.min(row.received).min(now.wall),
            };
            if !row.told_by_node.is_empty() {
                self.manager.suppress(Fingerprint::of(&alert.labels), alert.starts_at, row.told_by_node);
            }
            alerts.extend(match row.ends {
                None => self.sources.begun(alert, now.wall),
                Some(ends) => self.sources.ended(&alert, ends, now.wall),
            });
        }
        self.receive(alerts, now);
        true
    }

    /// What was signed for the nodes whose alerts were never routed; `None` where that cannot be read now.
    async fn signed(&self, rows: &[AlertRow]) -> Option<NodeLabels> {
        let mut signed: BTreeMap<NodeId, BTreeMap<String, String>> = BTreeMap::new();
        for node in rows.iter().filter(|row| row.labels.is_none()).filter_map(|row| row.node.as_ref()) {
            if signed.contains_key(node) {
                continue;
            }
            match self.task.signed.labels_of(node).await {
                Ok(labels) => drop(signed.insert(node.clone(), labels)),
                Err(error) => {
                    tracing::warn!(%node, %error, "a node's labels were not read; its alerts wait for the next arrival");
                    return None;
                }
            }
        }
        Some(signed.into_iter().collect())
    }

    /// Takes in what a round of the fleet's rules brought.
    async fn take_fired(&mut self, fired: Fired) {
        let now = self.now();
        for change in &fired.changes {
            self.note(change, now.wall);
        }
        let alerts = fired.alerts.into_iter().filter_map(|alert| self.sources.ruled(alert, now.wall)).collect();
        self.receive(alerts, now);
        for alert in self.sources.of_nodes(&fired.revoked) {
            self.waiting.push(AlertChange::Closed { id: alert.id, ends: now.wall });
            let ended = self.sources.ended(&alert, now.wall, now.wall);
            self.receive(ended.into_iter().collect(), now);
        }
        if let Some(firing) = fired.firing.filter(|_| !self.is_reconciled) {
            self.is_reconciled = self.reconcile(&firing, now.wall).await;
        }
    }

    fn note(&mut self, change: &Change, now: UnixMillis) {
        let Change { alert, value, was, is, .. } = change;
        let labels = alert.labels.clone();
        match (was, is) {
            (_, State::Firing) => self.waiting.push(AlertChange::Begun {
                labels,
                annotations: alert.annotations.clone(),
                value: skerry_promql::number_text(*value),
                starts: alert.starts_at,
            }),
            (State::Firing, _) => self.waiting.push(AlertChange::Ended { labels, ends: alert.ends_at.min(now) }),
            _ => {}
        }
    }

    /// Ends episodes of rules that fired before the restart and fire no more; whether that was done.
    async fn reconcile(&mut self, firing: &[Labels], now: UnixMillis) -> bool {
        let query = AlertQuery { is_open: true, limit: super::sources::OPEN_MAX as u32, ..AlertQuery::default() };
        let Ok(rows) = self.task.store.alerts(query).await else { return false };
        for row in rows.into_iter().filter(|row| row.node.is_none() && !firing.contains(&row.told_labels)) {
            self.waiting.push(AlertChange::Ended { labels: row.told_labels, ends: now });
        }
        true
    }

    fn answer(&mut self, request: Request) {
        let now = self.now();
        match request {
            Request::Api { asked, reply } => {
                let response =
                    api::answer(&mut self.manager, &asked.method, &asked.path, &asked.query, &asked.body, now);
                self.replies.push((reply, response));
            }
            Request::Metrics { reply } => {
                let _ = reply.send(self.exposition(now));
            }
        }
    }

    fn exposition(&self, now: Now) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        for metric in self.manager.metrics(now) {
            let labels: Vec<String> =
                metric.labels.iter().map(|(name, value)| format!("{name}={}", skerry_promql::quoted(value))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(text, "{}{labels} {}", metric.name, metric.value);
        }
        let own = [
            (
                "node_alerts_open",
                "gauge",
                "Alerts that nodes told and that have not ended.",
                self.sources.open() as u64,
            ),
            ("node_alerts_left_out_total", "counter", "Alerts of nodes that found no room.", self.sources.left_out),
            ("alert_changes_lost_total", "counter", "Changes of the history that were let go of.", self.waiting.lost),
        ];
        for (name, kind, help, value) in own {
            let name = format!("skerry_fleet_{name}");
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        }
        text
    }

    /// Gives notices that are under way a moment, so that what was told is known to be told.
    async fn drain(&mut self) {
        let deadline = Instant::now() + DRAIN_MAX;
        while let Ok(Some(done)) = tokio::time::timeout_at(deadline, self.under_way.join_next()).await {
            self.settle(done);
        }
        self.under_way.abort_all();
        self.retry = None;
        self.keep().await;
    }
}
