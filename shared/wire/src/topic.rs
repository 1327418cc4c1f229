//! Topic names: `skerry/v1/{node}/up/{leaf}` and `skerry/v1/{node}/down/{leaf}`.

use skerry_model::{NodeId, StreamKind};
use std::fmt;

/// What a node may publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpLeaf {
    /// [`crate::Hello`], first after each connect.
    Hello,
    /// [`crate::Batch`] of samples.
    Metrics,
    /// [`crate::Batch`] of log records.
    Logs,
    /// [`crate::Batch`] of events.
    Events,
    /// [`crate::Status`], also the last will.
    Status,
    /// [`crate::Answer`] to an ask.
    Answer,
}

impl UpLeaf {
    /// Every leaf.
    pub const ALL: [Self; 6] = [Self::Hello, Self::Metrics, Self::Logs, Self::Events, Self::Status, Self::Answer];

    /// Last topic level.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
            Self::Events => "events",
            Self::Status => "status",
            Self::Answer => "answer",
        }
    }

    /// The leaf that carries a data stream.
    #[must_use]
    pub const fn of_stream(stream: StreamKind) -> Self {
        match stream {
            StreamKind::Events => Self::Events,
            StreamKind::Metrics => Self::Metrics,
            StreamKind::Logs => Self::Logs,
        }
    }

    /// The data stream this leaf carries, if it carries one.
    #[must_use]
    pub const fn stream(self) -> Option<StreamKind> {
        match self {
            Self::Events => Some(StreamKind::Events),
            Self::Metrics => Some(StreamKind::Metrics),
            Self::Logs => Some(StreamKind::Logs),
            Self::Hello | Self::Status | Self::Answer => None,
        }
    }
}

/// What a node may hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DownLeaf {
    /// [`crate::Acks`].
    Ack,
    /// A sealed config envelope, as it is.
    Config,
    /// [`crate::Trust`].
    Trust,
    /// A sealed job envelope, as it is.
    Job,
    /// [`crate::Ask`].
    Ask,
}

impl DownLeaf {
    /// Every leaf.
    pub const ALL: [Self; 5] = [Self::Ack, Self::Config, Self::Trust, Self::Job, Self::Ask];

    /// Last topic level.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ack => "ack",
            Self::Config => "config",
            Self::Trust => "trust",
            Self::Job => "job",
            Self::Ask => "ask",
        }
    }
}

/// A parsed topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topic {
    /// From a node.
    Up(NodeId, UpLeaf),
    /// To a node.
    Down(NodeId, DownLeaf),
}

/// Why a text is no [`Topic`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "topic {0:?} is none of skerry/v1/NODE/up/{{hello,metrics,logs,events,status,answer}} or skerry/v1/NODE/down/{{ack,config,trust,job,ask}}"
)]
pub struct InvalidTopic(pub String);

impl Topic {
    /// Filter that matches all a node may hear.
    #[must_use]
    pub fn down_filter(node: &NodeId) -> String {
        format!("skerry/v1/{node}/down/+")
    }

    /// Filter that matches all that any node publishes.
    pub const UP_FILTER: &'static str = "skerry/v1/+/up/+";

    /// Parses a topic name. Bounded: anything longer than 256 bytes is refused unread.
    ///
    /// # Errors
    /// [`InvalidTopic`] with the first 80 characters of the text.
    pub fn parse(text: &str) -> Result<Self, InvalidTopic> {
        let fail = || InvalidTopic(text.chars().take(80).collect());
        if text.len() > 256 {
            return Err(fail());
        }
        let mut parts = text.strip_prefix("skerry/v1/").ok_or_else(fail)?.split('/');
        let (node, way, leaf) = (parts.next(), parts.next(), parts.next());
        let (Some(node), Some(way), Some(leaf), None) = (node, way, leaf, parts.next()) else {
            return Err(fail());
        };
        let node: NodeId = node.parse().map_err(|_| fail())?;
        match way {
            "up" => UpLeaf::ALL.into_iter().find(|l| l.as_str() == leaf).map(|l| Self::Up(node, l)),
            "down" => DownLeaf::ALL.into_iter().find(|l| l.as_str() == leaf).map(|l| Self::Down(node, l)),
            _ => None,
        }
        .ok_or_else(fail)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up(node, leaf) => write!(f, "skerry/v1/{node}/up/{}", leaf.as_str()),
            Self::Down(node, leaf) => write!(f, "skerry/v1/{node}/down/{}", leaf.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_read_back() {
        let node: NodeId = "pi-4".parse().unwrap();
        for leaf in UpLeaf::ALL {
            let topic = Topic::Up(node.clone(), leaf);
            assert_eq!(Topic::parse(&topic.to_string()), Ok(topic));
        }
        for leaf in DownLeaf::ALL {
            let topic = Topic::Down(node.clone(), leaf);
            assert_eq!(Topic::parse(&topic.to_string()), Ok(topic));
        }
    }

    #[test]
    fn foreign_topics_are_refused() {
        for bad in [
            "",
            "skerry/v1/a/up",
            "skerry/v1/a/up/x",
            "skerry/v1/a/up/hello/x",
            "skerry/v2/a/up/hello",
            "skerry/v1/+/up/hello",
            "skerry/v1//up/hello",
            "/skerry/v1/a/up/hello",
        ] {
            assert!(Topic::parse(bad).is_err(), "{bad:?} was taken");
        }
    }
}
