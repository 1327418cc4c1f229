//! What a transport tells the fleet, and what the fleet tells a node: the same for the fleet's own endpoint and for
//! an external broker.

use bytes::Bytes;
use skerry_model::NodeId;
use skerry_wire::{DownLeaf, UpLeaf};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::sessions::Sessions;
use crate::pki::SpkiPin;

/// Number of a connection: grows within one process, so that a later connection of a node has the higher number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What happened on a transport.
///
/// A session's events come in order: `Connected`, any number of `Message`, `Disconnected`. Events of two sessions of
/// one node may interleave while the second takes over from the first: a `Disconnected` counts only where no higher
/// session of that node has been seen.
#[derive(Debug)]
pub enum Inbound {
    /// A node is there.
    Connected {
        /// Which node.
        node: NodeId,
        /// Its connection.
        session: SessionId,
        /// From where; `None` behind an external broker.
        peer: Option<SocketAddr>,
        /// Key it proved to hold; `None` behind an external broker.
        cert_pin: Option<SpkiPin>,
    },
    /// A node published something, or its last will was executed.
    Message {
        /// Which node.
        node: NodeId,
        /// Below which of its topics.
        leaf: UpLeaf,
        /// At most [`skerry_wire::MESSAGE_BYTES_MAX`] bytes, unchecked otherwise.
        payload: Bytes,
        /// To be completed once the message is dealt with, for good or ill.
        done: Done,
    },
    /// The connection is over.
    Disconnected {
        /// Which node.
        node: NodeId,
        /// The connection that ended.
        session: SessionId,
        /// Why.
        reason: EndReason,
    },
}

impl Inbound {
    /// A node's last will, which goes to `up/status` alone.
    pub(super) fn will(node: NodeId, payload: Bytes) -> Self {
        Self::Message { node, leaf: UpLeaf::Status, payload, done: Done::unawaited(None) }
    }
}

/// Holds back a message's PUBACK, and its share of the byte budget, until [`Done::complete`].
///
/// Acknowledgements leave in the order of the messages. One that is dropped unfinished is never acknowledged, and the
/// connection ends when its turn comes: the node then connects anew and sends again what its outbox still holds.
#[derive(Debug, Default)]
pub struct Done {
    ack: Option<oneshot::Sender<()>>,
    _budget: Option<OwnedSemaphorePermit>,
}

impl Done {
    pub(super) fn new(budget: Option<OwnedSemaphorePermit>) -> (Self, oneshot::Receiver<()>) {
        let (ack, acked) = oneshot::channel();
        (Self { ack: Some(ack), _budget: budget }, acked)
    }

    /// One that nobody waits for: QoS 0 and last wills.
    pub(super) fn unawaited(budget: Option<OwnedSemaphorePermit>) -> Self {
        Self { ack: None, _budget: budget }
    }

    /// Lets the PUBACK go. Nothing happens where the connection is over already.
    pub fn complete(self) {
        if let Some(ack) = self.ack {
            // The receiver is gone with its connection; the node sends the message again on the next one.
            let _ = ack.send(());
        }
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// The node said goodbye.
    Goodbye,
    /// The connection broke or was closed without a goodbye.
    Lost,
    /// Nothing was heard for longer than the keepalive allows, or a packet stopped half-way.
    Silent,
    /// The node did not take what was sent to it.
    Stalled,
    /// A later connection of the same node replaced this one.
    TakenOver,
    /// The node's key was revoked.
    Revoked,
    /// The node sent what MQTT does not allow.
    ProtocolError,
    /// The node sent a packet above the limit.
    PacketTooLarge,
    /// The node used a topic that is not its own, and MQTT 3.1.1 has no way to refuse but closing.
    NotAuthorized,
    /// The fleet dropped a message unfinished.
    Unhandled,
    /// The endpoint shuts down.
    Shutdown,
    /// Behind an external broker: the node's last will came.
    Will,
}

impl EndReason {
    /// Lower-case name, for labels and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Goodbye => "goodbye",
            Self::Lost => "lost",
            Self::Silent => "silent",
            Self::Stalled => "stalled",
            Self::TakenOver => "taken_over",
            Self::Revoked => "revoked",
            Self::ProtocolError => "protocol_error",
            Self::PacketTooLarge => "packet_too_large",
            Self::NotAuthorized => "not_authorized",
            Self::Unhandled => "unhandled",
            Self::Shutdown => "shutdown",
            Self::Will => "will",
        }
    }
}

/// A message on its way to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbound {
    /// To which node.
    pub node: NodeId,
    /// On which of its topics.
    pub leaf: DownLeaf,
    /// The message.
    pub payload: Bytes,
}

/// Why a message was not taken for a node. Nothing is kept: what matters is sent again after the node's next hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The node has no connection.
    #[error("the node is not connected")]
    NotConnected,
    /// The node takes slower than it is sent to.
    #[error("the node's send queue is full")]
    Full,
    /// More than a node accepts.
    #[error("a message of {bytes} bytes is above the limit of {}", skerry_wire::MESSAGE_BYTES_MAX)]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// The way to the nodes; cheap to clone.
#[derive(Clone)]
pub struct Downlink(Way);

#[derive(Clone)]
enum Way {
    Sessions(Arc<Sessions>),
    Channel(mpsc::Sender<Outbound>),
}

impl Downlink {
    pub(super) fn of_sessions(sessions: Arc<Sessions>) -> Self {
        Self(Way::Sessions(sessions))
    }

    /// A downlink whose messages come out of `channel`'s other end: how the external broker gets them, and tests.
    /// A full channel counts as [`SendError::Full`], a closed one as [`SendError::NotConnected`].
    #[must_use]
    pub fn to_channel(channel: mpsc::Sender<Outbound>) -> Self {
        Self(Way::Channel(channel))
    }

    /// Queues a message for `node`, with QoS 1 where the node subscribed so. Taken does not mean delivered: the
    /// connection may end before. Never waits for the node.
    ///
    /// # Errors
    /// [`SendError`]; the message is dropped then.
    pub async fn send(&self, node: &NodeId, leaf: DownLeaf, payload: Bytes) -> Result<(), SendError> {
        if payload.len() > skerry_wire::MESSAGE_BYTES_MAX {
            return Err(SendError::TooLarge { bytes: payload.len() });
        }
        match &self.0 {
            Way::Sessions(sessions) => sessions.send(node, leaf, payload),
            Way::Channel(channel) => {
                channel.try_send(Outbound { node: node.clone(), leaf, payload }).map_err(|error| match error {
                    mpsc::error::TrySendError::Full(_) => SendError::Full,
                    mpsc::error::TrySendError::Closed(_) => SendError::NotConnected,
                })
            }
        }
    }
}
