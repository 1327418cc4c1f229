//! The groups, shared between whoever evaluates them and whoever shows them.

use skerry_alerting::Now;
use skerry_alerting::rules::{Engine, GroupStatus, Need, Round, RuleFile, Settings, Turn};
use skerry_model::Mono;
use skerry_promql::Source;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Groups with their state; cheap to clone. Lasts longer than a run of the agent, so that the state of alerts goes on
/// over other configs.
#[derive(Debug, Clone, Default)]
pub struct Rules(Arc<Mutex<Option<Engine>>>);

impl Rules {
    /// Takes other groups; those that were there before keep their state.
    pub fn install(&self, files: Vec<(String, RuleFile)>, settings: Settings, now: Now) {
        let mut held = self.lock();
        let previous = held.take();
        *held = Some(Engine::new(files, settings, previous, now));
    }

    /// What they read.
    #[must_use]
    pub fn needs(&self) -> Vec<Need> {
        self.lock().as_ref().map(Engine::needs).unwrap_or_default()
    }

    /// The groups as they are. Waits while one is evaluated.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupStatus> {
        self.lock().as_ref().map(Engine::groups).unwrap_or_default()
    }

    pub(super) fn next(&self) -> Option<Mono> {
        self.lock().as_ref().and_then(Engine::next)
    }

    pub(crate) fn due(&self, now: Now) -> Vec<Turn> {
        self.lock().as_mut().map(|engine| engine.due(now)).unwrap_or_default()
    }

    pub(crate) fn evaluate(&self, turn: Turn, source: &dyn Source, now: Now) -> Round {
        self.lock().as_mut().map(|engine| engine.evaluate(turn, source, now)).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Engine>> {
        // A panic in an evaluation leaves at worst the state of one rule half told.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
