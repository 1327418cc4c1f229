//! The values that features of the agent hand to each other over channels; `wiring` connects them.
//!
//! Features never import each other: whoever produces and whoever consumes both know only this file and the
//! shared crates.

use bytes::Bytes;
use skerry_model::{Alert, Fingerprint, Labels, LogRecord, LossEntry, Observation};
use skerry_promql::{Matcher, matches_all};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

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

impl LogInput {
    /// About how much memory it takes, in bytes: texts, and what is around each of them. Labels are shared and count
    /// nothing, fields belong to one record and do.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let fields = |record: &LogRecord| -> usize { record.fields.iter().map(|(n, v)| n.len() + v.len() + 32).sum() };
        let around = size_of::<LogRecord>();
        let records: usize = self.records.iter().map(|record| around + record.line.len() + fields(record)).sum();
        let state = |position: &PositionUpdate| position.key.len() + position.state.as_ref().map_or(0, Vec::len) + 64;
        records + self.positions.iter().map(state).sum::<usize>() + self.losses.len() * 256
    }
}

/// Conditions of each budget of log records, and whether its sources have to wait.
pub type GateList = Vec<(Vec<Matcher>, bool)>;

/// Tells log inputs which of their sources have to wait, because a budget that blocks is full: an input that can wait
/// asks before it reads from a source, and goes on with the others. What it hands on all the same is taken, within
/// bounds, and then costs the oldest of that budget.
#[derive(Debug, Clone)]
pub struct LogGate(watch::Receiver<Arc<GateList>>);

impl LogGate {
    /// As `list` says, which is empty while nobody has to wait.
    #[must_use]
    pub const fn new(list: watch::Receiver<Arc<GateList>>) -> Self {
        Self(list)
    }

    /// One that is always open.
    #[must_use]
    pub fn open() -> Self {
        Self(watch::channel(Arc::default()).1)
    }

    /// Whether a source has to wait whose records will have these labels. As for the records the first budget that
    /// matches counts; `level` and `stream` are not known here.
    #[must_use]
    pub fn is_closed(&self, labels: &Labels) -> bool {
        self.0.borrow().iter().find(|(matchers, _)| matches_all(matchers, labels)).is_some_and(|(_, closed)| *closed)
    }

    /// Returns when a source with these labels may go on.
    pub async fn opened(&mut self, labels: &Labels) {
        while self.is_closed(labels) {
            // The store has ended: whoever hands on to it will notice.
            if self.0.changed().await.is_err() {
                return;
            }
        }
    }
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

/// Alerts that rules have to say something of: what fires, and what has ended.
#[derive(Debug, Default)]
pub struct Raised {
    /// The alerts.
    pub alerts: Vec<Alert>,
    /// Values of those whose state has changed, as Prometheus writes numbers.
    pub values: BTreeMap<Fingerprint, String>,
}

/// A request of Alertmanager's API, for whoever holds the alerts.
#[derive(Debug)]
pub struct AlertsRequest {
    /// HTTP method.
    pub method: &'static str,
    /// What follows `/api/v2` in the path, as it came.
    pub path: String,
    /// What follows the `?`.
    pub query: String,
    /// Body, at most 1 MiB.
    pub body: Bytes,
    /// Status and body of the answer.
    pub reply: oneshot::Sender<(u16, Vec<u8>)>,
}
