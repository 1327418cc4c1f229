//! ScalingPolicy documents: Kubernetes's HorizontalPodAutoscalerSpec (autoscaling/v2), and what we add to it.
//!
//! ```yaml
//! scaleTargetRef: {kind: Container, name: web}
//! minReplicas: 1                 # 0 with an Object or External metric, or triggers
//! maxReplicas: 10
//! metrics:                       # Resource, ContainerResource, Pods, Object, External; none: cpu at 80 %, or at
//!                                # targetCPUUtilizationPercentage, as autoscaling/v1 has it
//!   - type: External
//!     external:
//!       metric: {name: 'sum(rate(http_requests_total[2m]))'}   # any PromQL
//!       target: {type: AverageValue, averageValue: 100}
//!     activationThreshold: 5     # ours: above it a target at 0 replicas is started
//!     ignoreNullValues: true     # ours: nothing counts as 0, and is no error
//! behavior: {}                   # as Kubernetes takes it
//! # ours:
//! cooldownSeconds: 300           # from the last activity to 0 replicas
//! fallback: {failureThreshold: 3, replicas: 4}
//! triggers: []                   # and forecast: see trigger
//! priority: 0
//! vertical: {updateMode: Auto}    # how large containers are: see vpa; alone, or on a resource that no metric counts
//! paused: false
//! ```
//!
//! Invariants:
//! - A policy that exists is valid: bounds in order, targets above zero, expressions parsed.
//! - Every fault of a document is told at once, with the line of its key.

mod behavior;
mod metric;
mod query;
mod read;
#[cfg(test)]
mod tests;

pub use behavior::{Behavior, Rate, RateKind, Rules, Select};
pub use metric::{Metric, Resource, Source, Target};
pub use query::Query;

use crate::target::TargetRef;
use crate::trigger::Triggers;
use crate::vpa::Vertical;
use skerry_yaml::Fault;
use std::time::Duration;

/// Most replicas that a policy may name.
pub const REPLICAS_MAX: u32 = 1_000_000;
/// Most metrics of a policy.
pub const METRICS_MAX: usize = 32;

/// How many replicas of a target run, and how large they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalingPolicy {
    /// Its name, unique on the node; `NAMESPACE/NAME` where a HorizontalPodAutoscaler names its namespace.
    pub name: String,
    /// What it scales.
    pub target: TargetRef,
    /// Least replicas; 0 only where something can tell that they are needed again.
    pub min_replicas: u32,
    /// Most replicas; 1 to [`REPLICAS_MAX`], not below the least.
    pub max_replicas: u32,
    /// What tells how many are needed, at most [`METRICS_MAX`]; empty only where there are triggers.
    pub metrics: Vec<Metric>,
    /// How fast it scales.
    pub behavior: Behavior,
    /// Replicas by time, and the forecast.
    pub triggers: Triggers,
    /// How long nothing may have been active before a target whose least is 0 is taken to 0.
    pub cooldown: Duration,
    /// What is taken for metrics that cannot be read.
    pub fallback: Option<Fallback>,
    /// Who gives way where a node has no room: the lower one.
    pub priority: i32,
    /// What happens to recommended sizes of its containers.
    pub vertical: Option<Vertical>,
    /// Nothing is scaled; what would be is still told.
    pub is_paused: bool,
}

/// What is taken for an External or Object metric with an AverageValue that could not be read so many times in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fallback {
    /// Failures in a row that are borne; one more counts.
    pub failure_threshold: u32,
    /// Replicas that the metric then asks for.
    pub replicas: u32,
}

impl ScalingPolicy {
    /// Reads the `spec` of a document of this name; keys of faults begin with `spec`. In a name `NAMESPACE/NAME` the first
    /// part is the namespace of Kubernetes targets that name none.
    ///
    /// # Errors
    /// Every fault with its line.
    pub fn parse(name: &str, spec: &str) -> Result<Self, Vec<Fault>> {
        read::policy(name, spec)
    }

    /// Whether it says how many replicas run; not where it has `vertical` alone.
    #[must_use]
    pub const fn scales_replicas(&self) -> bool {
        !self.metrics.is_empty() || !self.triggers.is_empty()
    }
}
