//! What the store counts about itself.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What the writer has done since it started.
#[derive(Debug, Default)]
pub struct StoreStats {
    /// Transactions committed.
    pub commits: AtomicU64,
    /// Commands in them.
    pub commands: AtomicU64,
    /// Time they took, in microseconds.
    pub commit_micros: AtomicU64,
    /// Transactions that failed; nothing of them was acknowledged.
    pub failures: AtomicU64,
    /// Samples that retention dropped.
    pub dropped_samples: AtomicU64,
    /// Log records that retention dropped.
    pub dropped_log_lines: AtomicU64,
    /// Blocks and chunks that compaction put together.
    pub compacted_blocks: AtomicU64,
    /// Samples in them; one that is put together twice counts twice.
    pub compacted_samples: AtomicU64,
    /// Bytes of the file that hold something, as of the last retention run.
    pub used_bytes: AtomicU64,
    /// Whether the last transaction failed: the server is not ready then.
    pub failing: AtomicBool,
}

impl StoreStats {
    /// The counters in Prometheus's text format.
    #[must_use]
    pub fn exposition(&self) -> String {
        let mut text = String::new();
        let counters = [
            ("commits", "Transactions committed.", &self.commits),
            ("commands", "Batches and reports in them.", &self.commands),
            ("commit_failures", "Transactions that failed; nothing of them was acknowledged.", &self.failures),
            ("compacted_blocks", "Blocks and chunks that compaction put together.", &self.compacted_blocks),
            ("compacted_samples", "Samples in them.", &self.compacted_samples),
            ("dropped_samples", "Samples that retention dropped.", &self.dropped_samples),
            ("dropped_log_lines", "Log records that retention dropped.", &self.dropped_log_lines),
        ];
        // Writing to a string does not fail.
        for (name, help, counter) in counters {
            let name = format!("skerry_fleet_store_{name}_total");
            let count = counter.load(Ordering::Relaxed);
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {count}\n");
        }
        let name = "skerry_fleet_store_commit_seconds_total";
        let seconds = Duration::from_micros(self.commit_micros.load(Ordering::Relaxed)).as_secs_f64();
        let _ = write!(text, "# HELP {name} Time that transactions took.\n# TYPE {name} counter\n{name} {seconds}\n");
        let name = "skerry_fleet_store_used_bytes";
        let used = self.used_bytes.load(Ordering::Relaxed);
        let _ = write!(text, "# HELP {name} Bytes of the data file in use.\n# TYPE {name} gauge\n{name} {used}\n");
        text
    }
}
