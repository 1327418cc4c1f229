//! Nodes: who asked to join, who may connect, who no longer may.

use super::schema::audit;
use super::{Control, ControlError, tokens};
use crate::pki::SpkiPin;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};
use skerry_model::{NodeId, UnixMillis};
use skerry_seal::{EnrolError, EnrolRequest, TokenSecret, X25519Public};

/// Nodes that may wait for approval at a time: whoever reaches the server can ask.
const PENDING_MAX: i64 = 1_000;
/// How long one waits before it is forgotten.
const PENDING_KEPT_MS: i64 = 7 * 86_400_000;

/// What the fleet says about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// It asked and waits.
    Pending,
    /// It may join, or has.
    Approved,
    /// It may no longer connect.
    Revoked,
}

impl NodeState {
    /// Lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Revoked => "revoked",
        }
    }
}

/// A node as the fleet knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    /// Its name.
    pub node: NodeId,
    /// What the fleet says about it.
    pub state: NodeState,
    /// Pin of its TLS key.
    pub tls_pin: SpkiPin,
    /// Its key for secrets.
    pub x25519: X25519Public,
    /// When it asked last.
    pub asked: UnixMillis,
    /// When it was given a certificate last.
    pub enrolled: Option<UnixMillis>,
    /// Until when that lasts.
    pub cert_not_after: Option<UnixMillis>,
}

/// A request to join whose form was checked.
#[derive(Debug, Clone)]
pub struct Take {
    /// The request.
    pub request: EnrolRequest,
    /// Pin of the key in its certificate request.
    pub pin: SpkiPin,
    /// Until when its certificate would last.
    pub not_after: UnixMillis,
    /// Now.
    pub now: UnixMillis,
}

/// What became of a request.
#[derive(Debug, Clone)]
pub enum Taken {
    /// The node may have its certificate; the answer is proved with this secret.
    Admitted(TokenSecret),
    /// It waits for an administrator.
    Pending,
}

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The token is not known.
    #[error("the enrolment token is not known here: it was removed, or is of another fleet; make a new one")]
    UnknownToken,
    /// The token has ended.
    #[error("the enrolment token has expired; make a new one with `skerry enrol token`")]
    Expired,
    /// The token is used up.
    #[error("the enrolment token is used up; make a new one with `skerry enrol token`, with --uses for several nodes")]
    UsedUp,
    /// The proof does not hold.
    #[error(transparent)]
    Proof(EnrolError),
    /// Another node has the name.
    #[error(
        "a node named '{0}' has joined with other keys; if this is the same machine set up anew, revoke the old node \
         with `skerry revoke {0}` first, else give this one another name"
    )]
    NameTaken(NodeId),
    /// The node was revoked.
    #[error("node '{0}' was revoked with these keys; delete the node's identity folder to join with new ones")]
    Revoked(NodeId),
    /// Too many wait.
    #[error("{PENDING_MAX} nodes wait for approval already; approve or revoke some first")]
    TooManyPending,
    /// The file failed.
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl TakeError {
    /// Stable name for API errors and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownToken => "token_unknown",
            Self::Expired => "token_expired",
            Self::UsedUp => "token_used_up",
            Self::Proof(error) => error.code(),
            Self::NameTaken(_) => "node_exists",
            Self::Revoked(_) => "node_revoked",
            Self::TooManyPending => "too_many_pending",
            Self::Control(_) => "internal",
        }
    }
}

impl Control {
    /// Decides on a request to join, and notes what was decided. A node that asks again with the same keys, because
    /// the answer was lost, is admitted again without a further use of its token.
    ///
    /// # Errors
    /// [`TakeError`]; nothing was changed then.
    pub async fn take(&self, take: Take) -> Result<Taken, TakeError> {
        self.transact(move |file| decide(file, &take)).await
    }

    /// All nodes by name.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn nodes(&self) -> Result<Vec<NodeRow>, ControlError> {
        self.transact(|file| {
            let mut query = file.prepare_cached(&format!("SELECT {COLUMNS} FROM node ORDER BY name"))?;
            let rows = query.query_map([], |row| Ok(read(row)))?;
            rows.map(|row| row?).collect()
        })
        .await
    }

    /// One node.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn node(&self, node: &NodeId) -> Result<Option<NodeRow>, ControlError> {
        let node = node.clone();
        self.transact(move |file| find(file, &node)).await
    }

    /// Lets the node with that key join; whether there is one that is not revoked. The key is part of the question,
    /// because a pending node may ask again with another one while somebody reads the fingerprint of the first.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn approve(&self, node: &NodeId, pin: SpkiPin, now: UnixMillis) -> Result<bool, ControlError> {
        let node = node.clone();
        self.transact(move |file| {
            let changed = file
                .prepare_cached(
                    "UPDATE node SET state = 'approved' WHERE name = ? AND tls_pin = ? AND state <> 'revoked'",
                )?
                .execute((node.as_str(), &pin[..]))?;
            if changed > 0 {
                audit(file, now.0, "node_approved", node.as_str())?;
            }
            Ok(changed > 0)
        })
        .await
    }

    /// Shuts a node's key out for ever; the key, where there is such a node.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn revoke(&self, node: &NodeId, now: UnixMillis) -> Result<Option<SpkiPin>, ControlError> {
        let node = node.clone();
        self.transact(move |file| {
            let Some(row) = find(file, &node)? else { return Ok(None) };
            file.prepare_cached("UPDATE node SET state = 'revoked' WHERE name = ?")?.execute([node.as_str()])?;
            file.prepare_cached("INSERT INTO revoked_pin(pin, node, at) VALUES(?, ?, ?) ON CONFLICT DO NOTHING")?
                .execute((&row.tls_pin[..], node.as_str(), now.0))?;
            audit(file, now.0, "node_revoked", node.as_str())?;
            Ok(Some(row.tls_pin))
        })
        .await
    }

    /// Every key that was ever revoked.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn revoked_pins(&self) -> Result<Vec<SpkiPin>, ControlError> {
        self.transact(|file| {
            let mut query = file.prepare_cached("SELECT pin FROM revoked_pin")?;
            let rows = query.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
            rows.map(|pin| SpkiPin::try_from(pin?).map_err(|_| ControlError::Damaged { what: "key pin" })).collect()
        })
        .await
    }
}

fn decide(file: &Connection, take: &Take) -> Result<Taken, TakeError> {
    let Take { request, pin, not_after, now } = take;
    let known = find(file, &request.node)?;
    let is_same = |row: &NodeRow| row.tls_pin == *pin && row.x25519 == request.x25519;
    match &known {
        Some(row) if row.state == NodeState::Revoked && row.tls_pin == *pin => {
            return Err(TakeError::Revoked(request.node.clone()));
        }
        Some(row) if row.state == NodeState::Approved && !is_same(row) => {
            return Err(TakeError::NameTaken(request.node.clone()));
        }
        _ => {}
    }
    let Some(proof) = request.proof else {
        wait(file, take, known.as_ref())?;
        return Ok(Taken::Pending);
    };
    let token = tokens::find(file, proof.token)?.ok_or(TakeError::UnknownToken)?;
    request.verify(&token.secret).map_err(TakeError::Proof)?;
    if token.expires < *now {
        return Err(TakeError::Expired);
    }
    let again = known.as_ref().is_some_and(|row| is_same(row) && row.state == NodeState::Approved);
    let enrolled = again && known.as_ref().is_some_and(|row| row.enrolled.is_some());
    if !enrolled && token.left <= 0 {
        return Err(TakeError::UsedUp);
    }
    if token.approval && !again {
        wait(file, take, known.as_ref())?;
        return Ok(Taken::Pending);
    }
    if !enrolled {
        tokens::spend(file, proof.token)?;
    }
    file.prepare_cached(
        "INSERT INTO node(name, state, tls_pin, x25519, token, asked, enrolled, cert_not_after)
         VALUES(?1, 'approved', ?2, ?3, ?4, ?5, ?5, ?6)
         ON CONFLICT(name) DO UPDATE SET
           state = 'approved', tls_pin = ?2, x25519 = ?3, token = ?4, asked = ?5, enrolled = ?5, cert_not_after = ?6",
    )
    .and_then(|mut insert| {
        insert.execute((
            request.node.as_str(),
            &pin[..],
            &request.x25519.0[..],
            proof.token.to_string(),
            now.0,
            not_after.0,
        ))
    })
    .map_err(ControlError::from)?;
    audit(file, now.0, "node_enrolled", request.node.as_str()).map_err(ControlError::from)?;
    Ok(Taken::Admitted(token.secret))
}

/// Notes a node that waits. A revoked or approved one stays as it is.
fn wait(file: &Connection, take: &Take, known: Option<&NodeRow>) -> Result<(), TakeError> {
    let Take { request, pin, now, .. } = take;
    // Whoever shows no token changes nothing about a node that is known already.
    if known.is_some_and(|row| row.state == NodeState::Approved || request.proof.is_none()) {
        return Ok(());
    }
    let noted = (|| {
        file.prepare_cached("DELETE FROM node WHERE state = 'pending' AND asked < ?")?
            .execute([now.0 - PENDING_KEPT_MS])?;
        let waiting: i64 = file.query_row("SELECT count(*) FROM node WHERE state = 'pending'", [], |row| row.get(0))?;
        if known.is_none() && waiting >= PENDING_MAX {
            return Ok(false);
        }
        file.prepare_cached(
            "INSERT INTO node(name, state, tls_pin, x25519, asked) VALUES(?1, 'pending', ?2, ?3, ?4)
             ON CONFLICT(name) DO UPDATE SET state = 'pending', tls_pin = ?2, x25519 = ?3, asked = ?4",
        )?
        .execute((request.node.as_str(), &pin[..], &request.x25519.0[..], now.0))?;
        Ok(true)
    })();
    match noted.map_err(ControlError::Database)? {
        true => Ok(()),
        false => Err(TakeError::TooManyPending),
    }
}

const COLUMNS: &str = "name, state, tls_pin, x25519, asked, enrolled, cert_not_after";

/// The node of that name.
pub(super) fn find(file: &Connection, node: &NodeId) -> Result<Option<NodeRow>, ControlError> {
    file.prepare_cached(&format!("SELECT {COLUMNS} FROM node WHERE name = ?"))?
        .query_row([node.as_str()], |row| Ok(read(row)))
        .optional()?
        .transpose()
}

fn read(row: &Row<'_>) -> Result<NodeRow, ControlError> {
    let damaged = || ControlError::Damaged { what: "node" };
    let state = match row.get::<_, String>(1)?.as_str() {
        "pending" => NodeState::Pending,
        "approved" => NodeState::Approved,
        "revoked" => NodeState::Revoked,
        _ => return Err(damaged()),
    };
    Ok(NodeRow {
        node: row.get::<_, String>(0)?.parse().map_err(|_| damaged())?,
        state,
        tls_pin: row.get::<_, Vec<u8>>(2)?.try_into().map_err(|_| damaged())?,
        x25519: X25519Public(row.get::<_, Vec<u8>>(3)?.try_into().map_err(|_| damaged())?),
        asked: UnixMillis(row.get(4)?),
        enrolled: row.get::<_, Option<i64>>(5)?.map(UnixMillis),
        cert_not_after: row.get::<_, Option<i64>>(6)?.map(UnixMillis),
    })
}
