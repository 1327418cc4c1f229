//! Settings of alerting, section `alerting` of a NodeConfig: Alertmanager's own config as it stands in an
//! alertmanager.yml, or the path of such a file.

use crate::rules::{AsIs, Text, below};
use serde::{Deserialize, Serialize};
use skerry_yaml::Fault;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Most entries of `templates`.
const TEMPLATES_MAX: usize = 32;

/// Settings of alerting.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// An alertmanager.yml on the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_file: Option<PathBuf>,
    /// Whether one stands here; it is read from the text.
    #[serde(skip_serializing)]
    config: Option<AsIs>,
    /// Texts of template files by name, beside those that alertmanager.yml names.
    pub templates: BTreeMap<String, String>,
    /// Where links to this node's alerts begin.
    pub external_url: String,
    /// What stands in the config itself.
    #[serde(skip)]
    pub text: Option<Text>,
    /// Silences that stand behind the config.
    #[serde(skip)]
    pub silences: Vec<SilenceText>,
}

/// A silence that stands in a signed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilenceText {
    /// Name of its document.
    pub name: String,
    /// As Alertmanager's API takes it, JSON.
    pub body: String,
}

/// Key, default and meaning of every setting, for the reference in README.md.
pub const REFERENCE: &[(&str, &str, &str)] = &[
    (
        "config_file",
        "none",
        "path of an alertmanager.yml, as it is; one with faults refuses the config where it is the node's own, and is told of otherwise",
    ),
    (
        "config",
        "none",
        "what stands in an alertmanager.yml. Beside Alertmanager's receivers there are `mqtt_configs`, `syslog_configs`, `exec_configs` and `file_configs`; a receiver with `local: true` is told by this node at once, one with `local: false` by the centre. By default those four kinds are local; the others are the centre's, and the node's where it has joined no fleet",
    ),
    ("templates", "{}", "texts of template files by name, beside the files that `templates` of alertmanager.yml names"),
    ("external_url", "''", "where links in notices begin; where they lead is up to who makes the local HTTP reachable"),
];

impl Config {
    /// Every fault but those of the routing, as key below `alerting` and what was expected.
    #[must_use]
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut demand = |holds: bool, key: &str, problem: String| {
            if !holds {
                faults.push((key.to_owned(), problem));
            }
        };
        let is_path = self.config_file.as_ref().is_none_or(|path| path.is_absolute());
        demand(is_path, "config_file", "a path that begins with / is expected".into());
        let is_one = self.config_file.is_none() || self.config.is_none();
        demand(is_one, "config", "stands beside config_file: one of them is expected".into());
        let most = TEMPLATES_MAX;
        demand(self.templates.len() <= most, "templates", format!("at most {most} are taken"));
        let url = &self.external_url;
        let is_url = url.is_empty() || url.starts_with("http://") || url.starts_with("https://");
        demand(is_url && url.len() <= 1024, "external_url", "http:// or https:// is expected".into());
        faults
    }

    /// Takes the alertmanager.yml that stands below `key` in the text of a config; every fault in it, with its line.
    pub fn take_config(&mut self, file: &str, text: &str, key: &str) -> Vec<Fault> {
        if self.config.is_none() {
            return Vec::new();
        }
        let Some(part) = skerry_yaml::part(text, key, false) else {
            let problem = "cannot be taken by itself: anchors are expected in the part that uses them".to_owned();
            return vec![Fault { line: None, key: key.to_owned(), problem }];
        };
        self.take_text(Text { name: file.to_owned(), text: part }, key)
    }

    /// Takes an alertmanager.yml that stands below `key`; every fault in it.
    pub fn take_text(&mut self, text: Text, key: &str) -> Vec<Fault> {
        let faults = super::routing::faults(&text.name, &text.text);
        self.text = Some(text);
        below(key, faults)
    }
}

impl Config {
    /// Takes a silence that stands in `spec` of a document of this name; every fault in it.
    pub fn take_silence(&mut self, name: String, text: &str) -> Vec<Fault> {
        let value = match skerry_yaml::read::<serde_json::Value>(text) {
            Ok(document) => document.value,
            Err(fault) => return below("spec", vec![fault]),
        };
        let body = value.to_string();
        let faults = super::routing::silence_fault(&body).map(|problem| {
            let line = text.lines().position(|line| !line.trim().is_empty()).map(|at| at as u64 + 1);
            Fault { line, key: "spec".into(), problem }
        });
        self.silences.push(SilenceText { name, body });
        faults.into_iter().collect()
    }
}
