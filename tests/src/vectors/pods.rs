//! Replicas of a target and what they use, as cases write them.

use super::hpa::{NOW, ago, seconds, since};
use super::json::{only, text};
use serde_json::Value;
use skerry_scaling::target::{Phase, Pod, PodContainer, PodMetric, PodMetrics, Ready};
use std::collections::BTreeMap;
use std::time::Duration;

/// Longer than every window, period and delay of a case.
const LONG_AGO_SECONDS: f64 = 1e6;
/// With what a field begins that says that a replica is being removed: `deleting`, `deletion_timestamp`.
const DELETING: &str = "delet";

fn phase(pod: &Value) -> Result<Phase, String> {
    Ok(match pod["phase"].as_str() {
        None | Some("Running") => Phase::Running,
        Some("Pending") => Phase::Pending,
        Some("Succeeded") => Phase::Succeeded,
        Some("Failed") => Phase::Failed,
        Some(other) => return Err(format!("phase {other} is not known")),
    })
}

/// That a replica has no fields beside these; whether it is being removed.
fn is_deleting(pod: &Value, fields: &[&str]) -> Result<bool, String> {
    let of = || pod.as_object().into_iter().flatten().filter(|(field, _)| field.starts_with(DELETING));
    let known: Vec<&str> = of().map(|(field, _)| field.as_str()).chain(fields.iter().copied()).collect();
    only("a pod", pod, &known)?;
    Ok(of().any(|(_, value)| !matches!(value, Value::Null | Value::Bool(false))))
}

/// A replica with moments: when it was started and became ready.
pub(super) fn by_moments(pod: &Value) -> Result<Pod, String> {
    let is_deleting = is_deleting(pod, &["phase", "started_seconds_ago", "ready_condition"])?;
    let condition = &pod["ready_condition"];
    only("a condition", condition, &["status", "last_transition_seconds_ago"])?;
    let since = since(condition, "last_transition_seconds_ago");
    let ready = condition.is_object().then(|| Ready { is_ready: condition["status"] == "True", since });
    Ok(Pod {
        name: text(pod, "name")?.into(),
        phase: phase(pod)?,
        is_deleting,
        started_at: pod["started_seconds_ago"].as_f64().map(ago),
        ready,
        ..Pod::default()
    })
}

/// A replica by its state: ready unless it says otherwise, and there for long unless its CPU is that of a start.
pub(super) fn by_state(pod: &Value, containers: &[String]) -> Result<Pod, String> {
    let fields = ["phase", "ready", "cpu_initializing", "request_milli_per_container"];
    let is_deleting = is_deleting(pod, &fields)?;
    // One that is still starting has a sample from before it was ready for a whole window; one that is not ready and not
    // starting never was.
    let started = ago(if pod["cpu_initializing"] == true { 5.0 } else { LONG_AGO_SECONDS });
    let request = pod["request_milli_per_container"].as_u64();
    let container = |name: &String| PodContainer {
        name: name.clone(),
        cpu_request_milli: request,
        memory_request: request.map(|milli| milli / 1000),
        ..PodContainer::default()
    };
    Ok(Pod {
        name: text(pod, "name")?.into(),
        phase: phase(pod)?,
        is_deleting,
        started_at: Some(started),
        ready: Some(Ready { is_ready: pod["ready"] != false, since: started }),
        containers: containers.iter().map(container).collect(),
        ..Pod::default()
    })
}

/// Names of the containers of each replica of a case: `c0` and on.
pub(super) fn containers(case: &Value) -> Result<Vec<String>, String> {
    let count = match &case["containers_per_pod"] {
        Value::Null => 1,
        count => count.as_u64().filter(|count| *count <= 64).ok_or("containers_per_pod has no count")?,
    };
    Ok((0..count).map(|n| format!("c{n}")).collect())
}

fn measured(milli: &Value) -> Result<PodMetric, String> {
    let milli = milli.as_i64().ok_or("a metric has no whole number of thousandths")?;
    Ok(PodMetric { milli, at: NOW, window: seconds(&Value::from(60)).unwrap_or(Duration::ZERO) })
}

/// A number for each replica.
pub(super) fn of_pods(given: &Value) -> Result<PodMetrics, String> {
    given.as_object().into_iter().flatten().map(|(pod, milli)| Ok((pod.clone(), measured(milli)?))).collect()
}

/// A number for all containers of a replica each, or a list with one for each container, of which the last may lack.
pub(super) fn of_containers(given: &Value, names: &[String]) -> Result<BTreeMap<(String, String), PodMetric>, String> {
    let mut per = BTreeMap::new();
    for (pod, used) in given.as_object().into_iter().flatten() {
        for (n, name) in names.iter().enumerate() {
            let milli = match used {
                Value::Array(list) => list.get(n),
                each => Some(each),
            };
            if let Some(milli) = milli {
                per.insert((pod.clone(), name.clone()), measured(milli)?);
            }
        }
    }
    Ok(per)
}
