//! Counters of push, for the agent's own metrics.

use super::statsd::DropReason;
use std::sync::atomic::{AtomicU64, Ordering};

/// What came in since the run began. Shared; read at any time.
#[derive(Debug, Default)]
pub struct PushStats {
    /// Datagrams of StatsD.
    pub packets: Counter,
    /// Lines of StatsD that were taken.
    pub lines: Counter,
    /// StatsD metrics held now.
    pub series: Counter,
    /// Lines that were not taken, by reason, in the order of [`DropReason::ALL`].
    pub dropped: [Counter; DropReason::ALL.len()],
    /// Pushes and deletions that were taken.
    pub pushes: Counter,
    /// Those that were refused.
    pub refused: Counter,
    /// Groups held now.
    pub groups: Counter,
}

/// A number that is read and written at any time.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Its value.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn set(&self, value: usize) {
        self.0.store(value as u64, Ordering::Relaxed);
    }
}
