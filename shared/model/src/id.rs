//! Names and numbers that identify nodes, streams, batches and series.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Name of a node: 1 to 63 characters of `a-z A-Z 0-9 . _ -`, beginning with a letter or digit.
///
/// The alphabet leaves out `/ + #`, so a name can stand as one MQTT topic level, and everything that needs
/// quoting in a shell, a file name or an X.509 common name (which is limited to 64 characters).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(String);

/// Why a text is no [`NodeId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "node name {0:?} is not valid: 1 to 63 letters, digits, '.', '_' or '-' are expected, beginning with a letter or digit"
)]
pub struct InvalidNodeId(pub String);

impl NodeId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// The first characters of a refused text, so that an error message stays short whatever a peer sent.
fn excerpt(text: &str) -> String {
    text.chars().take(80).collect()
}

impl FromStr for NodeId {
    type Err = InvalidNodeId;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_name(text) { Ok(Self(text.to_owned())) } else { Err(InvalidNodeId(excerpt(text))) }
    }
}

impl TryFrom<String> for NodeId {
    type Error = InvalidNodeId;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<NodeId> for String {
    fn from(id: NodeId) -> Self {
        id.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A config stream: `group/NAME` or `node/NAME`, where `NAME` follows the rules of [`NodeId`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamName(String);

/// Why a text is no [`StreamName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("config stream {0:?} is not valid: 'group/NAME' or 'node/NAME' is expected")]
pub struct InvalidStreamName(pub String);

impl StreamName {
    /// The stream that belongs to one node alone.
    #[must_use]
    pub fn of_node(node: &NodeId) -> Self {
        Self(format!("node/{node}"))
    }

    /// The name as text, `group/…` or `node/…`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StreamName {
    type Err = InvalidStreamName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.strip_prefix("group/").or_else(|| text.strip_prefix("node/"));
        match name {
            Some(name) if is_name(name) => Ok(Self(text.to_owned())),
            _ => Err(InvalidStreamName(excerpt(text))),
        }
    }
}

impl TryFrom<String> for StreamName {
    type Error = InvalidStreamName;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<StreamName> for String {
    fn from(name: StreamName) -> Self {
        name.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The data streams a node sends upward. Each has its own epoch and its own sequence of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamKind {
    /// Alerts, decisions, config outcomes and the loss ledger. Sent before everything else.
    Events,
    /// Samples; one sequence number is one scrape.
    Metrics,
    /// Log records; one sequence number is one block.
    Logs,
}

impl StreamKind {
    /// Every stream, in the order in which they are sent.
    pub const ALL: [Self; 3] = [Self::Events, Self::Metrics, Self::Logs];

    /// Lower-case name, as it stands in topics, labels and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }

    /// The stream of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for StreamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Random number of a stream's incarnation: below 2^63, so that SQLite holds it as an integer.
///
/// A new database, or for metrics an unclean stop, begins a new epoch, so that a sequence number never
/// stands for two different contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch made from 64 random bits; the top bit is cleared.
    #[must_use]
    pub const fn from_random(bits: u64) -> Self {
        Self(bits & (u64::MAX >> 1))
    }
}

/// Number of a record within a stream's epoch, from 1 without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seq(pub u64);

impl Seq {
    /// The first number of an epoch.
    pub const FIRST: Self = Self(1);

    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Number of a series in a node's dictionary: unique within an epoch, never used again for other labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeriesId(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_names_keep_out_topic_separators() {
        for good in ["a", "pi-4.shop_7", "0", &"x".repeat(63)] {
            assert_eq!(good.parse::<NodeId>().unwrap().as_str(), good);
        }
        for bad in ["", "a/b", "a+", "#", "-a", ".a", "a b", "é", &"x".repeat(64)] {
            assert!(bad.parse::<NodeId>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn stream_names_need_a_scope() {
        assert!("group/edge".parse::<StreamName>().is_ok());
        assert!("node/pi-4".parse::<StreamName>().is_ok());
        for bad in ["edge", "group/", "group/a/b", "site/x", "node/#"] {
            assert!(bad.parse::<StreamName>().is_err(), "{bad:?} was taken");
        }
    }
}
