//! The endpoint as its peers see it. `protocol` and `limits` run on in-memory streams with virtual time, `tls` and
//! `clients` over real TLS on loopback.

mod broker;
mod clients;
mod limits;
mod protocol;
mod tls;

use super::*;
use crate::pki::FleetCa;
use bytes::{Bytes, BytesMut};
use mqtt_proto::{Pid, QoS, QosPid, TopicName, v3, v5};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use skerry_model::{NodeId, UnixMillis};
use skerry_wire::{DownLeaf, UpLeaf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Longest wait for anything that should happen.
const SOON: Duration = Duration::from_secs(10);
const PIN: [u8; 32] = [7; 32];

fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn identity_of(name: &str) -> PeerIdentity {
    PeerIdentity { node: node(name), cert_pin: PIN, peer: "192.0.2.1:4000".parse().unwrap() }
}

/// A service on in-memory streams.
struct Bench {
    service: Service,
    admission: Admission,
    inbound: mpsc::Receiver<Inbound>,
    stop: CancellationToken,
}

impl Bench {
    fn new() -> Self {
        Self::with(Limits::default(), 64)
    }

    fn with(limits: Limits, inbound: usize) -> Self {
        let (sender, inbound) = mpsc::channel(inbound);
        let admission = Admission::deny([]);
        let service = Service::new(limits, admission.clone(), sender);
        Self { service, admission, inbound, stop: CancellationToken::new() }
    }

    /// A stream that the service serves as that node.
    fn stream(&self, name: &str) -> (Raw<DuplexStream>, JoinHandle<()>) {
        self.stream_of(name, 64 * 1024)
    }

    fn stream_of(&self, name: &str, bytes: usize) -> (Raw<DuplexStream>, JoinHandle<()>) {
        let (ours, theirs) = duplex(bytes);
        let (service, stop, who) = (self.service.clone(), self.stop.clone(), identity_of(name));
        let task = tokio::spawn(async move { service.serve_stream(theirs, who, &stop).await });
        (Raw(ours), task)
    }

    /// A connected client of that version, with its `Connected` taken.
    async fn client(&mut self, name: &str, version: u8) -> Raw<DuplexStream> {
        let (mut raw, _) = self.stream(name);
        raw.connect(version, 0).await;
        assert!(matches!(self.next().await, Inbound::Connected { node, .. } if node.as_str() == name));
        raw
    }

    async fn next(&mut self) -> Inbound {
        next(&mut self.inbound).await
    }

    async fn message(&mut self) -> (NodeId, UpLeaf, Bytes, Done) {
        message(&mut self.inbound).await
    }

    async fn end(&mut self) -> EndReason {
        end(&mut self.inbound).await
    }
}

async fn next(inbound: &mut mpsc::Receiver<Inbound>) -> Inbound {
    timeout(SOON, inbound.recv()).await.expect("something should happen").expect("the service lives")
}

async fn message(inbound: &mut mpsc::Receiver<Inbound>) -> (NodeId, UpLeaf, Bytes, Done) {
    match next(inbound).await {
        Inbound::Message { node, leaf, payload, done } => (node, leaf, payload, done),
        other => panic!("a message is expected: {other:?}"),
    }
}

async fn end(inbound: &mut mpsc::Receiver<Inbound>) -> EndReason {
    match next(inbound).await {
        Inbound::Disconnected { reason, .. } => reason,
        other => panic!("a disconnect is expected: {other:?}"),
    }
}

/// A client that sends what a test wants it to.
struct Raw<S>(S);

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        timeout(SOON, self.0.write_all(bytes.as_ref())).await.expect("the service reads").unwrap();
    }

    /// The next packet, whole; `None` where the service closed.
    async fn receive(&mut self) -> Option<Bytes> {
        let mut head = [0; 2];
        let read = timeout(SOON, self.0.read_exact(&mut head)).await.expect("an answer is expected");
        read.ok()?;
        let mut packet = BytesMut::from(&head[..]);
        let mut length = usize::from(head[1] & 0x7f);
        let mut shift = 7;
        while packet[packet.len() - 1] & 0x80 != 0 {
            let byte = self.0.read_u8().await.unwrap();
            packet.extend_from_slice(&[byte]);
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
        }
        let start = packet.len();
        packet.resize(start + length, 0);
        self.0.read_exact(&mut packet[start..]).await.unwrap();
        Some(packet.freeze())
    }

    async fn receive_v3(&mut self) -> v3::Packet {
        v3::Packet::decode(&self.receive().await.expect("a packet is expected")).unwrap().unwrap()
    }

    async fn receive_v5(&mut self) -> v5::Packet {
        v5::Packet::decode(&self.receive().await.expect("a packet is expected")).unwrap().unwrap()
    }

    async fn closed(&mut self) {
        assert_eq!(self.receive().await, None, "the service should close");
    }

    /// Nothing comes for a (virtual) second.
    async fn silent(&mut self) {
        let byte = timeout(Duration::from_secs(1), self.0.read_u8()).await;
        assert!(byte.is_err(), "nothing should come, but {byte:?} did");
    }

    async fn connect(&mut self, version: u8, keepalive_s: u16) {
        if version == 4 {
            self.send(connect_v3(keepalive_s, None)).await;
            let expected = v3::Connack::new(false, v3::ConnectReturnCode::Accepted);
            assert_eq!(self.receive_v3().await, v3::Packet::Connack(expected));
        } else {
            self.send(connect_v5(|connect| connect.keep_alive = keepalive_s)).await;
            match self.receive_v5().await {
                v5::Packet::Connack(connack) => assert_eq!(connack.reason_code, v5::ConnectReasonCode::Success),
                other => panic!("CONNACK is expected: {other:?}"),
            }
        }
    }
}

fn connect_v3(keepalive_s: u16, will: Option<(&str, &'static [u8])>) -> Vec<u8> {
    let mut connect = v3::Connect::new("any name".into(), keepalive_s);
    connect.last_will =
        will.map(|(topic, text)| v3::LastWill::new(QoS::Level1, topic_name(topic), Bytes::from_static(text)));
    bytes_of_v3(connect.into())
}

fn connect_v5(edit: impl FnOnce(&mut v5::Connect)) -> Vec<u8> {
    let mut connect = v5::Connect::new("".into(), 0);
    edit(&mut connect);
    bytes_of_v5(connect.into())
}

fn topic_name(text: &str) -> TopicName {
    TopicName::try_from(text).unwrap()
}

fn pid(number: u16) -> Pid {
    Pid::try_from(number).unwrap()
}

fn bytes_of_v3(packet: v3::Packet) -> Vec<u8> {
    packet.encode().unwrap().as_ref().to_vec()
}

fn bytes_of_v5(packet: v5::Packet) -> Vec<u8> {
    packet.encode().unwrap().as_ref().to_vec()
}

fn publish(version: u8, topic: &str, qos: QosPid, payload: impl Into<Bytes>) -> Vec<u8> {
    match version {
        4 => bytes_of_v3(v3::Publish::new(qos, topic_name(topic), payload.into()).into()),
        _ => bytes_of_v5(v5::Publish::new(qos, topic_name(topic), payload.into()).into()),
    }
}

fn subscribe(version: u8, filter: &str, qos: QoS) -> Vec<u8> {
    let filter = mqtt_proto::TopicFilter::try_from(filter).unwrap();
    match version {
        4 => bytes_of_v3(v3::Subscribe::new(pid(9), vec![(filter, qos)]).into()),
        _ => bytes_of_v5(v5::Subscribe::new(pid(9), vec![(filter, v5::SubscriptionOptions::new(qos))]).into()),
    }
}

/// The machine's time: TLS judges validity by it.
fn now() -> UnixMillis {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    UnixMillis(now.tv_sec * 1000)
}

/// A node's certificate and key.
struct NodeKey {
    cert_pem: String,
    key_pem: String,
    pin: [u8; 32],
}

fn node_key(ca: &FleetCa, name: &str) -> NodeKey {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
    let cert = ca.issue_node(csr.der(), &node(name), Duration::from_secs(86_400), now()).unwrap();
    NodeKey { cert_pem: cert.pem, key_pem: key.serialize_pem(), pin: cert.pin }
}

fn tls_client(ca_pem: &str, key: Option<&NodeKey>) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match key {
        None => builder.with_no_client_auth(),
        Some(key) => {
            let cert = CertificateDer::from_pem_slice(key.cert_pem.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.key_pem.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![cert], key).unwrap()
        }
    })
}

/// An endpoint on loopback, running.
struct Site {
    ca: FleetCa,
    server: Arc<ServerCert>,
    admission: Admission,
    inbound: mpsc::Receiver<Inbound>,
    address: std::net::SocketAddr,
    websocket: std::net::SocketAddr,
    downlink: Downlink,
    stats: Arc<Stats>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Site {
    async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    async fn with(limits: Limits) -> Self {
        let ca = FleetCa::generate("test", now()).unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let identity = ca.issue_server(&names, Duration::from_secs(86_400), now()).unwrap();
        let server = Arc::new(ServerCert::from_pem(&identity.cert_pem, &identity.key_pem).unwrap());
        let admission = Admission::deny([]);
        let (sender, inbound) = mpsc::channel(64);
        let any = "127.0.0.1:0".parse().unwrap();
        let config = EndpointConfig { listen: any, websocket: Some(any), limits };
        let tls = EndpointTls { ca: vec![ca.cert_der().clone()], server: server.clone() };
        let endpoint = Endpoint::bind(config, tls, admission.clone(), sender).await.unwrap();
        let (address, websocket) = (endpoint.local_addr().unwrap(), endpoint.websocket_addr().unwrap());
        let (downlink, stats) = (endpoint.downlink(), endpoint.stats());
        let stop = CancellationToken::new();
        let task = tokio::spawn(endpoint.run(stop.clone()));
        Self { ca, server, admission, inbound, address, websocket, downlink, stats, stop, task }
    }

    async fn tls_stream(
        &self,
        config: Arc<rustls::ClientConfig>,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>> {
        let tcp = tokio::net::TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        tokio_rustls::TlsConnector::from(config).connect("localhost".try_into().unwrap(), tcp).await
    }

    /// Waits until something was refused for that reason.
    async fn refused(&self, why: Refusal) {
        let counted = async {
            while self.stats.refused(why) == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, counted).await.unwrap_or_else(|_| panic!("{why:?} should be counted: {:?}", self.stats));
    }
}
