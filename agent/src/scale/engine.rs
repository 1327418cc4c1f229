//! All policies of a node: what is looked at when, what is decided, what is written. No I/O.

use super::note::Note;
use super::readings::{Item, Prepared};
use super::seat::{Act, Seat, blank, request, want};
use super::view::View;
use super::{POLICIES_MAX, PREFIX};
use crate::actuate::{ActuatorError, Usage};
use skerry_model::{Mono, Now};
use skerry_scaling::guard::{Grant, Guard, NodeState, Want};
use skerry_scaling::hpa::{Controller, Decision, Readings, State, decide};
use skerry_scaling::policy::ScalingPolicy;
use skerry_scaling::target::{Observed, TargetKind, TargetRef};
use skerry_scaling::trigger::{Floor, Forecast, Zones};
use skerry_wire::Event;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often what was learnt of days is written.
const FORECAST_EVERY: Duration = Duration::from_secs(3600);
/// Policies that are named where one is looked for that is not there.
const NAMED_MAX: usize = 10;
/// Where the guard's memory is kept.
const GUARD_KEY: &str = "scaling/guard";

/// A target as it was found, or why it was not.
pub(super) type Looked = Result<(Observed, Result<Option<Usage>, String>), ActuatorError>;

/// A key of the state with its new value.
type Change = (String, Option<Vec<u8>>);

/// What is to be written in one transaction.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) changes: Vec<Change>,
    pub(super) events: Vec<Event>,
}

/// What a rehearsal needs to know of the others.
#[derive(Clone)]
pub(super) struct Rehearsal {
    pub(super) prepared: Arc<Prepared>,
    controller: Controller,
    state: State,
    forecast: Forecast,
    rival: Option<String>,
    guard: Guard,
    wants: Vec<Want>,
    node: NodeState,
    zones: Arc<Zones>,
    /// A policy of this node has the same target.
    is_known: bool,
}

/// The policies.
pub(super) struct Engine {
    controller: Controller,
    seats: Vec<Seat>,
    guard: Guard,
    /// Somebody gave something up since it was written.
    is_guard_dirty: bool,
    node: NodeState,
    zones: Arc<Zones>,
    forecasts_kept: Mono,
    /// Keys of policies that are no more.
    forgotten: Vec<Change>,
    /// What is to be told of those.
    farewells: Vec<Event>,
}

fn key(kind: char, name: &str) -> String {
    format!("{PREFIX}{kind}/{name}")
}

impl Engine {
    /// Of these policies, at most [`POLICIES_MAX`], with what was stored.
    pub(super) fn new(
        policies: Vec<ScalingPolicy>,
        controller: Controller,
        mut guard: Guard,
        stored: Vec<(String, Vec<u8>)>,
        zones: Zones,
        now: Now,
    ) -> Self {
        let mut stored: BTreeMap<String, Vec<u8>> = stored.into_iter().collect();
        if let Some(bytes) = stored.remove(GUARD_KEY) {
            guard.restore(&bytes, now);
        }
        let mut targets: BTreeMap<TargetRef, Vec<String>> = BTreeMap::new();
        for policy in &policies {
            targets.entry(policy.target.clone()).or_default().push(policy.name.clone());
        }
        let mut seats = Vec::new();
        for policy in policies.into_iter().take(POLICIES_MAX) {
            let name = policy.name.clone();
            let mut take = |kind| stored.remove(&key(kind, &name)).unwrap_or_default();
            let state = match take('s') {
                new if new.is_empty() => State::default(),
                bytes => State::from_bytes(&bytes).unwrap_or_else(|error| {
                    tracing::warn!(policy = name, %error, "what a policy remembered is left out");
                    State::default()
                }),
            };
            let (note, forecast) = (Note::from_bytes(&take('n')), Forecast::from_bytes(&take('f')));
            let rival =
                targets.get(&policy.target).and_then(|names| names.iter().find(|other| **other != name)).cloned();
            let mut seat = Seat::new(Prepared::new(policy), state, note, forecast.unwrap_or_default());
            seat.rival = rival;
            seats.push(seat);
        }
        // Of an action that was cut off nobody else will ever tell.
        let of_notes = key('n', "");
        let notes = stored.iter().filter_map(|(key, note)| Some((key.strip_prefix(&of_notes)?, note)));
        let farewells = notes.filter_map(|(name, note)| Some(Note::from_bytes(note).intent?.cut_off(name, now.wall)));
        let farewells = farewells.collect();
        let forgotten = stored.into_keys().map(|key| (key, None)).collect();
        Self {
            controller,
            seats,
            guard,
            is_guard_dirty: false,
            node: NodeState::default(),
            zones: Arc::new(zones),
            forecasts_kept: now.mono,
            forgotten,
            farewells,
        }
    }

    /// The policies whose targets are to be looked at now. They count as busy until they are decided.
    pub(super) fn due(&mut self, now: Now) -> Vec<(usize, Arc<Prepared>)> {
        let mut due = Vec::new();
        for (at, seat) in self.seats.iter_mut().enumerate() {
            if seat.rival.is_some() {
                seat.rivalled(now);
            } else if !seat.is_busy {
                seat.is_busy = true;
                due.push((at, seat.prepared.clone()));
            }
        }
        due
    }

    /// Takes what was found of targets. Gives those whose metrics are to be read, and what has to be done at once on
    /// account of the run before.
    pub(super) fn looked(&mut self, looked: Vec<(usize, Looked)>, now: Now) -> (Vec<(usize, Item)>, Vec<Act>) {
        let (mut items, mut acts) = (Vec::new(), Vec::new());
        let patience = self.controller.sync_period * 2;
        for (at, looked) in looked {
            let seat = &mut self.seats[at];
            seat.is_busy = false;
            match looked {
                Err(error) => seat.unseen(&error, patience, now),
                Ok((observed, usage)) => match seat.seen(&observed, at, now) {
                    Some(act) => acts.push(act),
                    None => items.push((at, Item { prepared: seat.prepared.clone(), observed, usage })),
                },
            }
        }
        (items, acts)
    }

    /// Takes how the node is.
    pub(super) fn set_node(&mut self, node: NodeState) {
        self.node = node;
    }

    /// Decides about those whose metrics were read. Gives what has to be done, once it is written.
    pub(super) fn decide(&mut self, read: Vec<(usize, Item, Readings)>, now: Now) -> Vec<Act> {
        let (controller, zones) = (self.controller, self.zones.clone());
        let mut fresh = Vec::new();
        for (at, item, readings) in read {
            let seat = &mut self.seats[at];
            let policy = &item.prepared.policy;
            let floors = floors(policy, &seat.forecast, &zones, now);
            let controller = forecast_window(controller, policy, &seat.forecast, now);
            let decision = decide(policy, &controller, &mut seat.state, &item.observed, &readings, &floors, now);
            let demand = seat.decided(decision, floors, now);
            if let (Some(demand), Some(season)) = (demand, policy.triggers.forecast()) {
                seat.forecast.note(season, now, demand, &zones);
            }
            fresh.push(at);
        }
        if fresh.is_empty() {
            return Vec::new();
        }
        let mut grants: BTreeMap<String, Grant> = BTreeMap::new();
        for grant in self.guard.room(now, &self.node, &self.wants()) {
            self.is_guard_dirty |= grant.given_up > 0;
            grants.insert(grant.policy.clone(), grant);
        }
        let patience = controller.sync_period * 3;
        let mut acts = Vec::new();
        for at in fresh {
            let seat = &mut self.seats[at];
            let desired = seat.decision.as_ref().map_or(0, |decision| decision.desired);
            let name = &seat.policy().name;
            let free = || Grant { policy: name.clone(), replicas: desired, ..Grant::default() };
            let grant = grants.remove(name).unwrap_or_else(free);
            acts.extend(seat.granted(grant, at, patience, now));
        }
        acts
    }

    /// What policies want of this node; those of a cluster are placed by its own scheduler.
    fn wants(&self) -> Vec<Want> {
        let here = self.seats.iter().filter(|seat| !seat.policy().target.kind.is_kubernetes() && seat.rival.is_none());
        here.filter_map(Seat::want).collect()
    }

    /// What became of an action.
    pub(super) fn done(&mut self, at: usize, outcome: Result<(), ActuatorError>, now: Now) {
        self.seats[at].done(outcome, now);
    }

    /// The target of a policy.
    pub(super) fn target(&self, at: usize) -> TargetRef {
        self.seats[at].policy().target.clone()
    }

    /// What has to be written. `is_end`: nothing follows.
    pub(super) fn take(&mut self, is_end: bool, now: Now) -> Batch {
        let mut batch =
            Batch { changes: std::mem::take(&mut self.forgotten), events: std::mem::take(&mut self.farewells) };
        let forecasts = is_end || now.mono.since(self.forecasts_kept) >= FORECAST_EVERY;
        if forecasts {
            self.forecasts_kept = now.mono;
        }
        for seat in &mut self.seats {
            let prepared = seat.prepared.clone();
            let name = &prepared.policy.name;
            if seat.dirty.note {
                batch.changes.push((key('n', name), seat.note.to_bytes()));
            }
            if seat.dirty.state || (is_end && seat.decision.is_some()) {
                batch.changes.push((key('s', name), Some(seat.state.to_bytes())));
                seat.saved(now);
            }
            if forecasts && prepared.policy.triggers.forecast().is_some() {
                batch.changes.push((key('f', name), Some(seat.forecast.to_bytes())));
            }
            seat.dirty = super::seat::Dirty::default();
            batch.events.append(&mut seat.events);
        }
        if std::mem::take(&mut self.is_guard_dirty) || (is_end && !self.seats.is_empty()) {
            let guard = self.guard.to_bytes(now);
            batch.changes.push((GUARD_KEY.into(), Some(guard).filter(|bytes| !bytes.is_empty())));
        }
        batch
    }

    /// Policies as they are shown.
    pub(super) fn views(&self) -> Vec<Arc<View>> {
        self.seats.iter().map(|seat| Arc::new(seat.view())).collect()
    }

    /// Which policies there are, for people.
    pub(super) fn names(&self) -> String {
        let names: Vec<&str> = self.seats.iter().take(NAMED_MAX).map(|seat| seat.policy().name.as_str()).collect();
        match self.seats.len() {
            0 => "it has none".to_owned(),
            all if all > NAMED_MAX => format!("it has {} and {} more", names.join(", "), all - NAMED_MAX),
            _ => format!("it has {}", names.join(", ")),
        }
    }

    /// How the node is, and why nothing may grow.
    pub(super) fn node(&self) -> (NodeState, Option<String>) {
        (self.node, self.guard.pressure().map(str::to_owned))
    }

    /// Names of policies with what somebody should look at.
    pub(super) fn problems(&self, now: Now) -> impl Iterator<Item = (&str, Option<String>)> {
        self.seats.iter().map(move |seat| (seat.policy().name.as_str(), seat.problem(now)))
    }

    /// What a rehearsal of a policy of this name needs.
    pub(super) fn rehearsal(&self, name: &str) -> Option<Rehearsal> {
        let seat = self.seats.iter().find(|seat| seat.policy().name == name)?;
        Some(self.rehearsal_of(seat.prepared.clone(), Some(seat)))
    }

    /// What a rehearsal of a policy needs that need not be one of these. One of the same name lends its memory.
    pub(super) fn rehearsal_of_new(&self, policy: ScalingPolicy) -> Rehearsal {
        let same = |seat: &&Seat| seat.policy().name == policy.name && seat.policy().target == policy.target;
        let seat = self.seats.iter().find(same);
        self.rehearsal_of(Prepared::new(policy), seat)
    }

    fn rehearsal_of(&self, prepared: Arc<Prepared>, seat: Option<&Seat>) -> Rehearsal {
        let name = &prepared.policy.name;
        let rival = |seat: &&Seat| seat.policy().target == prepared.policy.target && seat.policy().name != *name;
        Rehearsal {
            controller: self.controller,
            state: seat.map(|seat| seat.state.clone()).unwrap_or_default(),
            forecast: seat.map(|seat| seat.forecast.clone()).unwrap_or_default(),
            rival: self.seats.iter().find(rival).map(|seat| seat.policy().name.clone()),
            guard: self.guard.clone(),
            wants: self.wants().into_iter().filter(|want| want.policy != *name).collect(),
            node: self.node,
            zones: self.zones.clone(),
            is_known: self.seats.iter().any(|seat| seat.policy().target == prepared.policy.target),
            prepared,
        }
    }
}

fn floors(policy: &ScalingPolicy, forecast: &Forecast, zones: &Zones, now: Now) -> Vec<Floor> {
    let mut floors = policy.triggers.floors(now, zones);
    floors.extend(policy.triggers.forecast().and_then(|season| forecast.floor(season, now, zones)));
    floors
}

/// With the window that counts where forecasts are trusted: they say what will be needed, so that less of what was needed
/// has to be held.
fn forecast_window(controller: Controller, policy: &ScalingPolicy, forecast: &Forecast, now: Now) -> Controller {
    let usual = controller.downscale_stabilization;
    Controller { downscale_stabilization: forecast.stabilization(policy.triggers.forecast(), now, usual), ..controller }
}

impl Rehearsal {
    /// Whether the target may be looked at. A text to try out is signed by nobody, and to ask a program is to run it.
    pub(super) fn may_look(&self) -> Result<(), ActuatorError> {
        let target = &self.prepared.policy.target;
        if self.is_known || target.kind != TargetKind::Exec {
            return Ok(());
        }
        let message = format!("{target} is asked by no policy of this node: a text to try out runs no program");
        Err(ActuatorError { reason: "NotAllowed", message })
    }

    /// What would be decided of a target that looks so, with these readings.
    pub(super) fn decide(mut self, looked: &Looked, readings: &Readings, now: Now) -> View {
        let policy = &self.prepared.policy;
        let mut view = View {
            prepared: self.prepared.clone(),
            target: policy.target.to_string(),
            current: None,
            request: skerry_scaling::guard::Resources::default(),
            decision: None,
            grant: None,
            floors: Vec::new(),
            decided_at: Some(now.wall),
            scaled_at: None,
            error: self.rival.take().map(|rival| format!("{rival} has the same target: neither would do anything")),
        };
        let observed = match looked {
            Ok((observed, _)) => observed,
            Err(error) => {
                view.error = Some(format!("{}: {}", error.reason, error.message));
                view.decision = Some(blank(0));
                return view;
            }
        };
        view.current = Some((observed.spec_replicas, observed.status_replicas));
        view.request = request(observed);
        view.floors = floors(policy, &self.forecast, &self.zones, now);
        let controller = forecast_window(self.controller, policy, &self.forecast, now);
        let decision: Decision = decide(policy, &controller, &mut self.state, observed, readings, &view.floors, now);
        if !policy.target.kind.is_kubernetes() {
            self.wants.push(want(policy, observed.spec_replicas, decision.desired, view.request));
            let grants = self.guard.room(now, &self.node, &self.wants);
            view.grant = grants.into_iter().find(|grant| grant.policy == policy.name);
        }
        view.decision = Some(decision);
        view
    }
}
