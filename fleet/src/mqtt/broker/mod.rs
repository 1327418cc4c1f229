//! An external broker instead of the fleet's own endpoint: the same [`Inbound`] and [`Downlink`] through rumqttc.
//!
//! Here the broker authenticates. The fleet takes the node's name from the topic, so the broker has to let a node
//! publish below its own `skerry/v1/NODE/up` alone; with mosquitto that is `use_identity_as_username true` and the
//! pattern `write skerry/v1/%u/up/+`, `read skerry/v1/%u/down/+`. Revocation is the broker's as well.
//!
//! MQTT 5, because its Maximum Packet Size keeps a packet that is too large with the broker. In 3.1.1 it would come
//! again on each connection and end it each time.
//!
//! Invariants:
//! - The fleet's session outlives its connections, so the broker keeps what came while the fleet was away.
//! - Each connection has a new client and event loop. rumqttc would carry its packet ids and a stashed publish over
//!   into the next one, where they collide; and it would reconnect at once and for ever.
//! - PUBACKs leave in the order of the messages. One dropped unfinished ends the connection, and it comes again.

mod presence;

use super::message::{Done, Downlink, Inbound, Outbound};
use super::stats::{Refusal, Stats, add};
use presence::Presence;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};
use rumqttc::{TlsConfiguration, Transport};
use skerry_wire::{MESSAGE_BYTES_MAX, Topic};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// Messages that the broker may send ahead of their PUBACK.
const RECEIVE_MAX: u16 = 128;
/// Requests that may wait inside rumqttc.
const REQUESTS_MAX: usize = 256;
/// Messages to nodes that may be under way to the broker.
const UNDER_WAY_MAX: u16 = 64;
/// Messages to nodes that may wait; more are refused.
const OUTBOUND_MAX: usize = 1024;
/// How long the broker keeps what came for an absent fleet, in seconds.
const SESSION_EXPIRY_S: u32 = 7 * 24 * 3600;
/// How long a connect may take, in seconds.
const CONNECT_S_MAX: u64 = 20;
/// Topic, header and properties beside a payload, in bytes.
const OVERHEAD_BYTES: u32 = 1024;
/// A connection that stood this long makes the next wait short again.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// Where the broker is and how to talk to it.
#[derive(Clone)]
pub struct BrokerConfig {
    /// Host name or address, as in the broker's certificate.
    pub host: String,
    /// Port, usually 8883 with TLS and 1883 without.
    pub port: u16,
    /// How to verify the broker and prove oneself to it; `None` speaks plain TCP.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Names the fleet's session at the broker: has to stay the same over restarts, and be no other client's.
    pub client_id: String,
    /// User name and password, where the broker wants them.
    pub credentials: Option<(String, Zeroizing<String>)>,
    /// Longest silence on the connection.
    pub keepalive: Duration,
    /// First and longest wait between two attempts.
    pub retry: (Duration, Duration),
}

/// The transport through an external broker.
pub struct Broker {
    config: BrokerConfig,
    inbound: mpsc::Sender<Inbound>,
    outbound: mpsc::Receiver<Outbound>,
    downlink: Downlink,
    stats: Arc<Stats>,
    presence: Presence,
    jitter: u64,
}

/// Why one connection to the broker ended.
enum End {
    Stopped,
    Failed(String),
}

impl Broker {
    /// A transport that tells `inbound` what happens and waits where that is full; the broker then keeps the rest.
    /// `seed` spreads the waits of several fleets.
    #[must_use]
    pub fn new(config: BrokerConfig, seed: u64, inbound: mpsc::Sender<Inbound>) -> Self {
        let (sender, outbound) = mpsc::channel(OUTBOUND_MAX);
        Self {
            config,
            inbound,
            outbound,
            downlink: Downlink::to_channel(sender),
            stats: Arc::default(),
            presence: Presence::default(),
            jitter: seed | 1,
        }
    }

    /// The way to the nodes. Whether a node is connected cannot be known here: a message to one that is not is
    /// dropped by the broker.
    #[must_use]
    pub fn downlink(&self) -> Downlink {
        self.downlink.clone()
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        self.stats.clone()
    }

    /// Connects, keeps connected and reconnects until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tries = 0;
        loop {
            let began = tokio::time::Instant::now();
            match self.connection(&stop).await {
                End::Stopped => return,
                End::Failed(error) => {
                    if began.elapsed() >= STABLE_AFTER {
                        tries = 0;
                    }
                    tracing::warn!(broker = %self.place(), error, attempt = tries + 1, "no connection to the broker");
                }
            }
            let pause = self.pause(tries);
            tries += 1;
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn place(&self) -> String {
        format!("{}:{}", self.config.host, self.config.port)
    }

    /// Doubles from the first wait to the longest; each is drawn from its upper half.
    fn pause(&mut self, tries: u32) -> Duration {
        let (first, longest) = self.config.retry;
        let full = first.saturating_mul(1 << tries.min(16)).min(longest);
        // xorshift64 is random enough to spread attempts.
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        full / 2 + full.mul_f64((self.jitter >> 32) as f64 / f64::from(u32::MAX) / 2.0)
    }

    async fn connection(&mut self, stop: &CancellationToken) -> End {
        let (client, event_loop) = AsyncClient::new(options(&self.config), REQUESTS_MAX);
        // Holds all that the broker may send ahead, so that waiting for its turn never blocks the event loop.
        let (owed, owing) = mpsc::channel(usize::from(RECEIVE_MAX) + 1);
        let receiver = Receiver {
            client: &client,
            inbound: &self.inbound,
            owed,
            stats: &self.stats,
            presence: &mut self.presence,
            silence_max: self.config.keepalive * 2 + Duration::from_secs(CONNECT_S_MAX),
        };
        let receiving = receiver.run(event_loop);
        let acknowledging = acknowledge(&client, owing);
        let sending = send(&client, &mut self.outbound, &self.stats);
        tokio::pin!(receiving);
        tokio::select! {
            end = &mut receiving => end,
            end = acknowledging => end,
            end = sending => end,
            () = stop.cancelled() => {
                // A courtesy: without it the broker would wait for the keepalive to run out.
                let goodbye = async {
                    let _ = client.disconnect().await;
                    (&mut receiving).await
                };
                let _ = timeout(Duration::from_secs(1), goodbye).await;
                End::Stopped
            }
        }
    }
}

fn options(config: &BrokerConfig) -> MqttOptions {
    let mut options = MqttOptions::new(&config.client_id, &config.host, config.port);
    if let Some(tls) = &config.tls {
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls.clone())));
    }
    if let Some((user, password)) = &config.credentials {
        options.set_credentials(user, password.as_str());
    }
    options
        .set_keep_alive(config.keepalive.max(Duration::from_secs(5)))
        .set_clean_start(false)
        .set_session_expiry_interval(Some(SESSION_EXPIRY_S))
        .set_receive_maximum(Some(RECEIVE_MAX))
        .set_max_packet_size(Some(MESSAGE_BYTES_MAX as u32 + OVERHEAD_BYTES))
        .set_manual_acks(true)
        .set_connection_timeout(CONNECT_S_MAX)
        .set_outgoing_inflight_upper_limit(UNDER_WAY_MAX);
    options
}

/// Turns the broker's packets into events.
struct Receiver<'a> {
    client: &'a AsyncClient,
    inbound: &'a mpsc::Sender<Inbound>,
    owed: mpsc::Sender<(Publish, oneshot::Receiver<()>)>,
    stats: &'a Stats,
    presence: &'a mut Presence,
    /// rumqttc says something at each keepalive; longer silence means that it hangs in a write.
    silence_max: Duration,
}

impl Receiver<'_> {
    async fn run(mut self, mut event_loop: EventLoop) -> End {
        loop {
            let event = match timeout(self.silence_max, event_loop.poll()).await {
                Ok(Ok(event)) => event,
                Ok(Err(error)) => return End::Failed(explain(&error)),
                Err(_) => return End::Failed("the broker takes nothing any more".into()),
            };
            let Event::Incoming(packet) = event else { continue };
            let handled = match packet {
                Packet::ConnAck(connack) => self.on_connected(connack.session_present).await,
                Packet::SubAck(suback) => self.on_subscribed(&suback.return_codes),
                Packet::Publish(publish) => self.on_publish(publish).await,
                _ => Ok(()),
            };
            if let Err(end) = handled {
                return end;
            }
        }
    }

    async fn on_connected(&mut self, session_present: bool) -> Result<(), End> {
        if !session_present {
            for gone in self.presence.forget() {
                self.tell(gone).await?;
            }
        }
        // Also where the session stood: another fleet version may have subscribed to something else.
        self.client
            .subscribe(Topic::UP_FILTER, QoS::AtLeastOnce)
            .await
            .map_err(|_| End::Failed("the MQTT client ended".into()))
    }

    fn on_subscribed(&self, codes: &[SubscribeReasonCode]) -> Result<(), End> {
        match codes.iter().find(|code| !matches!(code, SubscribeReasonCode::Success(_))) {
            None => {
                add(&self.stats.connections, 1);
                tracing::info!("subscribed at the broker");
                Ok(())
            }
            Some(code) => Err(End::Failed(format!(
                "the broker refused the subscription {} ({code:?}); allow the fleet to read it in the broker's access list",
                Topic::UP_FILTER
            ))),
        }
    }

    async fn on_publish(&mut self, publish: Publish) -> Result<(), End> {
        add(&self.stats.bytes_in, publish.payload.len());
        let topic = std::str::from_utf8(&publish.topic).map(Topic::parse);
        let (Ok(Ok(Topic::Up(node, leaf))), false) = (topic, publish.retain) else {
            // Retained messages are of another time; nobody in Skerry asks for them.
            self.stats.refuse(Refusal::PublishTopic);
            return self.owe(publish, None).await;
        };
        if publish.payload.len() > MESSAGE_BYTES_MAX {
            self.stats.refuse(Refusal::PacketTooLarge);
            return self.owe(publish, None).await;
        }
        add(&self.stats.messages_in, 1);
        let change = self.presence.on_message(&node, leaf, &publish.payload);
        self.stats.connected.store(self.presence.count() as u64, Ordering::Relaxed);
        let (done, acked) = match publish.qos {
            QoS::AtMostOnce => (Done::unawaited(None), None),
            _ => {
                let (done, acked) = Done::new(None);
                (done, Some(acked))
            }
        };
        let payload = publish.payload.clone();
        self.owe(publish, acked).await?;
        if let Some(before) = change.before {
            self.tell(before).await?;
        }
        self.tell(Inbound::Message { node, leaf, payload, done }).await?;
        if let Some(after) = change.after {
            self.tell(after).await?;
        }
        Ok(())
    }

    /// Puts a PUBACK into the queue; one that waits for nobody goes when its turn comes.
    async fn owe(&mut self, publish: Publish, acked: Option<oneshot::Receiver<()>>) -> Result<(), End> {
        if publish.qos == QoS::AtMostOnce {
            return Ok(());
        }
        let acked = acked.unwrap_or_else(|| {
            let (done, acked) = oneshot::channel();
            let _ = done.send(());
            acked
        });
        self.owed.send((publish, acked)).await.map_err(|_| End::Stopped)
    }

    async fn tell(&self, event: Inbound) -> Result<(), End> {
        self.inbound.send(event).await.map_err(|_| End::Stopped)
    }
}

async fn acknowledge(client: &AsyncClient, mut owing: mpsc::Receiver<(Publish, oneshot::Receiver<()>)>) -> End {
    while let Some((publish, acked)) = owing.recv().await {
        if acked.await.is_err() {
            return End::Failed("a message was dropped unfinished; the broker sends it again".into());
        }
        if client.ack(&publish).await.is_err() {
            break;
        }
    }
    // The receiver ends too and says why.
    std::future::pending().await
}

async fn send(client: &AsyncClient, outbound: &mut mpsc::Receiver<Outbound>, stats: &Stats) -> End {
    while let Some(Outbound { node, leaf, payload }) = outbound.recv().await {
        let bytes = payload.len();
        let topic = Topic::Down(node, leaf).to_string();
        if client.publish(topic, QoS::AtLeastOnce, false, payload).await.is_err() {
            break;
        }
        add(&stats.messages_out, 1);
        add(&stats.bytes_out, bytes);
    }
    // Nobody sends any more; receiving goes on.
    std::future::pending().await
}

/// The cause in words that say what to look at.
fn explain(error: &ConnectionError) -> String {
    match error {
        ConnectionError::Io(cause) => format!("it cannot be reached: {cause}"),
        ConnectionError::Timeout(_) => "it does not answer in time".into(),
        ConnectionError::Tls(cause) => format!("TLS failed: {cause}; check the CA and the client certificate"),
        ConnectionError::ConnectionRefused(code) => {
            format!("it refuses the fleet ({code:?}); check user name, certificate and client id")
        }
        other => other.to_string(),
    }
}
