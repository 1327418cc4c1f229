//! What a policy scales, as the runtime that runs it says.

use skerry_model::{Labels, UnixMillis};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What a policy scales: `scaleTargetRef`. Two policies with equal targets stand against each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetRef {
    /// What it is.
    pub kind: TargetKind,
    /// Its name: a service, a unit without `@` and ending, a workload, a program's absolute path, a Kubernetes object.
    pub name: String,
    /// Compose project or Kubernetes namespace; `""` where there is none.
    pub scope: String,
}

/// Kinds of targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetKind {
    /// Clones of a labelled container of Docker or Podman.
    Container,
    /// A service of a compose project.
    ComposeService,
    /// Instances of a systemd template unit, `name@1.service` and on.
    SystemdUnit,
    /// A workload that this agent keeps.
    Workload,
    /// A program that is told how many.
    Exec,
    /// `apps/v1`, over the scale subresource of a Kubernetes API.
    Deployment,
    /// `apps/v1`, as above.
    StatefulSet,
    /// `apps/v1`, as above.
    ReplicaSet,
}

impl TargetKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Container,
        Self::ComposeService,
        Self::SystemdUnit,
        Self::Workload,
        Self::Exec,
        Self::Deployment,
        Self::StatefulSet,
        Self::ReplicaSet,
    ];

    /// As it stands in `scaleTargetRef.kind`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Container => "Container",
            Self::ComposeService => "ComposeService",
            Self::SystemdUnit => "SystemdUnit",
            Self::Workload => "Workload",
            Self::Exec => "Exec",
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::ReplicaSet => "ReplicaSet",
        }
    }

    /// Whether a target without replicas was switched off by somebody, as Kubernetes has it. Instances of units are gone
    /// after every boot, so that there it tells nothing.
    #[must_use]
    pub const fn remembers_zero(self) -> bool {
        !matches!(self, Self::SystemdUnit)
    }

    /// Whether a Kubernetes API is asked.
    #[must_use]
    pub const fn is_kubernetes(self) -> bool {
        matches!(self, Self::Deployment | Self::StatefulSet | Self::ReplicaSet)
    }
}

/// `KIND/NAME`, or `KIND/SCOPE/NAME`.
impl fmt::Display for TargetRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, scope } = self;
        let kind = kind.as_str();
        if scope.is_empty() { write!(f, "{kind}/{name}") } else { write!(f, "{kind}/{scope}/{name}") }
    }
}

/// A target as its runtime describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// Replicas that are wanted there: `spec.replicas`.
    pub spec_replicas: u32,
    /// Replicas that are there: `status.replicas`.
    pub status_replicas: u32,
    /// The replicas, in the order of their names. May be empty where a runtime does not tell of single ones; then metrics
    /// per replica cannot be read.
    pub pods: Vec<Pod>,
}

/// A replica: a container, a unit's instance, or a pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pod {
    /// Name, unique in its target.
    pub name: String,
    /// Where it is in its life.
    pub phase: Phase,
    /// It is being removed.
    pub is_deleting: bool,
    /// When it was started.
    pub started_at: Option<UnixMillis>,
    /// Whether it is ready and since when; `None` where nothing says so.
    pub ready: Option<Ready>,
    /// Its containers; one for all but pods.
    pub containers: Vec<PodContainer>,
    /// By which its series are found, such as `instance` or `pod`; may be empty.
    pub labels: Labels,
}

/// Readiness of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// Whether it is ready.
    pub is_ready: bool,
    /// Since when.
    pub since: UnixMillis,
}

/// Phases of a replica, with Kubernetes's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Not started yet.
    Pending,
    /// Runs.
    #[default]
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
}

/// A container of a replica.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodContainer {
    /// Its name in the replica.
    pub name: String,
    /// The runtime's id, where it is known.
    pub id: Option<String>,
    /// CPU that it asks for, in thousandths of a core.
    pub cpu_request_milli: Option<u64>,
    /// Memory that it asks for, in bytes.
    pub memory_request: Option<u64>,
}

/// Metrics of the replicas of a target, by name; names that the target does not have are ignored.
pub type PodMetrics = BTreeMap<String, PodMetric>;

/// A metric of one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodMetric {
    /// Its value, in thousandths.
    pub milli: i64,
    /// When it was measured.
    pub at: UnixMillis,
    /// The time over which it was measured, up to `at`.
    pub window: Duration,
}
