//! What is told of scaling: fields that a node's answer has ([`skerry_wire::ScalingAsk`]), with whose they are.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is told by a node, or known of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Of<T> {
    /// The node.
    pub node: String,
    /// Whether the node said so itself just now; otherwise it is what its series said last.
    pub live: bool,
    /// When that was, by the node's clock, where it is not from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of_ms: Option<i64>,
    /// What.
    #[serde(flatten)]
    pub what: T,
}

impl<T> Of<T> {
    /// Said by the node just now.
    #[must_use]
    pub fn live(node: &str, what: T) -> Self {
        Self { node: node.to_owned(), live: true, as_of_ms: None, what }
    }

    /// Last known, of that moment.
    #[must_use]
    pub fn known(node: &str, at_ms: i64, what: T) -> Self {
        Self { node: node.to_owned(), live: false, as_of_ms: Some(at_ms), what }
    }
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Its name.
    pub policy: String,
    /// What it scales, as `KIND/NAME`.
    pub target: String,
    /// Who gives way where a node has no room: the lower one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Nothing is scaled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// Least replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,
    /// Most replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// Replicas that are set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<u32>,
    /// Replicas that were decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<u32>,
    /// Replicas without room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<u32>,
    /// When it was decided last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_ms: Option<i64>,
    /// When it was scaled last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaled_ms: Option<i64>,
    /// Which limit, window or rate decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why nothing could be decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// As Kubernetes has them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// What each metric asks for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// What triggers and the forecast ask for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub floors: Vec<Floor>,
    /// All of it for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A condition of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Condition {
    /// `AbleToScale`, `ScalingActive` or `ScalingLimited`.
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Stable word.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// A metric of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Metric {
    /// Which.
    pub metric: String,
    /// Its value.
    pub current: String,
    /// What it shall be.
    pub target: String,
    /// Replicas that it asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Why it asks for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What else is to be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Replicas that time asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Floor {
    /// At least so many.
    pub replicas: u32,
    /// Why.
    pub why: String,
}

/// What containers of one name of one target should have.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Recommendation {
    /// What they belong to, as `KIND/NAME`.
    pub target: String,
    /// Their name in it.
    pub container: String,
    /// The policy that says what happens to it, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// What happens to it: `Off`, `Initial`, `Recreate`, `InPlaceOrRecreate` or `Auto`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// CPU, thousandths of a core.
    pub cpu: Amounts,
    /// Memory, bytes.
    pub memory: Amounts,
    /// Samples that it stands on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<u64>,
    /// How many of them are measured now.
    #[serde(alias = "live", skip_serializing_if = "Option::is_none")]
    pub containers: Option<u64>,
}

/// What is recommended of one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Amounts {
    /// What they should ask for.
    pub target: u64,
    /// Who asks for less should be changed.
    pub lower: u64,
    /// Who asks for more should be changed.
    pub upper: u64,
    /// The target without the policy's bounds.
    pub uncapped: u64,
}

/// A workload.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Workload {
    /// Its name.
    pub workload: String,
    /// Replicas that shall run.
    pub wanted: u32,
    /// Replicas that are ready.
    pub ready: u32,
    /// Replicas that are as it is declared now.
    pub updated: u32,
    /// Which version of it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// `Available`, `Progressing`, `Degraded`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Its containers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<Container>,
}

/// A container of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// What it does.
    pub state: String,
    /// Why it waits or ended: Kubernetes's word.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Whether it is ready.
    pub ready: bool,
    /// How often it was started again.
    pub restarts: u64,
    /// Since when it is in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<i64>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How it went with a node that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAnswer {
    /// `answered`, or why it did not: `unreachable`, `too_old`, `timeout`, …
    pub status: String,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// `GET /scaling`, `/scaling/recommendations` and `/workloads`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Listed<T> {
    /// By node.
    pub items: Vec<Of<T>>,
    /// How it went with each node that was asked.
    #[serde(default)]
    pub nodes: BTreeMap<String, NodeAnswer>,
}

/// `GET /scaling/explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// The policy.
    #[serde(flatten)]
    pub policy: Of<Policy>,
    /// Why the node did not answer, where it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<String>,
    /// The newest decision that the node told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_decision: Option<super::history::Decision>,
}
