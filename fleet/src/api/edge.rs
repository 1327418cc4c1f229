//! Queries that nodes answer themselves: `node=NAME`, which may stand several times, and `node_selector=LABELS`, on
//! `query`, `query_range`, `series`, `labels` and `label/NAME/values`.
//!
//! Beside Prometheus's fields the answer has `nodes`: how it went with each node that was meant. One that did not answer
//! is also among the warnings. Where no node answered, the answer is an error.

use super::prometheus::json;
use super::{ApiError, Fleet};
use crate::control::NodeState;
use crate::edge::core::{Fate, Silence, Target, nodes_json, refusal, warnings};
use crate::edge::selector;
use crate::node_labels::NodeLabels;
use axum::response::Response;
use skerry_model::{Labels, NodeId};
use skerry_promapi::edge::{Merge, Wanted};
use skerry_promapi::{Refusal, with_node};
use skerry_promql::matches_all;
use skerry_wire::{ASK_BYTES_MAX, Question, codec};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long nodes may take where nothing is asked, and at most.
const TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT_MAX: Duration = Duration::from_secs(120);
/// Most nodes in one query.
const NODES_MAX: usize = 10_000;

fn bad(status: u16, kind: &'static str, text: impl Into<String>) -> Refusal {
    Refusal { status, kind, text: text.into() }
}

/// Asks the nodes that `wanted` means, and merges what they answer.
pub(super) async fn respond(
    fleet: &Fleet,
    question: Result<Option<Question>, Refusal>,
    wanted: Wanted,
) -> Result<Response, ApiError> {
    let limit = wanted.limit;
    let done = match gather(fleet, question, wanted).await? {
        Ok(Answers { merge, fates, .. }) => {
            let (now, told, nodes) = ((fleet.wall)(), warnings(&fates), nodes_json(&fates));
            // Writing a large answer takes a while, which other requests need not wait for.
            let written = tokio::task::spawn_blocking(move || merge.response(now, limit, &told, &nodes));
            written.await.map_err(|error| ApiError::internal(&error))?
        }
        Err((refused, None)) => refused.into(),
        Err((refused, Some(nodes))) => refused.with_nodes(&nodes),
    };
    if done.status >= 400 {
        fleet.requests.refuse("edge_query");
    }
    Ok(json(done))
}

/// What nodes answered.
pub(super) struct Answers {
    /// The question.
    pub(super) question: Question,
    /// What they found.
    pub(super) merge: Merge,
    /// How it went with each.
    pub(super) fates: BTreeMap<NodeId, Fate>,
}

/// Asks the nodes that `wanted` means. A refusal may come with how it went with each node.
pub(super) async fn gather(
    fleet: &Fleet,
    question: Result<Option<Question>, Refusal>,
    wanted: Wanted,
) -> Result<Result<Answers, (Refusal, Option<serde_json::Value>)>, ApiError> {
    let question = match question.and_then(checked) {
        Ok(question) => question,
        Err(refused) => return Ok(Err((refused, None))),
    };
    let (targets, mut fates) = match meant(fleet, &wanted).await? {
        Ok(meant) => meant,
        Err(refused) => return Ok(Err((refused, None))),
    };
    let timeout = wanted.timeout.unwrap_or(TIMEOUT).min(TIMEOUT_MAX);
    let gathered = match fleet.edge.run(&question, targets, timeout).await {
        Ok(Ok(gathered)) => gathered,
        Ok(Err(error)) => return Ok(Err((Refusal::from(error), None))),
        Err(busy) => return Ok(Err((bad(503, "unavailable", busy.to_string()), None))),
    };
    fates.extend(gathered.fates);
    match refusal(&fates) {
        Some(refused) => Ok(Err((refused, Some(nodes_json(&fates))))),
        None => Ok(Ok(Answers { question, merge: gathered.merge, fates })),
    }
}

/// A question that nodes can answer. What no node could is refused here.
fn checked(question: Option<Question>) -> Result<Question, Refusal> {
    let Some(question) = question else {
        let text = "node and node_selector are understood by query, query_range, series, labels and label/NAME/values";
        return Err(bad(400, "bad_data", text));
    };
    // Labels that were signed and the frame around all of it need some room.
    if codec::encode(&question).len() > ASK_BYTES_MAX - 20 * 1024 {
        return Err(bad(400, "bad_data", "the question is too long to be sent to nodes; use fewer selectors"));
    }
    Ok(question)
}

pub(super) type Meant = (Vec<Target>, BTreeMap<NodeId, Fate>);

/// The nodes to ask, and those of which is known already that they cannot answer.
pub(super) async fn meant(fleet: &Fleet, wanted: &Wanted) -> Result<Result<Meant, Refusal>, ApiError> {
    let rows = fleet.control.nodes().await?;
    let states: BTreeMap<&NodeId, NodeState> = rows.iter().map(|row| (&row.node, row.state)).collect();
    let signed = NodeLabels::read(&fleet.delivery).await?;
    let target = |node: &NodeId| Target { node: node.clone(), signed: signed.applied(node, &Labels::default()) };
    let (mut targets, mut fates) = (Vec::new(), BTreeMap::new());
    for name in &wanted.nodes {
        let Ok(node) = name.parse::<NodeId>() else {
            let shown: String = name.chars().take(80).collect();
            return Ok(Err(bad(
                400,
                "bad_data",
                format!("invalid parameter \"node\": {shown:?} is no name of a node"),
            )));
        };
        let silent = |why, reason: &str| Fate::Silent { why, reason: reason.to_owned() };
        match states.get(&node) {
            Some(NodeState::Approved) => targets.push(target(&node)),
            Some(NodeState::Pending) => {
                drop(fates.insert(node, silent(Silence::NotApproved, "it waits for `skerry enrol approve`")));
            }
            Some(NodeState::Revoked) => {
                drop(fates.insert(node, silent(Silence::NotApproved, "it is revoked")));
            }
            None => {
                let reason = "there is no node of that name; `skerry get nodes` lists them";
                drop(fates.insert(node, silent(Silence::Unknown, reason)));
            }
        }
    }
    if let Some(text) = &wanted.selector {
        let matchers = match selector::parse(text) {
            Ok(matchers) => matchers,
            Err(error) => {
                return Ok(Err(bad(400, "bad_data", format!("invalid parameter \"node_selector\": {error}"))));
            }
        };
        let approved = rows.iter().filter(|row| row.state == NodeState::Approved);
        let all = approved.map(|row| target(&row.node));
        targets.extend(all.filter(|target| matches_all(&matchers, &with_node(&target.signed, &target.node))));
        if targets.is_empty() && fates.is_empty() {
            let text = format!("no node has labels that meet {text:?}; `skerry get nodes -o wide` shows them");
            return Ok(Err(bad(404, "not_found", text)));
        }
    }
    if targets.len() > NODES_MAX {
        let text = format!("{} nodes are meant, at most {NODES_MAX} are asked; narrow the selector", targets.len());
        return Ok(Err(bad(400, "bad_data", text)));
    }
    Ok(Ok((targets, fates)))
}
