//! How nodes stood last, from their series: those that kube-state-metrics has for autoscalers, deployments and vertical
//! recommendations, and those that capacity is told by.

use super::view::{Amounts, Condition, Of, Policy, Recommendation, Workload};
use crate::store::{ReadError, Store};
use skerry_model::{Labels, NodeId, Sample, UnixMillis, is_stale};
use skerry_scaling::capacity::{METRICS, NodeCapacity};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Nodes that are read at once: a reader of the store is held for a part of a second, and what was read of them is put
/// together before the next are read.
const NODES_AT_ONCE: usize = 1000;
/// Conditions of policies.
const CONDITION: &str = "kube_horizontalpodautoscaler_status_condition";
/// Replicas of a policy's target.
const CURRENT: &str = "kube_horizontalpodautoscaler_status_current_replicas";
/// What comes before the names of recommendations' series.
const RECOMMENDED: &str = "kube_verticalpodautoscaler_status_recommendation_containerrecommendations_";
/// Bounds of recommendations, as their series' names end.
const BOUNDS: [&str; 4] = ["target", "lowerbound", "upperbound", "uncappedtarget"];
/// Series of workloads: wanted, ready, updated.
const DEPLOYMENT: [&str; 3] = [
    "kube_deployment_spec_replicas",
    "kube_deployment_status_replicas_ready",
    "kube_deployment_status_replicas_updated",
];

/// Newest samples of a node.
#[derive(Debug, Clone, PartialEq, Default)]
struct Newest {
    /// When the newest of them was measured.
    at: UnixMillis,
    /// By series; those that have ended are left out.
    samples: Vec<(Arc<Labels>, f64)>,
}

/// A node and the labels that the admins signed for it.
pub type Member = (NodeId, Labels);

/// What the newest samples of these metrics say, node by node in the order of `nodes`; nodes that never sent one are left
/// out.
async fn each<T>(
    store: &Store,
    nodes: &[Member],
    metrics: &[&str],
    now: UnixMillis,
    mut say: impl FnMut(&Member, Newest, &mut Vec<T>),
) -> Result<Vec<T>, ReadError> {
    let metrics: Vec<String> = metrics.iter().map(|&metric| metric.to_owned()).collect();
    let mut said = Vec::new();
    for some in nodes.chunks(NODES_AT_ONCE) {
        let names = some.iter().map(|(node, _)| node.clone()).collect();
        let mut members = some.iter();
        for found in store.newest_named(names, metrics.clone(), now).await? {
            let member = members.find(|(node, _)| *node == found.node);
            if let (Some(member), Some(newest)) = (member, newest(found.samples)) {
                say(member, newest, &mut said);
            }
        }
    }
    Ok(said)
}

fn newest(samples: Vec<(Arc<Labels>, Sample)>) -> Option<Newest> {
    // What a node scrapes of others, such as a cluster's own kube-state-metrics, is not how the node itself scales.
    let own = || samples.iter().filter(|(labels, _)| labels.value("job").is_empty());
    let at = own().map(|(_, sample)| sample.at).max()?;
    let lasting = own().filter(|(_, sample)| !is_stale(sample.value));
    Some(Newest { at, samples: lasting.map(|(labels, sample)| (labels.clone(), sample.value)).collect() })
}

/// What each node has and lacks, and when it said so.
///
/// # Errors
/// [`ReadError`].
pub async fn capacities(
    store: &Store,
    nodes: &[Member],
    now: UnixMillis,
) -> Result<Vec<(NodeCapacity, UnixMillis)>, ReadError> {
    each(store, nodes, METRICS, now, |(node, labels), newest, said| {
        said.push((capacity(node, labels, &newest), newest.at));
    })
    .await
}

fn capacity(node: &NodeId, labels: &Labels, newest: &Newest) -> NodeCapacity {
    let labels = skerry_promapi::with_node(labels, node);
    let mut capacity = NodeCapacity::new(node.as_str(), labels);
    newest.samples.iter().for_each(|(series, value)| capacity.note(series, *value));
    capacity
}

/// Policies as they stood last.
///
/// # Errors
/// [`ReadError`].
pub async fn policies(store: &Store, nodes: &[Member], now: UnixMillis) -> Result<Vec<Of<Policy>>, ReadError> {
    let names: Vec<&str> = METRICS.iter().copied().chain([CONDITION]).collect();
    each(store, nodes, &names, now, |(node, _), newest, said| said.extend(policies_of(node, &newest))).await
}

fn policies_of(node: &NodeId, newest: &Newest) -> Vec<Of<Policy>> {
    let mut conditions = conditions(&newest.samples);
    let capacity = capacity(node, &Labels::default(), newest);
    // A target that was never looked at has no number of replicas.
    let currents = newest.samples.iter().filter(|(series, _)| series.metric() == CURRENT);
    let seen: BTreeSet<&str> = currents.map(|(series, _)| series.value("horizontalpodautoscaler")).collect();
    let policy = |(name, policy): (String, skerry_scaling::capacity::PolicyCapacity)| {
        let what = Policy {
            conditions: conditions.remove(name.as_str()).unwrap_or_default(),
            current: seen.contains(name.as_str()).then_some(policy.current),
            desired: seen.contains(name.as_str()).then_some(policy.desired),
            policy: name,
            target: policy.target,
            priority: Some(policy.priority),
            min: Some(policy.min),
            max: Some(policy.max),
            pending: Some(policy.pending),
            ..Policy::default()
        };
        Of::known(node.as_str(), newest.at.0, what)
    };
    capacity.policies.into_iter().map(policy).collect()
}

/// Conditions by policy: of each kind the status that is set.
fn conditions(samples: &[(Arc<Labels>, f64)]) -> BTreeMap<&str, Vec<Condition>> {
    let mut by_policy: BTreeMap<&str, Vec<Condition>> = BTreeMap::new();
    let set = samples.iter().filter(|(series, value)| *value > 0.0 && series.metric() == CONDITION);
    for (series, _) in set {
        by_policy.entry(series.value("horizontalpodautoscaler")).or_default().push(Condition {
            kind: series.value("condition").to_owned(),
            status: match series.value("status") {
                "true" => "True".into(),
                "false" => "False".into(),
                _ => "Unknown".into(),
            },
            ..Condition::default()
        });
    }
    by_policy
}

/// Recommendations as they stood last.
///
/// # Errors
/// [`ReadError`].
pub async fn recommendations(
    store: &Store,
    nodes: &[Member],
    now: UnixMillis,
) -> Result<Vec<Of<Recommendation>>, ReadError> {
    let names: Vec<String> = BOUNDS.iter().map(|bound| format!("{RECOMMENDED}{bound}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    each(store, nodes, &names, now, |(node, _), newest, said| said.extend(recommendations_of(node, &newest))).await
}

fn recommendations_of(node: &NodeId, newest: &Newest) -> Vec<Of<Recommendation>> {
    let mut by_container: BTreeMap<(String, String), Recommendation> = BTreeMap::new();
    for (series, value) in &newest.samples {
        let Some(bound) = series.value("__name__").strip_prefix(RECOMMENDED) else { continue };
        let target = format!("{}/{}", series.value("target_kind"), series.value("target_name"));
        let container = series.value("container").to_owned();
        let held = by_container.entry((target.clone(), container.clone())).or_insert_with(|| Recommendation {
            target,
            container,
            ..Recommendation::default()
        });
        // Thousandths of a core, and bytes.
        let (amounts, value) = match series.value("resource") {
            "cpu" => (&mut held.cpu, whole(value * 1000.0)),
            "memory" => (&mut held.memory, whole(*value)),
            _ => continue,
        };
        put(amounts, bound, value);
    }
    by_container.into_values().map(|what| Of::known(node.as_str(), newest.at.0, what)).collect()
}

fn put(amounts: &mut Amounts, bound: &str, value: u64) {
    match bound {
        "target" => amounts.target = value,
        "lowerbound" => amounts.lower = value,
        "upperbound" => amounts.upper = value,
        "uncappedtarget" => amounts.uncapped = value,
        _ => {}
    }
}

/// Workloads as they stood last.
///
/// # Errors
/// [`ReadError`].
pub async fn workloads(store: &Store, nodes: &[Member], now: UnixMillis) -> Result<Vec<Of<Workload>>, ReadError> {
    each(store, nodes, &DEPLOYMENT, now, |(node, _), newest, said| said.extend(workloads_of(node, &newest))).await
}

fn workloads_of(node: &NodeId, newest: &Newest) -> Vec<Of<Workload>> {
    let mut by_name: BTreeMap<String, Workload> = BTreeMap::new();
    for (series, value) in &newest.samples {
        let name = series.value("deployment").to_owned();
        let held = by_name.entry(name.clone()).or_insert_with(|| Workload { workload: name, ..Workload::default() });
        let replicas = u32::try_from(whole(*value)).unwrap_or(u32::MAX);
        match DEPLOYMENT.iter().position(|metric| *metric == series.value("__name__")) {
            Some(0) => held.wanted = replicas,
            Some(1) => held.ready = replicas,
            Some(2) => held.updated = replicas,
            _ => {}
        }
    }
    by_name.into_values().map(|what| Of::known(node.as_str(), newest.at.0, what)).collect()
}

/// A value as a whole number; what is none, or below zero, as 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded before; a cast saturates")]
fn whole(value: f64) -> u64 {
    value.round().max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Config, open};
    use skerry_chunk::{Column, MetricBlock};
    use skerry_model::{Epoch, Seq, SeriesId, StreamKind};
    use skerry_wire::{Batch, Body};

    fn sample(text: &str, value: f64) -> (Arc<Labels>, f64) {
        let (name, labels) = text.split_once('{').unwrap();
        let pairs = labels.trim_end_matches('}').split(',').filter_map(|pair| pair.split_once('='));
        (Arc::new(Labels::new(pairs.chain([("__name__", name)])).unwrap()), value)
    }

    fn newest(samples: Vec<(Arc<Labels>, f64)>) -> Newest {
        Newest { at: UnixMillis(7), samples }
    }

    #[test]
    fn recommendations_are_put_together_by_container() {
        let of = |bound: &str, resource: &str| {
            format!("{RECOMMENDED}{bound}{{target_kind=Container,target_name=web,container=web,resource={resource}}}")
        };
        let samples = vec![
            sample(&of("target", "cpu"), 0.125),
            sample(&of("lowerbound", "cpu"), 0.05),
            sample(&of("upperbound", "cpu"), 0.5),
            sample(&of("target", "memory"), 262_144_000.0),
            sample(&of("uncappedtarget", "memory"), -1.0),
            sample(&of("target", "disk"), 1.0),
        ];
        let all = recommendations_of(&"a".parse().unwrap(), &newest(samples));
        assert_eq!(all.len(), 1);
        let Of { node, live, as_of_ms, what } = &all[0];
        assert_eq!((node.as_str(), *live, *as_of_ms), ("a", false, Some(7)));
        assert_eq!((what.target.as_str(), what.container.as_str()), ("Container/web", "web"));
        assert_eq!(what.cpu, Amounts { target: 125, lower: 50, upper: 500, uncapped: 0 });
        assert_eq!(what.memory, Amounts { target: 262_144_000, ..Amounts::default() });
    }

    #[test]
    fn replicas_are_known_where_the_target_was_looked_at() {
        let of = |name: &str, value: f64| sample(&format!("{name}{{horizontalpodautoscaler=web}}"), value);
        let max = of("kube_horizontalpodautoscaler_spec_max_replicas", 4.0);
        let read = |samples: Vec<_>| {
            let all = policies_of(&"a".parse().unwrap(), &newest(samples));
            (all[0].what.max, all[0].what.current, all[0].what.desired)
        };
        assert_eq!(read(vec![max.clone()]), (Some(4), None, None));
        assert_eq!(read(vec![max, of(CURRENT, 0.0)]), (Some(4), Some(0), Some(0)));
    }

    #[test]
    fn workloads_and_conditions_are_read_by_name() {
        let samples = vec![
            sample("kube_deployment_spec_replicas{deployment=till}", 3.0),
            sample("kube_deployment_status_replicas_ready{deployment=till}", 2.0),
            sample("kube_deployment_spec_replicas{deployment=web}", 1.0),
        ];
        let all = workloads_of(&"a".parse().unwrap(), &newest(samples));
        let found: Vec<_> = all.iter().map(|of| (of.what.workload.as_str(), of.what.wanted, of.what.ready)).collect();
        assert_eq!(found, [("till", 3, 2), ("web", 1, 0)]);
        let condition = |kind: &str, status: &str, value: f64| {
            let text = format!("{CONDITION}{{horizontalpodautoscaler=web,condition={kind},status={status}}}");
            sample(&text, value)
        };
        let samples = [
            condition("AbleToScale", "true", 1.0),
            condition("AbleToScale", "false", 0.0),
            condition("ScalingActive", "false", 1.0),
        ];
        let mut told = conditions(&samples);
        let of_web: Vec<_> = told.remove("web").unwrap().into_iter().map(|one| (one.kind, one.status)).collect();
        assert_eq!(of_web, [("AbleToScale".into(), "True".into()), ("ScalingActive".into(), "False".to_owned())]);
        assert!(told.is_empty());
    }

    /// A node's series, measured every 15 s up to a moment.
    async fn tell(store: &Store, name: &str, series: &[(String, f64)], until: UnixMillis) {
        let ids = || (1..).map(SeriesId);
        let entries: Vec<_> = ids().zip(series).map(|(id, (text, _))| (id, (*sample(text, 0.0).0).clone())).collect();
        let column =
            |(series, (_, value)): (SeriesId, &(String, f64))| Column { series, values: vec![Some(*value); 20] };
        let block = MetricBlock {
            timestamps: (0..20).rev().map(|n| UnixMillis(until.0 - n * 15_000)).collect(),
            columns: ids().zip(series).map(column).collect(),
        };
        let (dict, body) = (skerry_chunk::dict::encode(&entries).unwrap(), Body::Block(block.encode().unwrap()));
        let batch = Batch { epoch: Epoch(1), from: Seq(1), to: Seq(20), dict, body };
        store.ingest(&name.parse().unwrap(), StreamKind::Metrics, batch, until).await.unwrap();
    }

    /// What the agent tells of policies.
    fn told_of(policies: &[&str]) -> Vec<(String, f64)> {
        let mut series = vec![("skerry_scaling_allocatable_cpu_cores{unit=cores}".to_owned(), 4.0)];
        for policy in policies {
            let of = |metric: &str, value: f64| (format!("{metric}{{horizontalpodautoscaler={policy}}}"), value);
            series.push(of("kube_horizontalpodautoscaler_spec_max_replicas", 5.0));
            series.push(of("kube_horizontalpodautoscaler_status_current_replicas", 3.0));
            for (kind, set) in [("AbleToScale", "true"), ("ScalingActive", "true"), ("ScalingLimited", "false")] {
                for status in ["true", "false", "unknown"] {
                    let labels = format!("horizontalpodautoscaler={policy},condition={kind},status={status}");
                    series.push((format!("{CONDITION}{{{labels}}}"), if status == set { 1.0 } else { 0.0 }));
                }
            }
        }
        series
    }

    #[tokio::test]
    async fn a_node_is_known_as_it_stood_last_however_long_ago() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _writer) = open(&folder.path().join("data.db"), Config::default()).unwrap();
        let now = UnixMillis(1_700_000_000_000);
        let yesterday = UnixMillis(now.0 - 86_400_000);
        tell(&store, "a", &told_of(&["web", "api"]), now).await;
        tell(&store, "b", &told_of(&["web"]), yesterday).await;
        // What is scraped of a cluster, and a series that has ended, are nothing that the node itself has.
        let cluster = "kube_horizontalpodautoscaler_spec_max_replicas{horizontalpodautoscaler=far,job=ksm}".to_owned();
        tell(&store, "c", &[(cluster, 9.0)], now).await;
        let ended = f64::from_bits(0x7ff0_0000_0000_0002);
        let gone = "kube_horizontalpodautoscaler_spec_max_replicas{horizontalpodautoscaler=old}".to_owned();
        tell(&store, "d", &[(gone, ended)], now).await;
        let members: Vec<Member> =
            ["a", "b", "c", "d", "e"].map(|name| (name.parse().unwrap(), Labels::default())).to_vec();
        let found = policies(&store, &members, now).await.unwrap();
        let told: Vec<_> =
            found.iter().map(|of| (of.node.as_str(), of.what.policy.as_str(), of.as_of_ms.unwrap())).collect();
        assert_eq!(told, [("a", "api", now.0), ("a", "web", now.0), ("b", "web", yesterday.0)]);
        for of in &found {
            assert_eq!((of.what.max, of.what.current, of.what.conditions.len()), (Some(5), Some(3), 3), "{of:?}");
        }
        let nodes = capacities(&store, &members, now).await.unwrap();
        let nodes: Vec<_> = nodes
            .iter()
            .map(|(node, _)| (node.node.as_str(), node.allocatable.cpu_milli, node.policies.len()))
            .collect();
        assert_eq!(nodes, [("a", 4000, 2), ("b", 4000, 1), ("d", 0, 0)]);
        // Those that are not meant are not told of.
        assert_eq!(policies(&store, &members[1..], now).await.unwrap().len(), 1);
    }
}
