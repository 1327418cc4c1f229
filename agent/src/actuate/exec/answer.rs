//! What a program says of its target.
//!
//! ```json
//! {"replicas": 3,                   how many are wanted; needed
//!  "running": 2,                    how many are there; else as many as `pods` has, else `replicas`
//!  "pods": [                        the replicas one by one; without them each counts as ready
//!    {"name": "a", "phase": "Running", "ready": true, "since": 1795233600, "started": 1795233500,
//!     "requests": {"cpu": "500m", "memory": "64Mi"}, "labels": {"instance": "10.0.0.3:80"}}]}
//! ```
//!
//! Times are seconds since 1970; a replica that tells no `started` is taken to run for long. Of a replica only `name` is needed. Keys that are not known are left alone, so that a
//! program can say more for others.

use serde_json::{Map, Value};
use skerry_model::{Labels, UnixMillis};
use skerry_scaling::quantity::Quantity;
use skerry_scaling::target::{Observed, Phase, Pod, PodContainer, Ready};
use std::collections::BTreeSet;

/// Most replicas that a target may have.
const REPLICAS_MAX: u32 = 1000;
/// Longest name of a replica.
const NAME_BYTES_MAX: usize = 256;

/// Reads it; the error tells what was expected.
pub(super) fn read(said: &[u8]) -> Result<Observed, String> {
    let Value::Object(said) = serde_json::from_slice(said).map_err(|error| format!("it is no JSON: {error}"))? else {
        return Err("an object such as {\"replicas\": 3} is expected".into());
    };
    let spec_replicas = count(&said, "replicas")?.ok_or("`replicas` is missing")?;
    let running = count(&said, "running")?;
    let mut pods = match said.get("pods") {
        None | Some(Value::Null) => {
            (1..=running.unwrap_or(spec_replicas)).map(|number| ready(number.to_string())).collect()
        }
        Some(Value::Array(pods)) if pods.len() > REPLICAS_MAX as usize => {
            return Err(format!("`pods` has more than {REPLICAS_MAX} entries"));
        }
        Some(Value::Array(pods)) => pods.iter().map(pod).collect::<Result<Vec<_>, _>>()?,
        Some(_) => return Err("`pods` has to be a list".into()),
    };
    pods.sort_by(|a: &Pod, b| a.name.cmp(&b.name));
    let names: BTreeSet<&str> = pods.iter().map(|pod| pod.name.as_str()).collect();
    if names.len() < pods.len() {
        return Err("two of `pods` have the same name".into());
    }
    let there = u32::try_from(pods.len()).unwrap_or(u32::MAX);
    Ok(Observed { spec_replicas, status_replicas: running.unwrap_or(there), pods })
}

fn count(said: &Map<String, Value>, key: &str) -> Result<Option<u32>, String> {
    match said.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().and_then(|count| u32::try_from(count).ok()) {
            Some(count) if count <= REPLICAS_MAX => Ok(Some(count)),
            _ => Err(format!("`{key}` has to be a whole number from 0 to {REPLICAS_MAX}")),
        },
    }
}

/// One of which nothing is told.
fn ready(name: String) -> Pod {
    let ready = Some(Ready { is_ready: true, since: UnixMillis(0) });
    Pod {
        containers: vec![PodContainer { name: name.clone(), ..PodContainer::default() }],
        name,
        ready,
        started_at: Some(UnixMillis(0)),
        ..Pod::default()
    }
}

fn pod(said: &Value) -> Result<Pod, String> {
    let name = said.get("name").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(char::is_control) {
        return Err(format!("each of `pods` has to have a `name` of at most {NAME_BYTES_MAX} bytes"));
    }
    let mut pod = ready(name.to_owned());
    let bad = |key: &str, expected: &str| format!("`{key}` of {name}: {expected} is expected");
    pod.phase = match said.get("phase").map(Value::as_str) {
        None => Phase::Running,
        Some(Some("Pending")) => Phase::Pending,
        Some(Some("Running")) => Phase::Running,
        Some(Some("Succeeded")) => Phase::Succeeded,
        Some(Some("Failed")) => Phase::Failed,
        Some(_) => return Err(bad("phase", "Pending, Running, Succeeded or Failed")),
    };
    let time = |key: &str| match said.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64().map(|seconds| seconds * 1000.0) {
            Some(millis) if (0.0..1e15).contains(&millis) => Ok(Some(UnixMillis(millis as i64))),
            _ => Err(bad(key, "a time in seconds since 1970")),
        },
    };
    pod.started_at = time("started")?.or(pod.started_at);
    let is_ready = match said.get("ready") {
        None | Some(Value::Null) => pod.phase == Phase::Running,
        Some(value) => value.as_bool().ok_or_else(|| bad("ready", "true or false"))?,
    };
    let since = time("since")?.or(pod.started_at).unwrap_or(UnixMillis(0));
    pod.ready = Some(Ready { is_ready, since });
    let request = |key: &str| match said.pointer(&format!("/requests/{key}")) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let quantity = value.as_str().and_then(|text| text.parse::<Quantity>().ok()).filter(|had| had.milli >= 0);
            quantity.map(Some).ok_or_else(|| bad(&format!("requests.{key}"), "a text such as \"500m\" or \"64Mi\""))
        }
    };
    let container = &mut pod.containers[0];
    container.cpu_request_milli = request("cpu")?.and_then(|had| u64::try_from(had.milli).ok());
    container.memory_request = request("memory")?.and_then(|had| u64::try_from(had.units()).ok());
    if let Some(labels) = said.get("labels") {
        let pairs = labels.as_object().and_then(|labels| {
            labels.iter().map(|(name, value)| Some((name.as_str(), value.as_str()?))).collect::<Option<Vec<_>>>()
        });
        let labels = pairs.and_then(|pairs| Labels::new(pairs).ok());
        pod.labels = labels.ok_or_else(|| bad("labels", "an object of label names and texts"))?;
    }
    Ok(pod)
}
