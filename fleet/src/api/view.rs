//! The API's JSON, as the server writes it and the CLI reads it. Fields are only ever added.

use crate::forward::ForwardView;
use crate::remote::TargetView;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `GET /remote-write`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct TargetList {
    /// In the order of the server's file.
    pub targets: Vec<TargetView>,
}

/// `GET /forward`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ForwardList {
    /// In the order of the server's file.
    pub targets: Vec<ForwardView>,
}

/// `GET /nodes`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct NodeList {
    /// By name.
    pub nodes: Vec<NodeView>,
}

/// A node in a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeView {
    /// Its name.
    pub node: String,
    /// `pending`, `approved` or `revoked`.
    pub state: String,
    /// `connected`, `silent`, `gone`, or `never`.
    pub reach: String,
    /// When it was heard last.
    pub last_seen_ms: Option<i64>,
    /// Version of its agent.
    pub agent_version: Option<String>,
    /// Six words that stand for its keys.
    pub fingerprint: String,
    /// Labels that its assignment gives it.
    pub labels: BTreeMap<String, String>,
    /// Streams that it follows by its assignment; none where that takes it out of service.
    #[serde(default)]
    pub streams: Vec<String>,
    /// Sequence numbers that wait on the node, per stream.
    pub backlog: BTreeMap<String, u64>,
    /// Configs that it runs.
    pub configs: Vec<ConfigView>,
    /// Batches taken in from it.
    pub batches: u64,
    /// Samples taken in from it.
    pub samples: u64,
    /// Log lines taken in from it.
    pub log_lines: u64,
    /// Entries in its loss ledger.
    pub losses: u64,
    /// What somebody should look at.
    pub problems: Vec<String>,
}

/// A config that a node runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConfigView {
    /// Its stream.
    pub stream: String,
    /// Its epoch.
    pub epoch: u64,
    /// Its version.
    pub version: u64,
}

/// `GET /nodes/NODE`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeDetail {
    /// What the list says.
    #[serde(flatten)]
    pub node: NodeView,
    /// What the machine is.
    pub host: Option<HostView>,
    /// Where its connection came from.
    pub peer: Option<String>,
    /// SHA-256 of its TLS key's SubjectPublicKeyInfo.
    pub tls_pin: String,
    /// Its key for secrets.
    pub x25519: String,
    /// When it joined last.
    pub enrolled_ms: Option<i64>,
    /// Until when its certificate lasts.
    pub cert_not_after_ms: Option<i64>,
    /// What the admins signed about it.
    pub assignment: Option<AssignmentView>,
    /// Resident memory of its agent.
    pub rss_bytes: Option<u64>,
    /// Size of its database.
    pub db_bytes: Option<u64>,
    /// Whether it trusts its clock.
    pub time_trusted: Option<bool>,
    /// Newest value of each series, sorted by labels.
    pub newest: Vec<NewestView>,
    /// Newest events, newest first.
    pub events: Vec<EventView>,
}

/// What a machine is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HostView {
    /// Host name.
    pub hostname: String,
    /// Distribution and version.
    pub os: String,
    /// Kernel release.
    pub kernel: String,
    /// CPU architecture.
    pub arch: String,
    /// Physical memory.
    pub memory_bytes: u64,
    /// Logical CPUs.
    pub cpus: u32,
}

/// A node's assignment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AssignmentView {
    /// Its epoch.
    pub epoch: u64,
    /// Its version.
    pub version: u64,
    /// Streams that the node follows.
    pub streams: Vec<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it takes the node out of service.
    pub revoked: bool,
}

/// A series' newest value.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewestView {
    /// Its labels, `__name__` among them.
    pub metric: BTreeMap<String, String>,
    /// The value as Prometheus writes it.
    pub value: String,
    /// When it was measured.
    pub at_ms: i64,
}

/// `GET /nodes/NODE/events`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventList {
    /// Newest first.
    pub events: Vec<EventView>,
}

/// Something that happened on a node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventView {
    /// When, by the node's clock.
    pub at_ms: i64,
    /// When the fleet took it in.
    pub received_ms: i64,
    /// Stable word.
    pub kind: String,
    /// What, for people.
    pub text: String,
}

/// `GET /nodes/NODE/losses`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LossList {
    /// Newest first.
    pub losses: Vec<LossView>,
}

/// An entry of the loss ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LossView {
    /// `metrics`, `logs` or `events`.
    pub stream: String,
    /// Why.
    pub reason: String,
    /// How many records; `null` where nobody can know.
    pub count: Option<u64>,
    /// First moment that is missing.
    pub from_ms: i64,
    /// Last moment that is missing.
    pub to_ms: i64,
    /// Of which source.
    pub source: String,
}

/// `GET /nodes/NODE/logs`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogList {
    /// Oldest first.
    pub records: Vec<LogView>,
    /// Whether there are older ones in the range: ask again with `to_ms` of the first one.
    pub more: bool,
    /// Blocks that could not be read.
    pub damaged_blocks: u64,
}

/// A log record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogView {
    /// When it was written.
    pub at_ms: i64,
    /// Where it is from.
    pub labels: BTreeMap<String, String>,
    /// Severity.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub level: String,
    /// The text; bytes that are not UTF-8 are replaced.
    pub line: String,
}

/// `GET /configs`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConfigList {
    /// The newest revision of each stream.
    pub configs: Vec<ConfigRevision>,
}

/// `GET /configs/STREAM`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConfigRevisions {
    /// The stream.
    pub stream: String,
    /// Newest first.
    pub revisions: Vec<ConfigRevision>,
}

/// One revision of a config.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConfigRevision {
    /// Its stream.
    pub stream: String,
    /// Its epoch.
    pub epoch: u64,
    /// Its version.
    pub version: u64,
    /// When it was signed.
    pub issued_ms: i64,
    /// Until when nodes adopt it.
    pub not_after_ms: Option<i64>,
    /// When the server took it in.
    pub received_ms: i64,
    /// SHA-256 of its payload.
    pub sha256: String,
    /// Ids of the keys that signed.
    pub signers: Vec<String>,
    /// The YAML text.
    pub body: String,
}

/// Answer to an upload.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reached {
    /// Stream or node that the document is about.
    pub subject: String,
    /// Its epoch.
    pub epoch: u64,
    /// Its version.
    pub version: u64,
    /// Whether it was not there before.
    pub is_new: bool,
    /// Nodes that it is for.
    pub nodes: Vec<String>,
}

/// `GET /trust`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrustView {
    /// The fleet's id.
    pub fleet: String,
    /// Root envelopes from number 1 on, base64.
    pub roots: Vec<String>,
    /// SHA-256 of the first.
    pub root_hash: String,
}
