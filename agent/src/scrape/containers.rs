//! Targets that are containers.

use super::config::{DockerSd, JobConfig};
use skerry_model::{ContainerInfo, ContainerPort};
use skerry_scrape::relabel::{Action, Config as Relabel};

/// The job of labelled containers.
pub(super) const JOB: &str = "containers";

type Pairs = Vec<(String, String)>;

/// Running containers as Prometheus's `docker_sd_configs` shows them: one target for each TCP port in each network.
pub(super) fn discover(sd: &DockerSd, containers: &[ContainerInfo]) -> Vec<Pairs> {
    let running = containers.iter().filter(|container| container.state == "running");
    running.flat_map(|container| of_container(sd, container)).collect()
}

fn of_container(sd: &DockerSd, container: &ContainerInfo) -> Vec<Pairs> {
    let meta = |name: &str, value: &str| (format!("__meta_docker_{name}"), value.to_owned());
    let mode = &container.network.mode;
    let mut common = vec![
        meta("container_id", &container.id),
        // As the runtime writes it, with the slash.
        meta("container_name", &format!("/{}", container.name)),
        meta("container_network_mode", mode),
        meta("container_image", &container.image),
    ];
    for (name, value) in container.labels.iter().take(24) {
        common.push(meta(&format!("container_label_{}", label_name(name)), value));
    }
    let ports: Vec<&ContainerPort> = container.network.ports.iter().filter(|port| port.is_tcp).collect();
    let most = if sd.match_first_network { 1 } else { usize::MAX };
    let mut targets = Vec::new();
    for (name, network) in container.network.networks.iter().take(most) {
        let mut base = common.clone();
        base.extend([meta("network_name", name), meta("network_id", &network.id), meta("network_ip", &network.ip)]);
        for port in &ports {
            let mut labels = base.clone();
            labels.push(meta("port_private", &port.private.to_string()));
            if let Some((ip, public)) = &port.public {
                labels.extend([meta("port_public", &public.to_string()), meta("port_public_ip", ip)]);
            }
            labels.push(("__address__".into(), host_port(&network.ip, port.private)));
            targets.push(labels);
        }
        if ports.is_empty() {
            let address =
                if mode == "host" { sd.host_networking_host.clone() } else { host_port(&network.ip, sd.port) };
            base.push(("__address__".into(), address));
            targets.push(base);
        }
    }
    if container.network.networks.is_empty() && mode == "host" {
        common.push(("__address__".into(), sd.host_networking_host.clone()));
        targets.push(common);
    }
    // A container without an address cannot be reached; Podman's without root have none.
    targets.retain(|labels| labels.iter().all(|(name, value)| name != "__address__" || !value.starts_with(':')));
    targets
}

fn host_port(ip: &str, port: u16) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// A name as a label name: what does not fit becomes `_`.
fn label_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// The job of containers that ask for it by labels, in the words of its own config: `prometheus.io/scrape`, `/scheme`,
/// `/path`, `/port`; `container` and `image` go along.
pub(super) fn job() -> JobConfig {
    let rule = |source: &[&str], regex: &str, target: &str, replacement: Option<&str>| Relabel {
        source_labels: source.iter().map(|name| format!("__{name}")).collect(),
        regex: Some(regex.into()),
        target_label: Some(target.into()),
        replacement: replacement.map(Into::into),
        ..Relabel::default()
    };
    let label = |name: &str| format!("meta_docker_container_label_prometheus_io_{name}");
    let keep = Relabel {
        source_labels: vec![format!("__{}", label("scrape"))],
        regex: Some("true".into()),
        action: Action::Keep,
        ..Relabel::default()
    };
    // Of several ports the one that the label names; all lead to the same target.
    let port =
        rule(&["address__", &label("port")], r"(\[[^\]]*\]|[^:;]+)(?::\d+)?;(\d+)", "__address__", Some("${1}:${2}"));
    let rules = vec![
        keep,
        port,
        rule(&[&label("path")], "(.+)", "__metrics_path__", None),
        rule(&[&label("scheme")], "(https?)", "__scheme__", None),
        rule(&["meta_docker_container_name"], "/(.*)", "container", None),
        rule(&["meta_docker_container_image"], "(.*)", "image", None),
    ];
    JobConfig::of_containers(JOB, DockerSd::default(), rules)
}
