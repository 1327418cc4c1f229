//! Which replicas count for a metric, and which do not.

use super::Controller;
use crate::target::{Phase, Pod, PodMetric, PodMetrics};
use skerry_model::UnixMillis;
use std::collections::BTreeMap;
use std::time::Duration;

/// What the replicas of a target are to a metric. Those that are being removed or have failed are in none of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Groups<'a> {
    /// Measured, and to be counted.
    pub counted: Vec<(&'a Pod, PodMetric)>,
    /// Not ready to be counted: not started yet, or with a CPU usage that says nothing yet.
    pub ignored: Vec<&'a Pod>,
    /// Not measured.
    pub missing: Vec<&'a Pod>,
}

/// Tells the replicas apart. Metrics of replicas that the target does not have are left out. `is_cpu` is for what a replica
/// uses while it starts: much, and of no meaning.
#[must_use]
pub fn group<'a>(
    pods: impl IntoIterator<Item = &'a Pod>,
    metrics: &PodMetrics,
    is_cpu: bool,
    controller: &Controller,
    now: UnixMillis,
) -> Groups<'a> {
    let mut groups = Groups::default();
    for pod in pods {
        if pod.is_deleting || pod.phase == Phase::Failed {
            continue;
        }
        if pod.phase == Phase::Pending {
            groups.ignored.push(pod);
            continue;
        }
        match metrics.get(&pod.name) {
            None => groups.missing.push(pod),
            Some(metric) if is_cpu && is_starting(pod, metric, controller, now) => groups.ignored.push(pod),
            Some(metric) => groups.counted.push((pod, *metric)),
        }
    }
    groups
}

/// Started later than this from now, a replica did so by a clock that was wrong and has been set back since: it would count as
/// starting until then, which may be years.
const AHEAD_MAX: Duration = Duration::from_secs(300);

/// Whether what a replica uses says nothing yet: it has just started and is not ready, or was not measured for a whole
/// window since it is; or it never was ready.
fn is_starting(pod: &Pod, metric: &PodMetric, controller: &Controller, now: UnixMillis) -> bool {
    let (Some(ready), Some(started)) = (pod.ready, pod.started_at) else { return true };
    if started > now + AHEAD_MAX {
        return false;
    }
    if started + controller.cpu_initialization_period > now {
        return !ready.is_ready || metric.at < ready.since + metric.window;
    }
    !ready.is_ready && started + controller.initial_readiness_delay > ready.since
}

/// How many run and are ready. Where a runtime does not tell of single replicas, all that are there.
///
/// # Errors
/// Where there is no replica at all.
pub fn ready_count(pods: &[Pod], status_replicas: u32) -> Result<u32, String> {
    if pods.is_empty() {
        return if status_replicas > 0 {
            Ok(status_replicas)
        } else {
            Err("the target has no replicas now".to_owned())
        };
    }
    let is_ready = |pod: &&Pod| pod.phase == Phase::Running && pod.ready.is_some_and(|ready| ready.is_ready);
    Ok(u32::try_from(pods.iter().filter(is_ready).count()).unwrap_or(u32::MAX))
}

/// What each replica uses, all containers of it or one: a replica with a container that is not measured is not measured.
#[must_use]
pub fn sums(per: &BTreeMap<(String, String), PodMetric>, pods: &[Pod], container: Option<&str>) -> PodMetrics {
    let known: BTreeMap<&str, &Pod> = pods.iter().map(|pod| (pod.name.as_str(), pod)).collect();
    let mut sums = PodMetrics::new();
    // All of one replica stand together, as the map is ordered.
    let mut entries = per.iter().peekable();
    while let Some(((name, _), _)) = entries.peek() {
        let mut found: Vec<&str> = Vec::new();
        let mut sum: Option<PodMetric> = None;
        while let Some(((_, of), metric)) = entries.next_if(|((pod, _), _)| pod == name) {
            if container.is_none_or(|container| container == of) {
                found.push(of);
                sum = Some(sum.map_or(*metric, |sum| PodMetric {
                    milli: sum.milli.saturating_add(metric.milli),
                    at: sum.at.min(metric.at),
                    window: sum.window.max(metric.window),
                }));
            }
        }
        let is_whole = |pod: &&Pod| pod.containers.iter().all(|one| found.contains(&one.name.as_str()));
        let is_measured = container.is_some() || known.get(name.as_str()).is_none_or(is_whole);
        if let Some(sum) = sum.filter(|_| is_measured) {
            sums.insert(name.clone(), sum);
        }
    }
    sums
}
