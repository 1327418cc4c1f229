//! How rules fare, for those who ask.

use skerry_alerting::rules::{GroupStatus, Health};
use skerry_alerting::window::Stats;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How rules fare; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct RulesView(Arc<Mutex<Shown>>);

#[derive(Debug, Default)]
struct Shown {
    groups: Vec<GroupStatus>,
    stats: Stats,
    rounds: u64,
    took: Duration,
    values: u64,
    unstored: u64,
    own_series: usize,
    damaged: u64,
}

/// What a round of evaluations came to.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) groups: Vec<GroupStatus>,
    pub(super) stats: Stats,
    pub(super) took: Duration,
    pub(super) values: u64,
    pub(super) own_series: usize,
    pub(super) damaged: u64,
}

impl RulesView {
    /// Groups with their rules and alerts.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupStatus> {
        self.lock().groups.clone()
    }

    pub(super) fn tell(&self, told: Told) {
        let mut shown = self.lock();
        shown.groups = told.groups;
        shown.stats = told.stats;
        shown.rounds += 1;
        shown.took += told.took;
        shown.values += told.values;
        shown.own_series = told.own_series;
        shown.damaged = told.damaged;
    }

    pub(super) fn unstored(&self) {
        self.lock().unstored += 1;
    }

    /// Prometheus text of it.
    #[must_use]
    pub fn exposition(&self) -> String {
        let shown = self.lock();
        let (mut evaluations, mut failures, mut missed, mut bad) = (0, 0, 0, 0);
        for group in &shown.groups {
            evaluations += group.evaluations;
            failures += group.failures;
            missed += group.missed;
            bad += group.rules.iter().filter(|rule| rule.health == Health::Bad).count() as u64;
        }
        let rules: usize = shown.groups.iter().map(|group| group.rules.len()).sum();
        let counted = [
            ("rule_group_evaluations_total", "counter", "Evaluations of rule groups.", evaluations as f64),
            ("rule_failures_total", "counter", "Evaluations of rules that failed.", failures as f64),
            ("rule_slots_missed_total", "counter", "Moments of rule groups that were left out.", missed as f64),
            ("rule_rounds_total", "counter", "Rounds of evaluations.", shown.rounds as f64),
            ("rule_seconds_total", "counter", "Time that evaluations took.", shown.took.as_secs_f64()),
            ("rule_values_total", "counter", "Samples that rules looked at and values they made.", shown.values as f64),
            ("rule_unstored_total", "counter", "Rounds whose samples could not be stored.", shown.unstored as f64),
            ("rule_blocks_damaged_total", "counter", "Blocks that rules could not read.", shown.damaged as f64),
            ("rules", "gauge", "Rules.", rules as f64),
            ("rules_failing", "gauge", "Rules whose last evaluation failed.", bad as f64),
            ("rule_window_series", "gauge", "Series in memory for rules.", shown.stats.series as f64),
            ("rule_window_bytes", "gauge", "Memory for them.", shown.stats.bytes as f64),
            (
                "rule_window_left_out",
                "gauge",
                "Selectors that did not fit into memory and are read from disk.",
                shown.stats.left_out.len() as f64,
            ),
            ("own_series", "gauge", "Series of the fleet itself.", shown.own_series as f64),
        ];
        let mut text = String::new();
        // Writing to a string does not fail.
        for (name, kind, help, value) in counted {
            let name = format!("skerry_fleet_{name}");
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        // Sound even if a holder panicked: each change is a few assignments.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
