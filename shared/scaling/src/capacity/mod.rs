//! What nodes have and what is lacking, summed by site.
//!
//! Nodes tell what they have in series, most under the names that node_exporter and kube-state-metrics use. The centre reads
//! the newest sample of each into one [`NodeCapacity`] per node and sums them.

mod packing;

use crate::guard::Resources;
use packing::{Item, new_nodes, pack, would_do_with};
use skerry_model::Labels;
use std::collections::{BTreeMap, BTreeSet};

/// A pending replica counts from this age on: what the next round places needs no node (as cluster autoscalers do).
pub const PENDING_GRACE: std::time::Duration = std::time::Duration::from_secs(10);

/// Policies below this priority need no node: they run where room happens to be (as with cluster autoscalers).
pub const EXPENDABLE: i32 = -10;

/// Most policies of a node.
const POLICIES_MAX: usize = 1024;
/// A node that uses less than this part of its cores is idle.
const IDLE_PART: u64 = 10;

/// Metrics that [`NodeCapacity::note`] takes, for a selector `{__name__=~"…"}`.
pub const METRICS: &[&str] = &[
    "kube_deployment_spec_replicas",
    "kube_horizontalpodautoscaler_spec_min_replicas",
    "kube_horizontalpodautoscaler_spec_max_replicas",
    "kube_horizontalpodautoscaler_status_current_replicas",
    "kube_horizontalpodautoscaler_status_desired_replicas",
    "skerry_scaling_allocatable_cpu_cores",
    "skerry_scaling_allocatable_memory_bytes",
    "skerry_scaling_used_cpu_cores",
    "skerry_scaling_used_memory_bytes",
    "skerry_scaling_pending_replicas",
    "skerry_scaling_priority",
    "skerry_scaling_replica_request_cpu_cores",
    "skerry_scaling_replica_request_memory_bytes",
];

/// A node, as its newest samples tell.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NodeCapacity {
    /// Its name.
    pub node: String,
    /// Its labels at the centre, by one of which sites are told apart.
    pub labels: Labels,
    /// What policies may use.
    pub allocatable: Resources,
    /// What is really used.
    pub used: Resources,
    /// Its policies, by name.
    pub policies: BTreeMap<String, PolicyCapacity>,
    /// Whether a workload of its own is to run on it, which no other node would take over.
    pub has_workloads: bool,
}

/// A policy of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyCapacity {
    /// What it scales.
    pub target: String,
    /// Its bounds and replicas.
    pub min: u32,
    /// Most replicas.
    pub max: u32,
    /// Replicas that run.
    pub current: u32,
    /// Replicas that should run.
    pub desired: u32,
    /// Replicas that found no room.
    pub pending: u32,
    /// Priority.
    pub priority: i32,
    /// What one replica asks for.
    pub request: Resources,
}

impl NodeCapacity {
    /// A node of which nothing is known yet.
    #[must_use]
    pub fn new(node: &str, labels: Labels) -> Self {
        Self { node: node.to_owned(), labels, ..Self::default() }
    }

    /// Takes the newest sample of one of its series, in any order; others, markers of ended series and what is no count are
    /// passed over.
    pub fn note(&mut self, series: &Labels, value: f64) {
        if !value.is_finite() {
            return;
        }
        #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "casts saturate")]
        let (milli, whole, priority) = ((value * 1000.0).round() as u64, value as u64, value as i32);
        let count = u32::try_from(whole).unwrap_or(u32::MAX);
        let metric = series.metric();
        match metric {
            "skerry_scaling_allocatable_cpu_cores" => self.allocatable.cpu_milli = milli,
            "skerry_scaling_allocatable_memory_bytes" => self.allocatable.memory_bytes = whole,
            "skerry_scaling_used_cpu_cores" => self.used.cpu_milli = milli,
            "skerry_scaling_used_memory_bytes" => self.used.memory_bytes = whole,
            "kube_deployment_spec_replicas" => self.has_workloads |= whole > 0,
            _ => {
                let name = match series.value("horizontalpodautoscaler") {
                    "" => series.value("policy"),
                    name => name,
                };
                let is_room = self.policies.contains_key(name) || self.policies.len() < POLICIES_MAX;
                if name.is_empty() || !METRICS.contains(&metric) || !is_room {
                    return;
                }
                let policy = self.policies.entry(name.to_owned()).or_default();
                match metric {
                    "kube_horizontalpodautoscaler_spec_min_replicas" => policy.min = count,
                    "kube_horizontalpodautoscaler_spec_max_replicas" => policy.max = count,
                    "kube_horizontalpodautoscaler_status_current_replicas" => policy.current = count,
                    "kube_horizontalpodautoscaler_status_desired_replicas" => policy.desired = count,
                    "skerry_scaling_pending_replicas" => {
                        policy.pending = count;
                        policy.target = series.value("target").to_owned();
                    }
                    "skerry_scaling_priority" => policy.priority = priority,
                    "skerry_scaling_replica_request_cpu_cores" => policy.request.cpu_milli = milli,
                    _ => policy.request.memory_bytes = whole,
                }
            }
        }
    }

    /// What its replicas ask for.
    #[must_use]
    pub fn requested(&self) -> Resources {
        let each = |policy: &PolicyCapacity| policy.request.times(policy.current);
        self.policies.values().map(each).fold(Resources::default(), Resources::plus)
    }

    /// What is left of it, by requests, and by use of memory; nothing of what is not known.
    #[must_use]
    pub fn free(&self) -> Resources {
        let mut taken = self.requested();
        taken.memory_bytes = taken.memory_bytes.max(self.used.memory_bytes);
        self.allocatable.minus(taken)
    }

    /// What is left for more replicas. What a node does not tell does not limit.
    fn room(&self) -> Resources {
        let known = |all: u64, free: u64| if all == 0 { u64::MAX } else { free };
        let (all, free) = (self.allocatable, self.free());
        Resources {
            cpu_milli: known(all.cpu_milli, free.cpu_milli),
            memory_bytes: known(all.memory_bytes, free.memory_bytes),
        }
    }

    /// What policies could use of it if none of their replicas ran: without the memory that others use.
    fn size(&self) -> Resources {
        self.room().plus(self.requested())
    }

    /// Whether neither a policy nor a workload has a replica here, and little else runs.
    fn is_idle(&self) -> bool {
        let has_none =
            !self.has_workloads && self.policies.values().all(|policy| policy.current == 0 && policy.pending == 0);
        has_none && self.allocatable.cpu_milli > 0 && self.used.cpu_milli <= self.allocatable.cpu_milli / IDLE_PART
    }
}

/// Nodes that bear the same label value, summed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SiteCapacity {
    /// The label's value; `""` for nodes without it.
    pub site: String,
    /// How many nodes it has.
    pub nodes: u32,
    /// All they have.
    pub allocatable: Resources,
    /// What replicas of policies ask for.
    pub requested: Resources,
    /// What is really used.
    pub used: Resources,
    /// What is left on its nodes together.
    pub free: Resources,
    /// Replicas that found no room on their node, but for those of expendable priority.
    pub pending: u32,
    /// Of those, replicas for which another node of the site has room.
    pub fits_elsewhere: u32,
    /// Nodes, as large as the site's largest, that the others of those need.
    pub needs_nodes: u32,
    /// Policies of which one replica is larger than any node of the site.
    pub too_large: Vec<String>,
    /// How many of its present nodes would do for all that runs and is pending, those with workloads of their own among
    /// them; `None` where all together do not.
    pub would_do_with: Option<u32>,
    /// Nodes without a replica of a policy or a workload, and with little use.
    pub idle: Vec<String>,
}

/// Sums nodes by the values of a label, sorted by value; without a label as one site.
#[must_use]
pub fn summarize(nodes: &[NodeCapacity], by: Option<&str>) -> Vec<SiteCapacity> {
    let mut sites: BTreeMap<&str, Vec<&NodeCapacity>> = BTreeMap::new();
    for node in nodes {
        sites.entry(by.map_or("", |by| node.labels.value(by))).or_default().push(node);
    }
    sites.into_iter().map(|(site, nodes)| sum(site, &nodes)).collect()
}

fn sum(site: &str, nodes: &[&NodeCapacity]) -> SiteCapacity {
    let all =
        |of: fn(&NodeCapacity) -> Resources| nodes.iter().map(|n| of(n)).fold(Resources::default(), Resources::plus);
    let mut pending = Vec::new();
    let mut running = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        for (name, policy) in &node.policies {
            if policy.pending > 0 && policy.priority >= EXPENDABLE {
                pending.push(Item { policy: name, request: policy.request, count: policy.pending, not_on: Some(at) });
            }
            running.push(Item { policy: name, request: policy.request, count: policy.current, not_on: None });
        }
    }
    let count = pending.iter().map(|item| item.count).fold(0, u32::saturating_add);
    let largest = nodes.iter().map(|node| node.size()).max_by_key(|size| (size.memory_bytes, size.cpu_milli));
    let largest = largest.unwrap_or_default();
    let mut free: Vec<Resources> = nodes.iter().map(|node| node.room()).collect();
    let left = pack(&mut pending.clone(), &mut free, largest);
    let (mut too_large, mut new) = (BTreeSet::new(), Vec::new());
    for item in &left {
        if item.request.fits(largest) {
            new.push(Item { not_on: None, ..*item });
        } else {
            too_large.insert(item.policy.to_owned());
        }
    }
    running.extend(pending.iter().map(|item| Item { not_on: None, ..*item }));
    SiteCapacity {
        site: site.to_owned(),
        nodes: u32::try_from(nodes.len()).unwrap_or(u32::MAX),
        allocatable: all(|node| node.allocatable),
        requested: all(NodeCapacity::requested),
        used: all(|node| node.used),
        free: all(NodeCapacity::free),
        pending: count,
        fits_elsewhere: count - left.iter().map(|item| item.count).fold(0, u32::saturating_add).min(count),
        needs_nodes: new_nodes(new, largest),
        too_large: too_large.into_iter().collect(),
        would_do_with: would_do_with(running, nodes, largest),
        idle: nodes.iter().filter(|node| node.is_idle()).map(|node| node.node.clone()).collect(),
    }
}

#[cfg(test)]
mod tests;
