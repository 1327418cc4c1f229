//! alertmanager.yml as people have it: routes, inhibition, time intervals, and receivers, which [`crate::notify`] reads.
//!
//! Invariants:
//! - A [`Config`] that exists can be used: every receiver and interval that a route names is there, every expression
//!   compiles, no interval is zero.
//! - Every fault has its line; unknown keys are faults. Texts are Alertmanager's, since people search for them.

mod conditions;
mod original;
mod routes;

use super::inhibit::InhibitRule;
use super::interval::{ReadZone, TimeInterval};
use super::route::{Route, Routes};
use crate::notify::{Checks, Globals};
use serde_json::Value;
use skerry_model::{Labels, UnixMillis};
use skerry_yaml::values::Mapping;
use skerry_yaml::{Fault, Faults};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub use crate::notify::Receiver;

/// `resolve_timeout` where nothing is said.
pub const RESOLVE_TIMEOUT: Duration = Duration::from_secs(300);
/// Most receivers, rules or intervals of one file.
const ITEMS_MAX: usize = 1_000;

/// A file that was checked.
#[derive(Debug, Clone)]
pub struct Config {
    resolve_timeout: Duration,
    templates: Vec<String>,
    routes: Routes,
    receivers: Vec<Receiver>,
    inhibit_rules: Vec<InhibitRule>,
    intervals: BTreeMap<String, Vec<TimeInterval>>,
    original: String,
}

impl Config {
    /// Reads a file. `zones` gives the content of a file of the time zone database, for `location` of time intervals;
    /// no other file is read.
    ///
    /// # Errors
    /// Everything that is wrong, each with its line.
    pub fn parse(file: &str, text: &str, zones: ReadZone<'_>) -> Result<Self, Faults> {
        let failed = |faults: Vec<Fault>| Faults { file: file.to_owned(), faults };
        let document = skerry_yaml::values::read(text).map_err(|fault| failed(vec![fault]))?;
        let mut checks = Checks::new(&document.places);
        let config = Self::read(&document.value, zones, &mut checks);
        match (config, checks.into_faults()) {
            (Some(config), faults) if faults.is_empty() => Ok(config),
            // In the order in which upstream finds them, of which it tells the first.
            (_, faults) => Err(failed(faults)),
        }
    }

    fn read(value: &Value, zones: ReadZone<'_>, checks: &mut Checks<'_>) -> Option<Self> {
        let mut node = Mapping::new(Some(value), "", checks);
        let globals = Globals::read(node.take("global"), checks);
        let templates = node.words("templates", checks);
        let mut receivers = Vec::new();
        for (key, value) in bounded(node.items("receivers", checks), checks) {
            let receiver = Receiver::read(value, &key, &globals, checks);
            if receivers.iter().any(|known: &Receiver| known.name == receiver.name && !receiver.name.is_empty()) {
                checks.fault(&key, format!("notification config name {:?} is not unique", receiver.name));
            }
            receivers.push(receiver);
        }
        let mut intervals = BTreeMap::new();
        for list in ["mute_time_intervals", "time_intervals"] {
            for (key, value) in bounded(node.items(list, checks), checks) {
                named_intervals(list, value, &key, zones, &mut intervals, checks);
            }
        }
        let rules = bounded(node.items("inhibit_rules", checks), checks);
        let inhibit_rules = rules.iter().map(|(key, value)| conditions::inhibit_rule(value, key, checks)).collect();
        // Of tracing nothing is built: known, so that a file that has it is read, and of no effect.
        node.take("tracing");
        let route = node.take("route");
        node.finish(checks);
        let Some(route) = route else {
            let is_blank = value.as_object().is_some_and(serde_json::Map::is_empty);
            checks.fault("route", if is_blank { "no route provided in config" } else { "no routes provided" });
            return None;
        };
        let names = routes::Names {
            receivers: receivers.iter().map(|receiver| receiver.name.as_str()).collect::<BTreeSet<_>>(),
            intervals: intervals.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        };
        let routes = routes::read(route, &names, checks);
        Some(Self {
            resolve_timeout: globals.resolve_timeout.filter(|span| !span.is_zero()).unwrap_or(RESOLVE_TIMEOUT),
            templates,
            routes,
            receivers,
            inhibit_rules,
            intervals,
            original: original::text(value),
        })
    }

    /// After how long an alert without an end counts as resolved unless it is heard again.
    #[must_use]
    pub const fn resolve_timeout(&self) -> Duration {
        self.resolve_timeout
    }

    /// Patterns of the files with templates, as they stand in the file: reading them is the caller's.
    #[must_use]
    pub fn templates(&self) -> &[String] {
        &self.templates
    }

    /// The tree of routes.
    #[must_use]
    pub const fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Every receiver, in the order of the file.
    #[must_use]
    pub fn receivers(&self) -> &[Receiver] {
        &self.receivers
    }

    /// The receiver of that name.
    #[must_use]
    pub fn receiver(&self, name: &str) -> Option<&Receiver> {
        self.receivers.iter().find(|receiver| receiver.name == name)
    }

    /// Names of the receivers that alerts with these labels go to, each once, in the order of their routes.
    #[must_use]
    pub fn receivers_of(&self, labels: &Labels) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = Vec::new();
        for route in self.routes.matches(labels) {
            if !names.contains(&route.receiver) {
                names.push(route.receiver.clone());
            }
        }
        names
    }

    /// The rules of inhibition.
    #[must_use]
    pub fn inhibit_rules(&self) -> &[InhibitRule] {
        &self.inhibit_rules
    }

    /// Time intervals by name.
    #[must_use]
    pub const fn intervals(&self) -> &BTreeMap<String, Vec<TimeInterval>> {
        &self.intervals
    }

    /// The file as YAML, with `<secret>` for every secret; without its comments.
    #[must_use]
    pub fn original(&self) -> &str {
        &self.original
    }

    /// Names of the time intervals because of which the route is silent at `now`: those of `mute_time_intervals` that
    /// hold, or, outside every one of `active_time_intervals`, all of these.
    #[must_use]
    pub fn muted_by<'a>(&'a self, route: &'a Route, now: UnixMillis) -> Option<Muted<'a>> {
        let holds = |name: &&str| {
            self.intervals.get(*name).is_some_and(|list| list.iter().any(|interval| interval.contains(now)))
        };
        let active: Vec<&str> = route.active_times.iter().map(|name| &**name).collect();
        if !active.is_empty() && !active.iter().any(&holds) {
            return Some(Muted { reason: "active_time_interval", by: active });
        }
        let muting: Vec<&str> = route.mute_times.iter().map(|name| &**name).filter(|name| holds(name)).collect();
        (!muting.is_empty()).then_some(Muted { reason: "mute_time_interval", by: muting })
    }
}

/// Why a route is silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Muted<'a> {
    /// The word of Alertmanager's metrics for it.
    pub reason: &'static str,
    /// The intervals.
    pub by: Vec<&'a str>,
}

fn named_intervals(
    list: &str,
    value: &Value,
    key: &str,
    zones: ReadZone<'_>,
    intervals: &mut BTreeMap<String, Vec<TimeInterval>>,
    checks: &mut Checks<'_>,
) {
    let kind = if list == "mute_time_intervals" { "mute time interval" } else { "time interval" };
    let mut node = Mapping::new(Some(value), key, checks);
    let name = node.text("name", checks).unwrap_or_default();
    if name.is_empty() {
        checks.fault(key, format!("missing name in {kind}"));
    } else if intervals.contains_key(&name) {
        checks.fault(key, format!("{kind} {name:?} is not unique"));
    }
    let items = bounded(node.items("time_intervals", checks), checks);
    let read = items.into_iter().map(|(key, value)| TimeInterval::read(value, &key, zones, checks)).collect();
    node.finish(checks);
    intervals.insert(name, read);
}

/// At most [`ITEMS_MAX`] of them; more are a fault.
fn bounded<'a>(mut items: Vec<(String, &'a Value)>, checks: &mut Checks<'_>) -> Vec<(String, &'a Value)> {
    if let Some((key, _)) = items.get(ITEMS_MAX) {
        checks.fault(key, format!("at most {ITEMS_MAX} entries are read"));
    }
    items.truncate(ITEMS_MAX);
    items
}

#[cfg(test)]
mod tests;
