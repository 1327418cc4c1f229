//! What is decided of alerts: who is told here, and what the centre hears. No I/O.

use super::report::Report;
use super::routing::{Routing, is_local};
use super::silences::Silences;
use crate::data::{AlertsRequest, Raised};
use skerry_alerting::Now;
use skerry_alerting::api::{self, Response};
use skerry_alerting::manager::{self, Bounds, Manager, Metric, Notice, NoticeId, Options};
use skerry_alerting::notify::Outcome;
use skerry_model::{Alert, Fingerprint, LossEntry};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// Before every key of the manager's state.
const PREFIX: &str = "alerts/manager/";
/// How often rules say an alert again.
const RESEND: Duration = Duration::from_secs(60);
/// Longest time for which the first notice waits.
const SETTLE_MAX: Duration = Duration::from_secs(300);
/// What a node has room for.
const BOUNDS: Bounds = Bounds {
    alerts: super::report::ALERTS_MAX,
    alert_bytes: 16 << 10,
    groups: 1000,
    silences: 200,
    silence_bytes: 8 << 10,
    log_entries: 2000,
    in_flight: 8,
    suppressed: 100,
    owed_flushes: 1000,
};

/// The manager, over runs: routes may change, and who was told of what stays known.
#[derive(Debug, Clone, Default)]
pub struct Kept(Arc<Mutex<Option<Manager>>>);

impl Kept {
    fn take(&self) -> Option<Manager> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, manager: Manager) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(manager);
    }
}

/// What a desk is made from.
pub struct Setup {
    /// The manager of the run before.
    pub kept: Kept,
    /// Who is told.
    pub routing: Routing,
    /// Whether the node has joined a fleet, which then tells what is not local.
    pub has_fleet: bool,
    /// Longest time between two evaluations of a rule; `None` where there is no rule.
    pub interval: Option<Duration>,
    /// Where links begin.
    pub external_url: String,
    /// Random.
    pub seed: u64,
    /// What was stored under `alerts/`.
    pub stored: Vec<(String, Vec<u8>)>,
    /// Silences of the config.
    pub silences: Silences,
}

/// Whoever waits for an answer of the API.
type Reply = oneshot::Sender<(u16, Vec<u8>)>;

/// The decisions.
pub struct Desk {
    kept: Kept,
    manager: Manager,
    report: Report,
    silences: Silences,
    has_fleet: bool,
    /// Alerts that came by the API, of which no rule speaks.
    posted: BTreeSet<Fingerprint>,
    /// Answers that wait until what they changed is stored.
    answers: Vec<(Reply, Response)>,
}

impl Desk {
    /// Goes on where the run before, or what was stored, ended.
    #[must_use]
    pub fn new(setup: Setup, now: Now) -> Self {
        let Setup { kept, routing, has_fleet, interval, external_url, seed, stored, silences } = setup;
        let pace = interval.unwrap_or(RESEND);
        let grace = 4 * pace.max(RESEND) + 2 * pace;
        let report = Report::new(&stored, grace, now);
        let enabled: manager::Enabled = Box::new(move |receiver| is_local(receiver, has_fleet));
        let manager = match kept.take() {
            Some(mut manager) => {
                manager.set_enabled(Some(enabled));
                manager.reload(routing.config, now);
                manager
            }
            None => {
                // Only what rules may say and holds others back is worth waiting for: what fired before is known.
                let settle = interval
                    .filter(|_| !routing.config.inhibit_rules().is_empty())
                    .map_or(Duration::ZERO, |interval| (2 * interval).min(SETTLE_MAX));
                let options = Options {
                    settle,
                    restore_grace: grace,
                    external_url,
                    enabled: Some(enabled),
                    seed,
                    bounds: BOUNDS,
                    ..Options::default()
                };
                let own =
                    |(key, value): &(String, Vec<u8>)| Some((key.strip_prefix(PREFIX)?.to_owned(), value.clone()));
                Manager::new(routing.config, options, stored.iter().filter_map(own).collect(), now)
            }
        };
        Self { kept, manager, report, silences, has_fleet, posted: BTreeSet::new(), answers: Vec::new() }
    }

    /// Sets what the config says.
    pub(super) fn begin(&mut self, now: Now) {
        self.silences.reconcile(&mut self.manager, now);
    }

    /// The routes.
    pub(super) fn config(&self) -> Arc<manager::Config> {
        self.manager.config().clone()
    }

    /// Takes what rules say.
    pub fn take(&mut self, raised: Raised, now: Now) {
        for alert in &raised.alerts {
            let fingerprint = alert.fingerprint();
            self.posted.remove(&fingerprint);
            let told = self.told(alert);
            self.report.see(alert, raised.values.get(&fingerprint).map(String::as_str), &told, now);
        }
        for problem in self.manager.receive(raised.alerts, now) {
            tracing::warn!(problem, "an alert is not routed");
        }
    }

    /// Takes a request of the API; it is answered once what it changed is stored.
    pub fn ask(&mut self, request: AlertsRequest, now: Now) {
        let AlertsRequest { method, path, query, body, reply } = request;
        let response = api::answer(&mut self.manager, method, &path, &query, &body, now);
        if method == "POST" && path.starts_with("/alerts") {
            self.follow_posted(now);
        }
        self.answers.push((reply, response));
    }

    /// Alerts that somebody posted are alerts of this node too.
    fn follow_posted(&mut self, now: Now) {
        let firing = self.manager.alerts(now);
        for status in &firing {
            if !self.report.follows(status.fingerprint) {
                self.posted.insert(status.fingerprint);
            }
            if self.posted.contains(&status.fingerprint) {
                let told = self.told(&status.alert);
                self.report.see(&status.alert, None, &told, now);
            }
        }
        let fires = |fingerprint: &Fingerprint| firing.iter().any(|status| status.fingerprint == *fingerprint);
        let over: Vec<Fingerprint> = self.posted.iter().copied().filter(|posted| !fires(posted)).collect();
        for fingerprint in over {
            self.posted.remove(&fingerprint);
            self.report.over(fingerprint, now);
        }
    }

    /// Receivers that this node tells of an alert by itself.
    fn told(&self, alert: &Alert) -> Vec<String> {
        let config = self.manager.config();
        let here = |name: &Arc<str>| {
            config
                .receiver(name)
                .is_some_and(|receiver| is_local(receiver, self.has_fleet) && !receiver.integrations.is_empty())
        };
        let mut told = self.manager.told(alert.fingerprint());
        told.extend(config.receivers_of(&alert.labels).iter().filter(|name| here(name)).map(|name| name.to_string()));
        told.sort();
        told.dedup();
        told
    }

    /// What is to be told here now. `is_up`: whether the fleet is reached.
    pub fn turn(&mut self, is_up: bool, now: Now) -> Vec<Notice> {
        self.report.link(is_up, now);
        self.report.poll(now);
        self.manager.poll(now)
    }

    /// What became of a notice.
    pub fn done(&mut self, id: NoticeId, outcome: Outcome, now: Now) {
        self.manager.done(id, outcome, now);
    }

    /// How long nothing happens by itself.
    #[must_use]
    pub fn next(&self, now: Now) -> Option<Duration> {
        let all = [self.manager.next(), self.report.next()];
        all.into_iter().flatten().min().map(|at| at.since(now.mono))
    }

    /// Whether alerts are held back until the fleet is reached.
    #[must_use]
    pub fn waits_for_link(&self) -> bool {
        self.has_fleet && self.report.held() > 0
    }

    /// State of the manager that is to be stored: keys with [`PREFIX`].
    pub(super) fn changes(&mut self) -> BTreeMap<String, Option<Vec<u8>>> {
        let mut changes: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::new();
        for (key, value) in self.manager.take_changes() {
            changes.insert(format!("{PREFIX}{key}"), value);
        }
        changes.extend(self.silences.change());
        changes
    }

    /// What the centre is told.
    pub(super) fn report(&mut self) -> &mut Report {
        &mut self.report
    }

    pub(super) fn loss(&mut self) -> Option<LossEntry> {
        self.report.loss()
    }

    /// Answers what waited.
    pub(super) fn answer(&mut self) {
        for (reply, Response { status, body }) in self.answers.drain(..) {
            // Whoever asked may have gone.
            let _ = reply.send((status, body));
        }
    }

    /// Counters of the manager, and how many alerts are followed and held back.
    pub(super) fn figures(&self, now: Now) -> (Vec<Metric>, usize, usize) {
        (self.manager.metrics(now), self.report.followed(), self.report.held())
    }

    /// How many alerts fire.
    pub(super) fn firing(&self, now: Now) -> usize {
        self.manager.firing_count(now)
    }

    /// Leaves the manager to the next run.
    pub(super) fn leave(self) {
        self.kept.put(self.manager);
    }
}
