//! What a container runtime says about a container.

use crate::UnixMillis;
use std::collections::BTreeMap;

/// One container on this node, as its runtime describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerInfo {
    /// Full id, 64 hex digits with Docker and Podman.
    pub id: String,
    /// Name without a leading slash.
    pub name: String,
    /// Image reference as the user wrote it.
    pub image: String,
    /// The runtime's labels, at most 64.
    pub labels: BTreeMap<String, String>,
    /// State in the runtime's words: `running`, `exited`, `paused`, …
    pub state: String,
    /// Outcome of its health check, where it has one: `starting`, `healthy` or `unhealthy`.
    pub health: Option<String>,
    /// Exit code, of a container that has ended.
    pub exit_code: Option<i32>,
    /// Whether it ended because it was killed for want of memory.
    pub oom_killed: bool,
    /// When it was started last.
    pub started_at: Option<UnixMillis>,
    /// How often the runtime has restarted it.
    pub restarts: u64,
    /// Main process in the host's numbering, while it runs.
    pub pid: Option<u32>,
    /// Where the runtime writes its log in Docker's json-file format, if it does.
    pub json_log_path: Option<String>,
    /// Where it can be reached.
    pub network: ContainerNetwork,
}

/// Where a container can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerNetwork {
    /// `bridge`, `host`, `none`, or a network's name or id.
    pub mode: String,
    /// Its networks by name, at most 16.
    pub networks: BTreeMap<String, ContainerAddress>,
    /// Ports that it exposes or publishes, at most 64.
    pub ports: Vec<ContainerPort>,
}

/// A container in one network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerAddress {
    /// IPv4 or, where it has none, IPv6 address; `""` where it has neither.
    pub ip: String,
    /// Id of the network.
    pub id: String,
}

/// A port of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerPort {
    /// Its number in the container.
    pub private: u16,
    /// Whether it is TCP.
    pub is_tcp: bool,
    /// Address and port on the host, where it is published.
    pub public: Option<(String, u16)>,
}
