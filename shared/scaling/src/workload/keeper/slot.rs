//! A container's place in its replica: what of it lives longer than a container, and how the one that is there does.

use super::{Failure, Seen, SeenState};
use crate::workload::{Container, Probe, ProbeKind, Resources, RestartPolicy};
use skerry_model::{Mono, Now, UnixMillis};
use std::time::Duration;

/// First pause before a container is started again, the second time.
const BACKOFF_MIN: Duration = Duration::from_secs(10);
/// A container that ran this long begins with the first pause again.
const RAN_WELL: Duration = Duration::from_secs(600);
/// Pause after an act that failed for a reason that is not the container's.
const RETRY: Duration = Duration::from_secs(2);
/// How long a container that ended before has to serve until it counts again: one that crashes in a loop looks well for a
/// moment each time.
pub(super) const SETTLED: Duration = Duration::from_secs(10);
/// Time within which a probe that keeps failing and recovering is told of once.
const TOLD_AGAIN: Duration = Duration::from_secs(600);

/// The pause after the `level`th exit, or failure, in a row: none, 10 s, 20 s and so on.
pub(super) fn backoff(level: u32, longest: Duration) -> Duration {
    let Some(doublings) = level.checked_sub(1) else { return Duration::ZERO };
    let factor = 1u32 << doublings.min(16);
    BACKOFF_MIN.min(longest).saturating_mul(factor).min(longest)
}

/// An exit that was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) code: i32,
    pub(super) is_oom: bool,
    pub(super) at: UnixMillis,
    /// The pause that follows.
    pub(super) pause: Duration,
}

impl Ended {
    /// Until when it is paused: by the wall clock, which both ends share, and never longer than the pause, should the
    /// clock have been set.
    pub(super) fn until(self, now: Now) -> Option<Mono> {
        let left = self.pause.saturating_sub(now.wall.since(self.at)).min(self.pause);
        (!left.is_zero()).then(|| now.mono + left)
    }

    /// Kubernetes's word.
    pub(super) const fn reason(self) -> &'static str {
        reason(self.code, self.is_oom)
    }
}

/// Kubernetes's word for how a container ended.
pub(super) const fn reason(code: i32, is_oom: bool) -> &'static str {
    match (is_oom, code) {
        (true, _) => "OOMKilled",
        (false, 0) => "Completed",
        (false, _) => "Error",
    }
}

#[derive(Debug, Default)]
pub(super) struct Slot {
    /// The container that is there; `""` for none.
    pub(super) id: String,
    pub(super) state: Option<SeenState>,
    /// Start of its run.
    pub(super) run: Option<UnixMillis>,
    pub(super) restarts: u32,
    /// Exits in a row.
    pub(super) level: u32,
    /// The last exit that was counted.
    pub(super) ended: Option<Ended>,
    /// Attempts in a row to make or to start it that failed.
    pub(super) failures: u32,
    pub(super) trouble: Option<Failure>,
    /// Not before.
    pub(super) until: Option<Mono>,
    /// What the container that is there was made to ask for.
    pub(super) requests: Resources,
    /// The container that is there is to be made anew.
    pub(super) is_renewed: bool,
    /// One is being made.
    pub(super) is_made: bool,
    pub(super) is_started: bool,
    pub(super) is_ready: bool,
    /// Since when it is ready, or is not.
    pub(super) ready_since: Option<(Mono, UnixMillis)>,
    /// It runs, and has to be ended within this time.
    pub(super) sick: Option<Duration>,
    pub(super) counters: [Counter; 3],
    pub(super) told_unhealthy: Option<Mono>,
}

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counter {
    good: u32,
    bad: u32,
    due: Option<Mono>,
    is_asked: bool,
}

/// What came of a look or a probe that somebody should hear of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Slot {
    /// Takes what is seen of the container. `is_forgiven`: an exit is not its fault, since the machine or the runtime
    /// went down.
    pub(super) fn see(
        &mut self,
        seen: Option<&Seen>,
        container: Option<&Container>,
        policy: RestartPolicy,
        longest: Duration,
        is_forgiven: bool,
        now: Now,
    ) -> Option<Told> {
        let Some(seen) = seen else {
            let was = std::mem::take(&mut self.id);
            (self.state, self.run) = (None, None);
            self.set_ready(false, now);
            if std::mem::take(&mut self.is_renewed) {
                return None;
            }
            let then = if container.is_some() { "; it is made anew" } else { "" };
            let message = format!("the container is gone, and it was not the agent that removed it{then}");
            return (!was.is_empty()).then_some(Told { reason: "Gone", message });
        };
        let mut told = None;
        if self.id != seen.id {
            self.id.clone_from(&seen.id);
            (self.run, self.ended, self.is_renewed) = (None, None, false);
            let image = container.map_or("", |container| container.image.text.as_str());
            told = Some(Told { reason: "Created", message: format!("container {} of image {image}", short(&seen.id)) });
        }
        (self.state, self.requests) = (Some(seen.state), seen.requests);
        self.sick = self.sick.filter(|_| seen.state == SeenState::Running && self.run == seen.started_at);
        match seen.state {
            SeenState::Running => {
                (self.failures, self.trouble) = (0, None);
                if self.run.is_none() || self.run != seen.started_at {
                    self.run = seen.started_at;
                    (self.is_started, self.counters, self.until) = (false, Default::default(), None);
                    self.set_ready(false, now);
                }
                self.settle(container, now);
            }
            SeenState::Exited { code, is_oom, at } => {
                self.set_ready(false, now);
                self.is_started = false;
                // One that is being made anew ends because it was asked to.
                if !self.is_renewed && self.ended.is_none_or(|ended| ended.at != at) {
                    let ended = Ended { code, is_oom, at, pause: Duration::ZERO };
                    let exited = self.count(ended, seen.started_at, policy, longest, is_forgiven, now);
                    told = Some(match told {
                        Some(Told { message, .. }) => {
                            Told { reason: exited.reason, message: format!("{message}; {}", exited.message) }
                        }
                        None => exited,
                    });
                }
            }
            SeenState::Created | SeenState::Paused | SeenState::Busy | SeenState::Removing | SeenState::Dead => {
                self.set_ready(false, now);
            }
        }
        told
    }

    fn count(
        &mut self,
        mut ended: Ended,
        started: Option<UnixMillis>,
        policy: RestartPolicy,
        longest: Duration,
        is_forgiven: bool,
        now: Now,
    ) -> Told {
        let ran = started.map(|started| ended.at.since(started));
        if ran.is_some_and(|ran| ran >= RAN_WELL) {
            self.level = 0;
        }
        let is_restarted = restarts(policy, ended.code);
        if is_restarted && !is_forgiven {
            ended.pause = backoff(self.level, longest);
            self.level = self.level.saturating_add(1);
        }
        (self.ended, self.until) = (Some(ended), ended.until(now));
        let how = if ended.is_oom {
            "was killed for the memory that it took".to_owned()
        } else {
            format!("ended with code {}", ended.code)
        };
        let how = ran.map_or_else(|| how.clone(), |ran| format!("{how} after {} s", ran.as_secs()));
        if !is_restarted {
            return Told { reason: ended.reason(), message: format!("{how}; it stays as it is, as declared") };
        }
        self.restarts = self.restarts.saturating_add(1);
        if is_forgiven {
            return Told {
                reason: "Restarting",
                message: format!("{how} with the machine or the runtime; it is started"),
            };
        }
        if ended.pause.is_zero() {
            let message = format!("{how}; it is started again, restart {}", self.restarts);
            return Told { reason: ended.reason(), message };
        }
        let message =
            format!("{how}; it is started again after {} s, restart {}", ended.pause.as_secs(), self.restarts);
        Told { reason: "BackOff", message }
    }

    /// What stands without probes, and when the first ones are due. How to ask one whose template is not known any more
    /// is not known either: it stays as it was last, so that one that never served is not taken for one that does.
    fn settle(&mut self, container: Option<&Container>, now: Now) {
        let Some(container) = container else { return };
        if container.startup.is_none() {
            self.is_started = true;
        }
        if self.is_started && container.readiness.is_none() {
            self.set_ready(true, now);
        }
        let ran = self.run.map_or(Duration::ZERO, |run| now.wall.since(run));
        for kind in ProbeKind::ALL {
            let counter = &mut self.counters[kind as usize];
            if let (Some(probe), None) = (container.probe(kind), counter.due) {
                counter.due = Some(now.mono + probe.initial_delay.saturating_sub(ran));
            }
        }
    }

    fn set_ready(&mut self, is_ready: bool, now: Now) {
        if self.is_ready != is_ready || self.ready_since.is_none() {
            self.is_ready = is_ready;
            self.ready_since = Some((now.mono, now.wall));
        }
    }

    /// Whether a probe counts now: only while the container runs, the startup probe before the others.
    fn counts(&self, kind: ProbeKind) -> bool {
        self.state == Some(SeenState::Running) && (kind == ProbeKind::Startup) != self.is_started
    }

    /// Whether it is to be asked now; it is then taken to be asked.
    pub(super) fn ask(&mut self, kind: ProbeKind, now: Now) -> bool {
        let is_counting = self.counts(kind);
        let counter = &mut self.counters[kind as usize];
        let is_due = is_counting && !counter.is_asked && counter.due.is_some_and(|due| due <= now.mono);
        counter.is_asked |= is_due;
        is_due
    }

    /// Nobody could be asked: it says nothing of the container.
    pub(super) fn not_probed(&mut self, kind: ProbeKind, probe: &Probe, now: Now) {
        let counter = &mut self.counters[kind as usize];
        (counter.is_asked, counter.due) = (false, Some(now.mono + probe.period));
    }

    /// Takes the answer to a probe of this container.
    pub(super) fn probed(
        &mut self,
        kind: ProbeKind,
        probe: &Probe,
        grace: Duration,
        outcome: Result<(), String>,
        now: Now,
    ) -> Option<Told> {
        let is_counting = self.counts(kind);
        let counter = &mut self.counters[kind as usize];
        if !std::mem::take(&mut counter.is_asked) || !is_counting {
            return None;
        }
        counter.due = Some(now.mono + probe.period);
        let Err(problem) = outcome else {
            (counter.good, counter.bad) = (counter.good.saturating_add(1), 0);
            if counter.good >= probe.successes {
                match kind {
                    ProbeKind::Startup => self.is_started = true,
                    ProbeKind::Readiness => self.set_ready(true, now),
                    ProbeKind::Liveness => {}
                }
            }
            return None;
        };
        (counter.good, counter.bad) = (0, counter.bad.saturating_add(1));
        if counter.bad < probe.failures {
            return None;
        }
        let times = if counter.bad == 1 { "once".to_owned() } else { format!("{} times in a row", counter.bad) };
        let what = format!("{} probe failed {times}: {problem}", kind.as_str());
        if kind == ProbeKind::Readiness {
            let is_new = self.is_ready || counter.bad == probe.failures;
            let is_told = self.told_unhealthy.is_some_and(|at| now.mono.since(at) < TOLD_AGAIN);
            self.set_ready(false, now);
            if !is_new || is_told {
                return None;
            }
            self.told_unhealthy = Some(now.mono);
            return Some(Told { reason: "Unhealthy", message: format!("{what}; it is not ready") });
        }
        counter.bad = 0;
        self.sick = Some(probe.grace.unwrap_or(grace));
        Some(Told { reason: "Unhealthy", message: format!("{what}; it is ended and started again") })
    }

    /// Takes why it could not be made, started or ended; tells of it unless it is the same as before.
    pub(super) fn failed(&mut self, failure: Failure, longest: Duration, now: Now) -> Option<Told> {
        if failure.is_passing() {
            self.until = Some(now.mono + RETRY);
            return None;
        }
        self.failures = self.failures.saturating_add(1);
        let pause = backoff(self.failures, longest);
        self.until = Some(now.mono + pause);
        let is_same = self.trouble.as_ref().is_some_and(|trouble| trouble.reason == failure.reason);
        let told = Told { reason: failure.reason, message: failure.message.clone() };
        self.trouble = Some(failure);
        (!is_same).then_some(told)
    }

    /// Whether nothing speaks against making or starting it now.
    pub(super) fn may_begin(&self, now: Now) -> bool {
        self.until.is_none_or(|until| until <= now.mono)
    }

    /// Whether it ended as it may, for good.
    pub(super) const fn is_done(&self, policy: RestartPolicy) -> bool {
        matches!(self.state, Some(SeenState::Exited { code, .. }) if !restarts(policy, code))
    }

    /// Whether it runs and serves for as long as asked.
    pub(super) fn is_available(&self, min_ready: Duration, now: Now) -> bool {
        let min_ready = if self.level > 0 { min_ready.max(SETTLED) } else { min_ready };
        self.state == Some(SeenState::Running)
            && self.is_ready
            && self.ready_since.is_some_and(|(since, _)| now.mono.since(since) >= min_ready)
    }

    /// When something changes here by time alone.
    pub(super) fn next(&self, min_ready: Duration, now: Now) -> Option<Mono> {
        let due = ProbeKind::ALL.into_iter().filter(|kind| self.counts(*kind)).filter_map(|kind| {
            let counter = self.counters[kind as usize];
            counter.due.filter(|_| !counter.is_asked)
        });
        let since = self.ready_since.filter(|_| self.is_ready).map(|(since, _)| since);
        let waits = [self.until, since.map(|at| at + min_ready), since.map(|at| at + min_ready.max(SETTLED))];
        due.chain(waits.into_iter().flatten().filter(|at| *at > now.mono)).min()
    }
}

pub(super) const fn restarts(policy: RestartPolicy, code: i32) -> bool {
    match policy {
        RestartPolicy::Always => true,
        RestartPolicy::OnFailure => code != 0,
        RestartPolicy::Never => false,
    }
}

/// An id as people see it.
pub(super) fn short(id: &str) -> &str {
    &id[..id.floor_char_boundary(12)]
}
