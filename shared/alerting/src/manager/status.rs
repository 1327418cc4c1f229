//! Alerts and groups as they are shown.

use super::core::Manager;
use super::order::{in_order, labels_in_order};
use crate::Now;
use skerry_model::{Alert, Fingerprint, Labels};
use std::sync::Arc;

/// An alert that fires, and what holds it back.
#[derive(Debug, Clone)]
pub struct AlertStatus {
    /// Its name among others.
    pub fingerprint: Fingerprint,
    /// The alert.
    pub alert: Alert,
    /// Receivers that it goes to, in the order of the routes.
    pub receivers: Vec<Arc<str>>,
    /// Alerts that hold it back.
    pub inhibited_by: Vec<Fingerprint>,
    /// Ids of silences that hold it back.
    pub silenced_by: Vec<String>,
    /// Names of time intervals that hold back the group it is shown in.
    pub muted_by: Vec<String>,
}

impl AlertStatus {
    /// `suppressed` where a silence or another alert holds it back, else `active`.
    #[must_use]
    pub const fn state(&self) -> &'static str {
        let is_free = self.inhibited_by.is_empty() && self.silenced_by.is_empty() && self.muted_by.is_empty();
        if is_free { "active" } else { "suppressed" }
    }
}

/// A group that exists.
#[derive(Debug, Clone)]
pub struct GroupStatus {
    /// What its alerts have in common by `group_by`.
    pub labels: Labels,
    /// The receiver of its route.
    pub receiver: Arc<str>,
    /// Its alerts that fire, in the order of notices.
    pub alerts: Vec<AlertStatus>,
}

impl Manager {
    /// The alerts that fire, by fingerprint.
    #[must_use]
    pub fn alerts(&self, now: Now) -> Vec<AlertStatus> {
        self.each_alert(now).collect()
    }

    /// The same, one by one: all of them at once take several times the memory that they are kept in.
    pub fn each_alert(&self, now: Now) -> impl Iterator<Item = AlertStatus> {
        let firing = self.alerts.iter().filter(move |(_, stored)| stored.is_firing(now));
        firing.map(move |(id, stored)| self.status(id, stored.alert(), now))
    }

    /// How many alerts fire.
    #[must_use]
    pub fn firing_count(&self, now: Now) -> usize {
        self.alerts.iter().filter(|(_, stored)| stored.is_firing(now)).count()
    }

    /// Whether this alert is known and fires.
    #[must_use]
    pub fn is_firing(&self, alert: Fingerprint, now: Now) -> bool {
        self.alerts.is_firing(alert, now)
    }

    /// The groups with alerts that fire, in Alertmanager's order.
    #[must_use]
    pub fn groups(&self, now: Now) -> Vec<GroupStatus> {
        let mut groups = Vec::new();
        for group in self.groups.iter() {
            let Some(route) = self.config.routes().route(group.route) else { continue };
            let muted = self.config.muted_by(route, now.wall);
            let muted: Vec<String> = muted.into_iter().flat_map(|muted| muted.by).map(str::to_owned).collect();
            let firing = group.alerts.iter().filter_map(|id| Some((*id, self.alerts.get(*id)?)));
            let firing = firing.filter(|(_, stored)| stored.is_firing(now));
            let mut alerts: Vec<AlertStatus> = firing
                .map(|(id, stored)| AlertStatus { muted_by: muted.clone(), ..self.status(id, stored.alert(), now) })
                .collect();
            if alerts.is_empty() {
                continue;
            }
            alerts.sort_by(|a, b| in_order(&a.alert.labels, &b.alert.labels));
            groups.push(GroupStatus { labels: group.labels.clone(), receiver: route.receiver.clone(), alerts });
        }
        groups.sort_by(|a, b| labels_in_order(&a.labels, &b.labels).then_with(|| a.receiver.cmp(&b.receiver)));
        groups
    }

    fn status(&self, id: Fingerprint, alert: Alert, now: Now) -> AlertStatus {
        let (inhibiting, silencing) = self.held_by(&alert.labels, now);
        AlertStatus {
            fingerprint: id,
            receivers: self.config.receivers_of(&alert.labels),
            inhibited_by: inhibiting.into_iter().collect(),
            silenced_by: silencing.into_iter().map(str::to_owned).collect(),
            muted_by: Vec::new(),
            alert,
        }
    }
}
