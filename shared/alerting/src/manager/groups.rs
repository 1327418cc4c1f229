//! Groups of alerts and their timers.
//!
//! Invariants:
//! - A group has a timer as long as it exists, and exists as long as it has alerts or a flush is under way.
//! - A new alert never makes a group that was flushed wait less: it waits for the interval's end.

use super::alerts::GroupId;
use super::nflog::AlertSet;
use skerry_model::{Fingerprint, Labels, Mono, UnixMillis};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Alerts of one route with the same group labels.
#[derive(Debug)]
pub(super) struct Group {
    /// The route's number.
    pub(super) route: usize,
    /// What they have in common by `group_by`.
    pub(super) labels: Labels,
    /// The route's key, a colon, and the labels.
    pub(super) key: Arc<str>,
    pub(super) alerts: BTreeSet<Fingerprint>,
    /// When it is flushed next.
    pub(super) next: Mono,
    pub(super) has_flushed: bool,
    /// Its timer ran out while a flush was under way.
    pub(super) is_late: bool,
    /// What is under way.
    pub(super) flush: Option<Flush>,
}

/// What one flush tells, and how far it is.
#[derive(Debug)]
pub(super) struct Flush {
    /// What is told, in order; with the end of those that ended.
    pub(super) told: Vec<(Fingerprint, Option<UnixMillis>)>,
    pub(super) firing: AlertSet,
    pub(super) resolved: AlertSet,
    /// Members that had ended when it began, with the versions they had.
    pub(super) ended: Vec<(Fingerprint, u32)>,
    /// Notices without an outcome.
    pub(super) open: usize,
    pub(super) has_failed: bool,
}

/// Every group, by number, and by route and labels.
#[derive(Debug, Default)]
pub(super) struct Groups {
    all: BTreeMap<GroupId, Group>,
    names: BTreeMap<(usize, Labels), GroupId>,
    timers: BTreeSet<(Mono, GroupId)>,
    last: GroupId,
}

impl Groups {
    pub(super) fn get(&self, id: GroupId) -> Option<&Group> {
        self.all.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: GroupId) -> Option<&mut Group> {
        self.all.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.all.values()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn find(&self, route: usize, labels: &Labels) -> Option<GroupId> {
        self.names.get(&(route, labels.clone())).copied()
    }

    /// Adds a group without alerts.
    pub(super) fn add(&mut self, route: usize, labels: Labels, key: Arc<str>, next: Mono) -> GroupId {
        // Numbers come round after four billion groups; those in use are passed over.
        loop {
            self.last = self.last.wrapping_add(1);
            if !self.all.contains_key(&self.last) {
                break;
            }
        }
        let id = self.last;
        self.names.insert((route, labels.clone()), id);
        self.timers.insert((next, id));
        let group = Group {
            route,
            labels,
            key,
            alerts: BTreeSet::new(),
            next,
            has_flushed: false,
            is_late: false,
            flush: None,
        };
        self.all.insert(id, group);
        id
    }

    /// Sets the timer.
    pub(super) fn arm(&mut self, id: GroupId, next: Mono) {
        if let Some(group) = self.all.get_mut(&id) {
            self.timers.remove(&(group.next, id));
            group.next = next;
            self.timers.insert((next, id));
        }
    }

    pub(super) fn remove(&mut self, id: GroupId) {
        if let Some(group) = self.all.remove(&id) {
            self.timers.remove(&(group.next, id));
            self.names.remove(&(group.route, group.labels));
        }
    }

    /// The next timer.
    pub(super) fn next(&self) -> Option<Mono> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// A group whose timer is due.
    pub(super) fn due(&self, now: Mono) -> Option<GroupId> {
        self.timers.first().filter(|(at, _)| *at <= now).map(|(_, id)| *id)
    }
}
