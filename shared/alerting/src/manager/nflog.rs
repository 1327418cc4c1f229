//! The notification log: what each integration of a group was told last, so that it is told again only when there is
//! something to tell.
//!
//! An entry also says what is owed: alerts that a receiver should have been told of and could not be reached for. They
//! are told, as firing or as resolved, once it can be reached, also after a restart; upstream forgets those that ended in
//! between.
//!
//! Invariants:
//! - Entries are written after success, or when something comes to be owed, and expire.
//! - Ages are measured by the monotonic clock: a wall clock that steps makes nobody hear anything again. Over a restart
//!   the wall clock stands in; an entry from its future counts as new.

use crate::Now;
use serde_json::{Map, Value, json};
use skerry_model::{Fingerprint, UnixMillis};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A set of alerts.
pub type AlertSet = BTreeSet<Fingerprint>;

/// What an integration of a group was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Alerts it was told of as firing in the last notice.
    pub firing: AlertSet,
    /// Alerts it was told of as resolved in the last notice.
    pub resolved: AlertSet,
    /// Alerts it is to be told of still.
    pub owed: AlertSet,
    /// Flushes that could not reach it since something is owed.
    pub failures: u32,
    /// When it was told, by the wall clock.
    pub told_at: UnixMillis,
    /// When it was told, in monotonic milliseconds; before the start, so negative, for those kept over a restart.
    pub told_ms: i64,
    /// When the entry expires, in monotonic milliseconds.
    pub expires_ms: i64,
}

/// Whether an integration is to be told, by Alertmanager's rules.
///
/// `entry` is what it was told last, with the age of that; `firing` and `resolved` are what it would be told now.
#[must_use]
pub fn needs_notice(
    entry: Option<(&Entry, Duration)>,
    firing: &AlertSet,
    resolved: &AlertSet,
    send_resolved: bool,
    repeat: Duration,
) -> bool {
    let Some((entry, age)) = entry else { return !firing.is_empty() };
    if entry.owed.iter().any(|alert| firing.contains(alert) || resolved.contains(alert)) {
        return true;
    }
    if !firing.is_subset(&entry.firing) {
        return true;
    }
    if firing.is_empty() {
        // Also where resolved alerts are not sent: the log is to say that nothing fires.
        return !entry.firing.is_empty();
    }
    (send_resolved && !resolved.is_subset(&entry.resolved)) || age > repeat
}

/// Entries by key: group key, receiver, kind and place of the integration.
#[derive(Debug, Default)]
pub(super) struct Log(BTreeMap<String, Entry>);

impl Log {
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.0.get(key)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn set(&mut self, key: String, entry: Entry) {
        self.0.insert(key, entry);
    }

    /// The entry of a key, a blank one where there is none.
    pub(super) fn entry(&mut self, key: &str, now: Now, keep: Duration) -> &mut Entry {
        let blank = || Entry {
            firing: AlertSet::new(),
            resolved: AlertSet::new(),
            owed: AlertSet::new(),
            failures: 0,
            told_at: UnixMillis(0),
            told_ms: mono_ms(now),
            expires_ms: mono_ms(now).saturating_add(ms(keep)),
        };
        self.0.entry(key.to_owned()).or_insert_with(blank)
    }

    /// Whether a key is known or may be added.
    pub(super) fn fits(&self, key: &str, count_max: usize) -> bool {
        self.0.len() < count_max || self.0.contains_key(key)
    }

    /// Forgets expired entries; their keys.
    pub(super) fn forget(&mut self, now: Now) -> Vec<String> {
        let now_ms = mono_ms(now);
        let over = self.0.iter().filter(|(_, entry)| entry.expires_ms <= now_ms);
        let keys: Vec<String> = over.map(|(key, _)| key.clone()).collect();
        for key in &keys {
            self.0.remove(key);
        }
        keys
    }

    /// When the next entry expires, in monotonic milliseconds.
    pub(super) fn all(&self) -> impl Iterator<Item = (&String, &Entry)> {
        self.0.iter()
    }
}

impl Entry {
    /// How long ago it was told.
    #[must_use]
    pub fn age(&self, now: Now) -> Duration {
        Duration::from_millis(u64::try_from(mono_ms(now).saturating_sub(self.told_ms)).unwrap_or(0))
    }

    /// As it is kept on disk; `now` tells which moment of the wall clock its expiry is.
    pub(super) fn save(&self, now: Now) -> Vec<u8> {
        let set = |set: &AlertSet| set.iter().map(|alert| alert.0).collect::<Vec<u64>>();
        let wall = |at_ms: i64| now.wall.0.saturating_add(at_ms.saturating_sub(mono_ms(now)));
        let value = json!({
            "firing": set(&self.firing), "resolved": set(&self.resolved), "owed": set(&self.owed),
            "failures": self.failures, "told": self.told_at.0, "at": wall(self.told_ms), "to": wall(self.expires_ms),
        });
        value.to_string().into_bytes()
    }

    /// As it was kept on disk.
    pub(super) fn load(bytes: &[u8], now: Now) -> Option<Self> {
        let value: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
        let set = |key: &str| {
            let alerts = value.get(key)?.as_array()?.iter();
            alerts.map(|alert| alert.as_u64().map(Fingerprint)).collect::<Option<AlertSet>>()
        };
        let number = |key: &str| value.get(key)?.as_i64();
        let mono = |wall: i64| mono_ms(now).saturating_add(wall.saturating_sub(now.wall.0));
        let (at, to) = (number("at")?, number("to")?);
        let kept_ms = to.saturating_sub(at).max(0);
        // From the future of a clock that was set back: as if it were told now.
        let told_ms = mono(at).min(mono_ms(now));
        Some(Self {
            firing: set("firing")?,
            resolved: set("resolved")?,
            owed: set("owed")?,
            failures: u32::try_from(number("failures")?).ok()?,
            told_at: UnixMillis(number("told")?),
            told_ms,
            expires_ms: told_ms.saturating_add(kept_ms),
        })
    }
}

/// The monotonic clock as a number that may go below zero.
pub(super) fn mono_ms(now: Now) -> i64 {
    i64::try_from(now.mono.0).unwrap_or(i64::MAX)
}

/// A span as milliseconds.
pub(super) fn ms(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
