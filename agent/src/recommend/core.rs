//! Decides what samples count for which containers, and what is recommended for them. Without I/O and clock.

mod advice;

use super::PREFIX;
use super::Policy;
use super::doing;
use super::subject::{Subject, Told, container_id, told};
use skerry_model::{Labels, Now, Scrape, UnixMillis};
use skerry_scaling::target::TargetKind;
use skerry_scaling::vpa::{
    Aggregate, Amounts, ContainerPolicy, Gave, Instance, Recommendation, Saved, Settings, UpdateMode,
};
use std::collections::{BTreeMap, BTreeSet};

/// Most kinds of containers that are known.
pub(super) const SUBJECTS_MAX: usize = 256;
/// Most containers that are followed.
const LIVE_MAX: usize = 512;
/// Time over which the use of CPU is measured, with some room for rounds that come a little early.
const CPU_MS: i64 = 55_000;
/// A longer time says nothing of how CPU was used within it.
const CPU_MS_MAX: i64 = 2 * 3_600_000;
/// A container that is not measured for so long has ended.
const GONE_MS: u64 = 15 * 60_000;
/// One that is not measured for so long counts as none that runs.
const HERE_MS: u64 = 2 * 60_000;
/// Without a runtime's word containers are numbers; the word may come a little late.
const NAMELESS_MS: u64 = 60_000;
/// Where all are in use, room is looked for again after so long.
const FULL_MS: u64 = 60_000;
/// What nobody has used for so long is forgotten.
const FORGET_MS: i64 = 8 * 86_400_000;
/// A clock that was set by more has been wrong, and what was stamped with it moves along.
const CLOCK_MS: i64 = 3_600_000;
/// A kill for want of memory within this time after the start is answered at once.
const EARLY_MS: i64 = 600_000;

/// What is known of containers.
#[derive(Debug, Default)]
pub(super) struct Core {
    policies: Vec<Policy>,
    settings: Settings,
    used: BTreeMap<Subject, Used>,
    /// By the container's id.
    live: BTreeMap<String, Live>,
    /// Keys of the state that are to be deleted.
    forgotten: Vec<String>,
    /// Wall clock before monotonic clock.
    ahead_ms: Option<i64>,
    /// When something was measured last.
    last_ms: u64,
    /// Until then no room is looked for.
    full_until_ms: u64,
    /// Times that containers found no room.
    pub(super) left_out: u64,
    /// Processors that the scrape told of that is being taken.
    processors: u64,
}

/// What containers of one kind have used.
#[derive(Debug, Default)]
struct Used {
    aggregate: Aggregate,
    image: String,
    is_named: bool,
    is_saved: bool,
}

/// A container that is measured, or was a moment ago.
#[derive(Debug, Clone, Default)]
pub(super) struct Live {
    subject: Option<Subject>,
    instance: Instance,
    /// The sample of CPU that is being taken.
    cpu: Option<Working>,
    ooms: Option<f64>,
    was_oom_killed: bool,
    /// When it was killed for want of memory while nobody knew whose it is, and whether soon after its start.
    unplaced_kill: Option<(UnixMillis, bool)>,
    /// Memory that it uses, and its limit, in bytes.
    working: u64,
    limit: u64,
    started: Option<UnixMillis>,
    early_oom: bool,
    first_ms: u64,
    seen_ms: u64,
}

/// A sample of CPU that is being taken: over starts of the container too, each of which has a counter of its own.
#[derive(Debug, Clone, Copy)]
struct Working {
    since: UnixMillis,
    /// Seconds of CPU since then.
    used: f64,
    /// The counter as it was read last, and when.
    counter: f64,
    read_at: UnixMillis,
}

impl Working {
    const fn new(at: UnixMillis, counter: f64) -> Self {
        Self { since: at, used: 0.0, counter, read_at: at }
    }
}

/// A container that a policy may change.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    pub(super) id: String,
    pub(super) policy: String,
    pub(super) target: skerry_scaling::target::TargetRef,
    pub(super) container: String,
    pub(super) mode: UpdateMode,
    pub(super) of_container: ContainerPolicy,
    pub(super) recommended: Recommendation,
    /// What the node has.
    pub(super) most: Amounts,
    /// Whether replicas that go are made again by whoever scales the target.
    pub(super) is_scaled: bool,
    /// What it was given before, while it ran.
    pub(super) given: Option<Gave>,
    pub(super) started: Option<UnixMillis>,
    pub(super) early_oom: bool,
    /// Memory that it uses, in bytes.
    pub(super) working: u64,
}

impl Core {
    /// Takes up what was stored; what cannot be read is named and left out.
    pub(super) fn restore(
        policies: Vec<Policy>,
        settings: Settings,
        stored: &[(String, Vec<u8>)],
        now: Now,
    ) -> (Self, Vec<String>) {
        let mut own = Self { policies, settings, last_ms: now.mono.0, ..Self::default() };
        let mut faults = Vec::new();
        for (key, bytes) in stored.iter().filter(|(key, _)| key != doing::KEY) {
            match own.take_up(bytes, now) {
                Ok(Some(subject)) if key_of(&subject) == *key => {}
                Ok(_) => own.forgotten.push(key.clone()),
                Err(fault) => {
                    faults.push(fault);
                    own.forgotten.push(key.clone());
                }
            }
        }
        (own, faults)
    }

    fn take_up(&mut self, bytes: &[u8], now: Now) -> Result<Option<Subject>, String> {
        let Saved { about, mut aggregate, mut instances } =
            Saved::from_bytes(bytes).map_err(|error| error.to_string())?;
        let [kind, scope, name, container, image, named] = &about[..] else {
            return Err("what is stored of a recommendation names nothing".into());
        };
        let Some(kind) = TargetKind::ALL.into_iter().find(|known| known.as_str() == kind) else {
            return Err(format!("what is stored of a recommendation is of the unknown kind {kind:?}"));
        };
        let last = aggregate.last_at().unwrap_or(now.wall);
        let age_ms = now.wall.0.saturating_sub(last.0);
        if age_ms > FORGET_MS || self.used.len() == SUBJECTS_MAX {
            return Ok(None);
        }
        // The clock was ahead when it was written, or is behind now.
        if age_ms < -CLOCK_MS {
            aggregate.shift(age_ms);
            instances.iter_mut().for_each(|(_, instance)| instance.shift(age_ms));
        }
        let target = skerry_scaling::target::TargetRef { kind, name: name.clone(), scope: scope.clone() };
        let subject = Subject { target, container: container.clone() };
        for (id, instance) in instances {
            if self.live.len() < LIVE_MAX {
                let (subject, at) = (Some(subject.clone()), now.mono.0);
                let live = Live { subject, instance, first_ms: at, seen_ms: at, ..Live::default() };
                self.live.insert(id, live);
            }
        }
        let used = Used { aggregate, image: image.clone(), is_named: named == "1", is_saved: true };
        self.used.insert(subject.clone(), used);
        Ok(Some(subject))
    }

    /// Takes what was measured.
    pub(super) fn push(&mut self, scrape: &Scrape, now: Now) {
        self.mind_clock(now);
        self.processors = 0;
        for (labels, value) in &scrape.values {
            let metric = labels.metric();
            // What another program tells of containers bears its job and instance: here it would count twice.
            if !labels.value("instance").is_empty() || value.is_nan() {
                continue;
            }
            self.mind_node(metric, labels, *value);
            if !metric.starts_with("container_") {
                continue;
            }
            match metric {
                "container_cpu_usage_seconds_total" => {
                    self.note(labels, now, |core, live| core.cpu(live, scrape.at, *value))
                }
                "container_memory_working_set_bytes" => {
                    self.note(labels, now, |core, live| core.memory(live, scrape.at, *value as u64));
                }
                "container_oom_events_total" => self.note(labels, now, |core, live| {
                    // A counter that is smaller began anew with the container, and what it counts is new.
                    let before = live.ooms.replace(*value);
                    if before.is_some_and(|before| *value > before || (*value < before && *value > 0.0)) {
                        core.oom(live, scrape.at);
                    }
                }),
                "container_oom_killed" => self.killed(labels.value("container_id"), scrape.at, *value > 0.0),
                "container_spec_memory_limit_bytes" => self.note(labels, now, |_, live| live.limit = *value as u64),
                "container_start_time_seconds" => self.note(labels, now, |_, live| {
                    live.started = Some(UnixMillis((*value * 1000.0) as i64));
                }),
                _ => {}
            }
        }
        self.place_kills();
        if self.processors > 0 {
            self.settings.most.cpu_milli = self.processors * 1000;
        }
        // What somebody was given who does not run now he has when he runs again.
        let is_known =
            |live: &Live| live.instance.given.is_some_and(|given| now.wall.0.saturating_sub(given.at.0) < FORGET_MS);
        self.live.retain(|_, live| now.mono.0.saturating_sub(live.seen_ms) < GONE_MS || is_known(live));
    }

    /// What the node has: more is recommended to nobody.
    fn mind_node(&mut self, metric: &str, labels: &Labels, value: f64) {
        match metric {
            "node_memory_MemTotal_bytes" if value >= 1.0 => self.settings.most.memory = value as u64,
            // Of each processor there is one series of each mode.
            "node_cpu_seconds_total" if labels.value("mode") == "idle" => self.processors += 1,
            _ => {}
        }
    }

    /// Does something with the container of a series.
    fn note(&mut self, labels: &Labels, now: Now, act: impl FnOnce(&mut Self, &mut Live)) {
        let Some(id) = container_id(labels.value("id")) else { return };
        let mut live = match self.live.remove(id) {
            Some(live) => live,
            None if self.has_place(now) => Live { first_ms: now.mono.0, ..Live::default() },
            None => {
                self.left_out += 1;
                return;
            }
        };
        (live.seen_ms, self.last_ms) = (now.mono.0, now.mono.0);
        self.place(&mut live, labels, now);
        act(self, &mut live);
        self.live.insert(id.to_owned(), live);
    }

    /// Makes room for one more container, in place of one that has ended the longest time ago.
    fn has_place(&mut self, now: Now) -> bool {
        if self.live.len() < LIVE_MAX {
            return true;
        }
        let gone = self.live.iter().filter(|(_, live)| now.mono.0.saturating_sub(live.seen_ms) >= GONE_MS);
        let oldest = gone.min_by_key(|(_, live)| live.seen_ms).map(|(id, _)| id.clone());
        oldest.is_some_and(|id| self.live.remove(&id).is_some())
    }

    /// Finds out whose a container is, also when the runtime's word comes later than its first sample.
    fn place(&mut self, live: &mut Live, labels: &Labels, now: Now) {
        let is_settled =
            live.subject.as_ref().is_some_and(|subject| self.used.get(subject).is_some_and(|used| used.is_named));
        if is_settled {
            return;
        }
        let Some(Told { subject, is_named, image }) = told(labels) else { return };
        if live.subject.as_ref() == Some(&subject) && self.used.contains_key(&subject) {
            return;
        }
        if !is_named && now.mono.0.saturating_sub(live.first_ms) < NAMELESS_MS {
            return;
        }
        if !self.used.contains_key(&subject) && !self.has_room(now) {
            return;
        }
        let nameless = live.subject.take().and_then(|before| self.forget(&before));
        let used = self.used.entry(subject.clone()).or_default();
        if used.image != image && !used.image.is_empty() {
            *used = Used::default();
        }
        if let Some(nameless) = nameless {
            used.aggregate.merge(&nameless.aggregate);
        }
        (used.image, used.is_named) = (image, is_named);
        live.subject = Some(subject);
    }

    /// Makes room for one more kind: what has no container for the longest time goes.
    fn has_room(&mut self, now: Now) -> bool {
        if self.used.len() < SUBJECTS_MAX {
            return true;
        }
        if now.mono.0 < self.full_until_ms {
            return false;
        }
        let live: BTreeSet<&Subject> = self.live.values().filter_map(|live| live.subject.as_ref()).collect();
        let idle = self.used.iter().filter(|(subject, _)| !live.contains(subject));
        let oldest = idle.min_by_key(|(_, used)| used.aggregate.last_at()).map(|(subject, _)| subject.clone());
        let has_room = oldest.is_some_and(|subject| self.forget(&subject).is_some());
        if !has_room {
            self.left_out += 1;
            self.full_until_ms = now.mono.0 + FULL_MS;
        }
        has_room
    }

    fn forget(&mut self, subject: &Subject) -> Option<Used> {
        let used = self.used.remove(subject)?;
        self.forgotten.push(key_of(subject));
        Some(used)
    }

    fn used<'a>(&'a mut self, live: &Live) -> Option<&'a mut Used> {
        self.used.get_mut(live.subject.as_ref()?)
    }

    fn cpu(&mut self, live: &mut Live, at: UnixMillis, counter: f64) {
        let anew = Working::new(at, counter);
        let Some(Working { since, used, counter: before, read_at }) = live.cpu else {
            live.cpu = Some(anew);
            return;
        };
        let (passed_ms, gap_ms) = (at.0.saturating_sub(since.0), at.0.saturating_sub(read_at.0));
        // It was started again, and its counter with it. One that stood still in between would seem to need little.
        let is_new = counter < before;
        if !(0..=CPU_MS_MAX).contains(&passed_ms) || (is_new && gap_ms > CPU_MS) {
            live.cpu = Some(anew);
            return;
        }
        let used = used + if is_new { counter } else { counter - before };
        if passed_ms < CPU_MS || self.used(live).is_none() {
            live.cpu = Some(Working { since, used, counter, read_at: at });
            return;
        }
        live.cpu = Some(anew);
        let cores = used / (passed_ms as f64 / 1000.0);
        let mut instance = live.instance;
        if let Some(used) = self.used(live)
            && used.aggregate.add_cpu(&mut instance, cores, since)
        {
            used.is_saved = false;
        }
        live.instance = instance;
    }

    fn memory(&mut self, live: &mut Live, at: UnixMillis, bytes: u64) {
        live.working = bytes;
        let mut instance = live.instance;
        if let Some(used) = self.used(live) {
            used.aggregate.add_memory(&mut instance, bytes, at);
        }
        live.instance = instance;
    }

    fn oom(&mut self, live: &mut Live, at: UnixMillis) {
        let is_early = live.started.is_some_and(|started| (0..EARLY_MS).contains(&at.0.saturating_sub(started.0)));
        // Were it taken for counted, those of the next minute would not count either, as the same.
        if self.used(live).is_none() {
            live.unplaced_kill.get_or_insert((at, is_early));
            return;
        }
        // The runtime, the cgroup's counter and the container's state may all tell of it, and the runtime once more after
        // a restart of the agent.
        if !live.instance.is_killed_anew(at) {
            return;
        }
        // What it asked for is the limit here: above it nothing was given. One that was set since says nothing of then.
        let is_of_then = live.instance.given.is_none_or(|given| given.at <= at);
        let (mut instance, limit) = (live.instance, if is_of_then { live.limit } else { 0 });
        if let Some(used) = self.used(live)
            && used.aggregate.add_oom(&mut instance, limit, at).is_ok()
        {
            used.is_saved = false;
        }
        live.instance = instance;
        live.early_oom = is_early;
    }

    /// The runtime says how a container has ended: its cgroup, which counts kills, goes with it.
    fn killed(&mut self, id: &str, at: UnixMillis, is_oom: bool) {
        let Some(live) = self.live.get_mut(id) else { return };
        let was_told = std::mem::replace(&mut live.was_oom_killed, is_oom);
        if is_oom && !was_told {
            self.lacked_memory(id, at);
        }
    }

    /// A process of a container was killed for want of memory, as the runtime tells at that moment. One that is started again
    /// at once takes both its counter and its state with it.
    pub(super) fn lacked_memory(&mut self, id: &str, at: UnixMillis) {
        let Some(mut live) = self.live.remove(id) else { return };
        self.oom(&mut live, at);
        self.live.insert(id.to_owned(), live);
    }

    /// Takes in the kills of containers of which the runtime's word came later; their limits are known by now too.
    fn place_kills(&mut self) {
        let is_known = |live: &Live| live.subject.as_ref().is_some_and(|subject| self.used.contains_key(subject));
        let placed = self.live.iter().filter(|(_, live)| live.unplaced_kill.is_some() && is_known(live));
        let placed: Vec<String> = placed.map(|(id, _)| id.clone()).collect();
        for id in placed {
            let Some(mut live) = self.live.remove(&id) else { continue };
            if let Some((at, was_early)) = live.unplaced_kill.take() {
                self.oom(&mut live, at);
                live.early_oom |= was_early;
            }
            self.live.insert(id, live);
        }
    }

    /// Moves all moments when the wall clock was set: else all that comes would be too old for years, or all that was
    /// would weigh nothing.
    fn mind_clock(&mut self, now: Now) {
        let ahead_ms = now.wall.0.saturating_sub(i64::try_from(now.mono.0).unwrap_or(i64::MAX));
        let by_ms = ahead_ms.saturating_sub(self.ahead_ms.unwrap_or(ahead_ms));
        if self.ahead_ms.is_some() && by_ms.saturating_abs() < CLOCK_MS {
            return;
        }
        self.ahead_ms = Some(ahead_ms);
        if by_ms == 0 {
            return;
        }
        self.used.values_mut().for_each(|used| used.aggregate.shift(by_ms));
        for live in self.live.values_mut() {
            live.instance.shift(by_ms);
            let moved = |at: UnixMillis| UnixMillis(at.0.saturating_add(by_ms));
            live.unplaced_kill = live.unplaced_kill.map(|(at, was_early)| (moved(at), was_early));
            live.cpu = live.cpu.map(|of| Working { since: moved(of.since), read_at: moved(of.read_at), ..of });
        }
    }

    /// What has changed since it was stored; what nobody uses any more is forgotten.
    pub(super) fn changes(&mut self, now: Now) -> Vec<(String, Option<Vec<u8>>)> {
        let is_old =
            |used: &Used| used.aggregate.last_at().is_some_and(|last| now.wall.0.saturating_sub(last.0) > FORGET_MS);
        let old: Vec<Subject> =
            self.used.iter().filter(|(_, used)| is_old(used)).map(|(subject, _)| subject.clone()).collect();
        old.iter().for_each(|subject| drop(self.forget(subject)));
        let mut changes: Vec<_> = self.forgotten.drain(..).map(|key| (key, None)).collect();
        for (subject, used) in &mut self.used {
            if used.is_saved || used.aggregate.samples == 0 {
                continue;
            }
            used.is_saved = true;
            changes.push((key_of(subject), Some(stored(subject, used, &self.live))));
        }
        changes
    }

    /// The same of what a container belongs to, alone.
    pub(super) fn change_of(&mut self, id: &str) -> Option<(String, Option<Vec<u8>>)> {
        let subject = self.live.get(id)?.subject.clone()?;
        let used = self.used.get_mut(&subject)?;
        used.is_saved = true;
        Some((key_of(&subject), Some(stored(&subject, used, &self.live))))
    }

    /// Kinds of containers, and containers.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.used.len(), self.live.len())
    }
}

/// What is stored of a subject. Of its containers those with sizes of their own come first, since not all may find room.
fn stored(subject: &Subject, used: &Used, live: &BTreeMap<String, Live>) -> Vec<u8> {
    let target = &subject.target;
    let named = if used.is_named { "1" } else { "0" };
    let about = [target.kind.as_str(), &target.scope, &target.name, &subject.container, &used.image, named];
    let own = live.iter().filter(|(_, live)| live.subject.as_ref() == Some(subject));
    let mut own: Vec<(&str, &Instance)> = own.map(|(id, live)| (id.as_str(), &live.instance)).collect();
    own.sort_by_key(|(_, instance)| instance.given.is_none());
    used.aggregate.to_bytes(&about, &own)
}

/// Where a subject is stored. Texts of subjects hold no control characters.
fn key_of(subject: &Subject) -> String {
    let Subject { target, container } = subject;
    format!("{PREFIX}{}\t{}\t{}\t{container}", target.kind.as_str(), target.scope, target.name)
}
