//! Flushes: what of a group is told to whom, and what becomes of it.
//!
//! A flush has the group's interval (at least ten seconds) for all its notices. Tries that fail are repeated ever more
//! slowly until then. Alerts that ended leave the group when everybody was told; until then they stay, for the next flush.

use super::alerts::{GroupId, Stored};
use super::core::Manager;
use super::deliveries::Delivery;
use super::groups::{Flush, Group};
use super::nflog::{AlertSet, needs_notice};
use super::order::InOrder;
use super::route::Route;
use crate::Now;
use skerry_model::{Fingerprint, Labels};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Least time for a flush.
const FLUSH: Duration = Duration::from_secs(10);

impl Manager {
    /// Keys of the log of a group's integrations, each with the receiver's name.
    pub(super) fn log_keys(&self, group: &Group) -> Vec<(String, Arc<str>)> {
        let Some(route) = self.config.routes().route(group.route) else { return Vec::new() };
        let kinds = self.config.receiver(&route.receiver).into_iter().flat_map(|receiver| &receiver.integrations);
        let kinds: Vec<&str> = kinds.map(|integration| integration.kind()).collect();
        (0..kinds.len()).map(|at| (log_key(&group.key, &route.receiver, &kinds, at), route.receiver.clone())).collect()
    }

    /// Tells what there is to tell of a group, and arms its timer.
    pub(super) fn flush(&mut self, id: GroupId, now: Now) {
        let config = self.config.clone();
        let Some(group) = self.groups.get_mut(id) else { return };
        let Some(route) = config.routes().route(group.route) else { return self.groups.remove(id) };
        group.has_flushed = true;
        if group.flush.is_some() {
            // The interval is over before the flush is: as soon as that is done.
            group.is_late = true;
            return self.groups.arm(id, now.mono + FLUSH);
        }
        // Before anything is sent, so that sending does not move it.
        self.groups.arm(id, now.mono + route.group_interval);
        let Some(group) = self.groups.get(id) else { return };
        let members: Vec<(Fingerprint, &Stored)> =
            group.alerts.iter().filter_map(|alert| Some((*alert, self.alerts.get(*alert)?))).collect();
        let ended = members.iter().filter(|(_, stored)| !stored.is_firing(now));
        let ended = ended.map(|(alert, stored)| (*alert, stored.version)).collect();
        let receiver = config.receiver(&route.receiver);
        let receiver =
            receiver.filter(|receiver| self.options.enabled.as_ref().is_none_or(|enabled| enabled(receiver)));
        let mut held = BTreeMap::new();
        let mut flush = Flush {
            told: Vec::new(),
            firing: AlertSet::new(),
            resolved: AlertSet::new(),
            ended,
            open: 0,
            has_failed: false,
        };
        if receiver.is_some() {
            let mut told;
            (told, held) = self.unheld(members, route, now);
            told.sort_by_cached_key(|(_, stored)| InOrder(stored.labels()));
            for (alert, stored) in told {
                let fires = stored.is_firing(now);
                if fires { &mut flush.firing } else { &mut flush.resolved }.insert(alert);
                flush.told.push((alert, (!fires).then(|| stored.ends_at.min(now.wall))));
            }
        }
        let (told_any, key) = (!flush.told.is_empty(), group.key.clone());
        for (reason, count) in held {
            *self.counts.held.entry(reason).or_default() += count;
        }
        if let Some(group) = self.groups.get_mut(id) {
            group.flush = Some(flush);
        }
        if let Some(receiver) = receiver.filter(|_| told_any) {
            let kinds: Vec<&str> = receiver.integrations.iter().map(|integration| integration.kind()).collect();
            for (at, integration) in receiver.integrations.iter().enumerate() {
                let log_key = log_key(&key, &receiver.name, &kinds, at);
                self.tell(id, route, at, integration.kind(), integration.send_resolved(), log_key, now);
            }
        }
        self.finish_if_done(id);
    }

    /// The members that nothing holds back, and that the receiver was not told of elsewhere; and how many others there
    /// are, by why.
    fn unheld<'a>(
        &'a self,
        mut members: Vec<(Fingerprint, &'a Stored)>,
        route: &Route,
        now: Now,
    ) -> (Vec<(Fingerprint, &'a Stored)>, BTreeMap<&'static str, u64>) {
        let mut held = BTreeMap::new();
        let muted = self.config.muted_by(route, now.wall).map(|muted| muted.reason);
        let may_hold = self.may_hold(now);
        members.retain(|(id, stored)| {
            let labels = if may_hold { stored.labels() } else { Labels::default() };
            let (inhibiting, silencing) =
                if may_hold { self.held_by(&labels, now) } else { (AlertSet::new(), Vec::new()) };
            let reason = if !inhibiting.is_empty() {
                Some("inhibition")
            } else if muted.is_some() {
                muted
            } else if !silencing.is_empty() {
                Some("silence")
            } else if self.suppressed.is_told(*id, stored.starts_at, &route.receiver) {
                Some("told_elsewhere")
            } else {
                None
            };
            if let Some(reason) = reason {
                *held.entry(reason).or_default() += 1;
            }
            reason.is_none()
        });
        (members, held)
    }

    /// Tells one integration, if there is something to tell it.
    #[expect(clippy::too_many_arguments, reason = "one place calls it, with what it looked up for all integrations")]
    fn tell(
        &mut self,
        id: GroupId,
        route: &Route,
        index: usize,
        kind: &'static str,
        send_resolved: bool,
        log_key: String,
        now: Now,
    ) {
        let keep = self.options.retention.min(route.repeat_interval.saturating_mul(2));
        let Some(flush) = self.groups.get_mut(id).and_then(|group| group.flush.as_mut()) else { return };
        let entry = self.log.get(&log_key).map(|entry| (entry, entry.age(now)));
        if !needs_notice(entry, &flush.firing, &flush.resolved, send_resolved, route.repeat_interval) {
            return;
        }
        if !send_resolved && flush.firing.is_empty() {
            // Nothing is sent, but the log is to say that nothing fires.
            let sets = (flush.firing.clone(), flush.resolved.clone());
            return self.note_told(log_key, sets, keep, now);
        }
        if self.deliveries.has_key(&log_key) {
            // From before a reload: what comes of it is waited for.
            flush.has_failed = true;
            return;
        }
        flush.open += 1;
        let deadline = now.mono + route.group_interval.max(FLUSH);
        self.deliveries.add(Delivery::new(id, route.receiver.clone(), index, kind, log_key, deadline, keep));
        self.counts.kinds.entry(kind).or_default().notices += 1;
    }

    /// Ends a flush that waits for nothing more: where all were told, alerts that had ended leave.
    pub(super) fn finish_if_done(&mut self, id: GroupId) {
        let Some(group) = self.groups.get_mut(id) else { return };
        let Some(flush) = group.flush.take_if(|flush| flush.open == 0) else { return };
        let is_late = std::mem::take(&mut group.is_late);
        if !flush.has_failed {
            for (alert, version) in flush.ended {
                let is_same = self.alerts.get(alert).is_none_or(|stored| stored.version == version);
                if is_same {
                    self.leave(alert, id);
                }
            }
        }
        if self.groups.get(id).is_some_and(|group| group.alerts.is_empty()) {
            self.groups.remove(id);
        } else if is_late {
            self.groups.arm(id, self.clock.mono);
        }
    }
}

/// Group, receiver, kind, and place among those of its kind.
fn log_key(group: &str, receiver: &str, kinds: &[&str], at: usize) -> String {
    let kind = kinds.get(at).copied().unwrap_or_default();
    let place = kinds.iter().take(at).filter(|other| **other == kind).count();
    format!("{group}:{receiver}/{kind}/{place}")
}
