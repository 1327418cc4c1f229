//! Prometheus's relabelling: rules that change label sets or drop what carries them.
//!
//! Facts: Prometheus's documentation of `relabel_config`. Expressions match the whole text, `.` also a line break, as in
//! Prometheus 3. A label that is set to nothing is gone.

mod rule;
#[cfg(test)]
mod tests;

pub use rule::{InvalidRule, Rule};

use serde::{Deserialize, Serialize};
use skerry_model::{InvalidLabels, Labels};
use std::collections::BTreeMap;

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Sets `target_label` to `replacement` where `regex` matches.
    #[default]
    #[serde(alias = "Replace")]
    Replace,
    /// Drops what `regex` does not match.
    #[serde(alias = "Keep")]
    Keep,
    /// Drops what `regex` matches.
    #[serde(alias = "Drop")]
    Drop,
    /// Drops where the source is not the value of `target_label`.
    #[serde(alias = "KeepEqual")]
    KeepEqual,
    /// Drops where it is.
    #[serde(alias = "DropEqual")]
    DropEqual,
    /// Sets `target_label` to a hash of the source, modulo `modulus`.
    #[serde(alias = "HashMod")]
    HashMod,
    /// Copies labels whose names `regex` matches to the names that `replacement` gives.
    #[serde(alias = "LabelMap")]
    LabelMap,
    /// Removes labels whose names `regex` matches.
    #[serde(alias = "LabelDrop")]
    LabelDrop,
    /// Removes labels whose names it does not match.
    #[serde(alias = "LabelKeep")]
    LabelKeep,
    /// Sets `target_label` to the source in lower case.
    #[serde(alias = "Lowercase")]
    Lowercase,
    /// Sets `target_label` to the source in upper case.
    #[serde(alias = "Uppercase")]
    Uppercase,
}

/// A rule as it stands in a config: `relabel_configs`, `metric_relabel_configs`, `write_relabel_configs`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Labels whose values are joined to the source.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source_labels: Vec<String>,
    /// What joins them; `;` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// What is matched; `(.*)` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// Of `hashmod`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modulus: Option<u64>,
    /// The label that is written or compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_label: Option<String>,
    /// What is written; `$1` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replacement: Option<String>,
    /// What is done.
    pub action: Action,
}

/// Labels that are being changed, by name; none is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Draft(BTreeMap<String, String>);

impl Draft {
    /// The value of a label; `""` where it is absent.
    #[must_use]
    pub fn value(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Sets a label; an empty value removes it.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        if value.is_empty() {
            self.0.remove(&name);
        } else {
            self.0.insert(name, value);
        }
    }

    /// Keeps the labels that `keeps` wants.
    pub fn retain(&mut self, mut keeps: impl FnMut(&str) -> bool) {
        self.0.retain(|name, _| keeps(name));
    }

    /// Names and values, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The label set.
    ///
    /// # Errors
    /// [`InvalidLabels`] if a bound is exceeded.
    pub fn to_labels(&self) -> Result<Labels, InvalidLabels> {
        Labels::new(self.iter())
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Draft {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut draft = Self::default();
        for (name, value) in pairs {
            draft.set(name, value);
        }
        draft
    }
}

/// The rules of a list, checked.
///
/// # Errors
/// Every fault, as key below the list and what is wrong: `[2].regex`.
pub fn rules(configs: &[Config]) -> Result<Vec<Rule>, Vec<(String, String)>> {
    let (mut rules, mut faults) = (Vec::new(), Vec::new());
    for (at, config) in configs.iter().enumerate() {
        match Rule::new(config) {
            Ok(rule) => rules.push(rule),
            Err(InvalidRule { key, problem }) => faults.push((format!("[{at}].{key}"), problem)),
        }
    }
    if faults.is_empty() { Ok(rules) } else { Err(faults) }
}

/// Applies rules one after the other. `false` where one drops what carries the labels; they are then of no use.
#[must_use]
pub fn apply(rules: &[Rule], labels: &mut Draft) -> bool {
    rules.iter().all(|rule| rule.apply(labels))
}

/// A label set after the rules; `None` where one drops it.
///
/// # Errors
/// [`InvalidLabels`] if the rules make too many or too long labels.
pub fn relabel(rules: &[Rule], labels: &Labels) -> Result<Option<Labels>, InvalidLabels> {
    if rules.is_empty() {
        return Ok(Some(labels.clone()));
    }
    let mut draft: Draft = labels.iter().collect();
    if apply(rules, &mut draft) { draft.to_labels().map(Some) } else { Ok(None) }
}
