//! Which root document is in force, and how the next one comes into force.
//!
//! Root 1 is known by the hash of its envelope, which reaches the node over a path of its own (the enrolment
//! token). Root N+1 must be signed by the threshold of root keys that root N names *and* by the threshold that it
//! names itself. The whole chain is kept and handed on, so that a newcomer, or a node that was offline for years,
//! can follow it from root 1 without trusting who carries it.
//!
//! Invariants: versions have no gaps; the fleet never changes; the epoch stays or rises by one; what is stored is
//! a chain that verifies.

use crate::cbor::DocError;
use crate::doc::{RoleKeys, RootDoc};
use crate::envelope::{Envelope, EnvelopeError, Role, Verified};
use crate::fleet::FleetId;
use crate::keys::{hex, sha256};

/// Most bytes of a root envelope: five roles of eight keys and eight signatures take a fifth of it.
const ROOT_BYTES_MAX: usize = 16 * 1024;
/// Most root documents in a chain: a rotation every month for twenty years.
const ROOTS_MAX: usize = 256;

/// Names root number 1: SHA-256 of its envelope.
#[must_use]
pub fn root_hash(envelope: &[u8]) -> [u8; 32] {
    sha256(envelope)
}

/// Why a root document was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// There is no document at all.
    #[error("the chain of root documents is empty; enrol the node again")]
    Empty,
    /// More than the limit.
    #[error("more than {ROOTS_MAX} root documents; start a new fleet")]
    TooMany,
    /// Larger than any root document.
    #[error("the root document has {bytes} bytes, at most {ROOT_BYTES_MAX} are taken")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Root 1 is not the one the token names.
    #[error(
        "the root document offered is not the one the token names (hash {found}, expected {expected}); \
             get a token from the fleet you mean to join"
    )]
    Pin {
        /// Hash of what was offered.
        found: String,
        /// Hash that was expected.
        expected: String,
    },
    /// The envelope does not count.
    #[error("root document: {0}")]
    Envelope(EnvelopeError),
    /// The document cannot be read.
    #[error(transparent)]
    Document(DocError),
    /// It belongs to another fleet.
    #[error("the root document is of fleet '{found}', this is fleet '{expected}'")]
    Fleet {
        /// The fleet it names.
        found: FleetId,
        /// This fleet.
        expected: FleetId,
    },
    /// It does not follow the newest one.
    #[error("root document {found} does not follow number {newest}; bring the ones between first")]
    Gap {
        /// Its version.
        found: u64,
        /// The newest version known.
        newest: u64,
    },
    /// Its version is known with other content: somebody signs two histories.
    #[error(
        "root document {version} is known with other content: the root keys sign two histories; \
             ask their holders which is right"
    )]
    Equivocation {
        /// The version.
        version: u64,
    },
    /// Its epoch is neither the old one nor the next.
    #[error("root document {version} goes from epoch {from} to {to}; the same or the next one is expected")]
    Epoch {
        /// Its version.
        version: u64,
        /// Epoch before.
        from: u64,
        /// Epoch it names.
        to: u64,
    },
}

impl TrustError {
    /// Stable name for metrics and events.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "root_chain_empty",
            Self::TooMany => "root_chain_full",
            Self::TooLarge { .. } => "root_too_large",
            Self::Pin { .. } => "root_pin_mismatch",
            Self::Envelope(error) => error.code(),
            Self::Document(_) => "root_document_invalid",
            Self::Fleet { .. } => "root_other_fleet",
            Self::Gap { .. } => "root_gap",
            Self::Equivocation { .. } => "root_equivocation",
            Self::Epoch { .. } => "root_epoch",
        }
    }
}

/// What [`TrustStore::update`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootUpdate {
    /// The document was known.
    Known,
    /// It is in force now: store [`TrustStore::roots`].
    Adopted,
}

/// The chain of root documents, and the one in force.
#[derive(Debug, Clone)]
pub struct TrustStore {
    /// Envelopes of version 1, 2, 3 and so on; never empty.
    chain: Vec<Vec<u8>>,
    /// SHA-256 of their payloads: the same document may come with other signatures.
    payloads: Vec<[u8; 32]>,
    current: RootDoc,
}

impl TrustStore {
    /// Begins with root 1, known by its hash.
    ///
    /// # Errors
    /// [`TrustError`] if it has another hash, or is no root document of version 1 signed by its own root keys.
    pub fn bootstrap(envelope: &[u8], pin: &[u8; 32]) -> Result<Self, TrustError> {
        let found = root_hash(envelope);
        if found != *pin {
            return Err(TrustError::Pin { found: hex(&found), expected: hex(pin) });
        }
        Self::first(envelope)
    }

    /// Begins with root 1, known by its hash, and follows the chain.
    ///
    /// # Errors
    /// [`TrustError`] for the first document that does not hold.
    pub fn follow<E: AsRef<[u8]>>(chain: &[E], pin: &[u8; 32]) -> Result<Self, TrustError> {
        let first = chain.first().ok_or(TrustError::Empty)?;
        let mut store = Self::bootstrap(first.as_ref(), pin)?;
        store.update_all(chain)?;
        Ok(store)
    }

    /// Takes up a chain from this machine's own storage, where root 1 is known already. For an administrator's
    /// first root document the chain is that document alone.
    ///
    /// # Errors
    /// [`TrustError`] if the chain was damaged.
    pub fn restore<E: AsRef<[u8]>>(chain: &[E]) -> Result<Self, TrustError> {
        let mut store = Self::first(chain.first().ok_or(TrustError::Empty)?.as_ref())?;
        store.update_all(chain)?;
        Ok(store)
    }

    /// Takes the next root document.
    ///
    /// # Errors
    /// [`TrustError`] if it does not hold; the one in force then stays.
    pub fn update(&mut self, envelope: &[u8]) -> Result<RootUpdate, TrustError> {
        let parsed = parse(envelope)?;
        let payload = sha256(parsed.unverified_payload());
        if self.payloads.contains(&payload) {
            return Ok(RootUpdate::Known);
        }
        let verified = verify(&parsed, &self.current)?;
        let doc = RootDoc::decode(&verified.payload).map_err(TrustError::Document)?;
        if doc.fleet != self.current.fleet {
            return Err(TrustError::Fleet { found: doc.fleet, expected: self.current.fleet.clone() });
        }
        let (old, new) = (self.current.revision, doc.revision);
        if new.version <= old.version {
            return Err(TrustError::Equivocation { version: new.version });
        }
        if new.version != old.version + 1 {
            return Err(TrustError::Gap { found: new.version, newest: old.version });
        }
        if new.epoch != old.epoch && new.epoch != old.epoch + 1 {
            return Err(TrustError::Epoch { version: new.version, from: old.epoch, to: new.epoch });
        }
        verify(&parsed, &doc)?;
        if self.chain.len() >= ROOTS_MAX {
            return Err(TrustError::TooMany);
        }
        self.chain.push(envelope.to_vec());
        self.payloads.push(payload);
        self.current = doc;
        Ok(RootUpdate::Adopted)
    }

    /// Takes a whole chain, as bundles carry it: known documents are passed over. What was adopted before an error
    /// stays adopted.
    ///
    /// # Errors
    /// [`TrustError`] for the first document that does not hold.
    pub fn update_all<E: AsRef<[u8]>>(&mut self, chain: &[E]) -> Result<RootUpdate, TrustError> {
        let mut outcome = RootUpdate::Known;
        for envelope in chain {
            if self.update(envelope.as_ref())? == RootUpdate::Adopted {
                outcome = RootUpdate::Adopted;
            }
        }
        Ok(outcome)
    }

    /// The document in force. Its `issued` raises a [`crate::TrustedClock`].
    #[must_use]
    pub fn current(&self) -> &RootDoc {
        &self.current
    }

    /// The fleet.
    #[must_use]
    pub fn fleet(&self) -> &FleetId {
        &self.current.fleet
    }

    /// The keys of a role, if it has any.
    #[must_use]
    pub fn role(&self, role: Role) -> Option<&RoleKeys> {
        self.current.role(role)
    }

    /// The chain to store and to hand on: envelopes of version 1, 2, 3 and so on.
    #[must_use]
    pub fn roots(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// The hash that tokens name: that of root 1.
    #[must_use]
    pub fn pin(&self) -> [u8; 32] {
        root_hash(&self.chain[0])
    }

    fn first(envelope: &[u8]) -> Result<Self, TrustError> {
        let parsed = parse(envelope)?;
        // Nobody vouches for root 1 but its hash, so it is read before its signatures are checked.
        let doc = RootDoc::decode(parsed.unverified_payload()).map_err(TrustError::Document)?;
        let verified = verify(&parsed, &doc)?;
        if doc.revision.version != 1 {
            return Err(TrustError::Gap { found: doc.revision.version, newest: 0 });
        }
        Ok(Self { chain: vec![envelope.to_vec()], payloads: vec![verified.hash()], current: doc })
    }
}

fn parse(envelope: &[u8]) -> Result<Envelope, TrustError> {
    if envelope.len() > ROOT_BYTES_MAX {
        return Err(TrustError::TooLarge { bytes: envelope.len() });
    }
    Envelope::parse(envelope).map_err(TrustError::Envelope)
}

/// Checks the signatures by the root keys that `doc` names.
fn verify(parsed: &Envelope, doc: &RootDoc) -> Result<Verified, TrustError> {
    let keys = doc.role(Role::Root).ok_or(TrustError::Empty)?;
    parsed.verify(Role::Root, &doc.fleet, keys).map_err(TrustError::Envelope)
}

#[cfg(test)]
mod tests;
