//! One scrape.

use super::{AHEAD_MS_MAX, BEHIND_MS_MAX, Failure, MOMENTS_MAX, Outcome, Rounds, Series, Text, labels};
use crate::exposition::{Entry, Sample};
use skerry_model::{Labels, LossReason, Scrape, UnixMillis};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A scrape that is being read. One that is dropped instead of finished leaves its target's memory fit to go on.
#[derive(Debug)]
pub struct Round<'a> {
    rounds: &'a mut Rounds,
    at: UnixMillis,
    room: usize,
    values: Vec<Value>,
    refused: BTreeMap<LossReason, u64>,
    failure: Option<Failure>,
    moments: BTreeSet<i64>,
    scraped: u64,
    /// Samples that relabelling left.
    left: u64,
    added: u64,
}

#[derive(Debug, Clone, Copy)]
struct Value {
    series: u32,
    time: Time,
    at: i64,
    value: f64,
}

/// Where a value's time is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Time {
    /// The scrape.
    Scrape,
    /// The target.
    Target,
    /// The target, which told the very same sample before: it is stored already.
    Repeated,
}

/// What is known of a series when its text comes.
enum Found {
    Dropped,
    Series { index: u32, is_new: bool },
}

impl<'a> Round<'a> {
    pub(super) fn new(rounds: &'a mut Rounds, at: UnixMillis, room: usize) -> Self {
        Self {
            rounds,
            at,
            room,
            values: Vec::new(),
            refused: BTreeMap::new(),
            failure: None,
            moments: BTreeSet::from([at.0]),
            scraped: 0,
            left: 0,
            added: 0,
        }
    }

    /// Whether the scrape has failed already, so that reading on serves nothing.
    #[must_use]
    pub const fn has_failed(&self) -> bool {
        // A limit on samples is no failure yet: it is told with their number, so the rest is read.
        self.failure.is_some()
    }

    /// Takes in an entry.
    pub fn take(&mut self, entry: &Entry<'_>) {
        match entry {
            Entry::Sample(sample) => {
                if !self.has_failed() {
                    self.sample(sample);
                }
            }
            meta => self.rounds.metadata.note(meta),
        }
    }

    fn sample(&mut self, sample: &Sample<'_>) {
        self.scraped += 1;
        let over = self.left >= self.rounds.settings.samples_max.min(self.room) as u64;
        let (index, is_new) = match self.find(sample, over) {
            Ok(Some(Found::Series { index, is_new })) => (index, is_new),
            Ok(Some(Found::Dropped)) => return,
            Ok(None) => return self.left += 1,
            Err(failure) => {
                self.failure = Some(failure);
                return;
            }
        };
        self.left += 1;
        if over {
            return;
        }
        let stamp = sample.at.filter(|_| self.rounds.settings.honor_timestamps);
        let (at, value) = (stamp.unwrap_or(self.at).0, sample.value);
        match self.accept(index, stamp, at, value) {
            Ok(()) => self.added += u64::from(is_new),
            Err(reason) => *self.refused.entry(reason).or_default() += 1,
        }
    }

    /// What the sample's text names. `None`: a new series past `sample_limit`, which is counted and not remembered.
    fn find(&mut self, sample: &Sample<'_>, over: bool) -> Result<Option<Found>, Failure> {
        let rounds = &mut *self.rounds;
        let round = rounds.round;
        if let Some(text) = rounds.texts.get_mut(sample.series.text()) {
            text.seen = round;
            return Ok(Some(text.series.map_or(Found::Dropped, |index| Found::Series { index, is_new: false })));
        }
        let text = || sample.series.text().into();
        let Some(labels) = labels::stored(sample.series, &rounds.labels, &rounds.settings)? else {
            // To remember what is dropped saves time; past a bound memory is dearer.
            if rounds.texts.len() < rounds.settings.samples_max.saturating_mul(2) {
                rounds.texts.insert(text(), Text { series: None, seen: round });
            }
            return Ok(Some(Found::Dropped));
        };
        if over {
            return Ok(None);
        }
        let index = rounds.index(labels);
        rounds.texts.insert(text(), Text { series: Some(index), seen: round });
        Ok(Some(Found::Series { index, is_new: true }))
    }

    /// Takes a value for storing, or says why not.
    fn accept(&mut self, index: u32, stamp: Option<UnixMillis>, at: i64, value: f64) -> Result<(), LossReason> {
        let distance = at.saturating_sub(self.at.0);
        if !(-BEHIND_MS_MAX..=AHEAD_MS_MAX).contains(&distance) {
            return Err(LossReason::OutOfBounds);
        }
        let round = self.rounds.round;
        let Some(Some(series)) = self.rounds.series.get_mut(index as usize) else { return Ok(()) };
        if series.seen == round {
            let earlier = self.values[series.slot as usize];
            if earlier.at >= at {
                let is_same = earlier.at == at && earlier.value.to_bits() == value.to_bits();
                return if is_same { Ok(()) } else { Err(LossReason::OutOfOrder) };
            }
        }
        let mut time = Time::Scrape;
        if stamp.is_some() {
            time = match self.rounds.stamped.get(&index) {
                Some((newest, bits)) if *newest == at && *bits == value.to_bits() => Time::Repeated,
                Some((newest, _)) if *newest >= at => return Err(LossReason::OutOfOrder),
                _ => Time::Target,
            };
            let is_known = time == Time::Repeated || self.moments.contains(&at);
            if !is_known && self.moments.len() >= MOMENTS_MAX {
                return Err(LossReason::Limit);
            }
            if !is_known {
                self.moments.insert(at);
            }
        }
        (series.seen, series.slot) = (round, slot(&self.values));
        self.values.push(Value { series: index, time, at, value });
        Ok(())
    }

    /// Ends the scrape, which took that long. `result` is what its reader says.
    pub fn finish(mut self, took: Duration, result: Result<(), Failure>) -> Outcome {
        if let Err(failure) = result {
            self.failure.get_or_insert(failure);
        }
        let limit = self.rounds.settings.samples_max;
        if self.failure.is_none() && self.left > limit as u64 {
            let text = format!("sample_limit: {} samples after relabelling, at most {limit} are taken", self.left);
            self.failure = Some(Failure::Limit(text));
        } else if self.failure.is_none() && self.left > self.room as u64 {
            let text =
                format!("series_limit: {} samples are more than the {} that other targets leave", self.left, self.room);
            self.failure = Some(Failure::Limit(text));
        }
        let (rounds, at) = (self.rounds, self.at);
        let fetched = !matches!(self.failure, Some(Failure::Fetch(_) | Failure::Oversize(_)));
        let counts = if fetched { [self.scraped, self.left, self.added] } else { [0; 3] };
        let up = f64::from(u8::from(self.failure.is_none()));
        let mut scrapes: BTreeMap<i64, Vec<(Labels, f64)>> = BTreeMap::from([(at.0, Vec::new())]);
        let round = rounds.round;
        if self.failure.is_none() {
            let track = rounds.settings.track_timestamps_staleness;
            for Value { series: index, time, at, value } in &self.values {
                let Some(Some(series)) = rounds.series.get_mut(*index as usize) else { continue };
                if *time == Time::Scrape || track {
                    series.present = round;
                }
                if *time == Time::Target {
                    rounds.stamped.insert(*index, (*at, value.to_bits()));
                }
                if *time != Time::Repeated {
                    scrapes.entry(*at).or_default().push((series.labels.clone(), *value));
                }
            }
        }
        let mut own = Scrape { at, values: scrapes.remove(&at.0).unwrap_or_default() };
        rounds.end_absent(&mut own);
        rounds.good = if self.failure.is_none() { round } else { 0 };
        if self.failure.is_none() {
            rounds.forget(|text, _| text.seen == round);
            rounds.metadata.forget_absent();
        } else {
            // What only a failed scrape knew is not worth memory; what was known before may come back.
            rounds.forget(|_, series| series.is_none_or(|series| series.born != round));
        }
        let [scraped, left, added] = counts.map(|count| count as f64);
        own.values.extend(rounds.reports([up, took.as_secs_f64(), scraped, left, added]));
        rounds.reported = true;
        let others = scrapes.into_iter().map(|(at, values)| Scrape { at: UnixMillis(at), values });
        let mut scrapes: Vec<Scrape> = others.filter(|scrape| !scrape.values.is_empty()).collect();
        scrapes.push(own);
        let series = rounds.series();
        Outcome { scrapes, refused: self.refused, failure: self.failure, scraped: self.scraped, series }
    }
}

fn slot(values: &[Value]) -> u32 {
    u32::try_from(values.len()).unwrap_or(u32::MAX)
}

impl Rounds {
    /// The series with these labels, a new one where there is none.
    fn index(&mut self, labels: Labels) -> u32 {
        if let Some(index) = self.by_labels.get(&labels) {
            if let Some(Some(series)) = self.series.get_mut(*index as usize) {
                series.texts += 1;
            }
            return *index;
        }
        let series = Series { labels: labels.clone(), born: self.round, seen: 0, slot: 0, present: 0, texts: 1 };
        let index = match self.free.pop() {
            Some(index) => {
                self.series[index as usize] = Some(series);
                index
            }
            None => {
                self.series.push(Some(series));
                u32::try_from(self.series.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.by_labels.insert(labels, index);
        index
    }
}
