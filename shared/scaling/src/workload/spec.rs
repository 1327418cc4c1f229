//! A workload as it is declared, checked.

use std::time::Duration;

/// A set of containers as it is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Its name, unique on the node: 1 to 63 letters, digits, `-`, `_` and `.`, beginning with a letter or digit.
    pub name: String,
    /// Replicas that are declared; a policy may have asked for others since.
    pub replicas: u32,
    /// What each replica is made from.
    pub template: Template,
    /// How replicas are replaced.
    pub strategy: Strategy,
    /// How long a replica has to be ready before it counts as available.
    pub min_ready: Duration,
    /// How long a replacement may make no progress before it is undone.
    pub progress_deadline: Duration,
    /// Who gives way first when the node has no room: the lowest.
    pub priority: i32,
    /// The `spec` as JSON with sorted keys: what is kept, so that it can be gone back to.
    pub source: String,
}

/// What a replica is made from. A change of anything in it replaces replicas.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template {
    /// 16 hex digits that differ where anything of the template as written differs.
    pub hash: String,
    /// Containers of each replica, at least one.
    pub containers: Vec<Container>,
    /// What happens to containers that end.
    pub restart: RestartPolicy,
    /// How long containers may take to end before they are killed.
    pub grace: Duration,
    /// Networks to connect to, the first one at creation; empty for the runtime's default. `host` and `none` stand alone.
    pub networks: Vec<String>,
    /// Further labels.
    pub labels: Vec<(String, String)>,
}

/// A container of each replica.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Container {
    /// Its name, unique in the replica.
    pub name: String,
    /// What it runs.
    pub image: Image,
    /// Where the image may come from.
    pub pull: PullPolicy,
    /// Entry point; empty for the image's own.
    pub command: Vec<String>,
    /// Arguments; empty for the image's own.
    pub args: Vec<String>,
    /// Working directory, where it is not the image's own.
    pub working_dir: Option<String>,
    /// Environment, in order.
    pub env: Vec<(String, EnvValue)>,
    /// What is mounted.
    pub mounts: Vec<Mount>,
    /// Ports that it serves.
    pub ports: Vec<Port>,
    /// Devices as `HOST[:CONTAINER[:PERMISSIONS]]`.
    pub devices: Vec<String>,
    /// What it asks for.
    pub requests: Resources,
    /// What it may have.
    pub limits: Resources,
    /// Rights.
    pub security: Security,
    /// Until this passed once, the two others rest.
    pub startup: Option<Probe>,
    /// When it fails the container is restarted.
    pub liveness: Option<Probe>,
    /// While it fails the replica is not ready.
    pub readiness: Option<Probe>,
}

/// An image by name and tag, by digest, or by both; then the digest decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Image {
    /// As written.
    pub text: String,
    /// Name and tag, `:latest` where none is written; `""` where a digest stands alone.
    pub tagged: String,
    /// Name without tag and digest; `""` as above.
    pub repository: String,
    /// `sha256:` and 64 hex digits: of the manifest, or the image's id.
    pub digest: Option<String>,
}

/// Where an image may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// The runtime, the folder of images, or a registry, in this order.
    #[default]
    IfNotPresent,
    /// The runtime or the folder of images.
    Never,
}

/// A value of the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvValue {
    /// A text.
    Text(String),
    /// The replica's name, as `metadata.name`.
    Replica,
    /// The node's name, as `spec.nodeName`.
    Node,
}

/// What is mounted, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Absolute path in the container.
    pub target: String,
    /// What.
    pub source: MountSource,
    /// Whether it can be read alone.
    pub is_read_only: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    /// A path of the host; made as a folder where it is not there and `creates` is set.
    Host {
        /// Absolute path.
        path: String,
        /// `hostPath.type: DirectoryOrCreate`.
        creates: bool,
    },
    /// A named volume of the runtime, shared by all that name it.
    Volume(String),
    /// Room on the disk that goes with the container.
    Scratch,
    /// Room in memory, at most so many bytes where a limit is given.
    Memory(Option<u64>),
}

/// A port that a container serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name, for probes.
    pub name: Option<String>,
    /// In the container.
    pub container: u16,
    /// On the host.
    pub host: Option<HostPort>,
    /// Address of the host, `""` for all.
    pub host_ip: String,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: &'static str,
}

/// A port of the host, or a range out of which the runtime takes a free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostPort {
    /// The first.
    pub first: u16,
    /// The last; the first, where there is one alone.
    pub last: u16,
}

/// CPU and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_milli: Option<u64>,
    /// Bytes.
    pub memory: Option<u64>,
}

/// Rights of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Security {
    /// `UID`, `UID:GID`, where it is not the image's own.
    pub user: Option<String>,
    /// All rights of the host.
    pub is_privileged: bool,
    /// The image cannot be written to.
    pub is_root_read_only: bool,
    /// No process gets more rights than the first.
    pub no_new_privileges: bool,
    /// Capabilities beyond the runtime's default.
    pub add: Vec<String>,
    /// Capabilities of the default that it does not get.
    pub drop: Vec<String>,
}

/// What happens to containers that end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestartPolicy {
    /// They are started again.
    #[default]
    Always,
    /// They are started again where they ended with another code than 0.
    OnFailure,
    /// They stay as they are.
    Never,
}

/// How replicas are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// All old ones end before a new one begins.
    Recreate,
    /// A few at a time.
    Rolling {
        /// How many replicas there may be over those wanted.
        surge: Amount,
        /// How many of those wanted may be missing.
        unavailable: Amount,
    },
}

/// So many, or a part of those wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many.
    Count(u32),
    /// Hundredths, at most 100.
    Percent(u32),
}

/// How a container is asked how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What is done.
    pub action: ProbeAction,
    /// From the start of the container to the first probe.
    pub initial_delay: Duration,
    /// Between two probes.
    pub period: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// Successes one after the other that count.
    pub successes: u32,
    /// Failures one after the other that count.
    pub failures: u32,
    /// How long the container may take to end when this probe failed; the template's where `None`.
    pub grace: Option<Duration>,
}

/// What a probe does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeAction {
    /// A GET that has to be answered with 200 to 399.
    Http {
        /// Host; the container's own address where `None`.
        host: Option<String>,
        /// Port.
        port: u16,
        /// Path, beginning with `/`.
        path: String,
        /// Over TLS, with any certificate.
        is_tls: bool,
        /// Further headers.
        headers: Vec<(String, String)>,
    },
    /// A connection that has to be accepted.
    Tcp {
        /// Host; the container's own address where `None`.
        host: Option<String>,
        /// Port.
        port: u16,
    },
    /// A program in the container that has to end with 0.
    Exec(Vec<String>),
}

/// Which of a container's probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeKind {
    /// Has it started?
    Startup,
    /// Does it live?
    Liveness,
    /// Can it serve?
    Readiness,
}

impl ProbeKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Startup, Self::Liveness, Self::Readiness];

    /// As people call it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
        }
    }
}

impl Container {
    /// Its probe of this kind.
    #[must_use]
    pub const fn probe(&self, kind: ProbeKind) -> Option<&Probe> {
        match kind {
            ProbeKind::Startup => self.startup.as_ref(),
            ProbeKind::Liveness => self.liveness.as_ref(),
            ProbeKind::Readiness => self.readiness.as_ref(),
        }
    }
}

impl Amount {
    /// Whether it is nothing of anything.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        matches!(self, Self::Count(0) | Self::Percent(0))
    }

    /// Of so many, rounded up.
    #[must_use]
    pub const fn of_up(self, all: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => all.saturating_mul(percent).div_ceil(100),
        }
    }

    /// Of so many, rounded down.
    #[must_use]
    pub const fn of_down(self, all: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => all.saturating_mul(percent) / 100,
        }
    }
}

impl Workload {
    /// Name of a replica.
    #[must_use]
    pub fn replica_name(&self, replica: u32) -> String {
        format!("{}-{replica}", self.name)
    }

    /// Name of a replica's container at the runtime: the replica's, and the container's where there are several.
    #[must_use]
    pub fn container_name(&self, replica: u32, container: &Container) -> String {
        let replica = self.replica_name(replica);
        if self.template.containers.len() == 1 { replica } else { format!("{replica}-{}", container.name) }
    }
}
