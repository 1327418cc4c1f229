//! Signed documents: configs, assignments, root documents.

use super::view::{ConfigList, ConfigRevision, ConfigRevisions, Reached, TrustView};
use super::{ApiError, Fleet};
use crate::control::{ControlError, DocumentError, StoredDocument, Uploaded};
use crate::trust::TrustFileError;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use skerry_model::{NodeId, StreamName};
use skerry_seal::{ConfigDoc, Envelope, hex, read_config};

/// Revisions that are listed.
const REVISIONS_MAX: u32 = 100;

/// Takes a config in and sends it to the nodes that follow its stream.
pub(super) async fn add_config(State(fleet): State<Fleet>, body: Bytes) -> Result<Json<Reached>, ApiError> {
    let added = fleet.control.add_config(body.to_vec(), &fleet.trust.current(), (fleet.wall)()).await;
    let (is_new, doc) = match added.map_err(|error| refused(&fleet, error))? {
        Uploaded::New(doc) => (true, doc),
        Uploaded::Known(doc) => (false, doc),
    };
    let nodes = fleet.delivery.push_stream(&doc.stream).await?;
    tracing::info!(stream = %doc.stream, revision = %doc.revision, nodes = nodes.len(), is_new, "config taken in");
    Ok(Json(Reached {
        subject: doc.stream.to_string(),
        epoch: doc.revision.epoch,
        version: doc.revision.version,
        is_new,
        nodes: nodes.iter().map(ToString::to_string).collect(),
    }))
}

/// Takes an assignment in and sends it to its node.
pub(super) async fn add_assignment(State(fleet): State<Fleet>, body: Bytes) -> Result<Json<Reached>, ApiError> {
    let now = (fleet.wall)();
    let added = fleet.control.add_assignment(body.to_vec(), &fleet.trust.current(), now).await;
    let (is_new, doc) = match added.map_err(|error| refused(&fleet, error))? {
        Uploaded::New(doc) => (true, doc),
        Uploaded::Known(doc) => (false, doc),
    };
    fleet.delivery.push(&doc.node).await;
    tracing::info!(node = %doc.node, revision = %doc.revision, is_new, "assignment taken in");
    Ok(Json(Reached {
        subject: doc.node.to_string(),
        epoch: doc.revision.epoch,
        version: doc.revision.version,
        is_new,
        nodes: vec![doc.node.to_string()],
    }))
}

/// Takes the next root document in.
pub(super) async fn add_root(State(fleet): State<Fleet>, body: Bytes) -> Result<Json<Reached>, ApiError> {
    let version = match fleet.trust.add(&body, &fleet.control, (fleet.wall)()).await {
        Ok(version) => version,
        Err(error @ TrustFileError::Chain(_)) => {
            fleet.requests.refuse(error.code());
            let message = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            return Err(ApiError::new(StatusCode::CONFLICT, error.code(), message));
        }
        Err(error) => return Err(ApiError::internal(&error)),
    };
    let nodes: Vec<NodeId> = fleet.liveness.nodes().into_keys().collect();
    for node in &nodes {
        fleet.delivery.push(node).await;
    }
    let epoch = fleet.trust.current().current().revision.epoch;
    let nodes = nodes.iter().map(ToString::to_string).collect();
    Ok(Json(Reached { subject: "root".into(), epoch, version, is_new: true, nodes }))
}

/// The chain of root documents.
pub(super) async fn trust(State(fleet): State<Fleet>) -> Json<TrustView> {
    let trust = fleet.trust.current();
    Json(TrustView {
        fleet: trust.fleet().to_string(),
        roots: trust.roots().iter().map(|root| BASE64.encode(root)).collect(),
        root_hash: hex(&trust.pin()),
    })
}

/// A node's newest assignment, as it was sealed.
pub(super) async fn assignment(
    State(fleet): State<Fleet>,
    Path(node): Path<String>,
) -> Result<Json<serde_json::Value>, ApiError> {
    let parsed: NodeId = node.parse().map_err(|_| ApiError::no_node(&node))?;
    match fleet.control.assignment(&parsed).await? {
        Some(stored) => Ok(Json(serde_json::json!({"envelope": BASE64.encode(stored.envelope)}))),
        None => {
            let message = format!("node '{node}' has no assignment; sign one with `skerry assign {node}`");
            Err(ApiError::new(StatusCode::NOT_FOUND, "unassigned", message))
        }
    }
}

/// Names of the config streams with their newest revision.
pub(super) async fn streams(State(fleet): State<Fleet>) -> Result<Json<ConfigList>, ApiError> {
    let mut configs = Vec::new();
    for stream in fleet.control.streams().await? {
        let newest = fleet.control.configs(&stream, 1).await?;
        configs.extend(newest.iter().filter_map(|stored| view(&fleet, &stream, stored)));
    }
    Ok(Json(ConfigList { configs }))
}

/// Revisions of a config stream, newest first.
pub(super) async fn revisions(
    State(fleet): State<Fleet>,
    Path((kind, name)): Path<(String, String)>,
) -> Result<Json<ConfigRevisions>, ApiError> {
    let unknown = || {
        let message = format!("no config stream '{kind}/{name}'; `skerry get configs` lists them");
        ApiError::new(StatusCode::NOT_FOUND, "stream_unknown", message)
    };
    let stream: StreamName = format!("{kind}/{name}").parse().map_err(|_| unknown())?;
    let stored = fleet.control.configs(&stream, REVISIONS_MAX).await?;
    if stored.is_empty() {
        return Err(unknown());
    }
    let revisions = stored.iter().filter_map(|stored| view(&fleet, &stream, stored)).collect();
    Ok(Json(ConfigRevisions { stream: stream.to_string(), revisions }))
}

fn view(fleet: &Fleet, stream: &StreamName, stored: &StoredDocument) -> Option<ConfigRevision> {
    // A revision whose signers have lost the role since is shown all the same: it is what nodes run.
    let doc = match read_config(&stored.envelope, &fleet.trust.current()) {
        Ok(accepted) => accepted.doc,
        Err(_) => ConfigDoc::decode(Envelope::parse(&stored.envelope).ok()?.unverified_payload()).ok()?,
    };
    Some(ConfigRevision {
        stream: stream.to_string(),
        epoch: stored.revision.epoch,
        version: stored.revision.version,
        issued_ms: doc.issued.0,
        not_after_ms: doc.not_after.map(|at| at.0),
        received_ms: stored.received.0,
        sha256: hex(&stored.hash),
        signers: signers(&stored.envelope),
        body: String::from_utf8_lossy(&doc.body).into_owned(),
    })
}

fn refused(fleet: &Fleet, error: DocumentError) -> ApiError {
    let status = match &error {
        DocumentError::Control(cause) => return ApiError::internal(cause as &ControlError),
        DocumentError::UnknownNode(_) => StatusCode::NOT_FOUND,
        DocumentError::OtherKeys(_) => StatusCode::CONFLICT,
        DocumentError::Refused(refusal) => match refusal.code() {
            "rollback" | "equivocation" | "epoch_ahead" | "config_expired" | "expired" => StatusCode::CONFLICT,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        },
    };
    fleet.requests.refuse(error.code());
    tracing::warn!(code = error.code(), reason = %error, "a signed document was not taken");
    ApiError::new(status, error.code(), error.to_string())
}

fn signers(envelope: &[u8]) -> Vec<String> {
    let parsed = Envelope::parse(envelope);
    parsed.map(|envelope| envelope.claimed_signers().iter().map(ToString::to_string).collect()).unwrap_or_default()
}
