//! The sections that both kinds of file hold, and what comes of laying them over each other.

use crate::{alerts, collect, containers, logs, probes, push, rules, scale, scrape, store, sync, workloads};
use serde::{Deserialize, Serialize};
use skerry_yaml::{Fault, Places};
use std::mem::take;

/// The sections of one file. An absent section changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sections {
    /// Who is told of alerts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alerting: Option<alerts::Config>,
    /// Node metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collect: Option<collect::Config>,
    /// Container runtimes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub containers: Option<containers::Config>,
    /// Log inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<logs::Config>,
    /// Probes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes: Option<probes::Config>,
    /// Push.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub push: Option<push::Config>,
    /// Rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<rules::Config>,
    /// Scaling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<scale::Config>,
    /// Scraped targets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrape: Option<scrape::Config>,
    /// The node's database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<store::Config>,
    /// Sync with the fleet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync: Option<sync::Config>,
    /// Workloads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workloads: Option<workloads::Config>,
}

/// What every feature runs with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Effective {
    /// Who is told of alerts.
    pub alerting: alerts::Config,
    /// Node metrics.
    pub collect: collect::Config,
    /// Container runtimes.
    pub containers: containers::Config,
    /// Log inputs.
    pub logs: logs::Config,
    /// Probes.
    pub probes: probes::Config,
    /// Push.
    pub push: push::Config,
    /// Rules.
    pub rules: rules::Config,
    /// Scaling.
    pub scaling: scale::Config,
    /// Scraped targets.
    pub scrape: scrape::Config,
    /// The node's database.
    pub store: store::Config,
    /// Sync with the fleet.
    pub sync: sync::Config,
    /// Workloads.
    pub workloads: workloads::Config,
}

impl Sections {
    /// Takes what stands in the sections as files of other programs do; every fault in it. `file` names the text, and
    /// `prefix` stands before the keys.
    pub(super) fn take_texts(&mut self, file: &str, text: &str, prefix: &str) -> Vec<Fault> {
        let mut faults = Vec::new();
        if let Some(rules) = &mut self.rules {
            faults.extend(rules.take_groups(file, text, &format!("{prefix}rules.groups")));
        }
        if let Some(alerting) = &mut self.alerting {
            faults.extend(alerting.take_config(file, text, &format!("{prefix}alerting.config")));
        }
        faults
    }

    /// Every fault, each with its line where `places` knows it; `prefix` stands before the keys, such as `spec.`.
    pub(super) fn faults(&self, prefix: &str, places: &Places) -> Vec<Fault> {
        let mut found: Vec<(String, String)> = Vec::new();
        let mut section = |name: &str, faults: Vec<(String, String)>| {
            let full =
                |key: String| if key.starts_with('[') { format!("{name}{key}") } else { format!("{name}.{key}") };
            found.extend(faults.into_iter().map(|(key, problem)| (full(key), problem)));
        };
        if let Some(alerting) = &self.alerting {
            section("alerting", alerting.faults());
        }
        if let Some(collect) = &self.collect {
            section("collect", collect.faults().into_iter().map(|f| (f.key.to_owned(), f.expected)).collect());
        }
        if let Some(containers) = &self.containers {
            section("containers", containers.faults());
        }
        if let Some(logs) = &self.logs {
            section("logs", logs.faults());
        }
        if let Some(probes) = &self.probes {
            section("probes", probes.faults());
        }
        if let Some(push) = &self.push {
            section("push", push.faults());
        }
        if let Some(rules) = &self.rules {
            section("rules", rules.faults());
        }
        if let Some(scaling) = &self.scaling {
            section("scaling", scaling.faults());
        }
        if let Some(scrape) = &self.scrape {
            section("scrape", scrape.faults());
        }
        if let Some(store) = &self.store {
            section("store", store.faults());
        }
        if let Some(sync) = &self.sync {
            section("sync", sync.faults());
        }
        if let Some(workloads) = &self.workloads {
            section("workloads", workloads.faults());
        }
        let fault = |(key, problem): (String, String)| {
            let key = format!("{prefix}{key}");
            Fault { line: places.line(&key), key, problem }
        };
        found.into_iter().map(fault).collect()
    }
}

impl Effective {
    /// Lays sections over each other, later ones replacing earlier ones.
    #[must_use]
    pub fn of<'a>(layers: impl IntoIterator<Item = &'a Sections>) -> Self {
        let mut effective = Self::default();
        for layer in layers {
            let Sections {
                alerting,
                collect,
                containers,
                logs,
                probes,
                push,
                rules,
                scaling,
                scrape,
                store,
                sync,
                workloads,
            } = layer.clone();
            effective.alerting = alerting.unwrap_or(effective.alerting);
            effective.collect = collect.unwrap_or(effective.collect);
            effective.containers = containers.unwrap_or(effective.containers);
            effective.logs = logs.unwrap_or(effective.logs);
            effective.probes = probes.unwrap_or(effective.probes);
            effective.push = push.unwrap_or(effective.push);
            effective.rules = rules.unwrap_or(effective.rules);
            if let Some(mut upper) = scaling {
                let policies =
                    beside(take(&mut effective.scaling.policies), take(&mut upper.policies), |one| &one.name);
                if !upper.is_bare {
                    effective.scaling = upper;
                }
                effective.scaling.policies = policies;
            }
            effective.scrape = scrape.unwrap_or(effective.scrape);
            effective.store = store.unwrap_or(effective.store);
            effective.sync = sync.unwrap_or(effective.sync);
            if let Some(mut upper) = workloads {
                let declared =
                    beside(take(&mut effective.workloads.workloads), take(&mut upper.workloads), |one| &one.name);
                if !upper.is_bare {
                    effective.workloads = upper;
                }
                effective.workloads.workloads = declared;
            }
        }
        effective
    }

    /// The sections as text, without secrets.
    #[must_use]
    pub fn shown(&self) -> String {
        // Sections are plain data with texts for keys, which JSON always takes.
        skerry_promapi::config_text(serde_json::to_value(self).unwrap_or_default())
    }
}

/// Documents of a layer beside those of the layers below; of two of one name the upper one counts.
fn beside<T>(mut below: Vec<T>, upper: Vec<T>, name: fn(&T) -> &str) -> Vec<T> {
    below.retain(|one| upper.iter().all(|other| name(other) != name(one)));
    below.extend(upper);
    below
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_model::Span;

    #[test]
    fn later_sections_replace_earlier_ones_whole() {
        let collect = |secs, disable: &[&str]| {
            Some(collect::Config {
                interval: Span::secs(secs),
                disable: disable.iter().map(|name| (*name).to_owned()).collect(),
                ..collect::Config::default()
            })
        };
        let first = Sections { collect: collect(5, &["cpu"]), ..Sections::default() };
        let second = Sections { collect: collect(7, &[]), ..Sections::default() };
        let effective = Effective::of([&first, &second, &Sections::default()]);
        assert_eq!(effective.collect, second.collect.unwrap());
        assert_eq!(effective.store, store::Config::default());
    }

    #[test]
    fn documents_stand_beside_the_layers_below() {
        let workload = |name: &str, image: &str| {
            let spec = format!("spec:\n  containers: [{{name: a, image: {image}}}]\n");
            skerry_scaling::workload::Workload::parse(name, spec.trim_start_matches("spec:\n")).unwrap()
        };
        let node = Sections {
            workloads: Some(workloads::Config { images: "/srv/images".into(), ..workloads::Config::default() }),
            ..Sections::default()
        };
        let with = |all: Vec<_>| Sections {
            workloads: Some(workloads::Config { workloads: all, ..workloads::Config::bare() }),
            ..Sections::default()
        };
        let group = with(vec![workload("till", "till:1"), workload("web", "web:1")]);
        let own = with(vec![workload("web", "web:2")]);
        let found = Effective::of([&node, &group, &own]).workloads;
        assert_eq!(found.images, std::path::Path::new("/srv/images"));
        assert_eq!(found.workloads, [workload("till", "till:1"), workload("web", "web:2")]);
        let explicit = Sections { workloads: Some(workloads::Config::default()), ..Sections::default() };
        assert_eq!(Effective::of([&node, &explicit, &group]).workloads.images, workloads::Config::default().images);
    }
}
