//! Decides what is to be done about containers.
//!
//! ```text
//! look ─> see ─┐
//!              ├─> step ─> acts ─> done ─┐
//! time ────────┘                         └─> look
//! ```
//!
//! After an act that changed something nothing is planned until the next look, since what was seen is no longer so.

mod kept;
mod roll;
mod slot;
mod state;
mod status;
#[cfg(test)]
mod tests;

pub use status::{ContainerStatus, Status};

use super::read::REPLICAS_MAX;
use super::{Probe, ProbeKind, Resources, Workload};
use kept::Kept;
use skerry_model::{Mono, Now, UnixMillis};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What keys of kept state begin with.
pub const PREFIX: &str = "workloads/";

/// Settings of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Longest pause before a container is started again: 1 s to 5 min. The first one is 10 s, or this where it is less.
    pub backoff_max: Duration,
    /// Names this start of the machine: what ended with the one before did not end by its own fault.
    pub boot: String,
    /// Whether all documents could be read. While they could not, workloads that are not declared stay.
    pub is_complete: bool,
}

/// A container's place: it stays when the container is made anew.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId {
    /// The workload.
    pub workload: String,
    /// The replica, from 1.
    pub replica: u32,
    /// The container's name in the replica.
    pub container: String,
}

/// A container of ours as the runtime describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Where it belongs, by its labels.
    pub slot: SlotId,
    /// The runtime's id.
    pub id: String,
    /// Hash of the template that it was made from, by its label.
    pub spec: String,
    /// How it is.
    pub state: SeenState,
    /// When it was started last.
    pub started_at: Option<UnixMillis>,
    /// What it was made to ask for, which may be more or less than what is declared.
    pub requests: Resources,
}

/// How a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeenState {
    /// Made, and never started.
    Created,
    /// Runs.
    Running,
    /// Somebody paused it: it is left alone.
    Paused,
    /// It is between two runs, or in another state that passes.
    Busy,
    /// Somebody is removing it.
    Removing,
    /// It could not be removed, and cannot be started.
    Dead,
    /// It has ended.
    Exited {
        /// With this code.
        code: i32,
        /// The kernel killed it for its memory.
        is_oom: bool,
        /// Then.
        at: UnixMillis,
    },
}

/// What is to be done. Each ends with one call of [`Keeper::done`]; until then nothing else is asked of its container but
/// probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Get the image, make the container, start it.
    Create {
        /// Where it belongs.
        slot: SlotId,
        /// Name of the container.
        name: String,
        /// What it is made from.
        workload: Arc<Workload>,
        /// Which of the template's containers.
        container: usize,
    },
    /// Start it again.
    Start {
        /// Which.
        slot: SlotId,
        /// The runtime's id.
        id: String,
    },
    /// End it; it is killed after `grace`.
    Stop {
        /// Which.
        slot: SlotId,
        /// The runtime's id.
        id: String,
        /// Time that it has.
        grace: Duration,
    },
    /// End and remove it.
    Remove {
        /// Which.
        slot: SlotId,
        /// The runtime's id.
        id: String,
        /// Time that it has to end.
        grace: Duration,
    },
    /// Ask it how it is.
    Probe {
        /// Which.
        slot: SlotId,
        /// The runtime's id.
        id: String,
        /// Which of its probes.
        kind: ProbeKind,
        /// What is done.
        probe: Probe,
    },
}

impl Act {
    /// Whose it is.
    #[must_use]
    pub const fn slot(&self) -> &SlotId {
        match self {
            Self::Create { slot, .. }
            | Self::Start { slot, .. }
            | Self::Stop { slot, .. }
            | Self::Remove { slot, .. }
            | Self::Probe { slot, .. } => slot,
        }
    }

    const fn id(&self) -> &str {
        match self {
            Self::Create { .. } => "",
            Self::Start { id, .. } | Self::Stop { id, .. } | Self::Remove { id, .. } | Self::Probe { id, .. } => {
                id.as_str()
            }
        }
    }
}

/// How an act ended. A container that is gone already is ended, and removed.
pub type Outcome = Result<(), Failure>;

/// Why an act failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Stable word: `ErrImageNeverPull`, `ErrImagePull`, `FailedCreate`, `FailedStart`, …; or [`Failure::UNREACHABLE`].
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl Failure {
    /// The runtime did not answer: nobody's fault, and tried again soon.
    pub const UNREACHABLE: &'static str = "Unreachable";

    fn is_passing(&self) -> bool {
        self.reason == Self::UNREACHABLE
    }
}

/// Something that people should hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// The workload.
    pub workload: String,
    /// Its container, by name, where it is about one.
    pub container: Option<String>,
    /// Stable word, Kubernetes's where it has one.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// What is to be written in one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Keys of the state with their values; `None` removes a key.
    pub state: Vec<(String, Option<Vec<u8>>)>,
    /// What happened, in order.
    pub events: Vec<Happened>,
}

/// Keeps workloads.
#[derive(Debug)]
pub struct Keeper {
    settings: Settings,
    kept: BTreeMap<String, Kept>,
    events: Vec<Happened>,
    /// Exits that the next look finds are nobody's fault.
    is_forgiving: bool,
    /// Something was done since the last look.
    is_stale: bool,
}

impl Keeper {
    /// Of these workloads, with what was kept of the run before: keys that begin with [`PREFIX`], and their values.
    #[must_use]
    pub fn new(settings: Settings, declared: Vec<Workload>, stored: &[(String, Vec<u8>)], now: Now) -> Self {
        let mut kept: BTreeMap<String, Kept> = BTreeMap::new();
        for (key, value) in stored {
            let Some(name) = key.strip_prefix(PREFIX) else { continue };
            let (name, is_good) = name.strip_suffix(state::GOOD).map_or((name, false), |name| (name, true));
            let entry = kept.entry(name.to_owned()).or_insert_with(|| Kept::new(name));
            if is_good { entry.restore_good(value) } else { entry.restore(value, &settings.boot, now) }
        }
        for workload in declared {
            let entry = kept.entry(workload.name.clone()).or_insert_with(|| Kept::new(&workload.name));
            entry.declare(workload, now);
        }
        Self { settings, kept, events: Vec::new(), is_forgiving: false, is_stale: true }
    }

    /// Whether there is anything to look after.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.kept.is_empty()
    }

    /// The runtime was away: what the next look finds to have ended did so with it.
    pub const fn forgive(&mut self) {
        self.is_forgiving = true;
    }

    /// The runtime did not answer for so long, and nothing could be done: replacements have that time beside their own.
    pub fn was_away(&mut self, span: Duration) {
        for progress in self.kept.values_mut().filter_map(|kept| kept.progress.as_mut()) {
            progress.at.0 = progress.at.0 + span;
        }
    }

    /// Takes a look at all containers of ours: those with [`super::LABEL_WORKLOAD`].
    pub fn see(&mut self, seen: Vec<Seen>, now: Now) {
        let mut by_workload: BTreeMap<String, Vec<Seen>> = BTreeMap::new();
        for one in seen {
            by_workload.entry(one.slot.workload.clone()).or_default().push(one);
        }
        let is_forgiving = std::mem::take(&mut self.is_forgiving);
        for (name, kept) in &mut self.kept {
            let seen = by_workload.remove(name).unwrap_or_default();
            kept.see(seen, &self.settings, is_forgiving, &mut self.events, now);
        }
        self.is_stale = false;
    }

    /// What is to be done now.
    pub fn step(&mut self, now: Now) -> Vec<Act> {
        let mut acts = Vec::new();
        for kept in self.kept.values_mut() {
            if !self.is_stale {
                kept.step(&self.settings, &mut self.events, &mut acts, now);
            }
            kept.ask(&mut acts, now);
        }
        acts
    }

    /// Takes the outcome of an act.
    pub fn done(&mut self, act: &Act, outcome: Outcome, now: Now) {
        self.is_stale |= !matches!(act, Act::Probe { .. });
        if let Some(kept) = self.kept.get_mut(&act.slot().workload) {
            kept.done(act, outcome, &self.settings, &mut self.events, now);
        }
    }

    /// Whether a look is needed before anything is planned.
    #[must_use]
    pub const fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// Images can be had that could not before: what waits for one waits no longer.
    pub fn images_changed(&mut self) {
        self.kept.values_mut().for_each(Kept::images_changed);
    }

    /// Makes a workload so many replicas, until it is declared with another number. `false` where it is not declared.
    pub fn scale(&mut self, workload: &str, replicas: u32) -> bool {
        let kept = self.kept.get_mut(workload).filter(|kept| kept.declared.is_some());
        kept.is_some_and(|kept| {
            kept.scale(replicas.min(REPLICAS_MAX));
            true
        })
    }

    /// Makes a container anew: it is ended in order, and another takes its place. `false` where no replica of the workload
    /// that is to stay has it.
    pub fn renew(&mut self, workload: &str, id: &str) -> bool {
        self.kept.get_mut(workload).is_some_and(|kept| kept.renew(id))
    }

    /// What has to be written since the last call.
    pub fn take(&mut self) -> Changes {
        let mut state = Vec::new();
        self.kept.retain(|_, kept| {
            kept.changes(&self.settings.boot, &mut state);
            !kept.is_over()
        });
        Changes { state, events: std::mem::take(&mut self.events) }
    }

    /// When [`Self::step`] has to be called at the latest.
    #[must_use]
    pub fn next(&self, now: Now) -> Option<Mono> {
        self.kept.values().filter_map(|kept| kept.next(now)).min()
    }

    /// Whether somebody declares it now.
    #[must_use]
    pub fn is_declared(&self, workload: &str) -> bool {
        self.kept.get(workload).is_some_and(|kept| kept.declared.is_some())
    }

    /// All workloads, by name.
    #[must_use]
    pub fn status(&self, now: Now) -> Vec<Status> {
        self.kept.values().map(|kept| kept.status(now)).collect()
    }
}
