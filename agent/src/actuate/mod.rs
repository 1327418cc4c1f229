//! What makes a target have so many replicas: one trait over Docker, compose, systemd, Kubernetes, workloads and programs.
//!
//! Invariants:
//! - Nothing is touched but what belongs to the target: labels, a unit's name, an object's name say so.
//! - Every call ends in bounded time, whatever the other side does.
//! - Whoever scales again after a crash or a half success comes to the same end: what is there is looked at first.

mod compose;
mod container;
mod exec;
mod kubernetes;
mod spans;
mod systemd;
mod workload;

pub use compose::ComposeActuator;
pub use container::{
    CPU_REQUEST_LABEL, ContainerActuator, Initial, MEMORY_REQUEST_LABEL, REPLICA_LABEL, SERVICE_LABEL, SIZED_LABEL,
    TEMPLATE_LABEL,
};
pub use exec::ExecActuator;
pub use kubernetes::{
    KubernetesActuator, Places as KubernetesPlaces, REFERENCE as KUBERNETES_REFERENCE, Settings as KubernetesSettings,
};
pub use systemd::SystemdActuator;
pub use workload::WorkloadActuator;

use skerry_scaling::target::{Observed, PodMetric, TargetRef};
use skerry_scaling::vpa::Amounts;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

/// What a call of an actuator gives.
pub type Acting<'a, T> = Pin<Box<dyn Future<Output = Result<T, ActuatorError>> + Send + 'a>>;

/// What a running container asks for, by its id, since it was given that in place of what it was made with; zero of what it
/// asks for nothing.
pub type Asked = Arc<dyn Fn(&str) -> Option<Amounts> + Send + Sync>;

/// Puts what containers were given while they run in place of what they were made with.
fn put_asked(observed: &mut Observed, asked: &Asked) {
    for container in observed.pods.iter_mut().flat_map(|pod| &mut pod.containers) {
        let Some(given) = container.id.as_deref().and_then(|id| asked(id)) else { continue };
        for (own, given) in
            [(&mut container.cpu_request_milli, given.cpu_milli), (&mut container.memory_request, given.memory)]
        {
            if given > 0 {
                *own = Some(given);
            }
        }
    }
}

/// Scales targets of some kinds.
pub trait Actuator: Send + Sync {
    /// The target as it is.
    fn observe<'a>(&'a self, target: &'a TargetRef) -> Acting<'a, Observed>;

    /// Makes it so many replicas, as far as that is in its power now: what starts or ends slowly goes on by itself, and
    /// the next look tells. Idempotent.
    fn scale<'a>(&'a self, target: &'a TargetRef, replicas: u32) -> Acting<'a, ()>;

    /// What its replicas use, where the runtime itself tells; `None` where series of this node's store have to.
    fn usage<'a>(&'a self, _: &'a TargetRef) -> Acting<'a, Option<Usage>> {
        Box::pin(async { Ok(None) })
    }
}

/// What the replicas of a target use, by replica and container, as [`Observed`] names them. Those that nothing was
/// measured of are absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    /// CPU, cores are the unit.
    pub cpu: BTreeMap<(String, String), PodMetric>,
    /// Memory; bytes are the unit.
    pub memory: BTreeMap<(String, String), PodMetric>,
}

/// Why a target could not be looked at or scaled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ActuatorError {
    /// Stable word: `NotFound`, `Unreachable`, `Timeout`, `Refused`, `Invalid`, `ImageMissing`, `Partial`, …
    pub reason: &'static str,
    /// What, where, why and what to do next; for people.
    pub message: String,
}
