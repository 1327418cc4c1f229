//! What the fleet gave the node when it joined.

use super::files::{self, IdentityError};
use super::keys::Keys;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use skerry_model::NodeId;
use skerry_seal::{FleetId, NewNode};
use std::path::Path;
use std::sync::Arc;

const NAME: &str = "enrolment.json";

/// A certificate, whom to trust, and where to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// The name under which the fleet knows this node.
    pub node: NodeId,
    /// The fleet.
    pub fleet: FleetId,
    /// Certificate chain, DER, the node's first.
    pub cert_chain: Vec<Vec<u8>>,
    /// The fleet's CA, DER.
    pub ca: Vec<u8>,
    /// Root envelopes from number 1 on.
    pub roots: Vec<Vec<u8>>,
    /// Host of the MQTT endpoint.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// The file's form: binary fields in base64.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    node: NodeId,
    fleet: String,
    cert_chain: Vec<String>,
    ca: String,
    roots: Vec<String>,
    mqtt_url: String,
}

impl Enrolment {
    /// From the fleet's answer.
    ///
    /// # Errors
    /// The reason, where the address of the endpoint cannot be used.
    pub fn new(given: NewNode) -> Result<Self, String> {
        let NewNode { node, fleet, cert_chain, ca_der, roots, mqtt_url } = given;
        let (host, port) = parse_url(&mqtt_url)?;
        Ok(Self { node, fleet, cert_chain, ca: ca_der, roots, host, port })
    }

    /// Reads it; `None` where the node has not joined.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn load(folder: &Path) -> Result<Option<Self>, IdentityError> {
        let path = folder.join(NAME);
        let Some(bytes) = files::read(&path)? else { return Ok(None) };
        let parse = || -> Result<Self, String> {
            let stored: Stored = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
            let binary = |text: &String| STANDARD.decode(text).map_err(|error| error.to_string());
            let (host, port) = parse_url(&stored.mqtt_url)?;
            Ok(Self {
                node: stored.node,
                fleet: stored.fleet.parse().map_err(|error: skerry_seal::InvalidFleetId| error.to_string())?,
                cert_chain: stored.cert_chain.iter().map(binary).collect::<Result<_, _>>()?,
                ca: binary(&stored.ca)?,
                roots: stored.roots.iter().map(binary).collect::<Result<_, _>>()?,
                host,
                port,
            })
        };
        parse().map(Some).map_err(|problem| IdentityError::Damaged { path, problem })
    }

    /// Stores it.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn save(&self, folder: &Path) -> Result<(), IdentityError> {
        let text = |bytes: &Vec<u8>| STANDARD.encode(bytes);
        let stored = Stored {
            node: self.node.clone(),
            fleet: self.fleet.to_string(),
            cert_chain: self.cert_chain.iter().map(text).collect(),
            ca: text(&self.ca),
            roots: self.roots.iter().map(text).collect(),
            mqtt_url: self.url(),
        };
        let bytes = serde_json::to_vec_pretty(&stored).map_err(|error| IdentityError::Generate(error.to_string()))?;
        files::write(&folder.join(NAME), &bytes)
    }

    /// Where the node connects.
    #[must_use]
    pub fn url(&self) -> String {
        let bracketed = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("mqtts://{bracketed}:{}", self.port)
    }

    /// TLS settings that trust the fleet's CA alone and present the node's certificate.
    ///
    /// # Errors
    /// What is wrong with CA, certificate or key, for people.
    pub fn tls(&self, keys: &Keys) -> Result<Arc<rustls::ClientConfig>, String> {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from(self.ca.clone()))
            .map_err(|error| format!("the fleet's CA certificate is unusable: {error}; enrol the node anew"))?;
        let chain = self.cert_chain.iter().cloned().map(CertificateDer::from).collect();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(keys.tls_der().to_vec()));
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|error| format!("the node's certificate does not fit its key: {error}; enrol the node anew"))?;
        Ok(Arc::new(config))
    }
}

/// Host and port of `mqtts://host:port`; 8883 where no port is named.
fn parse_url(url: &str) -> Result<(String, u16), String> {
    let problem = || format!("{url:?} is no address of an MQTT endpoint: mqtts://HOST:PORT is expected");
    let rest = url.strip_prefix("mqtts://").ok_or_else(problem)?.trim_end_matches('/');
    let (host, port) = match rest.strip_prefix('[') {
        Some(v6) => {
            let (host, after) = v6.split_once(']').ok_or_else(problem)?;
            (host, after.strip_prefix(':'))
        }
        None => rest.rsplit_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Ok(8883), str::parse).map_err(|_| problem())?;
    if host.is_empty() || host.contains('/') {
        return Err(problem());
    }
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let ok = |url: &str| parse_url(url).unwrap();
        assert_eq!(ok("mqtts://fleet.example:1234"), ("fleet.example".into(), 1234));
        assert_eq!(ok("mqtts://fleet.example/"), ("fleet.example".into(), 8883));
        assert_eq!(ok("mqtts://[::1]:99"), ("::1".into(), 99));
        for bad in ["mqtt://x:1", "mqtts://:1", "mqtts://x:y", "mqtts://x/y:1", ""] {
            assert!(parse_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn it_is_read_back_as_it_was_stored() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Enrolment::load(folder.path()).unwrap(), None);
        let enrolment = Enrolment {
            node: "pi-4".parse().unwrap(),
            fleet: FleetId::generate().unwrap(),
            cert_chain: vec![vec![1, 2], vec![3]],
            ca: vec![4],
            roots: vec![vec![5]],
            host: "::1".into(),
            port: 8883,
        };
        enrolment.save(folder.path()).unwrap();
        assert_eq!(Enrolment::load(folder.path()).unwrap(), Some(enrolment));
        std::fs::write(folder.path().join(NAME), "{}").unwrap();
        let error = Enrolment::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains(NAME) && error.contains("damaged"), "{error}");
    }
}
