//! How rules fare, for the agent's own metrics, under Prometheus's names.

use super::engine::Rules;
use skerry_alerting::rules::Round;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Most groups that have metrics of their own.
const GROUPS_MAX: usize = 50;

/// Counters.
#[derive(Debug, Default)]
pub struct RuleStats {
    groups: Mutex<Vec<GroupStats>>,
    values: AtomicU64,
}

/// A group's figures.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupStats {
    /// File and name, as Prometheus puts them together.
    pub name: String,
    /// Its rules.
    pub rules: usize,
    /// Evaluations of its rules.
    pub evaluations: u64,
    /// Those that failed.
    pub failures: u64,
    /// Evaluations of the group.
    pub iterations: u64,
    /// Those that were left out because their time had passed.
    pub missed: u64,
    /// Seconds between two.
    pub interval: f64,
    /// Seconds that the last one took.
    pub took: f64,
    /// When the last one was, in seconds since 1970; zero before the first.
    pub last: f64,
    /// Samples that it gave.
    pub samples: u64,
    /// Alerts that wait, and alerts that fire.
    pub alerts: (usize, usize),
}

impl RuleStats {
    /// The groups' figures; of at most [`GROUPS_MAX`] groups.
    #[must_use]
    pub fn by_group(&self) -> Vec<GroupStats> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Samples looked at and values made, in all.
    #[must_use]
    pub fn values(&self) -> u64 {
        self.values.load(Ordering::Relaxed)
    }

    pub(super) fn note(&self, round: &Round) {
        self.values.fetch_add(round.values, Ordering::Relaxed);
    }

    /// Takes over where the groups stand.
    pub(super) fn groups(&self, rules: &Rules) {
        use skerry_alerting::rules::State;
        let groups = rules.groups().into_iter().take(GROUPS_MAX).map(|group| {
            let alerts = || group.rules.iter().filter_map(|rule| rule.alerting.as_ref()).flat_map(|rule| &rule.alerts);
            let count = |state| alerts().filter(|alert| alert.state == state).count();
            GroupStats {
                name: format!("{};{}", group.file, group.name),
                rules: group.rules.len(),
                evaluations: group.evaluations * group.rules.len() as u64,
                failures: group.failures,
                iterations: group.evaluations,
                missed: group.missed,
                interval: group.interval.as_secs_f64(),
                took: group.took.as_secs_f64(),
                last: group.last.map_or(0.0, |at| at.0 as f64 / 1000.0),
                samples: group.samples,
                alerts: (count(State::Pending), count(State::Firing)),
            }
        });
        let groups = groups.collect();
        *self.groups.lock().unwrap_or_else(PoisonError::into_inner) = groups;
    }
}
