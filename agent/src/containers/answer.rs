//! The runtimes' JSON. Only what is used is read; every field may be missing, because versions and runtimes differ.

use serde::Deserialize;
use skerry_model::{ContainerAddress, ContainerInfo, ContainerNetwork, ContainerPort, UnixMillis};
use std::collections::BTreeMap;

/// Longest name, image, label and path that is kept, in bytes.
const TEXT_BYTES_MAX: usize = 512;
/// Most labels that are kept.
const LABELS_MAX: usize = 64;
/// Most networks and most ports that are kept.
const NETWORKS_MAX: usize = 16;
const PORTS_MAX: usize = 64;

/// An entry of `GET /containers/json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
pub(super) struct Listed {
    pub(super) id: String,
    pub(super) state: String,
    /// For people, such as `Up 3 minutes (healthy)`.
    status: String,
}

impl Listed {
    /// State and health: when either changes, the container is described anew.
    pub(super) fn condition(&self) -> String {
        let health = ["(healthy)", "(unhealthy)", "starting)"].iter().find(|word| self.status.ends_with(**word));
        format!("{}{}", self.state, health.unwrap_or(&""))
    }
}

/// `GET /containers/ID/json`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Inspected {
    id: String,
    name: String,
    restart_count: u64,
    log_path: Option<String>,
    state: State,
    config: ContainerConfig,
    host_config: HostConfig,
    network_settings: NetworkSettings,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NetworkSettings {
    networks: Option<BTreeMap<String, Option<Network>>>,
    /// Published ports by `PORT/PROTOCOL`; null where a port is exposed alone.
    ports: Option<BTreeMap<String, Option<Vec<Published>>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Network {
    #[serde(rename = "IPAddress")]
    ip: String,
    #[serde(rename = "GlobalIPv6Address")]
    ip6: String,
    #[serde(rename = "NetworkID")]
    id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Published {
    host_ip: String,
    host_port: String,
}

impl NetworkSettings {
    fn into_network(self, mode: &str) -> ContainerNetwork {
        let address = |(name, network): (String, Option<Network>)| {
            let network = network.unwrap_or_default();
            let ip = if network.ip.is_empty() { network.ip6 } else { network.ip };
            (cut(&name), ContainerAddress { ip: cut(&ip), id: cut(&network.id) })
        };
        let networks = self.networks.unwrap_or_default().into_iter().take(NETWORKS_MAX).map(address).collect();
        let mut ports: Vec<ContainerPort> = Vec::new();
        for (name, published) in self.ports.unwrap_or_default() {
            let (number, protocol) = name.split_once('/').unwrap_or((&name, "tcp"));
            let Ok(private) = number.parse() else { continue };
            // The same port stands once for IPv4 and once for IPv6.
            let public = published.unwrap_or_default().into_iter().find_map(|at| {
                let port = at.host_port.parse().ok()?;
                Some((cut(&at.host_ip), port))
            });
            ports.push(ContainerPort { private, is_tcp: protocol == "tcp", public });
        }
        ports.sort();
        ports.truncate(PORTS_MAX);
        ContainerNetwork { mode: cut(mode), networks, ports }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct State {
    status: String,
    pid: u32,
    started_at: String,
    exit_code: i32,
    #[serde(rename = "OOMKilled")]
    oom_killed: bool,
    health: Option<Health>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Health {
    status: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ContainerConfig {
    image: String,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    network_mode: String,
    log_config: LogConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct LogConfig {
    r#type: String,
}

/// Whether a text names a container in full: 64 hex digits. Anything else is put into no path.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

impl Inspected {
    /// The container, if the answer is about `id`.
    pub(super) fn into_info(self, id: &str) -> Option<ContainerInfo> {
        if self.id != id {
            return None;
        }
        let Self { name, restart_count, log_path, state, config, host_config, network_settings, .. } = self;
        let labels = config.labels.unwrap_or_default().into_iter();
        let is_json = host_config.log_config.r#type == "json-file";
        // A container that never ran has the year 1.
        let started = state.started_at.parse::<jiff::Timestamp>().ok().map(|at| UnixMillis(at.as_millisecond()));
        Some(ContainerInfo {
            id: id.to_owned(),
            name: cut(name.trim_start_matches('/')),
            image: cut(&config.image),
            labels: labels.take(LABELS_MAX).map(|(label, value)| (cut(&label), cut(&value))).collect(),
            // Without a health check Podman's is empty and Docker's may be `none`.
            health: state.health.map(|health| cut(&health.status)).filter(|h| !h.is_empty() && h != "none"),
            exit_code: ["exited", "dead"].contains(&state.status.as_str()).then_some(state.exit_code),
            oom_killed: state.oom_killed,
            state: cut(&state.status),
            started_at: started.filter(|at| at.0 > 0),
            restarts: restart_count,
            pid: Some(state.pid).filter(|pid| *pid > 0),
            // Podman says json-file of its k8s-file driver; the log inputs read that too.
            json_log_path: log_path.filter(|path| is_json && path.starts_with('/') && path.len() <= 4096),
            network: network_settings.into_network(&host_config.network_mode),
        })
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()
}
