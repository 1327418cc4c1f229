//! Objects of the API: read key by key, and only what is used.

use super::super::spans;
use crate::actuate::Usage;
use serde_json::Value;
use skerry_model::{Labels, UnixMillis};
use skerry_scaling::quantity::Quantity;
use skerry_scaling::target::{Phase, Pod, PodContainer, PodMetric, Ready};

/// Containers of a pod that are looked at.
const CONTAINERS_MAX: usize = 64;
/// Longest name, and longest selector.
const NAME_BYTES_MAX: usize = 253;
const SELECTOR_BYTES_MAX: usize = 8 << 10;

/// `autoscaling/v1` Scale.
pub(super) struct Scale {
    pub(super) spec_replicas: u32,
    pub(super) status_replicas: u32,
    /// Selects its pods, as a query has it; not empty.
    pub(super) selector: String,
    pub(super) version: String,
    /// As it came.
    pub(super) whole: Value,
}

/// Reads a Scale; the error tells what is wrong with it.
pub(super) fn scale(whole: Value) -> Result<Scale, String> {
    if text(&whole, "/kind") != "Scale" {
        return Err("it is no Scale".into());
    }
    let (spec_replicas, status_replicas) = (count(&whole, "/spec/replicas")?, count(&whole, "/status/replicas")?);
    let selector = text(&whole, "/status/selector").to_owned();
    if selector.len() > SELECTOR_BYTES_MAX {
        return Err(format!("status.selector is longer than {SELECTOR_BYTES_MAX} bytes"));
    }
    let version = text(&whole, "/metadata/resourceVersion").to_owned();
    Ok(Scale { spec_replicas, status_replicas, selector, version, whole })
}

/// A number that is left out where it is 0.
fn count(object: &Value, pointer: &str) -> Result<u32, String> {
    let value = match object.pointer(pointer) {
        None | Some(Value::Null) => return Ok(0),
        Some(value) => value.as_i64().and_then(|count| i32::try_from(count).ok()),
    };
    let count = value.and_then(|count| u32::try_from(count).ok());
    count.ok_or_else(|| format!("{} is no number from 0 to {}", pointer[1..].replace('/', "."), i32::MAX))
}

/// The pods of one page of a list, and where the next page begins.
pub(super) fn pods(list: &Value, namespace: &str) -> Result<(Vec<Pod>, Option<String>), String> {
    let pods = items(list)?.iter().map(|item| pod(item, namespace)).collect::<Result<_, _>>()?;
    let next = text(list, "/metadata/continue");
    Ok((pods, (!next.is_empty()).then(|| next.to_owned())))
}

fn items(list: &Value) -> Result<&[Value], String> {
    match list.get("items") {
        Some(Value::Array(items)) => Ok(items),
        // Go writes an empty list so.
        Some(Value::Null) => Ok(&[]),
        _ => Err("it has no list of items".into()),
    }
}

fn pod(item: &Value, namespace: &str) -> Result<Pod, String> {
    let name = name(item)?;
    let phase = match text(item, "/status/phase") {
        "Pending" | "" => Phase::Pending,
        "Succeeded" => Phase::Succeeded,
        "Failed" => Phase::Failed,
        _ => Phase::Running,
    };
    let mut conditions = item.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let ready = conditions.rfind(|condition| text(condition, "/type") == "Ready").map(|condition| Ready {
        is_ready: text(condition, "/status") == "True",
        since: time(condition, "/lastTransitionTime").unwrap_or(UnixMillis(0)),
    });
    let of = |pointer: &str| item.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    // Helpers that run beside the others for as long as they do count with them.
    let beside = of("/spec/initContainers").filter(|container| text(container, "/restartPolicy") == "Always");
    let statuses: Vec<(&str, &str)> = of("/status/containerStatuses")
        .chain(of("/status/initContainerStatuses"))
        .map(|status| (text(status, "/name"), text(status, "/containerID")))
        .collect();
    let container = |container: &Value| {
        let name = text(container, "/name");
        let id = statuses.iter().find(|(known, _)| *known == name).map(|(_, id)| *id);
        PodContainer {
            name: name.to_owned(),
            id: id.and_then(|id| id.split_once("://")).map(|(_, id)| id.to_owned()),
            cpu_request_milli: quantity(container, "/resources/requests/cpu").map(|cpu| cpu.milli.unsigned_abs()),
            memory_request: quantity(container, "/resources/requests/memory").map(|had| had.units().unsigned_abs()),
        }
    };
    Ok(Pod {
        labels: Labels::new([("namespace", namespace), ("pod", name)]).unwrap_or_default(),
        name: name.to_owned(),
        phase,
        is_deleting: item.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null()),
        started_at: time(item, "/status/startTime"),
        ready,
        containers: of("/spec/containers").chain(beside).take(CONTAINERS_MAX).map(container).collect(),
    })
}

/// What a list of PodMetrics says.
pub(super) fn usage(list: &Value) -> Result<Usage, String> {
    let mut usage = Usage::default();
    for item in items(list)? {
        let pod = name(item)?;
        let (Some(at), Some(window)) = (time(item, "/timestamp"), spans::read(text(item, "/window"))) else {
            return Err(format!("the metrics of {pod} have no timestamp and window"));
        };
        let containers = item.get("containers").and_then(Value::as_array).into_iter().flatten();
        for container in containers.take(CONTAINERS_MAX) {
            let key = (pod.to_owned(), text(container, "/name").to_owned());
            let metric = |had: Quantity| PodMetric { milli: had.milli, at, window };
            if let Some(cpu) = quantity(container, "/usage/cpu") {
                usage.cpu.insert(key.clone(), metric(cpu));
            }
            if let Some(memory) = quantity(container, "/usage/memory") {
                usage.memory.insert(key, metric(memory));
            }
        }
    }
    Ok(usage)
}

fn name(item: &Value) -> Result<&str, String> {
    let name = text(item, "/metadata/name");
    let is_name = !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains(char::is_control);
    if is_name { Ok(name) } else { Err("one of its items has no name".into()) }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn time(object: &Value, pointer: &str) -> Option<UnixMillis> {
    let time: jiff::Timestamp = text(object, pointer).parse().ok()?;
    Some(UnixMillis(time.as_millisecond()))
}

/// A quantity that is not negative.
fn quantity(object: &Value, pointer: &str) -> Option<Quantity> {
    text(object, pointer).parse().ok().filter(|had: &Quantity| had.milli >= 0)
}
