//! A group of rules with its state.

use super::alerts::{ALERTS, ALERTS_FOR_STATE};
use super::evaluation::{Gone, Turning};
use super::rule::{Rule, Work};
use super::slots::Slots;
use crate::rules::{GroupSpec, Settings, Turn};
use skerry_model::{Labels, UnixMillis};
use skerry_promapi::{Alerting, Rule as RuleStatus, RuleGroup};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Evaluations before state is taken up: the data that alerts need may take one to be there.
const EVALUATIONS_BEFORE_RESTORE: u8 = 2;

/// A group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) file: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) slots: Slots,
    pub(super) offset: Duration,
    pub(super) limit: usize,
    /// The next slot.
    pub(super) next: UnixMillis,
    pub(super) rules: Vec<Rule>,
    /// Metrics that several of its rules write.
    pub(super) shared: HashSet<Arc<str>>,
    /// Series of rules that it no longer has; they end with its next evaluation unless another rule writes them.
    pub(super) leaving: Vec<Labels>,
    /// Alerts of rules that it no longer has.
    pub(super) gone: Vec<Gone>,
    /// Evaluations to go until state is taken up from before a restart.
    pub(super) restores_in: u8,
    pub(super) last: Option<UnixMillis>,
    pub(super) took: Duration,
    pub(super) evaluations: u64,
    pub(super) failures: u64,
    pub(super) missed: u64,
    pub(super) samples: u64,
}

impl Group {
    /// A group whose first slot comes after `now`.
    pub(super) fn new(file: &Arc<str>, mut spec: GroupSpec, settings: &Settings, now: UnixMillis) -> Self {
        let slots = Slots::new(file, &spec.name, spec.interval.unwrap_or(settings.interval));
        let rules: Vec<Rule> = std::mem::take(&mut spec.rules).into_iter().map(|rule| Rule::new(rule, &spec)).collect();
        Self {
            file: Arc::clone(file),
            name: spec.name,
            slots,
            offset: spec.query_offset.unwrap_or(settings.query_offset),
            limit: spec.limit,
            next: slots.after(now),
            shared: shared(&rules),
            rules,
            leaving: Vec::new(),
            gone: Vec::new(),
            restores_in: if settings.restore { EVALUATIONS_BEFORE_RESTORE } else { 0 },
            last: None,
            took: Duration::ZERO,
            evaluations: 0,
            failures: 0,
            missed: 0,
            samples: 0,
        }
    }

    /// Whether this is that group.
    pub(super) fn is(&self, file: &str, name: &str) -> bool {
        *self.file == *file && *self.name == *name
    }

    /// Takes over the state of the same group before a reload: of rules of the same name and labels, duplicates in order.
    /// What rules leave behind that it no longer has ends with its next evaluation.
    pub(super) fn take_over(&mut self, old: Self, turning: &Turning<'_>) {
        if self.slots == old.slots {
            self.next = old.next;
        }
        self.restores_in = old.restores_in;
        (self.last, self.took, self.samples) = (old.last, old.took, old.samples);
        (self.evaluations, self.failures, self.missed) = (old.evaluations, old.failures, old.missed);
        (self.leaving, self.gone) = (old.leaving, old.gone);
        let mut left: BTreeMap<_, VecDeque<Rule>> = BTreeMap::new();
        for rule in old.rules {
            left.entry((Arc::clone(&rule.name), rule.labels.clone())).or_default().push_back(rule);
        }
        for rule in &mut self.rules {
            let same = left.get_mut(&(Arc::clone(&rule.name), rule.labels.clone()));
            if let Some(old) = same.and_then(VecDeque::pop_front) {
                rule.take_over(old);
            }
        }
        for rule in left.into_values().flatten() {
            self.gone.extend(Gone::of(&rule, turning, old.slots.interval()));
            self.leaving.extend(rule.wrote);
        }
    }

    /// Its turn at a moment.
    pub(super) fn turn(&self, at: UnixMillis) -> Turn {
        Turn { file: Arc::clone(&self.file), group: Arc::clone(&self.name), at }
    }

    /// How many alerts it has, those that ended among them, and how many series it records.
    pub(super) fn held(&self) -> (usize, usize) {
        self.rules.iter().map(Rule::held).fold((0, 0), |sum, held| (sum.0 + held.0, sum.1 + held.1))
    }

    /// Moves all times, when the wall clock was set to `now`.
    pub(super) fn shift(&mut self, by_ms: i64, now: UnixMillis) {
        self.next = self.slots.after(now);
        for rule in &mut self.rules {
            if let Work::Alerting { alerts, .. } = &mut rule.work {
                alerts.shift(by_ms);
            }
        }
    }

    /// For the API.
    pub(super) fn shown(&self) -> RuleGroup {
        let rule = |rule: &Rule| RuleStatus {
            name: Arc::clone(&rule.name),
            query: Arc::clone(&rule.text),
            labels: rule.shown.clone(),
            health: rule.health,
            last_error: Arc::clone(&rule.last_error),
            took: rule.took,
            last: rule.last,
            alerting: match &rule.work {
                Work::Recording { .. } => None,
                Work::Alerting { hold, keep_firing, annotations, alerts } => Some(Alerting {
                    hold: *hold,
                    keep_firing: *keep_firing,
                    annotations: annotations.clone(),
                    alerts: alerts.shown(),
                }),
            },
        };
        RuleGroup {
            name: Arc::clone(&self.name),
            file: Arc::clone(&self.file),
            interval: self.slots.interval(),
            query_offset: self.offset,
            limit: self.limit,
            rules: self.rules.iter().map(rule).collect(),
            took: self.took,
            last: self.last,
            evaluations: self.evaluations,
            failures: self.failures,
            missed: self.missed,
            samples: self.samples,
        }
    }
}

/// Metrics of which several of these rules may write one series: they have one name, or a rule records what alerts write.
fn shared(rules: &[Rule]) -> HashSet<Arc<str>> {
    let mut seen = HashSet::new();
    let mut shared = HashSet::new();
    for rule in rules {
        let is_alerting = rule.alerts().is_some();
        if !seen.insert((is_alerting, &*rule.name)) {
            shared.extend(rule.metrics());
        }
        if !is_alerting && [ALERTS, ALERTS_FOR_STATE].contains(&&*rule.name) {
            shared.extend(rule.metrics());
        }
    }
    shared
}
