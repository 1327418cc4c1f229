//! State from before a restart, as `ALERTS_FOR_STATE` holds it.

use super::alerts::{ALERTS_FOR_STATE, Before};
use super::evaluation::{Turning, before};
use super::rule::Rule;
use crate::rules::texts::cut;
use skerry_model::{Labels, UnixMillis, is_stale};
use skerry_promql::Matcher;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Alerts by their labels.
type Stored = HashMap<Labels, Before>;

/// What the alerts of a rule were before a restart; read when the first of them is asked for.
pub(super) struct Memory<'a> {
    matchers: Vec<Matcher>,
    turning: &'a Turning<'a>,
    offset: Duration,
    stored: OnceCell<Result<Stored, Arc<str>>>,
}

impl<'a> Memory<'a> {
    /// Of a rule whose queries look `offset` before their slots.
    pub(super) fn of(rule: &Rule, turning: &'a Turning<'a>, offset: Duration) -> Self {
        let mut matchers = Vec::new();
        if rule.alerts().is_some() {
            matchers.extend([Matcher::equal("__name__", ALERTS_FOR_STATE), Matcher::equal("alertname", &rule.name)]);
            // What a template makes of a label is not known here.
            let plain = rule.labels.iter().filter(|(name, value)| name != "alertname" && !value.contains("{{"));
            matchers.extend(plain.map(|(name, value)| Matcher::equal(name, value)));
        }
        Self { matchers, turning, offset, stored: OnceCell::new() }
    }

    /// What the alert of these labels was.
    pub(super) fn of_alert(&self, labels: &Labels) -> Option<Before> {
        self.stored.get_or_init(|| self.read()).as_ref().ok()?.get(labels).copied()
    }

    /// Why nothing could be read, if so.
    pub(super) fn error(&self) -> Option<Arc<str>> {
        self.stored.get()?.as_ref().err().cloned()
    }

    /// Of each series the last sample within the outage that is tolerated. A series that ended says nothing.
    fn read(&self) -> Result<Stored, Arc<str>> {
        let &Turning { at, source, settings, .. } = self.turning;
        let from = before(at, settings.outage_tolerance);
        let found = source.select(&self.matchers, from, at, settings.limits.query.values_max);
        let mut stored = Stored::new();
        for series in found.map_err(|error| cut(error.to_string(), settings.limits.text_bytes_max))? {
            let Some(last) = series.samples.last().filter(|last| !is_stale(last.value)) else { continue };
            let Ok(labels) = series.labels.with("__name__", "") else { continue };
            // The sample carries the moment that was looked at, the state is of the slot.
            stored.insert(labels, Before { active_at: since(last.value), down_at: last.at + self.offset });
        }
        Ok(stored)
    }
}

/// Seconds since 1970 as they are stored; nonsense is the beginning of time.
#[expect(clippy::cast_possible_truncation, reason = "bounded")]
fn since(seconds: f64) -> UnixMillis {
    UnixMillis(if seconds.abs() < 9e12 { (seconds * 1000.0) as i64 } else { 0 })
}
