//! Replicas as metrics are read for them.

use super::clone::{CPU_REQUEST_LABEL, MEMORY_REQUEST_LABEL};
use super::{ActuatorError, invalid};
use crate::docker::{CPU_PERIOD_US, Container, Status};
use skerry_model::{Labels, UnixMillis};
use skerry_scaling::quantity::Quantity;
use skerry_scaling::target::{Observed, Phase, Pod, PodContainer, Ready, TargetRef};
use std::collections::BTreeMap;

/// Readiness as it was seen to change, by container: the runtime remembers five runs of a health check alone, so what it
/// says of the time slides.
#[derive(Debug, Default)]
pub(super) struct Readiness(BTreeMap<String, Seen>);

#[derive(Debug, Clone, Copy)]
struct Seen {
    started: Option<UnixMillis>,
    ready: Ready,
}

/// Most containers whose readiness is remembered; more than that, and all are forgotten.
const SEEN_MAX: usize = 1024;

impl Readiness {
    /// Keeps the first moment of a state that lasts since the container was started.
    fn since(&mut self, id: &str, started: Option<UnixMillis>, told: Ready) -> Ready {
        if self.0.len() >= SEEN_MAX {
            self.0.clear();
        }
        let known = self.0.get(id).filter(|seen| seen.started == started && seen.ready.is_ready == told.is_ready);
        let ready = known.map_or(told, |seen| seen.ready);
        self.0.insert(id.to_owned(), Seen { started, ready });
        ready
    }
}

/// The target, from the descriptions of its containers that run. `ending` were told to end.
pub(super) fn observed(
    target: &TargetRef,
    described: &[Container],
    ending: &[String],
    readiness: &mut Readiness,
    now: UnixMillis,
) -> Result<Observed, ActuatorError> {
    let mut pods = Vec::new();
    for container in described {
        let is_deleting = ending.iter().any(|id| id == container.id());
        pods.extend(pod(target, container, is_deleting, readiness, now)?);
    }
    pods.sort_by(|a, b| a.name.cmp(&b.name));
    let stay = pods.iter().filter(|pod| !pod.is_deleting).count();
    let replicas = u32::try_from(stay).unwrap_or(u32::MAX);
    Ok(Observed { spec_replicas: replicas, status_replicas: replicas, pods })
}

/// A replica; `None` where it ended since the list was made.
fn pod(
    target: &TargetRef,
    container: &Container,
    is_deleting: bool,
    readiness: &mut Readiness,
    now: UnixMillis,
) -> Result<Option<Pod>, ActuatorError> {
    let status = container.status();
    if matches!(status, Status::Exited | Status::Dead | Status::Removing | Status::Created) {
        return Ok(None);
    }
    let started = container.started();
    let told = match (status, container.health()) {
        // Between two runs, or frozen.
        (Status::Restarting, _) => Ready { is_ready: false, since: container.finished().unwrap_or(now) },
        (Status::Paused, _) => Ready { is_ready: false, since: now },
        // One that is starting never was ready; the checks that failed so far say nothing of since when.
        (_, Some(health)) if health.is_starting => Ready { is_ready: false, since: started.unwrap_or(now) },
        (_, Some(health)) => Ready { is_ready: health.is_healthy, since: health.since.or(started).unwrap_or(now) },
        // Without a check it is ready as soon as it runs.
        (_, None) => Ready { is_ready: true, since: started.unwrap_or(now) },
    };
    let (cpu_request_milli, memory_request) = requests(target, container)?;
    let name = container.name().to_owned();
    // Our container metrics bear the container's name.
    let labels = Labels::new([("name".to_owned(), name.clone())]).unwrap_or_default();
    let id = container.id();
    Ok(Some(Pod {
        phase: Phase::Running,
        is_deleting,
        started_at: started,
        ready: Some(readiness.since(id, started, told)),
        containers: vec![PodContainer {
            name: target.name.clone(),
            id: Some(id.to_owned()),
            cpu_request_milli,
            memory_request,
        }],
        labels,
        name,
    }))
}

/// What a replica asks for, in thousandths of a core and in bytes: by its labels, else its limits.
fn requests(target: &TargetRef, container: &Container) -> Result<(Option<u64>, Option<u64>), ActuatorError> {
    let host = &container.raw()["HostConfig"];
    let number = |key: &str| host[key].as_u64().filter(|value| *value > 0);
    let cpu = match labelled(target, container, CPU_REQUEST_LABEL)? {
        Some(quantity) => Some(quantity.milli),
        None => number("NanoCpus").map(|nanos| i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX)).or_else(|| {
            let (quota, period) = (number("CpuQuota")?, number("CpuPeriod").unwrap_or(CPU_PERIOD_US));
            i64::try_from(quota.saturating_mul(1000) / period).ok()
        }),
    };
    let memory = match labelled(target, container, MEMORY_REQUEST_LABEL)? {
        Some(quantity) => u64::try_from(quantity.units()).ok(),
        // A reservation is what Kubernetes calls a request.
        None => number("MemoryReservation").or_else(|| number("Memory")),
    };
    Ok((cpu.and_then(|milli| u64::try_from(milli).ok()), memory))
}

fn labelled(target: &TargetRef, container: &Container, label: &str) -> Result<Option<Quantity>, ActuatorError> {
    let Some(text) = container.label(label) else { return Ok(None) };
    match text.parse::<Quantity>() {
        Ok(quantity) if quantity.milli > 0 => Ok(Some(quantity)),
        Ok(_) => Err(invalid(target, format!("the label {label} of {} has to be above zero", container.name()))),
        Err(error) => Err(invalid(target, format!("the label {label} of {}: {error}", container.name()))),
    }
}
