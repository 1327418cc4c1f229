//! What the node keeps, as the evaluator of queries sees it.

use crate::store::{ReadError, SeriesQuery, Store};
use crate::vitals::Vitals;
use skerry_model::{Labels, MetricMeta, Sample, TimeRange, UnixMillis};
use skerry_promapi::{Catalog, RuleGroup, Runtime, Targets};
use skerry_promql::{Matcher, Selected, Source, SourceError, TooMuch};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;

/// What is told of the config that runs.
#[derive(Debug)]
pub struct About {
    /// The config without secrets.
    pub config: String,
    /// How long and how much is kept.
    pub retention: String,
    /// When this run began.
    pub started: UnixMillis,
}

/// What the node keeps, as the evaluator sees it. Its calls block, on a thread that may.
pub(super) struct Kept {
    pub(super) store: Store,
    pub(super) runtime: Handle,
    pub(super) vitals: Vitals,
    pub(super) about: Arc<About>,
}

fn failed(error: ReadError) -> SourceError {
    match error {
        ReadError::TooMany { .. } => SourceError(Box::new(TooMuch(error.to_string()))),
        other => SourceError(Box::new(other)),
    }
}

impl Source for Kept {
    fn select(
        &self,
        matchers: &[Matcher],
        from: UnixMillis,
        to: UnixMillis,
        samples_max: u64,
    ) -> Result<Vec<Selected>, SourceError> {
        let samples_max = usize::try_from(samples_max).unwrap_or(usize::MAX);
        let query = SeriesQuery { matchers: matchers.to_vec(), range: TimeRange { from, to }, samples_max };
        let found = self.store.series_on_thread(query).map_err(failed)?;
        Ok(found.into_iter().map(|(labels, samples)| Selected { labels, samples: in_order(samples) }).collect())
    }
}

/// What rules and policies are answered from where memory does not reach, one at a time.
///
/// Not in turn with the queries: who evaluates rules holds them meanwhile, and a query that holds the turn may ask for
/// those rules. Each would wait for the other for ever, and the evaluation, the alerts and the API with them.
pub struct Behind {
    pub(super) kept: Kept,
    pub(super) turn: Arc<Mutex<()>>,
}

impl Source for Behind {
    fn select(
        &self,
        matchers: &[Matcher],
        from: UnixMillis,
        to: UnixMillis,
        samples_max: u64,
    ) -> Result<Vec<Selected>, SourceError> {
        // A panic while another read changed nothing here.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.kept.select(matchers, from, to, samples_max)
    }
}

impl Catalog for Kept {
    fn series(
        &self,
        matchers: &[Matcher],
        _: UnixMillis,
        _: UnixMillis,
        series_max: usize,
    ) -> Result<Vec<Labels>, SourceError> {
        let found = self.store.label_sets_on_thread(matchers).map_err(failed)?;
        if found.len() > series_max {
            let text = format!("more than {series_max} series; ask for fewer");
            return Err(SourceError(Box::new(TooMuch(text))));
        }
        Ok(found)
    }

    fn metadata(&self) -> Result<Vec<MetricMeta>, SourceError> {
        let observations = self.vitals.latest.borrow().clone();
        let mut metas: Vec<MetricMeta> = Vec::new();
        for observation in observations.iter() {
            // A metric's observations are adjacent.
            if metas.last().is_none_or(|last| last.name != observation.meta.name) {
                metas.push((*observation.meta).clone());
            }
        }
        metas.extend(self.vitals.targets.metadata());
        Ok(metas)
    }

    fn targets(&self) -> Result<Targets, SourceError> {
        Ok(self.vitals.targets.targets())
    }

    fn rules(&self) -> Vec<RuleGroup> {
        self.vitals.rules.groups()
    }

    fn runtime(&self) -> Runtime {
        let stats = self.vitals.store.borrow();
        Runtime {
            started: self.about.started,
            config: self.about.config.clone(),
            flags: BTreeMap::new(),
            retention: self.about.retention.clone(),
            corrupt_blocks: stats.corrupt_blocks,
            blocks: stats.metric_blocks,
            kept: stats.metric_range.map(|range| (range.from, range.to)),
        }
    }
}

/// Samples by rising time, each moment once. They were stored in the order they were taken, in which a clock that was
/// set back stands twice at some moments: the later sample counts.
fn in_order(mut samples: Vec<Sample>) -> Vec<Sample> {
    let is_rising = samples.windows(2).all(|pair| pair[0].at < pair[1].at);
    if !is_rising {
        samples.sort_by_key(|sample| sample.at);
        samples.reverse();
        samples.dedup_by_key(|sample| sample.at);
        samples.reverse();
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_set_back_leaves_each_moment_once() {
        let sample = |at: i64, value: f64| Sample { at: UnixMillis(at), value };
        let taken = vec![sample(1, 1.0), sample(3, 2.0), sample(2, 3.0), sample(3, 4.0)];
        assert_eq!(in_order(taken), [sample(1, 1.0), sample(2, 3.0), sample(3, 4.0)]);
    }
}
