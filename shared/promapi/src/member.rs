//! The labels that tell series of different nodes apart.

use crate::{Catalog, RuleGroup, Runtime, Targets};
use skerry_model::{Labels, MetricMeta, NodeId, UnixMillis};
use skerry_promql::{Matcher, Selected, Source, SourceError, matches_all};

/// A label that a series had as `node` itself.
const MOVED: &str = "exported_node";

/// Labels as the fleet shows them: with the node's name as `node`. A label of that name that the node set itself
/// becomes `exported_node`, as Prometheus does when it scrapes.
#[must_use]
pub fn with_node(labels: &Labels, node: &NodeId) -> Labels {
    let own = labels.value("node");
    let moved = if own.is_empty() { Ok(labels.clone()) } else { labels.with(MOVED, own) };
    // A label set that is full to its bounds stays as it is; the node stands beside it in every answer.
    moved.and_then(|labels| labels.with("node", node.as_str())).unwrap_or_else(|_| labels.clone())
}

/// Labels with those that the admins signed for the node; a label that the series has itself wins.
#[must_use]
pub fn with_signed<'a>(labels: &Labels, signed: impl IntoIterator<Item = (&'a str, &'a str)>) -> Labels {
    let added: Vec<_> = signed.into_iter().filter(|(name, _)| labels.value(name).is_empty()).collect();
    if added.is_empty() {
        return labels.clone();
    }
    // A label set that is full to its bounds stays as it is.
    Labels::new(labels.iter().chain(added)).unwrap_or_else(|_| labels.clone())
}

/// A node's own data with the labels that the centre knows the node by, so that an expression means the same at both.
pub struct Member<S> {
    /// The data.
    pub source: S,
    /// The node.
    pub node: NodeId,
    /// What the admins signed for it.
    pub signed: Labels,
}

impl<S> Member<S> {
    fn labelled(&self, labels: &Labels) -> Labels {
        with_signed(&with_node(labels, &self.node), self.signed.iter())
    }

    /// The matchers that the data itself can judge, and those that need the added labels.
    fn divided(&self, matchers: &[Matcher]) -> (Vec<Matcher>, Vec<Matcher>) {
        let is_added = |label: &str| label == "node" || label == MOVED || !self.signed.value(label).is_empty();
        matchers.iter().cloned().partition(|matcher| !is_added(matcher.label()))
    }
}

impl<S: Source> Source for Member<S> {
    fn select(
        &self,
        matchers: &[Matcher],
        from: UnixMillis,
        to: UnixMillis,
        samples_max: u64,
    ) -> Result<Vec<Selected>, SourceError> {
        let (judged, later) = self.divided(matchers);
        let found = self.source.select(&judged, from, to, samples_max)?;
        let labelled = |series: Selected| Selected { labels: self.labelled(&series.labels), samples: series.samples };
        let mut found: Vec<Selected> =
            found.into_iter().map(labelled).filter(|series| matches_all(&later, &series.labels)).collect();
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(found)
    }
}

impl<S: Catalog> Catalog for Member<S> {
    fn series(
        &self,
        matchers: &[Matcher],
        from: UnixMillis,
        to: UnixMillis,
        series_max: usize,
    ) -> Result<Vec<Labels>, SourceError> {
        let (judged, later) = self.divided(matchers);
        let found = self.source.series(&judged, from, to, series_max)?;
        let labelled = found.iter().map(|labels| self.labelled(labels));
        Ok(labelled.filter(|labels| matches_all(&later, labels)).collect())
    }

    fn metadata(&self) -> Result<Vec<MetricMeta>, SourceError> {
        self.source.metadata()
    }

    fn targets(&self) -> Result<Targets, SourceError> {
        self.source.targets()
    }

    fn runtime(&self) -> Runtime {
        self.source.runtime()
    }

    fn rules(&self) -> Vec<RuleGroup> {
        self.source.rules()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_series_has_itself_is_not_lost() {
        let labels = |pairs: &[(&str, &str)]| Labels::new(pairs.iter().copied()).unwrap();
        let node: NodeId = "pi".parse().unwrap();
        let own = labels(&[("__name__", "m"), ("node", "other"), ("site", "mine")]);
        let shown = with_signed(&with_node(&own, &node), [("site", "lab"), ("rack", "1")]);
        let expected = [("__name__", "m"), ("node", "pi"), ("exported_node", "other"), ("site", "mine"), ("rack", "1")];
        assert_eq!(shown, labels(&expected));
    }
}
