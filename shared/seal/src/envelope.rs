//! The signed wrapping of every document: COSE_Sign (RFC 9052 section 4.1, tag 98).
//!
//! The body's protected header is `{1: -8 (EdDSA), 3: content type, 2?: crit}`; each of at most eight signatures
//! has the protected header `{1: -8, 4: key id}`; unprotected headers are empty. What is signed includes
//! CBOR `["skerry/1", fleet, role]` as external data, so that a document of one role or fleet never passes for
//! one of another, whatever keys they share.
//!
//! Invariants:
//! - [`Envelope::parse`] checks size, strict form (headers and payload included), tag, content type and crit, in
//!   this order, and never looks at what the payload means.
//! - [`Envelope::verify`] hands the payload out only when enough *distinct keys* of the role have signed.
//! - A signature by an unknown key counts nothing; one by a known key that does not hold refuses the envelope.

use crate::cbor::{self, DOCUMENT, DocError};
use crate::doc::RoleKeys;
use crate::fleet::FleetId;
use crate::keys::{KeyId, PublicKey, SigningKey, sha256};
use ciborium::Value;
use coset::iana::Algorithm;
use coset::{
    CoseSign, CoseSignBuilder, CoseSignature, CoseSignatureBuilder, Header, HeaderBuilder, TaggedCborSerializable,
};
use skerry_preflight::{Fault, Limits};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Most bytes of an envelope.
pub const ENVELOPE_BYTES_MAX: usize = 256 * 1024;
/// Most signatures on an envelope.
pub const SIGNATURES_MAX: usize = 8;

const PROTOCOL: &str = "skerry/1";
const NOT_COSE_SIGN: EnvelopeError = EnvelopeError::Structure("it does not follow RFC 9052 section 4.1");
const OUTER: Limits<'_> = Limits { bytes_max: ENVELOPE_BYTES_MAX, depth_max: 6, items_max: 64, tags: &[98] };
const HEADER: Limits<'_> = Limits { bytes_max: 1024, depth_max: 4, items_max: 32, tags: &[] };

/// What a key may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Root documents: who holds which role.
    Root,
    /// Configs.
    Config,
    /// Assignments: who a node is and what it follows.
    Assign,
    /// Jobs.
    Job,
    /// Releases of the agent.
    Release,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Root, Self::Config, Self::Assign, Self::Job, Self::Release];

    /// Lower-case name, as it stands in root documents and in what is signed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Config => "config",
            Self::Assign => "assign",
            Self::Job => "job",
            Self::Release => "release",
        }
    }

    /// Content type of the role's documents.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Root => "application/x.skerry-root+cbor",
            Self::Config => "application/x.skerry-config+cbor",
            Self::Assign => "application/x.skerry-assign+cbor",
            Self::Job => "application/x.skerry-job+cbor",
            Self::Release => "application/x.skerry-release+cbor",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = InvalidRole;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| InvalidRole(text.chars().take(80).collect()))
    }
}

/// Why a text names no [`Role`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("role {0:?} is not known: root, config, assign, job or release is expected")]
pub struct InvalidRole(pub String);

/// Why bytes are no envelope, or one that does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Longer than [`ENVELOPE_BYTES_MAX`].
    #[error("the signed document has {bytes} bytes, at most {ENVELOPE_BYTES_MAX} are taken; split it")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Not CBOR in strict form.
    #[error("the signed document is malformed in its {part}: {fault}; fetch it again or sign it again")]
    Malformed {
        /// Which part: envelope, header or payload.
        part: &'static str,
        /// Where, within that part, and why.
        fault: Fault,
    },
    /// Not tagged as COSE_Sign.
    #[error("this is no signed document: COSE_Sign with tag 98 is expected")]
    Tag,
    /// The parts of COSE_Sign are not there or not as this protocol has them.
    #[error("the signed document is not built as expected: {0}; sign it with `skerry`")]
    Structure(&'static str),
    /// The content type is none of this protocol.
    #[error("content type {0:?} is not known; a newer version may be needed")]
    ContentType(String),
    /// A document of another role.
    #[error("this is a document of role '{found}', one of role '{expected}' is expected here")]
    Role {
        /// The role its content type names.
        found: Role,
        /// The role asked for.
        expected: Role,
    },
    /// It demands the understanding of a header that this version does not have.
    #[error("the signed document demands header {0}, which this version does not know; upgrade")]
    Critical(String),
    /// A signature is not made with EdDSA.
    #[error("a signature uses an algorithm other than EdDSA")]
    Algorithm,
    /// More than [`SIGNATURES_MAX`] signatures.
    #[error("{0} signatures, at most {SIGNATURES_MAX} are taken")]
    TooManySignatures(usize),
    /// A signature that claims a known key does not hold.
    #[error("the signature by key {kid} does not hold: the document was changed, or signed for another fleet or role")]
    BadSignature {
        /// The key claimed.
        kid: KeyId,
    },
    /// Too few keys of the role have signed.
    #[error("{found} of the {needed} signatures needed for role '{role}'; have more of its keys sign")]
    Threshold {
        /// The role.
        role: Role,
        /// Distinct keys of the role that have signed.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
}

impl EnvelopeError {
    /// Stable name for metrics and events.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Malformed { .. } => "malformed",
            Self::Tag => "wrong_tag",
            Self::Structure(_) => "wrong_structure",
            Self::ContentType(_) => "unknown_content_type",
            Self::Role { .. } => "wrong_role",
            Self::Critical(_) => "unknown_critical_header",
            Self::Algorithm => "unknown_algorithm",
            Self::TooManySignatures(_) => "too_many_signatures",
            Self::BadSignature { .. } => "bad_signature",
            Self::Threshold { .. } => "too_few_signatures",
        }
    }
}

/// Why a document was not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// No key was given.
    #[error("no signing key was given")]
    NoKey,
    /// The same key was given twice, or has signed already.
    #[error("key {0} has signed this document already")]
    SignedAlready(KeyId),
    /// The document would be refused by its reader.
    #[error(transparent)]
    Document(#[from] DocError),
    /// The envelope would be refused by its reader.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
}

/// A well-formed envelope whose signatures have not been looked at.
#[derive(Debug, Clone)]
pub struct Envelope {
    sign: CoseSign,
    role: Role,
    signers: Vec<KeyId>,
}

/// The payload of an envelope whose signatures held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The document's bytes: strict CBOR, not parsed yet.
    pub payload: Vec<u8>,
    /// The keys of the role that signed, each once, in the order of their ids.
    pub signers: Vec<PublicKey>,
}

impl Verified {
    /// SHA-256 of the payload: names the document whoever has signed it.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        sha256(&self.payload)
    }
}

impl Envelope {
    /// Reads an envelope up to, and not including, its signatures.
    ///
    /// # Errors
    /// [`EnvelopeError`] if it is too large, malformed, of another type or demands what this version does not know.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > ENVELOPE_BYTES_MAX {
            return Err(EnvelopeError::TooLarge { bytes: bytes.len() });
        }
        check("envelope", bytes, &OUTER).map_err(|error| match error {
            EnvelopeError::Malformed { fault: Fault::Tag { at: 0, .. }, .. } => EnvelopeError::Tag,
            other => other,
        })?;
        if !bytes.starts_with(&[0xd8, CoseSign::TAG as u8]) {
            return Err(EnvelopeError::Tag);
        }
        let role = check_inner(bytes)?;
        let sign = CoseSign::from_tagged_slice(bytes).map_err(|_| NOT_COSE_SIGN)?;
        check_body(&sign)?;
        if sign.signatures.len() > SIGNATURES_MAX {
            return Err(EnvelopeError::TooManySignatures(sign.signatures.len()));
        }
        let signers = sign.signatures.iter().map(signer).collect::<Result<_, _>>()?;
        Ok(Self { sign, role, signers })
    }

    /// The role whose content type the envelope names. Unverified.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The keys that claim to have signed, in the order of the signatures. Unverified.
    #[must_use]
    pub fn claimed_signers(&self) -> &[KeyId] {
        &self.signers
    }

    /// The payload before any signature was checked: to show it to people, never to act on it.
    #[must_use]
    pub fn unverified_payload(&self) -> &[u8] {
        self.sign.payload.as_deref().unwrap_or_default()
    }

    /// Checks the signatures over the raw bytes and hands out the payload.
    ///
    /// # Errors
    /// [`EnvelopeError`] if the envelope is of another role, a signature by one of `keys` does not hold, or fewer
    /// distinct keys than the threshold have signed.
    pub fn verify(&self, role: Role, fleet: &FleetId, keys: &RoleKeys) -> Result<Verified, EnvelopeError> {
        if self.role != role {
            return Err(EnvelopeError::Role { found: self.role, expected: role });
        }
        let aad = external_aad(role, fleet);
        let mut signed = BTreeSet::new();
        for (signature, kid) in self.sign.signatures.iter().zip(&self.signers) {
            let Some(key) = keys.find(*kid) else { continue };
            if !key.verifies(&self.sign.tbs_data(&aad, signature), &signature.signature) {
                return Err(EnvelopeError::BadSignature { kid: *kid });
            }
            signed.insert((*kid, key));
        }
        let needed = usize::from(keys.threshold());
        if signed.len() < needed {
            return Err(EnvelopeError::Threshold { role, found: signed.len(), needed });
        }
        Ok(Verified {
            payload: self.unverified_payload().to_vec(),
            signers: signed.into_iter().map(|(_, key)| key).collect(),
        })
    }
}

/// Parses an envelope and checks its signatures: [`Envelope::parse`], then [`Envelope::verify`].
///
/// # Errors
/// [`EnvelopeError`] for the first check that fails.
pub fn open(bytes: &[u8], role: Role, fleet: &FleetId, keys: &RoleKeys) -> Result<Verified, EnvelopeError> {
    Envelope::parse(bytes)?.verify(role, fleet, keys)
}

/// An envelope around `payload`, signed by each of `keys`.
///
/// Documents have a `seal` of their own, which also checks that their readers will take them.
///
/// # Errors
/// [`SignError`] if no key is given, one is given twice, or the envelope would be refused by its reader.
pub fn sign(role: Role, fleet: &FleetId, payload: &[u8], keys: &[&SigningKey]) -> Result<Vec<u8>, SignError> {
    let protected =
        HeaderBuilder::new().algorithm(Algorithm::EdDSA).content_type(role.content_type().to_owned()).build();
    let mut envelope = CoseSignBuilder::new().protected(protected).payload(payload.to_vec()).build();
    if keys.is_empty() {
        return Err(SignError::NoKey);
    }
    for key in keys {
        attach(&mut envelope, role, fleet, key)?;
    }
    write(envelope)
}

/// The same envelope with one more signature, so that the holders of m of n keys can sign one after the other.
///
/// # Errors
/// [`SignError`] if `envelope` is none of this role, or this key has signed it already.
pub fn add_signature(envelope: &[u8], role: Role, fleet: &FleetId, key: &SigningKey) -> Result<Vec<u8>, SignError> {
    let Envelope { mut sign, role: found, .. } = Envelope::parse(envelope)?;
    if found != role {
        return Err(EnvelopeError::Role { found, expected: role }.into());
    }
    attach(&mut sign, role, fleet, key)?;
    write(sign)
}

fn attach(envelope: &mut CoseSign, role: Role, fleet: &FleetId, key: &SigningKey) -> Result<(), SignError> {
    if envelope.signatures.iter().any(|signature| signature.protected.header.key_id == key.id().0) {
        return Err(SignError::SignedAlready(key.id()));
    }
    let protected = HeaderBuilder::new().algorithm(Algorithm::EdDSA).key_id(key.id().0.to_vec()).build();
    let mut signature = CoseSignatureBuilder::new().protected(protected).build();
    signature.signature = key.sign(&envelope.tbs_data(&external_aad(role, fleet), &signature)).to_vec();
    envelope.signatures.push(signature);
    Ok(())
}

fn write(envelope: CoseSign) -> Result<Vec<u8>, SignError> {
    let bytes = envelope.to_tagged_vec().map_err(|_| EnvelopeError::Structure("it cannot be encoded"))?;
    // What a reader would refuse must not leave the hands of the signer.
    Envelope::parse(&bytes)?;
    Ok(bytes)
}

/// What every signature covers beside headers and payload.
fn external_aad(role: Role, fleet: &FleetId) -> Vec<u8> {
    cbor::encode(Value::Array(vec![PROTOCOL.into(), fleet.as_str().into(), role.as_str().into()]))
}

fn check(part: &'static str, bytes: &[u8], limits: &Limits<'_>) -> Result<(), EnvelopeError> {
    skerry_preflight::check(bytes, limits).map_err(|fault| EnvelopeError::Malformed { part, fault })
}

/// The strict check of what stands as byte strings inside the envelope: protected headers and payload. Then the
/// content type's role, and crit.
fn check_inner(bytes: &[u8]) -> Result<Role, EnvelopeError> {
    let outer: Value = ciborium::from_reader(bytes).map_err(|_| NOT_COSE_SIGN)?;
    let Value::Tag(_, body) = outer else { return Err(EnvelopeError::Tag) };
    let Value::Array(parts) = *body else { return Err(NOT_COSE_SIGN) };
    let [Value::Bytes(protected), _, payload, Value::Array(signatures)] = parts.as_slice() else {
        return Err(NOT_COSE_SIGN);
    };
    let Value::Bytes(payload) = payload else {
        return Err(EnvelopeError::Structure("the payload must stand inside the envelope"));
    };
    check("header", protected, &HEADER)?;
    for signature in signatures {
        let protected = signature.as_array().and_then(|parts| parts.first()).and_then(Value::as_bytes);
        check("signature header", protected.ok_or(NOT_COSE_SIGN)?, &HEADER)?;
    }
    check("payload", payload, &DOCUMENT)?;
    let header: Value = ciborium::from_reader(protected.as_slice()).map_err(|_| NOT_COSE_SIGN)?;
    let header = header.as_map().ok_or(NOT_COSE_SIGN)?;
    let parameter = |label: u64| header.iter().find(|(key, _)| *key == Value::from(label)).map(|(_, value)| value);
    let role = role_of(parameter(3))?;
    understood(parameter(2))?;
    Ok(role)
}

fn role_of(content_type: Option<&Value>) -> Result<Role, EnvelopeError> {
    let text = content_type.and_then(Value::as_text).unwrap_or_default();
    Role::ALL
        .into_iter()
        .find(|role| role.content_type() == text)
        .ok_or_else(|| EnvelopeError::ContentType(text.chars().take(80).collect()))
}

/// Parameters 1 and 3 are understood and always present; whatever else is critical is not.
fn understood(crit: Option<&Value>) -> Result<(), EnvelopeError> {
    let Some(crit) = crit else { return Ok(()) };
    for label in crit.as_array().ok_or(NOT_COSE_SIGN)? {
        let name = match label {
            Value::Integer(number) if [1, 3].contains(&i128::from(*number)) => continue,
            Value::Integer(number) => i128::from(*number).to_string(),
            Value::Text(text) => text.chars().take(80).collect(),
            _ => return Err(NOT_COSE_SIGN),
        };
        return Err(EnvelopeError::Critical(name));
    }
    Ok(())
}

/// What of the body's headers does not depend on the role.
fn check_body(sign: &CoseSign) -> Result<(), EnvelopeError> {
    let header = &sign.protected.header;
    if header.alg != Some(coset::Algorithm::Assigned(Algorithm::EdDSA)) {
        return Err(EnvelopeError::Algorithm);
    }
    // Parameters of later versions may stand in `rest`: they are signed, and not critical. Those that RFC 9052
    // defines (key id, IV, counter signatures) have no meaning here.
    let known = Header {
        alg: header.alg.clone(),
        crit: header.crit.clone(),
        content_type: header.content_type.clone(),
        rest: header.rest.clone(),
        ..Header::default()
    };
    if *header != known {
        return Err(EnvelopeError::Structure("its protected header has a parameter that has no place there"));
    }
    if !sign.unprotected.is_empty() {
        return Err(EnvelopeError::Structure("its unprotected header is not empty"));
    }
    Ok(())
}

/// The key a signature claims to be made with.
fn signer(signature: &CoseSignature) -> Result<KeyId, EnvelopeError> {
    let header = &signature.protected.header;
    if header.alg != Some(coset::Algorithm::Assigned(Algorithm::EdDSA)) {
        return Err(EnvelopeError::Algorithm);
    }
    let kid: [u8; 8] =
        header.key_id.as_slice().try_into().map_err(|_| EnvelopeError::Structure("a key id is not of 8 bytes"))?;
    let expected = Header { alg: header.alg.clone(), key_id: kid.to_vec(), ..Header::default() };
    if *header != expected || !signature.unprotected.is_empty() {
        return Err(EnvelopeError::Structure("a signature has a header that has no place there"));
    }
    if signature.signature.len() != 64 {
        return Err(EnvelopeError::Structure("a signature is not of 64 bytes"));
    }
    Ok(KeyId(kid))
}

#[cfg(test)]
mod tests;
