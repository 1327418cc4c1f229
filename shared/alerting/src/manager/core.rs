//! The manager itself: takes alerts in, keeps them in groups, and says who is to be told.

use super::alerts::{Alerts, GroupId, Heard};
use super::config::Config;
use super::counts::Counts;
use super::deliveries::Deliveries;
use super::groups::Groups;
use super::inhibit::Inhibitor;
use super::matcher;
use super::nflog::{AlertSet, Log};
use super::options::Options;
use super::random::Random;
use super::silence::{Silence, SilenceError, Silences};
use super::suppress::Suppressed;
use crate::Now;
use crate::notify::Data;
use skerry_model::{Alert, Fingerprint, Labels, Mono, UnixMillis};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Between two looks for what may be forgotten.
const TIDY: Duration = Duration::from_secs(15 * 60);

/// Names a notice until it is [`Manager::done`] with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NoticeId(pub u64);

/// Something to be told to one integration of a receiver, now.
#[derive(Debug, Clone)]
pub struct Notice {
    /// Names it. A notice that is tried again keeps its id.
    pub id: NoticeId,
    /// The receiver.
    pub receiver: Arc<str>,
    /// Which of its integrations.
    pub index: usize,
    /// What it is about.
    pub data: Data,
    /// By then an outcome is expected; afterwards the notice counts as failed.
    pub deadline: Mono,
    /// Which try this is, from 1.
    pub attempt: u32,
}

/// What must be on disk: a key, and the value, or none where the key is to go.
pub type Saving = (String, Option<Vec<u8>>);

/// What was on disk: keys and values as [`Manager::take_changes`] gave them.
pub type Saved = Vec<(String, Vec<u8>)>;

/// Alertmanager without its I/O.
pub struct Manager {
    pub(super) config: Arc<Config>,
    pub(super) options: Options,
    pub(super) alerts: Alerts,
    pub(super) groups: Groups,
    pub(super) silences: Silences,
    pub(super) log: Log,
    pub(super) inhibitor: Inhibitor,
    pub(super) suppressed: Suppressed,
    /// Notices under way or waiting to be tried.
    pub(super) deliveries: Deliveries,
    /// Keys of what is not on disk as it is here.
    pub(super) dirty: BTreeSet<String>,
    pub(super) counts: Counts,
    pub(super) random: Random,
    /// The first flush is not before.
    settle_until: Mono,
    next_tidy: Mono,
    /// The latest moment that was heard of.
    pub(super) clock: Now,
    started_at: UnixMillis,
}

impl std::fmt::Debug for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("Manager");
        debug.field("alerts", &self.alerts.len()).field("groups", &self.groups.len()).finish_non_exhaustive()
    }
}

impl Manager {
    /// Begins with what was kept. Of `saved`, what is damaged or unknown is counted and left out.
    #[must_use]
    pub fn new(config: Arc<Config>, options: Options, saved: Saved, now: Now) -> Self {
        let bounds = options.bounds;
        let mut manager = Self {
            inhibitor: Inhibitor::new(config.inhibit_rules().to_vec()),
            silences: Silences::new(bounds.silences, bounds.silence_bytes, options.retention),
            random: Random::new(options.seed),
            settle_until: now.mono + options.settle,
            next_tidy: now.mono + TIDY,
            config,
            options,
            alerts: Alerts::default(),
            groups: Groups::default(),
            log: Log::default(),
            suppressed: Suppressed::default(),
            deliveries: Deliveries::new(bounds.in_flight),
            dirty: BTreeSet::new(),
            counts: Counts::default(),
            clock: now,
            started_at: now.wall,
        };
        manager.restore(saved, now);
        manager.regroup(&BTreeMap::new(), now);
        manager
    }

    /// Goes on with another config. Alerts, silences and the log stay; a group that is still made keeps its timer.
    pub fn reload(&mut self, config: Arc<Config>, now: Now) {
        self.clock = now;
        self.detach_deliveries();
        self.config = config;
        self.inhibitor = Inhibitor::new(self.config.inhibit_rules().to_vec());
        let old = std::mem::take(&mut self.groups);
        let timers = old.iter().map(|group| (group.key.clone(), (group.next, group.has_flushed))).collect();
        self.regroup(&timers, now);
    }

    /// Says anew which receivers this place tells.
    pub fn set_enabled(&mut self, enabled: Option<super::options::Enabled>) {
        self.options.enabled = enabled;
    }

    /// Puts every alert into the groups that it belongs to now; `timers` of groups that were there before, by key.
    fn regroup(&mut self, timers: &BTreeMap<Arc<str>, (Mono, bool)>, now: Now) {
        let all: Vec<(Fingerprint, Labels, bool)> =
            self.alerts.iter().map(|(id, stored)| (id, stored.labels(), stored.is_firing(now))).collect();
        for (id, labels, fires) in all {
            if let Some(stored) = self.alerts.get_mut(id) {
                stored.groups.clear();
            }
            if fires {
                self.inhibitor.fires(id, &labels);
            }
            self.dispatch(id, &labels, timers, now);
        }
    }

    /// Takes alerts in: new ones, those that go on, and those that ended. What is wrong with those that are not taken.
    pub fn receive(&mut self, alerts: Vec<Alert>, now: Now) -> Vec<String> {
        self.clock = now;
        let mut problems = Vec::new();
        for alert in alerts {
            if let Err(problem) = self.receive_one(alert, now) {
                problems.push(problem);
            }
        }
        problems
    }

    /// Counts an alert that could not even be read.
    pub fn note_invalid(&mut self) {
        self.counts.invalid += 1;
    }

    fn receive_one(&mut self, mut alert: Alert, now: Now) -> Result<(), String> {
        let problem = if alert.labels.is_empty() {
            Some("at least one label pair required")
        } else if alert.ends_at.0 != 0 && alert.ends_at < alert.starts_at {
            Some("start time must be before end time")
        } else {
            None
        };
        if let Some(problem) = problem {
            self.counts.invalid += 1;
            return Err(problem.to_owned());
        }
        let bounds = self.options.bounds;
        let bytes: usize = alert.annotations.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes + alert.generator_url.len() > bounds.alert_bytes {
            alert.annotations = Labels::default();
            alert.generator_url = String::new();
            self.counts.shortened += 1;
        }
        let (id, labels) = (alert.fingerprint(), alert.labels.clone());
        let fired = self.alerts.is_firing(id, now);
        if self.alerts.hear(id, alert, self.config.resolve_timeout(), bounds.alerts, now) == Heard::Full {
            self.counts.dropped_alerts += 1;
            return Err(format!("{} alerts are known already: this one does not fit", bounds.alerts));
        }
        let Some(stored) = self.alerts.get(id) else { return Ok(()) };
        let fires = stored.is_firing(now);
        if stored.saved != Some((stored.starts_at, fires)) {
            self.dirty.insert(format!("alert/{id}"));
        }
        if fires {
            self.counts.received_firing += 1;
            if !fired {
                self.inhibitor.fires(id, &labels);
            }
        } else {
            self.counts.received_resolved += 1;
            self.inhibitor.ends(id, &labels);
        }
        self.dispatch(id, &labels, &BTreeMap::new(), now);
        Ok(())
    }

    /// Puts an alert into the groups of the routes that it matches.
    fn dispatch(&mut self, id: Fingerprint, alert: &Labels, timers: &BTreeMap<Arc<str>, (Mono, bool)>, now: Now) {
        let config = self.config.clone();
        let Some(stored) = self.alerts.get_mut(id) else { return };
        for index in config.routes().matching(alert) {
            let Some(route) = config.routes().route(index) else { continue };
            let labels = route.group_by.of(alert);
            let group = match self.groups.find(index, &labels) {
                Some(group) => group,
                None if self.groups.len() >= self.options.bounds.groups => {
                    self.counts.dropped_groups += 1;
                    continue;
                }
                None => {
                    let key: Arc<str> = group_key(&route.key, &labels).into();
                    let before = timers.get(&key).copied();
                    let next = before.map_or(now.mono + route.group_wait, |(next, _)| next);
                    let group = self.groups.add(index, labels, key, next);
                    if let Some(added) = self.groups.get_mut(group) {
                        added.has_flushed = before.is_some_and(|(_, has_flushed)| has_flushed);
                    }
                    group
                }
            };
            let Some(member_of) = self.groups.get_mut(group) else { continue };
            member_of.alerts.insert(id);
            // One that waited long enough elsewhere does not wait here again.
            let is_late = !member_of.has_flushed && stored.starts_at + route.group_wait < now.wall;
            if is_late && member_of.next > now.mono {
                self.groups.arm(group, now.mono);
            }
            stored.groups.add(group);
        }
    }

    /// When [`Manager::poll`] has something to do.
    #[must_use]
    pub fn next(&self) -> Option<Mono> {
        let group = self.groups.next().map(|at| at.max(self.settle_until));
        [self.deliveries.next(), group, Some(self.next_tidy)].into_iter().flatten().min()
    }

    /// What is to be sent now. Each notice is answered by [`Manager::done`], or counts as failed by its deadline.
    pub fn poll(&mut self, now: Now) -> Vec<Notice> {
        self.clock = now;
        if self.next_tidy <= now.mono {
            self.next_tidy = now.mono + TIDY;
            self.tidy(now);
        }
        self.expire_deliveries(now);
        while now.mono >= self.settle_until
            && let Some(group) = self.groups.due(now.mono)
        {
            self.flush(group, now);
        }
        self.begin_deliveries(now)
    }

    /// Forgets what is over.
    fn tidy(&mut self, now: Now) {
        for id in self.silences.forget(now.wall) {
            self.dirty.insert(format!("silence/{id}"));
        }
        for key in self.log.forget(now) {
            self.dirty.insert(format!("log/{key}"));
        }
        for alert in self.suppressed.forget(now) {
            self.dirty.insert(format!("told/{alert}"));
        }
        let over = self.alerts.iter().filter(|(_, stored)| stored.groups.is_empty() && !stored.is_firing(now));
        let over: Vec<Fingerprint> = over.map(|(id, _)| id).collect();
        for id in over {
            self.forget_alert(id);
        }
    }

    pub(super) fn forget_alert(&mut self, id: Fingerprint) {
        if let Some(stored) = self.alerts.remove(id) {
            self.inhibitor.ends(id, &stored.labels());
            self.dirty.insert(format!("alert/{id}"));
        }
    }

    /// Takes an alert out of a group, and forgets it where that was the last one.
    pub(super) fn leave(&mut self, id: Fingerprint, group: GroupId) {
        if let Some(member_of) = self.groups.get_mut(group) {
            member_of.alerts.remove(&id);
        }
        if let Some(stored) = self.alerts.get_mut(id) {
            stored.groups.remove(group);
            if stored.groups.is_empty() {
                self.forget_alert(id);
            }
        }
    }

    /// Sets a new silence (its id is empty) or changes one; its id, which is another where it could not be changed.
    ///
    /// # Errors
    /// [`SilenceError`] says why not.
    pub fn set_silence(&mut self, silence: Silence, now: Now) -> Result<String, SilenceError> {
        self.clock = now;
        let random = &mut self.random;
        let changed = self.silences.set(silence, now.wall, &mut || random.uuid())?;
        let id = changed.last().cloned().unwrap_or_default();
        self.dirty.extend(changed.iter().map(|id| format!("silence/{id}")));
        Ok(id)
    }

    /// Ends a silence.
    ///
    /// # Errors
    /// [`SilenceError::NotFound`] and [`SilenceError::Expired`].
    pub fn expire_silence(&mut self, id: &str, now: Now) -> Result<(), SilenceError> {
        self.clock = now;
        self.silences.expire(id, now.wall)?;
        self.dirty.insert(format!("silence/{id}"));
        Ok(())
    }

    /// Every silence that is kept, by id.
    pub fn silences(&self) -> impl Iterator<Item = &Silence> {
        self.silences.all().values()
    }

    /// The silence of that id.
    #[must_use]
    pub fn silence(&self, id: &str) -> Option<&Silence> {
        self.silences.all().get(id)
    }

    /// Receivers that were told of the alert in its current episode and were not told of its end.
    #[must_use]
    pub fn told(&self, alert: Fingerprint) -> Vec<String> {
        let mut told = BTreeSet::new();
        for group in self.alerts.get(alert).iter().flat_map(|stored| stored.groups.iter()) {
            let Some(group) = self.groups.get(group) else { continue };
            for (key, receiver) in self.log_keys(group) {
                if self.log.get(&key).is_some_and(|entry| entry.firing.contains(&alert)) {
                    told.insert(receiver.to_string());
                }
            }
        }
        told.into_iter().collect()
    }

    /// Says that `receivers` were told elsewhere of the episode that began at `starts_at`, and will be told there of its
    /// end: they are not told here.
    pub fn suppress(&mut self, alert: Fingerprint, starts_at: UnixMillis, receivers: Vec<String>) {
        if self.suppressed.add(alert, starts_at, receivers, self.clock, self.options.bounds.suppressed) {
            self.dirty.insert(format!("told/{alert}"));
        } else {
            self.counts.dropped_suppressed += 1;
        }
    }

    /// The config that is in force.
    #[must_use]
    pub const fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// When this manager began.
    #[must_use]
    pub const fn started_at(&self) -> UnixMillis {
        self.started_at
    }

    /// Whether the first flush may be.
    #[must_use]
    pub fn is_settled(&self, now: Now) -> bool {
        now.mono >= self.settle_until
    }

    /// Whether there is anything that may hold alerts back.
    pub(super) fn may_hold(&self, now: Now) -> bool {
        !self.inhibitor.is_empty() || self.silences.is_any_active(now.wall)
    }

    /// Alerts that hold back one with these labels, and ids of silences that do.
    pub(super) fn held_by(&self, labels: &Labels, now: Now) -> (AlertSet, Vec<&str>) {
        let inhibiting = self.inhibitor.inhibiting(labels, &|id| self.alerts.is_firing(id, now));
        (inhibiting, self.silences.silencing(labels, now.wall))
    }
}

/// The group's name: the route's key, a colon, and the group's labels as Alertmanager writes them.
pub(super) fn group_key(route: &str, labels: &Labels) -> String {
    let label = |(name, value): (&str, &str)| {
        let value = skerry_promql::quoted(value);
        if matcher::is_classic_name(name) { format!("{name}={value}") } else { format!("\"{name}\"={value}") }
    };
    let labels: Vec<String> = labels.iter().map(label).collect();
    format!("{route}:{{{}}}", labels.join(", "))
}
