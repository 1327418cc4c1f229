//! What is kept of the runtimes' descriptions. Every field may be missing, because versions and runtimes differ.

use crate::docker::{Container, Listed, labels};
use serde_json::Value;
use skerry_model::{ContainerAddress, ContainerInfo, ContainerNetwork, ContainerPort};

/// Longest name, image, label and path that is kept, in bytes.
const TEXT_BYTES_MAX: usize = 512;
/// Most labels that are kept.
const LABELS_MAX: usize = 64;
/// Most networks and most ports that are kept.
const NETWORKS_MAX: usize = 16;
const PORTS_MAX: usize = 64;

/// State and health: when either changes, the container is described anew.
pub(super) fn condition(listed: &Listed) -> String {
    let health = ["(healthy)", "(unhealthy)", "starting)"].iter().find(|word| listed.told.ends_with(**word));
    format!("{:?}{}", listed.status, health.unwrap_or(&""))
}

/// What is kept, if the description is about `id`.
pub(super) fn info(container: &Container, id: &str) -> Option<ContainerInfo> {
    if container.id() != id {
        return None;
    }
    let raw = container.raw();
    let state = cut(&raw["State"]["Status"]);
    let is_json = raw["HostConfig"]["LogConfig"]["Type"] == "json-file";
    let health = &raw["State"]["Health"]["Status"];
    let log_path = raw["LogPath"].as_str().filter(|path| is_json && path.starts_with('/') && path.len() <= 4096);
    let labels = labels(&raw["Config"]["Labels"]).into_iter().take(LABELS_MAX);
    Some(ContainerInfo {
        id: id.to_owned(),
        name: cut_text(container.name()),
        image: cut_text(container.image()),
        labels: labels.map(|(label, value)| (cut_text(&label), cut_text(&value))).collect(),
        // Without a health check Podman's is empty and Docker's may be `none`.
        health: Some(cut(health)).filter(|health| !health.is_empty() && health != "none"),
        exit_code: ["exited", "dead"]
            .contains(&state.as_str())
            .then(|| container.exit_code().try_into().unwrap_or(i32::MAX)),
        oom_killed: container.oom_killed(),
        state,
        started_at: container.started(),
        restarts: container.restarts(),
        pid: container.pid(),
        // Podman says json-file of its k8s-file driver; the log inputs read that too.
        json_log_path: log_path.map(str::to_owned),
        network: network(raw),
    })
}

fn network(raw: &Value) -> ContainerNetwork {
    let settings = &raw["NetworkSettings"];
    let address = |(name, network): (&String, &Value)| {
        let ip = cut(&network["IPAddress"]);
        let ip = if ip.is_empty() { cut(&network["GlobalIPv6Address"]) } else { ip };
        (cut_text(name), ContainerAddress { ip, id: cut(&network["NetworkID"]) })
    };
    let networks = settings["Networks"].as_object().into_iter().flatten();
    let networks = networks.take(NETWORKS_MAX).map(address).collect();
    let mut ports: Vec<ContainerPort> = Vec::new();
    // By `PORT/PROTOCOL`; null where a port is exposed alone.
    for (name, published) in settings["Ports"].as_object().into_iter().flatten() {
        let (number, protocol) = name.split_once('/').unwrap_or((name, "tcp"));
        let Ok(private) = number.parse() else { continue };
        // The same port stands once for IPv4 and once for IPv6.
        let public = published.as_array().into_iter().flatten().find_map(|at| {
            let port = at["HostPort"].as_str()?.parse().ok()?;
            Some((cut(&at["HostIp"]), port))
        });
        ports.push(ContainerPort { private, is_tcp: protocol == "tcp", public });
    }
    ports.sort();
    ports.truncate(PORTS_MAX);
    ContainerNetwork { mode: cut(&raw["HostConfig"]["NetworkMode"]), networks, ports }
}

fn cut(value: &Value) -> String {
    cut_text(value.as_str().unwrap_or_default())
}

fn cut_text(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()
}
