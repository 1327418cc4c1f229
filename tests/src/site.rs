//! A fleet on loopback: the real endpoint, ingest and SQLite store, in a folder that outlives a restart.

use bytes::Bytes;
use skerry_agent::clock::Clock;
use skerry_fleet::ingest::{Asks, Counters, Desired, Ingest, Liveness};
use skerry_fleet::mqtt::{Admission, Endpoint, EndpointConfig, EndpointTls, Limits, ServerCert};
use skerry_fleet::pki::{FleetCa, NodeCert};
use skerry_fleet::store::{Config, Store, WriterHandle};
use skerry_model::NodeId;
use skerry_wire::{DownLeaf, Hello};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const VALIDITY: Duration = Duration::from_secs(86_400);

/// Wants nothing of its nodes.
struct NothingDesired;

impl Desired for NothingDesired {
    async fn for_node(&self, _: &NodeId, _: &Hello) -> Vec<(DownLeaf, Bytes)> {
        Vec::new()
    }
}

/// A running fleet.
pub struct Site {
    /// Where its endpoint listens.
    pub address: SocketAddr,
    /// Its data.
    pub store: Store,
    /// Who is there.
    pub liveness: Liveness,
    /// Questions to nodes.
    pub asks: Asks,
    /// Which certificates are admitted.
    pub admission: Admission,
    writer: WriterHandle,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

/// Who a node is to the fleet: its key and certificate.
pub struct NodeIdentity {
    /// The certificate.
    pub cert: NodeCert,
    /// What the node's link connects with.
    pub tls: Arc<rustls::ClientConfig>,
}

impl Site {
    /// Starts a fleet with its data in `folder`.
    ///
    /// # Panics
    /// If anything cannot be started: a test cannot go on then.
    pub async fn start(ca: &FleetCa, folder: &Path) -> Self {
        let clock = Clock::system();
        let (store, writer) =
            skerry_fleet::store::open(&folder.join("fleet-data.db"), Config::default()).expect("a store");
        let server = ca.issue_server(&["127.0.0.1".into()], VALIDITY, clock.wall()).expect("a server certificate");
        let server = ServerCert::from_pem(&server.cert_pem, &server.key_pem).expect("a sound certificate");
        let tls = EndpointTls { ca: vec![ca.cert_der().clone()], server: Arc::new(server) };
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = EndpointConfig { listen, websocket: None, limits: Limits::default() };
        let admission = Admission::deny([]);
        let (inbound, events) = mpsc::channel(256);
        let endpoint = Endpoint::bind(config, tls, admission.clone(), inbound).await.expect("an endpoint");
        let (address, downlink) = (endpoint.local_addr().expect("an address"), endpoint.downlink());
        let asks = Asks::new(downlink.clone(), clock.wall());
        let liveness = Liveness::default();
        let ingest = Ingest {
            store: store.clone(),
            downlink,
            liveness: liveness.clone(),
            asks: asks.clone(),
            counters: Arc::new(Counters::new()),
            desired: NothingDesired,
            wall: Arc::new(move || clock.wall()),
        };
        let stop = CancellationToken::new();
        let endpoint_stop = stop.clone();
        let tasks = vec![
            tokio::spawn(async move { endpoint.run(endpoint_stop).await }),
            tokio::spawn(ingest.run(events, stop.clone())),
        ];
        Self { address, store, liveness, asks, admission, writer, stop, tasks }
    }

    /// Stops it in order; its data stays.
    ///
    /// # Panics
    /// If one of its tasks panicked.
    pub async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.expect("no task of the fleet panics");
        }
        self.store.close().await;
        drop(self.store);
        tokio::task::spawn_blocking(|| self.writer.join()).await.expect("the writer ends");
    }
}

/// A node's key, its certificate from `ca`, and TLS settings that trust `trusted` alone.
///
/// # Panics
/// If the certificate cannot be made.
#[must_use]
pub fn node_identity(ca: &FleetCa, trusted: &FleetCa, node: &NodeId) -> NodeIdentity {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
    let csr = rcgen::CertificateParams::default().serialize_request(&key).expect("a request");
    let cert = ca.issue_node(csr.der(), node, VALIDITY, Clock::system().wall()).expect("a certificate");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.cert_der().clone()).expect("a sound CA");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a sound key");
    let chain = vec![rustls::pki_types::CertificateDer::from(cert.der.to_vec())];
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .expect("key and certificate match");
    NodeIdentity { cert, tls: Arc::new(tls) }
}
