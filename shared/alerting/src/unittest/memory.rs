//! Series of a test: what its input shows by now, and what rules have made of it.

use super::file::Test;
use skerry_model::{Labels, Sample, UnixMillis, is_stale};
use skerry_promql::notation::{Histogram, Slot};
use skerry_promql::{Matcher, Selected, Source, SourceError, TooMuch, matches_all};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why an expression has no answer.
const NO_HISTOGRAMS: &str = "is a native histogram, which PromQL here does not know; a selector alone shows it";

/// A value in memory.
#[derive(Debug, Clone)]
pub(super) enum Stored {
    Number(f64),
    Histogram(Arc<Histogram>),
}

#[derive(Debug, Default)]
struct Series {
    /// Input that is not shown yet, latest first.
    ahead: Vec<(i64, Stored)>,
    samples: Vec<Sample>,
    histograms: Vec<(i64, Arc<Histogram>)>,
}

impl Series {
    /// Adds a value, unless there is one at its time or behind it: as a database takes them. The same value at the same
    /// time again is nothing to speak of.
    fn add(&mut self, at: i64, value: Stored) -> Result<(), &'static str> {
        let newest = self.samples.last().map(|sample| sample.at.0).max(self.histograms.last().map(|(at, _)| *at));
        match newest {
            Some(newest) if at < newest => return Err("out of order sample"),
            Some(newest) if at == newest => {
                let held = self.samples.last().filter(|sample| sample.at.0 == at);
                let is_same = match (held, value) {
                    (Some(held), Stored::Number(value)) => held.value.to_bits() == value.to_bits(),
                    _ => false,
                };
                return if is_same { Ok(()) } else { Err("duplicate sample for timestamp") };
            }
            _ => {}
        }
        match value {
            Stored::Number(value) => self.samples.push(Sample { at: UnixMillis(at), value }),
            Stored::Histogram(histogram) => {
                // Behind a number, a stale marker among them, nothing is known of what was before.
                let before = self.histograms.last().filter(|(at, _)| Some(*at) == newest).map(|(_, before)| before);
                let hint = histogram.hint_after(before.map(AsRef::as_ref));
                let mut histogram = histogram;
                if histogram.hint != hint {
                    Arc::make_mut(&mut histogram).hint = hint;
                }
                self.histograms.push((at, histogram));
            }
        }
        Ok(())
    }

    /// The newest value in `(after, until]`.
    fn newest(&self, after: i64, until: i64) -> Option<Stored> {
        let number = self.samples[..self.samples.partition_point(|sample| sample.at.0 <= until)].last();
        let number = number.filter(|sample| sample.at.0 > after);
        let histogram = self.histograms[..self.histograms.partition_point(|(at, _)| *at <= until)].last();
        let histogram = histogram.filter(|(at, _)| *at > after);
        match (number, histogram) {
            (number, Some((at, histogram))) if number.is_none_or(|number| number.at.0 < *at) => {
                Some(Stored::Histogram(Arc::clone(histogram)))
            }
            (Some(number), _) => (!is_stale(number.value)).then_some(Stored::Number(number.value)),
            (None, _) => None,
        }
    }
}

/// All series of a test.
#[derive(Debug, Default)]
pub(super) struct Memory {
    series: BTreeMap<Labels, Series>,
    /// Series that have input ahead.
    waiting: Vec<Labels>,
    has_histograms: bool,
}

impl Memory {
    /// The input of a test, none of it shown yet. Of two series with the same labels the later one counts.
    pub(super) fn new(test: &Test) -> Self {
        let mut memory = Self::default();
        for line in &test.input {
            let mut at = test.start.0;
            let mut ahead = Vec::with_capacity(line.slots.len());
            for slot in &line.slots {
                match slot {
                    Slot::Nothing => {}
                    Slot::Number(value) => ahead.push((at, Stored::Number(*value))),
                    Slot::Histogram(histogram) => {
                        memory.has_histograms = true;
                        ahead.push((at, Stored::Histogram(Arc::clone(histogram))));
                    }
                }
                at = at.saturating_add(test.step_ms);
            }
            ahead.reverse();
            memory.series.insert(line.labels.clone(), Series { ahead, ..Series::default() });
        }
        memory.waiting = memory.series.keys().cloned().collect();
        memory
    }

    /// Shows the input until a moment.
    pub(super) fn show(&mut self, until: UnixMillis) {
        let Self { series, waiting, .. } = self;
        waiting.retain(|labels| {
            let Some(series) = series.get_mut(labels) else { return false };
            while let Some((at, value)) = series.ahead.pop_if(|(at, _)| *at <= until.0) {
                // Times of input rise, and nobody writes ahead of it.
                let _ = series.add(at, value);
            }
            !series.ahead.is_empty()
        });
    }

    /// Takes what a rule gave.
    ///
    /// # Errors
    /// In Prometheus's words, where the series has another value at that time or one behind it. That a series ends may
    /// come too late without anybody's fault.
    pub(super) fn write(&mut self, labels: Labels, sample: Sample) -> Result<(), &'static str> {
        let written = self.series.entry(labels).or_default().add(sample.at.0, Stored::Number(sample.value));
        if is_stale(sample.value) { Ok(()) } else { written }
    }

    /// Whether a selector finds a native histogram.
    pub(super) fn has_histogram(&self, matchers: &[Matcher]) -> bool {
        self.has_histograms
            && self.series.iter().any(|(labels, series)| !series.histograms.is_empty() && matches_all(matchers, labels))
    }

    /// What a selector shows at a moment, with this lookback.
    pub(super) fn instant(&self, matchers: &[Matcher], at: UnixMillis, lookback_ms: i64) -> Vec<(Labels, Stored)> {
        let found = self.series.iter().filter(|(labels, _)| matches_all(matchers, labels));
        let newest = |series: &Series| series.newest(at.0.saturating_sub(lookback_ms), at.0);
        found.filter_map(|(labels, series)| Some((labels.clone(), newest(series)?))).collect()
    }
}

impl Source for Memory {
    fn select(
        &self,
        matchers: &[Matcher],
        from: UnixMillis,
        to: UnixMillis,
        samples_max: u64,
    ) -> Result<Vec<Selected>, SourceError> {
        let mut found = Vec::new();
        let mut count = 0;
        for (labels, series) in self.series.iter().filter(|(labels, _)| matches_all(matchers, labels)) {
            if series.histograms.iter().any(|(at, _)| (from.0..=to.0).contains(at)) {
                return Err(SourceError(Box::new(TooMuch(format!("{labels} {NO_HISTOGRAMS}")))));
            }
            let first = series.samples.partition_point(|sample| sample.at < from);
            let end = series.samples.partition_point(|sample| sample.at <= to);
            if first >= end {
                continue;
            }
            count += (end - first) as u64;
            if count > samples_max {
                let text = format!("the expression reads more than {samples_max} samples");
                return Err(SourceError(Box::new(TooMuch(text))));
            }
            found.push(Selected { labels: labels.clone(), samples: series.samples[first..end].to_vec() });
        }
        Ok(found)
    }
}
