//! What each metric asks for, as it is shown.

use super::Reading;
use super::decision::Proposal;
use super::pods::sums;
use super::replicas::{Asked, Scene, average_of_pods, average_value, utilization, value};
use crate::policy::{Metric, Resource, Source, Target};
use crate::quantity::Quantity;
use crate::target::PodMetrics;

/// What a metric asks for, and its total for the activation threshold.
pub(super) fn judge(
    scene: Scene<'_>,
    metric: &Metric,
    reading: &Result<Reading, String>,
) -> Result<(Asked, i64), String> {
    let reading = reading.as_ref().map_err(Clone::clone)?;
    let pods = &scene.observed.pods;
    let asked = match (&metric.source, reading, metric.target) {
        (Source::Resource(resource), Reading::Pods { per }, target) => {
            of_resource(scene, &sums(per, pods, None), *resource, None, target)?
        }
        (Source::ContainerResource { resource, container }, Reading::Pods { per }, target) => {
            of_resource(scene, &sums(per, pods, Some(container)), *resource, Some(container), target)?
        }
        (Source::Pods(_), Reading::PerPod(metrics), Target::AverageValue(each)) => {
            average_of_pods(scene, metrics, None, each.milli)?
        }
        (Source::Object { .. } | Source::External(_), Reading::Value { milli }, target) => {
            let asked = match target {
                Target::AverageValue(each) => average_value(scene, *milli, each.milli),
                Target::Value(whole) => value(scene, *milli, whole.milli)?,
                Target::Utilization(_) => return Err(MISMATCH.to_owned()),
            };
            return Ok((asked, *milli));
        }
        _ => return Err(MISMATCH.to_owned()),
    };
    let total = asked.milli;
    Ok((asked, total))
}

const MISMATCH: &str = "what was read is not what the metric is of";

fn of_resource(
    scene: Scene<'_>,
    metrics: &PodMetrics,
    resource: Resource,
    container: Option<&str>,
    target: Target,
) -> Result<Asked, String> {
    match target {
        Target::Utilization(percent) => utilization(scene, metrics, resource, container, percent),
        Target::AverageValue(each) => average_of_pods(scene, metrics, Some(resource), each.milli),
        Target::Value(_) => Err(MISMATCH.to_owned()),
    }
}

/// Whether a metric is read at the replicas.
pub(super) fn is_of_pods(metric: &Metric) -> bool {
    matches!(metric.source, Source::Resource(_) | Source::ContainerResource { .. } | Source::Pods(_))
}

/// The reason of ScalingActive where a metric cannot be read.
pub(super) fn failure(metric: &Metric) -> &'static str {
    match metric.source {
        Source::Resource(_) => "FailedGetResourceMetric",
        Source::ContainerResource { .. } => "FailedGetContainerResourceMetric",
        Source::Pods(_) => "FailedGetPodsMetric",
        Source::Object { .. } => "FailedGetObjectMetric",
        Source::External(_) => "FailedGetExternalMetric",
    }
}

/// The metric as it is now.
pub(super) fn text(metric: &Metric, asked: &Asked) -> String {
    match (metric.target, asked.percent) {
        (_, Some(percent)) => format!("{percent}%"),
        (Target::Value(_), None) => Quantity::milli(asked.milli).to_string(),
        _ => format!("{} on average", Quantity::milli(asked.milli)),
    }
}

/// A proposal of a metric.
pub(super) fn proposal(
    metric: &Metric,
    current: String,
    replicas: Result<u32, String>,
    demand_milli: Option<u64>,
    note: String,
) -> Proposal {
    let (metric, target) = (metric.to_string(), metric.target.to_string());
    Proposal { metric, current, target, replicas, demand_milli, note }
}
