//! TLS of the endpoint: client certificates required, keys checked against the live admission list, the server's
//! certificate replaceable while it runs.
//!
//! Invariants:
//! - No session is ever resumed, so every connection passes the verifier.
//! - A key that is not admitted fails the handshake even with a valid certificate.

use super::admission::Admission;
use super::connection::PeerIdentity;
use super::stats::Refusal;
use crate::pki::{PkiError, node_of_cert, spki_pin};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, VerifierBuilderError};
use rustls::server::{ServerConnection, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig};
use rustls::{InvalidMessage, SignatureScheme};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

/// Why the endpoint's TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM text is not what it should be.
    #[error("{what} cannot be read: {cause}; expected PEM as 'skerry init' writes it")]
    Pem {
        /// Which text.
        what: &'static str,
        /// The parser's reason.
        cause: String,
    },
    /// rustls refuses the server's certificate or key.
    #[error("the server certificate and its key cannot be used together; issue both anew from the fleet CA")]
    ServerCert {
        /// Its reason.
        source: Error,
    },
    /// rustls refuses a CA certificate.
    #[error("a fleet CA certificate cannot be used")]
    Anchor {
        /// Its reason.
        source: Error,
    },
    /// There is no usable CA certificate.
    #[error("no fleet CA certificate is given, so no node could be verified")]
    NoAnchor {
        /// The library's reason.
        source: VerifierBuilderError,
    },
    /// The protocol versions are not available.
    #[error("TLS cannot be set up")]
    Setup {
        /// rustls' reason.
        source: Error,
    },
}

/// What the endpoint needs for TLS.
#[derive(Debug, Clone)]
pub struct EndpointTls {
    /// Certificates of the CAs whose clients are nodes: the fleet's, and while it is replaced its successor's.
    pub ca: Vec<CertificateDer<'static>>,
    /// The server's own certificate.
    pub server: Arc<ServerCert>,
}

/// The server's certificate and key; [`Self::replace`] takes effect with the next handshake.
#[derive(Debug)]
pub struct ServerCert(RwLock<Arc<CertifiedKey>>);

impl ServerCert {
    /// From a PEM chain, leaf first, and a PEM key.
    ///
    /// # Errors
    /// [`TlsError::Pem`] or [`TlsError::ServerCert`].
    pub fn from_pem(chain_pem: &str, key_pem: &str) -> Result<Self, TlsError> {
        Ok(Self(RwLock::new(Arc::new(certified(chain_pem, key_pem)?))))
    }

    /// Puts another certificate in its place. Connections that stand are not touched.
    ///
    /// # Errors
    /// As [`Self::from_pem`]; the old certificate stays then.
    pub fn replace(&self, chain_pem: &str, key_pem: &str) -> Result<(), TlsError> {
        let new = Arc::new(certified(chain_pem, key_pem)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }
}

impl ResolvesServerCert for ServerCert {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn certified(chain_pem: &str, key_pem: &str) -> Result<CertifiedKey, TlsError> {
    let unreadable =
        |what| move |error: rustls::pki_types::pem::Error| TlsError::Pem { what, cause: error.to_string() };
    let chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable("the server certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(unreadable("the server key"))?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|source| TlsError::ServerCert { source })
}

fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// The endpoint's rustls config.
pub(super) fn server_config(tls: &EndpointTls, admission: &Admission) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(provider());
    let mut anchors = RootCertStore::empty();
    for ca in &tls.ca {
        anchors.add(ca.clone()).map_err(|source| TlsError::Anchor { source })?;
    }
    let chains = WebPkiClientVerifier::builder_with_provider(Arc::new(anchors), provider.clone())
        .build()
        .map_err(|source| TlsError::NoAnchor { source })?;
    let verifier = NodeVerifier { chains, admission: admission.clone() };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| TlsError::Setup { source })?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(tls.server.clone());
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Chains to the fleet's CA as webpki judges it, and is admitted now.
#[derive(Debug)]
struct NodeVerifier {
    chains: Arc<dyn ClientCertVerifier>,
    admission: Admission,
}

impl ClientCertVerifier for NodeVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chains.verify_client_cert(end_entity, intermediates, now)?;
        let pin = spki_pin(end_entity).map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if self.admission.admits(&pin) {
            Ok(verified)
        } else {
            Err(Error::InvalidCertificate(CertificateError::Revoked))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// Who a finished handshake proved to be there.
///
/// # Errors
/// [`PkiError::Certificate`] where the certificate names no node.
pub fn identity(tls: &ServerConnection, peer: SocketAddr) -> Result<PeerIdentity, PkiError> {
    let cert = tls
        .peer_certificates()
        .and_then(<[_]>::first)
        .ok_or_else(|| PkiError::Certificate { cause: "the peer presented none".into() })?;
    Ok(PeerIdentity { node: node_of_cert(cert)?, cert_pin: spki_pin(cert)?, peer })
}

/// Why a handshake failed, for the counters.
pub(super) fn refusal(error: &io::Error) -> Refusal {
    match error.get_ref().and_then(|cause| cause.downcast_ref::<Error>()) {
        Some(Error::NoCertificatesPresented) => Refusal::NoCertificate,
        Some(Error::InvalidCertificate(CertificateError::Revoked)) => Refusal::Revoked,
        Some(Error::InvalidCertificate(_)) => Refusal::BadCertificate,
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => Refusal::Malformed,
        _ => Refusal::Handshake,
    }
}
