//! What the agent says of itself: written by the features, read by status page, sync and metrics.

use skerry_model::UnixMillis;
use skerry_wire::ConfigState;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most problems that are kept in words.
const PROBLEMS_MAX: usize = 16;
/// Longest text of a problem, in bytes.
const PROBLEM_BYTES_MAX: usize = 256;

/// The board; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<Entries>>);

/// What stands on the board.
#[derive(Debug, Clone, Default)]
pub struct Entries {
    /// Signed configs that run, with their revisions.
    pub configs: Vec<ConfigState>,
    /// The configs on trial.
    pub trial: Vec<ConfigState>,
    /// Epoch and version of the assignment.
    pub assignment: Option<(u64, u64)>,
    /// Whether the assignment takes the node out of service.
    pub revoked: bool,
    /// Version of the newest root document; zero before the node has joined.
    pub root_version: u64,
    /// Whether the wall clock is believed.
    pub time_trusted: bool,
    /// When the last round of collection ended, and how many observations it gave.
    pub last_round: Option<(UnixMillis, usize)>,
    /// Documents refused since the start, by code.
    pub refusals: BTreeMap<String, u64>,
    /// Configs that ran and passed their trial, since the start.
    pub configs_applied: u64,
    /// Configs that failed their trial, since the start.
    pub configs_rolled_back: u64,
    problems: BTreeMap<String, String>,
}

impl Entries {
    /// What somebody should look at, in the order of its sources; at most 16 texts of at most 256 bytes.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        self.problems.values().take(PROBLEMS_MAX).cloned().collect()
    }
}

impl Board {
    /// Changes entries.
    pub fn write(&self, change: impl FnOnce(&mut Entries)) {
        change(&mut self.lock());
    }

    /// What stands there now.
    #[must_use]
    pub fn read(&self) -> Entries {
        self.lock().clone()
    }

    /// Puts up a problem, or the new words of one. `source` names it, such as `collector cpu`.
    pub fn problem(&self, source: &str, words: &str) {
        let mut text = format!("{source}: {words}");
        text.truncate(text.floor_char_boundary(PROBLEM_BYTES_MAX));
        let mut entries = self.lock();
        if entries.problems.len() < PROBLEMS_MAX || entries.problems.contains_key(source) {
            entries.problems.insert(source.to_owned(), text);
        }
    }

    /// Takes a problem down.
    pub fn solved(&self, source: &str) {
        self.lock().problems.remove(source);
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // Entries are plain values: a panic while one is written leaves the others whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_bounded_and_go_away() {
        let board = Board::default();
        for n in 0..40 {
            board.problem(&format!("source {n:02}"), &"ä".repeat(400));
        }
        let problems = board.read().problems();
        assert_eq!(problems.len(), PROBLEMS_MAX);
        assert!(problems.iter().all(|text| text.len() <= PROBLEM_BYTES_MAX));
        for n in 0..40 {
            board.solved(&format!("source {n:02}"));
        }
        assert!(board.read().problems().is_empty());
    }
}
