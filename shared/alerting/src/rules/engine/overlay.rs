//! What the earlier rules of a group wrote at this moment, laid over the source for the later ones.

use super::alerts::Rows;
use skerry_model::{Labels, Sample, UnixMillis, is_stale};
use skerry_promql::{Matcher, Selected, Source, SourceError, TooMuch};
use std::collections::{HashMap, HashSet};
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

/// Samples of a round, by the metrics they belong to.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) samples: Rows,
    /// The metric of each stretch of samples.
    stretches: Vec<(Arc<str>, Range<usize>)>,
    /// Metrics that several rules write: of these no series may come twice.
    shared: HashSet<Arc<str>>,
    /// Where the series of shared metrics stand.
    places: HashMap<Labels, usize>,
}

impl Written {
    /// Nothing yet; of the metrics that several rules write, each series is written once.
    pub(super) fn new(shared: HashSet<Arc<str>>) -> Self {
        Self { shared, ..Self::default() }
    }

    /// Adds samples of one metric. Of two samples of one series the first stays, unless it only says that the series
    /// ended. Whether a value was left out for another one.
    pub(super) fn add(&mut self, metric: &Arc<str>, samples: impl IntoIterator<Item = (Labels, Sample)>) -> bool {
        let from = self.samples.len();
        let mut is_left_out = false;
        if self.shared.contains(metric) {
            for (labels, sample) in samples {
                match self.places.get(&labels) {
                    Some(place) if is_stale(self.samples[*place].1.value) => self.samples[*place].1 = sample,
                    Some(place) => {
                        let differs = self.samples[*place].1.value.to_bits() != sample.value.to_bits();
                        is_left_out |= differs && !is_stale(sample.value);
                    }
                    None => {
                        self.places.insert(labels.clone(), self.samples.len());
                        self.samples.push((labels, sample));
                    }
                }
            }
        } else {
            self.samples.extend(samples);
        }
        if self.samples.len() > from {
            self.stretches.push((Arc::clone(metric), from..self.samples.len()));
        }
        is_left_out
    }

    /// Those of these series that were not written.
    pub(super) fn without(&self, mut series: Vec<Labels>) -> Vec<Labels> {
        if !series.is_empty() {
            let written: HashSet<&Labels> = self.samples.iter().map(|(labels, _)| labels).collect();
            let mut seen = HashSet::new();
            series.retain(|labels| !written.contains(labels) && seen.insert(labels.clone()));
        }
        series
    }

    fn matching<'a>(&'a self, matchers: &'a [Matcher]) -> impl Iterator<Item = &'a (Labels, Sample)> {
        let (names, others): (Vec<&Matcher>, Vec<&Matcher>) =
            matchers.iter().partition(|matcher| matcher.label() == "__name__");
        let stretches =
            self.stretches.iter().filter(move |(metric, _)| names.iter().all(|matcher| matcher.matches(metric)));
        let rows = stretches.flat_map(|(_, range)| &self.samples[range.clone()]);
        rows.filter(move |(labels, _)| others.iter().all(|matcher| matcher.matches(labels.value(matcher.label()))))
    }
}

/// A source with what was written on top.
pub(super) struct Overlay<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) written: &'a Written,
}

impl Overlay<'_> {
    fn lay_over(
        &self,
        mut found: Vec<Selected>,
        matchers: &[Matcher],
        span: RangeInclusive<UnixMillis>,
        samples_max: u64,
    ) -> Result<Vec<Selected>, SourceError> {
        let rows: Vec<&(Labels, Sample)> =
            self.written.matching(matchers).filter(|(_, sample)| span.contains(&sample.at)).collect();
        if rows.is_empty() {
            return Ok(found);
        }
        if rows.len() as u64 > samples_max {
            let text = format!("more than {samples_max} samples; narrow the selectors");
            return Err(SourceError(Box::new(TooMuch(text))));
        }
        let held = found.len();
        for (labels, sample) in rows {
            match found[..held].binary_search_by(|series| series.labels.cmp(labels)) {
                Ok(place) => put(&mut found[place].samples, *sample),
                Err(_) => found.push(Selected { labels: labels.clone(), samples: vec![*sample] }),
            }
        }
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(found)
    }
}

impl Source for Overlay<'_> {
    fn select(
        &self,
        matchers: &[Matcher],
        from: UnixMillis,
        to: UnixMillis,
        samples_max: u64,
    ) -> Result<Vec<Selected>, SourceError> {
        let found = self.source.select(matchers, from, to, samples_max)?;
        self.lay_over(found, matchers, from..=to, samples_max)
    }

    fn newest(
        &self,
        matchers: &[Matcher],
        from: UnixMillis,
        to: UnixMillis,
        samples_max: u64,
    ) -> Result<Vec<Selected>, SourceError> {
        let found = self.source.newest(matchers, from, to, samples_max)?;
        self.lay_over(found, matchers, from..=to, samples_max)
    }
}

/// Puts a sample in its place; what is written now counts before what was there at that moment.
fn put(samples: &mut Vec<Sample>, sample: Sample) {
    let place = samples.partition_point(|held| held.at < sample.at);
    match samples.get_mut(place) {
        Some(held) if held.at == sample.at => *held = sample,
        _ => samples.insert(place, sample),
    }
}
