//! Whether a node adopts a document: every check, in the one order that is safe.
//!
//! Size, strict form, tag, content type and crit (all in [`Envelope::parse`]); signatures; only then the content is
//! read; fleet; the stream is in the signed assignment and not below its lowest revision; the revision is above
//! the stored floor; time; the agent's version; the node's own secrets open. The first check that fails decides.
//! What remains is the caller's: dry run, one transaction with document and [`crate::Floors`], trial. If the
//! trial fails the last good config runs, but the floor stays: the mend is a higher version.
//!
//! Invariants:
//! - `Ok(Verdict::Adopt)` means that every check passed; nothing was stored or changed.
//! - A revision's epoch is at most the root document's: else the thief of a config key could sign in an epoch that
//!   no administrator could ever get above.

use crate::cbor::DocError;
use crate::clock::{TrustedTime, Utc};
use crate::doc::{AgentVersion, Assignment, ConfigDoc, Revision};
use crate::envelope::{Envelope, EnvelopeError, Role, Verified};
use crate::fleet::FleetId;
use crate::floors::{Floor, Floors};
use crate::keys::sha256;
use crate::secret::{SecretError, SecretValue, X25519Key, X25519Public, open_secret};
use crate::trust::TrustStore;
use skerry_model::{NodeId, StreamName, UnixMillis};
use std::collections::BTreeMap;

/// Who this node is.
#[derive(Debug, Clone)]
pub struct NodeIdentity {
    /// Its name, as in its certificate.
    pub node: NodeId,
    /// SHA-256 of the DER SubjectPublicKeyInfo of its TLS key.
    pub tls_pin: [u8; 32],
    /// Its key for secrets.
    pub key: X25519Key,
    /// Version of the agent that runs.
    pub agent: AgentVersion,
}

/// What a node knows when a document arrives.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The root document in force.
    pub trust: &'a TrustStore,
    /// Who the node is.
    pub identity: &'a NodeIdentity,
    /// The assignment adopted last; not needed to verify an assignment.
    pub assignment: Option<&'a Assignment>,
    /// What was adopted before.
    pub floors: &'a Floors,
    /// The time, as a [`crate::TrustedClock`] reads it.
    pub time: TrustedTime,
}

/// A document that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted<D> {
    /// The document.
    pub doc: D,
    /// SHA-256 of its payload, for the floor, and for [`reopen_config`] and [`reopen_assignment`].
    pub hash: [u8; 32],
}

/// A config that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedConfig {
    /// The document.
    pub doc: ConfigDoc,
    /// SHA-256 of its payload, for the floor and for [`reopen_config`].
    pub hash: [u8; 32],
    /// This node's secrets by path, wiped when dropped.
    pub secrets: BTreeMap<String, SecretValue>,
    /// The node's clock was not believed, so `not_after` was compared with a lower bound of the time alone.
    pub time_untrusted: bool,
}

/// What to do with a document that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict<T> {
    /// Adopt it.
    Adopt(T),
    /// It is the one adopted last: nothing to do.
    Unchanged,
}

/// Why a document is not adopted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The envelope is malformed or its signatures do not count.
    #[error(transparent)]
    Envelope(EnvelopeError),
    /// The root document gives this role to nobody.
    #[error("the root document names no keys for role '{0}'; add them to the root document")]
    NoSuchRole(Role),
    /// The content cannot be read.
    #[error(transparent)]
    Document(DocError),
    /// For another fleet.
    #[error("the document is for fleet '{found}', this node belongs to '{expected}'")]
    OtherFleet {
        /// The fleet it names.
        found: FleetId,
        /// This node's fleet.
        expected: FleetId,
    },
    /// The assignment is for another node.
    #[error("the assignment is for node '{found}', this is '{expected}'")]
    OtherNode {
        /// The node it names.
        found: NodeId,
        /// This node.
        expected: NodeId,
    },
    /// The assignment names another TLS key.
    #[error("the assignment names another TLS key than this node's; compare the node's fingerprint and sign it again")]
    OtherTlsKey,
    /// The assignment names another key for secrets.
    #[error(
        "the assignment names another X25519 key than this node's; compare the node's fingerprint and sign it again"
    )]
    OtherX25519Key,
    /// The node has no assignment.
    #[error("this node has no signed assignment yet, so it follows no stream; sign one with `skerry`")]
    Unassigned,
    /// The node was revoked.
    #[error("this node was revoked and adopts no configs; enrol it again to take it back")]
    Revoked,
    /// The node does not follow the stream.
    #[error("this node does not follow stream '{stream}'; add it to the node's assignment")]
    OtherStream {
        /// The stream.
        stream: StreamName,
    },
    /// Below what the assignment allows.
    #[error("revision {found} of stream '{stream}' is below {lowest}, the lowest that the assignment allows")]
    BelowLowest {
        /// The stream.
        stream: StreamName,
        /// Its revision.
        found: Revision,
        /// The lowest allowed.
        lowest: Revision,
    },
    /// Its epoch is ahead of the root document.
    #[error("revision {found} is of an epoch after {epoch}, that of the root document; bring the newer root document")]
    EpochAhead {
        /// Its revision.
        found: Revision,
        /// The root document's epoch.
        epoch: u64,
    },
    /// Older than what was adopted.
    #[error("revision {found} is older than {floor}, which was adopted before; sign the content as a new version")]
    Rollback {
        /// Its revision.
        found: Revision,
        /// The newest adopted.
        floor: Revision,
    },
    /// Another document of the same revision was adopted.
    #[error(
        "revision {revision} was adopted before with other content: the keys sign two histories; \
             find out who signed, and sign a higher version"
    )]
    Equivocation {
        /// The revision of both.
        revision: Revision,
    },
    /// No longer to be adopted.
    #[error("the config was to be adopted by {}, it is {} now; sign it again", Utc(*not_after), Utc(*now))]
    Expired {
        /// Its end.
        not_after: UnixMillis,
        /// The time now, or a time that has certainly passed.
        now: UnixMillis,
    },
    /// For newer agents.
    #[error("the config needs agent {needed}, this is {found}; upgrade the agent first")]
    AgentTooOld {
        /// Lowest version that takes it.
        needed: AgentVersion,
        /// The version that runs.
        found: AgentVersion,
    },
    /// One of the node's secrets does not open.
    #[error(transparent)]
    Secret(SecretError),
    /// A stored document is not the one that was adopted.
    #[error("the stored document was damaged: its hash is not the one that was adopted; fetch it again")]
    Damaged,
}

impl Refusal {
    /// Stable name for metrics and events.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Envelope(error) => error.code(),
            Self::NoSuchRole(_) => "no_such_role",
            Self::Document(_) => "document_invalid",
            Self::OtherFleet { .. } => "other_fleet",
            Self::OtherNode { .. } => "other_node",
            Self::OtherTlsKey => "other_tls_key",
            Self::OtherX25519Key => "other_x25519_key",
            Self::Unassigned => "unassigned",
            Self::Revoked => "revoked",
            Self::OtherStream { .. } => "other_stream",
            Self::BelowLowest { .. } => "below_lowest",
            Self::EpochAhead { .. } => "epoch_ahead",
            Self::Rollback { .. } => "rollback",
            Self::Equivocation { .. } => "equivocation",
            Self::Expired { .. } => "expired",
            Self::AgentTooOld { .. } => "agent_too_old",
            Self::Secret(_) => "secret_not_opened",
            Self::Damaged => "stored_document_damaged",
        }
    }
}

/// Decides about a config.
///
/// # Errors
/// [`Refusal`] of the first check that fails.
pub fn verify_config(envelope: &[u8], context: &Context<'_>) -> Result<Verdict<AcceptedConfig>, Refusal> {
    let Accepted { doc, hash } = read_config(envelope, context.trust)?;
    let assignment = context.assignment.ok_or(Refusal::Unassigned)?;
    if assignment.revoked {
        return Err(Refusal::Revoked);
    }
    let Some(lowest) = assignment.streams.get(&doc.stream) else {
        return Err(Refusal::OtherStream { stream: doc.stream });
    };
    if doc.revision < *lowest {
        return Err(Refusal::BelowLowest { stream: doc.stream, found: doc.revision, lowest: *lowest });
    }
    if is_unchanged(doc.revision, hash, context.floors.config(&doc.stream), context.trust)? {
        return Ok(Verdict::Unchanged);
    }
    // An untrusted time is one that has certainly passed, so it too proves that a document has expired.
    let now = context.time.at;
    if let Some(not_after) = doc.not_after.filter(|not_after| now > *not_after) {
        return Err(Refusal::Expired { not_after, now });
    }
    if context.identity.agent < doc.min_agent {
        return Err(Refusal::AgentTooOld { needed: doc.min_agent, found: context.identity.agent });
    }
    let secrets = own_secrets(&doc, context.identity)?;
    Ok(Verdict::Adopt(AcceptedConfig { doc, hash, secrets, time_untrusted: !context.time.trusted }))
}

/// Decides about an assignment. One that revokes the node passes too: store it, and stop.
///
/// # Errors
/// [`Refusal`] of the first check that fails.
pub fn verify_assignment(envelope: &[u8], context: &Context<'_>) -> Result<Verdict<Accepted<Assignment>>, Refusal> {
    let Accepted { doc, hash } = read_assignment(envelope, context.trust)?;
    check_identity(&doc, context.identity)?;
    if is_unchanged(doc.revision, hash, context.floors.assignment(), context.trust)? {
        return Ok(Verdict::Unchanged);
    }
    Ok(Verdict::Adopt(Accepted { doc, hash }))
}

/// Opens a config that was adopted before, from this node's own storage. Its signatures, floor and expiry were
/// checked then and are not checked again: expiry and key rotation never stop a config that runs.
///
/// # Errors
/// [`Refusal`] if it is not the document with the stored `hash`, or a secret does not open.
pub fn reopen_config(envelope: &[u8], hash: &[u8; 32], identity: &NodeIdentity) -> Result<AcceptedConfig, Refusal> {
    let doc = ConfigDoc::decode(&reopen(envelope, Role::Config, hash)?).map_err(Refusal::Document)?;
    let secrets = own_secrets(&doc, identity)?;
    Ok(AcceptedConfig { doc, hash: *hash, secrets, time_untrusted: false })
}

/// Opens an assignment that was adopted before, from this node's own storage.
///
/// # Errors
/// [`Refusal`] if it is not the document with the stored `hash`, or the node's identity is another by now.
pub fn reopen_assignment(envelope: &[u8], hash: &[u8; 32], identity: &NodeIdentity) -> Result<Assignment, Refusal> {
    let doc = Assignment::decode(&reopen(envelope, Role::Assign, hash)?).map_err(Refusal::Document)?;
    check_identity(&doc, identity)?;
    Ok(doc)
}

/// Reads a config whose signatures hold, for servers and tools: nothing that depends on a node is checked.
///
/// # Errors
/// [`Refusal`] if envelope, signatures, content or fleet are not right.
pub fn read_config(envelope: &[u8], trust: &TrustStore) -> Result<Accepted<ConfigDoc>, Refusal> {
    let verified = verified(envelope, Role::Config, trust)?;
    let doc = ConfigDoc::decode(&verified.payload).map_err(Refusal::Document)?;
    check_fleet(&doc.fleet, trust)?;
    Ok(Accepted { doc, hash: verified.hash() })
}

/// Reads an assignment whose signatures hold, for servers and tools: nothing that depends on a node is checked.
///
/// # Errors
/// [`Refusal`] if envelope, signatures, content or fleet are not right.
pub fn read_assignment(envelope: &[u8], trust: &TrustStore) -> Result<Accepted<Assignment>, Refusal> {
    let verified = verified(envelope, Role::Assign, trust)?;
    let doc = Assignment::decode(&verified.payload).map_err(Refusal::Document)?;
    check_fleet(&doc.fleet, trust)?;
    Ok(Accepted { doc, hash: verified.hash() })
}

fn verified(envelope: &[u8], role: Role, trust: &TrustStore) -> Result<Verified, Refusal> {
    let envelope = Envelope::parse(envelope).map_err(Refusal::Envelope)?;
    let keys = trust.role(role).ok_or(Refusal::NoSuchRole(role))?;
    envelope.verify(role, trust.fleet(), keys).map_err(Refusal::Envelope)
}

fn reopen(envelope: &[u8], role: Role, hash: &[u8; 32]) -> Result<Vec<u8>, Refusal> {
    let envelope = Envelope::parse(envelope).map_err(Refusal::Envelope)?;
    if envelope.role() != role || sha256(envelope.unverified_payload()) != *hash {
        return Err(Refusal::Damaged);
    }
    Ok(envelope.unverified_payload().to_vec())
}

fn check_fleet(found: &FleetId, trust: &TrustStore) -> Result<(), Refusal> {
    if found == trust.fleet() {
        return Ok(());
    }
    Err(Refusal::OtherFleet { found: found.clone(), expected: trust.fleet().clone() })
}

fn check_identity(doc: &Assignment, identity: &NodeIdentity) -> Result<(), Refusal> {
    let X25519Public(own) = identity.key.public();
    if doc.node != identity.node {
        Err(Refusal::OtherNode { found: doc.node.clone(), expected: identity.node.clone() })
    } else if doc.tls_pin != identity.tls_pin {
        Err(Refusal::OtherTlsKey)
    } else if doc.x25519.0 != own {
        Err(Refusal::OtherX25519Key)
    } else {
        Ok(())
    }
}

/// Compares a revision with what was adopted before: whether it is the same document.
fn is_unchanged(found: Revision, hash: [u8; 32], floor: Option<Floor>, trust: &TrustStore) -> Result<bool, Refusal> {
    let epoch = trust.current().revision.epoch;
    if found.epoch > epoch {
        return Err(Refusal::EpochAhead { found, epoch });
    }
    match floor {
        Some(floor) if found < floor.revision => Err(Refusal::Rollback { found, floor: floor.revision }),
        Some(floor) if found == floor.revision && hash != floor.hash => Err(Refusal::Equivocation { revision: found }),
        Some(floor) => Ok(found == floor.revision),
        None => Ok(false),
    }
}

fn own_secrets(doc: &ConfigDoc, identity: &NodeIdentity) -> Result<BTreeMap<String, SecretValue>, Refusal> {
    let own = doc.secrets.iter().filter(|sealed| sealed.node == identity.node);
    own.map(|sealed| {
        let context = doc.secret_context(&sealed.path, &sealed.node);
        let opened = open_secret(&identity.key, &context, sealed).map_err(Refusal::Secret)?;
        Ok((sealed.path.clone(), opened))
    })
    .collect()
}

#[cfg(test)]
mod tests;
