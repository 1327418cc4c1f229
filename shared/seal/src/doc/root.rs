//! The root document: which keys hold which role, and how many of them must sign.

use super::Revision;
use crate::cbor::{self, DOCUMENT, DocError, Fields};
use crate::envelope::{self, Role, SIGNATURES_MAX, SignError};
use crate::fleet::FleetId;
use crate::keys::{KeyId, PublicKey, SigningKey};
use ciborium::Value;
use skerry_model::UnixMillis;
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "the root document";

/// The keys of one role and how many distinct ones must sign: m of n, with 1 <= m <= n <= 8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleKeys {
    threshold: u8,
    keys: Vec<PublicKey>,
}

/// Why keys and a threshold are no [`RoleKeys`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRoleKeys {
    /// The threshold is zero or above the number of keys.
    #[error("a threshold of {threshold} cannot be met by {keys} keys")]
    Threshold {
        /// The threshold.
        threshold: u8,
        /// Number of keys.
        keys: usize,
    },
    /// More keys than an envelope takes signatures.
    #[error("{0} keys, at most {SIGNATURES_MAX} are taken")]
    TooMany(usize),
    /// Two keys have the same id.
    #[error("key {0} stands twice")]
    Duplicate(KeyId),
}

impl RoleKeys {
    /// `threshold` of these keys must sign. The order of the keys means nothing and is kept.
    ///
    /// # Errors
    /// [`InvalidRoleKeys`] if the threshold cannot be met, or a key stands twice.
    pub fn new(threshold: u8, keys: Vec<PublicKey>) -> Result<Self, InvalidRoleKeys> {
        if keys.len() > SIGNATURES_MAX {
            return Err(InvalidRoleKeys::TooMany(keys.len()));
        }
        if threshold == 0 || usize::from(threshold) > keys.len() {
            return Err(InvalidRoleKeys::Threshold { threshold, keys: keys.len() });
        }
        let mut seen = BTreeSet::new();
        match keys.iter().map(PublicKey::id).find(|kid| !seen.insert(*kid)) {
            Some(kid) => Err(InvalidRoleKeys::Duplicate(kid)),
            None => Ok(Self { threshold, keys }),
        }
    }

    /// How many distinct keys must sign.
    #[must_use]
    pub fn threshold(&self) -> u8 {
        self.threshold
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// The key of that id.
    #[must_use]
    pub fn find(&self, kid: KeyId) -> Option<PublicKey> {
        self.keys.iter().copied().find(|key| key.id() == kid)
    }
}

/// Who may sign what in a fleet, from `issued` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootDoc {
    /// The fleet.
    pub fleet: FleetId,
    /// Epoch: as before, or one more to put an end to everything a thief may have signed in advance.
    /// Version: 1, 2, 3 and so on without gaps, whatever the epoch.
    pub revision: Revision,
    /// When it was signed, by the signer's clock.
    pub issued: UnixMillis,
    /// Keys by role. `root` is there always; a role without keys signs nothing. The threshold of `root` is at
    /// most 4, so that the old and the new holders fit on one envelope.
    pub roles: BTreeMap<Role, RoleKeys>,
}

/// Highest threshold of the role `root`: old and new holders together must fit on one envelope.
const ROOT_THRESHOLD_MAX: u8 = (SIGNATURES_MAX / 2) as u8;

impl RootDoc {
    /// The keys of a role, if it has any.
    #[must_use]
    pub fn role(&self, role: Role) -> Option<&RoleKeys> {
        self.roles.get(&role)
    }

    /// The document as CBOR: `{1: fleet, 2: [epoch, version], 3: issued, 4: {role: {1: threshold, 2: [key]}}}`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let roles = self.roles.iter().map(|(role, keys)| {
            let list = keys.keys.iter().map(|key| Value::Bytes(key.0.to_vec())).collect();
            let fields = cbor::map([(1, Some(keys.threshold.into())), (2, Some(Value::Array(list)))]);
            (Value::from(role.as_str()), fields)
        });
        cbor::encode(cbor::map([
            (1, Some(self.fleet.as_str().into())),
            (2, Some(self.revision.to_cbor())),
            (3, Some(cbor::millis(self.issued))),
            (4, Some(Value::Map(roles.collect()))),
        ]))
    }

    /// Reads a document whose signatures, or whose hash, were found right.
    ///
    /// # Errors
    /// [`DocError`] if it is malformed, has unknown fields or names no usable root keys.
    pub fn decode(bytes: &[u8]) -> Result<Self, DocError> {
        let mut fields = Fields::decode(NAME, bytes, &DOCUMENT)?;
        let fleet = fields.parsed(1, "fleet", "a fleet id")?;
        let revision = revision(&mut fields, 2)?;
        let issued = fields.time(3, "issued")?;
        let pairs = fields.pairs(4, "roles", Role::ALL.len(), "a map of roles")?;
        let mut roles = BTreeMap::new();
        for (role, keys) in pairs {
            let role: Role = role
                .as_text()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| fields.shape("roles", "a map by root, config, assign, job and release"))?;
            roles.insert(role, role_keys(keys)?);
        }
        match roles.get(&Role::Root) {
            None => return Err(DocError::Missing { document: NAME, field: "roles.root" }),
            Some(root) if root.threshold > ROOT_THRESHOLD_MAX => {
                return Err(fields.shape("roles.root", "a role with a threshold of at most 4"));
            }
            Some(_) => {}
        }
        fields.finish()?;
        Ok(Self { fleet, revision, issued, roles })
    }

    /// The document in a signed envelope. Root 2 and later must be signed by holders of the old and the new root
    /// keys; where they are apart, [`crate::add_signature`] adds the rest.
    ///
    /// # Errors
    /// [`SignError`] if the document would be refused by its readers, or the keys do not fit.
    pub fn seal(&self, keys: &[&SigningKey]) -> Result<Vec<u8>, SignError> {
        let payload = self.encode();
        Self::decode(&payload)?;
        envelope::sign(Role::Root, &self.fleet, &payload, keys)
    }
}

/// A revision of at least version 1.
pub(super) fn revision(fields: &mut Fields, key: u64) -> Result<Revision, DocError> {
    let value = fields.required(key, "revision")?;
    Revision::from_cbor(&value)
        .filter(|revision| revision.version >= 1)
        .ok_or_else(|| fields.shape("revision", "an epoch and a version of at least 1"))
}

fn role_keys(value: Value) -> Result<RoleKeys, DocError> {
    let mut fields = Fields::of("a role in the root document", value)?;
    let threshold = fields.number(1, "threshold")?;
    let list = fields.list(2, "keys", SIGNATURES_MAX, "a list of at most 8 keys")?;
    let keys: Option<Vec<_>> = list.iter().map(|key| cbor::as_array(key).map(PublicKey)).collect();
    let keys = keys.ok_or_else(|| fields.shape("keys", "a list of Ed25519 keys of 32 bytes"))?;
    let role = u8::try_from(threshold).ok().and_then(|threshold| RoleKeys::new(threshold, keys).ok());
    let role = role.ok_or_else(|| fields.shape("threshold", "between 1 and the number of distinct keys"))?;
    fields.finish()?;
    Ok(role)
}
