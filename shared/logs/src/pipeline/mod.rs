//! The stages that a source's records pass through, in the order of the config.
//!
//! ```yaml
//! - parser: {format: json, time: ts, level: level, message: msg, labels: [app], keep_fields: [trace_id]}
//! - if: {level: '<=debug'}
//!   then: [{sample: {every: 10}}]
//! - drop: {field: path, equals: /healthz}
//! - redact: {detect: [email, card], action: mask}
//! ```
//!
//! Fields that a parser finds are seen by the stages behind it, by name, before the record's own fields and its labels. They
//! are stored, as structured metadata, where `keep_fields` says so, where `modify` set them, or where the line gave way to
//! the field `message`; else they end with the pipeline, since the line still has them.
//!
//! Invariants:
//! - What goes in comes out or is in the losses: `Filtered` (drop, keep), `Sampled`, `RateLimited`, `Parse` (where `on_error:
//!   drop` says so), `Repeated`. What `dedup` folded comes again as one record that says how often; that one is not in the count.
//! - A line that cannot be parsed goes on as it is, and is counted.
//! - Nothing grows with what the records say: label sets, series, buckets and lines that are remembered have bounds.
//! - Where a stage takes secrets out, memory that held records or fields is overwritten before it is given up, also that of
//!   records that are dropped.

mod build;
mod condition;
mod dedup;
mod fields;
mod gate;
mod metric;
mod modify;
mod parser;
mod promote;
pub(crate) mod reader;
mod template;
#[cfg(test)]
mod tests;
mod work;

use crate::redact::Redact;
use crate::time::ReadZone;
use build::Builder;
use condition::Condition;
use dedup::Dedup;
use fields::{Fields, Mark};
use gate::{RateLimit, Sample};
use metric::{Taken, ToMetric};
use modify::Modify;
use parser::{Parsed, Parser};
use serde::{Deserialize, Serialize};
pub use skerry_model::Now;
use skerry_model::{LogRecord, LossEntry, LossReason, Mono, Observation, StreamKind, TimeRange, UnixMillis};
use std::collections::BTreeSet;
use work::Work;

/// The stages of one source, as they stand in the config: a list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stages(pub Vec<Stage>);

/// One stage: a mapping with one key, the kind, above its settings. Checked by [`Pipeline::new`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stage(pub serde_json::Value);

/// Its kind alone, since settings may be secret, as the key of `redact`.
impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kinds = self.0.as_object().into_iter().flat_map(|stage| stage.keys());
        f.debug_list().entries(kinds).finish()
    }
}

/// What came of the records that went in.
#[derive(Debug, Default)]
pub struct Output {
    /// Records to be stored, in the order they came.
    pub records: Vec<LogRecord>,
    /// What is not stored, and why; to be committed together with the records.
    pub losses: Vec<LossEntry>,
}

/// What happened to records that were kept nevertheless. Each only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Lines that a parser could not read; they went on as they were, or were dropped where the config says so.
    pub parse_failures: u64,
    /// Times that could not be read or believed; the record kept the time it had.
    pub time_failures: u64,
    /// Labels that were not made, because there are too many label sets or the value is too long.
    pub labels_refused: u64,
    /// Records with more fields than are kept.
    pub fields_cut: u64,
    /// Records from which a metric could not be made, for want of a number.
    pub metric_failures: u64,
}

/// The stages of one source at work, with what they remember.
#[derive(Debug)]
pub struct Pipeline {
    steps: Vec<Step>,
    fields: Fields,
    wipe: bool,
    counts: Counts,
    /// The source's name of the record that came last.
    source: String,
}

/// A checked stage.
#[derive(Debug)]
enum Step {
    Parser(Box<Parser>),
    If { condition: Box<Condition>, then: Vec<Step>, otherwise: Vec<Step> },
    Drop(Condition),
    Keep(Condition),
    Sample(Sample),
    RateLimit(Box<RateLimit>),
    Dedup(Box<Dedup>),
    Modify(Box<Modify>),
    Redact(Box<Redact>),
    ToMetric(Box<ToMetric>),
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    GoesOn,
    Lost(LossReason),
}

impl Pipeline {
    /// The stages of these lists, one list after the other. Zones are known by offset or rule, not by name.
    ///
    /// # Errors
    /// Every fault, as the key below the first list (`[2].redact.patterns[0]`) and what was expected.
    pub fn new(lists: &[&Stages]) -> Result<Self, Vec<(String, String)>> {
        Self::with_zones(lists, &|_| None)
    }

    /// As [`new`](Self::new), where `zones` gives what the machine knows of a time zone.
    ///
    /// # Errors
    /// As [`new`](Self::new). A key of the second list has `[1]` in front, and so on.
    pub fn with_zones(lists: &[&Stages], zones: ReadZone<'_>) -> Result<Self, Vec<(String, String)>> {
        let mut builder = Builder { zones, faults: Vec::new(), count: 0, metrics: BTreeSet::new() };
        let mut steps = Vec::new();
        for (at, list) in lists.iter().enumerate() {
            let prefix = if at == 0 { String::new() } else { format!("[{at}]") };
            steps.extend(builder.list(&list.0, &prefix));
        }
        if !builder.faults.is_empty() {
            return Err(builder.faults);
        }
        let wipe = has(&steps, &|step| matches!(step, Step::Redact(_)));
        let (fields, counts) = (Fields::new(wipe), Counts::default());
        Ok(Self { steps, fields, wipe, counts, source: String::new() })
    }

    /// Takes one record; what comes of it, now or later, goes to an `out`.
    ///
    /// `source` names it in the loss ledger, at most 256 bytes.
    pub fn push(&mut self, record: LogRecord, source: &str, now: Now, out: &mut Output) {
        if self.steps.is_empty() {
            out.records.push(record);
            return;
        }
        if self.source != source {
            self.source.clear();
            self.source.push_str(source);
        }
        let work = Work { record, fields: &mut self.fields, wipe: self.wipe };
        let mut shop = Shop { now, source, counts: &mut self.counts, losses: &mut out.losses };
        if let Some(record) = shop.pass(&mut self.steps, work) {
            out.records.push(record);
        }
    }

    /// Does what is due by now, as telling how often a record was repeated.
    pub fn tick(&mut self, now: Now, out: &mut Output) {
        self.release(now.mono, now, out);
    }

    /// Ends all windows, so that nothing is remembered any more: for the end of a source. The clock need not be there yet.
    pub fn flush(&mut self, now: Now, out: &mut Output) {
        self.release(Mono(u64::MAX), now, out);
    }

    fn release(&mut self, through: Mono, now: Now, out: &mut Output) {
        let mut shop = Shop { now, source: &self.source, counts: &mut self.counts, losses: &mut out.losses };
        shop.release(&mut self.steps, &mut self.fields, self.wipe, through, &mut out.records);
    }

    /// When [`tick`](Self::tick) has something to do; `None`: not before another record came.
    #[must_use]
    pub fn next_tick(&self) -> Option<Mono> {
        let mut next = None;
        each(&self.steps, &mut |step| {
            if let Step::Dedup(dedup) = step {
                next = [next, dedup.next()].into_iter().flatten().min();
            }
        });
        next
    }

    /// Metrics that its stages made of records, with their values now. Each has the record's label `source`.
    #[must_use]
    pub fn observations(&self) -> Vec<Observation> {
        let mut out = Vec::new();
        each(&self.steps, &mut |step| {
            if let Step::ToMetric(metric) = step {
                metric.observe(&mut out);
            }
        });
        out
    }

    /// What happened to records that were kept nevertheless.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

fn each<'a>(steps: &'a [Step], see: &mut dyn FnMut(&'a Step)) {
    for step in steps {
        see(step);
        if let Step::If { then, otherwise, .. } = step {
            each(then, see);
            each(otherwise, see);
        }
    }
}

fn has(steps: &[Step], is: &dyn Fn(&Step) -> bool) -> bool {
    let mut found = false;
    each(steps, &mut |step| found |= is(step));
    found
}

/// What stages need beside the record.
struct Shop<'a> {
    now: Now,
    source: &'a str,
    counts: &'a mut Counts,
    losses: &'a mut Vec<LossEntry>,
}

impl Shop<'_> {
    /// Sends a record through stages and finishes it; `None` where it was lost.
    fn pass(&mut self, steps: &mut [Step], mut work: Work<'_>) -> Option<LogRecord> {
        let verdict = self.run(steps, &mut work);
        let at = work.record.at;
        match verdict {
            Verdict::GoesOn => {
                self.counts.fields_cut += u64::from(!work.finish());
                work.fields.clear();
                Some(work.record)
            }
            Verdict::Lost(reason) => {
                work.discard();
                work.fields.clear();
                self.lose(StreamKind::Logs, reason, 1, at);
                None
            }
        }
    }

    fn run(&mut self, steps: &mut [Step], work: &mut Work<'_>) -> Verdict {
        for step in steps {
            let lost = match step {
                Step::Parser(parser) => {
                    (parser.run(work, self.now, self.counts) == Parsed::Dropped).then_some(LossReason::Parse)
                }
                Step::If { condition, then, otherwise } => {
                    let branch = if condition.holds(work) { then } else { otherwise };
                    match self.run(branch, work) {
                        Verdict::GoesOn => None,
                        Verdict::Lost(reason) => Some(reason),
                    }
                }
                Step::Drop(condition) => condition.holds(work).then_some(LossReason::Filtered),
                Step::Keep(condition) => (!condition.holds(work)).then_some(LossReason::Filtered),
                Step::Sample(sample) => (!sample.passes()).then_some(LossReason::Sampled),
                Step::RateLimit(limit) => (!limit.passes(work, self.now.mono)).then_some(LossReason::RateLimited),
                Step::Dedup(dedup) => (!dedup.passes(work, self.now.mono)).then_some(LossReason::Repeated),
                Step::Modify(modify) => {
                    modify.run(work, self.now, self.counts);
                    None
                }
                Step::Redact(redact) => {
                    self.redact(redact, work);
                    None
                }
                Step::ToMetric(metric) => {
                    match metric.take(work) {
                        Taken::Yes => {}
                        Taken::NoValue => self.counts.metric_failures += 1,
                        Taken::NoRoom => self.lose(StreamKind::Metrics, LossReason::SeriesLimit, 1, work.record.at),
                    }
                    None
                }
            };
            if let Some(reason) = lost {
                return Verdict::Lost(reason);
            }
        }
        Verdict::GoesOn
    }

    fn redact(&mut self, redact: &mut Redact, work: &mut Work<'_>) {
        let mut count = redact.line(&mut work.record.line, &work.record.labels, work.record.output);
        work.fields.replace(|field| {
            let (new, found) = redact.text(field.value.as_bytes())?;
            // What is not stored is in the line too, where it was counted.
            count += if field.mark == Mark::Kept { found } else { 0 };
            Some(String::from_utf8_lossy(&new).into_owned())
        });
        count += redact.values(&mut work.record.fields);
        count += redact.stream(&mut work.record.labels);
        if count > 0 {
            self.lose(StreamKind::Logs, LossReason::Redacted, count, work.record.at);
        }
    }

    /// Lets records out whose windows ended by `through`, and sends them through the stages behind theirs.
    fn release(
        &mut self,
        steps: &mut [Step],
        fields: &mut Fields,
        wipe: bool,
        through: Mono,
        out: &mut Vec<LogRecord>,
    ) {
        for at in 0..steps.len() {
            let mut records = Vec::new();
            match &mut steps[at] {
                Step::Dedup(dedup) => dedup.due(through, &mut records),
                Step::If { then, otherwise, .. } => {
                    for branch in [then, otherwise] {
                        self.release(branch, fields, wipe, through, &mut records);
                    }
                }
                _ => {}
            }
            for record in records {
                let work = Work { record, fields, wipe };
                out.extend(self.pass(&mut steps[at + 1..], work));
            }
        }
    }

    /// Adds to the losses; those of one source and reason are one entry.
    fn lose(&mut self, stream: StreamKind, reason: LossReason, count: u64, at: UnixMillis) {
        let range = TimeRange::at(at);
        let source = &self.source[..self.source.floor_char_boundary(256)];
        let same = |entry: &&mut LossEntry| entry.reason == reason && entry.stream == stream && entry.source == source;
        if let Some(entry) = self.losses.iter_mut().find(same) {
            entry.count = entry.count.map(|before| before.saturating_add(count));
            entry.range = entry.range.cover(range);
        } else {
            self.losses.push(LossEntry { stream, reason, count: Some(count), range, source: source.to_owned() });
        }
    }
}
