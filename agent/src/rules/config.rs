//! Settings of rules, section `rules` of a NodeConfig.

use crate::clock::stopwatch;
use serde::{Deserialize, Serialize};
use skerry_alerting::rules::{Limits, PACKS, RuleFile, Settings};
use skerry_model::{Labels, Span};
use skerry_yaml::{Fault, Faults};
use std::collections::BTreeMap;

/// Samples looked at and values made by one rule: as many as by one query.
const VALUES_MAX: u64 = 250_000;
/// Most entries of `files`.
const PATTERNS_MAX: usize = 32;
/// Most labels in `external_labels`.
const EXTERNAL_LABELS_MAX: usize = 32;

/// Settings of rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Time between two evaluations of a group that names none.
    pub evaluation_interval: Span,
    /// Rules that come with the agent.
    pub packs: Vec<String>,
    /// Rule files on the node; `*` and `?` in the last part of a path.
    pub files: Vec<String>,
    /// Whether groups stand here; they are read from the text.
    #[serde(skip_serializing)]
    pub(super) groups: Option<AsIs>,
    /// What `$externalLabels` is, and what alerts carry where they have no such label.
    pub external_labels: BTreeMap<String, String>,
    /// Where links in alerts begin, and what `$externalURL` is.
    pub external_url: String,
    /// Rule files that stand in the config itself.
    #[serde(skip)]
    pub texts: Vec<Text>,
}

/// A rule file that stands in a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// What it is called where files are named.
    pub name: String,
    /// The file, at the lines where it stands in the config.
    pub text: String,
}

/// What is read as text by another reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AsIs;

impl<'de> Deserialize<'de> for AsIs {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            evaluation_interval: Span::secs(60),
            packs: Vec::new(),
            files: Vec::new(),
            groups: None,
            external_labels: BTreeMap::new(),
            external_url: String::new(),
            texts: Vec::new(),
        }
    }
}

/// Key, default and meaning of every setting, for the reference in README.md.
pub const REFERENCE: &[(&str, &str, &str)] = &[
    ("evaluation_interval", "1m", "time between two evaluations of a group that names no interval; 1s to 1d"),
    ("packs", "[]", "rules that come with the agent: `node`, `container`, `disk`, `thermal`, `flash`"),
    (
        "files",
        "[]",
        "Prometheus's rule files on the node, as absolute paths with `*` and `?` in their last part; a file with faults refuses the config where it is the node's own, and is left out and told of otherwise",
    ),
    ("groups", "[]", "groups of rules as they stand in a rule file"),
    (
        "external_labels",
        "{}",
        "`$externalLabels` of templates; alerts carry them too where they have no label of that name, series do not",
    ),
    ("external_url", "''", "`$externalURL` of templates, and where links in alerts begin"),
];

impl Config {
    /// Every fault but those of rules, as key below `rules` and what was expected.
    #[must_use]
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut demand = |holds: bool, key: &str, problem: String| {
            if !holds {
                faults.push((key.to_owned(), problem));
            }
        };
        let interval = self.evaluation_interval;
        let is_well = (Span::secs(1)..=Span::secs(86_400)).contains(&interval);
        demand(is_well, "evaluation_interval", format!("{interval} is out of range: 1s to 1d is expected"));
        for (at, name) in self.packs.iter().enumerate() {
            let key = format!("packs[{at}]");
            let is_known = PACKS.contains(&name.as_str());
            demand(is_known, &key, format!("{name:?} is no pack: {} are there", PACKS.join(", ")));
            demand(!self.packs[..at].contains(name), &key, format!("{name:?} stands twice"));
        }
        let most = PATTERNS_MAX;
        demand(self.files.len() <= most, "files", format!("at most {most} entries are taken"));
        for (at, pattern) in self.files.iter().enumerate() {
            let key = format!("files[{at}]");
            demand(pattern.starts_with('/'), &key, "a path that begins with / is expected".into());
        }
        let most = EXTERNAL_LABELS_MAX;
        demand(self.external_labels.len() <= most, "external_labels", format!("at most {most} are taken"));
        if let Err(error) = Labels::new(self.external_labels.clone()) {
            demand(false, "external_labels", error.to_string());
        }
        let url = &self.external_url;
        let is_url = url.is_empty() || url.starts_with("http://") || url.starts_with("https://");
        demand(is_url && url.len() <= 1024, "external_url", "http:// or https:// is expected".into());
        faults
    }

    /// What the engine is told. Bounds are those of a node.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let query = skerry_promql::Limits {
            values_max: VALUES_MAX,
            subquery_step: self.evaluation_interval.0,
            ..skerry_promql::Limits::default()
        };
        Settings {
            // Checked with the config.
            external_labels: Labels::new(self.external_labels.clone()).unwrap_or_default(),
            external_url: self.external_url.clone(),
            interval: self.evaluation_interval.0,
            limits: Limits {
                query,
                rule_alerts_max: 500,
                alerts_max: 2000,
                rule_series_max: 2000,
                ..Limits::default()
            },
            stopwatch: Some(stopwatch),
            ..Settings::default()
        }
    }

    /// Takes the groups that stand below `key` in the text of a config; every fault in them, with its line.
    pub fn take_groups(&mut self, file: &str, text: &str, key: &str) -> Vec<Fault> {
        if self.groups.take().is_none() {
            return Vec::new();
        }
        let Some(part) = skerry_yaml::part(text, key, true) else {
            let problem = "cannot be taken by itself: anchors are expected in the part that uses them".to_owned();
            return vec![Fault { line: None, key: key.to_owned(), problem }];
        };
        let (above, _) = key.rsplit_once('.').unwrap_or_default();
        self.take_text(Text { name: file.to_owned(), text: part }, above)
    }

    /// Takes a rule file that stands below `key`; every fault in it.
    pub fn take_text(&mut self, text: Text, key: &str) -> Vec<Fault> {
        let faults = match RuleFile::parse(&text.name, &text.text) {
            Ok(_) => Vec::new(),
            Err(Faults { faults, .. }) => below(key, faults),
        };
        self.texts.push(text);
        faults
    }
}

/// Faults of a part that stands below a key.
pub fn below(key: &str, faults: Vec<Fault>) -> Vec<Fault> {
    let put = |fault: Fault| {
        let inner = match fault.key.as_str() {
            "" => key.to_owned(),
            inner => format!("{key}.{inner}"),
        };
        Fault { key: inner.trim_start_matches('.').to_owned(), ..fault }
    };
    faults.into_iter().map(put).collect()
}
