//! Counters of the probes, for the agent's own metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the probes did since the run began. Shared; read at any time.
#[derive(Debug, Default)]
pub struct ProbeStats {
    targets: AtomicU64,
    probes: AtomicU64,
    failures: AtomicU64,
    delayed: AtomicU64,
}

impl ProbeStats {
    /// Targets.
    pub fn targets(&self) -> u64 {
        self.targets.load(Ordering::Relaxed)
    }

    /// Probes that ended.
    pub fn probes(&self) -> u64 {
        self.probes.load(Ordering::Relaxed)
    }

    /// Those among them that failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Probes that began late because too many ran.
    pub fn delayed(&self) -> u64 {
        self.delayed.load(Ordering::Relaxed)
    }

    pub(super) fn has_targets(&self, count: usize) {
        self.targets.store(count as u64, Ordering::Relaxed);
    }

    pub(super) fn ended(&self, is_failure: bool) {
        self.probes.fetch_add(1, Ordering::Relaxed);
        self.failures.fetch_add(u64::from(is_failure), Ordering::Relaxed);
    }

    pub(super) fn was_delayed(&self) {
        self.delayed.fetch_add(1, Ordering::Relaxed);
    }
}
