//! Kubernetes's HorizontalPodAutoscaler v2: how many replicas metrics ask for, and how many they get now.
//!
//! ```text
//! readings ─> a proposal each ─┐
//! triggers ─> a proposal each ─┴─> the largest ─> windows ─> rates ─> bounds ─> decision
//! ```
//!
//! Invariants:
//! - A decision never leaves the policy's bounds, and says which window, rate or bound made it what it is.
//! - What could not be read never takes replicas away.
//! - A target at 0 replicas whose policy wants at least one is left alone: somebody switched it off.

mod decision;
mod judge;
pub mod pods;
pub mod rates;
pub mod replicas;
mod round;
mod state;
#[cfg(test)]
mod tests;
pub mod windows;

pub use decision::{Condition, ConditionKind, Decision, Limit, Proposal, Status};
pub use round::decide;
pub use state::{InvalidState, STATE_BYTES_MAX, State};

use crate::target::{PodMetric, PodMetrics};
use std::collections::BTreeMap;
use std::time::Duration;

/// What kube-controller-manager's flags set, for all policies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Controller {
    /// Time between two rounds.
    pub sync_period: Duration,
    /// How long after its start a replica's CPU counts only where it is ready and was measured since.
    pub cpu_initialization_period: Duration,
    /// How long after its start a replica that turns unready counts as one that never was ready.
    pub initial_readiness_delay: Duration,
    /// How far beside its target a metric may be without a change, as a share of the target.
    pub tolerance: f64,
    /// How far back recommendations count against shrinking.
    pub downscale_stabilization: Duration,
}

impl Default for Controller {
    fn default() -> Self {
        Self {
            sync_period: Duration::from_secs(15),
            cpu_initialization_period: Duration::from_secs(300),
            initial_readiness_delay: Duration::from_secs(30),
            tolerance: 0.1,
            downscale_stabilization: Duration::from_secs(300),
        }
    }
}

/// What was read of a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// Resource and ContainerResource: by replica and container, cores or bytes in thousandths. Containers that are not
    /// measured are left out, as are those of other names where the metric is of one container.
    Pods {
        /// By names of replica and container.
        per: BTreeMap<(String, String), PodMetric>,
    },
    /// Pods: by replica.
    PerPod(PodMetrics),
    /// Object; External: the sum of the series.
    Value {
        /// In thousandths.
        milli: i64,
    },
}

/// One for each of the policy's metrics, in their order; or why there is none, for people.
pub type Readings = Vec<Result<Reading, String>>;
