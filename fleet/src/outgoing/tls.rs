//! TLS towards a target.

use super::endpoint::{Endpoint, TlsFile};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use skerry_tls::AnyCertificate;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a target's TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file is no PEM of what it should hold.
    #[error("read {}; a PEM file is expected", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// There is no CA to check a certificate with.
    #[error("the machine has no CA certificates; install ca-certificates or set tls_config.ca_file")]
    NoRoots,
    /// The pieces do not fit.
    #[error("set up TLS")]
    Config(#[from] rustls::Error),
}

/// TLS where the endpoint's URL wants it.
///
/// # Errors
/// [`TlsError`] where one of its files cannot be used.
pub(crate) fn of_endpoint(endpoint: &Endpoint) -> Result<Option<Arc<ClientConfig>>, TlsError> {
    match endpoint.url.scheme_str() {
        Some("https") => config(&endpoint.tls).map(|tls| Some(Arc::new(tls))),
        _ => Ok(None),
    }
}

/// TLS with the ring provider.
pub(crate) fn config(files: &TlsFile) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = if files.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    } else {
        builder.with_root_certificates(roots(files.ca_file.as_deref())?)
    };
    Ok(match (&files.cert_file, &files.key_file) {
        (Some(cert), Some(key)) => {
            let key =
                PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::File { path: key.clone(), source })?;
            builder.with_client_auth_cert(certificates(cert)?, key)?
        }
        _ => builder.with_no_client_auth(),
    })
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(path) => {
            for cert in certificates(path)? {
                roots.add(cert)?;
            }
        }
        // Among the machine's some may be too odd to use; the others serve.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if roots.is_empty() { Err(TlsError::NoRoots) } else { Ok(roots) }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|source| TlsError::File { path: path.to_owned(), source })
}
