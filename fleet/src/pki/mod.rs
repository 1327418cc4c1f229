//! The fleet's certificate authority: it names nodes and the server to each other for TLS, and nothing more.
//!
//! Keys here stand in no signing role of the trust root: whoever takes the CA's key can speak as a node or as the
//! server, but cannot make any node do anything.
//!
//! Invariants:
//! - Every key is ECDSA P-256; every signature is made by ring.
//! - Validity counts from the `now` that the caller gives; nothing here reads a clock.
//! - A node's certificate carries the name that the fleet chose. What the request asks for is not copied.
//! - A private key on disk has mode 0600 from its first byte and appears under its name only when complete.

mod error;
mod files;
mod pin;
#[cfg(test)]
mod tests;

pub use error::PkiError;
pub use files::{write_private, write_public};
pub use pin::{SpkiPin, csr_pin, node_of_cert, spki_pin};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData,
    SerialNumber, date_time_ymd,
};
use ring::digest::{SHA256, digest};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, pem::PemObject};
use skerry_model::{NodeId, UnixMillis};
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The CA outlives the devices: replacing it means visiting every node that is offline then.
const CA_VALIDITY: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
/// Certificates begin a day early, because the other end's clock may run behind.
const BACKDATED: Duration = DAY;
/// Shortest and longest validity that can be asked for.
const VALIDITY_RANGE: std::ops::RangeInclusive<Duration> = HOUR..=CA_VALIDITY;
/// Largest signing request that is read, in bytes. A P-256 request with a long name has about 500.
pub const CSR_BYTES_MAX: usize = 8 * 1024;

/// The fleet's CA: its certificate and its key.
pub struct FleetCa {
    issuer: Issuer<'static, KeyPair>,
    cert: CertificateDer<'static>,
    cert_pem: String,
}

/// A certificate with the key made for it, both PEM.
pub struct ServerIdentity {
    /// The certificate.
    pub cert_pem: String,
    /// PKCS#8.
    pub key_pem: Zeroizing<String>,
}

/// A certificate issued to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCert {
    /// DER.
    pub der: CertificateDer<'static>,
    /// The same as PEM.
    pub pem: String,
    /// Pin of the key it certifies.
    pub pin: SpkiPin,
    /// Last moment of its validity.
    pub not_after: UnixMillis,
}

impl FleetCa {
    /// Makes a new CA for the fleet of that name, valid for 30 years from `now`.
    ///
    /// # Errors
    /// [`PkiError::Issue`] where the key cannot be made.
    pub fn generate(fleet: &str, now: UnixMillis) -> Result<Self, PkiError> {
        let issue = |source| PkiError::Issue { what: "the fleet CA", source };
        let key = new_key().map_err(issue)?;
        let mut params = certificate(&format!("Skerry fleet CA {fleet}"), &key, now, CA_VALIDITY);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let cert = params.self_signed(&key).map_err(issue)?;
        Ok(Self { cert_pem: cert.pem(), cert: cert.der().clone(), issuer: Issuer::new(params, key) })
    }

    /// The CA of these PEM texts.
    ///
    /// # Errors
    /// [`PkiError::Malformed`] where a text is no such PEM, [`PkiError::KeyMismatch`] where the key is another's.
    pub fn from_pem(cert_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let malformed = |what| move |source| PkiError::Malformed { what, source };
        let cert = CertificateDer::from_pem_slice(cert_pem.as_bytes())
            .map_err(|error| PkiError::Pem { what: "the CA certificate", cause: error.to_string() })?;
        let key = KeyPair::from_pem(key_pem).map_err(malformed("the CA key"))?;
        if spki_pin(&cert)? != pin_of_key(&key) {
            return Err(PkiError::KeyMismatch);
        }
        let issuer = Issuer::from_ca_cert_der(&cert, key).map_err(malformed("the CA certificate"))?;
        Ok(Self { issuer, cert, cert_pem: cert_pem.to_owned() })
    }

    /// Reads both files.
    ///
    /// # Errors
    /// [`PkiError::File`] where one cannot be read, else as [`Self::from_pem`].
    pub fn load(cert: &Path, key: &Path) -> Result<Self, PkiError> {
        let key_pem = Zeroizing::new(files::read(key)?);
        Self::from_pem(&files::read(cert)?, &key_pem)
    }

    /// Writes both files; the key's has mode 0600.
    ///
    /// # Errors
    /// [`PkiError::File`].
    pub fn save(&self, cert: &Path, key: &Path) -> Result<(), PkiError> {
        write_private(key, &self.key_pem())?;
        write_public(cert, &self.cert_pem)
    }

    /// The certificate, PEM: what nodes and tools trust.
    #[must_use]
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The certificate, DER.
    #[must_use]
    pub fn cert_der(&self) -> &CertificateDer<'static> {
        &self.cert
    }

    /// The key, PKCS#8 PEM.
    #[must_use]
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.issuer.key().serialize_pem())
    }

    /// Makes a key and issues a server certificate for `names`: DNS names or IP addresses, at least one.
    ///
    /// # Errors
    /// [`PkiError::Names`] where there is none or one is neither; [`PkiError::Validity`] outside one hour to 30 years.
    pub fn issue_server(
        &self,
        names: &[String],
        validity: Duration,
        now: UnixMillis,
    ) -> Result<ServerIdentity, PkiError> {
        check_validity(validity)?;
        let issue = |source| PkiError::Issue { what: "the server certificate", source };
        let first = names.first().ok_or_else(|| PkiError::Names { cause: "none was given".into() })?;
        let key = new_key().map_err(issue)?;
        let mut params = certificate(first, &key, now, validity);
        params.subject_alt_names = CertificateParams::new(names.to_vec())
            .map_err(|error| PkiError::Names { cause: error.to_string() })?
            .subject_alt_names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let cert = params.signed_by(&key, &self.issuer).map_err(issue)?;
        Ok(ServerIdentity { cert_pem: cert.pem(), key_pem: Zeroizing::new(key.serialize_pem()) })
    }

    /// Issues a client certificate for the key of `csr` (DER, at most [`CSR_BYTES_MAX`]), whose signature is checked.
    /// Its common name is `node`; every other wish of the request is dropped.
    ///
    /// # Errors
    /// [`PkiError::Csr`] where the request is malformed, wrongly signed, or not for a P-256 key;
    /// [`PkiError::Validity`] outside one hour to 30 years.
    pub fn issue_node(
        &self,
        csr: &[u8],
        node: &NodeId,
        validity: Duration,
        now: UnixMillis,
    ) -> Result<NodeCert, PkiError> {
        check_validity(validity)?;
        if csr.len() > CSR_BYTES_MAX {
            return Err(PkiError::Csr { cause: format!("{} bytes are more than {CSR_BYTES_MAX}", csr.len()) });
        }
        let mut request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr))
            .map_err(|error| PkiError::Csr { cause: error.to_string() })?;
        if request.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(PkiError::Csr { cause: "its key is not ECDSA P-256".into() });
        }
        let mut params = certificate(node.as_str(), &request.public_key, now, validity);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        request.params = params;
        let cert = request
            .signed_by(&self.issuer)
            .map_err(|source| PkiError::Issue { what: "the node certificate", source })?;
        Ok(NodeCert { pem: cert.pem(), der: cert.der().clone(), pin: csr_pin(csr)?, not_after: now + validity })
    }
}

fn new_key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
}

fn pin_of_key(key: &impl PublicKeyData) -> SpkiPin {
    pin::sha256(&key.subject_public_key_info())
}

fn check_validity(validity: Duration) -> Result<(), PkiError> {
    if VALIDITY_RANGE.contains(&validity) { Ok(()) } else { Err(PkiError::Validity { validity }) }
}

/// The fields that all certificates share.
fn certificate(name: &str, key: &impl PublicKeyData, now: UnixMillis, validity: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    // The common name has an upper bound of 64 characters (RFC 5280, ub-common-name).
    params.distinguished_name.push(DnType::CommonName, name.chars().take(64).collect::<String>());
    // A serial number that a renewal of the same key does not repeat, without asking for randomness.
    let mut seed = key.subject_public_key_info();
    seed.extend_from_slice(&now.0.to_be_bytes());
    params.serial_number = Some(SerialNumber::from_slice(&digest(&SHA256, &seed).as_ref()[..16]));
    let epoch = date_time_ymd(1970, 1, 1);
    let now = Duration::from_millis(u64::try_from(now.0).unwrap_or(0));
    params.not_before = epoch + now.saturating_sub(BACKDATED);
    params.not_after = epoch + now + validity;
    params
}
