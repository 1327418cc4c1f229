//! Where nodes connect: the fleet's own MQTT endpoint, or an external broker, with one interface to the fleet.
//!
//! [`Endpoint`] speaks MQTT 3.1.1 and 5 over mutual TLS, over TCP and WebSocket, with QoS 0 and 1. It is no broker: a
//! node talks to the fleet and the fleet to a node, never nodes to each other, so there is nothing to route, retain
//! or queue across connections. What was not acknowledged by [`skerry_wire::Ack`] comes again from the node's outbox.
//!
//! Invariants:
//! - A node is who its certificate's common name says. Client ids, user names and passwords are not looked at.
//! - A node publishes below its own `up` and hears its own `down`, nothing else.
//! - A PUBACK leaves only after the fleet called [`Done::complete`], in the order of the messages.
//! - A revoked key's sessions end at once, and it gets no new one: not in the handshake and not at CONNECT.
//! - Every buffer, queue and wait has a bound; the bytes of all packets together have one too.

mod admission;
mod broker;
mod codec;
mod connection;
mod endpoint;
mod frame;
mod hub;
mod message;
mod session;
mod sessions;
mod stats;
mod stream;
mod tls;
mod topics;
mod websocket;

pub use admission::Admission;
pub use broker::{Broker, BrokerConfig};
pub use connection::PeerIdentity;
pub use endpoint::{BindError, Endpoint, EndpointConfig};
pub use hub::{Limits, Service};
pub use message::{Done, Downlink, EndReason, Inbound, Outbound, SendError, SessionId};
pub use stats::{Refusal, Stats};
pub use tls::{EndpointTls, ServerCert, TlsError, identity};
pub use websocket::{WEBSOCKET_PATH, WsStream};

#[cfg(test)]
mod tests;
