//! Workloads as JSON, for whoever asks.

use super::Workloads;
use serde_json::{Value, json};
use skerry_scaling::workload::{ContainerStatus, Status};

impl Workloads {
    /// All of them: objects with `workload`, `wanted`, `declared`, `ready`, `available`, `updated`, `revision`,
    /// `condition`, `message`, `priority`, `containers` (list of `name`, `image`, `id`, `state`, `reason`, `ready`,
    /// `restarts`, `since_ms`, `exit_code`, `starts_in_ms`, `message`).
    #[must_use]
    pub fn to_json(&self) -> Vec<Value> {
        self.list().iter().map(status).collect()
    }
}

fn status(status: &Status) -> Value {
    json!({
        "workload": status.name,
        "declared": status.declared,
        "wanted": status.wanted,
        "ready": status.ready,
        "available": status.available,
        "updated": status.updated,
        "revision": status.revision,
        "priority": status.priority,
        "condition": status.reason,
        "message": status.message,
        "containers": status.containers.iter().map(container).collect::<Value>(),
    })
}

fn container(one: &ContainerStatus) -> Value {
    json!({
        "name": format!("{}/{}", one.replica, one.name),
        "image": one.image,
        "id": one.id,
        "state": one.state,
        "reason": one.reason,
        "ready": one.is_ready,
        "restarts": one.restarts,
        "since_ms": one.started_at.map(|at| at.0),
        "exit_code": one.exit_code,
        "starts_in_ms": one.starts_in.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        "message": one.message,
    })
}
