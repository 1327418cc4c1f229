//! Decides what of a request is taken, and makes batches of it; no I/O, no clock.

use skerry_chunk::{Column, EncodeError, MetricBlock, dict};
use skerry_model::{Epoch, Labels, LossReason, Sample, Seq, SeriesId, TimeRange, UnixMillis};
use skerry_remote::{DecodeError, Incoming, Limits, Protocol, read};
use skerry_wire::{Batch, Body};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// How far ahead of the fleet's clock a sample may be.
const AHEAD_MAX: Duration = Duration::from_secs(600);
/// A block of so few cells, or of so few per sample, may have gaps; else series of other times go into another one.
const CELLS_FREE: usize = 4096;
const CELLS_PER_SAMPLE: usize = 8;
/// Most rows of a block.
const ROWS_MAX: usize = 10_000;

/// What is known of a sender: its epoch, its series and the newest sample of each.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) epoch: Epoch,
    next: Seq,
    ids: HashMap<Labels, SeriesId>,
    newest: HashMap<SeriesId, Newest>,
    last_id: u32,
}

/// Newest sample of a series.
#[derive(Debug, Clone, Copy)]
struct Newest {
    sample: Sample,
    /// Whether it was read from the store and nothing came since. What is older may then be what a sender sends again
    /// because this server ended before it answered.
    is_restored: bool,
}

/// Why samples are not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rejected {
    pub(super) reason: LossReason,
    pub(super) count: u64,
    pub(super) range: TimeRange,
    /// The first one, for people.
    pub(super) first: String,
}

/// What becomes of a request.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// To be stored, in this order.
    pub(super) batches: Vec<Batch>,
    /// Samples in them.
    pub(super) samples: u64,
    /// Samples that were there already.
    pub(super) repeated: u64,
    /// Exemplars, which are not kept.
    pub(super) exemplars: u64,
    /// What is not taken, one entry for each reason.
    pub(super) rejected: Vec<Rejected>,
    /// Samples that are older than the newest of their series, which the store may hold nevertheless.
    pub(super) doubtful: Vec<(Labels, Sample)>,
}

impl Taken {
    fn reject(&mut self, reason: LossReason, count: u64, at: TimeRange, first: impl FnOnce() -> String) {
        match self.rejected.iter_mut().find(|rejected| rejected.reason == reason) {
            Some(rejected) => {
                rejected.count += count;
                rejected.range = rejected.range.cover(at);
            }
            None => self.rejected.push(Rejected { reason, count, range: at, first: first() }),
        }
    }

    /// Decides on the doubtful samples: those that the store holds bit by bit are repeats, the others out of order.
    pub(super) fn resolve(&mut self, held: impl Fn(&Labels, &Sample) -> bool) {
        for (labels, sample) in std::mem::take(&mut self.doubtful) {
            if held(&labels, &sample) {
                self.repeated += 1;
            } else {
                self.reject_order(&labels, sample);
            }
        }
    }

    fn reject_order(&mut self, labels: &Labels, sample: Sample) {
        let first = || format!("out of order sample: {labels} at {} ms", sample.at.0);
        self.reject(LossReason::OutOfOrder, 1, TimeRange::at(sample.at), first);
    }
}

/// Rows and columns to be.
#[derive(Default)]
struct Draft {
    rows: BTreeSet<UnixMillis>,
    series: BTreeMap<SeriesId, Vec<Sample>>,
    samples: usize,
}

impl Draft {
    /// Whether series with these times may be added without much waste.
    fn fits(&self, times: &[UnixMillis], count: usize) -> bool {
        let new = times.iter().filter(|at| !self.rows.contains(at)).count();
        let (rows, series) = (self.rows.len() + new, self.series.len() + count);
        let samples = self.samples + times.len() * count;
        rows <= ROWS_MAX && rows * series <= (samples * CELLS_PER_SAMPLE).max(CELLS_FREE)
    }

    fn block(self) -> MetricBlock {
        let timestamps: Vec<UnixMillis> = self.rows.into_iter().collect();
        let place: HashMap<UnixMillis, usize> = timestamps.iter().enumerate().map(|(at, time)| (*time, at)).collect();
        let columns = self.series.into_iter().map(|(series, samples)| {
            let mut values = vec![None; timestamps.len()];
            for sample in samples {
                if let Some(value) = place.get(&sample.at).and_then(|at| values.get_mut(*at)) {
                    *value = Some(sample.value);
                }
            }
            Column { series, values }
        });
        let columns = columns.collect();
        MetricBlock { timestamps, columns }
    }
}

impl Sender {
    /// A sender that was never heard, under an epoch that was never used.
    pub(super) fn new(epoch: Epoch) -> Self {
        Self { epoch, next: Seq::FIRST, ids: HashMap::new(), newest: HashMap::new(), last_id: 0 }
    }

    /// A sender as the store knows it.
    pub(super) fn restored(epoch: Epoch, next: Seq, series: Vec<(SeriesId, Labels, Option<Sample>)>) -> Self {
        let mut sender = Self { next, ..Self::new(epoch) };
        for (id, labels, newest) in series {
            sender.last_id = sender.last_id.max(id.0);
            sender.ids.insert(labels, id);
            if let Some(sample) = newest {
                sender.newest.insert(id, Newest { sample, is_restored: true });
            }
        }
        sender
    }

    /// How many series it has in memory.
    pub(super) fn series(&self) -> usize {
        self.ids.len()
    }

    /// Takes in a message. What it knows of the sender is as if the batches were stored: where they are not, it has to
    /// be read from the store again.
    ///
    /// # Errors
    /// [`DecodeError`] where the message is none; nothing has changed then.
    pub(super) fn take(
        &mut self,
        protocol: Protocol,
        message: &[u8],
        limits: &Limits,
        now: UnixMillis,
    ) -> Result<Taken, DecodeError> {
        // Read through first, so that of a message that is damaged at its end nothing is taken.
        read(protocol, message, limits, |_| {})?;
        let (mut taken, mut fresh, mut new) = (Taken::default(), BTreeMap::new(), Vec::new());
        read(protocol, message, limits, |series| self.sort_in(series, now, &mut taken, &mut fresh, &mut new))?;
        let drafts = draft(fresh);
        let mut dict = dict::encode(&new).unwrap_or_default();
        if new.is_empty() {
            dict.clear();
        }
        for draft in drafts {
            let samples = draft.samples as u64;
            match self.batch(draft.block(), std::mem::take(&mut dict)) {
                Ok(batch) => {
                    taken.samples += samples;
                    taken.batches.push(batch);
                }
                // Columns are as long as there are rows, and sorted.
                Err(error) => taken.reject(LossReason::Parse, samples, TimeRange::at(now), || error.to_string()),
            }
        }
        Ok(taken)
    }

    fn batch(&mut self, block: MetricBlock, dict: Vec<u8>) -> Result<Batch, EncodeError> {
        let (from, rows) = (self.next, block.timestamps.len() as u64);
        let body = Body::Block(block.encode()?);
        self.next = Seq(from.0 + rows);
        Ok(Batch { epoch: self.epoch, from, to: Seq(from.0 + rows - 1), dict, body })
    }

    /// Sorts the samples of a series into those that are taken and those that are not.
    fn sort_in(
        &mut self,
        series: &Incoming<'_>,
        now: UnixMillis,
        taken: &mut Taken,
        fresh: &mut BTreeMap<SeriesId, Vec<Sample>>,
        new: &mut Vec<(SeriesId, Labels)>,
    ) {
        taken.exemplars += series.exemplars;
        let times = series.samples.iter().map(|sample| TimeRange::at(sample.at));
        let range = times.reduce(TimeRange::cover).unwrap_or(TimeRange::at(now));
        if series.histograms > 0 {
            let first = || "native histograms are not stored; send classic ones".to_owned();
            taken.reject(LossReason::Parse, series.histograms, range, first);
        }
        if series.samples.is_empty() {
            return;
        }
        let count = series.samples.len() as u64;
        let labels = match Labels::new(series.labels.iter().copied()) {
            Ok(labels) if !labels.metric().is_empty() => labels,
            Ok(_) => {
                return taken.reject(LossReason::Parse, count, range, || "a series without a metric name".to_owned());
            }
            Err(error) => {
                let reason = match error {
                    skerry_model::InvalidLabels::TooMany(_) | skerry_model::InvalidLabels::TooLong(_) => {
                        LossReason::Limit
                    }
                    _ => LossReason::Parse,
                };
                return taken.reject(reason, count, range, || format!("a series cannot be taken: {error}"));
            }
        };
        let known = self.ids.get(&labels).copied();
        let id = known.unwrap_or(SeriesId(self.last_id + 1));
        let mut newest = known.and_then(|id| self.newest.get(&id).copied());
        let mut kept = Vec::new();
        for sample in &series.samples {
            if sample.at > now + AHEAD_MAX {
                let first = || {
                    let ahead = sample.at.since(now).as_secs();
                    format!("out of bounds: {labels} is {ahead} s ahead of this server's clock")
                };
                taken.reject(LossReason::OutOfBounds, 1, TimeRange::at(sample.at), first);
                continue;
            }
            match newest {
                Some(held) if sample.at < held.sample.at && held.is_restored => {
                    taken.doubtful.push((labels.clone(), *sample));
                }
                Some(held) if sample.at < held.sample.at => taken.reject_order(&labels, *sample),
                Some(held) if sample == &held.sample => taken.repeated += 1,
                Some(held) if sample.at == held.sample.at => {
                    let first = || format!("duplicate sample for timestamp: {labels} at {} ms", sample.at.0);
                    taken.reject(LossReason::OutOfOrder, 1, TimeRange::at(sample.at), first);
                }
                _ => {
                    kept.push(*sample);
                    newest = Some(Newest { sample: *sample, is_restored: false });
                }
            }
        }
        if kept.is_empty() {
            return;
        }
        if known.is_none() {
            self.last_id = id.0;
            self.ids.insert(labels.clone(), id);
            new.push((id, labels));
        }
        if let Some(newest) = newest {
            self.newest.insert(id, newest);
        }
        fresh.entry(id).or_default().extend(kept);
    }
}

/// Puts series that bear the same times next to each other, and as many of other times as fit without much waste.
fn draft(fresh: BTreeMap<SeriesId, Vec<Sample>>) -> Vec<Draft> {
    let mut by_times: BTreeMap<Vec<UnixMillis>, Vec<(SeriesId, Vec<Sample>)>> = BTreeMap::new();
    for (id, samples) in fresh {
        // A series may stand in a message more than once, so it may be longer than a block has rows.
        for part in samples.chunks(ROWS_MAX) {
            let times = part.iter().map(|sample| sample.at).collect();
            by_times.entry(times).or_default().push((id, part.to_vec()));
        }
    }
    let (mut drafts, mut draft) = (Vec::new(), Draft::default());
    for (times, series) in by_times {
        let repeats = series.iter().any(|(id, _)| draft.series.contains_key(id));
        if draft.samples > 0 && (repeats || !draft.fits(&times, series.len())) {
            drafts.push(std::mem::take(&mut draft));
        }
        draft.samples += times.len() * series.len();
        draft.rows.extend(times);
        draft.series.extend(series);
    }
    if draft.samples > 0 {
        drafts.push(draft);
    }
    drafts
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
