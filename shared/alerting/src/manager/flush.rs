//! Flushes: what of a group is told to whom, and what becomes of it.
//!
//! A flush has the group's interval (at least ten seconds) for all its notices. Tries that fail are repeated ever more
//! slowly until then. Alerts that ended leave the group when everybody was told; until then they stay, for the next flush.

use super::alerts::{GroupId, Stored};
use super::core::{Manager, Notice, NoticeId};
use super::groups::{Flush, Group};
use super::nflog::{AlertSet, Entry, mono_ms, ms, needs_notice};
use super::route::Route;
use crate::Now;
use crate::notify::{Data, Outcome};
use skerry_model::{Alert, Fingerprint, Labels, Mono, UnixMillis};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Least time for a flush.
const FLUSH: Duration = Duration::from_secs(10);
/// Wait before the second try.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// Longest wait between two tries.
const RETRY_LAST: Duration = Duration::from_secs(60);

/// One integration that is being told.
#[derive(Debug)]
pub(super) struct Delivery {
    /// The group; `None` where a reload took it away meanwhile.
    group: Option<GroupId>,
    receiver: Arc<str>,
    index: usize,
    kind: &'static str,
    log_key: String,
    attempt: u32,
    /// A shell has it; else it waits to be tried again.
    is_out: bool,
    /// When it has to be looked at.
    timer: Mono,
    deadline: Mono,
    /// How long the log will remember it.
    keep: Duration,
    /// What it tells, where the group is gone.
    sets: Option<(AlertSet, AlertSet)>,
}

impl Manager {
    /// Keys of the log of a group's integrations, each with the receiver's name.
    pub(super) fn log_keys(&self, group: &Group) -> Vec<(String, Arc<str>)> {
        let Some(route) = self.config.routes().route(group.route) else { return Vec::new() };
        let kinds = self.config.receiver(&route.receiver).into_iter().flat_map(|receiver| &receiver.integrations);
        let kinds: Vec<&str> = kinds.map(|integration| integration.kind()).collect();
        (0..kinds.len()).map(|at| (log_key(&group.key, &route.receiver, &kinds, at), route.receiver.clone())).collect()
    }

    /// Tells what there is to tell of a group, and arms its timer.
    pub(super) fn flush(&mut self, id: GroupId, now: Now, notices: &mut Vec<Notice>) {
        let config = self.config.clone();
        let Some(group) = self.groups.get_mut(id) else { return };
        let Some(route) = config.routes().route(group.route) else { return self.groups.remove(id) };
        group.has_flushed = true;
        if group.flush.is_some() {
            // Ten seconds are not over, but the interval is: as soon as the flush under way is done.
            let until = self.flush_deadline(id).unwrap_or(now.mono + FLUSH);
            return self.groups.arm(id, until.max(now.mono + Duration::from_millis(1)));
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
                self.tell(id, route, at, integration.kind(), integration.send_resolved(), log_key, now, notices);
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
        notices: &mut Vec<Notice>,
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
        if self.deliveries.values().any(|delivery| delivery.log_key == log_key) {
            // From before a reload: what comes of it is waited for.
            flush.has_failed = true;
            return;
        }
        flush.open += 1;
        self.last_delivery += 1;
        let number = self.last_delivery;
        let deadline = now.mono + route.group_interval.max(FLUSH);
        let delivery = Delivery {
            group: Some(id),
            receiver: route.receiver.clone(),
            index,
            kind,
            log_key,
            attempt: 0,
            is_out: false,
            timer: deadline,
            deadline,
            keep,
            sets: None,
        };
        self.deliveries.insert(number, delivery);
        self.delivery_timers.insert((deadline, number));
        self.counts.kinds.entry(kind).or_default().notices += 1;
        notices.extend(self.try_now(number, send_resolved, now));
    }

    /// Looks after notices whose time has come: those to be tried again, and those that took too long.
    pub(super) fn poll_deliveries(&mut self, now: Now, notices: &mut Vec<Notice>) {
        while let Some((at, number)) = self.delivery_timers.first().copied()
            && at <= now.mono
        {
            self.delivery_timers.pop_first();
            let Some(delivery) = self.deliveries.get(&number) else { continue };
            if delivery.is_out || now.mono >= delivery.deadline {
                self.fail(number, "contextDeadlineExceeded", now);
                continue;
            }
            let config = self.config.clone();
            let integration =
                config.receiver(&delivery.receiver).and_then(|receiver| receiver.integrations.get(delivery.index));
            let send_resolved = integration.is_some_and(|integration| integration.send_resolved());
            match self.try_now(number, send_resolved, now) {
                Some(notice) => notices.push(notice),
                None => self.fail(number, "contextDeadlineExceeded", now),
            }
        }
    }

    /// The notice for one more try; `None` where its group is gone.
    fn try_now(&mut self, number: u64, send_resolved: bool, now: Now) -> Option<Notice> {
        let delivery = self.deliveries.get_mut(&number)?;
        let group = self.groups.get(delivery.group?)?;
        let told = &group.flush.as_ref()?.told;
        let told = told.iter().filter(|(_, ended)| send_resolved || ended.is_none());
        let alerts: Vec<Alert> = told
            .filter_map(|(alert, ended)| {
                let mut alert = self.alerts.get(*alert)?.alert();
                alert.ends_at = ended.unwrap_or(UnixMillis(i64::MAX));
                Some(alert)
            })
            .collect();
        delivery.attempt += 1;
        delivery.is_out = true;
        self.delivery_timers.remove(&(delivery.timer, number));
        delivery.timer = delivery.deadline;
        self.delivery_timers.insert((delivery.deadline, number));
        self.counts.kinds.entry(delivery.kind).or_default().requests += 1;
        let url = &self.options.external_url;
        Some(Notice {
            id: NoticeId(number),
            receiver: delivery.receiver.clone(),
            index: delivery.index,
            data: Data::new(&delivery.receiver, group.labels.clone(), &alerts, url, &group.key, now.wall),
            deadline: delivery.deadline,
            attempt: delivery.attempt,
        })
    }

    /// Says what became of a notice. One that is not waited for any more is of no account.
    pub fn done(&mut self, notice: NoticeId, outcome: Outcome, now: Now) {
        self.clock = now;
        let number = notice.0;
        let Some(delivery) = self.deliveries.get_mut(&number).filter(|delivery| delivery.is_out) else { return };
        match outcome {
            Outcome::Sent => {
                let (log_key, keep) = (delivery.log_key.clone(), delivery.keep);
                if let Some(sets) = self.sets_of(number) {
                    self.note_told(log_key, sets, keep, now);
                }
                self.close(number, true);
            }
            Outcome::Retry { after, .. } => {
                self.counts.kinds.entry(delivery.kind).or_default().requests_failed += 1;
                let wait =
                    backoff(delivery.attempt).mul_f64(0.5 + (self.random.number() >> 11) as f64 / (1u64 << 53) as f64);
                let wait = wait.max(after.unwrap_or_default());
                self.delivery_timers.remove(&(delivery.timer, number));
                delivery.is_out = false;
                delivery.timer = (now.mono + wait).min(delivery.deadline);
                self.delivery_timers.insert((delivery.timer, number));
            }
            Outcome::Failed { .. } => {
                self.counts.kinds.entry(delivery.kind).or_default().requests_failed += 1;
                self.fail(number, "clientError", now);
            }
        }
    }

    /// What a delivery tells: firing and resolved.
    fn sets_of(&self, number: u64) -> Option<(AlertSet, AlertSet)> {
        let delivery = self.deliveries.get(&number)?;
        let flush = delivery.group.and_then(|group| self.groups.get(group)?.flush.as_ref());
        flush.map(|flush| (flush.firing.clone(), flush.resolved.clone())).or_else(|| delivery.sets.clone())
    }

    /// Writes into the log what an integration was told.
    fn note_told(&mut self, log_key: String, (firing, resolved): (AlertSet, AlertSet), keep: Duration, now: Now) {
        if !self.log.fits(&log_key, self.options.bounds.log_entries) {
            self.counts.dropped_log += 1;
            return;
        }
        let told_ms = mono_ms(now);
        let entry = Entry {
            firing,
            resolved,
            owed: AlertSet::new(),
            failures: 0,
            told_at: now.wall,
            told_ms,
            expires_ms: told_ms.saturating_add(ms(keep)),
        };
        self.dirty.insert(format!("log/{log_key}"));
        self.log.set(log_key, entry);
    }

    /// Gives a notice up until the next flush. Of a receiver that could not be reached in time is noted what it is owed.
    fn fail(&mut self, number: u64, reason: &'static str, now: Now) {
        let Some(delivery) = self.deliveries.get(&number) else { return };
        let log_key = delivery.log_key.clone();
        *self.counts.kinds.entry(delivery.kind).or_default().failed.entry(reason).or_default() += 1;
        let can_come = reason == "contextDeadlineExceeded";
        if let Some((firing, _)) = self.sets_of(number).filter(|_| can_come) {
            self.note_owed(log_key, firing, now);
        }
        self.close(number, false);
    }

    fn note_owed(&mut self, log_key: String, firing: AlertSet, now: Now) {
        let bounds = self.options.bounds;
        if !self.log.fits(&log_key, bounds.log_entries) {
            self.counts.dropped_log += 1;
            return;
        }
        let entry = self.log.entry(&log_key, now, self.options.retention);
        let news: Vec<Fingerprint> = firing.difference(&entry.firing).copied().collect();
        if news.is_empty() && entry.owed.is_empty() {
            return;
        }
        entry.failures = entry.failures.saturating_add(1);
        if entry.failures >= bounds.owed_flushes {
            self.counts.given_up += entry.owed.len() as u64;
            entry.owed.clear();
        } else {
            entry.owed.extend(news);
        }
        self.dirty.insert(format!("log/{log_key}"));
    }

    fn close(&mut self, number: u64, is_told: bool) {
        let Some(delivery) = self.deliveries.remove(&number) else { return };
        self.delivery_timers.remove(&(delivery.timer, number));
        let Some(id) = delivery.group else { return };
        if let Some(flush) = self.groups.get_mut(id).and_then(|group| group.flush.as_mut()) {
            flush.open = flush.open.saturating_sub(1);
            flush.has_failed |= !is_told;
        }
        self.finish_if_done(id);
    }

    /// Ends a flush that waits for nothing more: where all were told, alerts that had ended leave.
    fn finish_if_done(&mut self, id: GroupId) {
        let Some(group) = self.groups.get_mut(id) else { return };
        let Some(flush) = group.flush.take_if(|flush| flush.open == 0) else { return };
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
        }
    }

    /// The latest deadline of the notices of a group.
    fn flush_deadline(&self, id: GroupId) -> Option<Mono> {
        self.deliveries.values().filter(|delivery| delivery.group == Some(id)).map(|delivery| delivery.deadline).max()
    }

    /// Lets notices under way go on without their groups. Those that wait to be tried again are dropped: their groups
    /// will ask anew.
    pub(super) fn detach_deliveries(&mut self) {
        let numbers: Vec<u64> = self.deliveries.keys().copied().collect();
        for number in numbers {
            let sets = self.sets_of(number);
            let Some(delivery) = self.deliveries.get_mut(&number) else { continue };
            if delivery.is_out {
                delivery.sets = sets;
                delivery.group = None;
            } else {
                self.delivery_timers.remove(&(delivery.timer, number));
                self.deliveries.remove(&number);
            }
        }
    }
}

/// The wait before the try after this one: half a second, and half as much more each time.
fn backoff(attempt: u32) -> Duration {
    let factor = 1.5_f64.powi(i32::try_from(attempt.saturating_sub(1).min(30)).unwrap_or(30));
    RETRY_FIRST.mul_f64(factor).min(RETRY_LAST)
}

/// Group, receiver, kind, and place among those of its kind.
fn log_key(group: &str, receiver: &str, kinds: &[&str], at: usize) -> String {
    let kind = kinds.get(at).copied().unwrap_or_default();
    let place = kinds.iter().take(at).filter(|other| **other == kind).count();
    format!("{group}:{receiver}/{kind}/{place}")
}

/// Labels that compare by [`in_order`].
#[derive(PartialEq, Eq)]
struct InOrder(Labels);

impl Ord for InOrder {
    fn cmp(&self, other: &Self) -> Ordering {
        in_order(&self.0, &other.0)
    }
}

impl PartialOrd for InOrder {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The order of alerts in a notice: by job, by instance, then fewer labels first, then by labels.
pub(super) fn in_order(a: &Labels, b: &Labels) -> Ordering {
    for name in ["job", "instance"] {
        let by = match (a.value(name), b.value(name)) {
            ("", "") => Ordering::Equal,
            ("", _) => Ordering::Greater,
            (_, "") => Ordering::Less,
            (a, b) => a.cmp(b),
        };
        if by != Ordering::Equal {
            return by;
        }
    }
    labels_in_order(a, b)
}

/// Alertmanager's order of label sets: fewer labels first, then by each name, then by its value.
pub(super) fn labels_in_order(a: &Labels, b: &Labels) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| {
        for ((name_a, value_a), (name_b, value_b)) in a.iter().zip(b.iter()) {
            // Whoever lacks the smaller name comes first.
            let by = name_b.cmp(name_a).then_with(|| value_a.cmp(value_b));
            if by != Ordering::Equal {
                return by;
            }
        }
        Ordering::Equal
    })
}
