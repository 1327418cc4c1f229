//! What an engine is told besides its rules.

use skerry_model::Labels;
use std::time::Duration;

/// Settings of an engine; the defaults are Prometheus's unless said otherwise.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Labels of this place: `$externalLabels` of templates, and on alerts where they have none of that name. On no
    /// series.
    pub external_labels: Labels,
    /// Where this place is reached: `$externalURL`, and what links to expressions begin with.
    pub external_url: String,
    /// Time between two evaluations of a group that names none: 1 min.
    pub interval: Duration,
    /// How far before their moment groups look that name no offset: 0.
    pub query_offset: Duration,
    /// How often an alert that goes on is sent again: 1 min.
    pub resend_delay: Duration,
    /// How old the state of an alert may be that is taken up again after a restart: 1 h.
    pub outage_tolerance: Duration,
    /// How long an alert that was pending has to wait at least after a restart; rules that wait for less begin anew: 10 min.
    pub grace: Duration,
    /// What may be used.
    pub limits: Limits,
    /// Whether state is taken up again from `ALERTS_FOR_STATE` at all; not so in tests of rules.
    pub restore: bool,
    /// Whether what fired before a restart fires at once when its condition is still met. Prometheus instead begins with
    /// rules of a short `for` anew, and has the others pending for two evaluations (its issue 15175).
    pub restore_firing: bool,
    /// A clock that only grows, for the time that evaluations take; where there is none, that time is said to be zero.
    pub stopwatch: Option<fn() -> Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            external_labels: Labels::default(),
            external_url: String::new(),
            interval: Duration::from_secs(60),
            query_offset: Duration::ZERO,
            resend_delay: Duration::from_secs(60),
            outage_tolerance: Duration::from_secs(3600),
            grace: Duration::from_secs(600),
            limits: Limits::default(),
            restore: true,
            restore_firing: true,
            stopwatch: None,
        }
    }
}

/// What rules may use. A rule that needs more fails and keeps its state.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of each query.
    pub query: skerry_promql::Limits,
    /// Alerts of one rule: 2,000.
    pub rule_alerts_max: usize,
    /// Alerts of all rules: 20,000.
    pub alerts_max: usize,
    /// Series that one rule writes: 20,000.
    pub rule_series_max: usize,
    /// Series that all rules write: 100,000. Their labels are held in memory.
    pub series_max: usize,
    /// Bytes of one expanded label or annotation, and of an error: what is longer is cut. 4 KiB.
    pub text_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            query: skerry_promql::Limits::default(),
            rule_alerts_max: 2_000,
            alerts_max: 20_000,
            rule_series_max: 20_000,
            series_max: 100_000,
            text_bytes_max: 4096,
        }
    }
}
