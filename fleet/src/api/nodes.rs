//! Nodes: who they are, how they are, what happened to them.

use super::view::{
    AssignmentView, ConfigView, EventList, EventView, HostView, LossList, LossView, NewestView, NodeDetail, NodeList,
    NodeView,
};
use super::{ApiError, Fleet};
use crate::control::{NodeRow, NodeState};
use crate::ingest::NodeLive;
use crate::remote::receive::is_reserved;
use crate::store::{Counts, EventRow, event_kind};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use skerry_model::{Labels, NodeId, UnixMillis};
use skerry_seal::{Assignment, fingerprint_words, hex};
use skerry_wire::{EventKind, ScalingEvent};
use std::collections::BTreeMap;

/// Events and losses that one answer has at most.
const ROWS_MAX: u32 = 10_000;
/// Series that one answer has at most.
const NEWEST_MAX: usize = 5_000;
/// Events beside a node's facts.
const EVENTS_SHOWN: u32 = 20;

/// How many rows an answer shall have.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Limit {
    limit: Option<u32>,
}

/// How many newest values an answer shall have.
#[derive(Debug, Default, Deserialize)]
pub(super) struct NewestLimit {
    newest: Option<usize>,
}

/// The node's key that the administrator has compared.
#[derive(Debug, Deserialize)]
pub(super) struct Approval {
    tls_pin: String,
}

pub(super) async fn list(State(fleet): State<Fleet>) -> Result<Json<NodeList>, ApiError> {
    Ok(Json(NodeList { nodes: node_views(&fleet).await? }))
}

pub(super) async fn show(
    State(fleet): State<Fleet>,
    Path(name): Path<String>,
    Query(limit): Query<NewestLimit>,
) -> Result<Json<NodeDetail>, ApiError> {
    node_detail(&fleet, &name, limit.newest.unwrap_or(NEWEST_MAX).min(NEWEST_MAX)).await.map(Json)
}

pub(super) async fn approve(
    State(fleet): State<Fleet>,
    Path(name): Path<String>,
    Query(approval): Query<Approval>,
) -> Result<StatusCode, ApiError> {
    let node = existing(&fleet, &name).await?.node;
    let pin = approval.tls_pin.parse::<skerry_seal::PublicKey>().map_err(|_| {
        ApiError::new(StatusCode::BAD_REQUEST, "pin_invalid", "tls_pin: 64 hexadecimal digits are expected")
    })?;
    if fleet.control.approve(&node, pin.0, (fleet.wall)()).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let message = format!("node '{name}' is revoked or has other keys by now; compare its fingerprint again");
    Err(ApiError::new(StatusCode::CONFLICT, "other_keys", message))
}

pub(super) async fn revoke(State(fleet): State<Fleet>, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    let node: NodeId = name.parse().map_err(|_| ApiError::no_node(&name))?;
    let pin = fleet.control.revoke(&node, (fleet.wall)()).await?.ok_or_else(|| ApiError::no_node(&name))?;
    // Durable first, then in force: a crash between leaves the key shut out after the restart.
    fleet.admission.revoke(pin);
    tracing::warn!(%node, "node revoked");
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn events(
    State(fleet): State<Fleet>,
    Path(name): Path<String>,
    Query(limit): Query<Limit>,
) -> Result<Json<EventList>, ApiError> {
    let node = existing(&fleet, &name).await?.node;
    let rows = fleet.store.events(Some(&node), limit.limit.unwrap_or(200).min(ROWS_MAX)).await?;
    Ok(Json(EventList { events: rows.iter().map(event_view).collect() }))
}

pub(super) async fn losses(
    State(fleet): State<Fleet>,
    Path(name): Path<String>,
    Query(limit): Query<Limit>,
) -> Result<Json<LossList>, ApiError> {
    let node = match name.parse() {
        // Senders of remote write have a ledger too.
        Ok(sender) if is_reserved(&sender) => sender,
        _ => existing(&fleet, &name).await?.node,
    };
    let rows = fleet.store.losses(&node, limit.limit.unwrap_or(200).min(ROWS_MAX)).await?;
    let view = |row: crate::store::LossRow| LossView {
        stream: row.stream.as_str().into(),
        reason: row.reason.as_str().into(),
        count: row.count,
        from_ms: row.range.from.0,
        to_ms: row.range.to.0,
        source: row.source,
    };
    Ok(Json(LossList { losses: rows.into_iter().map(view).collect() }))
}

/// The node of that name.
pub(super) async fn existing(fleet: &Fleet, name: &str) -> Result<NodeRow, ApiError> {
    let node: NodeId = name.parse().map_err(|_| ApiError::no_node(name))?;
    fleet.control.node(&node).await?.ok_or_else(|| ApiError::no_node(name))
}

/// All nodes by name.
///
/// # Errors
/// [`ApiError`] where a database fails.
pub async fn node_views(fleet: &Fleet) -> Result<Vec<NodeView>, ApiError> {
    let counts = fleet.store.counts().await?;
    let live = fleet.liveness.nodes();
    let assignments: BTreeMap<NodeId, Assignment> = fleet
        .control
        .assignments()
        .await?
        .into_iter()
        .filter_map(|(node, stored)| fleet.delivery.read(&stored).map(|doc| (node, doc)))
        .collect();
    let now = (fleet.wall)();
    let view = |row: &NodeRow| {
        let counts = counts.get(&row.node).copied().unwrap_or_default();
        node_view(row, live.get(&row.node), assignments.get(&row.node), counts, now)
    };
    Ok(fleet.control.nodes().await?.iter().map(view).collect())
}

/// One node with its `newest` newest values.
///
/// # Errors
/// [`ApiError`] if there is no such node or a database fails.
pub async fn node_detail(fleet: &Fleet, name: &str, newest: usize) -> Result<NodeDetail, ApiError> {
    let row = existing(fleet, name).await?;
    let now = (fleet.wall)();
    let live = fleet.liveness.node(&row.node);
    let counts = fleet.store.counts().await?.get(&row.node).copied().unwrap_or_default();
    let assignment = fleet.control.assignment(&row.node).await?.and_then(|stored| fleet.delivery.read(&stored));
    let values = fleet.store.newest(&row.node, now, newest).await?;
    let events = fleet.store.events(Some(&row.node), EVENTS_SHOWN).await?;
    let host = live.as_ref().and_then(|live| live.hello.as_ref()).map(|hello| HostView {
        hostname: hello.host.hostname.clone(),
        os: hello.host.os.clone(),
        kernel: hello.host.kernel.clone(),
        arch: hello.host.arch.clone(),
        memory_bytes: hello.host.memory_bytes,
        cpus: hello.host.cpus,
    });
    let status = live.as_ref().and_then(|live| live.status.clone());
    Ok(NodeDetail {
        node: node_view(&row, live.as_ref(), assignment.as_ref(), counts, now),
        host,
        peer: live.as_ref().and_then(|live| live.peer).map(|peer| peer.to_string()),
        tls_pin: hex(&row.tls_pin),
        x25519: hex(&row.x25519.0),
        enrolled_ms: row.enrolled.map(|at| at.0),
        cert_not_after_ms: row.cert_not_after.map(|at| at.0),
        assignment: assignment.map(|doc| AssignmentView {
            epoch: doc.revision.epoch,
            version: doc.revision.version,
            streams: doc.streams.keys().map(ToString::to_string).collect(),
            labels: doc.labels,
            revoked: doc.revoked,
        }),
        rss_bytes: status.as_ref().map(|status| status.rss_bytes),
        db_bytes: status.as_ref().map(|status| status.db_bytes),
        time_trusted: status.as_ref().map(|status| status.time_trusted),
        newest: values
            .iter()
            .map(|(labels, sample)| NewestView {
                metric: pairs(labels),
                value: skerry_promql::number_text(sample.value),
                at_ms: sample.at.0,
            })
            .collect(),
        events: events.iter().map(event_view).collect(),
    })
}

fn node_view(
    row: &NodeRow,
    live: Option<&NodeLive>,
    assignment: Option<&Assignment>,
    counts: Counts,
    now: UnixMillis,
) -> NodeView {
    let hello = live.and_then(|live| live.hello.as_deref());
    let status = live.and_then(|live| live.status.as_deref());
    let mut problems: Vec<String> = status.map(|status| status.problems.clone()).unwrap_or_default();
    problems.extend(live.and_then(|live| live.fault.clone()));
    if row.state == NodeState::Approved && row.enrolled.is_some() && assignment.is_none() {
        problems.push(format!("no signed assignment: sign one with `skerry assign {}`", row.node));
    }
    if row.state == NodeState::Pending {
        problems.push(format!("waits for approval: compare the fingerprint, then `skerry enrol approve {}`", row.node));
    }
    let configs = status.map(|status| &status.configs).or(hello.map(|hello| &hello.configs));
    let reach = match live {
        Some(live) if live.last_seen.is_some() => live.state(now).as_str(),
        _ => "never",
    };
    NodeView {
        node: row.node.to_string(),
        state: row.state.as_str().into(),
        reach: reach.into(),
        last_seen_ms: live.and_then(|live| live.last_seen).map(|at| at.0),
        agent_version: hello.map(|hello| hello.agent_version.clone()),
        fingerprint: fingerprint_words(&row.tls_pin, &row.x25519).join(" "),
        labels: assignment.map(|doc| doc.labels.clone()).unwrap_or_default(),
        streams: followed(assignment),
        backlog: status
            .map(|status| status.backlog.iter().map(|b| (b.stream.as_str().to_owned(), b.waiting)).collect())
            .unwrap_or_default(),
        configs: configs
            .into_iter()
            .flatten()
            .map(|c| ConfigView { stream: c.stream.to_string(), epoch: c.epoch, version: c.version })
            .collect(),
        batches: counts.batches,
        samples: counts.samples,
        log_lines: counts.log_lines,
        losses: counts.losses,
        problems,
    }
}

/// The streams that a node follows.
fn followed(assignment: Option<&Assignment>) -> Vec<String> {
    let in_service = assignment.filter(|doc| !doc.revoked);
    in_service.map(|doc| doc.streams.keys().map(ToString::to_string).collect()).unwrap_or_default()
}

/// An event as the API shows it.
fn event_view(row: &EventRow) -> EventView {
    EventView {
        at_ms: row.event.at.0,
        received_ms: row.received.0,
        kind: event_kind(&row.event.kind).into(),
        text: event_text(&row.event.kind),
    }
}

/// An event for people.
fn event_text(kind: &EventKind) -> String {
    let config = |c: &skerry_wire::ConfigState| format!("{} {}.{}", c.stream, c.epoch, c.version);
    match kind {
        EventKind::Started { version, clean: true } => format!("agent {version} started"),
        EventKind::Started { version, clean: false } => format!("agent {version} started after an unclean stop"),
        EventKind::Stopped => "agent stopped in order".into(),
        EventKind::ConfigApplied(applied) => format!("{} runs", config(applied)),
        EventKind::ConfigRefused { config: Some(refused), code, reason } => {
            format!("{} refused ({code}): {reason}", config(refused))
        }
        EventKind::ConfigRefused { config: None, code, reason } => format!("document refused ({code}): {reason}"),
        EventKind::ConfigRolledBack { config: failed, reason } => {
            format!("{} failed its trial: {reason}", config(failed))
        }
        EventKind::AssignmentApplied { epoch, version, revoked: false } => format!("assignment {epoch}.{version}"),
        EventKind::AssignmentApplied { epoch, version, revoked: true } => {
            format!("assignment {epoch}.{version}: out of service")
        }
        EventKind::Loss(loss) => {
            let count = loss.count.map_or_else(|| "an unknown number of".into(), |n| n.to_string());
            format!("{count} records of {} missing: {} ({})", loss.stream, loss.reason.as_str(), loss.source)
        }
        EventKind::CollectorFailed { collector, error } => format!("collector {collector} fails: {error}"),
        EventKind::CollectorRecovered { collector } => format!("collector {collector} works again"),
        EventKind::ClockStep { by_ms } => format!("clock set by {by_ms} ms"),
        EventKind::Alert(alert) => {
            let state = match (alert.ends_at, alert.is_history) {
                (None, _) => "fires",
                (Some(_), false) => "ended",
                (Some(_), true) => "fired and ended offline",
            };
            format!("alert {} {state}, value {}", alert.labels, alert.value)
        }
        EventKind::Scaling(event) => {
            let ScalingEvent { policy, target, from, to, reason, message } = event;
            format!("policy {policy}, {target}: {reason}, {from} to {to} replicas: {message}")
        }
        EventKind::Workload(event) => {
            let container = event.container.as_ref().map_or(String::new(), |name| format!(" ({name})"));
            format!("workload {}{container}: {}: {}", event.workload, event.reason, event.message)
        }
    }
}

/// Labels as a map.
pub(super) fn pairs(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
