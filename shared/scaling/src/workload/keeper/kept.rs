//! One workload: its replicas, their containers, and what replaces what.

use super::roll::{Counts, plan};
use super::slot::{SETTLED, Slot, short};
use super::{Act, Failure, Happened, Outcome, Seen, SeenState, Settings, SlotId};
use crate::workload::{Container, ProbeKind, RestartPolicy, Strategy, Template, Workload};
use skerry_model::{Mono, Now, UnixMillis};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How long containers may take to end whose template is not known any more.
const GRACE: Duration = Duration::from_secs(30);
/// Longest text of what happened.
const MESSAGE_BYTES_MAX: usize = 1024;

#[derive(Debug)]
pub(super) struct Kept {
    pub(super) name: String,
    /// `None`: it is not declared any more.
    pub(super) declared: Option<Arc<Workload>>,
    /// What ran well last.
    pub(super) good: Option<Arc<Workload>>,
    /// Hash of what is declared, where that was undone.
    pub(super) failed: Option<String>,
    /// Replicas that somebody asked for, and those that were declared then.
    pub(super) scaled: Option<(u32, u32)>,
    pub(super) progress: Option<Progress>,
    pub(super) replicas: BTreeMap<u32, Replica>,
    /// Containers that something is done to.
    busy: BTreeSet<String>,
    /// Containers of ours that belong nowhere.
    surplus: Vec<(SlotId, String)>,
    /// Those of them that could not be removed, by id: when that is tried again.
    stuck: BTreeMap<String, Slot>,
    pub(super) is_dirty: bool,
    pub(super) is_good_dirty: bool,
    /// What is known was written before this start of the machine.
    pub(super) is_of_other_boot: bool,
    /// Something of it is on the disk.
    pub(super) is_stored: bool,
    is_over: bool,
}

/// A replacement that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Progress {
    /// What replaces.
    pub(super) hash: String,
    /// When it came further last.
    pub(super) at: (Mono, UnixMillis),
    /// New ones, those of them that are available, old ones.
    reached: (u32, u32, u32),
    /// It was told that it takes too long.
    pub(super) is_late: bool,
}

#[derive(Debug, Default)]
pub(super) struct Replica {
    pub(super) hash: String,
    pub(super) is_leaving: bool,
    pub(super) slots: BTreeMap<String, Slot>,
}

impl Progress {
    pub(super) const fn new(hash: String, at: (Mono, UnixMillis)) -> Self {
        Self { hash, at, reached: (0, 0, u32::MAX), is_late: false }
    }
}

impl Kept {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            declared: None,
            good: None,
            failed: None,
            scaled: None,
            progress: None,
            replicas: BTreeMap::new(),
            busy: BTreeSet::new(),
            surplus: Vec::new(),
            stuck: BTreeMap::new(),
            is_dirty: false,
            is_good_dirty: false,
            is_of_other_boot: false,
            is_stored: false,
            is_over: false,
        }
    }

    pub(super) fn declare(&mut self, workload: Workload, now: Now) {
        let workload = Arc::new(workload);
        let hash = &workload.template.hash;
        if self.failed.as_ref().is_some_and(|failed| failed != hash) {
            self.failed = None;
            self.is_dirty = true;
        }
        if self.scaled.is_some_and(|(_, declared)| declared != workload.replicas) {
            self.scaled = None;
            self.is_dirty = true;
        }
        if self.good.as_ref().is_some_and(|good| good.template.hash == *hash) {
            self.good = Some(workload.clone());
        }
        if let Some(progress) = self.progress.as_mut().filter(|progress| progress.hash == *hash) {
            // While the agent was away nothing could come further, and by a clock that was set nothing is known of how long
            // that was: half of the time is left to it, so that an agent that is often away comes to an end too.
            let half = u64::try_from((workload.progress_deadline / 2).as_millis()).unwrap_or(u64::MAX);
            progress.at.0 = progress.at.0.max(Mono(now.mono.0.saturating_sub(half)));
        }
        self.declared = Some(workload);
        // Written before anything is made: what is not remembered would not be removed when it is declared no more.
        self.is_dirty |= !self.is_stored;
    }

    pub(super) fn scale(&mut self, replicas: u32) {
        let Some(declared) = self.declared.as_ref().map(|declared| declared.replicas) else { return };
        let scaled = (replicas != declared).then_some((replicas, declared));
        self.is_dirty |= self.scaled != scaled;
        self.scaled = scaled;
    }

    pub(super) fn renew(&mut self, id: &str) -> bool {
        let staying = self.replicas.values_mut().filter(|replica| !replica.is_leaving);
        let found = staying.flat_map(|replica| replica.slots.values_mut()).find(|slot| slot.id == id);
        found.is_some_and(|slot| {
            slot.is_renewed = true;
            true
        })
    }

    /// Replicas that are wanted.
    pub(super) fn wanted(&self) -> u32 {
        let declared = self.declared.as_ref().map_or(0, |declared| declared.replicas);
        self.scaled.map_or(declared, |(replicas, _)| replicas)
    }

    /// What new replicas are made from: what is declared, unless that was undone.
    pub(super) fn target(&self) -> Option<&Arc<Workload>> {
        let declared = self.declared.as_ref()?;
        match &self.good {
            Some(good) if self.failed.as_ref() == Some(&declared.template.hash) => Some(good),
            _ => Some(declared),
        }
    }

    /// The template with this hash, where it is known.
    pub(super) fn template(&self, hash: &str) -> Option<&Template> {
        let known = self.declared.iter().chain(&self.good);
        known.map(|workload| &workload.template).find(|template| template.hash == hash)
    }

    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    pub(super) fn see(
        &mut self,
        seen: Vec<Seen>,
        settings: &Settings,
        is_forgiving: bool,
        events: &mut Vec<Happened>,
        now: Now,
    ) {
        let is_forgiven = is_forgiving || std::mem::take(&mut self.is_of_other_boot);
        let found = self.sort(seen);
        let known: Vec<Arc<Workload>> = self.declared.iter().chain(&self.good).cloned().collect();
        for (number, replica) in &mut self.replicas {
            let template = known.iter().map(|one| &one.template).find(|template| template.hash == replica.hash);
            let declared = template.into_iter().flat_map(|template| &template.containers);
            let names: BTreeSet<String> = declared.map(|container| container.name.clone()).collect();
            let of_seen = found.keys().filter(|(other, _)| other == number).map(|(_, container)| container.clone());
            let policy = template.map_or(RestartPolicy::Always, |template| template.restart);
            // Those that were remembered too: what is not there any more is not to be acted upon.
            let of_kept: Vec<String> = replica.slots.keys().cloned().collect();
            for name in names.iter().cloned().chain(of_seen).chain(of_kept).collect::<BTreeSet<_>>() {
                let seen = found.get(&(*number, name.clone()));
                if template.is_some() && !names.contains(&name) {
                    self.surplus.extend(seen.map(|one| (one.slot.clone(), one.id.clone())));
                    replica.slots.remove(&name);
                    continue;
                }
                let container = template.and_then(|template| template.containers.iter().find(|one| one.name == name));
                let slot = replica.slots.entry(name.clone()).or_default();
                let told = slot.see(seen, container, policy, settings.backoff_max, is_forgiven, now);
                self.is_dirty |= told.is_some();
                if let Some(told) = told.filter(|_| !replica.is_leaving) {
                    events.push(happened(&self.name, Some((*number, &name)), told.reason, told.message));
                }
            }
        }
    }

    /// What is seen of each place. What the runtime says of a replica counts more than what was remembered of it; what
    /// stands beside that belongs nowhere.
    fn sort(&mut self, mut seen: Vec<Seen>) -> BTreeMap<(u32, String), Seen> {
        self.surplus.clear();
        self.stuck.retain(|id, _| seen.iter().any(|one| one.id == *id));
        for one in &seen {
            let replica = self.replicas.entry(one.slot.replica).or_default();
            let is_same = |other: &Seen| other.slot.replica == one.slot.replica && other.spec == replica.hash;
            let is_being_made = replica.slots.values().any(|slot| slot.is_made);
            if replica.hash.is_empty() || (!is_being_made && !seen.iter().any(is_same)) {
                *replica = Replica { hash: one.spec.clone(), ..Replica::default() };
            }
        }
        let is_known = |one: &Seen| {
            let slot = self.replicas.get(&one.slot.replica).and_then(|replica| replica.slots.get(&one.slot.container));
            slot.is_some_and(|slot| slot.id == one.id)
        };
        seen.sort_by_cached_key(|one| (!is_known(one), one.state != SeenState::Running, one.id.clone()));
        let mut found = BTreeMap::new();
        for one in seen {
            let is_of_replica = self.replicas.get(&one.slot.replica).is_some_and(|replica| replica.hash == one.spec);
            let key = (one.slot.replica, one.slot.container.clone());
            if is_of_replica && !found.contains_key(&key) {
                found.insert(key, one);
            } else if one.state != SeenState::Removing {
                self.surplus.push((one.slot, one.id));
            }
        }
        found
    }

    pub(super) fn step(&mut self, settings: &Settings, events: &mut Vec<Happened>, acts: &mut Vec<Act>, now: Now) {
        if self.declared.is_none() && !settings.is_complete {
            return;
        }
        self.roll(events, now);
        for (slot, id) in std::mem::take(&mut self.surplus) {
            let may_begin = self.stuck.get(&id).is_none_or(|stuck| stuck.may_begin(now));
            if may_begin && self.busy.insert(id.clone()) {
                acts.push(Act::Remove { slot, id, grace: GRACE });
            }
        }
        let known: Vec<Arc<Workload>> = self.declared.iter().chain(&self.good).cloned().collect();
        let busy = &mut self.busy;
        let name = &self.name;
        self.replicas.retain(|number, replica| {
            let workload = known.iter().find(|one| one.template.hash == replica.hash);
            let id =
                |container: &str| SlotId { workload: name.clone(), replica: *number, container: container.to_owned() };
            if replica.is_leaving {
                let grace = workload.map_or(GRACE, |workload| workload.template.grace);
                let mut is_there = false;
                for (container, slot) in &replica.slots {
                    is_there |= slot.is_made || !slot.id.is_empty();
                    let is_due = !slot.id.is_empty() && slot.state != Some(SeenState::Removing) && slot.may_begin(now);
                    if is_due && busy.insert(slot.id.clone()) {
                        acts.push(Act::Remove { slot: id(container), id: slot.id.clone(), grace });
                    }
                }
                return is_there;
            }
            let policy = workload.map_or(RestartPolicy::Always, |workload| workload.template.restart);
            for (container, slot) in &mut replica.slots {
                if slot.is_made || busy.contains(&slot.id) || !slot.may_begin(now) {
                    continue;
                }
                if let (true, Some(workload)) = (slot.is_renewed && !slot.id.is_empty(), workload) {
                    busy.insert(slot.id.clone());
                    let grace = workload.template.grace;
                    acts.push(Act::Remove { slot: id(container), id: slot.id.clone(), grace });
                    continue;
                }
                match slot.state {
                    None => {
                        let Some(workload) = workload else { continue };
                        let at = workload.template.containers.iter().position(|one| one.name == *container);
                        let Some(at) = at else { continue };
                        slot.is_made = true;
                        let name = workload.container_name(*number, &workload.template.containers[at]);
                        acts.push(Act::Create { slot: id(container), name, workload: workload.clone(), container: at });
                    }
                    // It may have been put into some of its networks alone.
                    Some(SeenState::Created) if workload.is_some_and(|one| one.template.networks.len() > 1) => {
                        busy.insert(slot.id.clone());
                        acts.push(Act::Remove { slot: id(container), id: slot.id.clone(), grace: Duration::ZERO });
                    }
                    Some(SeenState::Dead) => {
                        busy.insert(slot.id.clone());
                        acts.push(Act::Remove { slot: id(container), id: slot.id.clone(), grace: Duration::ZERO });
                    }
                    Some(SeenState::Created | SeenState::Exited { .. }) if !slot.is_done(policy) => {
                        busy.insert(slot.id.clone());
                        acts.push(Act::Start { slot: id(container), id: slot.id.clone() });
                    }
                    Some(SeenState::Running) => {
                        if let Some(grace) = slot.sick.take() {
                            busy.insert(slot.id.clone());
                            acts.push(Act::Stop { slot: id(container), id: slot.id.clone(), grace });
                        }
                    }
                    Some(_) => {}
                }
            }
            true
        });
        if self.declared.is_none() && self.replicas.is_empty() && self.busy.is_empty() {
            self.is_over = true;
            events.push(happened(&self.name, None, "Removed", "it is not declared any more, and is gone".into()));
        }
    }

    /// Which replicas begin and end.
    fn roll(&mut self, events: &mut Vec<Happened>, now: Now) {
        let Some(target) = self.target().cloned() else {
            let leaving: Vec<u32> = self.replicas.iter().filter(|(_, one)| !one.is_leaving).map(|(n, _)| *n).collect();
            for number in leaving {
                self.end(number, "the workload is not declared any more", events);
            }
            return;
        };
        let (hash, min_ready) = (target.template.hash.clone(), target.min_ready);
        let mut counts = Counts::default();
        for replica in self.replicas.values() {
            let is_available = self.is_available(replica, min_ready, now);
            if replica.is_leaving {
                counts.leaving += 1;
            } else if replica.hash == hash {
                counts.new += 1;
                counts.new_available += u32::from(is_available);
            } else {
                counts.old += 1;
                counts.old_available += u32::from(is_available);
            }
        }
        if self.follow(&target, counts, events, now) {
            // Undone: what is new and what is old is another matter now.
            return self.roll(events, now);
        }
        let strategy = self.declared.as_ref().map_or(Strategy::Recreate, |declared| declared.strategy);
        let plan = plan(strategy, self.wanted(), counts);
        let why_old = "it is replaced by what is declared now";
        for (count, is_new, is_sick, why) in [
            (plan.end_new, true, None, "fewer replicas are wanted"),
            (plan.end_old_sick, false, Some(true), why_old),
            (plan.end_old_well, false, Some(false), why_old),
        ] {
            let fits = |replica: &Replica| !replica.is_leaving && (replica.hash == hash) == is_new;
            let candidates = self.replicas.iter().filter(|(_, replica)| fits(replica));
            let mut candidates: Vec<(bool, u32)> =
                candidates.map(|(number, replica)| (self.is_available(replica, min_ready, now), *number)).collect();
            candidates.retain(|(is_available, _)| is_sick.is_none_or(|is_sick| is_sick != *is_available));
            // Those that do not serve first, then the highest number.
            candidates.sort_by_key(|(is_available, number)| (*is_available, std::cmp::Reverse(*number)));
            for (_, number) in candidates.into_iter().take(count as usize) {
                self.end(number, why, events);
            }
        }
        for _ in 0..plan.begin {
            let free = (1..).find(|number| !self.replicas.contains_key(number)).unwrap_or(u32::MAX);
            let slots = target.template.containers.iter().map(|one| (one.name.clone(), Slot::default())).collect();
            self.replicas.insert(free, Replica { hash: hash.clone(), is_leaving: false, slots });
        }
    }

    fn end(&mut self, number: u32, why: &str, events: &mut Vec<Happened>) {
        let Some(replica) = self.replicas.get_mut(&number) else { return };
        replica.is_leaving = true;
        for slot in replica.slots.values_mut() {
            slot.until = None;
        }
        self.is_dirty = true;
        events.push(happened(&self.name, Some((number, "")), "Killing", format!("it is ended: {why}")));
    }

    /// Follows a replacement; `true` where it was undone just now.
    fn follow(&mut self, target: &Arc<Workload>, counts: Counts, events: &mut Vec<Happened>, now: Now) -> bool {
        let hash = &target.template.hash;
        if self.good.as_ref().is_some_and(|good| good.template.hash == *hash) {
            self.is_dirty |= self.progress.take().is_some();
            return false;
        }
        let now_at = (now.mono, now.wall);
        if self.progress.as_ref().is_none_or(|progress| progress.hash != *hash) {
            self.progress = Some(Progress::new(hash.clone(), now_at));
            self.is_dirty = true;
            if let Some(good) = &self.good {
                let message = format!("{} is replaced by {}", images(good), images(target));
                events.push(happened(&self.name, None, "RollingUpdate", message));
            }
        }
        let (wanted, Counts { new, new_available, old, leaving, .. }) = (self.wanted(), counts);
        // What is gone back to later has to have run for a while, also where minReadySeconds is 0.
        let settled = target.min_ready.max(SETTLED.min(target.progress_deadline / 2));
        let is_settled = |replica: &Replica| replica.is_leaving || self.is_available(replica, settled, now);
        let is_over = new == wanted && new_available == wanted && old == 0 && leaving == 0;
        if is_over && self.replicas.values().all(is_settled) {
            (self.progress, self.good) = (None, Some(target.clone()));
            (self.is_dirty, self.is_good_dirty) = (true, true);
            let message = format!("{wanted} of {wanted} replicas run {}", images(target));
            events.push(happened(&self.name, None, "RolloutComplete", message));
            return false;
        }
        let Some(progress) = &mut self.progress else { return false };
        let (most_new, most_available, least_old) = progress.reached;
        if new > most_new || new_available > most_available || old < least_old {
            progress.reached = (most_new.max(new), most_available.max(new_available), least_old.min(old));
            if least_old != u32::MAX {
                // The first count after a start of the agent is no progress by itself.
                progress.at = now_at;
                self.is_dirty = true;
            }
        }
        let limit = target.progress_deadline;
        if progress.is_late || now.mono.since(progress.at.0) < limit {
            return false;
        }
        let why = self.troubles(hash);
        let late = format!("no progress for {} s, {new_available} of {wanted} available{why}", limit.as_secs());
        self.is_dirty = true;
        if let Some(good) = &self.good {
            let message = format!("{}: {late}; undone to {}", images(target), images(good));
            events.push(happened(&self.name, None, "RolledBack", message));
            (self.failed, self.progress) = (Some(hash.clone()), None);
            return true;
        }
        if let Some(progress) = &mut self.progress {
            progress.is_late = true;
        }
        let message = format!("{late}; there is nothing to go back to, so it goes on");
        events.push(happened(&self.name, None, "ProgressDeadlineExceeded", message));
        false
    }

    /// What keeps replicas of this template, in words.
    fn troubles(&self, hash: &str) -> String {
        let replicas = self.replicas.iter().filter(|(_, replica)| replica.hash == hash && !replica.is_leaving);
        let slots = replicas.flat_map(|(n, one)| one.slots.iter().map(move |(name, slot)| (n, name, slot)));
        let told = slots.filter_map(|(number, name, slot)| {
            let why = match (&slot.trouble, slot.ended, slot.is_ready) {
                (Some(trouble), ..) => format!("{}: {}", trouble.reason, trouble.message),
                (None, Some(ended), false) => format!("{} with code {}", ended.reason(), ended.code),
                (None, None, false) => "is not ready".to_owned(),
                (None, _, true) => return None,
            };
            Some(format!("; {}-{number} {name} {why}", self.name))
        });
        told.take(4).collect()
    }

    fn is_available(&self, replica: &Replica, min_ready: Duration, now: Now) -> bool {
        let template = self.template(&replica.hash);
        let policy = template.map_or(RestartPolicy::Always, |template| template.restart);
        let is_well = |slot: &Slot| slot.is_done(policy) || slot.is_available(min_ready, now);
        !replica.slots.is_empty() && replica.slots.values().all(is_well)
    }

    /// Probes that are due.
    pub(super) fn ask(&mut self, acts: &mut Vec<Act>, now: Now) {
        let known: Vec<Arc<Workload>> = self.declared.iter().chain(&self.good).cloned().collect();
        for (number, replica) in self.replicas.iter_mut().filter(|(_, replica)| !replica.is_leaving) {
            let Some(workload) = known.iter().find(|one| one.template.hash == replica.hash) else { continue };
            for container in &workload.template.containers {
                let Some(slot) = replica.slots.get_mut(&container.name) else { continue };
                for kind in ProbeKind::ALL {
                    let Some(probe) = container.probe(kind).filter(|_| slot.ask(kind, now)) else { continue };
                    let id =
                        SlotId { workload: self.name.clone(), replica: *number, container: container.name.clone() };
                    acts.push(Act::Probe { slot: id, id: slot.id.clone(), kind, probe: probe.clone() });
                }
            }
        }
    }

    pub(super) fn done(
        &mut self,
        act: &Act,
        outcome: Outcome,
        settings: &Settings,
        events: &mut Vec<Happened>,
        now: Now,
    ) {
        let SlotId { replica: number, container, .. } = act.slot();
        if !matches!(act, Act::Probe { .. }) {
            self.busy.remove(act.id());
        }
        let place = self.replicas.get(number).and_then(|replica| replica.slots.get(container));
        if matches!(act, Act::Remove { .. }) && place.is_none_or(|slot| slot.id != act.id()) {
            // It belongs nowhere, so that no place can wait with it.
            let Err(failure) = outcome else { return };
            let stuck = self.stuck.entry(act.id().to_owned()).or_default();
            if let Some(told) = stuck.failed(failure, settings.backoff_max, now) {
                events.push(happened(&self.name, Some((*number, container)), told.reason, told.message));
            }
            return;
        }
        let hash = self.replicas.get(number).map_or("", |replica| &replica.hash);
        let grace = self.template(hash).map_or(GRACE, |template| template.grace);
        let Some(replica) = self.replicas.get_mut(number) else { return };
        let Some(slot) = replica.slots.get_mut(container) else { return };
        let told = match act {
            Act::Probe { id, kind, probe, .. } => {
                if slot.id != *id {
                    return;
                }
                match outcome {
                    Err(failure) if failure.is_passing() => {
                        slot.not_probed(*kind, probe, now);
                        None
                    }
                    outcome => slot.probed(*kind, probe, grace, outcome.map_err(|failure| failure.message), now),
                }
            }
            Act::Create { .. } => {
                slot.is_made = false;
                outcome.err().and_then(|failure| slot.failed(failure, settings.backoff_max, now))
            }
            Act::Start { .. } | Act::Stop { .. } | Act::Remove { .. } => {
                let is_own = slot.id == act.id();
                if is_own && outcome.is_ok() && matches!(act, Act::Remove { .. }) {
                    (slot.id, slot.state) = (String::new(), None);
                }
                outcome.err().filter(|_| is_own).and_then(|failure| slot.failed(failure, settings.backoff_max, now))
            }
        };
        if let Some(told) = told {
            self.is_dirty = true;
            events.push(happened(&self.name, Some((*number, container)), told.reason, told.message));
        }
    }

    pub(super) fn images_changed(&mut self) {
        let slots = self.replicas.values_mut().flat_map(|replica| replica.slots.values_mut());
        for slot in slots.filter(|slot| slot.trouble.as_ref().is_some_and(is_image)) {
            slot.until = None;
        }
    }

    pub(super) fn next(&self, now: Now) -> Option<Mono> {
        let min_ready = self.target().map_or(Duration::ZERO, |target| target.min_ready);
        let slots = self.replicas.values().flat_map(|replica| replica.slots.values()).chain(self.stuck.values());
        let late = self.progress.as_ref().filter(|progress| !progress.is_late).zip(self.target());
        let late = late.map(|(progress, target)| progress.at.0 + target.progress_deadline);
        slots.filter_map(|slot| slot.next(min_ready, now)).chain(late).min()
    }
}

fn is_image(failure: &Failure) -> bool {
    failure.reason.starts_with("ErrImage")
}

pub(super) fn happened(workload: &str, at: Option<(u32, &str)>, reason: &'static str, mut message: String) -> Happened {
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
    let container = at.map(|(number, container)| match container {
        "" => format!("{workload}-{number}"),
        container => format!("{workload}-{number}/{container}"),
    });
    Happened { workload: workload.to_owned(), container, reason, message }
}

/// Images of a workload, and its hash, for people.
fn images(workload: &Workload) -> String {
    let of = |container: &Container| container.image.text.clone();
    let images: Vec<String> = workload.template.containers.iter().map(of).collect();
    format!("{} ({})", images.join(", "), short(&workload.template.hash))
}
