//! The alerts that are known: those that fire, and those that ended and of which somebody is to be told yet.
//!
//! Invariants:
//! - An alert stays as long as a group has it, and goes when it has ended and no group has it.
//! - Its end is a moment of the monotonic clock: a wall clock that steps resolves nothing.

use super::nflog::{mono_ms, ms};
use super::packed::Packed;
use crate::Now;
use skerry_model::{Alert, Fingerprint, Labels, UnixMillis};
use std::collections::BTreeMap;
use std::time::Duration;

/// Names a group.
pub(super) type GroupId = u32;

/// An alert and where it stands.
#[derive(Debug)]
pub(super) struct Stored {
    /// Who it is and what people are told, as it was said last.
    texts: Packed,
    /// Since when it fires, by all that was said.
    pub(super) starts_at: UnixMillis,
    /// When it ends, by the wall clock: to be shown.
    pub(super) ends_at: UnixMillis,
    updated_at: UnixMillis,
    /// When it ends, in monotonic milliseconds: what counts.
    ends_ms: i64,
    /// Counts what was said of it: a notice clears only what it told.
    pub(super) version: u32,
    /// Whether the end was assumed.
    is_timeout: bool,
    /// The groups it is in.
    pub(super) groups: Membership,
    /// What is on disk of it: its start, and whether it fired.
    pub(super) saved: Option<(UnixMillis, bool)>,
}

impl Stored {
    fn new(alert: &Alert, ends_ms: i64) -> Self {
        Self {
            texts: Packed::new(&alert.labels, &alert.annotations, &alert.generator_url),
            starts_at: alert.starts_at,
            ends_at: alert.ends_at,
            updated_at: alert.updated_at,
            ends_ms,
            version: 0,
            is_timeout: alert.is_timeout,
            groups: Membership::default(),
            saved: None,
        }
    }

    /// Whether it fires at `now`.
    pub(super) fn is_firing(&self, now: Now) -> bool {
        self.ends_ms > mono_ms(now)
    }

    pub(super) fn labels(&self) -> Labels {
        self.texts.labels()
    }

    pub(super) fn alert(&self) -> Alert {
        let (labels, annotations, generator_url) = self.texts.unpack();
        Alert {
            labels,
            annotations,
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            is_timeout: self.is_timeout,
            generator_url,
            updated_at: self.updated_at,
        }
    }
}

/// The groups of an alert: one, mostly.
#[derive(Debug, Default)]
pub(super) struct Membership {
    first: Option<GroupId>,
    more: Vec<GroupId>,
}

impl Membership {
    pub(super) fn iter(&self) -> impl Iterator<Item = GroupId> {
        self.first.into_iter().chain(self.more.iter().copied())
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn add(&mut self, group: GroupId) {
        if self.first.is_none() {
            self.first = Some(group);
        } else if !self.iter().any(|known| known == group) {
            self.more.push(group);
        }
    }

    pub(super) fn remove(&mut self, group: GroupId) {
        self.more.retain(|known| *known != group);
        if self.first == Some(group) {
            self.first = self.more.pop();
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Alerts(BTreeMap<Fingerprint, Stored>);

/// What became of an alert that was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing was known of it.
    New,
    /// It was known.
    Known,
    /// It does not fit.
    Full,
}

impl Alerts {
    pub(super) fn get(&self, alert: Fingerprint) -> Option<&Stored> {
        self.0.get(&alert)
    }

    pub(super) fn get_mut(&mut self, alert: Fingerprint) -> Option<&mut Stored> {
        self.0.get_mut(&alert)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Fingerprint, &Stored)> {
        self.0.iter().map(|(id, stored)| (*id, stored))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn remove(&mut self, alert: Fingerprint) -> Option<Stored> {
        self.0.remove(&alert)
    }

    pub(super) fn is_firing(&self, alert: Fingerprint, now: Now) -> bool {
        self.0.get(&alert).is_some_and(|stored| stored.is_firing(now))
    }

    /// Takes an alert in: fills what was left out, merges it with what is known of it.
    pub(super) fn hear(
        &mut self,
        id: Fingerprint,
        mut alert: Alert,
        resolve_timeout: Duration,
        count_max: usize,
        now: Now,
    ) -> Heard {
        if alert.starts_at.0 == 0 {
            alert.starts_at = if alert.ends_at.0 == 0 { now.wall } else { alert.ends_at };
        }
        if alert.ends_at.0 == 0 {
            alert.is_timeout = true;
            alert.ends_at = now.wall + resolve_timeout;
        }
        alert.updated_at = now.wall;
        let ends_ms = mono_ms(now).saturating_add(alert.ends_at.0.saturating_sub(now.wall.0));
        let Some(old) = self.0.get_mut(&id) else {
            if self.0.len() >= count_max {
                return Heard::Full;
            }
            self.0.insert(id, Stored::new(&alert, ends_ms));
            return Heard::New;
        };
        let inside = |at: UnixMillis| at > old.starts_at && at < old.ends_at;
        let mut ends_ms = ends_ms;
        if inside(alert.ends_at) || inside(alert.starts_at) {
            let now_ms = mono_ms(now);
            alert.starts_at = alert.starts_at.min(old.starts_at);
            let later = old.ends_ms > ends_ms;
            // Of two ends in the past the later one counts; of an end to come, one that was named.
            let wins = if ends_ms <= now_ms { old.ends_ms <= now_ms } else { !old.is_timeout };
            if later && wins {
                ends_ms = old.ends_ms;
                alert.ends_at = old.ends_at;
                alert.is_timeout = old.is_timeout;
            }
        }
        let heard = Stored::new(&alert, ends_ms);
        let groups = std::mem::take(&mut old.groups);
        *old = Stored { version: old.version.wrapping_add(1), groups, saved: old.saved, ..heard };
        Heard::Known
    }

    /// Puts back an alert that was kept. One that fired goes on for at least `grace`, since nobody was there to say that
    /// it does.
    pub(super) fn restore(&mut self, id: Fingerprint, mut alert: Alert, fires: bool, grace: Duration, now: Now) {
        let left_ms = alert.ends_at.0.saturating_sub(now.wall.0);
        let ends_ms = if fires {
            let left_ms = left_ms.max(ms(grace));
            alert.is_timeout = true;
            alert.ends_at = UnixMillis(now.wall.0.saturating_add(left_ms));
            mono_ms(now).saturating_add(left_ms)
        } else {
            mono_ms(now).saturating_add(left_ms.min(0))
        };
        let saved = Some((alert.starts_at, fires));
        self.0.insert(id, Stored { saved, ..Stored::new(&alert, ends_ms) });
    }
}
