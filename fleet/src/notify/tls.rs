//! TLS towards a receiver, by its `tls_config`.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use skerry_alerting::notify::config::TlsConfig;
use skerry_tls::AnyCertificate;
use std::path::Path;
use std::sync::Arc;

/// Ready to connect with. Files are read each time, so that they may be replaced.
///
/// # Errors
/// What cannot be used, with the file's name.
pub(super) fn config(settings: &TlsConfig) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut versions = Vec::new();
    if !settings.is_13_least {
        versions.push(&rustls::version::TLS12);
    }
    if !settings.is_12_most {
        versions.push(&rustls::version::TLS13);
    }
    let unusable = |error: rustls::Error| format!("the TLS settings cannot be used: {error}");
    let builder = ClientConfig::builder_with_provider(provider.clone());
    let builder = builder.with_protocol_versions(&versions).map_err(unusable)?;
    let builder = if settings.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    } else {
        builder.with_root_certificates(roots(settings)?)
    };
    let cert = pem(settings.cert.as_deref(), settings.cert_file.as_deref(), "cert")?;
    let key = pem(settings.key.as_deref(), settings.key_file.as_deref(), "key")?;
    let config = match (cert, key) {
        (Some((cert, place)), Some((key, key_place))) => {
            let key = PrivateKeyDer::from_pem_slice(&key);
            let key = key.map_err(|error| format!("{key_place} holds no PEM key: {error}"))?;
            builder.with_client_auth_cert(certificates(&cert, &place)?, key).map_err(unusable)?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn roots(settings: &TlsConfig) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match pem(settings.ca.as_deref(), settings.ca_file.as_deref(), "ca")? {
        Some((ca, place)) => {
            for certificate in certificates(&ca, &place)? {
                roots.add(certificate).map_err(|error| format!("{place}: {error}"))?;
            }
        }
        // Among the machine's some may be too odd to use; the others serve.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if roots.is_empty() {
        return Err("the machine has no CA certificates; install ca-certificates or set tls_config.ca_file".into());
    }
    Ok(roots)
}

/// A text, or the file that holds it, and the place to name in errors.
fn pem(text: Option<&str>, file: Option<&Path>, key: &str) -> Result<Option<(Vec<u8>, String)>, String> {
    match (text, file) {
        (Some(text), _) => Ok(Some((text.as_bytes().to_vec(), format!("tls_config.{key}")))),
        (None, Some(path)) => {
            let place = path.display().to_string();
            let read = std::fs::read(path).map_err(|error| format!("{place} cannot be read: {error}"))?;
            Ok(Some((read, place)))
        }
        (None, None) => Ok(None),
    }
}

fn certificates(pem: &[u8], place: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!("{place} holds no PEM certificate")),
        Err(error) => Err(format!("{place} is no PEM: {error}")),
    }
}
