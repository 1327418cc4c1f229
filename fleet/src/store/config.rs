//! How much of the nodes' data is kept, and for how long.

use serde::{Deserialize, Serialize};
use skerry_model::{Bytes, Span};

/// Retention of the fleet's own copy. Age counts from the moment data came in, not from the times it bears: a node
/// whose clock stood at 1970, or that was offline for a month, keeps its data as long as any other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long samples and log records are kept.
    pub max_age: Span,
    /// Bytes of the database in use at which the oldest samples and log records are dropped.
    pub max_bytes: Bytes,
    /// How long events, losses and quarantined batches are kept.
    pub events_max_age: Span,
    /// Events kept per node, and losses likewise; the newest stay.
    pub events_per_node: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_age: Span::secs(30 * 86_400),
            max_bytes: Bytes::mib(10 * 1024),
            events_max_age: Span::secs(365 * 86_400),
            events_per_node: 10_000,
        }
    }
}

impl Config {
    /// Keys with their default and their meaning.
    pub const REFERENCE: &[(&str, &str, &str)] = &[
        ("max_age", "30d", "how long samples and log records are kept, counted from when they came in"),
        ("max_bytes", "10GiB", "size of the data at which the oldest samples and log records are dropped"),
        ("events_max_age", "365d", "how long events, losses and quarantined batches are kept"),
        ("events_per_node", "10000", "events, and losses, kept per node"),
    ];

    /// Every fault, each naming its key and what is expected.
    #[must_use]
    pub fn validate(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.max_age < Span::secs(60) {
            faults.push(format!("max_age: {} is too short, at least 1m is expected", self.max_age));
        }
        if self.max_bytes < Bytes::mib(16) {
            faults.push(format!("max_bytes: {} is too small, at least 16MiB is expected", self.max_bytes));
        }
        if self.events_max_age < Span::secs(60) {
            faults.push(format!("events_max_age: {} is too short, at least 1m is expected", self.events_max_age));
        }
        if self.events_per_node == 0 {
            faults.push("events_per_node: 0 keeps nothing, at least 1 is expected".into());
        }
        faults
    }
}
