//! Metrics of scaling: under kube-state-metrics's names where it has one, so that dashboards and rules work unchanged.

use super::view::View;
use skerry_model::{LabelsBuilder, MetricKind, MetricMeta, Observation};
use skerry_scaling::capacity::PENDING_GRACE;
use skerry_scaling::guard::{NodeState, Resources};
use skerry_scaling::hpa::Status;
use std::sync::Arc;

const fn gauge(name: &'static str, help: &'static str) -> MetricMeta {
    MetricMeta::fixed(name, MetricKind::Gauge, help)
}

static MIN: MetricMeta = gauge("kube_horizontalpodautoscaler_spec_min_replicas", "Least replicas of a policy.");
static MAX: MetricMeta = gauge("kube_horizontalpodautoscaler_spec_max_replicas", "Most replicas of a policy.");
static CURRENT: MetricMeta =
    gauge("kube_horizontalpodautoscaler_status_current_replicas", "Replicas of the target of a policy.");
static DESIRED: MetricMeta =
    gauge("kube_horizontalpodautoscaler_status_desired_replicas", "Replicas that a policy wants.");
static CONDITION: MetricMeta =
    gauge("kube_horizontalpodautoscaler_status_condition", "Whether a condition of a policy has this status.");
static PENDING: MetricMeta =
    gauge("skerry_scaling_pending_replicas", "Replicas that a policy wants and the node has no room for.");
static PRIORITY: MetricMeta = gauge("skerry_scaling_priority", "Priority of a policy.");
static REQUEST: [MetricMeta; 2] = [
    gauge("skerry_scaling_replica_request_cpu_cores", "CPU that one replica asks for."),
    gauge("skerry_scaling_replica_request_memory_bytes", "Memory that one replica asks for."),
];
static ALLOCATABLE: [MetricMeta; 2] = [
    gauge("skerry_scaling_allocatable_cpu_cores", "CPU that policies may use."),
    gauge("skerry_scaling_allocatable_memory_bytes", "Memory that policies may use."),
];
static USED: [MetricMeta; 2] = [
    gauge("skerry_scaling_used_cpu_cores", "CPU that is used."),
    gauge("skerry_scaling_used_memory_bytes", "Memory that is used."),
];

/// A metric's name, labels and value.
type Row<'a> = (&'static MetricMeta, Vec<(&'a str, &'a str)>, f64);

/// Metrics of these policies and of the node.
pub(super) fn observe(views: &[Arc<View>], node: &NodeState) -> Vec<Observation> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for view in views {
        policy(view, &mut rows);
    }
    for (metas, resources) in [(&ALLOCATABLE, node.allocatable), (&USED, node.used)] {
        if let Some(resources) = resources {
            both(metas, resources, &[], &mut rows);
        }
    }
    // The series of a metric stand together.
    rows.sort_by_key(|(meta, ..)| &*meta.name);
    rows.into_iter().map(observation).collect()
}

fn both<'a>(metas: &'static [MetricMeta; 2], what: Resources, labels: &[(&'a str, &'a str)], rows: &mut Vec<Row<'a>>) {
    rows.push((&metas[0], labels.to_vec(), what.cpu_milli as f64 / 1000.0));
    rows.push((&metas[1], labels.to_vec(), what.memory_bytes as f64));
}

fn policy<'a>(view: &'a View, rows: &mut Vec<Row<'a>>) {
    let policy = &view.prepared.policy;
    let named = || vec![("horizontalpodautoscaler", policy.name.as_str())];
    let ours = vec![("policy", policy.name.as_str()), ("target", view.target.as_str())];
    rows.push((&MIN, named(), f64::from(policy.min_replicas)));
    rows.push((&MAX, named(), f64::from(policy.max_replicas)));
    rows.push((&PRIORITY, vec![ours[0]], f64::from(policy.priority)));
    if let Some((_, status)) = view.current {
        rows.push((&CURRENT, named(), f64::from(status)));
        both(&REQUEST, view.request, &[ours[0]], rows);
    }
    let grant = view.grant.as_ref().filter(|grant| grant.pending_for >= PENDING_GRACE);
    rows.push((&PENDING, ours, grant.map_or(0.0, |grant| f64::from(grant.pending))));
    rows.extend(view.desired().map(|desired| (&DESIRED, named(), f64::from(desired))));
    let Some(decision) = &view.decision else { return };
    for condition in decision.conditions.iter().filter(|condition| !condition.reason.is_empty()) {
        for (status, word) in [(Status::True, "true"), (Status::False, "false"), (Status::Unknown, "unknown")] {
            let mut labels = named();
            labels.extend([("condition", condition.kind.as_str()), ("status", word)]);
            rows.push((&CONDITION, labels, f64::from(u8::from(condition.status == status))));
        }
    }
}

fn observation((meta, labels, value): Row<'_>) -> Observation {
    let builder = labels.iter().fold(LabelsBuilder::metric(&meta.name), |b, (name, value)| b.label(name, *value));
    Observation { meta: meta.into(), labels: builder.build(), value }
}
