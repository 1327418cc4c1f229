//! The pages of scaling and of capacity: what nodes told, without asking one.

use crate::api::{ApiError, Fleet, capacity_of, known_policies};
use crate::clock::{ago, utc};
use crate::quantity::{bytes, cores};
use crate::scaling::history::{Decision, Wanted, decisions};
use crate::scaling::sites::{Amount, Capacity, Node, Site};
use crate::scaling::view::{Of, Policy};
use askama::Template;
use skerry_model::UnixMillis;

/// Policies that a page shows; the others are counted.
const SHOWN_MAX: usize = 500;
/// Decisions that it shows.
const DECISIONS_SHOWN: u32 = 200;
/// The label that names a node's site.
const SITE: &str = "site";

/// The page of scaling.
#[derive(Template)]
#[template(path = "scaling.html")]
pub(super) struct ScalingPage {
    policies: Vec<PolicyLine>,
    policy_count: usize,
    replicas: u64,
    pending: u64,
    decisions: Vec<DecisionLine>,
    at: String,
}

/// A policy.
struct PolicyLine {
    name: String,
    node: String,
    target: String,
    bounds: String,
    replicas: String,
    pending: u32,
    state: String,
    seen: String,
}

/// A decision.
struct DecisionLine {
    at: String,
    node: String,
    policy: String,
    target: String,
    change: String,
    reason: String,
    message: String,
}

impl ScalingPage {
    /// Asks for everything that stands on it.
    pub(super) async fn load(fleet: &Fleet) -> Result<Self, ApiError> {
        let now = (fleet.wall)();
        let policies = known_policies(fleet).await?;
        let wanted = Wanted { limit: DECISIONS_SHOWN, ..Wanted::default() };
        let decisions = decisions(&fleet.store, wanted).await?.decisions;
        let sum = |of: fn(&Policy) -> Option<u32>| policies.iter().filter_map(|one| of(&one.what)).map(u64::from).sum();
        Ok(Self {
            policy_count: policies.len(),
            replicas: sum(|policy| policy.current),
            pending: sum(|policy| policy.pending),
            policies: policies.into_iter().take(SHOWN_MAX).map(|of| PolicyLine::new(of, &decisions, now)).collect(),
            decisions: decisions.into_iter().map(DecisionLine::new).collect(),
            at: utc(now),
        })
    }
}

impl PolicyLine {
    fn new(of: Of<Policy>, decisions: &[Decision], now: UnixMillis) -> Self {
        let policy = of.what;
        // Newest first: the first one is what came of it.
        let last = decisions.iter().find(|one| one.node == of.node && one.policy == policy.policy);
        let number = |of: Option<u32>| of.map_or_else(|| "?".into(), |n| n.to_string());
        let replicas = match (policy.current, policy.desired) {
            (current, desired) if current != desired => format!("{} → {}", number(current), number(desired)),
            (current, _) => number(current),
        };
        Self {
            bounds: format!("{} to {}", number(policy.min), number(policy.max)),
            replicas,
            pending: policy.pending.unwrap_or_default(),
            state: state(&policy, last),
            seen: of.as_of_ms.map(|at| ago(now, UnixMillis(at))).unwrap_or_default(),
            node: of.node,
            name: policy.policy,
            target: policy.target,
        }
    }
}

/// What keeps a policy from scaling, by its conditions, and why, by what it told last.
fn state(policy: &Policy, last: Option<&Decision>) -> String {
    let is = |kind: &str, status: &str| policy.conditions.iter().any(|one| one.kind == kind && one.status == status);
    let words = [
        (is("AbleToScale", "False"), "cannot scale"),
        (is("ScalingActive", "False"), "not active"),
        (is("ScalingLimited", "True"), "at a limit"),
    ];
    let words = words.into_iter().filter(|(holds, _)| *holds).map(|(_, word)| word).collect::<Vec<_>>().join(", ");
    match last.filter(|one| one.is_trouble() && !words.is_empty()) {
        Some(one) => format!("{words}: {}", one.reason),
        None => words,
    }
}

impl DecisionLine {
    fn new(one: Decision) -> Self {
        Self {
            at: utc(UnixMillis(one.at_ms)),
            change: one.change(" → "),
            node: one.node,
            policy: one.policy,
            target: one.target,
            reason: one.reason,
            message: one.message,
        }
    }
}

/// The page of capacity.
#[derive(Template)]
#[template(path = "capacity.html")]
pub(super) struct CapacityPage {
    sites: Vec<SiteLine>,
    nodes: Vec<NodeLine>,
    node_count: usize,
    pending: u64,
    needed: u64,
    idle: usize,
    unknown: Vec<String>,
    at: String,
}

/// A site.
struct SiteLine {
    name: String,
    nodes: String,
    cpu: String,
    memory: String,
    pending: u32,
    verdict: String,
    idle: String,
}

/// A node.
struct NodeLine {
    name: String,
    site: String,
    cpu: String,
    memory: String,
    policies: u32,
    pending: u32,
    seen: String,
}

impl CapacityPage {
    /// Asks for everything that stands on it.
    pub(super) async fn load(fleet: &Fleet) -> Result<Self, ApiError> {
        let now = (fleet.wall)();
        let Capacity { sites, nodes, unknown, .. } = capacity_of(fleet, SITE).await?;
        Ok(Self {
            node_count: nodes.len(),
            pending: sites.iter().map(|site| u64::from(site.pending)).sum(),
            needed: sites.iter().map(|site| u64::from(site.needs_nodes)).sum(),
            idle: sites.iter().map(|site| site.idle.len()).sum(),
            sites: sites.into_iter().map(SiteLine::new).collect(),
            nodes: nodes.into_iter().take(SHOWN_MAX).map(|node| NodeLine::new(node, now)).collect(),
            unknown,
            at: utc(now),
        })
    }
}

fn cpu(used: Amount, of: Amount) -> String {
    format!("{} of {}", cores(used.cpu_milli), cores(of.cpu_milli))
}

fn memory(used: Amount, of: Amount) -> String {
    format!("{} of {}", bytes(used.memory_bytes), bytes(of.memory_bytes))
}

impl SiteLine {
    fn new(site: Site) -> Self {
        let silent = if site.silent > 0 { format!(" ({} silent)", site.silent) } else { String::new() };
        Self {
            verdict: site.verdict(),
            name: if site.site.is_empty() { "(without)".into() } else { site.site },
            nodes: format!("{}{silent}", site.nodes),
            cpu: cpu(site.requested, site.allocatable),
            memory: memory(site.requested, site.allocatable),
            pending: site.pending,
            idle: site.idle.join(", "),
        }
    }
}

impl NodeLine {
    fn new(node: Node, now: UnixMillis) -> Self {
        Self {
            cpu: cpu(node.used, node.allocatable),
            memory: memory(node.used, node.allocatable),
            policies: node.policies,
            pending: node.pending,
            seen: ago(now, UnixMillis(node.as_of_ms)),
            name: node.node,
            site: node.site,
        }
    }
}
