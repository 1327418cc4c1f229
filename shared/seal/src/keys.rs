//! Ed25519 keys that sign documents, and the names by which signatures refer to them.
//!
//! Invariants: private keys are kept as PKCS#8 in memory that is wiped on drop; `Debug` shows a key's id and
//! nothing else.

use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

/// Why bytes or a text are no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Not an Ed25519 private key in PKCS#8.
    #[error(
        "not an Ed25519 private key in PKCS#8 DER ({0}); give a file that `skerry init` or `openssl genpkey -algorithm ed25519 -outform DER` made"
    )]
    Pkcs8(String),
    /// Not a key in hexadecimal.
    #[error("{text:?} is not {digits} hexadecimal digits")]
    Hex {
        /// The first characters of the text.
        text: String,
        /// How many digits are expected.
        digits: usize,
    },
}

/// The system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes; check that the kernel's random device works")]
pub struct RandomError;

/// `N` bytes from the system's random source.
///
/// # Errors
/// [`RandomError`] if it gives none.
pub fn random<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| RandomError)?;
    Ok(bytes)
}

/// SHA-256 of `bytes` (FIPS 180-4).
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.as_ref());
    hash
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |n: u8| char::from(DIGITS[usize::from(n)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

pub(crate) fn unhex<const N: usize>(text: &str) -> Result<[u8; N], InvalidKey> {
    let fail = || InvalidKey::Hex { text: text.chars().take(80).collect(), digits: 2 * N };
    if text.len() != 2 * N || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(fail());
    }
    let mut bytes = [0; N];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| fail())?;
    }
    Ok(bytes)
}

/// Name of a public key in signatures: the first 8 bytes of the key's SHA-256. Text form: 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl FromStr for KeyId {
    type Err = InvalidKey;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        unhex(text).map(Self)
    }
}

/// An Ed25519 public key (RFC 8032). Text form: 64 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// The name by which signatures refer to this key.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let mut id = [0; 8];
        id.copy_from_slice(&sha256(&self.0)[..8]);
        KeyId(id)
    }

    /// Whether `signature` is this key's signature over exactly `message`. A signature that is not 64 bytes long,
    /// not in canonical form, or under a key that is no curve point, is not.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl FromStr for PublicKey {
    type Err = InvalidKey;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        unhex(text).map(Self)
    }
}

/// An Ed25519 private key, wiped when dropped.
///
/// ring does not wipe the copies it works on, so it is given one only while a key is made or signs.
pub struct SigningKey {
    pkcs8: Zeroizing<Vec<u8>>,
    public: PublicKey,
}

impl SigningKey {
    /// A new key from the system's randomness.
    ///
    /// # Errors
    /// [`RandomError`] if there is none.
    pub fn generate() -> Result<Self, RandomError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| RandomError)?;
        Self::from_pkcs8(document.as_ref()).map_err(|_| RandomError)
    }

    /// The key in a PKCS#8 document (RFC 5958), DER, with or without its public half.
    ///
    /// # Errors
    /// [`InvalidKey::Pkcs8`] if it is none, of another algorithm, or its two halves do not belong together.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, InvalidKey> {
        let pair = read_pkcs8(der).map_err(|rejected| InvalidKey::Pkcs8(rejected.to_string()))?;
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        Ok(Self { pkcs8: Zeroizing::new(der.to_vec()), public: PublicKey(public) })
    }

    /// The key as PKCS#8 DER, to be kept where only its holder reads it.
    #[must_use]
    pub fn to_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        self.pkcs8.clone()
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The name by which signatures refer to this key.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.public.id()
    }

    /// This key's signature over `message`, 64 bytes; the same each time.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let pair = read_pkcs8(&self.pkcs8).expect("the document was read when the key was made");
        let mut signature = [0; 64];
        signature.copy_from_slice(pair.sign(message).as_ref());
        signature
    }
}

fn read_pkcs8(der: &[u8]) -> Result<Ed25519KeyPair, ring::error::KeyRejected> {
    // OpenSSL leaves the public half out; ring then derives it.
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.id()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_pkcs8() {
        let key = SigningKey::generate().unwrap();
        let again = SigningKey::from_pkcs8(&key.to_pkcs8()).unwrap();
        assert_eq!(key.public(), again.public());
        assert_eq!(key.sign(b"x"), again.sign(b"x"));
        assert!(key.public().verifies(b"x", &key.sign(b"x")));
        assert!(!key.public().verifies(b"y", &key.sign(b"x")));
    }

    #[test]
    fn other_documents_are_refused() {
        let pkcs8 = SigningKey::generate().unwrap().to_pkcs8();
        for bad in [&b""[..], b"nonsense", &pkcs8[1..], &pkcs8[..40]] {
            assert!(matches!(SigningKey::from_pkcs8(bad), Err(InvalidKey::Pkcs8(_))));
        }
        let mut halves_apart = pkcs8.to_vec();
        *halves_apart.last_mut().unwrap() ^= 1;
        assert!(SigningKey::from_pkcs8(&halves_apart).is_err());
    }

    #[test]
    fn text_forms_read_back() {
        let public = SigningKey::generate().unwrap().public();
        assert_eq!(public.to_string().parse(), Ok(public));
        assert_eq!(public.id().to_string().parse(), Ok(public.id()));
        for bad in ["", "00", "zz00000000000000", "+f00000000000000", "é000000000000000"] {
            assert!(bad.parse::<KeyId>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn nothing_private_is_printed() {
        let key = SigningKey::generate().unwrap();
        assert_eq!(format!("{key:?}"), format!("SigningKey({:?})", key.id()));
    }
}
