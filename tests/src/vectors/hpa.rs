//! Cases of Kubernetes's HorizontalPodAutoscaler: which they are, replicas of one metric, groups of replicas. Each runs
//! through the function that decides on a node.

use super::json::{only, same, text, texts};
use super::{Report, pods, rates, rounds};
use serde_json::Value;
use skerry_model::UnixMillis;
use skerry_scaling::hpa::Controller;
use skerry_scaling::hpa::pods::{group, sums};
use skerry_scaling::hpa::replicas::{Asked, Scene, Tolerances, average_of_pods, average_value, utilization, value};
use skerry_scaling::policy::Resource;
use skerry_scaling::target::{Observed, PodMetric, PodMetrics};
use std::collections::BTreeSet;
use std::time::Duration;

/// The moment at which all cases are judged.
pub(super) const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

/// Judges one case, given what stands around it.
type Judge = fn(&Value, &Value) -> Result<(), String>;

/// By which field of a case it is told what it is.
const KINDS: [(&str, Judge); 6] = [
    ("readings", rounds::round),
    ("current_replicas", replicas),
    ("replica_change", rates::events),
    ("minReplicas", rates::rate),
    ("recommendations", rates::windows),
    ("resource", groups),
];

/// Judges a list of cases, where they are of this kind.
pub(super) fn run(document: &Value, key: &str, value: &Value, report: &mut Report) -> bool {
    let cases = value.as_array().map_or(&[][..], Vec::as_slice);
    let judge_of = |case: &Value| {
        let is_of = case.get("desired_in").is_some()
            || case.get("replica_change").is_some()
            || case.get("current_replicas").is_some()
            || case.get("readings").is_some()
            || case["expect"].get("ready_count").is_some();
        KINDS.iter().filter(|_| is_of).find(|(field, _)| case.get(field).is_some()).map(|(_, judge)| *judge)
    };
    if cases.first().and_then(judge_of).is_none() {
        return false;
    }
    for (n, case) in cases.iter().enumerate() {
        let name = format!("{key}[{n}] {}", case["name"].as_str().unwrap_or_default());
        let judged = judge_of(case).ok_or_else(|| "is of another kind than the first".to_owned());
        report.add(name, judged.and_then(|judge| judge(document, case)));
    }
    true
}

pub(super) fn ago(seconds: f64) -> UnixMillis {
    UnixMillis(NOW.0 - (seconds * 1000.0) as i64)
}

/// A number of seconds before now; a moment before all where there is none.
pub(super) fn since(case: &Value, field: &str) -> UnixMillis {
    case[field].as_f64().map_or(UnixMillis(0), ago)
}

pub(super) fn seconds(value: &Value) -> Option<Duration> {
    value.as_f64().map(|seconds| Duration::from_secs_f64(seconds.max(0.0)))
}

pub(super) fn count(case: &Value, field: &str) -> Result<u32, String> {
    let number = case[field].as_u64().and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| format!("field {field} has no count"))
}

pub(super) fn controller(document: &Value) -> Controller {
    let settings = &document["settings"];
    let default = Controller::default();
    Controller {
        tolerance: settings["tolerance"].as_f64().unwrap_or(default.tolerance),
        cpu_initialization_period: seconds(&settings["cpu_initialization_period_s"])
            .unwrap_or(Duration::from_secs(120)),
        initial_readiness_delay: seconds(&settings["initial_readiness_delay_s"]).unwrap_or(Duration::from_secs(10)),
        ..default
    }
}

/// Which replicas count.
fn groups(document: &Value, case: &Value) -> Result<(), String> {
    only("the case", case, &["resource", "pods", "metrics", "expect"])?;
    let list = case["pods"].as_array().map_or(&[][..], Vec::as_slice);
    let pods = list.iter().map(pods::by_moments).collect::<Result<Vec<_>, String>>()?;
    let metrics = case["metrics"].as_object().into_iter().flatten().map(|(name, metric)| {
        only("a metric", metric, &["value", "sample_seconds_ago", "window_s"])?;
        let at = since(metric, "sample_seconds_ago");
        let window = seconds(&metric["window_s"]).unwrap_or_default();
        Ok((name.clone(), PodMetric { milli: metric["value"].as_i64().unwrap_or(0), at, window }))
    });
    let metrics = metrics.collect::<Result<PodMetrics, String>>()?;
    let found = group(&pods, &metrics, text(case, "resource")? == "cpu", &controller(document), NOW);
    let expect = &case["expect"];
    only("what is expected", expect, &["ready_count", "ignored", "missing"])?;
    same("ready", &found.counted.len(), &(count(expect, "ready_count")? as usize))?;
    for (what, found) in [("ignored", &found.ignored), ("missing", &found.missing)] {
        let found: BTreeSet<&str> = found.iter().map(|pod| pod.name.as_str()).collect();
        same(what, &found, &texts(expect, what)?.into_iter().collect())?;
    }
    Ok(())
}

/// Fields of a case of one metric.
const OF_REPLICAS: [&str; 17] = [
    "kind",
    "current_replicas",
    "status_replicas",
    "resource",
    "container",
    "containers_per_pod",
    "pods",
    "target_utilization_percent",
    "target_milli",
    "metrics_milli",
    "metrics_milli_per_container",
    "metric_values_milli",
    "tolerance",
    "tolerance_up",
    "tolerance_down",
    "sample_seconds_ago",
    "expect",
];

/// What one metric asks for.
fn replicas(document: &Value, case: &Value) -> Result<(), String> {
    only("the case", case, &OF_REPLICAS)?;
    let current = count(case, "current_replicas")?;
    let there = if case["status_replicas"].is_null() { current } else { count(case, "status_replicas")? };
    let names = pods::containers(case)?;
    let list = case["pods"].as_array().map_or(&[][..], Vec::as_slice);
    let pods = list.iter().map(|pod| pods::by_state(pod, &names)).collect::<Result<Vec<_>, String>>()?;
    let observed = Observed { spec_replicas: current, status_replicas: there, pods };
    let controller = controller(document);
    let both = case["tolerance"].as_f64().unwrap_or(controller.tolerance);
    let tolerance = |field: &str| case[field].as_f64().unwrap_or(both);
    let tolerances = Tolerances { up: tolerance("tolerance_up"), down: tolerance("tolerance_down") };
    let scene = Scene { observed: &observed, controller: &controller, tolerances, now: NOW };
    let resource = match case["resource"].as_str() {
        None | Some("cpu") => Resource::Cpu,
        Some("memory") => Resource::Memory,
        Some(other) => return Err(format!("resource {other} is not known")),
    };
    let container = case["container"].as_str();
    let target = || case["target_milli"].as_i64().ok_or("target_milli is expected");
    let total = case["metric_values_milli"].as_array().into_iter().flatten();
    let total = total.filter_map(Value::as_i64).fold(0i64, i64::saturating_add);
    let per = || pods::of_containers(&case["metrics_milli_per_container"], &names);
    let found = match text(case, "kind")? {
        "resource_utilization" => {
            let percent = count(case, "target_utilization_percent")?;
            utilization(scene, &sums(&per()?, &observed.pods, container), resource, container, percent)
        }
        "resource_average" => {
            average_of_pods(scene, &sums(&per()?, &observed.pods, container), Some(resource), target()?)
        }
        "pods_average" => average_of_pods(scene, &pods::of_pods(&case["metrics_milli"])?, None, target()?),
        "object_value" | "external_value" => value(scene, total, target()?),
        "object_average_value" | "external_average_value" => Ok(average_value(scene, total, target()?)),
        other => return Err(format!("kind {other} is not known")),
    };
    asked(found, &case["expect"])
}

fn asked(found: Result<Asked, String>, expect: &Value) -> Result<(), String> {
    let fields = ["replicas", "utilization_percent", "raw_average_milli", "metric_milli", "error_contains"];
    only("what is expected", expect, &fields)?;
    match (found, expect["error_contains"].as_str()) {
        (Err(error), Some(wanted)) if error.contains(wanted) => Ok(()),
        (Err(error), wanted) => Err(format!("fails with {error:?}, expected {wanted:?}")),
        (Ok(found), Some(wanted)) => Err(format!("gives {found:?}, should fail with {wanted:?}")),
        (Ok(found), None) => {
            same("replicas", &found.replicas, &count(expect, "replicas")?)?;
            for field in ["raw_average_milli", "metric_milli"] {
                if let Some(wanted) = expect[field].as_i64() {
                    same(field, &found.milli, &wanted)?;
                }
            }
            match expect["utilization_percent"].as_i64() {
                Some(wanted) => same("percent", &found.percent, &Some(wanted)),
                None => Ok(()),
            }
        }
    }
}
