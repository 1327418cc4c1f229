//! Rules and alerts as the API tells of them: plain values, which whoever evaluates rules fills.

mod answer;

pub(crate) use answer::{alerts, rules};

use skerry_model::{Labels, UnixMillis};
use std::sync::Arc;
use std::time::Duration;

/// How a rule's last evaluation went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RuleHealth {
    /// There was none yet.
    #[default]
    Unknown,
    /// Well.
    Good,
    /// It failed.
    Bad,
}

/// Where an alert stands; the later variant is the worse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum AlertState {
    /// Its condition is not met.
    #[default]
    Inactive,
    /// Its condition is met, but not yet for long enough.
    Pending,
    /// It fires.
    Firing,
}

impl AlertState {
    /// Prometheus's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }
}

/// An alert that is pending or fires.
#[derive(Debug, Clone, PartialEq)]
pub struct ActiveAlert {
    /// Who it is, `alertname` among them.
    pub labels: Labels,
    /// What people are told.
    pub annotations: Labels,
    /// Pending or firing.
    pub state: AlertState,
    /// Since when its condition is met.
    pub active_at: UnixMillis,
    /// Since when its condition is no longer met, where the rule keeps it firing for a while.
    pub keep_firing_since: Option<UnixMillis>,
    /// The expression's value.
    pub value: f64,
}

/// What is said of an alerting rule alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Alerting {
    /// How long the condition has to be met.
    pub hold: Duration,
    /// How long it fires on when the condition is no longer met.
    pub keep_firing: Duration,
    /// Templates of what people are told.
    pub annotations: Labels,
    /// Its alerts, sorted by labels.
    pub alerts: Vec<ActiveAlert>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Metric or alert.
    pub name: Arc<str>,
    /// Its expression on one line.
    pub query: Arc<str>,
    /// Labels that it sets, those of its group among them.
    pub labels: Labels,
    /// How the last evaluation went.
    pub health: RuleHealth,
    /// Why it failed; empty where it did not.
    pub last_error: Arc<str>,
    /// How long it took; zero where nobody measured.
    pub took: Duration,
    /// When the last one was: the moment that it spoke of.
    pub last: Option<UnixMillis>,
    /// Of an alerting rule; a recording rule has none.
    pub alerting: Option<Alerting>,
}

/// A group of rules.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleGroup {
    /// Its name, unique within its file.
    pub name: Arc<str>,
    /// The file it stands in.
    pub file: Arc<str>,
    /// Time between two evaluations.
    pub interval: Duration,
    /// How far before their moment evaluations look.
    pub query_offset: Duration,
    /// Most alerts or series of a rule; 0 is no limit.
    pub limit: usize,
    /// Its rules, in the order of the file.
    pub rules: Vec<Rule>,
    /// How long the last evaluation took; zero where nobody measured.
    pub took: Duration,
    /// When the last one was: the moment that it spoke of.
    pub last: Option<UnixMillis>,
    /// Evaluations of the group so far.
    pub evaluations: u64,
    /// Evaluations of its rules that failed so far.
    pub failures: u64,
    /// Moments that were left out, because their time had passed.
    pub missed: u64,
    /// Samples that the last evaluation gave.
    pub samples: u64,
}
