//! All groups with the state of their alerts.

use super::{GroupStatus, Need, Round, RuleFile, Settings, Turn};
use crate::Now;
use skerry_model::{Mono, UnixMillis};
use skerry_promql::Source;

/// All groups with the state of their alerts.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
}

impl Engine {
    /// Groups of these files, each with its name (of which none stands twice). State of groups that `previous` had goes
    /// on; without one, state is taken up again from the source.
    #[must_use]
    pub fn new(_files: Vec<(String, RuleFile)>, settings: Settings, _previous: Option<Self>, _now: Now) -> Self {
        Self { settings }
    }

    /// When [`Self::due`] has something.
    #[must_use]
    pub fn next(&self) -> Option<Mono> {
        None
    }

    /// Groups whose slot has come, by time and then in the order of their files. Slots before the last one are counted as
    /// missed.
    pub fn due(&mut self, _now: Now) -> Vec<Turn> {
        Vec::new()
    }

    /// The turn of the group at `index` (in the order of [`Self::groups`]) at any moment: for tests of rules.
    #[must_use]
    pub fn turn(&self, _index: usize, _at: UnixMillis) -> Option<Turn> {
        None
    }

    /// Evaluates one group at one moment. A turn of a group that is gone gives nothing.
    pub fn evaluate(&mut self, _turn: Turn, _source: &dyn Source, _now: Now) -> Round {
        Round::default()
    }

    /// What the rules read.
    #[must_use]
    pub fn needs(&self) -> Vec<Need> {
        Vec::new()
    }

    /// Groups with their rules and alerts.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupStatus> {
        Vec::new()
    }

    /// Whether all state was taken up again that could be.
    #[must_use]
    pub fn restored(&self) -> bool {
        !self.settings.restore
    }
}
