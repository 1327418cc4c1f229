//! The request of a node that joins, and the fleet's response. Both are CBOR maps with integer keys.

use super::token::{Token, TokenId, TokenSecret};
use crate::cbor::{self, DocError, Fields};
use crate::fleet::FleetId;
use crate::keys::sha256;
use crate::secret::X25519Public;
use crate::trust::{TrustError, TrustStore};
use ciborium::Value;
use skerry_model::NodeId;
use skerry_preflight::Limits;

const REQUEST: &str = "the enrolment request";
const RESPONSE: &str = "the enrolment response";
/// Begin what is authenticated: no proof of one kind passes for one of the other.
const REQUEST_DOMAIN: &str = "skerry/1 enrol request";
const RESPONSE_DOMAIN: &str = "skerry/1 enrol response";

/// A certificate request or a certificate.
const DER_BYTES_MAX: usize = 8 * 1024;
const CHAIN_MAX: usize = 4;
const ROOTS_MAX: usize = 256;
const URL_BYTES_MAX: usize = 512;
const REQUEST_LIMITS: Limits<'_> = Limits { bytes_max: 16 * 1024, depth_max: 2, items_max: 32, tags: &[] };
const RESPONSE_LIMITS: Limits<'_> = Limits { bytes_max: 1 << 20, depth_max: 3, items_max: 512, tags: &[] };

/// Why an enrolment message is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnrolError {
    /// The message cannot be read.
    #[error(transparent)]
    Message(DocError),
    /// The request proves no token.
    #[error("the enrolment request carries no token; give the node one from `skerry enrol token`")]
    NoToken,
    /// The sender does not hold the token's secret, or the message was changed.
    #[error("{0} was not made with this token's secret, or was changed on the way; use a token of this fleet")]
    Proof(&'static str),
    /// The response is for another node.
    #[error("the enrolment response is for node '{found}', this is '{expected}'; enrol again")]
    OtherNode {
        /// The node it names.
        found: NodeId,
        /// The node that asked.
        expected: NodeId,
    },
    /// The root chain in the response does not hold.
    #[error(transparent)]
    Trust(TrustError),
    /// The root chain is of another fleet than the response says.
    #[error("the enrolment response is of fleet '{found}', its root documents are of '{expected}'")]
    OtherFleet {
        /// The fleet it names.
        found: FleetId,
        /// The fleet of its root documents.
        expected: FleetId,
    },
}

impl EnrolError {
    /// Stable name for metrics, events and API errors.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Message(_) => "enrol_message_invalid",
            Self::NoToken => "enrol_no_token",
            Self::Proof(_) => "enrol_bad_proof",
            Self::OtherNode { .. } => "enrol_other_node",
            Self::Trust(error) => error.code(),
            Self::OtherFleet { .. } => "enrol_other_fleet",
        }
    }
}

/// Proof that the sender of a request holds a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenProof {
    /// Which token.
    pub token: TokenId,
    /// HMAC-SHA256 by the token's secret over the request's other fields.
    pub mac: [u8; 32],
}

/// What a node sends to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolRequest {
    /// The name it wants.
    pub node: NodeId,
    /// PKCS#10 request for its TLS certificate, DER, at most 8 KiB. Not looked at here.
    pub csr_der: Vec<u8>,
    /// Its key for secrets.
    pub x25519: X25519Public,
    /// Random, so that no two requests and hence no two responses are the same.
    pub nonce: [u8; 16],
    /// Absent where the node has no token: it can then only be shown as pending, and asks again with one.
    pub proof: Option<TokenProof>,
}

impl EnrolRequest {
    /// A request, with the token's proof where there is a token.
    #[must_use]
    pub fn new(node: NodeId, csr_der: Vec<u8>, x25519: X25519Public, nonce: [u8; 16], token: Option<&Token>) -> Self {
        let mut request = Self { node, csr_der, x25519, nonce, proof: None };
        request.proof =
            token.map(|token| TokenProof { token: token.id, mac: token.secret.mac(&request.transcript(token.id)) });
        request
    }

    /// Checks that the sender holds the secret of the token it names.
    ///
    /// # Errors
    /// [`EnrolError::NoToken`] or [`EnrolError::Proof`].
    pub fn verify(&self, secret: &TokenSecret) -> Result<(), EnrolError> {
        let proof = self.proof.ok_or(EnrolError::NoToken)?;
        if secret.verifies(&self.transcript(proof.token), &proof.mac) {
            Ok(())
        } else {
            Err(EnrolError::Proof(REQUEST))
        }
    }

    /// `{1: node, 2: csr, 3: x25519, 4: nonce, 5?: token id, 6?: mac}`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(cbor::map(self.fields().into_iter().chain([
            (5, self.proof.map(|proof| Value::Bytes(proof.token.0.to_vec()))),
            (6, self.proof.map(|proof| Value::Bytes(proof.mac.to_vec()))),
        ])))
    }

    /// Reads a request. Its proof is not checked yet.
    ///
    /// # Errors
    /// [`EnrolError::Message`] if it is malformed or exceeds a bound.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnrolError> {
        Self::read(bytes).map_err(EnrolError::Message)
    }

    fn read(bytes: &[u8]) -> Result<Self, DocError> {
        let mut fields = Fields::decode(REQUEST, bytes, &REQUEST_LIMITS)?;
        let node = fields.parsed(1, "node", "a node name")?;
        let csr_der = fields.bytes(2, "csr", DER_BYTES_MAX)?;
        let x25519 = X25519Public(fields.array(3, "x25519")?);
        let nonce = fields.array(4, "nonce")?;
        let proof = match (fields.optional(5), fields.optional(6)) {
            (None, None) => None,
            (Some(token), Some(mac)) => {
                let proof = cbor::as_array(&token).map(TokenId).zip(cbor::as_array(&mac));
                let (token, mac) = proof.ok_or_else(|| fields.shape("proof", "a token id and its mac"))?;
                Some(TokenProof { token, mac })
            }
            _ => return Err(fields.shape("proof", "both a token id and its mac")),
        };
        fields.finish()?;
        Ok(Self { node, csr_der, x25519, nonce, proof })
    }

    fn fields(&self) -> [(u64, Option<Value>); 4] {
        [
            (1, Some(self.node.as_str().into())),
            (2, Some(Value::Bytes(self.csr_der.clone()))),
            (3, Some(Value::Bytes(self.x25519.0.to_vec()))),
            (4, Some(Value::Bytes(self.nonce.to_vec()))),
        ]
    }

    fn transcript(&self, token: TokenId) -> Vec<u8> {
        let token = Value::Bytes(token.0.to_vec());
        cbor::encode(Value::Array(vec![REQUEST_DOMAIN.into(), token, cbor::map(self.fields())]))
    }
}

/// What a node is given when it joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNode {
    /// Its name.
    pub node: NodeId,
    /// The fleet.
    pub fleet: FleetId,
    /// Its TLS certificate and those between it and the CA, DER, at most 4 of at most 8 KiB.
    pub cert_chain: Vec<Vec<u8>>,
    /// Certificate of the fleet's CA, DER, at most 8 KiB.
    pub ca_der: Vec<u8>,
    /// Root documents from number 1 on, as [`TrustStore::roots`] gives them.
    pub roots: Vec<Vec<u8>>,
    /// Where to connect, at most 512 bytes.
    pub mqtt_url: String,
}

/// The fleet's answer to a request that was proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolResponse {
    /// What the node is given. Unverified until [`EnrolResponse::accept`].
    pub given: NewNode,
    /// HMAC-SHA256 by the token's secret over the request's hash and all of the above.
    pub mac: [u8; 32],
}

/// What a node holds after it joined.
#[derive(Debug, Clone)]
pub struct Enrolled {
    /// What it was given.
    pub given: NewNode,
    /// The root documents, followed from the hash in the token.
    pub trust: TrustStore,
}

impl EnrolResponse {
    /// The answer to `request`, proved with the secret of the request's token.
    #[must_use]
    pub fn new(given: NewNode, request: &EnrolRequest, secret: &TokenSecret) -> Self {
        let mac = secret.mac(&given.transcript(request));
        Self { given, mac }
    }

    /// Reads and checks a response: the proof, the node's name, the root chain from the token's hash on, the fleet.
    ///
    /// # Errors
    /// [`EnrolError`] of the first check that fails.
    pub fn accept(bytes: &[u8], request: &EnrolRequest, token: &Token) -> Result<Enrolled, EnrolError> {
        let Self { given, mac } = Self::decode(bytes)?;
        if !token.secret.verifies(&given.transcript(request), &mac) {
            return Err(EnrolError::Proof(RESPONSE));
        }
        if given.node != request.node {
            return Err(EnrolError::OtherNode { found: given.node, expected: request.node.clone() });
        }
        let trust = TrustStore::follow(&given.roots, &token.root_hash).map_err(EnrolError::Trust)?;
        if given.fleet != *trust.fleet() {
            return Err(EnrolError::OtherFleet { found: given.fleet, expected: trust.fleet().clone() });
        }
        Ok(Enrolled { given, trust })
    }

    /// `{1: node, 2: fleet, 3: [certificate], 4: ca, 5: [root], 6: mqtt url, 7: mac}`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mac = (7, Some(Value::Bytes(self.mac.to_vec())));
        cbor::encode(cbor::map(self.given.fields().into_iter().chain([mac])))
    }

    /// Reads a response. Nothing in it is verified yet.
    ///
    /// # Errors
    /// [`EnrolError::Message`] if it is malformed or exceeds a bound.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnrolError> {
        Self::read(bytes).map_err(EnrolError::Message)
    }

    fn read(bytes: &[u8]) -> Result<Self, DocError> {
        let mut fields = Fields::decode(RESPONSE, bytes, &RESPONSE_LIMITS)?;
        let node = fields.parsed(1, "node", "a node name")?;
        let fleet = fields.parsed(2, "fleet", "a fleet id")?;
        let cert_chain = fields.list(3, "cert_chain", CHAIN_MAX, "a list of at most 4 certificates")?;
        let cert_chain = byte_strings(cert_chain, DER_BYTES_MAX)
            .filter(|chain| !chain.is_empty())
            .ok_or_else(|| fields.shape("cert_chain", "1 to 4 certificates of at most 8 KiB"))?;
        let ca_der = fields.bytes(4, "ca", DER_BYTES_MAX)?;
        let roots = fields.list(5, "roots", ROOTS_MAX, "a list of at most 256 root documents")?;
        let roots = byte_strings(roots, RESPONSE_LIMITS.bytes_max)
            .ok_or_else(|| fields.shape("roots", "a list of root documents"))?;
        let mqtt_url = fields.text(6, "mqtt_url", URL_BYTES_MAX)?;
        let mac = fields.array(7, "mac")?;
        fields.finish()?;
        Ok(Self { given: NewNode { node, fleet, cert_chain, ca_der, roots, mqtt_url }, mac })
    }
}

impl NewNode {
    fn fields(&self) -> [(u64, Option<Value>); 6] {
        let list = |items: &[Vec<u8>]| Value::Array(items.iter().cloned().map(Value::Bytes).collect());
        [
            (1, Some(self.node.as_str().into())),
            (2, Some(self.fleet.as_str().into())),
            (3, Some(list(&self.cert_chain))),
            (4, Some(Value::Bytes(self.ca_der.clone()))),
            (5, Some(list(&self.roots))),
            (6, Some(self.mqtt_url.as_str().into())),
        ]
    }

    /// What the proof of a response covers: this, and the request it answers.
    fn transcript(&self, request: &EnrolRequest) -> Vec<u8> {
        let request = Value::Bytes(sha256(&request.encode()).to_vec());
        cbor::encode(Value::Array(vec![RESPONSE_DOMAIN.into(), request, cbor::map(self.fields())]))
    }
}

fn byte_strings(items: Vec<Value>, bytes_max: usize) -> Option<Vec<Vec<u8>>> {
    items.into_iter().map(|item| item.into_bytes().ok().filter(|bytes| bytes.len() <= bytes_max)).collect()
}

#[cfg(test)]
mod tests;
