//! What is to be written, until it is written.

use super::task::SEEN_KEY;
use crate::store::AlertChange;
use std::collections::BTreeMap;

/// Changes of the history that may wait while the store takes nothing; the oldest go then.
const WAITING_MAX: usize = 50_000;

/// Changes that wait for the store.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// What routing keeps, by key; a later value replaces an earlier one.
    saves: BTreeMap<String, Option<Vec<u8>>>,
    changes: Vec<AlertChange>,
    /// Changes that were let go of.
    pub(super) lost: u64,
}

impl Waiting {
    /// Adds what routing keeps.
    pub(super) fn save(&mut self, savings: Vec<(String, Option<Vec<u8>>)>) {
        self.saves.extend(savings);
    }

    /// Adds how far alerts were taken in.
    pub(super) fn seen(&mut self, changed: i64) {
        self.saves.insert(SEEN_KEY.to_owned(), Some(changed.to_string().into_bytes()));
    }

    /// Adds a change of the history.
    pub(super) fn push(&mut self, change: AlertChange) {
        if self.changes.len() >= WAITING_MAX {
            self.changes.remove(0);
            self.lost += 1;
        }
        self.changes.push(change);
    }

    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.saves.is_empty() && self.changes.is_empty()
    }

    /// All of it, to be written in one transaction.
    pub(super) fn all(&self) -> Vec<AlertChange> {
        let saves = self.saves.iter().map(|(key, value)| AlertChange::Save { key: key.clone(), value: value.clone() });
        self.changes.iter().cloned().chain(saves).collect()
    }

    /// It was written.
    pub(super) fn clear(&mut self) {
        self.saves.clear();
        self.changes.clear();
    }
}
