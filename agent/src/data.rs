//! The values that features of the agent hand to each other over channels; `wiring` connects them.
//!
//! Features never import each other: whoever produces and whoever consumes both know only this file and the
//! shared crates.

use bytes::Bytes;
use skerry_model::{LogRecord, LossEntry, Observation};
use tokio::sync::oneshot;

/// What an input read, with the position that covers it. Records, positions and losses are committed together,
/// so that after a crash the input resumes exactly behind the last stored record.
#[derive(Debug, Default)]
pub struct LogInput {
    /// Records in the order they were read. May be empty where only positions or losses changed.
    pub records: Vec<LogRecord>,
    /// Positions after those records.
    pub positions: Vec<PositionUpdate>,
    /// What the input had to give up.
    pub losses: Vec<LossEntry>,
    /// Told once all of this is committed, for inputs that acknowledge what they took. Dropped unsent where it was not
    /// stored. Whoever waits for it makes the store commit soon, which costs flash.
    pub committed: Option<oneshot::Sender<()>>,
}

/// New position of one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionUpdate {
    /// Names the input: unique on this node, stable over restarts, at most 1 KiB.
    pub key: String,
    /// The input's own encoding of its position, at most 4 KiB; `None` forgets the key.
    pub state: Option<Vec<u8>>,
}

/// One round of collection.
#[derive(Debug, Clone, Default)]
pub struct Collected {
    /// What was measured. All observations of a metric are adjacent, and a label set stands at most once.
    pub observations: Vec<Observation>,
    /// Which collectors failed in this round; the others' values stand in `observations`.
    pub failures: Vec<CollectorFailure>,
}

/// A collector that took no measurement in this round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorFailure {
    /// The collector's name, as in the config.
    pub collector: &'static str,
    /// What went wrong, for people.
    pub error: String,
}

/// A push to the local HTTP, for whoever holds pushed groups.
#[derive(Debug)]
pub struct PushRequest {
    /// HTTP method.
    pub verb: &'static str,
    /// What follows `/metrics/` in the path, without percent escapes.
    pub path: String,
    /// Body, at most 1 MiB.
    pub body: Bytes,
    /// The outcome, or why it was refused.
    pub reply: oneshot::Sender<Result<(), String>>,
}
