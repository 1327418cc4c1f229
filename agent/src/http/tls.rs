//! TLS of a client: whom it trusts and what it shows of itself.

use super::settings::read_up_to;
use super::{Cause, HttpError, TlsPeer, TlsSettings, TlsVersion, cert, fail};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use skerry_tls::AnyCertificate;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use tokio_rustls::client::TlsStream;

/// Where systems keep their bundle of CA certificates: Debian, Fedora, openSUSE, Alpine and OpenWrt.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Longest bundle, and longest file of a certificate or key.
const BUNDLE_BYTES_MAX: u64 = 4 << 20;
/// Longest chain that is followed to its root.
const CHAIN_MAX: usize = 8;

/// The system's CA certificates, read when they are first needed; a clone shares them.
#[derive(Debug, Clone, Default)]
pub struct SystemRoots(Arc<OnceLock<Roots>>);

/// Whom a client trusts.
#[derive(Debug, Clone)]
struct Roots {
    store: Arc<RootCertStore>,
    /// Names of the roots, and when they end.
    ends: Arc<[(Box<[u8]>, i64)]>,
}

impl SystemRoots {
    fn roots(&self) -> Result<Roots, HttpError> {
        if let Some(roots) = self.0.get() {
            return Ok(roots.clone());
        }
        let set = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        let Some(path) = set.into_iter().chain(BUNDLES.map(PathBuf::from)).find(|path| path.exists()) else {
            let text = "this machine has no CA certificates; install ca-certificates, or set tls_config.ca_file";
            return Err(fail(Cause::Tls, text));
        };
        let roots = Roots::of(&certificates(&read_up_to(&path, BUNDLE_BYTES_MAX)?, &path.display().to_string())?)?;
        Ok(self.0.get_or_init(|| roots).clone())
    }
}

impl Roots {
    /// A bundle may hold old certificates that cannot be read; the others count.
    fn of(certs: &[CertificateDer<'static>]) -> Result<Self, HttpError> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(certs.iter().cloned());
        if store.is_empty() {
            return Err(fail(Cause::Tls, "none of the CA certificates can be used"));
        }
        let ends = certs.iter().filter_map(|der| cert::facts(der)).map(|facts| (facts.subject.into(), facts.not_after));
        Ok(Self { store: Arc::new(store), ends: ends.collect() })
    }
}

/// One set of TLS settings, ready to connect with.
#[derive(Debug, Clone)]
pub struct TlsClient {
    settings: Arc<TlsSettings>,
    system: SystemRoots,
    built: OnceLock<Built>,
}

#[derive(Debug, Clone)]
struct Built {
    config: Arc<rustls::ClientConfig>,
    roots: Option<Roots>,
}

impl TlsClient {
    /// Of these settings. Their files are read at the first connection; until that succeeds, at each.
    #[must_use]
    pub fn new(settings: &TlsSettings, system: &SystemRoots) -> Self {
        Self { settings: Arc::new(settings.clone()), system: system.clone(), built: OnceLock::new() }
    }

    /// Name that the server must have, where the settings tell.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.settings.server_name.as_deref().filter(|name| !name.is_empty())
    }

    /// Speaks TLS on `stream` with a server of that name.
    ///
    /// # Errors
    /// [`Cause::Tls`], or [`Cause::Invalid`] where the settings' files cannot be used.
    pub async fn connect<S>(&self, stream: S, name: &str) -> Result<(TlsStream<S>, TlsPeer), HttpError>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let bad_name = |_| fail(Cause::Invalid, format!("{name:?} is no host name"));
        let server = ServerName::try_from(name.to_owned()).map_err(bad_name)?;
        let config = self.built()?.config.clone();
        let failed = |error| fail(Cause::Tls, format!("TLS with {name} failed: {error}"));
        let stream = tokio_rustls::TlsConnector::from(config).connect(server, stream).await.map_err(failed)?;
        let session = stream.get_ref().1;
        let version = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
            _ => "TLS 1.2",
        };
        let certs = session.peer_certificates().unwrap_or_default().iter().map(|cert| cert.clone().into_owned());
        let peer = TlsPeer { version, certs: certs.collect() };
        Ok((stream, peer))
    }

    /// When the chain that lasts longest ends, from the server's certificate to a root; `None` where nothing is verified.
    /// Chains are told by names.
    #[must_use]
    pub fn last_chain_expiry(&self, peer: &TlsPeer) -> Option<i64> {
        let roots = self.built.get()?.roots.as_ref()?;
        let certs: Vec<cert::Facts<'_>> =
            peer.certs.iter().take(CHAIN_MAX).filter_map(|der| cert::facts(der)).collect();
        let mut best = None;
        let mut open = vec![(*certs.first()?, certs.first()?.not_after, 1)];
        while let Some((last, end, length)) = open.pop() {
            let above = roots.ends.iter().filter(|(subject, _)| **subject == *last.issuer);
            best = above.map(|(_, root)| end.min(*root)).chain(best).max();
            if length < certs.len() && last.issuer != last.subject {
                let next = certs[1..].iter().filter(|cert| cert.subject == last.issuer);
                open.extend(next.map(|cert| (*cert, end.min(cert.not_after), length + 1)));
                open.truncate(64);
            }
        }
        best
    }

    fn built(&self) -> Result<&Built, HttpError> {
        if self.built.get().is_none() {
            let built = build(&self.settings, &self.system)?;
            let _ = self.built.set(built);
        }
        self.built.get().ok_or_else(|| fail(Cause::Tls, "TLS is not ready"))
    }
}

fn build(settings: &TlsSettings, system: &SystemRoots) -> Result<Built, HttpError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let speaks = |version: TlsVersion| {
        settings.min_version.is_none_or(|least| least <= version)
            && settings.max_version.is_none_or(|most| version <= most)
    };
    let versions: Vec<&rustls::SupportedProtocolVersion> =
        [(TlsVersion::Tls12, &rustls::version::TLS12), (TlsVersion::Tls13, &rustls::version::TLS13)]
            .into_iter()
            .filter(|(version, _)| speaks(*version))
            .map(|(_, version)| version)
            .collect();
    let unusable = |error: rustls::Error| fail(Cause::Invalid, format!("the TLS settings cannot be used: {error}"));
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone());
    let builder = builder.with_protocol_versions(&versions).map_err(unusable)?;
    let mut roots = None;
    let verifier: Arc<dyn ServerCertVerifier> = if settings.insecure_skip_verify {
        Arc::new(AnyCertificate(provider))
    } else {
        let own = match text(settings.ca.as_deref(), settings.ca_file.as_deref(), "ca")? {
            Some((pem, place)) => certificates(&pem, &place)?,
            None => Vec::new(),
        };
        let trusted = if own.is_empty() { system.roots()? } else { Roots::of(&own)? };
        let inner = WebPkiServerVerifier::builder_with_provider(trusted.store.clone(), provider);
        roots = Some(trusted);
        let inner = inner.build().map_err(|error| fail(Cause::Tls, error.to_string()))?;
        Arc::new(Verified { inner, own })
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let cert = text(settings.cert.as_deref(), settings.cert_file.as_deref(), "cert")?;
    let key = text(settings.key.as_deref(), settings.key_file.as_deref(), "key")?;
    let config = match (cert, key) {
        (Some((cert, place)), Some((key, key_place))) => {
            let no_key = |error| fail(Cause::Invalid, format!("{key_place} holds no PEM key: {error}"));
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(no_key)?;
            builder.with_client_auth_cert(certificates(&cert, &place)?, key).map_err(unusable)?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Built { config: Arc::new(config), roots })
}

fn text(inline: Option<&str>, file: Option<&Path>, key: &str) -> Result<Option<(String, String)>, HttpError> {
    match (inline, file) {
        (Some(pem), _) => Ok(Some((pem.to_owned(), format!("tls_config.{key}")))),
        (None, Some(path)) => Ok(Some((read_up_to(path, BUNDLE_BYTES_MAX)?, path.display().to_string()))),
        (None, None) => Ok(None),
    }
}

fn certificates(pem: &str, place: &str) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let certs: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match certs {
        Ok(certs) if !certs.is_empty() => Ok(certs),
        Ok(_) => Err(fail(Cause::Invalid, format!("{place} holds no PEM certificate"))),
        Err(error) => Err(fail(Cause::Invalid, format!("{place} is no PEM: {error}"))),
    }
}

/// Verifies as usual. A server's own certificate that the settings name is taken too, if its name and time hold: people
/// put self-signed ones into `ca_file`, and those made by openssl say that they are CAs, which no server's may be.
#[derive(Debug)]
struct Verified {
    inner: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verified {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.inner.verify_server_cert(end_entity, intermediates, name, ocsp, now);
        if verified.is_ok() || !self.own.contains(end_entity) {
            return verified;
        }
        rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let error = match cert::facts(end_entity) {
            Some(facts) if now < facts.not_before => rustls::CertificateError::NotValidYet,
            Some(facts) if now > facts.not_after => rustls::CertificateError::Expired,
            Some(_) => return Ok(ServerCertVerified::assertion()),
            None => rustls::CertificateError::BadEncoding,
        };
        Err(error.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
