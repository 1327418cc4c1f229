//! How each target fares: for `/metrics`, the API and the CLI.

use crate::outgoing::failing::Failing;
use serde::{Deserialize, Serialize};
use skerry_model::UnixMillis;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// What is counted of one target since the server started.
#[derive(Debug, Default)]
pub(super) struct ForwardStats {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) address: String,
    pub(super) sent_records: AtomicU64,
    pub(super) sent_requests: AtomicU64,
    pub(super) sent_bytes: AtomicU64,
    pub(super) failed_requests: AtomicU64,
    pub(super) refused_records: AtomicU64,
    pub(super) corrupt_records: AtomicU64,
    pub(super) repeated_records: AtomicU64,
    pub(super) excluded_records: AtomicU64,
    /// When the oldest record came in that the target does not have; 0 where it has all.
    pub(super) oldest_ms: AtomicI64,
    pub(super) failing: Failing,
}

impl ForwardStats {
    pub(super) fn add(counter: &AtomicU64, number: u64) {
        counter.fetch_add(number, Ordering::Relaxed);
    }

    fn lag(&self, now: UnixMillis) -> f64 {
        match self.oldest_ms.load(Ordering::Relaxed) {
            0 => 0.0,
            oldest => now.since(UnixMillis(oldest)).as_secs_f64(),
        }
    }
}

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
pub struct Forwards(pub(super) Arc<Vec<Arc<ForwardStats>>>);

/// Name, help and value of each counter.
type Counter = (&'static str, &'static str, fn(&ForwardStats) -> &AtomicU64);

const COUNTERS: [Counter; 8] = [
    ("sent_records", "Log records that the target took.", |stats| &stats.sent_records),
    ("sent_requests", "Requests that the target took.", |stats| &stats.sent_requests),
    ("sent_bytes", "Bytes of their bodies.", |stats| &stats.sent_bytes),
    ("failed_requests", "Requests that failed and are tried again.", |stats| &stats.failed_requests),
    ("repeated_records", "Log records sent again that the target had already.", |stats| &stats.repeated_records),
    ("excluded_records", "Log records that the target's selector or level leaves out.", |stats| {
        &stats.excluded_records
    }),
    ("refused_records", "Log records that the target refused for good.", |stats| &stats.refused_records),
    ("corrupt_records", "Log records that could not be read.", |stats| &stats.corrupt_records),
];

impl Forwards {
    /// How they fare.
    #[must_use]
    pub fn views(&self, now: UnixMillis) -> Vec<ForwardView> {
        let view = |stats: &Arc<ForwardStats>| {
            let error = stats.failing.now();
            ForwardView {
                name: stats.name.clone(),
                kind: stats.kind.to_owned(),
                address: stats.address.clone(),
                sent_records: stats.sent_records.load(Ordering::Relaxed),
                failed_requests: stats.failed_requests.load(Ordering::Relaxed),
                refused_records: stats.refused_records.load(Ordering::Relaxed),
                excluded_records: stats.excluded_records.load(Ordering::Relaxed),
                lag_seconds: stats.lag(now),
                failing_since_ms: error.as_ref().map(|(since, _)| since.0),
                error: error.map(|(_, why)| why),
            }
        };
        self.0.iter().map(view).collect()
    }

    /// The counters in Prometheus's text format; empty where there is no target.
    #[must_use]
    pub fn exposition(&self, now: UnixMillis) -> String {
        let mut text = String::new();
        if self.0.is_empty() {
            return text;
        }
        // Writing to a string does not fail.
        for (name, help, counter) in COUNTERS {
            let name = format!("skerry_fleet_forward_{name}_total");
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n");
            for stats in self.0.iter() {
                let value = counter(stats).load(Ordering::Relaxed);
                let _ = writeln!(text, "{name}{{target=\"{}\"}} {value}", stats.name);
            }
        }
        type Gauge = (&'static str, &'static str, fn(&ForwardStats, UnixMillis) -> f64);
        let gauges: [Gauge; 2] = [
            ("lag_seconds", "Age of the oldest log records to be sent.", ForwardStats::lag),
            ("up", "Whether the last request was answered well.", |stats, _| {
                f64::from(u8::from(stats.failing.now().is_none()))
            }),
        ];
        for (name, help, value) in gauges {
            let name = format!("skerry_fleet_forward_{name}");
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n");
            for stats in self.0.iter() {
                let _ = writeln!(text, "{name}{{target=\"{}\"}} {}", stats.name, value(stats, now));
            }
        }
        text
    }
}
