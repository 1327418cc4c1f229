//! The two keys of a node.

use super::files::{self, IdentityError};
use skerry_seal::{X25519Key, sha256};
use std::path::Path;
use zeroize::Zeroizing;

/// The P-256 key of its TLS certificate and the X25519 key that secrets are sealed to.
pub struct Keys {
    tls: rcgen::KeyPair,
    /// Opens what is sealed for this node.
    pub x25519: X25519Key,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    /// Reads the keys in this folder, and makes those that are not there yet.
    ///
    /// # Errors
    /// [`IdentityError`]. A damaged key is never replaced.
    pub fn load_or_create(folder: &Path) -> Result<Self, IdentityError> {
        Ok(Self { tls: tls_key(&folder.join("tls-key.pem"))?, x25519: x25519_key(&folder.join("x25519.key"))? })
    }

    /// SHA-256 of the DER SubjectPublicKeyInfo of the TLS key, by which the fleet knows this node.
    #[must_use]
    pub fn tls_pin(&self) -> [u8; 32] {
        use rcgen::PublicKeyData;
        sha256(&self.tls.subject_public_key_info())
    }

    /// A signing request for the TLS key, DER. The fleet alone decides the name that the certificate will carry.
    ///
    /// # Errors
    /// [`IdentityError::Generate`].
    pub fn signing_request(&self) -> Result<Vec<u8>, IdentityError> {
        let request = rcgen::CertificateParams::default().serialize_request(&self.tls);
        request.map(|csr| csr.der().to_vec()).map_err(|error| IdentityError::Generate(error.to_string()))
    }

    /// The TLS key, PKCS #8 DER.
    pub(super) fn tls_der(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.tls.serialize_der())
    }
}

fn tls_key(path: &Path) -> Result<rcgen::KeyPair, IdentityError> {
    let generate = |error: rcgen::Error| IdentityError::Generate(error.to_string());
    if let Some(pem) = files::read(path)?.map(Zeroizing::new) {
        let damaged = |problem: String| IdentityError::Damaged { path: path.to_owned(), problem };
        let text = std::str::from_utf8(&pem).map_err(|error| damaged(error.to_string()))?;
        return rcgen::KeyPair::from_pem(text).map_err(|error| damaged(error.to_string()));
    }
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(generate)?;
    files::write(path, Zeroizing::new(key.serialize_pem()).as_bytes())?;
    Ok(key)
}

fn x25519_key(path: &Path) -> Result<X25519Key, IdentityError> {
    if let Some(bytes) = files::read(path)?.map(Zeroizing::new) {
        let bytes: [u8; 32] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| IdentityError::Damaged { path: path.to_owned(), problem: "32 bytes are expected".into() })?;
        return Ok(X25519Key::from_bytes(bytes));
    }
    let key = X25519Key::generate().map_err(|error| IdentityError::Generate(error.to_string()))?;
    files::write(path, key.to_bytes().as_slice())?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keys_stay_the_same_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("identity");
        let first = Keys::load_or_create(&at).unwrap();
        let second = Keys::load_or_create(&at).unwrap();
        assert_eq!(first.tls_pin(), second.tls_pin());
        assert_eq!(first.x25519.public(), second.x25519.public());
        for name in ["tls-key.pem", "x25519.key"] {
            let mode = std::fs::metadata(at.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_damaged_key_is_said_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        Keys::load_or_create(folder.path()).unwrap();
        for name in ["tls-key.pem", "x25519.key"] {
            let path = folder.path().join(name);
            let good = std::fs::read(&path).unwrap();
            std::fs::write(&path, b"garbage").unwrap();
            let error = Keys::load_or_create(folder.path()).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("damaged"), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), b"garbage");
            std::fs::write(&path, good).unwrap();
        }
    }
}
