//! What metrics of policies read: PromQL over what the node keeps, and what replicas use.

use super::series::{self, Containers};
use crate::actuate::Usage;
use skerry_alerting::window::Need;
use skerry_model::UnixMillis;
use skerry_promql::{Limits, Matcher, Query, Series, Source, Span, Value, number_text};
use skerry_scaling::hpa::{Reading, Readings};
use skerry_scaling::policy::{Metric, Resource, ScalingPolicy, Source as Measured};
use skerry_scaling::target::{Observed, PodMetric, PodMetrics};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Samples looked at and values made by one metric: as many as by one query.
const LIMITS: Limits =
    Limits { lookback: Duration::from_secs(300), values_max: 250_000, subquery_step: Duration::from_secs(60) };

/// Most names of containers in a text.
const NAMES_SHOWN: usize = 8;

/// A policy with its expressions parsed.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The policy.
    pub(super) policy: ScalingPolicy,
    /// One for each metric.
    queries: Vec<Option<Query>>,
}

impl Prepared {
    pub(super) fn new(policy: ScalingPolicy) -> Arc<Self> {
        // Policies hold expressions that were parsed before.
        let query = |metric: &Metric| Query::parse(&expression(&metric.source)?.promql).ok();
        Arc::new(Self { queries: policy.metrics.iter().map(query).collect(), policy })
    }

    /// Whether a metric is of what replicas use.
    pub(super) fn wants_usage(&self) -> bool {
        self.queries.iter().any(Option::is_none)
    }
}

fn expression(source: &Measured) -> Option<&skerry_scaling::policy::Query> {
    match source {
        Measured::Pods(query) | Measured::External(query) | Measured::Object { query, .. } => Some(query),
        Measured::Resource(_) | Measured::ContainerResource { .. } => None,
    }
}

/// What policies read, for whoever keeps samples in memory. `interval`: time between two collections.
pub(super) fn needs(policies: &[ScalingPolicy], interval: Duration) -> Vec<Need> {
    let ms = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    let mut needs = Vec::new();
    let mut uses = false;
    for metric in policies.iter().flat_map(|policy| &policy.metrics) {
        match expression(&metric.source) {
            None => uses = true,
            Some(query) => {
                let reads = Query::parse(&query.promql).map(|query| query.reads(LIMITS)).unwrap_or_default();
                let need = |read: skerry_promql::Read| Some(Need { matchers: read.matchers, back_ms: ms(read.back?) });
                needs.extend(reads.into_iter().filter_map(need));
            }
        }
    }
    if uses {
        let back_ms = ms(series::reach(interval));
        let need = |name| Need { matchers: vec![Matcher::equal("__name__", name)], back_ms };
        needs.extend([series::CPU, series::MEMORY].map(need));
    }
    needs
}

/// A policy whose metrics are read, with its target as it was seen just now.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) prepared: Arc<Prepared>,
    pub(super) observed: Observed,
    /// What its runtime tells of use; `Ok(None)` where series have to.
    pub(super) usage: Result<Option<Usage>, String>,
}

/// The readings of each. Blocks, where the source does.
pub(super) fn gather(source: &dyn Source, items: &[Item], reach: Duration, now: UnixMillis) -> Vec<Readings> {
    let by_series = |item: &Item| item.prepared.wants_usage() && matches!(item.usage, Ok(None));
    let containers = items.iter().any(by_series).then(|| Containers::read(source, reach, now));
    let of = |item: &Item| {
        let usage = match (&item.usage, &containers) {
            (Err(error), _) => Err(error.clone()),
            (Ok(Some(usage)), _) => Ok(usage.clone()),
            (Ok(None), Some(Ok(containers))) => Ok(containers.usage(&item.observed.pods)),
            (Ok(None), Some(Err(error))) => Err(error.clone()),
            (Ok(None), None) => Ok(Usage::default()),
        };
        let policy = &item.prepared.policy;
        let hint = if policy.target.kind.is_kubernetes() && matches!(item.usage, Ok(None)) {
            "; the cluster has no metrics.k8s.io (metrics-server), and this node's own series are of none of these pods"
        } else {
            ""
        };
        let metrics = policy.metrics.iter().zip(&item.prepared.queries);
        let read = |(metric, query): (&Metric, &Option<Query>)| match query {
            Some(query) => evaluate(query, &metric.source, source, &item.observed, now),
            None => {
                let usage = usage.as_ref().map_err(Clone::clone)?;
                used(&metric.source, usage, &item.observed).map_err(|error| format!("{error}{hint}"))
            }
        };
        metrics.map(read).collect()
    };
    items.iter().map(of).collect()
}

fn used(source: &Measured, usage: &Usage, observed: &Observed) -> Result<Reading, String> {
    let (resource, only) = match source {
        Measured::ContainerResource { resource, container } => (*resource, Some(container)),
        Measured::Resource(resource) => (*resource, None),
        // Queries are evaluated.
        _ => return Err("is not read by what replicas use".into()),
    };
    let all = match resource {
        Resource::Cpu => &usage.cpu,
        Resource::Memory => &usage.memory,
    };
    let is_meant = |((_, container), _): &(&(String, String), &PodMetric)| only.is_none_or(|only| only == container);
    let per: BTreeMap<_, _> = all.iter().filter(is_meant).map(|(key, metric)| (key.clone(), *metric)).collect();
    if per.is_empty() {
        let names: BTreeSet<&str> =
            observed.pods.iter().flat_map(|pod| &pod.containers).map(|one| &*one.name).collect();
        return Err(match only.filter(|only| !names.is_empty() && !names.contains(only.as_str())) {
            Some(only) => {
                let names = names.into_iter().take(NAMES_SHOWN).collect::<Vec<_>>().join(", ");
                format!("no replica has a container {only}: they have {names}")
            }
            None => format!("nothing was measured of the replicas' {}", resource.as_str()),
        });
    }
    Ok(Reading::Pods { per })
}

fn evaluate(
    query: &Query,
    measured: &Measured,
    source: &dyn Source,
    observed: &Observed,
    now: UnixMillis,
) -> Result<Reading, String> {
    let answer = query.evaluate(source, Span::instant(now), LIMITS).map_err(|error| error.to_string())?;
    let series = match answer.value {
        Value::Scalar(points) => {
            let value = points.last().map_or(f64::NAN, |point| point.value);
            return match measured {
                Measured::Pods(_) => Err("gives one number and not a series for each replica".into()),
                _ => Ok(Reading::Value { milli: milli(value)? }),
            };
        }
        Value::Vector(series) => series,
        Value::String(_) | Value::Matrix(_) => return Err("gives no numbers: an instant vector is expected".into()),
    };
    if series.is_empty() {
        return Err("gives nothing now".into());
    }
    let last = |one: &Series| one.points.last().map_or(f64::NAN, |point| point.value);
    match measured {
        Measured::Pods(_) => {
            let mut metrics = PodMetrics::new();
            for one in &series {
                let Some(pod) = series::pod_of(&one.labels, &observed.pods) else { continue };
                let milli = milli(last(one))?;
                let sum =
                    metrics.entry(pod.name.clone()).or_insert(PodMetric { milli: 0, at: now, window: LIMITS.lookback });
                sum.milli = sum.milli.saturating_add(milli);
            }
            if metrics.is_empty() {
                let number = series.len();
                return Err(format!("gives {number} series, none of which bears a replica's labels or its name"));
            }
            Ok(Reading::PerPod(metrics))
        }
        Measured::Object { .. } if series.len() > 1 => {
            Err(format!("gives {} series: one is expected; narrow or sum them", series.len()))
        }
        _ => Ok(Reading::Value { milli: milli(series.iter().map(last).sum())? }),
    }
}

fn milli(value: f64) -> Result<i64, String> {
    if !value.is_finite() {
        return Err(format!("gives {}", number_text(value)));
    }
    // Casts from float saturate.
    Ok((value * 1000.0).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_model::{Labels, LabelsBuilder, Sample};
    use skerry_promql::{Selected, SourceError};
    use skerry_scaling::policy::{Behavior, Query as Written, Target};
    use skerry_scaling::quantity::Quantity;
    use skerry_scaling::target::{Pod, PodContainer, TargetKind, TargetRef};
    use skerry_scaling::trigger::Triggers;

    struct Fixed(Vec<(Labels, f64)>);

    impl Source for Fixed {
        fn select(
            &self,
            matchers: &[Matcher],
            _: UnixMillis,
            to: UnixMillis,
            _: u64,
        ) -> Result<Vec<Selected>, SourceError> {
            let meets = |(labels, _): &&(Labels, f64)| skerry_promql::matches_all(matchers, labels);
            let one = |(labels, value): &(Labels, f64)| Selected {
                labels: labels.clone(),
                samples: vec![Sample { at: to, value: *value }],
            };
            Ok(self.0.iter().filter(meets).map(one).collect())
        }
    }

    fn policy(sources: Vec<Measured>) -> ScalingPolicy {
        let target = Target::AverageValue(Quantity::milli(1000));
        let metric = |source| Metric { source, target, activation_milli: None };
        ScalingPolicy {
            name: "web".into(),
            target: TargetRef { kind: TargetKind::Exec, name: "/x".into(), scope: String::new() },
            min_replicas: 1,
            max_replicas: 5,
            metrics: sources.into_iter().map(metric).collect(),
            behavior: Behavior::default(),
            triggers: Triggers::default(),
            cooldown: Duration::ZERO,
            fallback: None,
            priority: 0,
            vertical: None,
            is_paused: false,
        }
    }

    fn query(promql: &str) -> Written {
        Written { name: promql.into(), promql: promql.into() }
    }

    fn source() -> Fixed {
        let series = |name: &str, pod: &str, value| (LabelsBuilder::metric(name).label("pod", pod).build(), value);
        Fixed(vec![series("q", "a", 1.5), series("q", "b", 2.0), series("bad", "a", f64::NAN)])
    }

    fn read(sources: Vec<Measured>) -> Readings {
        let container = |name: &str| PodContainer { name: name.into(), ..PodContainer::default() };
        let containers = vec![container("web"), container("side")];
        let pod = |name: &str| Pod { name: name.into(), containers: containers.clone(), ..Pod::default() };
        let observed = Observed { spec_replicas: 2, status_replicas: 2, pods: vec![pod("a"), pod("b"), pod("c")] };
        let item = Item { prepared: Prepared::new(policy(sources)), observed, usage: Ok(None) };
        gather(&source(), &[item], Duration::from_secs(90), UnixMillis(1_000_000)).remove(0)
    }

    #[test]
    fn expressions_are_evaluated() {
        let object = |promql: &str| Measured::Object { kind: "Site".into(), name: "x".into(), query: query(promql) };
        let of_container =
            |name: &str| Measured::ContainerResource { resource: Resource::Memory, container: name.into() };
        let value = |milli| Ok(Reading::Value { milli });
        for (source, expected) in [
            (Measured::External(query("q")), value(3500)),
            (Measured::External(query("sum(q) * 2")), value(7000)),
            (Measured::External(query("vector(0.1) + 0.2")), value(300)),
            (Measured::External(query("4")), value(4000)),
            (object("sum(q)"), value(3500)),
        ] {
            assert_eq!(read(vec![source.clone()]), [expected], "{source:?}");
        }
        for (source, told) in [
            (Measured::External(query("nothing")), "nothing now"),
            (Measured::External(query("bad")), "gives NaN"),
            (Measured::External(query("1 / 0")), "gives +Inf"),
            (Measured::External(query("'text'")), "no numbers"),
            (object("q"), "2 series"),
            (Measured::Pods(query("4")), "one number"),
            (Measured::Pods(query("sum(q)")), "none of which"),
            (Measured::Resource(Resource::Cpu), "nothing was measured of the replicas' cpu"),
            (of_container("side"), "nothing was measured of the replicas' memory"),
            (of_container("wbe"), "no replica has a container wbe: they have side, web"),
        ] {
            let readings = read(vec![source.clone()]);
            let error = readings[0].as_ref().unwrap_err();
            assert!(error.contains(told), "{source:?}: {error}");
        }
    }

    #[test]
    fn series_are_given_to_replicas() {
        let readings = read(vec![Measured::Pods(query("q * 2")), Measured::External(query("up"))]);
        let Ok(Reading::PerPod(per)) = &readings[0] else { panic!("{readings:?}") };
        let per: Vec<_> = per.iter().map(|(name, metric)| (name.as_str(), metric.milli)).collect();
        assert_eq!(per, [("a", 3000), ("b", 4000)]);
        assert!(readings[1].is_err());
    }

    #[test]
    fn needs_are_those_of_the_metrics() {
        let policies = [policy(vec![
            Measured::Resource(Resource::Cpu),
            Measured::External(query("rate(q[2m])")),
            Measured::External(query("q")),
        ])];
        let needs = needs(&policies, Duration::from_secs(15));
        let backs: Vec<i64> = needs.iter().map(|need| need.back_ms / 1000).collect();
        assert_eq!(backs, [120, 300, 90, 90]);
    }
}
