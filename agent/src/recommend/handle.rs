//! The recommender as others see it.

use super::core::{Candidate, Core};
use super::subject::Subject;
use super::{Policy, Recommended, show};
use skerry_model::{Now, Observation, Scrape, UnixMillis};
use skerry_scaling::target::TargetRef;
use skerry_scaling::vpa::{Amounts, Gave, Given, Settings};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Changes of the agent's state.
pub(super) type Changes = Vec<(String, Option<Vec<u8>>)>;

/// What containers should ask for; cheap to clone. No call waits for longer than a look at all containers takes.
#[derive(Debug, Clone, Default)]
pub struct Recommender(Arc<Mutex<Core>>);

impl Recommender {
    /// Goes on with what an earlier run stored below [`super::PREFIX`].
    #[must_use]
    pub fn new(policies: Vec<Policy>, settings: Settings, stored: &[(String, Vec<u8>)], now: Now) -> Self {
        let (core, faults) = Core::restore(policies, settings, stored, now);
        for fault in faults {
            tracing::warn!(fault, "part of what was learnt of containers is left out");
        }
        Self(Arc::new(Mutex::new(core)))
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        // A panic while samples are taken leaves some out at worst.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what goes into the store.
    pub fn push(&self, scrape: &Scrape, now: Now) {
        self.lock().push(scrape, now);
    }

    /// All that is recommended, by target and container; at most 256.
    #[must_use]
    pub fn recommendations(&self) -> Vec<Recommended> {
        self.lock().recommendations()
    }

    /// The same as a list of objects: `target`, `container`, `policy`, `mode`, `cpu` and `memory` (each `target`, `lower`,
    /// `upper`, `uncapped`; thousandths of a core, bytes), `samples`, `live`.
    #[must_use]
    pub fn to_json(&self) -> Vec<serde_json::Value> {
        self.recommendations().iter().map(show::json).collect()
    }

    /// What a container of a target that is about to be made should ask for; `None` where no policy wants that, or where
    /// nothing is known of such containers.
    #[must_use]
    pub fn initial(&self, target: &TargetRef, container: &str) -> Option<Given> {
        self.lock().initial(&Subject { target: target.clone(), container: container.to_owned() })
    }

    /// Recommendations as metrics, under kube-state-metrics's names, and how the recommender fares.
    #[must_use]
    pub fn observations(&self) -> Vec<Observation> {
        let (recommended, counts, left_out) = {
            let core = self.lock();
            (core.recommendations(), core.counts(), core.left_out)
        };
        show::observations(&recommended, counts, left_out)
    }

    pub(super) fn candidates(&self) -> Vec<Candidate> {
        self.lock().candidates()
    }

    /// What a container asks for that was given something while it ran, by its id: its labels cannot say it. Zero of what
    /// it asks for nothing.
    #[must_use]
    pub fn given(&self, id: &str) -> Option<Amounts> {
        self.lock().given(id)
    }

    pub(super) fn lacked_memory(&self, id: &str, at: UnixMillis) {
        self.lock().lacked_memory(id, at);
    }

    pub(super) fn left_out(&self) -> u64 {
        self.lock().left_out
    }

    pub(super) fn gave(&self, id: &str, given: Option<Gave>) {
        self.lock().gave(id, given);
    }

    pub(super) fn change_of(&self, id: &str) -> Changes {
        self.lock().change_of(id).into_iter().collect()
    }

    pub(super) fn changes(&self, now: Now) -> Changes {
        self.lock().changes(now)
    }
}
