//! What was counted, as Alertmanager's metrics.

use super::core::Manager;
use super::silence::SilenceState;
use crate::Now;
use std::collections::BTreeMap;

/// A value for `/metrics`.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// The whole name; those that end in `_total` only grow.
    pub name: &'static str,
    /// Labels, by name.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

/// Counters.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) received_firing: u64,
    pub(super) received_resolved: u64,
    pub(super) invalid: u64,
    /// Alerts whose annotations were left out.
    pub(super) shortened: u64,
    pub(super) dropped_alerts: u64,
    pub(super) dropped_groups: u64,
    pub(super) dropped_log: u64,
    pub(super) dropped_suppressed: u64,
    pub(super) saved_skipped: u64,
    /// What was owed and is no more.
    pub(super) given_up: u64,
    /// Alerts that were held back, by why.
    pub(super) held: BTreeMap<&'static str, u64>,
    /// By kind of integration: notices, tries, and tries that failed.
    pub(super) kinds: BTreeMap<&'static str, Kind>,
}

/// Counters of one kind of integration.
#[derive(Debug, Default)]
pub(super) struct Kind {
    pub(super) notices: u64,
    pub(super) requests: u64,
    pub(super) requests_failed: u64,
    /// By why.
    pub(super) failed: BTreeMap<&'static str, u64>,
}

impl Manager {
    /// Everything that was counted or can be, for `/metrics`.
    #[must_use]
    pub fn metrics(&self, now: Now) -> Vec<Metric> {
        let mut list = Vec::new();
        let mut add = |name, labels: &[(&'static str, &str)], value: u64| {
            let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
            list.push(Metric { name, labels, value: value as f64 });
        };
        let counts = &self.counts;
        let count = |n: usize| n as u64;
        let (mut active, mut held) = (0, 0);
        let may_hold = self.may_hold(now);
        for (_, stored) in self.alerts.iter().filter(|(_, stored)| stored.is_firing(now)) {
            let is_held = may_hold && {
                let (inhibiting, silencing) = self.held_by(&stored.labels(), now);
                !inhibiting.is_empty() || !silencing.is_empty()
            };
            *if is_held { &mut held } else { &mut active } += 1;
        }
        add("alertmanager_alerts", &[("state", "active")], active);
        add("alertmanager_alerts", &[("state", "suppressed")], held);
        add("alertmanager_alerts_received_total", &[("status", "firing"), ("version", "v2")], counts.received_firing);
        add(
            "alertmanager_alerts_received_total",
            &[("status", "resolved"), ("version", "v2")],
            counts.received_resolved,
        );
        add("alertmanager_alerts_invalid_total", &[("version", "v2")], counts.invalid);
        add("alertmanager_alerts_shortened_total", &[], counts.shortened);
        for (what, value) in [
            ("alerts", counts.dropped_alerts),
            ("groups", counts.dropped_groups),
            ("nflog", counts.dropped_log),
            ("told", counts.dropped_suppressed),
            ("saved", counts.saved_skipped),
            ("owed", counts.given_up),
        ] {
            add("alertmanager_dropped_total", &[("what", what)], value);
        }
        for state in [SilenceState::Active, SilenceState::Pending, SilenceState::Expired] {
            let silences = self.silences().filter(|silence| silence.state(now.wall) == state).count();
            add("alertmanager_silences", &[("state", state.text())], count(silences));
        }
        add("alertmanager_dispatcher_aggregation_groups", &[], count(self.groups.len()));
        add("alertmanager_dispatcher_notices_in_flight", &[], count(self.deliveries.out_count()));
        add("alertmanager_dispatcher_notices_waiting", &[], count(self.deliveries.len() - self.deliveries.out_count()));
        add("alertmanager_nflog_entries", &[], count(self.log.len()));
        let owed: usize = self.log.all().map(|(_, entry)| usize::from(!entry.owed.is_empty())).sum();
        add("alertmanager_nflog_entries_owed", &[], count(owed));
        for (reason, value) in &counts.held {
            add("alertmanager_notifications_suppressed_total", &[("reason", reason)], *value);
        }
        for (kind, values) in &counts.kinds {
            let integration = ("integration", *kind);
            add("alertmanager_notifications_total", &[integration], values.notices);
            for reason in ["clientError", "contextDeadlineExceeded"] {
                let failed = values.failed.get(reason).copied().unwrap_or(0);
                add("alertmanager_notifications_failed_total", &[integration, ("reason", reason)], failed);
            }
            add("alertmanager_notification_requests_total", &[integration], values.requests);
            add("alertmanager_notification_requests_failed_total", &[integration], values.requests_failed);
        }
        list
    }
}
