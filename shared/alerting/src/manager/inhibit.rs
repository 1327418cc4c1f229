//! Inhibition: alerts that are held back while another fires.
//!
//! Every source that fires counts, also one that is itself held back. Upstream keeps one source for each set of equal
//! labels and may so overlook a second one that would have counted; here all are looked at.

use super::matcher::{self, Matcher};
use skerry_model::{Fingerprint, Labels};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Sources, and what they have in common with what they hold back.
#[derive(Debug, Clone, Default)]
pub struct SourceRule {
    /// Which alerts are sources.
    pub matchers: Vec<Matcher>,
    /// Labels whose values are the same on both; missing and empty are the same.
    pub equal: Vec<Box<str>>,
}

/// A rule of `inhibit_rules`.
#[derive(Debug, Clone, Default)]
pub struct InhibitRule {
    /// Its name; may be empty.
    pub name: String,
    /// Sources, of which each must be there; one, unless the file says `sources`.
    pub sources: Vec<SourceRule>,
    /// Which alerts are held back.
    pub target: Vec<Matcher>,
}

impl SourceRule {
    fn key(&self, labels: &Labels) -> u64 {
        let mut hash = DefaultHasher::new();
        for name in &self.equal {
            labels.value(name).hash(&mut hash);
        }
        hash.finish()
    }

    fn is_equal(&self, a: &Labels, b: &Labels) -> bool {
        self.equal.iter().all(|name| a.value(name) == b.value(name))
    }
}

/// Sources that fire, by rule and by the values that must be equal.
#[derive(Debug, Default)]
pub struct Inhibitor {
    rules: Vec<InhibitRule>,
    /// For each source of each rule.
    fires: Vec<Vec<BTreeMap<u64, Fires>>>,
}

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// The whole rule.
    Rule,
    /// Its sources' equal labels alone.
    Equal,
}

/// Sources with the same hash of equal labels.
type Fires = BTreeMap<Fingerprint, Labels>;

impl Inhibitor {
    /// Of these rules, with nothing firing.
    #[must_use]
    pub fn new(rules: Vec<InhibitRule>) -> Self {
        let fires = rules.iter().map(|rule| rule.sources.iter().map(|_| BTreeMap::new()).collect()).collect();
        Self { rules, fires }
    }

    /// Takes note that an alert fires.
    pub fn fires(&mut self, alert: Fingerprint, labels: &Labels) {
        for (rule, fires) in self.rules.iter().zip(&mut self.fires) {
            for (source, fires) in rule.sources.iter().zip(fires) {
                if matcher::matches_all(&source.matchers, labels) {
                    fires.entry(source.key(labels)).or_default().insert(alert, labels.clone());
                }
            }
        }
    }

    /// Takes note that an alert is over.
    pub fn ends(&mut self, alert: Fingerprint, labels: &Labels) {
        for (rule, fires) in self.rules.iter().zip(&mut self.fires) {
            for (source, fires) in rule.sources.iter().zip(fires) {
                let key = source.key(labels);
                if let Some(same) = fires.get_mut(&key) {
                    same.remove(&alert);
                    if same.is_empty() {
                        fires.remove(&key);
                    }
                }
            }
        }
    }

    /// The alerts that hold back one with these labels, of the first rule that does; empty where none does.
    /// `is_firing` is asked for each source: one may have ended without a word.
    #[must_use]
    pub fn inhibiting(&self, target: &Labels, is_firing: &dyn Fn(Fingerprint) -> bool) -> BTreeSet<Fingerprint> {
        self.search(target, is_firing, Scope::Rule)
    }

    /// Whether some rule's source that fires has the same equal labels, whatever the rule's target is. For vectors of
    /// that part alone.
    #[must_use]
    pub fn has_equal(&self, target: &Labels) -> bool {
        !self.search(target, &|_| true, Scope::Equal).is_empty()
    }

    fn search(&self, target: &Labels, is_firing: &dyn Fn(Fingerprint) -> bool, scope: Scope) -> BTreeSet<Fingerprint> {
        for (rule, fires) in self.rules.iter().zip(&self.fires) {
            if scope == Scope::Rule && !matcher::matches_all(&rule.target, target) {
                continue;
            }
            let mut found = BTreeSet::new();
            let every = !rule.sources.is_empty()
                && rule.sources.iter().zip(fires).all(|(source, fires)| {
                    // An alert that is source and target does not hold back others of its kind, nor itself.
                    let both = scope == Scope::Rule && matcher::matches_all(&source.matchers, target);
                    let held = fires.get(&source.key(target)).into_iter().flatten().find(|(alert, labels)| {
                        source.is_equal(labels, target)
                            && !(both && matcher::matches_all(&rule.target, labels))
                            && is_firing(**alert)
                    });
                    found.extend(held.map(|(alert, _)| *alert));
                    held.is_some()
                });
            if every {
                return found;
            }
        }
        BTreeSet::new()
    }

    /// How many rules there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}
