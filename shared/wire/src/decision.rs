//! What a node decided by itself about what runs on it: events that the centre keeps as history.

use serde::{Deserialize, Serialize};

/// A decision about how many replicas run, or how large they are. Each decision has one event, written with the state that
/// it changed; rounds that change nothing have none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScalingEvent {
    /// The policy that decided.
    #[serde(rename = "p")]
    pub policy: String,
    /// What it scales, as `KIND/NAME`.
    #[serde(rename = "t")]
    pub target: String,
    /// Replicas before.
    #[serde(rename = "f")]
    pub from: u32,
    /// Replicas that were decided; as before where nothing could be done.
    #[serde(rename = "n")]
    pub to: u32,
    /// Stable word, Kubernetes's where it has one: `SuccessfulRescale`, `FailedRescale`, `FailedGetScale`,
    /// `FailedComputeMetricsReplicas`, `Pending`, `Preempted`, `Resized`, … `Interrupted` where a stop cut an action off and
    /// nobody saw what became of it.
    #[serde(rename = "r")]
    pub reason: String,
    /// Inputs, each metric's proposal, and which limit or window decided; for people. At most
    /// [`crate::EVENT_TEXT_BYTES_MAX`].
    #[serde(rename = "m")]
    pub message: String,
}

/// What happened to a container of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadEvent {
    /// The workload.
    #[serde(rename = "w")]
    pub workload: String,
    /// Its container, where it is about one.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Stable word, Kubernetes's where it has one: `Created`, `Started`, `Killing`, `BackOff`, `Unhealthy`,
    /// `ErrImageNeverPull`, `RollingUpdate`, `RolledBack`, …
    #[serde(rename = "r")]
    pub reason: String,
    /// For people. At most [`crate::EVENT_TEXT_BYTES_MAX`].
    #[serde(rename = "m")]
    pub message: String,
}
