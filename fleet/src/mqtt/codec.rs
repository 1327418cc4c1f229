//! MQTT 3.1.1 and 5 packets as the session sees them: the same for both versions.
//!
//! The bytes are read and written by `mqtt-proto`. Around it stand the checks it leaves to its caller: bodies that
//! go on behind their packet, empty bodies, and property lists whose many small entries would blow up in memory.

use bytes::{Bytes, BytesMut};
use mqtt_proto::v5::{self, ConnackProperties};
use mqtt_proto::{Error, Pid, PollHeader, Protocol, QoS, QosPid, TopicName, v3};
use std::sync::Arc;

/// Largest packet that is no PUBLISH, in bytes: CONNECT with a long last will fits.
pub(super) const CONTROL_BYTES_MAX: usize = 64 * 1024;
/// Most filters in one SUBSCRIBE or UNSUBSCRIBE. A node has five topics to hear.
const FILTERS_MAX: usize = 32;
/// Largest property list of a PUBLISH, in bytes. Nothing in Skerry uses properties.
const PROPERTY_BYTES_MAX: usize = 4 * 1024;

/// Protocol version of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V311,
    V5,
}

/// What a client wants at the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Connect {
    pub(super) version: Version,
    pub(super) client_id: Arc<str>,
    /// In seconds; 0 turns it off.
    pub(super) keepalive_s: u16,
    pub(super) will: Option<Will>,
    /// QoS 1 messages the client takes at once.
    pub(super) receive_max: u16,
    /// Largest packet the client takes.
    pub(super) packet_bytes_max: usize,
    /// Whether it asks for MQTT 5's extended authentication.
    pub(super) extended_auth: bool,
}

/// What to publish when the client is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Will {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    pub(super) qos: QoS,
}

/// A packet from a connected client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Packet {
    Publish {
        topic: TopicName,
        qos: QosPid,
        payload: Bytes,
    },
    Puback(Pid),
    Subscribe {
        pid: Pid,
        filters: Vec<(String, QoS)>,
        with_id: bool,
    },
    Unsubscribe {
        pid: Pid,
        filters: Vec<String>,
    },
    Ping,
    Disconnect {
        with_will: bool,
    },
    /// One that a client must not send here.
    Misplaced,
}

/// Why a packet could not be read, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) String);

/// Why a CONNECT could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BadConnect {
    /// Neither 3.1.1 nor 5; there is an answer for that.
    Version,
    Malformed(String),
}

impl<E: std::fmt::Display> From<E> for Malformed {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Reads a packet that should be CONNECT.
pub(super) fn decode_connect(first: u8, body: &[u8]) -> Result<Connect, BadConnect> {
    let malformed = |cause: String| BadConnect::Malformed(cause);
    if first != 0x10 {
        return Err(malformed(format!("CONNECT is expected, the first byte is {first:#04x}")));
    }
    let version = match Protocol::decode(body, &mut 0) {
        Ok(Protocol::V311) => Version::V311,
        Ok(Protocol::V500) => Version::V5,
        Ok(Protocol::V310) => return Err(BadConnect::Version),
        Err(Error::InvalidProtocol(name, _)) if &*name == "MQTT" => return Err(BadConnect::Version),
        Err(error) => return Err(malformed(error.to_string())),
    };
    match version {
        Version::V311 => match decode_v3(first, body).map_err(|error| malformed(error.0))? {
            v3::Packet::Connect(connect) => Ok(Connect {
                version,
                client_id: connect.client_id,
                keepalive_s: connect.keep_alive,
                will: connect.last_will.map(|will| Will {
                    topic: will.topic_name.to_string(),
                    payload: will.message,
                    qos: will.qos,
                }),
                receive_max: u16::MAX,
                packet_bytes_max: usize::MAX,
                extended_auth: false,
            }),
            _ => Err(malformed("CONNECT is expected".into())),
        },
        Version::V5 => match decode_v5(first, body).map_err(|error| malformed(error.0))? {
            v5::Packet::Connect(connect) if connect.properties.receive_max != Some(0) => Ok(Connect {
                version,
                client_id: connect.client_id,
                keepalive_s: connect.keep_alive,
                will: connect.last_will.map(|will| Will {
                    topic: will.topic_name.to_string(),
                    payload: will.payload,
                    qos: will.qos,
                }),
                receive_max: connect.properties.receive_max.unwrap_or(u16::MAX),
                packet_bytes_max: connect.properties.max_packet_size.map_or(usize::MAX, |max| max as usize),
                extended_auth: connect.properties.auth_method.is_some(),
            }),
            _ => Err(malformed("CONNECT with a receive maximum above 0 is expected".into())),
        },
    }
}

/// Reads a packet behind CONNECT.
pub(super) fn decode(version: Version, first: u8, body: &[u8]) -> Result<Packet, Malformed> {
    let packet = match version {
        Version::V311 => match decode_v3(first, body)? {
            v3::Packet::Publish(publish) => {
                Packet::Publish { topic: publish.topic_name, qos: publish.qos_pid, payload: publish.payload }
            }
            v3::Packet::Puback(pid) => Packet::Puback(pid),
            v3::Packet::Subscribe(subscribe) => Packet::Subscribe {
                pid: subscribe.pid,
                filters: subscribe.topics.into_iter().map(|(filter, qos)| (filter.to_string(), qos)).collect(),
                with_id: false,
            },
            v3::Packet::Unsubscribe(unsubscribe) => Packet::Unsubscribe {
                pid: unsubscribe.pid,
                filters: unsubscribe.topics.iter().map(ToString::to_string).collect(),
            },
            v3::Packet::Pingreq => Packet::Ping,
            v3::Packet::Disconnect => Packet::Disconnect { with_will: false },
            _ => Packet::Misplaced,
        },
        Version::V5 => match decode_v5(first, body)? {
            v5::Packet::Publish(publish) => {
                if publish.properties.topic_alias.is_some() {
                    return Err(Malformed("a topic alias was used, but none is allowed".into()));
                }
                Packet::Publish { topic: publish.topic_name, qos: publish.qos_pid, payload: publish.payload }
            }
            v5::Packet::Puback(puback) => Packet::Puback(puback.pid),
            v5::Packet::Subscribe(subscribe) => Packet::Subscribe {
                pid: subscribe.pid,
                with_id: subscribe.properties.subscription_id.is_some(),
                filters: subscribe.topics.into_iter().map(|(filter, o)| (filter.to_string(), o.max_qos)).collect(),
            },
            v5::Packet::Unsubscribe(unsubscribe) => Packet::Unsubscribe {
                pid: unsubscribe.pid,
                filters: unsubscribe.topics.iter().map(ToString::to_string).collect(),
            },
            v5::Packet::Pingreq => Packet::Ping,
            v5::Packet::Disconnect(disconnect) => Packet::Disconnect {
                with_will: disconnect.reason_code == v5::DisconnectReasonCode::DisconnectWithWillMessage,
            },
            _ => Packet::Misplaced,
        },
    };
    match &packet {
        Packet::Subscribe { filters, .. } if filters.len() > FILTERS_MAX => {
            Err(Malformed(format!("{} filters in one packet are more than {FILTERS_MAX}", filters.len())))
        }
        Packet::Unsubscribe { filters, .. } if filters.len() > FILTERS_MAX => {
            Err(Malformed(format!("{} filters in one packet are more than {FILTERS_MAX}", filters.len())))
        }
        _ => Ok(packet),
    }
}

fn decode_v3(first: u8, body: &[u8]) -> Result<v3::Packet, Malformed> {
    let header = v3::Header::new_with(first, body_len(body)?, 0)?;
    let empty = matches!(header.typ, v3::PacketType::Pingreq | v3::PacketType::Pingresp | v3::PacketType::Disconnect);
    decode_body(header, body, empty)
}

fn decode_v5(first: u8, body: &[u8]) -> Result<v5::Packet, Malformed> {
    let header = v5::Header::new_with(first, body_len(body)?, 0)?;
    if header.typ == v5::PacketType::Publish {
        check_properties(header.qos, body)?;
    }
    let empty = matches!(header.typ, v5::PacketType::Pingreq | v5::PacketType::Pingresp);
    decode_body(header, body, empty)
}

fn decode_body<H: PollHeader>(header: H, body: &[u8], must_be_empty: bool) -> Result<H::Packet, Malformed>
where
    H::Error: std::fmt::Display,
{
    if body.is_empty() {
        return header.build_empty_packet().ok_or_else(|| Malformed("the packet has no body".into()));
    }
    if must_be_empty {
        return Err(Malformed("the packet must have no body".into()));
    }
    let mut end = 0;
    let packet = header.decode_buffer(body, &mut end)?;
    if end == body.len() { Ok(packet) } else { Err(Malformed("bytes stand behind the packet".into())) }
}

fn body_len(body: &[u8]) -> Result<u32, Malformed> {
    u32::try_from(body.len()).map_err(Malformed::from)
}

/// Judges the length of a PUBLISH's property list before the decoder makes an object of each entry.
fn check_properties(qos: QoS, body: &[u8]) -> Result<(), Malformed> {
    let topic_bytes = body.first_chunk().map_or(0, |len| usize::from(u16::from_be_bytes(*len)));
    let start = 2 + topic_bytes + if qos == QoS::Level0 { 0 } else { 2 };
    let mut properties_bytes = 0;
    for (i, byte) in body.iter().skip(start).take(4).enumerate() {
        properties_bytes |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            break;
        }
    }
    if properties_bytes > PROPERTY_BYTES_MAX {
        return Err(Malformed(format!("{properties_bytes} bytes of properties are more than {PROPERTY_BYTES_MAX}")));
    }
    Ok(())
}

/// Writes the answers of one version.
#[derive(Debug, Clone, Copy)]
pub(super) struct Encoder(pub(super) Version);

/// Answer to a CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectAnswer {
    Accepted,
    Version,
    NotAuthorized,
    Unacceptable,
}

/// What the server grants, told with CONNACK where MQTT 5 has words for it.
#[derive(Debug, Clone)]
pub(super) struct Grants {
    /// The name that the server gave a client without one.
    pub(super) assigned_id: Option<Arc<str>>,
    /// The keepalive that counts, where it is another than asked for.
    pub(super) keepalive_s: Option<u16>,
    /// Messages without PUBACK that the server takes at once.
    pub(super) receive_max: u16,
    pub(super) packet_bytes_max: u32,
}

/// Why the server ends a connection, in MQTT 5's words; 3.1.1 has none.
pub(super) use v5::DisconnectReasonCode as Farewell;

impl Encoder {
    pub(super) fn connack(self, out: &mut BytesMut, answer: ConnectAnswer, grants: Option<Grants>) {
        match self.0 {
            Version::V311 => {
                let code = match answer {
                    ConnectAnswer::Accepted => v3::ConnectReturnCode::Accepted,
                    ConnectAnswer::Version => v3::ConnectReturnCode::UnacceptableProtocolVersion,
                    ConnectAnswer::NotAuthorized | ConnectAnswer::Unacceptable => v3::ConnectReturnCode::NotAuthorized,
                };
                put_v3(out, v3::Packet::Connack(v3::Connack::new(false, code)));
            }
            Version::V5 => {
                let code = match answer {
                    ConnectAnswer::Accepted => v5::ConnectReasonCode::Success,
                    ConnectAnswer::Version => v5::ConnectReasonCode::UnsupportedProtocolVersion,
                    ConnectAnswer::NotAuthorized => v5::ConnectReasonCode::NotAuthorized,
                    ConnectAnswer::Unacceptable => v5::ConnectReasonCode::ImplementationSpecificError,
                };
                let mut connack = v5::Connack::new(false, code);
                if let Some(grants) = grants {
                    connack.properties = ConnackProperties {
                        session_expiry_interval: Some(0),
                        receive_max: Some(grants.receive_max),
                        max_qos: Some(QoS::Level1),
                        retain_available: Some(false),
                        max_packet_size: Some(grants.packet_bytes_max),
                        assigned_client_id: grants.assigned_id,
                        subscription_id_available: Some(false),
                        shared_subscription_available: Some(false),
                        server_keep_alive: grants.keepalive_s,
                        ..ConnackProperties::default()
                    };
                }
                put_v5(out, v5::Packet::Connack(connack));
            }
        }
    }

    /// Acknowledges a message. A refusal exists in MQTT 5 alone; the caller closes a 3.1.1 connection instead.
    pub(super) fn puback(self, out: &mut BytesMut, pid: Pid, refused: bool) {
        match self.0 {
            Version::V311 => put_v3(out, v3::Packet::Puback(pid)),
            Version::V5 => {
                let code = if refused { v5::PubackReasonCode::NotAuthorized } else { v5::PubackReasonCode::Success };
                put_v5(out, v5::Packet::Puback(v5::Puback::new(pid, code)));
            }
        }
    }

    /// One entry per filter: the granted QoS, or `None` for a refusal.
    pub(super) fn suback(self, out: &mut BytesMut, pid: Pid, granted: &[Option<QoS>]) {
        match self.0 {
            Version::V311 => {
                // By hand (MQTT 3.1.1, 3.9): mqtt-proto 0.4.0 writes a failure as 0x03 instead of 0x80. At most
                // FILTERS_MAX codes, so the length takes one byte.
                let [high, low] = pid.value().to_be_bytes();
                out.extend_from_slice(&[0x90, 2 + granted.len() as u8, high, low]);
                out.extend(granted.iter().map(|qos| qos.map_or(0x80, |qos| qos as u8)));
            }
            Version::V5 => {
                let code = |qos: &Option<QoS>| match qos {
                    None => v5::SubscribeReasonCode::NotAuthorized,
                    Some(QoS::Level0) => v5::SubscribeReasonCode::GrantedQoS0,
                    Some(_) => v5::SubscribeReasonCode::GrantedQoS1,
                };
                put_v5(out, v5::Packet::Suback(v5::Suback::new(pid, granted.iter().map(code).collect())));
            }
        }
    }

    /// One entry per filter: whether there was such a subscription.
    pub(super) fn unsuback(self, out: &mut BytesMut, pid: Pid, existed: &[bool]) {
        match self.0 {
            Version::V311 => put_v3(out, v3::Packet::Unsuback(pid)),
            Version::V5 => {
                let code = |existed: &bool| match existed {
                    true => v5::UnsubscribeReasonCode::Success,
                    false => v5::UnsubscribeReasonCode::NoSubscriptionExisted,
                };
                put_v5(out, v5::Packet::Unsuback(v5::Unsuback::new(pid, existed.iter().map(code).collect())));
            }
        }
    }

    pub(super) fn publish(self, out: &mut BytesMut, topic: TopicName, qos: QosPid, payload: Bytes) {
        match self.0 {
            Version::V311 => put_v3(out, v3::Packet::Publish(v3::Publish::new(qos, topic, payload))),
            Version::V5 => put_v5(out, v5::Packet::Publish(v5::Publish::new(qos, topic, payload))),
        }
    }

    pub(super) fn pingresp(self, out: &mut BytesMut) {
        out.extend_from_slice(&[0xd0, 0]);
    }

    /// Says why the server closes; nothing in 3.1.1.
    pub(super) fn disconnect(self, out: &mut BytesMut, why: Farewell) {
        if self.0 == Version::V5 {
            put_v5(out, v5::Packet::Disconnect(v5::Disconnect::new(why)));
        }
    }
}

/// Encoding fails on a length above MQTT's 256 MiB alone; every packet written here is far below.
fn put_v3(out: &mut BytesMut, packet: v3::Packet) {
    if let Ok(bytes) = packet.encode() {
        out.extend_from_slice(bytes.as_ref());
    }
}

fn put_v5(out: &mut BytesMut, packet: v5::Packet) {
    if let Ok(bytes) = packet.encode() {
        out.extend_from_slice(bytes.as_ref());
    }
}
