//! One policy: what it remembers, what it is doing, what it has to tell.
//!
//! Invariants:
//! - Before anything is scaled the intent is noted; it is taken away together with the event that tells of it.
//! - An intent that a crash left is looked after before anything else is decided: what it wanted is done, or was done.
//! - What was said to have failed stays noted until it is seen whether it did: a time limit that is over ends nothing.
//! - Of a trouble there is one event when it has lasted a while, and one when it has been over for [`QUIET`].

use super::note::{Intent, Note};
use super::readings::Prepared;
use super::view::View;
use crate::actuate::ActuatorError;
use skerry_model::{Mono, Now, UnixMillis};
use skerry_scaling::capacity::PENDING_GRACE;
use skerry_scaling::guard::{Grant, Resources, Want};
use skerry_scaling::hpa::{Condition, ConditionKind, Decision, State, Status};
use skerry_scaling::policy::ScalingPolicy;
use skerry_scaling::target::Observed;
use skerry_scaling::trigger::{Floor, Forecast};
use skerry_wire::{EVENT_TEXT_BYTES_MAX, Event, EventKind, ScalingEvent};
use std::sync::Arc;
use std::time::Duration;

/// How long a trouble has to be over before that is told.
pub(super) const QUIET: Duration = Duration::from_secs(300);
/// Least time between two events about troubles.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// Pause after the first action that failed; it doubles.
const RETRY_FIRST: Duration = Duration::from_secs(10);
/// Longest pause.
const RETRY_MAX: Duration = Duration::from_secs(300);
/// An intent that is older than this is not taken up again: the world has changed.
const INTENT_AGE_MAX: Duration = Duration::from_secs(600);
/// Least time between two times that what decisions remember is written, which costs flash.
const STATE_EVERY: Duration = Duration::from_secs(60);
/// Longest message that is noted with an intent.
const MESSAGE_BYTES_MAX: usize = 2048;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Act {
    /// Whose.
    pub(super) seat: usize,
    /// Replicas.
    pub(super) replicas: u32,
}

/// Something that keeps a policy from its work.
#[derive(Debug, Clone)]
struct Trouble {
    /// Reason of its event.
    word: &'static str,
    message: String,
    since: Mono,
    /// How long it is borne.
    patience: Duration,
}

/// What has to be written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Dirty {
    pub(super) note: bool,
    pub(super) state: bool,
}

/// One policy.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) prepared: Arc<Prepared>,
    pub(super) target: String,
    pub(super) state: State,
    pub(super) note: Note,
    pub(super) forecast: Forecast,
    /// Which other policy has the same target.
    pub(super) rival: Option<String>,
    /// It is being looked at, or scaled.
    pub(super) is_busy: bool,
    /// The intent is of the run before.
    is_resumed: bool,
    failures: u32,
    retry_at: Option<Mono>,
    scale_error: Option<String>,
    trouble: Option<Trouble>,
    well_since: Option<Mono>,
    told_at: Option<Mono>,
    /// As it was seen last.
    pub(super) current: Option<(u32, u32)>,
    pub(super) request: Resources,
    pub(super) decision: Option<Decision>,
    pub(super) grant: Option<Grant>,
    pub(super) floors: Vec<Floor>,
    decided_at: Option<UnixMillis>,
    error: Option<String>,
    saved: (Option<Mono>, Option<u32>),
    pub(super) dirty: Dirty,
    pub(super) events: Vec<Event>,
}

impl Seat {
    pub(super) fn new(prepared: Arc<Prepared>, state: State, note: Note, forecast: Forecast) -> Self {
        Self {
            target: prepared.policy.target.to_string(),
            is_resumed: note.intent.is_some(),
            prepared,
            state,
            note,
            forecast,
            rival: None,
            is_busy: false,
            failures: 0,
            retry_at: None,
            scale_error: None,
            trouble: None,
            well_since: None,
            told_at: None,
            current: None,
            request: Resources::default(),
            decision: None,
            grant: None,
            floors: Vec::new(),
            decided_at: None,
            error: None,
            saved: (None, None),
            dirty: Dirty::default(),
            events: Vec::new(),
        }
    }

    pub(super) fn policy(&self) -> &ScalingPolicy {
        &self.prepared.policy
    }

    /// Takes how the target is. Gives what has to be done on account of the run before, if anything.
    pub(super) fn seen(&mut self, observed: &Observed, at: usize, now: Now) -> Option<Act> {
        // A policy that has another target now cannot see what became of the one that it had.
        if let Some(lost) = self.note.intent.take_if(|intent| intent.target != self.target) {
            self.events.push(lost.cut_off(&self.prepared.policy.name, now.wall));
            self.dirty.note = true;
        }
        self.current = Some((observed.spec_replicas, observed.status_replicas));
        self.request = request(observed);
        self.error = None;
        if let Some(attempted) = self.note.intent.take_if(|intent| intent.has_failed) {
            self.dirty.note = true;
            if observed.spec_replicas == attempted.to {
                self.succeeded(&attempted, now);
            } else if observed.spec_replicas != attempted.from {
                self.state.scaled(attempted.from, observed.spec_replicas, &self.prepared.policy, now);
                self.dirty.state = true;
            }
        }
        if !std::mem::take(&mut self.is_resumed) {
            return None;
        }
        self.resume(observed.spec_replicas, at, now)
    }

    fn resume(&mut self, current: u32, at: usize, now: Now) -> Option<Act> {
        let intent = self.note.intent.clone()?;
        let policy = self.policy();
        let is_meant = (policy.min_replicas..=policy.max_replicas).contains(&intent.to)
            && !policy.is_paused
            && self.rival.is_none()
            && now.wall.since(intent.at) <= INTENT_AGE_MAX;
        // Also where the number is right already: what ended, or was made and never begun, may have been left behind.
        if is_meant {
            tracing::info!(policy = policy.name, to = intent.to, "an action that a stop cut off is taken up again");
            self.is_busy = true;
            return Some(Act { seat: at, replicas: intent.to });
        }
        if current == intent.to {
            self.succeeded(&intent, now);
        } else if current == intent.from {
            (self.note.intent, self.dirty.note) = (None, true);
        } else {
            let message = format!("cut off on the way to {}, and not taken up again. {}", intent.to, intent.message);
            self.succeeded(&Intent { to: current, message, ..intent }, now);
        }
        None
    }

    /// The target could not be looked at.
    pub(super) fn unseen(&mut self, error: &ActuatorError, patience: Duration, now: Now) {
        let message = format!("{}: {}", error.reason, error.message);
        self.error = Some(message.clone());
        self.decided_at = Some(now.wall);
        self.set(ConditionKind::AbleToScale, Status::False, "FailedGetScale", &message);
        self.trouble("FailedGetScale", message, patience, now);
    }

    /// Two policies stand against each other: neither does anything.
    pub(super) fn rivalled(&mut self, now: Now) {
        let Some(rival) = self.rival.clone() else { return };
        let message = format!("{} has the same target, {}; take one of the two away", rival, self.target);
        self.error = Some(message.clone());
        self.decided_at = Some(now.wall);
        self.set(ConditionKind::ScalingActive, Status::False, "AmbiguousSelector", &message);
        self.trouble("AmbiguousSelector", message, Duration::ZERO, now);
    }

    fn set(&mut self, kind: ConditionKind, status: Status, reason: &'static str, message: &str) {
        let decision = self.decision.get_or_insert_with(|| blank(self.current.map_or(0, |(spec, _)| spec)));
        *decision.condition_mut(kind) = Condition::new(kind, status, reason, message);
    }

    /// What it wants of the node.
    pub(super) fn want(&self) -> Option<Want> {
        let (current, _) = self.current?;
        let is_idle = self.error.is_some() || self.policy().is_paused;
        let desired = self.decision.as_ref().filter(|_| !is_idle).map_or(current, |decision| decision.desired);
        Some(want(self.policy(), current, desired, self.request))
    }

    /// Takes what was decided. Gives what it needs before windows, floors and bounds, in thousandths of a replica, where
    /// all of it could be read.
    pub(super) fn decided(&mut self, decision: Decision, floors: Vec<Floor>, now: Now) -> Option<u64> {
        let is_other = decision.recommended != self.saved.1;
        let must_stay_known = self.policy().min_replicas == 0 && decision.current > 0;
        let is_due = self.saved.0.is_none_or(|at| {
            let every = if is_other { STATE_EVERY } else { (self.policy().cooldown / 4).max(STATE_EVERY) };
            now.mono.since(at) >= every
        });
        if (is_other || must_stay_known) && is_due {
            self.dirty.state = true;
        }
        let is_read = decision.proposals.iter().all(|proposal| proposal.replicas.is_ok());
        let demand = decision.proposals.iter().filter_map(|proposal| proposal.demand_milli).max().filter(|_| is_read);
        (self.decision, self.floors, self.decided_at) = (Some(decision), floors, Some(now.wall));
        demand
    }

    /// Takes what the node has room for. Gives what has to be done.
    pub(super) fn granted(&mut self, grant: Grant, at: usize, patience: Duration, now: Now) -> Option<Act> {
        let act = self.plan(&grant, at, now);
        if let Some(text) = &self.scale_error {
            // Conditions are decided anew each round; what failed stands until it is done.
            let text = text.clone();
            self.set(ConditionKind::AbleToScale, Status::False, "FailedUpdateScale", &text);
        }
        let decision = self.decision.as_ref()?;
        let active = &decision.conditions[ConditionKind::ScalingActive as usize];
        let is_failing = active.status == Status::False && !["ScalingDisabled", "Paused"].contains(&active.reason);
        let (failing, pending) = (format!("{}: {}", active.reason, active.message), grant.pending);
        if let Some(text) = self.scale_error.clone() {
            self.trouble("FailedRescale", text, Duration::ZERO, now);
        } else if is_failing {
            self.trouble("FailedComputeMetricsReplicas", failing, patience, now);
        } else if pending > 0 && grant.pending_for >= PENDING_GRACE {
            let message = format!("{pending} of {} replicas find no room: {}", decision.desired, grant.why);
            self.trouble("Pending", message, Duration::ZERO, now);
        } else {
            self.well(now);
        }
        self.grant = Some(grant);
        act
    }

    fn plan(&mut self, grant: &Grant, at: usize, now: Now) -> Option<Act> {
        let (from, _) = self.current?;
        let to = grant.replicas;
        if self.policy().is_paused || self.rival.is_some() || self.is_busy {
            return None;
        }
        if from == to {
            (self.failures, self.retry_at, self.scale_error) = (0, None, None);
            return None;
        }
        if self.retry_at.is_some_and(|at| now.mono < at) {
            return None;
        }
        let decision = self.decision.as_ref()?;
        let is_preempted = to < from && grant.given_up > 0;
        let mut message = decision.explain();
        if !grant.why.is_empty() {
            message = format!("{message}\nguard: {}", grant.why);
        }
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        let reason = if is_preempted { "Preempted" } else { "SuccessfulRescale" }.to_owned();
        tracing::info!(policy = self.policy().name, target = self.target, from, to, reason = decision.reason, "scales");
        let target = self.target.clone();
        self.note.intent = Some(Intent { target, has_failed: false, from, to, at: now.wall, reason, message });
        (self.dirty.note, self.is_busy) = (true, true);
        Some(Act { seat: at, replicas: to })
    }

    /// What became of the action that the note tells of.
    pub(super) fn done(&mut self, outcome: Result<(), ActuatorError>, now: Now) {
        self.is_busy = false;
        let Some(intent) = self.note.intent.clone() else { return };
        let error = match outcome {
            Ok(()) => return self.succeeded(&intent, now),
            Err(error) => error,
        };
        let message = format!("{} -> {}: {}: {}", intent.from, intent.to, error.reason, error.message);
        tracing::warn!(policy = self.policy().name, target = self.target, error = message, "could not be scaled");
        let pause = RETRY_FIRST.saturating_mul(1 << self.failures.min(5)).min(RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now.mono + pause);
        self.set(ConditionKind::AbleToScale, Status::False, "FailedUpdateScale", &message);
        self.scale_error = Some(message.clone());
        self.trouble("FailedRescale", message, Duration::ZERO, now);
        (self.note.intent, self.dirty.note) = (Some(Intent { has_failed: true, ..intent }), true);
    }

    fn succeeded(&mut self, intent: &Intent, now: Now) {
        let Intent { from, to, .. } = *intent;
        self.state.scaled(from, to, &self.prepared.policy, now);
        (self.failures, self.retry_at, self.scale_error) = (0, None, None);
        (self.note.intent, self.note.scaled_at) = (None, Some(now.wall));
        // Of a success nothing more has to be told.
        if matches!(self.note.told.as_deref(), Some("FailedRescale" | "Pending")) {
            self.note.told = None;
        }
        self.dirty = Dirty { note: true, state: true };
        let status = self.current.map_or(to, |(_, status)| status);
        self.current = Some((to, status));
        self.set(ConditionKind::AbleToScale, Status::True, "SucceededRescale", &format!("scaled to {to} replicas"));
        self.event((from, to), &intent.reason, intent.message.clone(), now);
    }

    fn trouble(&mut self, word: &'static str, message: String, patience: Duration, now: Now) {
        let same = self.trouble.as_ref().filter(|trouble| trouble.word == word);
        let since = same.map_or(now.mono, |trouble| trouble.since);
        self.well_since = None;
        let is_told = self.note.told.as_deref() == Some(word);
        let is_borne = now.mono.since(since) < patience;
        let is_soon = self.told_at.is_some_and(|at| now.mono.since(at) < TOLD_EVERY);
        if !is_told && !is_borne && !is_soon {
            (self.note.told, self.told_at, self.dirty.note) = (Some(word.to_owned()), Some(now.mono), true);
            tracing::warn!(
                policy = self.policy().name,
                target = self.target,
                reason = word,
                error = message,
                "not scaled"
            );
            let from = self.current.map_or(0, |(spec, _)| spec);
            let to = self.note.intent.as_ref().map(|intent| intent.to);
            let wanted = self.decision.as_ref().filter(|_| word == "Pending").map(|decision| decision.desired);
            self.event(
                (from, to.filter(|_| word == "FailedRescale").or(wanted).unwrap_or(from)),
                word,
                message.clone(),
                now,
            );
        }
        self.trouble = Some(Trouble { word, message, since, patience });
    }

    fn well(&mut self, now: Now) {
        self.trouble = None;
        let Some(told) = self.note.told.clone() else { return };
        let since = *self.well_since.get_or_insert(now.mono);
        if now.mono.since(since) < QUIET {
            return;
        }
        (self.note.told, self.well_since, self.dirty.note) = (None, None, true);
        let replicas = self.current.map_or(0, |(spec, _)| spec);
        self.event((replicas, replicas), "Recovered", format!("{told} is over"), now);
    }

    fn event(&mut self, (from, to): (u32, u32), reason: &str, mut message: String, now: Now) {
        message.truncate(message.floor_char_boundary(EVENT_TEXT_BYTES_MAX));
        let event = ScalingEvent {
            policy: self.policy().name.clone(),
            target: self.target.clone(),
            from,
            to,
            reason: reason.to_owned(),
            message,
        };
        self.events.push(Event { at: now.wall, kind: EventKind::Scaling(event) });
    }

    /// What somebody should look at.
    pub(super) fn problem(&self, now: Now) -> Option<String> {
        let trouble = self.trouble.as_ref().filter(|trouble| now.mono.since(trouble.since) >= trouble.patience)?;
        Some(format!("{}: {}", trouble.word, trouble.message))
    }

    /// It was written.
    pub(super) fn saved(&mut self, now: Now) {
        self.saved = (Some(now.mono), self.decision.as_ref().and_then(|decision| decision.recommended));
    }

    /// As it is shown.
    pub(super) fn view(&self) -> View {
        View {
            prepared: self.prepared.clone(),
            target: self.target.clone(),
            current: self.current,
            request: self.request,
            decision: self.decision.clone(),
            grant: self.grant.clone(),
            floors: self.floors.clone(),
            decided_at: self.decided_at,
            scaled_at: self.note.scaled_at,
            error: self.error.clone(),
        }
    }
}

/// A decision before there is one.
pub(super) fn blank(current: u32) -> Decision {
    use ConditionKind::{AbleToScale, ScalingActive, ScalingLimited};
    let unknown = |kind| Condition::new(kind, Status::Unknown, "", "");
    Decision {
        current,
        desired: current,
        proposals: Vec::new(),
        recommended: None,
        stabilized: None,
        limited: None,
        conditions: [AbleToScale, ScalingActive, ScalingLimited].map(unknown),
        reason: String::new(),
    }
}

/// What a policy wants of the node.
pub(super) fn want(policy: &ScalingPolicy, current: u32, desired: u32, request: Resources) -> Want {
    let ScalingPolicy { name, priority, min_replicas, .. } = policy;
    Want { policy: name.clone(), priority: *priority, current, desired, min: *min_replicas, request }
}

/// What one replica asks for, as far as the target tells.
pub(super) fn request(observed: &Observed) -> Resources {
    // What somebody says that a replica asks for may be any number.
    let sum = |asks: &mut dyn Iterator<Item = u64>| asks.fold(0, u64::saturating_add);
    let of = |pod: &skerry_scaling::target::Pod| Resources {
        cpu_milli: sum(&mut pod.containers.iter().filter_map(|container| container.cpu_request_milli)),
        memory_bytes: sum(&mut pod.containers.iter().filter_map(|container| container.memory_request)),
    };
    let all = || observed.pods.iter().map(of);
    Resources {
        cpu_milli: all().map(|one| one.cpu_milli).max().unwrap_or(0),
        memory_bytes: all().map(|one| one.memory_bytes).max().unwrap_or(0),
    }
}
