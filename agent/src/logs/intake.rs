//! What every log input does with a record: counts it, sends it through the stages of its pipeline, and gathers what
//! comes of it for the store.
//!
//! Invariants:
//! - What a record became, its losses included, leaves in the batch that was handed in with it, so that the position
//!   behind it can leave in the same one.
//! - What stages remember from record to record (rates, windows) is the input's, not the file's.

use skerry_logs::pipeline::{Counts, Now, Output, Pipeline, Stages};
use skerry_model::{LogRecord, LossEntry, LossReason, Observation, StreamKind, TimeRange};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::stats::LogStats;
use crate::data::{LogInput, PositionUpdate};
use crate::wipe;
use crate::zone::read_zone;

/// A batch is full with this many records or bytes of text.
const BATCH_RECORDS: usize = 1000;
const BATCH_BYTES: usize = 256 << 10;
/// Longest name of a source in the loss ledger.
const SOURCE_BYTES_MAX: usize = 256;

/// What one round of an input gathers.
#[derive(Debug, Default)]
pub(super) struct Batch {
    out: Output,
    bytes: usize,
    /// Records that went in, and losses that were noted: whether anything happened since is told by it alone, because
    /// stages may leave no record and equal losses become one.
    taken: u64,
}

impl Batch {
    /// Whether no more records should go in: 1000 records or 256 KiB.
    #[must_use]
    pub(super) fn is_full(&self) -> bool {
        self.out.records.len() >= BATCH_RECORDS || self.bytes >= BATCH_BYTES
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.out.records.is_empty() && self.out.losses.is_empty()
    }

    /// Grows with every record and loss that goes in.
    #[must_use]
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Adds to the losses; those of one source and reason are one entry.
    pub(super) fn lose(&mut self, source: &str, reason: LossReason, count: Option<u64>, range: TimeRange) {
        self.taken += 1;
        let source = ledger_name(source).to_owned();
        self.merge(LossEntry { stream: StreamKind::Logs, reason, count, range, source });
    }

    fn merge(&mut self, loss: LossEntry) {
        let same = |e: &&mut LossEntry| e.reason == loss.reason && e.stream == loss.stream && e.source == loss.source;
        if let Some(entry) = self.out.losses.iter_mut().find(same) {
            entry.count = entry.count.zip(loss.count).map(|(a, b)| a + b);
            entry.range = entry.range.cover(loss.range);
        } else {
            self.out.losses.push(loss);
        }
    }

    /// Merges what stages added since there were so many records and losses.
    fn settle(&mut self, records: usize, losses: usize) {
        let fields = |record: &LogRecord| -> usize { record.fields.iter().map(|(n, v)| n.len() + v.len()).sum() };
        let bytes = self.out.records[records..].iter().map(|record| record.line.len() + fields(record));
        self.bytes += bytes.sum::<usize>();
        if self.out.losses.len() > losses {
            for loss in self.out.losses.split_off(losses) {
                self.merge(loss);
            }
        }
    }

    /// What goes to the store, with the positions behind its records.
    #[must_use]
    pub(super) fn into_input(self, positions: Vec<PositionUpdate>) -> LogInput {
        LogInput { records: self.out.records, positions, losses: self.out.losses, committed: None }
    }
}

/// The name of a source as the ledger takes it: the end of a path tells more than its begin.
fn ledger_name(source: &str) -> &str {
    let mut from = source.len().saturating_sub(SOURCE_BYTES_MAX);
    while !source.is_char_boundary(from) {
        from += 1;
    }
    &source[from..]
}

/// The stages of one input at work. A clone is another handle to the same ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Intake {
    /// `None` where the input has no stages: its records go straight through.
    pipeline: Option<Arc<Mutex<Pipeline>>>,
    stats: Arc<LogStats>,
}

impl Intake {
    /// An input with stages of its own, then those of all inputs. What it counts and makes of records goes to `stats`.
    ///
    /// # Errors
    /// As [`Pipeline::new`]; check each list by itself first ([`faults`]) for keys that name the list.
    pub(super) fn new(own: &Stages, all: &Stages, stats: &Arc<LogStats>) -> Result<Self, Vec<(String, String)>> {
        if own.0.iter().chain(&all.0).any(|stage| redacts(&stage.0)) {
            wipe::begin();
        }
        let pipeline = if own.0.is_empty() && all.0.is_empty() {
            None
        } else {
            let pipeline = Arc::new(Mutex::new(Pipeline::with_zones(&[own, all], &read_zone)?));
            stats.add_pipeline(pipeline.clone());
            Some(pipeline)
        };
        Ok(Self { pipeline, stats: stats.clone() })
    }

    /// Takes one record. `source` names it in the ledger: a path, an address; its end counts where it is long.
    pub(super) fn take(&self, record: LogRecord, source: &str, now: Now, batch: &mut Batch) {
        self.stats.lines.add(1);
        self.stats.bytes.add(record.line.len() as u64);
        batch.taken += 1;
        match &self.pipeline {
            None => {
                batch.bytes += record.line.len();
                batch.out.records.push(record);
            }
            Some(pipeline) => {
                let (records, losses) = (batch.out.records.len(), batch.out.losses.len());
                lock(pipeline).push(record, ledger_name(source), now, &mut batch.out);
                batch.settle(records, losses);
            }
        }
    }

    /// Does what stages have due by now, as telling how often a record was repeated.
    pub(super) fn tick(&self, now: Now, batch: &mut Batch) {
        if let Some(pipeline) = &self.pipeline {
            let (records, losses) = (batch.out.records.len(), batch.out.losses.len());
            let mut pipeline = lock(pipeline);
            if pipeline.next_tick().is_some_and(|at| at <= now.mono) {
                pipeline.tick(now, &mut batch.out);
                batch.settle(records, losses);
            }
        }
    }

    /// Ends what stages remember, when the input ends: windows that are still open are told as they are.
    pub(super) fn end(&self, now: Now, batch: &mut Batch) {
        if let Some(pipeline) = &self.pipeline {
            let (records, losses) = (batch.out.records.len(), batch.out.losses.len());
            lock(pipeline).flush(now, &mut batch.out);
            batch.settle(records, losses);
        }
    }
}

/// Whether a stage redacts, or one within it. A config is nested no deeper than its reader allows.
fn redacts(stage: &serde_json::Value) -> bool {
    match stage {
        serde_json::Value::Object(map) => map.iter().any(|(key, value)| key == "redact" || redacts(value)),
        serde_json::Value::Array(list) => list.iter().any(redacts),
        _ => false,
    }
}

/// Every fault of one list of stages, with its keys below `key`.
#[must_use]
pub(super) fn faults(key: &str, stages: &Stages) -> Vec<(String, String)> {
    let faults = Pipeline::with_zones(&[stages], &read_zone).err().unwrap_or_default();
    faults.into_iter().map(|(below, problem)| (format!("{key}{below}"), problem)).collect()
}

/// What the stages of several inputs made of records. Inputs that share stages may name the same series: counts add
/// up, and of gauges the last input's counts.
pub(super) fn observations<'a>(pipelines: impl Iterator<Item = &'a Arc<Mutex<Pipeline>>>) -> Vec<Observation> {
    let mut all: Vec<Observation> = pipelines.flat_map(|pipeline| lock(pipeline).observations()).collect();
    // Stable, so that of equal gauges the last input's stays last.
    all.sort_by(|a, b| (&a.meta.name, &a.labels).cmp(&(&b.meta.name, &b.labels)));
    let mut merged: Vec<Observation> = Vec::with_capacity(all.len());
    for one in all {
        match merged.last_mut().filter(|last| last.labels == one.labels && last.meta.name == one.meta.name) {
            None => merged.push(one),
            Some(last) if one.meta.kind == skerry_model::MetricKind::Gauge => last.value = one.value,
            Some(last) => last.value += one.value,
        }
    }
    merged
}

/// What happened in all stages to records that were kept nevertheless.
pub(super) fn counts<'a>(pipelines: impl Iterator<Item = &'a Arc<Mutex<Pipeline>>>) -> Counts {
    pipelines.fold(Counts::default(), |sum, pipeline| {
        let one = lock(pipeline).counts();
        Counts {
            parse_failures: sum.parse_failures + one.parse_failures,
            time_failures: sum.time_failures + one.time_failures,
            labels_refused: sum.labels_refused + one.labels_refused,
            fields_cut: sum.fields_cut + one.fields_cut,
            metric_failures: sum.metric_failures + one.metric_failures,
        }
    })
}

fn lock(pipeline: &Arc<Mutex<Pipeline>>) -> MutexGuard<'_, Pipeline> {
    pipeline.lock().unwrap_or_else(PoisonError::into_inner)
}
