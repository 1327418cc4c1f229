//! What sites have and what they lack.

use serde::{Deserialize, Serialize};
use skerry_model::UnixMillis;
use skerry_scaling::capacity::{NodeCapacity, SiteCapacity, summarize};
use skerry_scaling::guard::Resources;
use std::collections::BTreeMap;

/// A node whose values are older counts all the same, and is counted among the silent ones.
const SILENT_AFTER_MS: u64 = 900_000;

/// `GET /capacity`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// The label by whose values nodes are summed.
    pub by: String,
    /// By the label's value.
    pub sites: Vec<Site>,
    /// By name.
    pub nodes: Vec<Node>,
    /// Nodes that never told what they have.
    pub unknown: Vec<String>,
}

/// CPU in thousandths of a core, memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Amount {
    /// CPU.
    pub cpu_milli: u64,
    /// Memory.
    pub memory_bytes: u64,
}

/// Nodes with the same value of the label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// The value; empty for nodes without the label.
    pub site: String,
    /// How many nodes there are.
    pub nodes: u32,
    /// Of them, those whose newest values are older than a quarter of an hour.
    pub silent: u32,
    /// What they have for policies.
    pub allocatable: Amount,
    /// What replicas ask for.
    pub requested: Amount,
    /// What is really used.
    pub used: Amount,
    /// What is left on its nodes together.
    pub free: Amount,
    /// Replicas that found no room on their node.
    pub pending: u32,
    /// Of those, replicas for which another node of the site has room.
    pub fits_elsewhere: u32,
    /// Nodes, as large as the site's largest, that the others need.
    pub needs_nodes: u32,
    /// Policies of which one replica is larger than any node.
    pub too_large: Vec<String>,
    /// How many of the present nodes would do for all of it; absent where all together do not.
    pub would_do_with: Option<u32>,
    /// Nodes without a replica and with little use.
    pub idle: Vec<String>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub node: String,
    /// The site that it belongs to.
    pub site: String,
    /// Of when its values are, by its clock.
    pub as_of_ms: i64,
    /// What it has for policies.
    pub allocatable: Amount,
    /// What is really used.
    pub used: Amount,
    /// Replicas that found no room.
    pub pending: u32,
    /// Policies.
    pub policies: u32,
}

impl Site {
    /// What it needs, in words.
    #[must_use]
    pub fn verdict(&self) -> String {
        let plural = |n: u32| if n == 1 { "" } else { "s" };
        let mut words = Vec::new();
        if self.needs_nodes > 0 {
            words.push(format!("needs {} node{}", self.needs_nodes, plural(self.needs_nodes)));
        }
        if !self.too_large.is_empty() {
            words.push(format!("too large for any node: {}", self.too_large.join(", ")));
        }
        if self.fits_elsewhere > 0 {
            words.push(format!("{} would fit on another node", self.fits_elsewhere));
        }
        if let Some(enough) = self.would_do_with.filter(|enough| *enough < self.nodes && words.is_empty()) {
            words.push(format!("{enough} node{} would do", plural(enough)));
        }
        words.join("; ")
    }
}

impl From<Resources> for Amount {
    fn from(of: Resources) -> Self {
        Self { cpu_milli: of.cpu_milli, memory_bytes: of.memory_bytes }
    }
}

/// Sums nodes, given with the moment of which their values are, by the values of a label.
#[must_use]
pub fn sum(nodes: &[(NodeCapacity, UnixMillis)], unknown: Vec<String>, by: &str, now: UnixMillis) -> Capacity {
    let all: Vec<NodeCapacity> = nodes.iter().map(|(node, _)| node.clone()).collect();
    let mut silent: BTreeMap<&str, u32> = BTreeMap::new();
    for (node, at) in nodes {
        if now.since(*at).as_millis() > u128::from(SILENT_AFTER_MS) {
            *silent.entry(node.labels.value(by)).or_default() += 1;
        }
    }
    let site = |one: SiteCapacity| Site {
        silent: silent.get(one.site.as_str()).copied().unwrap_or_default(),
        site: one.site,
        nodes: one.nodes,
        allocatable: one.allocatable.into(),
        requested: one.requested.into(),
        used: one.used.into(),
        free: one.free.into(),
        pending: one.pending,
        fits_elsewhere: one.fits_elsewhere,
        needs_nodes: one.needs_nodes,
        too_large: one.too_large,
        would_do_with: one.would_do_with,
        idle: one.idle,
    };
    let node = |(node, at): &(NodeCapacity, UnixMillis)| Node {
        node: node.node.clone(),
        site: node.labels.value(by).to_owned(),
        as_of_ms: at.0,
        allocatable: node.allocatable.into(),
        used: node.used.into(),
        pending: node.policies.values().map(|policy| policy.pending).sum(),
        policies: u32::try_from(node.policies.len()).unwrap_or(u32::MAX),
    };
    Capacity {
        by: by.to_owned(),
        sites: summarize(&all, Some(by)).into_iter().map(site).collect(),
        nodes: nodes.iter().map(node).collect(),
        unknown,
    }
}
