//! One revision of one config stream.

use super::root::revision;
use super::{AgentVersion, Revision};
use crate::cbor::{self, DOCUMENT, DocError, Fields};
use crate::envelope::{self, ENVELOPE_BYTES_MAX, Role, SignError};
use crate::fleet::FleetId;
use crate::keys::SigningKey;
use crate::secret::{PATH_BYTES_MAX, SealedSecret, SecretContext, SecretError, X25519Public, seal_secret};
use ciborium::Value;
use skerry_model::{NodeId, StreamName, UnixMillis};

const NAME: &str = "the config";
/// Most secrets of one config, over all nodes.
const SECRETS_MAX: usize = 2048;

/// A config as its signer wrote it. Whoever follows the stream and has adopted nothing newer runs `body`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigDoc {
    /// The fleet.
    pub fleet: FleetId,
    /// The stream it belongs to.
    pub stream: StreamName,
    /// Its place in the stream.
    pub revision: Revision,
    /// When it was signed, by the signer's clock.
    pub issued: UnixMillis,
    /// After this time no node adopts it; a node that runs it already goes on. `None`: no end.
    pub not_after: Option<UnixMillis>,
    /// Older agents refuse it.
    pub min_agent: AgentVersion,
    /// The config itself: YAML text, as bytes, not looked at here.
    pub body: Vec<u8>,
    /// Values for single nodes that nobody else may read. A pair of path and node stands at most once.
    pub secrets: Vec<SealedSecret>,
}

impl ConfigDoc {
    /// Encrypts `plaintext` to `node` and adds it under `path`. The secret is bound to this fleet, stream and
    /// revision: set those first.
    ///
    /// # Errors
    /// [`SecretError`] if the key is no usable X25519 key or a bound is exceeded.
    pub fn add_secret(
        &mut self,
        path: &str,
        node: &NodeId,
        recipient: &X25519Public,
        plaintext: &[u8],
    ) -> Result<(), SecretError> {
        let sealed = seal_secret(recipient, &self.secret_context(path, node), plaintext)?;
        self.secrets.push(sealed);
        Ok(())
    }

    /// What a secret at `path` for `node` in this config is bound to.
    #[must_use]
    pub fn secret_context<'a>(&'a self, path: &'a str, node: &'a NodeId) -> SecretContext<'a> {
        SecretContext { fleet: &self.fleet, stream: &self.stream, revision: self.revision, path, node }
    }

    /// The document as CBOR: `{1: fleet, 2: [epoch, version], 3: issued, 4: stream, 5?: not_after, 6: [major,
    /// minor, patch], 7: body, 8: [{1: path, 2: node, 3: enc, 4: ct}]}`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let secret = |sealed: &SealedSecret| {
            cbor::map([
                (1, Some(sealed.path.as_str().into())),
                (2, Some(sealed.node.as_str().into())),
                (3, Some(Value::Bytes(sealed.enc.to_vec()))),
                (4, Some(Value::Bytes(sealed.ct.clone()))),
            ])
        };
        cbor::encode(cbor::map([
            (1, Some(self.fleet.as_str().into())),
            (2, Some(self.revision.to_cbor())),
            (3, Some(cbor::millis(self.issued))),
            (4, Some(self.stream.as_str().into())),
            (5, self.not_after.map(cbor::millis)),
            (6, Some(self.min_agent.to_cbor())),
            (7, Some(Value::Bytes(self.body.clone()))),
            (8, Some(Value::Array(self.secrets.iter().map(secret).collect()))),
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
        let stream = fields.parsed(4, "stream", "a stream such as group/edge")?;
        let not_after = match fields.optional(5) {
            None => None,
            Some(value) => Some(
                cbor::as_time(&value).ok_or_else(|| fields.shape("not_after", "a time in milliseconds since 1970"))?,
            ),
        };
        let min_agent = fields.required(6, "min_agent")?;
        let min_agent =
            AgentVersion::from_cbor(&min_agent).ok_or_else(|| fields.shape("min_agent", "three numbers"))?;
        let body = fields.bytes(7, "body", ENVELOPE_BYTES_MAX)?;
        let list = fields.list(8, "secrets", SECRETS_MAX, "a list of at most 2048 secrets")?;
        let secrets = list.into_iter().map(secret).collect::<Result<Vec<_>, _>>()?;
        let mut names: Vec<_> = secrets.iter().map(|sealed| (&sealed.path, &sealed.node)).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(fields.shape("secrets", "a list with each path at most once per node"));
        }
        fields.finish()?;
        Ok(Self { fleet, stream, revision, issued, not_after, min_agent, body, secrets })
    }

    /// The document in a signed envelope.
    ///
    /// # Errors
    /// [`SignError`] if the document would be refused by its readers, or the keys do not fit.
    pub fn seal(&self, keys: &[&SigningKey]) -> Result<Vec<u8>, SignError> {
        let payload = self.encode();
        Self::decode(&payload)?;
        envelope::sign(Role::Config, &self.fleet, &payload, keys)
    }
}

fn secret(value: Value) -> Result<SealedSecret, DocError> {
    let mut fields = Fields::of("a secret in the config", value)?;
    let path = fields.text(1, "path", PATH_BYTES_MAX)?;
    let node = fields.parsed(2, "node", "a node name")?;
    let enc = fields.array(3, "enc")?;
    let ct = fields.bytes(4, "ct", ENVELOPE_BYTES_MAX)?;
    fields.finish()?;
    Ok(SealedSecret { path, node, enc, ct })
}
