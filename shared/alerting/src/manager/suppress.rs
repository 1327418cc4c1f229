//! Episodes of alerts of which receivers were told elsewhere: by the node, before the centre heard of it.

use super::nflog::{mono_ms, ms};
use crate::Now;
use serde_json::{Map, Value, json};
use skerry_model::{Fingerprint, UnixMillis};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long an episode is remembered; longer than any that is still told about.
const KEEP: Duration = Duration::from_secs(30 * 24 * 3600);
/// By how much two clocks may differ on when an episode began.
const SLACK_MS: i64 = 1_000;

/// Who was told of one episode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) starts_at: UnixMillis,
    pub(super) receivers: Vec<String>,
    expires_ms: i64,
}

/// The last such episode of each alert.
#[derive(Debug, Default)]
pub(super) struct Suppressed(BTreeMap<Fingerprint, Told>);

impl Suppressed {
    /// False where it does not fit.
    pub(super) fn add(
        &mut self,
        alert: Fingerprint,
        starts_at: UnixMillis,
        receivers: Vec<String>,
        now: Now,
        count_max: usize,
    ) -> bool {
        if self.0.len() >= count_max && !self.0.contains_key(&alert) {
            return false;
        }
        self.0.insert(alert, Told { starts_at, receivers, expires_ms: mono_ms(now).saturating_add(ms(KEEP)) });
        true
    }

    /// Whether this receiver was told elsewhere of the episode that began at `starts_at`.
    pub(super) fn is_told(&self, id: Fingerprint, starts_at: UnixMillis, receiver: &str) -> bool {
        self.0.get(&id).is_some_and(|told| {
            starts_at.0 <= told.starts_at.0.saturating_add(SLACK_MS)
                && told.receivers.iter().any(|name| name == receiver)
        })
    }

    /// Forgets old ones; which.
    pub(super) fn forget(&mut self, now: Now) -> Vec<Fingerprint> {
        let now_ms = mono_ms(now);
        let over: Vec<Fingerprint> =
            self.0.iter().filter(|(_, told)| told.expires_ms <= now_ms).map(|(id, _)| *id).collect();
        for id in &over {
            self.0.remove(id);
        }
        over
    }

    /// As it is kept on disk.
    pub(super) fn save(&self, alert: Fingerprint) -> Option<Vec<u8>> {
        let told = self.0.get(&alert)?;
        Some(json!({ "from": told.starts_at.0, "receivers": told.receivers }).to_string().into_bytes())
    }

    /// Puts back what was kept.
    pub(super) fn load(&mut self, alert: Fingerprint, bytes: &[u8], now: Now, count_max: usize) -> Option<()> {
        let value: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
        let names = value.get("receivers")?.as_array()?.iter();
        let receivers = names.map(|name| name.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()?;
        let starts_at = UnixMillis(value.get("from")?.as_i64()?);
        self.add(alert, starts_at, receivers, now, count_max).then_some(())
    }
}
