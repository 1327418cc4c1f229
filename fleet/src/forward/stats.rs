//! How each target fares: for `/metrics`, the API and the CLI.

use crate::outgoing::stats::{Exposition, Read, TargetStats};
use serde::{Deserialize, Serialize};
use skerry_model::UnixMillis;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A target as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForwardView {
    /// Its name.
    pub name: String,
    /// What it is: `loki`, `elasticsearch`, `otlp`, `syslog`, `file`.
    pub kind: String,
    /// Where it is.
    pub address: String,
    /// Records that it took since the server started.
    pub sent_records: u64,
    /// Tries that failed and were made again.
    pub failed_requests: u64,
    /// Records that it refused for good; they stand in the nodes' ledgers.
    pub refused_records: u64,
    /// Records that its selector or level leaves out.
    pub excluded_records: u64,
    /// Age of the oldest records that it does not have.
    pub lag_seconds: f64,
    /// Since when it fails; absent while it does not.
    pub failing_since_ms: Option<i64>,
    /// Why.
    pub error: Option<String>,
}

/// All targets; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Forwards(pub(super) Arc<Vec<Arc<TargetStats>>>);

const COUNTERS: [(&str, &str, Read); 8] = [
    ("sent_records", "Log records that the target took.", |stats| &stats.sent),
    ("sent_requests", "Requests that the target took.", |stats| &stats.sent_requests),
    ("sent_bytes", "Bytes of their bodies.", |stats| &stats.sent_bytes),
    ("failed_requests", "Requests that failed and are tried again.", |stats| &stats.failed_requests),
    ("repeated_records", "Log records sent again that the target had already.", |stats| &stats.repeated),
    ("excluded_records", "Log records that the target's selector or level leaves out.", |stats| &stats.excluded),
    ("refused_records", "Log records that the target refused for good.", |stats| &stats.refused),
    ("corrupt_records", "Log records that could not be read.", |stats| &stats.corrupt),
];

impl Forwards {
    /// How they fare.
    #[must_use]
    pub fn views(&self, now: UnixMillis) -> Vec<ForwardView> {
        let view = |stats: &Arc<TargetStats>| {
            let (failing_since_ms, error) = stats.trouble();
            ForwardView {
                name: stats.name.clone(),
                kind: stats.kind.to_owned(),
                address: stats.address.clone(),
                sent_records: stats.sent.load(Ordering::Relaxed),
                failed_requests: stats.failed_requests.load(Ordering::Relaxed),
                refused_records: stats.refused.load(Ordering::Relaxed),
                excluded_records: stats.excluded.load(Ordering::Relaxed),
                lag_seconds: stats.lag(now),
                failing_since_ms,
                error,
            }
        };
        self.0.iter().map(view).collect()
    }

    /// The counters in Prometheus's text format; empty where there is no target.
    #[must_use]
    pub fn exposition(&self, now: UnixMillis) -> String {
        let mut out = Exposition::new("skerry_fleet_forward_", &self.0);
        for (name, help, read) in COUNTERS {
            out.counter(name, help, read);
        }
        out.health("log records", now)
    }
}
