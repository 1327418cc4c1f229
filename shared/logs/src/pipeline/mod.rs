//! The stages that a source's records pass through, in the order of the config.

#[expect(dead_code, reason = "stages come next")]
mod reader;

use serde::{Deserialize, Serialize};
use skerry_model::{LogRecord, LossEntry, Mono, Observation, UnixMillis};

/// The stages of one source, as they stand in the config: a list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stages(pub Vec<Stage>);

/// One stage: a mapping with one key, the kind, above its settings. Checked by [`Pipeline::new`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stage(pub serde_json::Value);

/// The two times of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Schedules: windows, rates.
    pub mono: Mono,
    /// Labels data.
    pub wall: UnixMillis,
}

/// What came of the records that went in.
#[derive(Debug, Default)]
pub struct Output {
    /// Records to be stored, in the order they came.
    pub records: Vec<LogRecord>,
    /// What is not stored, and why; to be committed together with the records.
    pub losses: Vec<LossEntry>,
}

/// The stages of one source at work, with what they remember.
#[derive(Debug)]
pub struct Pipeline {}

impl Pipeline {
    /// The stages of these lists, one list after the other.
    ///
    /// # Errors
    /// Every fault, as the key below the first list (`[2].redact.patterns[0]`) and what was expected.
    pub fn new(_lists: &[&Stages]) -> Result<Self, Vec<(String, String)>> {
        Ok(Self {})
    }

    /// Takes one record; what comes of it, now or later, goes to an `out`.
    ///
    /// `source` names it in the loss ledger, at most 256 bytes.
    pub fn push(&mut self, record: LogRecord, source: &str, now: Now, out: &mut Output) {
        let _ = (source, now);
        out.records.push(record);
    }

    /// Does what is due by now, as telling how often a record was repeated.
    pub fn tick(&mut self, now: Now, out: &mut Output) {
        let _ = (now, out);
    }

    /// When [`tick`](Self::tick) has something to do; `None`: not before another record came.
    #[must_use]
    pub fn next_tick(&self) -> Option<Mono> {
        None
    }

    /// Metrics that its stages made of records, with their values now.
    #[must_use]
    pub fn observations(&self) -> Vec<Observation> {
        Vec::new()
    }
}
