//! How each target fares: for `/metrics`, the API and the CLI.

use crate::outgoing::failing::Failing;
use serde::{Deserialize, Serialize};
use skerry_model::UnixMillis;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// What is counted of one target since the server started.
#[derive(Debug, Default)]
pub struct TargetStats {
    pub(super) name: String,
    pub(super) url: String,
    pub(super) sent_samples: AtomicU64,
    pub(super) sent_requests: AtomicU64,
    pub(super) sent_bytes: AtomicU64,
    /// Samples of requests that are tried again.
    pub(super) failed_samples: AtomicU64,
    pub(super) failed_requests: AtomicU64,
    pub(super) refused_samples: AtomicU64,
    pub(super) corrupt_samples: AtomicU64,
    pub(super) repeated_samples: AtomicU64,
    pub(super) excluded_samples: AtomicU64,
    /// When the oldest block came in that the target does not have; 0 where it has all.
    pub(super) oldest_ms: AtomicI64,
    pub(super) failing: Failing,
}

impl TargetStats {
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

impl Targets {
    /// How they fare.
    #[must_use]
    pub fn views(&self, now: UnixMillis) -> Vec<TargetView> {
        let view = |stats: &Arc<TargetStats>| {
            let error = stats.failing.now();
            TargetView {
                name: stats.name.clone(),
                url: stats.url.clone(),
                sent_samples: stats.sent_samples.load(Ordering::Relaxed),
                failed_requests: stats.failed_requests.load(Ordering::Relaxed),
                refused_samples: stats.refused_samples.load(Ordering::Relaxed),
                lag_seconds: stats.lag(now),
                failing_since_ms: error.as_ref().map(|(since, _)| since.0),
                error: error.map(|(_, why)| why),
            }
        };
        self.0.iter().map(view).collect()
    }

    /// The counters in Prometheus's text format.
    #[must_use]
    pub fn exposition(&self, now: UnixMillis) -> String {
        type Read = fn(&TargetStats) -> u64;
        let counters: [(&str, &str, Read); 7] = [
            ("sent_samples", "Samples that the target took.", |s| s.sent_samples.load(Ordering::Relaxed)),
            ("sent_requests", "Requests that the target took.", |s| s.sent_requests.load(Ordering::Relaxed)),
            ("sent_bytes", "Bytes of their bodies.", |s| s.sent_bytes.load(Ordering::Relaxed)),
            ("failed_samples", "Samples in requests that failed and are tried again.", |s| {
                s.failed_samples.load(Ordering::Relaxed)
            }),
            ("failed_requests", "Requests that failed and are tried again.", |s| {
                s.failed_requests.load(Ordering::Relaxed)
            }),
            ("repeated_samples", "Samples sent again that the target had already.", |s| {
                s.repeated_samples.load(Ordering::Relaxed)
            }),
            ("excluded_samples", "Samples that the target's relabelling drops.", |s| {
                s.excluded_samples.load(Ordering::Relaxed)
            }),
        ];
        let mut text = String::new();
        if self.0.is_empty() {
            return text;
        }
        // Writing to a string does not fail.
        for (name, help, read) in counters {
            let name = format!("skerry_fleet_remote_write_{name}_total");
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n");
            for stats in self.0.iter() {
                let _ = writeln!(text, "{name}{{target=\"{}\"}} {}", stats.name, read(stats));
            }
        }
        let name = "skerry_fleet_remote_write_dropped_samples_total";
        let _ = write!(text, "# HELP {name} Samples that the target does not get.\n# TYPE {name} counter\n");
        for stats in self.0.iter() {
            for (reason, counter) in [("refused", &stats.refused_samples), ("corrupt", &stats.corrupt_samples)] {
                let count = counter.load(Ordering::Relaxed);
                let _ = writeln!(text, "{name}{{target=\"{}\",reason=\"{reason}\"}} {count}", stats.name);
            }
        }
        let name = "skerry_fleet_remote_write_lag_seconds";
        let _ = write!(text, "# HELP {name} Age of the oldest samples to be sent.\n# TYPE {name} gauge\n");
        for stats in self.0.iter() {
            let _ = writeln!(text, "{name}{{target=\"{}\"}} {}", stats.name, stats.lag(now));
        }
        let name = "skerry_fleet_remote_write_up";
        let _ = write!(text, "# HELP {name} Whether the last request was answered well.\n# TYPE {name} gauge\n");
        for stats in self.0.iter() {
            let up = u8::from(stats.failing.now().is_none());
            let _ = writeln!(text, "{name}{{target=\"{}\"}} {up}", stats.name);
        }
        text
    }
}
