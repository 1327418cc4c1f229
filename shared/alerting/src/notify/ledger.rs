//! What became of notices: counts by kind, which integrations fail, and which groups hold a file.

use super::{FileDelivery, Outcome};
use std::collections::{BTreeMap, BTreeSet};

/// Most integrations whose failing is remembered, and most groups that hold files: beyond it they are only counted, and
/// a file shows the end of whichever group ends.
const REMEMBERED_MAX: usize = 10_000;

/// Tries of one kind of receiver since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Tries.
    pub tries: u64,
    /// Tries that failed, for now or for good.
    pub failed: u64,
    /// Notices in which a template failed; they went out.
    pub template_errors: u64,
}

/// What is worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It worked, or was not tried, before.
    Fails(String),
    /// It failed before.
    Works,
}

/// Remembers what became of notices.
#[derive(Debug, Default)]
pub struct Ledger {
    counts: BTreeMap<&'static str, Counts>,
    failing: BTreeSet<String>,
    holders: BTreeSet<(String, String)>,
}

impl Ledger {
    /// Notes a try of the integration that stands at `place`, and says whether it differs from the one before.
    pub fn note(&mut self, kind: &'static str, place: &str, outcome: &Outcome) -> Option<Change> {
        let counts = self.counts.entry(kind).or_default();
        counts.tries += 1;
        match outcome.error() {
            None => self.failing.remove(place).then_some(Change::Works),
            Some(error) => {
                counts.failed += 1;
                let is_new = self.failing.len() < REMEMBERED_MAX && self.failing.insert(place.to_owned());
                is_new.then(|| Change::Fails(error.to_owned()))
            }
        }
    }

    /// Notes a notice in which a template failed.
    pub fn note_template_error(&mut self, kind: &'static str) {
        self.counts.entry(kind).or_default().template_errors += 1;
    }

    /// Counts by kind, of those that were tried.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, Counts)> {
        self.counts.iter().map(|(kind, counts)| (*kind, *counts))
    }

    /// Notes that a group begins or ends to hold a file, and says whether the file is to be written: an end is, once the
    /// last group that holds the file has ended. What held it before a restart is not known any more.
    pub fn holds(&mut self, file: &FileDelivery) -> bool {
        let path = file.path.to_string_lossy().into_owned();
        let holder = (path.clone(), file.group_key.clone());
        if file.is_firing {
            if self.holders.len() < REMEMBERED_MAX {
                self.holders.insert(holder);
            }
            return true;
        }
        self.holders.remove(&holder);
        self.holders.range((path.clone(), String::new())..).next().is_none_or(|(held, _)| *held != path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_once_and_tries_are_counted() {
        let mut ledger = Ledger::default();
        let down = Outcome::retry("down");
        assert_eq!(ledger.note("slack", "a", &Outcome::Sent), None);
        assert_eq!(ledger.note("slack", "a", &down), Some(Change::Fails("down".into())));
        assert_eq!(ledger.note("slack", "a", &down), None);
        assert_eq!(ledger.note("slack", "b", &down), Some(Change::Fails("down".into())));
        assert_eq!(ledger.note("slack", "a", &Outcome::Sent), Some(Change::Works));
        assert_eq!(ledger.note("slack", "a", &Outcome::Sent), None);
        ledger.note_template_error("slack");
        let counts = Counts { tries: 6, failed: 3, template_errors: 1 };
        assert_eq!(ledger.counts().collect::<Vec<_>>(), [("slack", counts)]);
    }

    #[test]
    fn a_lamp_goes_out_with_the_last_group() {
        let file = |path: &str, group: &str, is_firing| FileDelivery {
            path: path.into(),
            may_create: false,
            group_key: group.into(),
            is_firing,
            text: String::new(),
        };
        let mut ledger = Ledger::default();
        assert!(ledger.holds(&file("/a", "1", true)) && ledger.holds(&file("/a", "2", true)));
        assert!(ledger.holds(&file("/b", "1", true)) && ledger.holds(&file("/b", "1", false)));
        assert!(!ledger.holds(&file("/a", "1", false)));
        assert!(ledger.holds(&file("/a", "2", false)));
        assert!(ledger.holds(&file("/a", "3", false)), "nobody is known to hold it");
    }
}
