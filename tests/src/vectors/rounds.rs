//! Whole rounds: a spec, replicas and what was read give a number of replicas and conditions.

use super::hpa::{NOW, controller, count};
use super::json::{only, same, text};
use super::pods;
use serde_json::{Value, json};
use skerry_model::{Mono, Now};
use skerry_scaling::hpa::{Decision, Reading, State, decide};
use skerry_scaling::policy::ScalingPolicy;
use skerry_scaling::target::Observed;
use std::time::Duration;

/// Conditions in the order of decisions.
const CONDITIONS: [&str; 3] = ["AbleToScale", "ScalingActive", "ScalingLimited"];

/// Judges one round, the first of its target unless the case says how many went before.
pub(super) fn round(document: &Value, case: &Value) -> Result<(), String> {
    let fields = ["spec", "current", "status_replicas", "containers_per_pod", "pods", "readings", "rounds", "expect"];
    only("the case", case, &fields)?;
    let mut spec = case["spec"].clone();
    let fields = spec.as_object_mut().ok_or("a spec is expected")?;
    fields.entry("scaleTargetRef").or_insert_with(|| json!({"kind": "Container", "name": "web"}));
    let policy = ScalingPolicy::parse("web", &spec.to_string())
        .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    let names = pods::containers(case)?;
    let spec_replicas = count(case, "current")?;
    let list = case["pods"].as_array().map_or(&[][..], Vec::as_slice);
    let pods = list.iter().map(|pod| pods::by_state(pod, &names)).collect::<Result<Vec<_>, String>>()?;
    let status_replicas =
        if case["status_replicas"].is_null() { spec_replicas } else { count(case, "status_replicas")? };
    let observed = Observed { spec_replicas, status_replicas, pods };
    let readings = case["readings"].as_array().ok_or("readings are expected")?;
    let readings = readings.iter().map(|given| reading(given, &names)).collect::<Result<Vec<_>, String>>()?;
    let (controller, mut state) = (controller(document), State::default());
    // Rounds before it saw the same, 15 s after each other.
    let before = if case["rounds"].is_null() { 0 } else { count(case, "rounds")? };
    let mut decided = None;
    for n in (0..=before).rev() {
        let ago = Duration::from_secs(15) * n;
        let wall = skerry_model::UnixMillis(NOW.0 - i64::try_from(ago.as_millis()).unwrap_or(i64::MAX));
        let now = Now { wall, mono: Mono(1_000_000_000 - u64::try_from(ago.as_millis()).unwrap_or(0)) };
        decided = Some(decide(&policy, &controller, &mut state, &observed, &readings, &[], now));
    }
    expected(&decided.ok_or("no round")?, &case["expect"])
}

/// What was read of a metric.
fn reading(given: &Value, names: &[String]) -> Result<Result<Reading, String>, String> {
    only("a reading", given, &["error", "milli", "pods_milli", "milli_per_container"])?;
    if given["error"].is_string() {
        return Ok(Err(text(given, "error")?.to_owned()));
    }
    if let Some(milli) = given["milli"].as_i64() {
        return Ok(Ok(Reading::Value { milli }));
    }
    if given["pods_milli"].is_object() {
        return Ok(Ok(Reading::PerPod(pods::of_pods(&given["pods_milli"])?)));
    }
    if given["milli_per_container"].is_object() {
        return Ok(Ok(Reading::Pods { per: pods::of_containers(&given["milli_per_container"], names)? }));
    }
    Err("a reading is none of error, milli, pods_milli, milli_per_container".into())
}

fn expected(decision: &Decision, expect: &Value) -> Result<(), String> {
    only("what is expected", expect, &[&["replicas"], &CONDITIONS[..]].concat())?;
    same("replicas", &decision.desired, &count(expect, "replicas")?)
        .map_err(|error| format!("{error}: {}", decision.explain()))?;
    for (kind, found) in CONDITIONS.iter().zip(&decision.conditions) {
        if expect[*kind].is_null() {
            continue;
        }
        let found = (found.status.as_str(), found.reason);
        let wanted = (expect[*kind][0].as_str().unwrap_or_default(), expect[*kind][1].as_str().unwrap_or_default());
        same(kind, &found, &wanted)?;
    }
    Ok(())
}
