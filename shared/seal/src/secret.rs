//! Values inside a config that only one node can read: HPKE in base mode (RFC 9180) with X25519, HKDF-SHA256 and
//! ChaCha20-Poly1305.
//!
//! What a secret belongs to is bound into it: CBOR `[fleet, stream, epoch, version, path, node]` is authenticated
//! with the ciphertext, so a secret moved to another place, revision or node does not open. That the secret comes
//! from an administrator is shown by the config's signature around it, which is why base mode is enough.
//!
//! Invariant: private keys and plaintexts are wiped when dropped.

use crate::cbor;
use crate::doc::Revision;
use crate::fleet::FleetId;
use crate::keys::{InvalidKey, RandomError, hex, random, unhex};
use ciborium::Value;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use skerry_model::{NodeId, StreamName};
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

const INFO: &[u8] = b"skerry/1 secret";
/// Most bytes of a secret's path.
pub(crate) const PATH_BYTES_MAX: usize = 256;
/// Most bytes of one secret.
const PLAINTEXT_BYTES_MAX: usize = 64 * 1024;

/// A node's public key for secrets. Text form: 64 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct X25519Public(pub [u8; 32]);

impl fmt::Display for X25519Public {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl FromStr for X25519Public {
    type Err = InvalidKey;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        unhex(text).map(Self)
    }
}

/// A node's private key for secrets, wiped when dropped. Any 32 bytes are one (RFC 7748 section 5).
#[derive(Clone)]
pub struct X25519Key(Zeroizing<[u8; 32]>);

impl X25519Key {
    /// A new key from the system's randomness.
    ///
    /// # Errors
    /// [`RandomError`] if there is none.
    pub fn generate() -> Result<Self, RandomError> {
        Ok(Self(Zeroizing::new(random()?)))
    }

    /// The key of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The key's bytes, to be kept where only the node reads them.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.0.clone()
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> X25519Public {
        X25519Public(X25519HkdfSha256::sk_to_pk(&self.hpke()).to_bytes().into())
    }

    fn hpke(&self) -> <X25519HkdfSha256 as Kem>::PrivateKey {
        Deserializable::from_bytes(&self.0[..]).expect("a private key of X25519 is any 32 bytes")
    }
}

impl fmt::Debug for X25519Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("X25519Key").field(&self.public().to_string()).finish()
    }
}

/// What a secret is bound to.
#[derive(Debug, Clone, Copy)]
pub struct SecretContext<'a> {
    /// The fleet.
    pub fleet: &'a FleetId,
    /// The config's stream.
    pub stream: &'a StreamName,
    /// The config's revision.
    pub revision: Revision,
    /// Where in the config the value belongs: 1 to 256 bytes.
    pub path: &'a str,
    /// Who may read it.
    pub node: &'a NodeId,
}

impl SecretContext<'_> {
    fn aad(&self) -> Vec<u8> {
        cbor::encode(Value::Array(vec![
            self.fleet.as_str().into(),
            self.stream.as_str().into(),
            self.revision.epoch.into(),
            self.revision.version.into(),
            self.path.into(),
            self.node.as_str().into(),
        ]))
    }
}

/// A secret as it stands in a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// Where in the config the value belongs.
    pub path: String,
    /// Who may read it.
    pub node: NodeId,
    /// HPKE's encapsulated key.
    pub enc: [u8; 32],
    /// Ciphertext and tag.
    pub ct: Vec<u8>,
}

/// An opened secret, wiped when dropped and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Zeroizing<Vec<u8>>);

impl SecretValue {
    /// The value, to be handed to what needs it and nowhere else.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

/// Why a secret was not sealed or not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The path is empty or too long.
    #[error("the path of a secret has {bytes} bytes, 1 to {PATH_BYTES_MAX} are expected")]
    Path {
        /// Its length.
        bytes: usize,
    },
    /// The value is too long.
    #[error("secret '{path}' has {bytes} bytes, at most {PLAINTEXT_BYTES_MAX} are taken")]
    TooLong {
        /// The secret's path.
        path: String,
        /// Its length.
        bytes: usize,
    },
    /// The recipient's key is not usable.
    #[error("secret '{path}' cannot be encrypted to node '{node}': its X25519 key is not usable; enrol the node again")]
    Recipient {
        /// The secret's path.
        path: String,
        /// The recipient.
        node: NodeId,
    },
    /// The secret does not open with this key in this context.
    #[error("secret '{path}' does not open with this node's key; sign the config again for the key in its assignment")]
    Sealed {
        /// The secret's path.
        path: String,
    },
}

/// Encrypts `plaintext` so that only the holder of `recipient`'s private half reads it, in this context alone.
///
/// # Errors
/// [`SecretError`] if a bound is exceeded or the key is not usable.
pub fn seal_secret(
    recipient: &X25519Public,
    context: &SecretContext<'_>,
    plaintext: &[u8],
) -> Result<SealedSecret, SecretError> {
    let (path, node) = (context.path.to_owned(), context.node.clone());
    if path.is_empty() || path.len() > PATH_BYTES_MAX {
        return Err(SecretError::Path { bytes: path.len() });
    }
    if plaintext.len() > PLAINTEXT_BYTES_MAX {
        return Err(SecretError::TooLong { path, bytes: plaintext.len() });
    }
    let unusable = |_| SecretError::Recipient { path: path.clone(), node: node.clone() };
    let key = Deserializable::from_bytes(&recipient.0).map_err(unusable)?;
    let (enc, ct) = hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &key,
        INFO,
        plaintext,
        &context.aad(),
    )
    .map_err(unusable)?;
    Ok(SealedSecret { path, node, enc: enc.to_bytes().into(), ct })
}

/// Opens a secret that was sealed to `key` in exactly this context.
///
/// # Errors
/// [`SecretError::Sealed`] if key, context or ciphertext is not the one it was sealed with.
pub fn open_secret(
    key: &X25519Key,
    context: &SecretContext<'_>,
    sealed: &SealedSecret,
) -> Result<SecretValue, SecretError> {
    open_hpke(key, &sealed.enc, INFO, &context.aad(), &sealed.ct)
        .ok_or_else(|| SecretError::Sealed { path: sealed.path.clone() })
}

fn open_hpke(key: &X25519Key, enc: &[u8; 32], info: &[u8], aad: &[u8], ct: &[u8]) -> Option<SecretValue> {
    let enc = Deserializable::from_bytes(enc).ok()?;
    let opened = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &key.hpke(),
        &enc,
        info,
        ct,
        aad,
    );
    opened.ok().map(|plaintext| SecretValue(Zeroizing::new(plaintext)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9180 appendix A.2.1, sequence number 0.
    #[test]
    fn the_rfc_vector_opens() {
        let key =
            X25519Key::from_bytes(unhex("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb").unwrap());
        assert_eq!(key.public().to_string(), "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a");
        let enc = unhex("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a").unwrap();
        let ct: [u8; 45] =
            unhex("1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28")
                .unwrap();
        let opened = open_hpke(&key, &enc, b"Ode on a Grecian Urn", b"Count-0", &ct).unwrap();
        assert_eq!(opened.expose(), b"Beauty is truth, truth beauty");
        assert!(open_hpke(&key, &enc, b"Ode on a Grecian Urn", b"Count-1", &ct).is_none());
    }

    #[test]
    fn a_secret_opens_only_in_its_own_context() {
        let key = X25519Key::generate().unwrap();
        let (fleet, other_fleet) = ("f".parse().unwrap(), "g".parse().unwrap());
        let (stream, other_stream) = ("group/a".parse().unwrap(), "group/b".parse().unwrap());
        let (node, other_node) = ("n".parse().unwrap(), "o".parse().unwrap());
        let revision = Revision::new(1, 2);
        let context = SecretContext { fleet: &fleet, stream: &stream, revision, path: "spec.a", node: &node };
        let sealed = seal_secret(&key.public(), &context, b"pass").unwrap();
        assert_eq!(open_secret(&key, &context, &sealed).unwrap().expose(), b"pass");

        let elsewhere = [
            SecretContext { fleet: &other_fleet, ..context },
            SecretContext { stream: &other_stream, ..context },
            SecretContext { revision: Revision::new(2, 2), ..context },
            SecretContext { revision: Revision::new(1, 3), ..context },
            SecretContext { path: "spec.b", ..context },
            SecretContext { node: &other_node, ..context },
        ];
        let refused = Err(SecretError::Sealed { path: "spec.a".to_owned() });
        for other in elsewhere {
            assert_eq!(open_secret(&key, &other, &sealed), refused, "{other:?}");
        }
        assert_eq!(open_secret(&X25519Key::generate().unwrap(), &context, &sealed), refused);
        let mut changed = sealed.clone();
        changed.ct[0] ^= 1;
        assert_eq!(open_secret(&key, &context, &changed), refused);
        let mut cut = sealed;
        cut.ct.truncate(3);
        assert_eq!(open_secret(&key, &context, &cut), refused);
    }

    #[test]
    fn bounds_and_unusable_keys_are_named() {
        let (fleet, stream, node) = ("f".parse().unwrap(), "group/a".parse().unwrap(), "n".parse().unwrap());
        let revision = Revision::new(0, 1);
        let context = SecretContext { fleet: &fleet, stream: &stream, revision, path: "p", node: &node };
        let key = X25519Key::generate().unwrap().public();
        let seal = |key: &X25519Public, context, plaintext: &[u8]| seal_secret(key, &context, plaintext).unwrap_err();
        assert_eq!(seal(&key, SecretContext { path: "", ..context }, b""), SecretError::Path { bytes: 0 });
        let long = "p".repeat(257);
        assert_eq!(seal(&key, SecretContext { path: &long, ..context }, b""), SecretError::Path { bytes: 257 });
        assert!(matches!(seal(&key, context, &vec![0; 65_537]), SecretError::TooLong { bytes: 65_537, .. }));
        // The point at zero gives a shared secret that everybody knows.
        assert!(matches!(seal(&X25519Public([0; 32]), context, b""), SecretError::Recipient { .. }));
    }

    #[test]
    fn nothing_private_is_printed() {
        let key = X25519Key::from_bytes([7; 32]);
        assert_eq!(format!("{key:?}"), format!("X25519Key(\"{}\")", key.public()));
        let value = SecretValue(Zeroizing::new(b"hunter2".to_vec()));
        assert_eq!(format!("{value:?}"), "SecretValue(…)");
    }
}
