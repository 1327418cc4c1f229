//! What all connections of an endpoint share, and the limits they keep.

use super::admission::Admission;
use super::connection::{PeerIdentity, serve};
use super::message::{Downlink, Inbound};
use super::sessions::Sessions;
use super::stats::Stats;
use skerry_wire::MESSAGE_BYTES_MAX;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// Limits of an endpoint. The defaults suit ten thousand nodes on one machine.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once, counted after their handshake.
    pub connections_max: usize,
    /// TLS handshakes at once; more are turned away.
    pub handshakes_max: usize,
    /// How long the TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long CONNECT may take after that.
    pub connect_timeout: Duration,
    /// How long a begun packet may stand still.
    pub stall_timeout: Duration,
    /// How long a node may take nothing of what is sent to it.
    pub write_timeout: Duration,
    /// Longest keepalive in seconds; also the one of clients that want none.
    pub keepalive_s_max: u16,
    /// Largest packet.
    pub packet_bytes_max: usize,
    /// Bytes of packets that are being received or not yet done, over all connections together.
    pub budget_bytes: usize,
    /// Bytes of one node's messages that may wait to be done; it may be exceeded by one packet.
    pub node_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            handshakes_max: 512,
            handshake_timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(20),
            keepalive_s_max: 600,
            // Topic and packet header stand beside the payload.
            packet_bytes_max: MESSAGE_BYTES_MAX + 1024,
            budget_bytes: 64 << 20,
            node_bytes_max: 4 << 20,
        }
    }
}

/// Shared by all connections.
pub(super) struct Hub {
    pub(super) config: Limits,
    pub(super) admission: Admission,
    pub(super) sessions: Arc<Sessions>,
    pub(super) inbound: mpsc::Sender<Inbound>,
    pub(super) budget: Arc<Semaphore>,
    pub(super) stats: Arc<Stats>,
}

/// Serves MQTT on streams whose peer is proved already; cheap to clone. An [`super::Endpoint`] uses it for its own
/// listeners; others hand it theirs.
#[derive(Clone)]
pub struct Service(pub(super) Arc<Hub>);

impl Service {
    /// A service that tells `inbound` what happens. A full channel pauses the connections, which holds the nodes
    /// back; a closed one ends them.
    #[must_use]
    pub fn new(mut limits: Limits, admission: Admission, inbound: mpsc::Sender<Inbound>) -> Self {
        // A packet that the budget could never hold would wait for ever.
        limits.packet_bytes_max = limits.packet_bytes_max.min(limits.budget_bytes).min(u32::MAX as usize);
        let budget = Arc::new(Semaphore::new(limits.budget_bytes.min(Semaphore::MAX_PERMITS)));
        Self(Arc::new(Hub {
            config: limits,
            admission,
            sessions: Arc::default(),
            inbound,
            budget,
            stats: Arc::default(),
        }))
    }

    /// Serves MQTT on `stream` until it ends or `stop`.
    pub async fn serve_stream<S>(&self, stream: S, who: PeerIdentity, stop: &CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        serve(&self.0, stream, who, stop).await;
    }

    /// The way to the nodes.
    #[must_use]
    pub fn downlink(&self) -> Downlink {
        Downlink::of_sessions(self.0.sessions.clone())
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        self.0.stats.clone()
    }
}
