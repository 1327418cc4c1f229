//! What one connected node may do and what is owed to it: packets in, answers and events out, no I/O.
//!
//! Invariants:
//! - PUBACKs leave in the order in which the messages came (MQTT 5, 4.6), each only after its [`Done`].
//! - At most [`ACKS_MAX`] messages wait for their PUBACK, and no more bytes than one node may hold of the budget:
//!   the connection stops reading before.
//! - Toward the node, no more QoS 1 messages are under way than it takes, and none it did not subscribe to.

use super::codec::{Connect, Encoder, Farewell, Packet, Version, Will};
use super::message::{Done, EndReason};
use super::stats::{Refusal, Stats, add};
use super::topics::{Subscriptions, publishable};
use bytes::{Bytes, BytesMut};
use mqtt_proto::{Pid, QoS, QosPid, TopicName};
use skerry_model::NodeId;
use skerry_wire::{DownLeaf, MESSAGE_BYTES_MAX, Topic, UpLeaf};
use std::borrow::Cow;
use std::collections::VecDeque;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Messages of one node that may wait for their PUBACK.
pub(super) const ACKS_MAX: usize = 32;
/// QoS 1 messages toward one node that may be under way. A node takes them as fast as it can; more only fill buffers.
const UNDER_WAY_MAX: usize = 16;
/// Topic, packet id, lengths and properties beside a payload, in bytes.
const OVERHEAD_BYTES: usize = 512;

/// Why a session ends, with MQTT 5's word for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    pub(super) reason: EndReason,
    pub(super) farewell: Option<Farewell>,
    /// For the log.
    pub(super) detail: Cow<'static, str>,
}

impl End {
    pub(super) fn new(reason: EndReason, farewell: Farewell, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, farewell: Some(farewell), detail: detail.into() }
    }

    /// Without a word to the node: it has gone, or said goodbye itself.
    pub(super) fn silent(reason: EndReason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, farewell: None, detail: detail.into() }
    }
}

/// A message that the node published.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) leaf: UpLeaf,
    pub(super) payload: Bytes,
    pub(super) done: Done,
}

/// A PUBACK that is owed.
#[derive(Debug)]
struct Owed {
    pid: Pid,
    bytes: usize,
    state: Owing,
}

#[derive(Debug)]
enum Owing {
    Awaited(oneshot::Receiver<()>),
    Refused,
}

/// Why a CONNECT is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadWish {
    ExtendedAuth,
    /// The will's topic is not the node's own `up/status`, or its QoS is 2.
    Will,
}

/// One connected node.
#[derive(Debug)]
pub(super) struct Session {
    node: NodeId,
    encoder: Encoder,
    subscriptions: Subscriptions,
    will: Option<Bytes>,
    owed: VecDeque<Owed>,
    owed_bytes: usize,
    owed_bytes_max: usize,
    warned: bool,
    under_way: Vec<Pid>,
    under_way_max: usize,
    last_pid: Pid,
    packet_bytes_max: usize,
}

impl Session {
    /// The session that `connect` asks for. The client id does not matter: the certificate names the node, and a
    /// second name could only contradict it. No more is read while messages of `owed_bytes_max` wait for PUBACK.
    pub(super) fn open(node: NodeId, connect: &Connect, owed_bytes_max: usize) -> Result<Self, BadWish> {
        if connect.extended_auth {
            return Err(BadWish::ExtendedAuth);
        }
        let will = match &connect.will {
            None => None,
            Some(Will { topic, payload, qos }) => {
                if publishable(&node, topic) != Some(UpLeaf::Status) || *qos == QoS::Level2 {
                    return Err(BadWish::Will);
                }
                Some(payload.clone())
            }
        };
        Ok(Self {
            node,
            encoder: Encoder(connect.version),
            subscriptions: Subscriptions::default(),
            will,
            owed: VecDeque::new(),
            owed_bytes: 0,
            owed_bytes_max,
            warned: false,
            under_way: Vec::new(),
            under_way_max: UNDER_WAY_MAX.min(usize::from(connect.receive_max)),
            last_pid: Pid::default(),
            packet_bytes_max: connect.packet_bytes_max,
        })
    }

    /// Handles a packet; answers go to `out`. `budget` is the packet's share, which a message keeps until it is done.
    pub(super) fn on_packet(
        &mut self,
        packet: Packet,
        budget: OwnedSemaphorePermit,
        out: &mut BytesMut,
        stats: &Stats,
    ) -> Result<Option<Published>, End> {
        match packet {
            Packet::Publish { topic, qos, payload } => {
                return self.on_publish(&topic, qos, payload, budget, out, stats);
            }
            Packet::Puback(pid) => self.under_way.retain(|known| *known != pid),
            Packet::Subscribe { with_id: true, .. } => {
                stats.refuse(Refusal::Malformed);
                let farewell = Farewell::SubscriptionIdentifiersNotSupported;
                return Err(End::new(EndReason::ProtocolError, farewell, "a subscription identifier was used"));
            }
            Packet::Subscribe { pid, filters, .. } => {
                let granted: Vec<_> =
                    filters.iter().map(|(filter, qos)| self.subscriptions.add(&self.node, filter, *qos)).collect();
                for ((filter, _), _) in filters.iter().zip(&granted).filter(|(_, granted)| granted.is_none()) {
                    stats.refuse(Refusal::SubscribeTopic);
                    self.warn("a subscription to topics that are not the node's own is refused", filter);
                }
                self.encoder.suback(out, pid, &granted);
            }
            Packet::Unsubscribe { pid, filters } => {
                let existed: Vec<_> =
                    filters.iter().map(|filter| self.subscriptions.remove(&self.node, filter)).collect();
                self.encoder.unsuback(out, pid, &existed);
            }
            Packet::Ping => self.encoder.pingresp(out),
            Packet::Disconnect { with_will } => {
                if !with_will {
                    self.will = None;
                }
                return Err(End::silent(EndReason::Goodbye, "the node said goodbye"));
            }
            Packet::Misplaced => {
                stats.refuse(Refusal::Malformed);
                let detail = "a packet that does not belong here";
                return Err(End::new(EndReason::ProtocolError, Farewell::ProtocolError, detail));
            }
        }
        Ok(None)
    }

    fn on_publish(
        &mut self,
        topic: &str,
        qos: QosPid,
        payload: Bytes,
        budget: OwnedSemaphorePermit,
        out: &mut BytesMut,
        stats: &Stats,
    ) -> Result<Option<Published>, End> {
        if let QosPid::Level2(_) = qos {
            stats.refuse(Refusal::Qos);
            return Err(End::new(EndReason::ProtocolError, Farewell::QoSNotSupported, "QoS 2 is not supported"));
        }
        if payload.len() > MESSAGE_BYTES_MAX {
            stats.refuse(Refusal::PacketTooLarge);
            let detail = format!("a payload of {} bytes is above {MESSAGE_BYTES_MAX}", payload.len());
            return Err(End::new(EndReason::PacketTooLarge, Farewell::PacketTooLarge, detail));
        }
        let Some(leaf) = publishable(&self.node, topic) else {
            stats.refuse(Refusal::PublishTopic);
            self.warn("a publish to a topic that is not the node's own is refused", topic);
            return match (self.encoder.0, qos) {
                (Version::V5, QosPid::Level1(pid)) => {
                    self.owed.push_back(Owed { pid, bytes: 0, state: Owing::Refused });
                    self.acknowledge(out);
                    Ok(None)
                }
                _ => {
                    let detail = format!("published to {:?}", topic.chars().take(80).collect::<String>());
                    Err(End::new(EndReason::NotAuthorized, Farewell::NotAuthorized, detail))
                }
            };
        };
        add(&stats.messages_in, 1);
        let done = match qos {
            QosPid::Level1(pid) => {
                let (done, acked) = Done::new(Some(budget));
                self.owed_bytes += payload.len();
                self.owed.push_back(Owed { pid, bytes: payload.len(), state: Owing::Awaited(acked) });
                done
            }
            _ => Done::unawaited(Some(budget)),
        };
        Ok(Some(Published { leaf, payload, done }))
    }

    /// Tells of the first refusal; the counters tell of the others.
    fn warn(&mut self, what: &'static str, topic: &str) {
        if !std::mem::replace(&mut self.warned, true) {
            let topic: String = topic.chars().take(80).collect();
            tracing::warn!(node = %self.node, topic, "{what}");
        }
    }

    /// Whether another message may be read.
    pub(super) fn takes_more(&self) -> bool {
        self.owed.len() < ACKS_MAX && self.owed_bytes < self.owed_bytes_max
    }

    /// Whether a PUBACK waits for its [`Done`].
    pub(super) fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Waits until the oldest message is done; true where the fleet dropped it instead. Safe to cancel, but once it
    /// has said so, [`Self::settle`] is due.
    pub(super) async fn oldest_done(&mut self) -> bool {
        match self.owed.front_mut().map(|owed| &mut owed.state) {
            Some(Owing::Awaited(acked)) => acked.await.is_err(),
            Some(Owing::Refused) => false,
            None => std::future::pending().await,
        }
    }

    /// Writes the oldest message's PUBACK, and the refusals that waited behind it.
    pub(super) fn settle(&mut self, dropped: bool, out: &mut BytesMut) -> Result<(), End> {
        if dropped {
            let detail = "a message was dropped unfinished";
            return Err(End::new(EndReason::Unhandled, Farewell::ImplementationSpecificError, detail));
        }
        if let Some(Owed { pid, bytes, state: Owing::Awaited(_) }) = self.owed.front() {
            self.encoder.puback(out, *pid, false);
            self.owed_bytes -= bytes;
            self.owed.pop_front();
        }
        self.acknowledge(out);
        Ok(())
    }

    /// Writes the refusals at the head of the queue: they wait for nothing but their turn.
    fn acknowledge(&mut self, out: &mut BytesMut) {
        while let Some(Owed { pid, state: Owing::Refused, .. }) = self.owed.front() {
            self.encoder.puback(out, *pid, true);
            self.owed.pop_front();
        }
    }

    /// Whether a message for the node can be written now. Before its first subscription messages wait.
    pub(super) fn can_send(&self) -> bool {
        !self.subscriptions.is_empty() && self.under_way.len() < self.under_way_max
    }

    /// Writes a message for the node; one it has not subscribed to, or cannot take, is dropped and counted.
    pub(super) fn send(&mut self, leaf: DownLeaf, payload: Bytes, out: &mut BytesMut, stats: &Stats) {
        let topic = TopicName::try_from(Topic::Down(self.node.clone(), leaf).to_string().as_str());
        let qos = self.subscriptions.qos(leaf);
        let (Some(qos), Ok(topic), true) = (qos, topic, payload.len() + OVERHEAD_BYTES <= self.packet_bytes_max) else {
            stats.refuse(Refusal::Undeliverable);
            return;
        };
        let qos = if qos == QoS::Level0 { QosPid::Level0 } else { QosPid::Level1(self.next_pid()) };
        self.encoder.publish(out, topic, qos, payload);
        add(&stats.messages_out, 1);
    }

    /// A packet id that is not under way. There are 65,535 of them and at most [`UNDER_WAY_MAX`] in use.
    fn next_pid(&mut self) -> Pid {
        loop {
            self.last_pid += 1;
            if !self.under_way.contains(&self.last_pid) {
                self.under_way.push(self.last_pid);
                return self.last_pid;
            }
        }
    }

    /// The last will, where it is due: the session ended without a goodbye, and the node may still speak.
    ///
    /// A session that was taken over leaves none, since the node is evidently there; nor does a revoked one.
    pub(super) fn will(&mut self, end: EndReason) -> Option<Bytes> {
        match end {
            EndReason::TakenOver | EndReason::Revoked => None,
            _ => self.will.take(),
        }
    }
}
