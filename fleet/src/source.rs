//! The fleet's data as queries and rules see it: every series has the label `node` and the labels that the admins signed
//! for its node; a label that the series has itself wins over those. The fleet's own series are as they are.

use crate::node_labels::NodeLabels;
use crate::rules::RulesView;
use crate::store::{ReadError, SAMPLES_MAX, Select, Store};
use skerry_model::{Labels, MetricMeta, Sample, UnixMillis, is_stale};
use skerry_promapi::{Catalog, Health, RuleGroup, Runtime, Target, Targets};
use skerry_promql::{Matcher, Selected, Source, SourceError, TooMuch, matches_all};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// How far back a target was scraped that is still one.
const LOOKBACK_MS: i64 = 300_000;

/// The fleet's data as the evaluator sees it. Its calls block, on a thread that may.
pub struct FleetSource {
    /// What nodes sent.
    pub store: Store,
    /// Where reads of the store run.
    pub runtime: Handle,
    /// What was signed for each node.
    pub nodes: Arc<NodeLabels>,
    /// The running program.
    pub about: Arc<Runtime>,
    /// Rules and their alerts.
    pub rules: RulesView,
    /// Now.
    pub now: UnixMillis,
}

impl FleetSource {
    /// Newest samples of a metric whose series have not ended, by their labels without its name.
    fn newest(&self, metric: &str) -> Result<BTreeMap<Labels, Vec<Sample>>, SourceError> {
        let from = UnixMillis(self.now.0.saturating_sub(LOOKBACK_MS));
        let found = self.select(&[Matcher::equal("__name__", metric)], from, self.now, SAMPLES_MAX)?;
        let alive = found.into_iter().filter(|series| series.samples.last().is_some_and(|last| !is_stale(last.value)));
        Ok(alive.filter_map(|series| Some((series.labels.with("__name__", "").ok()?, series.samples))).collect())
    }

    /// The matchers that the store can judge, and those that need the nodes' labels.
    fn divided(&self, matchers: &[Matcher]) -> (Vec<Matcher>, Vec<Matcher>) {
        let signed = self.nodes.names();
        matchers.iter().cloned().partition(|matcher| !signed.contains(matcher.label()))
    }
}

fn failed(error: ReadError) -> SourceError {
    match error {
        ReadError::TooLarge { .. } => SourceError(Box::new(TooMuch(error.to_string()))),
        other => SourceError(Box::new(other)),
    }
}

impl Source for FleetSource {
    fn select(
        &self,
        matchers: &[Matcher],
        from: UnixMillis,
        to: UnixMillis,
        samples_max: u64,
    ) -> Result<Vec<Selected>, SourceError> {
        let (matchers, later) = self.divided(matchers);
        let found =
            self.runtime.block_on(self.store.select(Select { matchers, from, to, samples_max })).map_err(failed)?;
        if found.damaged_blocks > 0 {
            tracing::warn!(blocks = found.damaged_blocks, "a query left out damaged blocks");
        }
        let mut selected: Vec<Selected> = found
            .series
            .into_iter()
            .map(|series| Selected {
                labels: self.nodes.applied(&series.node, &series.labels),
                samples: series.samples,
            })
            .filter(|series| matches_all(&later, &series.labels))
            .collect();
        selected.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(selected)
    }
}

impl Catalog for FleetSource {
    fn series(
        &self,
        matchers: &[Matcher],
        _: UnixMillis,
        _: UnixMillis,
        series_max: usize,
    ) -> Result<Vec<Labels>, SourceError> {
        let (matchers, later) = self.divided(matchers);
        let found = self.runtime.block_on(self.store.label_sets(matchers, series_max)).map_err(failed)?;
        let labelled = found.into_iter().map(|(node, labels)| self.nodes.applied(&node, &labels));
        Ok(labelled.filter(|labels| matches_all(&later, labels)).collect())
    }

    /// Nodes do not tell the types of their metrics yet.
    fn metadata(&self) -> Result<Vec<MetricMeta>, SourceError> {
        Ok(Vec::new())
    }

    /// What the nodes scrape, as far as their series `up` tell: the centre scrapes nothing itself. Addresses and errors
    /// are known to the nodes alone.
    fn targets(&self) -> Result<Targets, SourceError> {
        let took = self.newest("scrape_duration_seconds")?;
        let target = |(labels, samples): (Labels, Vec<Sample>)| {
            let (before, last) = (samples.iter().rev().nth(1), samples.last());
            let seconds = took.get(&labels).and_then(|took| took.last()).map_or(0.0, |sample| sample.value);
            let interval = last.zip(before).map_or(0, |(last, before)| last.at.0.abs_diff(before.at.0));
            Target {
                pool: labels.value("job").to_owned(),
                discovered: Labels::default(),
                url: String::new(),
                health: if last.is_some_and(|last| last.value > 0.0) { Health::Up } else { Health::Down },
                last_error: String::new(),
                last_scrape: last.map(|last| last.at),
                last_took: Duration::try_from_secs_f64(seconds).unwrap_or_default(),
                interval: Duration::from_millis(interval),
                timeout: Duration::ZERO,
                labels,
            }
        };
        Ok(Targets { active: self.newest("up")?.into_iter().map(target).collect(), ..Targets::default() })
    }

    fn runtime(&self) -> Runtime {
        (*self.about).clone()
    }

    fn rules(&self) -> Vec<RuleGroup> {
        self.rules.groups()
    }
}
