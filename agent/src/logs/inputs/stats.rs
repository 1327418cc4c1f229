//! Counters of the inputs, for the agent's own metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Records taken.
    Records,
    /// Messages that were not in their format and were kept as text.
    Invalid,
    /// Messages that a queue in memory or in the kernel had no room for.
    Dropped,
    /// Connections that are open. Goes up and down.
    Connections,
    /// Connections that were closed for what the peer sent or did not send, or refused because there were too many.
    Faults,
    /// Acknowledgements sent.
    Acks,
    /// Chunks that had been taken before and were only acknowledged.
    Duplicates,
    /// Starts of the program that reads the journal.
    Starts,
}

impl Count {
    /// All of them, in the order of the enumeration.
    pub const ALL: [Self; 8] = [
        Self::Records,
        Self::Invalid,
        Self::Dropped,
        Self::Connections,
        Self::Faults,
        Self::Acks,
        Self::Duplicates,
        Self::Starts,
    ];
}

/// Counters of one input.
#[derive(Debug)]
pub struct SourceStats {
    /// The input's name: the label `source`.
    pub name: String,
    /// What it is: journal, syslog, kmsg, forward, stdin.
    pub kind: &'static str,
    counts: [AtomicU64; Count::ALL.len()],
}

impl SourceStats {
    pub(super) fn new(name: &str, kind: &'static str) -> Self {
        Self { name: name.to_owned(), kind, counts: Default::default() }
    }

    /// A counter's value now.
    #[must_use]
    pub fn value(&self, count: Count) -> u64 {
        self.counts[count as usize].load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, count: Count, n: u64) {
        self.counts[count as usize].fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn sub(&self, count: Count, n: u64) {
        self.counts[count as usize].fetch_sub(n, Ordering::Relaxed);
    }
}

/// Counters of all inputs of a run; cheap to clone.
pub type InputStats = Arc<[Arc<SourceStats>]>;
