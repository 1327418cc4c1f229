//! How each target fares: for `/metrics`, the API and the CLI.

use crate::outgoing::stats::{Exposition, Read, TargetStats};
use serde::{Deserialize, Serialize};
use skerry_model::UnixMillis;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A target as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetView {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// Samples that it took since the server started.
    pub sent_samples: u64,
    /// Requests that failed and were tried again.
    pub failed_requests: u64,
    /// Samples that it refused for good; they stand in the nodes' ledgers.
    pub refused_samples: u64,
    /// Age of the oldest samples that it does not have.
    pub lag_seconds: f64,
    /// Since when it fails; absent while it does not.
    pub failing_since_ms: Option<i64>,
    /// Why.
    pub error: Option<String>,
}

/// All targets; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Targets(pub(super) Arc<Vec<Arc<TargetStats>>>);

const COUNTERS: [(&str, &str, Read); 7] = [
    ("sent_samples", "Samples that the target took.", |stats| &stats.sent),
    ("sent_requests", "Requests that the target took.", |stats| &stats.sent_requests),
    ("sent_bytes", "Bytes of their bodies.", |stats| &stats.sent_bytes),
    ("failed_samples", "Samples in requests that failed and are tried again.", |stats| &stats.failed),
    ("failed_requests", "Requests that failed and are tried again.", |stats| &stats.failed_requests),
    ("repeated_samples", "Samples sent again that the target had already.", |stats| &stats.repeated),
    ("excluded_samples", "Samples that the target's relabelling drops.", |stats| &stats.excluded),
];

impl Targets {
    /// How they fare.
    #[must_use]
    pub fn views(&self, now: UnixMillis) -> Vec<TargetView> {
        let view = |stats: &Arc<TargetStats>| {
            let (failing_since_ms, error) = stats.trouble();
            TargetView {
                name: stats.name.clone(),
                url: stats.address.clone(),
                sent_samples: stats.sent.load(Ordering::Relaxed),
                failed_requests: stats.failed_requests.load(Ordering::Relaxed),
                refused_samples: stats.refused.load(Ordering::Relaxed),
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
        let mut out = Exposition::new("skerry_fleet_remote_write_", &self.0);
        for (name, help, read) in COUNTERS {
            out.counter(name, help, read);
        }
        let dropped: [(&str, Read); 2] =
            [(",reason=\"refused\"", |stats| &stats.refused), (",reason=\"corrupt\"", |stats| &stats.corrupt)];
        out.counters("dropped_samples", "Samples that the target does not get.", &dropped);
        out.health("samples", now)
    }
}
