//! The MQTT link: keeps one connection to the fleet, or tries to, for as long as the agent runs.
//!
//! A thin shell around rumqttc. Each connection gets a new client and event loop, so that nothing of a lost session
//! (its pending list, its packet ids, its stashed publish) lives on: the outbox alone knows what has to be sent again.
//! rumqttc reconnects at once and for ever by itself; here every end of a connection goes through a wait that doubles,
//! with jitter, so that ten thousand nodes behind a fleet that restarts do not come back in the same second.
//!
//! Invariants:
//! - The subscription is made anew after every CONNACK, and [`LinkEvent::Up`] is said only after its SUBACK.
//! - Queues are bounded both ways; what is handed to a link that is down is dropped, and the outbox sends it again.

use bytes::Bytes;
use rumqttc::{
    AsyncClient, ConnectionError, Event, LastWill, MqttOptions, Packet, QoS, SubscribeReasonCode, Transport,
};
use skerry_model::NodeId;
use skerry_wire::{DownLeaf, MESSAGE_BYTES_MAX, Topic, UpLeaf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Requests that may wait inside rumqttc. Above the outbox's window, so that a batch never waits for a place.
const REQUESTS_MAX: usize = 64;
/// How long a connect, with TLS and CONNACK, may take, in seconds.
const CONNECT_SECS_MAX: u64 = 20;
/// Room for topic and packet header beside the payload.
const PACKET_OVERHEAD: usize = 1024;
/// A connection that stood this long counts as good: the next wait begins small again.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// Where and how to connect. A change makes the link reconnect.
#[derive(Clone)]
pub struct Peer {
    /// This node; also the MQTT client id.
    pub node: NodeId,
    /// Host name or address, as it stands in the server's certificate.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Trusts the fleet's CA alone and presents the node's certificate.
    pub tls: Arc<rustls::ClientConfig>,
    /// Largest silence on the link, 5 s at least.
    pub keepalive: Duration,
    /// First wait after a connection ended.
    pub retry_min: Duration,
    /// Longest wait between two attempts.
    pub retry_max: Duration,
    /// Payload of the last will on `up/status`.
    pub will: Vec<u8>,
}

/// What the link tells.
#[derive(Debug)]
pub enum LinkEvent {
    /// Connected and subscribed.
    Up,
    /// The connection ended, or an attempt failed; the text says why.
    Down(String),
    /// A message for this node.
    Message(DownLeaf, Bytes),
    /// A message on a topic that no message type belongs to; it was dropped.
    Stray(String),
}

/// A message to publish with QoS 1.
#[derive(Debug)]
pub struct Outgoing {
    /// Which topic of this node.
    pub leaf: UpLeaf,
    /// The message.
    pub payload: Vec<u8>,
}

/// Why one connection ended.
enum End {
    Stopped,
    PeerChanged,
    Failed(String),
}

/// The link's shell. Runs until `stop`; says goodbye with `farewell` where it is connected then.
pub struct Link {
    /// Where to connect; `None` while the node is not enrolled.
    pub peer: watch::Receiver<Option<Peer>>,
    /// What happens; the link waits where the consumer is slow, which also holds back the fleet.
    pub events: mpsc::Sender<LinkEvent>,
    /// What to publish.
    pub outgoing: mpsc::Receiver<Outgoing>,
    /// Encoded answers to publish: apart from the data, so that a long one holds up its own sender alone.
    pub answers: mpsc::Receiver<Vec<u8>>,
    /// Seeds the jitter of the waits.
    pub seed: u64,
}

impl Link {
    /// Connects, keeps connected, and reconnects until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut waits = Waits::new(self.seed);
        while !stop.is_cancelled() {
            let Some(peer) = self.peer.borrow_and_update().clone() else {
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = self.peer.changed() => if changed.is_err() { return },
                }
                continue;
            };
            let began = tokio::time::Instant::now();
            match self.connection(&peer, &stop).await {
                End::Stopped => return,
                End::PeerChanged => {
                    waits.reset();
                    let _ = self.events.send(LinkEvent::Down("the connection settings changed".into())).await;
                }
                End::Failed(why) => {
                    if began.elapsed() >= STABLE_AFTER {
                        waits.reset();
                    }
                    if self.events.send(LinkEvent::Down(why)).await.is_err() {
                        return;
                    }
                    let pause = waits.next(peer.retry_min, peer.retry_max);
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(pause) => {}
                        changed = self.peer.changed() => if changed.is_err() { return },
                    }
                }
            }
            while self.outgoing.try_recv().is_ok() || self.answers.try_recv().is_ok() {}
        }
    }

    /// One connection from connect to end.
    async fn connection(&mut self, peer: &Peer, stop: &CancellationToken) -> End {
        let (client, event_loop) = AsyncClient::new(options(peer), REQUESTS_MAX);
        let receiving = receive(event_loop, &client, peer, &self.events);
        let sending = send(&client, &peer.node, &mut self.outgoing, &mut self.answers);
        tokio::pin!(receiving);
        tokio::select! {
            end = &mut receiving => end,
            end = sending => end,
            changed = self.peer.changed() => if changed.is_err() { End::Stopped } else { End::PeerChanged },
            () = stop.cancelled() => {
                // The goodbye is a courtesy: without it the last will tells the fleet.
                let goodbye = async {
                    while let Ok(message) = self.outgoing.try_recv() {
                        publish(&client, &peer.node, message).await;
                    }
                    let _ = client.disconnect().await;
                    (&mut receiving).await
                };
                let _ = tokio::time::timeout(Duration::from_secs(2), goodbye).await;
                End::Stopped
            }
        }
    }
}

fn options(peer: &Peer) -> MqttOptions {
    let mut options = MqttOptions::new(peer.node.as_str(), peer.host.clone(), peer.port);
    let will_topic = Topic::Up(peer.node.clone(), UpLeaf::Status).to_string();
    options
        .set_transport(Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(peer.tls.clone())))
        .set_keep_alive(peer.keepalive.max(Duration::from_secs(5)))
        .set_clean_session(true)
        .set_inflight(REQUESTS_MAX as u16)
        .set_max_packet_size(MESSAGE_BYTES_MAX + PACKET_OVERHEAD, MESSAGE_BYTES_MAX + PACKET_OVERHEAD)
        .set_last_will(LastWill::new(will_topic, peer.will.clone(), QoS::AtLeastOnce, false));
    options
}

async fn receive(
    mut event_loop: rumqttc::EventLoop,
    client: &AsyncClient,
    peer: &Peer,
    events: &mpsc::Sender<LinkEvent>,
) -> End {
    let mut network = rumqttc::NetworkOptions::new();
    network.set_connection_timeout(CONNECT_SECS_MAX);
    network.set_tcp_nodelay(true);
    event_loop.set_network_options(network);
    loop {
        let told = match event_loop.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                if client.subscribe(Topic::down_filter(&peer.node), QoS::AtLeastOnce).await.is_err() {
                    return End::Failed("the MQTT client ended".into());
                }
                continue;
            }
            Ok(Event::Incoming(Packet::SubAck(ack))) => {
                if ack.return_codes.iter().any(|code| matches!(code, SubscribeReasonCode::Failure)) {
                    let filter = Topic::down_filter(&peer.node);
                    return End::Failed(format!("the broker refused the subscription {filter}: check its access list"));
                }
                LinkEvent::Up
            }
            Ok(Event::Incoming(Packet::Publish(message))) => match Topic::parse(&message.topic) {
                Ok(Topic::Down(node, leaf)) if node == peer.node => LinkEvent::Message(leaf, message.payload),
                _ => LinkEvent::Stray(message.topic.chars().take(80).collect()),
            },
            Ok(Event::Incoming(Packet::Disconnect)) => return End::Failed("the fleet ended the connection".into()),
            Ok(_) => continue,
            Err(error) => return End::Failed(explain(&error, peer)),
        };
        if events.send(told).await.is_err() {
            return End::Stopped;
        }
    }
}

async fn send(
    client: &AsyncClient,
    node: &NodeId,
    outgoing: &mut mpsc::Receiver<Outgoing>,
    answers: &mut mpsc::Receiver<Vec<u8>>,
) -> End {
    loop {
        // In turn where both have something: neither a backlog nor an answer starves the other.
        let message = tokio::select! {
            Some(message) = outgoing.recv() => message,
            Some(payload) = answers.recv() => Outgoing { leaf: UpLeaf::Answer, payload },
            else => break,
        };
        publish(client, node, message).await;
    }
    // Nobody publishes any more; the connection lives until it is stopped.
    std::future::pending().await
}

async fn publish(client: &AsyncClient, node: &NodeId, message: Outgoing) {
    let topic = Topic::Up(node.clone(), message.leaf).to_string();
    // An error means that the event loop has ended, which `receive` reports.
    let _ = client.publish(topic, QoS::AtLeastOnce, false, message.payload).await;
}

/// The cause in words that name the place and what to look at.
fn explain(error: &ConnectionError, peer: &Peer) -> String {
    let place = format!("{}:{}", peer.host, peer.port);
    match error {
        ConnectionError::Io(cause) => format!("cannot reach the fleet at {place}: {cause}"),
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => {
            format!("the fleet at {place} did not answer in time")
        }
        ConnectionError::Tls(cause) => format!(
            "TLS with the fleet at {place} failed: {cause}; check that the server's certificate comes from this fleet's CA and that this node is not revoked"
        ),
        ConnectionError::ConnectionRefused(code) => {
            format!("the fleet at {place} refused this node ({code:?}); it may be revoked or pending approval")
        }
        other => format!("the connection to the fleet at {place} ended: {other}"),
    }
}

/// Waits between attempts: doubling from the least to the longest, each drawn from its upper half.
struct Waits {
    tries: u32,
    random: u64,
}

impl Waits {
    fn new(seed: u64) -> Self {
        Self { tries: 0, random: seed | 1 }
    }

    fn reset(&mut self) {
        self.tries = 0;
    }

    fn next(&mut self, least: Duration, longest: Duration) -> Duration {
        let full = least.saturating_mul(1 << self.tries.min(20)).min(longest);
        self.tries = self.tries.saturating_add(1);
        // xorshift64: spreads the nodes, nothing more is asked of it.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let part = (self.random >> 40) as f64 / (1u64 << 24) as f64;
        full.mul_f64(0.5 + part / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_differ_between_nodes() {
        let (least, longest) = (Duration::from_secs(1), Duration::from_secs(60));
        let of = |seed| {
            let mut waits = Waits::new(seed);
            (0..10).map(|_| waits.next(least, longest)).collect::<Vec<_>>()
        };
        let (a, b) = (of(1), of(0x9e37_79b9_7f4a_7c15));
        for (at, wait) in a.iter().chain(&b).enumerate() {
            let full = Duration::from_secs((1 << (at % 10)).min(60));
            assert!(*wait >= full / 2 && *wait <= full, "attempt {at}: {wait:?} of {full:?}");
        }
        assert_ne!(a, b);
    }
}
