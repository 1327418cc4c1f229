//! Who a node is and which config streams it follows.

use super::Revision;
use super::root::revision;
use crate::cbor::{self, DOCUMENT, DocError, Fields};
use crate::envelope::{self, Role, SignError};
use crate::fleet::FleetId;
use crate::keys::SigningKey;
use crate::secret::X25519Public;
use ciborium::Value;
use skerry_model::{NodeId, StreamName, UnixMillis};
use std::collections::BTreeMap;

const NAME: &str = "the assignment";
/// Most streams a node follows.
const STREAMS_MAX: usize = 64;
/// Most labels of a node.
const LABELS_MAX: usize = 64;
/// Most bytes of a label's name and of its value.
const LABEL_BYTES_MAX: usize = 256;

/// What the administrators say about one node. Group membership and labels stand here and are signed, because
/// whoever could change them could hand the node configs that were signed for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The fleet.
    pub fleet: FleetId,
    /// The node.
    pub node: NodeId,
    /// SHA-256 of the DER SubjectPublicKeyInfo of the node's TLS key.
    pub tls_pin: [u8; 32],
    /// The key that secrets for the node are encrypted to.
    pub x25519: X25519Public,
    /// Streams the node follows, each with the lowest revision it may adopt. At most 64.
    pub streams: BTreeMap<StreamName, Revision>,
    /// The node's labels: at most 64, names and values of at most 256 bytes, names not empty.
    pub labels: BTreeMap<String, String>,
    /// When it was signed, by the signer's clock.
    pub issued: UnixMillis,
    /// Its place among this node's assignments.
    pub revision: Revision,
    /// The node no longer belongs to the fleet and adopts no more configs.
    pub revoked: bool,
}

impl Assignment {
    /// The document as CBOR: `{1: fleet, 2: [epoch, version], 3: issued, 4: node, 5: tls_pin, 6: x25519,
    /// 7: {stream: [epoch, version]}, 8: {label: value}, 9: revoked}`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let streams = self.streams.iter().map(|(name, lowest)| (name.as_str().into(), lowest.to_cbor()));
        let labels = self.labels.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into()));
        cbor::encode(cbor::map([
            (1, Some(self.fleet.as_str().into())),
            (2, Some(self.revision.to_cbor())),
            (3, Some(cbor::millis(self.issued))),
            (4, Some(self.node.as_str().into())),
            (5, Some(Value::Bytes(self.tls_pin.to_vec()))),
            (6, Some(Value::Bytes(self.x25519.0.to_vec()))),
            (7, Some(Value::Map(streams.collect()))),
            (8, Some(Value::Map(labels.collect()))),
            (9, Some(self.revoked.into())),
        ]))
    }

    /// Reads a document whose signatures were found right.
    ///
    /// # Errors
    /// [`DocError`] if it is malformed, exceeds a bound or has unknown fields.
    pub fn decode(bytes: &[u8]) -> Result<Self, DocError> {
        let mut fields = Fields::decode(NAME, bytes, &DOCUMENT)?;
        let fleet = fields.parsed(1, "fleet", "a fleet id")?;
        let revision = revision(&mut fields, 2)?;
        let issued = fields.time(3, "issued")?;
        let node = fields.parsed(4, "node", "a node name")?;
        let tls_pin = fields.array(5, "tls_pin")?;
        let x25519 = X25519Public(fields.array(6, "x25519")?);
        let pairs = fields.pairs(7, "streams", STREAMS_MAX, "a map of at most 64 streams")?;
        let streams: Option<_> = pairs
            .iter()
            .map(|(name, lowest)| Some((name.as_text()?.parse().ok()?, Revision::from_cbor(lowest)?)))
            .collect();
        let streams = streams.ok_or_else(|| fields.shape("streams", "a map of streams and their lowest revision"))?;
        let pairs = fields.pairs(8, "labels", LABELS_MAX, "a map of at most 64 labels")?;
        let labels: Option<_> = pairs.into_iter().map(label).collect();
        let labels = labels.ok_or_else(|| fields.shape("labels", "a map of texts of at most 256 bytes"))?;
        let revoked = fields.required(9, "revoked")?;
        let revoked = revoked.as_bool().ok_or_else(|| fields.shape("revoked", "true or false"))?;
        fields.finish()?;
        Ok(Self { fleet, node, tls_pin, x25519, streams, labels, issued, revision, revoked })
    }

    /// The document in a signed envelope.
    ///
    /// # Errors
    /// [`SignError`] if the document would be refused by its readers, or the keys do not fit.
    pub fn seal(&self, keys: &[&SigningKey]) -> Result<Vec<u8>, SignError> {
        let payload = self.encode();
        Self::decode(&payload)?;
        envelope::sign(Role::Assign, &self.fleet, &payload, keys)
    }
}

fn label((name, value): (Value, Value)) -> Option<(String, String)> {
    match (name, value) {
        (Value::Text(name), Value::Text(value))
            if (1..=LABEL_BYTES_MAX).contains(&name.len()) && value.len() <= LABEL_BYTES_MAX =>
        {
            Some((name, value))
        }
        _ => None,
    }
}
