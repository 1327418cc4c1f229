//! What has to be on disk, so that a restart tells nobody twice and forgets no silence: alerts, silences, the log, and
//! what was told elsewhere.
//!
//! An alert is written when it begins, when it ends and when it is gone, not each time it is heard: flash wears.

use super::core::{Manager, Saved, Saving};
use super::nflog::Entry;
use super::silence::Silence;
use crate::Now;
use serde_json::{Map, Value, json};
use skerry_model::{Alert, Fingerprint, Labels, UnixMillis};

impl Manager {
    /// What changed since this was asked last.
    pub fn take_changes(&mut self) -> Vec<Saving> {
        let now = self.clock;
        let dirty = std::mem::take(&mut self.dirty);
        let value = |manager: &mut Self, key: &str| -> Option<Vec<u8>> {
            let (kind, id) = key.split_once('/')?;
            match kind {
                "silence" => manager.silences.all().get(id).map(Silence::save),
                "log" => manager.log.get(id).map(|entry| entry.save(now)),
                "told" => manager.suppressed.save(id.parse().ok()?),
                "alert" => {
                    let stored = manager.alerts.get_mut(id.parse().ok()?)?;
                    let fires = stored.is_firing(now);
                    stored.saved = Some((stored.starts_at, fires));
                    Some(save_alert(&stored.alert(), fires))
                }
                _ => None,
            }
        };
        dirty
            .into_iter()
            .map(|key| {
                let value = value(self, &key);
                (key, value)
            })
            .collect()
    }

    /// Whether [`Manager::take_changes`] has something to give.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Puts back what was kept; what is damaged or unknown is counted.
    pub(super) fn restore(&mut self, saved: Saved, now: Now) {
        for (key, bytes) in saved {
            if self.restore_one(&key, &bytes, now).is_none() {
                self.counts.saved_skipped += 1;
                // Nothing will ever read it: it goes.
                self.dirty.insert(key);
            }
        }
    }

    fn restore_one(&mut self, key: &str, bytes: &[u8], now: Now) -> Option<()> {
        let bounds = self.options.bounds;
        let (kind, id) = key.split_once('/')?;
        match kind {
            "silence" => {
                let silence = Silence::load(bytes).filter(|silence| silence.id == id)?;
                self.silences.restore(silence, now.wall).then_some(())
            }
            "log" => {
                let entry = Entry::load(bytes, now)?;
                self.log.fits(id, bounds.log_entries).then(|| self.log.set(id.to_owned(), entry))
            }
            "told" => self.suppressed.load(id.parse().ok()?, bytes, now, bounds.suppressed),
            "alert" => {
                let (alert, fires) = load_alert(bytes)?;
                let id: Fingerprint = id.parse().ok()?;
                let fits = self.alerts.len() < bounds.alerts && alert.fingerprint() == id;
                fits.then(|| self.alerts.restore(id, alert, fires, self.options.restore_grace, now))
            }
            _ => None,
        }
    }
}

fn save_alert(alert: &Alert, fires: bool) -> Vec<u8> {
    let pairs = |labels: &Labels| labels.iter().map(|(n, v)| json!([n, v])).collect::<Vec<Value>>();
    let value = json!({
        "labels": pairs(&alert.labels), "annotations": pairs(&alert.annotations), "from": alert.starts_at.0,
        "to": alert.ends_at.0, "url": alert.generator_url, "at": alert.updated_at.0, "fires": fires,
    });
    value.to_string().into_bytes()
}

fn load_alert(bytes: &[u8]) -> Option<(Alert, bool)> {
    let value: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
    let labels = |key: &str| {
        let pair = |pair: &Value| Some((pair.get(0)?.as_str()?.to_owned(), pair.get(1)?.as_str()?.to_owned()));
        let pairs = value.get(key)?.as_array()?.iter().map(pair).collect::<Option<Vec<_>>>()?;
        Labels::new(pairs).ok()
    };
    let time = |key: &str| value.get(key)?.as_i64().map(UnixMillis);
    let alert = Alert {
        labels: labels("labels")?,
        annotations: labels("annotations")?,
        starts_at: time("from")?,
        ends_at: time("to")?,
        is_timeout: false,
        generator_url: value.get("url")?.as_str()?.to_owned(),
        updated_at: time("at")?,
    };
    Some((alert, value.get("fires")?.as_bool()?))
}
