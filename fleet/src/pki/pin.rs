//! Pins and names read out of certificates and requests.

use super::PkiError;
use ring::digest::{SHA256, digest};
use skerry_model::NodeId;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::{FromDer, X509Certificate};

/// SHA-256 of the DER of a SubjectPublicKeyInfo (RFC 5280, 4.1.2.7): names a key, whatever certificate carries it.
pub type SpkiPin = [u8; 32];

/// Pin of the key in a DER certificate.
///
/// # Errors
/// [`PkiError::Certificate`] where it cannot be parsed.
pub fn spki_pin(cert: &[u8]) -> Result<SpkiPin, PkiError> {
    Ok(sha256(parse(cert)?.tbs_certificate.subject_pki.raw))
}

/// Pin of the key in a DER signing request. The request's signature is not checked here.
///
/// # Errors
/// [`PkiError::Csr`] where it cannot be parsed.
pub fn csr_pin(csr: &[u8]) -> Result<SpkiPin, PkiError> {
    let (_, request) =
        X509CertificationRequest::from_der(csr).map_err(|error| PkiError::Csr { cause: error.to_string() })?;
    Ok(sha256(request.certification_request_info.subject_pki.raw))
}

/// The node that a DER certificate names: its only common name.
///
/// # Errors
/// [`PkiError::Certificate`] where it cannot be parsed, or holds no or several common names, or no node's name.
pub fn node_of_cert(cert: &[u8]) -> Result<NodeId, PkiError> {
    let cert = parse(cert)?;
    let mut names = cert.subject().iter_common_name();
    let refuse = |cause: String| PkiError::Certificate { cause };
    let (Some(name), None) = (names.next(), names.next()) else {
        return Err(refuse("exactly one common name is expected".into()));
    };
    let name = name.as_str().map_err(|_| refuse("its common name is no text".into()))?;
    name.parse().map_err(|error: skerry_model::InvalidNodeId| refuse(error.to_string()))
}

pub(super) fn sha256(bytes: &[u8]) -> SpkiPin {
    let mut pin = [0; 32];
    pin.copy_from_slice(digest(&SHA256, bytes).as_ref());
    pin
}

fn parse(cert: &[u8]) -> Result<X509Certificate<'_>, PkiError> {
    X509Certificate::from_der(cert)
        .map(|(_, cert)| cert)
        .map_err(|error| PkiError::Certificate { cause: error.to_string() })
}
