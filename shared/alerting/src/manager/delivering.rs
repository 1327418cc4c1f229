//! Notices on their way: first tries, further ones, and what becomes of them.

use super::core::{Manager, Notice, NoticeId};
use super::nflog::{AlertSet, Entry, mono_ms, ms};
use crate::Now;
use crate::notify::{Data, Outcome};
use skerry_model::{Alert, Fingerprint, UnixMillis};
use std::time::Duration;

/// Wait before the second try.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// Longest wait between two tries.
const RETRY_LAST: Duration = Duration::from_secs(60);

impl Manager {
    /// Gives up what took too long, and lines up what is to be tried again.
    pub(super) fn expire_deliveries(&mut self, now: Now) {
        while let Some(number) = self.deliveries.take_due(now.mono) {
            let Some(delivery) = self.deliveries.get(number) else { continue };
            if now.mono >= delivery.deadline {
                self.fail(number, "contextDeadlineExceeded", now);
                continue;
            }
            let deadline = delivery.deadline;
            self.deliveries.arm(number, deadline);
            self.deliveries.line_up(number);
        }
    }

    /// Notices for all that may be tried now.
    pub(super) fn begin_deliveries(&mut self, now: Now) -> Vec<Notice> {
        let mut notices = Vec::new();
        while let Some(number) = self.deliveries.take_ready() {
            match self.notice(number, now) {
                Some(notice) => notices.push(notice),
                None => self.fail(number, "contextDeadlineExceeded", now),
            }
        }
        notices
    }

    /// The notice for one more try; `None` where its group is gone.
    fn notice(&mut self, number: u64, now: Now) -> Option<Notice> {
        let config = self.config.clone();
        let delivery = self.deliveries.get_mut(number)?;
        let integration = config.receiver(&delivery.receiver)?.integrations.get(delivery.index)?;
        let group = self.groups.get(delivery.group?)?;
        let told = &group.flush.as_ref()?.told;
        let told = told.iter().filter(|(_, ended)| integration.send_resolved() || ended.is_none());
        let alerts: Vec<Alert> = told
            .filter_map(|(alert, ended)| {
                let mut alert = self.alerts.get(*alert)?.alert();
                alert.ends_at = ended.unwrap_or(UnixMillis(i64::MAX));
                Some(alert)
            })
            .collect();
        delivery.attempt += 1;
        let url = &self.options.external_url;
        let notice = Notice {
            id: NoticeId(number),
            receiver: delivery.receiver.clone(),
            index: delivery.index,
            data: Data::new(&delivery.receiver, group.labels.clone(), &alerts, url, &group.key, now.wall),
            deadline: delivery.deadline,
            attempt: delivery.attempt,
        };
        self.counts.kinds.entry(delivery.kind).or_default().requests += 1;
        self.deliveries.arm(number, notice.deadline);
        self.deliveries.set_out(number, true);
        Some(notice)
    }

    /// Says what became of a notice. One that is not waited for any more is of no account.
    pub fn done(&mut self, notice: NoticeId, outcome: Outcome, now: Now) {
        self.clock = now;
        let number = notice.0;
        let Some(delivery) = self.deliveries.get(number).filter(|delivery| delivery.is_out) else { return };
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
                // Spread, so that what failed together is not tried together.
                let spread = 0.5 + (self.random.number() >> 11) as f64 / (1_u64 << 53) as f64;
                let wait = backoff(delivery.attempt).mul_f64(spread).max(after.unwrap_or_default());
                let at = (now.mono + wait).min(delivery.deadline);
                self.deliveries.set_out(number, false);
                self.deliveries.arm(number, at);
            }
            Outcome::Failed { .. } => {
                self.counts.kinds.entry(delivery.kind).or_default().requests_failed += 1;
                self.fail(number, "clientError", now);
            }
        }
    }

    /// What a delivery tells: firing and resolved.
    fn sets_of(&self, number: u64) -> Option<(AlertSet, AlertSet)> {
        let delivery = self.deliveries.get(number)?;
        let flush = delivery.group.and_then(|group| self.groups.get(group)?.flush.as_ref());
        flush.map(|flush| (flush.firing.clone(), flush.resolved.clone())).or_else(|| delivery.sets.clone())
    }

    /// Writes into the log what an integration was told.
    pub(super) fn note_told(
        &mut self,
        log_key: String,
        (firing, resolved): (AlertSet, AlertSet),
        keep: Duration,
        now: Now,
    ) {
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
        let Some(delivery) = self.deliveries.get(number) else { return };
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
        let Some(delivery) = self.deliveries.remove(number) else { return };
        let Some(id) = delivery.group else { return };
        if let Some(flush) = self.groups.get_mut(id).and_then(|group| group.flush.as_mut()) {
            flush.open = flush.open.saturating_sub(1);
            flush.has_failed |= !is_told;
        }
        self.finish_if_done(id);
    }

    /// Lets notices under way go on without their groups. Those that wait to be tried are dropped: their groups will ask
    /// anew.
    pub(super) fn detach_deliveries(&mut self) {
        let numbers = self.deliveries.numbers();
        for number in numbers {
            let sets = self.sets_of(number);
            match self.deliveries.get_mut(number) {
                Some(delivery) if delivery.is_out => {
                    delivery.sets = sets;
                    delivery.group = None;
                }
                _ => drop(self.deliveries.remove(number)),
            }
        }
    }
}

/// The wait before the try after this one: half a second, and half as much more each time.
fn backoff(attempt: u32) -> Duration {
    let factor = 1.5_f64.powi(i32::try_from(attempt.saturating_sub(1).min(30)).unwrap_or(30));
    RETRY_FIRST.mul_f64(factor).min(RETRY_LAST)
}
