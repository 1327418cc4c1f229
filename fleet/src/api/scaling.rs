//! Scaling and workloads: what nodes say when they are asked, what is known of those that do not answer, and the history.
//!
//! `node=NAME`, which may stand several times, and `node_selector=LABELS` say which nodes; without them all that are
//! approved. `at=centre` asks no node.

use super::edge::meant;
use super::nodes::existing;
use super::{ApiError, Fleet};
use crate::control::NodeState;
use crate::edge::core::{Fate, Silence, refusal};
use crate::node_labels::NodeLabels;
use crate::scaling::history::{self, Decisions, Happenings};
use crate::scaling::known::{self, Member};
use crate::scaling::sites::{self, Capacity};
use crate::scaling::view::{Explained, Listed, NodeAnswer, Of, Policy, Recommendation, Workload};
use crate::store::{ReadError, Store};
use axum::extract::{Query, RawQuery, State};
use axum::http::StatusCode;
use axum::{Json, Router, routing};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use skerry_model::{NodeId, UnixMillis};
use skerry_promapi::edge::Wanted;
use skerry_promapi::{Params, Refusal};
use skerry_wire::{Question, SCALING_TEXT_BYTES_MAX, ScalingAsk};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long nodes may take where nothing is asked, and at most.
const TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT_MAX: Duration = Duration::from_secs(120);
/// Rows of a history where nothing is asked, and at most.
const ROWS: u32 = 200;
const ROWS_MAX: u32 = 10_000;
/// The label that names a node's site.
const SITE: &str = "site";

/// Its routes.
pub(super) fn router() -> Router<Fleet> {
    Router::new()
        .route("/scaling", routing::get(list))
        .route("/scaling/explain", routing::get(explain).post(attempt))
        .route("/scaling/history", routing::get(decisions))
        .route("/scaling/recommendations", routing::get(recommendations))
        .route("/capacity", routing::get(capacity))
        .route("/workloads", routing::get(workloads))
        .route("/workloads/history", routing::get(happenings))
}

/// Which rows of a history.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Rows {
    node: Option<String>,
    policy: Option<String>,
    workload: Option<String>,
    from_ms: Option<i64>,
    before: Option<String>,
    limit: Option<u32>,
}

/// Which policy of which node.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    node: String,
    policy: Option<String>,
    /// What the document that is tried out is called in faults.
    file: Option<String>,
    timeout: Option<String>,
}

/// By which label nodes are summed.
#[derive(Debug, Default, Deserialize)]
pub(super) struct By {
    by: Option<String>,
}

/// What nodes said: their documents, and how it went with each that was meant.
struct Said {
    documents: BTreeMap<NodeId, Vec<String>>,
    fates: BTreeMap<NodeId, Fate>,
}

async fn list(State(fleet): State<Fleet>, RawQuery(query): RawQuery) -> Result<Json<Listed<Policy>>, ApiError> {
    let now = (fleet.wall)();
    let known = async |store: &Store, nodes: &[Member]| known::policies(store, nodes, now).await;
    listed(&fleet, query, ScalingAsk::List, known).await.map(Json)
}

async fn recommendations(
    State(fleet): State<Fleet>,
    RawQuery(query): RawQuery,
) -> Result<Json<Listed<Recommendation>>, ApiError> {
    let now = (fleet.wall)();
    let known = async |store: &Store, nodes: &[Member]| known::recommendations(store, nodes, now).await;
    listed(&fleet, query, ScalingAsk::Recommend, known).await.map(Json)
}

async fn workloads(State(fleet): State<Fleet>, RawQuery(query): RawQuery) -> Result<Json<Listed<Workload>>, ApiError> {
    let now = (fleet.wall)();
    let known = async |store: &Store, nodes: &[Member]| known::workloads(store, nodes, now).await;
    listed(&fleet, query, ScalingAsk::Workloads, known).await.map(Json)
}

/// Policies as they stood last, and what was decided, without asking a node.
pub(crate) async fn known_policies(fleet: &Fleet) -> Result<Vec<Of<Policy>>, ApiError> {
    let members = members(fleet).await?;
    Ok(known::policies(&fleet.store, &members, (fleet.wall)()).await?)
}

/// Workloads as they stood last, without asking a node.
pub(crate) async fn known_workloads(fleet: &Fleet) -> Result<Vec<Of<Workload>>, ApiError> {
    let members = members(fleet).await?;
    Ok(known::workloads(&fleet.store, &members, (fleet.wall)()).await?)
}

/// What nodes have and lack, by a label.
pub(crate) async fn capacity_of(fleet: &Fleet, by: &str) -> Result<Capacity, ApiError> {
    let (members, now) = (members(fleet).await?, (fleet.wall)());
    let found = known::capacities(&fleet.store, &members, now).await?;
    let told: BTreeSet<&str> = found.iter().map(|(node, _)| node.node.as_str()).collect();
    let unknown = members.iter().map(|(node, _)| node.as_str()).filter(|node| !told.contains(node));
    let unknown = unknown.map(str::to_owned).collect();
    Ok(sites::sum(&found, unknown, by, now))
}

async fn capacity(State(fleet): State<Fleet>, Query(by): Query<By>) -> Result<Json<Capacity>, ApiError> {
    capacity_of(&fleet, by.by.as_deref().unwrap_or(SITE)).await.map(Json)
}

async fn decisions(State(fleet): State<Fleet>, Query(rows): Query<Rows>) -> Result<Json<Decisions>, ApiError> {
    let subject = rows.policy.clone();
    let wanted = wanted(&fleet, rows, subject).await?;
    Ok(Json(history::decisions(&fleet.store, wanted).await?))
}

async fn happenings(State(fleet): State<Fleet>, Query(rows): Query<Rows>) -> Result<Json<Happenings>, ApiError> {
    let subject = rows.workload.clone();
    let wanted = wanted(&fleet, rows, subject).await?;
    Ok(Json(history::happenings(&fleet.store, wanted).await?))
}

async fn wanted(fleet: &Fleet, rows: Rows, subject: Option<String>) -> Result<history::Wanted, ApiError> {
    let node = match &rows.node {
        Some(name) => Some(existing(fleet, name).await?.node),
        None => None,
    };
    let behind = rows.before.map(|text| {
        history::place(&text).ok_or_else(|| bad("before: what `next` of an answer says is expected, or milliseconds"))
    });
    let limit = rows.limit.unwrap_or(ROWS).clamp(1, ROWS_MAX);
    Ok(history::Wanted { node, subject, from: rows.from_ms.map(UnixMillis), behind: behind.transpose()?, limit })
}

/// What a policy of a node would do now; where the node does not answer, how it stood last and what it decided last.
async fn explain(State(fleet): State<Fleet>, Query(asked): Query<Asked>) -> Result<Json<Explained>, ApiError> {
    let Asked { node, policy, timeout, .. } = asked;
    let policy = policy.ok_or_else(|| bad("policy: the name of a policy is expected"))?;
    let node = existing(&fleet, &node).await?.node;
    let said = ask(&fleet, ScalingAsk::Explain { policy: policy.clone() }, only(&node, timeout)?).await?;
    if let Some(found) = first(&said, &node)? {
        return Ok(Json(Explained { policy: Of::live(node.as_str(), found), silence: None, last_decision: None }));
    }
    let fate = said.fates.get(&node);
    let reason = match fate {
        // The node itself knows best.
        Some(Fate::Silent { why: Silence::Error(kind), reason }) => return Err(refused(kind, reason.clone())),
        Some(Fate::Silent { reason, .. }) => reason.clone(),
        _ => "it said nothing about it".to_owned(),
    };
    let row =
        history::Wanted { node: Some(node.clone()), subject: Some(policy.clone()), limit: 1, ..Default::default() };
    let last_decision = history::decisions(&fleet.store, row).await?.decisions.into_iter().next();
    let members: Vec<Member> = members(&fleet).await?.into_iter().filter(|(name, _)| *name == node).collect();
    let known = known::policies(&fleet.store, &members, (fleet.wall)()).await?;
    let known = known.into_iter().find(|known| known.what.policy == policy);
    let policy = match (known, &last_decision) {
        (Some(known), _) => known,
        (None, Some(last)) => {
            let target = last.target.clone();
            Of::known(node.as_str(), last.at_ms, Policy { policy, target, ..Policy::default() })
        }
        (None, None) => {
            let message =
                format!("node {node} does not answer ({reason}), and nothing is known here of a policy {policy}");
            return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message));
        }
    };
    Ok(Json(Explained { policy, silence: Some(reason), last_decision }))
}

/// What a policy that the node need not have would do there now.
async fn attempt(
    State(fleet): State<Fleet>,
    Query(asked): Query<Asked>,
    text: String,
) -> Result<Json<Explained>, ApiError> {
    if text.len() > SCALING_TEXT_BYTES_MAX {
        return Err(bad(&format!("a document of {} bytes is too long: at most {SCALING_TEXT_BYTES_MAX}", text.len())));
    }
    let node = existing(&fleet, &asked.node).await?.node;
    let said = ask(
        &fleet,
        ScalingAsk::Try { file: asked.file.unwrap_or_else(|| "document".into()), text },
        only(&node, asked.timeout)?,
    )
    .await?;
    let found = first(&said, &node)?.ok_or_else(|| silent(&said.fates))?;
    Ok(Json(Explained { policy: Of::live(node.as_str(), found), silence: None, last_decision: None }))
}

fn only(node: &NodeId, timeout: Option<String>) -> Result<Wanted, ApiError> {
    let pairs = [("node", node.to_string())].into_iter().chain(timeout.map(|timeout| ("timeout", timeout)));
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value)).collect();
    Wanted::of(&Params::new(pairs)).map_err(from_refusal)?.ok_or_else(|| bad("node: the name of a node is expected"))
}

/// The one document that a node said, if it answered.
fn first<T: DeserializeOwned>(said: &Said, node: &NodeId) -> Result<Option<T>, ApiError> {
    let Some(text) = said.documents.get(node).and_then(|documents| documents.first()) else { return Ok(None) };
    let read = document(text);
    read.map(Some).map_err(|error| {
        tracing::warn!(%node, %error, "a node's answer about scaling cannot be read");
        let message = format!("the answer of node {node} cannot be read; is its agent of another version?");
        ApiError::new(StatusCode::BAD_GATEWAY, "answer_invalid", message)
    })
}

/// What the nodes that are meant say, and of those that do not answer what is known.
async fn listed<T: DeserializeOwned>(
    fleet: &Fleet,
    query: Option<String>,
    question: ScalingAsk,
    known: impl AsyncFnOnce(&Store, &[Member]) -> Result<Vec<Of<T>>, ReadError>,
) -> Result<Listed<T>, ApiError> {
    let query = query.unwrap_or_default();
    let mut params = Params::decode(query.as_bytes(), &[]);
    let is_named = ["node", "node_selector"].into_iter().any(|name| params.first(name).is_some());
    if !is_named {
        params = Params::decode(query.as_bytes(), b"node_selector=");
    }
    let wanted = Wanted::of(&params).map_err(from_refusal)?;
    let wanted = wanted.ok_or_else(|| bad("node_selector: labels are expected"))?;
    let said = match params.first("at") {
        Some("centre") => unasked(fleet, &wanted).await?,
        None | Some("both") => ask(fleet, question, wanted).await?,
        Some(_) => return Err(bad("at: centre or both is expected")),
    };
    // No node at all is an empty list; names that mean nobody are an error.
    let is_unknown = |fate: &Fate| matches!(fate, Fate::Silent { why: Silence::Unknown, .. });
    if is_named && !said.fates.is_empty() && said.fates.values().all(is_unknown) {
        return Err(silent(&said.fates));
    }
    let (mut items, mut nodes, mut unheard) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
    for (node, fate) in &said.fates {
        let read = said.documents.get(node).map(|all| read_all(node, all));
        let answer = match (fate, read) {
            (_, Some(Ok(read))) => {
                items.extend(read);
                NodeAnswer { status: "answered".into(), error: None }
            }
            (_, Some(Err(error))) => {
                let error = format!("its answer cannot be read: {error}");
                NodeAnswer { status: "error".into(), error: Some(error) }
            }
            (Fate::Silent { why, reason }, None) => {
                NodeAnswer { status: why.as_str().into(), error: Some(reason.clone()) }
            }
            (Fate::Answered { .. }, None) => NodeAnswer { status: "answered".into(), error: None },
        };
        if answer.error.is_some() {
            unheard.insert(node.clone());
        }
        nodes.insert(node.to_string(), answer);
    }
    let members: Vec<Member> = members(fleet).await?.into_iter().filter(|(name, _)| unheard.contains(name)).collect();
    items.extend(known(&fleet.store, &members).await?);
    items.sort_by(|a, b| a.node.cmp(&b.node));
    Ok(Listed { items, nodes })
}

fn read_all<T: DeserializeOwned>(node: &NodeId, texts: &[String]) -> Result<Vec<Of<T>>, serde_json::Error> {
    texts.iter().map(|text| document(text).map(|what| Of::live(node.as_str(), what))).collect()
}

/// A document of a node; a key without a value is as good as none.
fn document<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_value(without_nulls(serde_json::from_str(text)?))
}

/// Recursion is bounded by the depth that the parser reads.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let there = map.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(there.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(all) => Value::Array(all.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// Approved nodes with the labels that the admins signed.
async fn members(fleet: &Fleet) -> Result<Vec<Member>, ApiError> {
    let signed = NodeLabels::read(&fleet.delivery).await?;
    let rows = fleet.control.nodes().await?;
    let approved = rows.into_iter().filter(|row| row.state == NodeState::Approved);
    Ok(approved.map(|row| (row.node.clone(), signed.of(&row.node))).collect())
}

/// Nobody is asked: every node that is meant is silent.
async fn unasked(fleet: &Fleet, wanted: &Wanted) -> Result<Said, ApiError> {
    let (targets, mut fates) = nobody_is_all(meant(fleet, wanted).await?)?;
    for target in targets {
        let silent = Fate::Silent { why: Silence::Unreachable, reason: "it was not asked".into() };
        fates.insert(target.node, silent);
    }
    Ok(Said { documents: BTreeMap::new(), fates })
}

async fn ask(fleet: &Fleet, question: ScalingAsk, wanted: Wanted) -> Result<Said, ApiError> {
    let (targets, mut fates) = nobody_is_all(meant(fleet, &wanted).await?)?;
    let timeout = wanted.timeout.unwrap_or(TIMEOUT).min(TIMEOUT_MAX);
    let gathered = match fleet.edge.run(&Question::Scaling(question), targets, timeout).await {
        Ok(Ok(gathered)) => gathered,
        Ok(Err(error)) => return Err(ApiError::internal(&error)),
        Err(busy) => return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", busy.to_string())),
    };
    fates.extend(gathered.fates);
    Ok(Said { documents: gathered.merge.into_documents(), fates })
}

/// A fleet without nodes has nothing to show, which is no error.
fn nobody_is_all(meant: Result<super::edge::Meant, Refusal>) -> Result<super::edge::Meant, ApiError> {
    match meant {
        Ok(meant) => Ok(meant),
        Err(refused) if refused.status == 404 => Ok(Default::default()),
        Err(refused) => Err(from_refusal(refused)),
    }
}

fn silent(fates: &BTreeMap<NodeId, Fate>) -> ApiError {
    let refusal = refusal(fates);
    refusal.map_or_else(|| refused("unavailable", "no node answered".into()), from_refusal)
}

fn from_refusal(refusal: Refusal) -> ApiError {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    ApiError::new(status, refusal.kind, refusal.text)
}

/// What a node said why it has no answer.
fn refused(kind: &'static str, reason: String) -> ApiError {
    let status = match kind {
        "bad_data" => StatusCode::BAD_REQUEST,
        "not_found" => StatusCode::NOT_FOUND,
        "execution" => StatusCode::UNPROCESSABLE_ENTITY,
        "unavailable" | "timeout" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    };
    ApiError::new(status, kind, reason)
}

fn bad(message: &str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "bad_data", message)
}
