//! Forms of Alertmanager's API v2, as far as the CLI and the console read and write them.

use serde::{Deserialize, Serialize};
use skerry_model::UnixMillis;
use std::collections::BTreeMap;

/// An alert that is routed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoutedAlert {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What people are told.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Since when it fires, as RFC 3339.
    pub starts_at: String,
    /// Until when it fires unless it is heard again.
    pub ends_at: String,
    /// Hash of its labels.
    pub fingerprint: String,
    /// Who is told of it.
    pub receivers: Vec<Named>,
    /// Whether anything holds it back.
    pub status: Status,
    /// Where it can be looked at.
    #[serde(rename = "generatorURL", default)]
    pub generator_url: String,
}

/// Something with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The name.
    pub name: String,
}

/// Whether anything holds an alert back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// `active`, `suppressed` or `unprocessed`.
    pub state: String,
    /// Silences.
    pub silenced_by: Vec<String>,
    /// Alerts.
    pub inhibited_by: Vec<String>,
}

/// A silence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SilenceView {
    /// Its id; left out where a new one is made.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// All of them have to be met.
    pub matchers: Vec<MatcherView>,
    /// From when on, as RFC 3339.
    pub starts_at: String,
    /// Until when.
    pub ends_at: String,
    /// Who made it.
    pub created_by: String,
    /// Why.
    pub comment: String,
    /// `pending`, `active` or `expired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<SilenceStatus>,
}

/// Where a silence stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilenceStatus {
    /// `pending`, `active` or `expired`.
    pub state: String,
}

/// A condition of a silence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MatcherView {
    /// The label.
    pub name: String,
    /// What it is compared with.
    pub value: String,
    /// Whether that is an expression.
    pub is_regex: bool,
    /// Whether it has to be met, or must not be.
    #[serde(default = "yes")]
    pub is_equal: bool,
}

const fn yes() -> bool {
    true
}

impl MatcherView {
    /// As it is written.
    #[must_use]
    pub fn text(&self) -> String {
        let op = match (self.is_equal, self.is_regex) {
            (true, false) => "=",
            (false, false) => "!=",
            (true, true) => "=~",
            (false, true) => "!~",
        };
        format!("{}{op}{}", self.name, skerry_promql::quoted(&self.value))
    }
}

impl SilenceView {
    /// Its conditions as they are written.
    #[must_use]
    pub fn text(&self) -> String {
        self.matchers.iter().map(MatcherView::text).collect::<Vec<_>>().join(" ")
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> &str {
        self.status.as_ref().map_or("", |status| &status.state)
    }
}

/// What is told of a silence that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilenceMade {
    /// Its id.
    #[serde(rename = "silenceID")]
    pub id: String,
}

/// A moment that the API wrote; `None` where it is none.
#[must_use]
pub fn moment(text: &str) -> Option<UnixMillis> {
    text.parse::<jiff::Timestamp>().ok().map(|at| UnixMillis(at.as_millisecond()))
}

/// A moment as the API reads it.
#[must_use]
pub fn rfc3339(at: UnixMillis) -> String {
    jiff::Timestamp::from_millisecond(at.0).map(|at| at.to_string()).unwrap_or_default()
}

/// Labels but `alertname`, as people read them.
#[must_use]
pub fn short(labels: &BTreeMap<String, String>) -> String {
    let shown = labels.iter().filter(|(name, _)| !matches!(name.as_str(), "alertname" | "node"));
    shown.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}
