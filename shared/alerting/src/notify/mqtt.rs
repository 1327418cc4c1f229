//! One message to an MQTT 3.1.1 broker, without the socket.
//!
//! ```text
//! CONNECT ─> CONNACK ─> PUBLISH ┬─ QoS 0: sent
//!                               ├─ QoS 1: PUBACK
//!                               └─ QoS 2: PUBREC ─> PUBREL ─> PUBCOMP
//! ```
//!
//! A publisher of one message needs no client with queues and tasks: this is all of the protocol that it speaks
//! (MQTT 3.1.1, chapter 3). Every connection is a clean session, so nothing of a try that broke lives on; with QoS 2 a
//! broker that had it all the same gives it twice to its subscribers when it is tried again.

use super::{Outcome, Step};

/// Longest payload that is sent.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Longest text of a packet, which has its length in two bytes.
const TEXT_BYTES_MAX: usize = u16::MAX as usize;
/// The one packet id of a session of one message.
const PACKET_ID: [u8; 2] = [0, 1];
const KEEP_ALIVE_S: u16 = 60;

const CONNACK: u8 = 2;
const PUBACK: u8 = 4;
const PUBREC: u8 = 5;
const PUBCOMP: u8 = 7;
const PINGRESP: u8 = 13;
const DISCONNECT: [u8; 2] = [0xe0, 0];

/// What is published, and by whom.
#[derive(Clone, Default)]
pub struct Message {
    /// Topic, without wildcards.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Whether the broker keeps it.
    pub retain: bool,
    /// What the client calls itself; empty: the broker names it.
    pub client_id: String,
    /// User; empty: none.
    pub username: String,
    /// Password.
    pub password: Option<String>,
}

/// Without payload and password.
impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Message({:?}, {} bytes)", self.topic, self.payload.len())
    }
}

impl Message {
    /// Why MQTT cannot carry it; `None` where it can.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        let texts = [self.topic.as_str(), &self.client_id, &self.username, self.password.as_deref().unwrap_or("")];
        if self.topic.is_empty() || self.topic.contains(['+', '#']) {
            Some("the topic is empty or has + or #, which are for subscriptions")
        } else if texts.iter().any(|text| text.len() > TEXT_BYTES_MAX || text.contains('\0')) {
            Some("a text is too long or has a zero byte")
        } else if self.payload.len() > PAYLOAD_BYTES_MAX {
            Some("the payload is longer than 1 MiB")
        } else {
            None
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Begin,
    Connecting,
    Published,
    Released,
}

/// A session that publishes one message.
#[derive(Debug)]
pub struct Session {
    message: Message,
    state: State,
    input: Vec<u8>,
}

impl Session {
    /// For a message without [`Message::fault`].
    #[must_use]
    pub fn new(message: Message) -> Self {
        Self { message, state: State::Begin, input: Vec::new() }
    }

    /// What is to be done after `input` was read.
    pub fn step(&mut self, input: &[u8]) -> Step {
        if self.state == State::Begin {
            self.state = State::Connecting;
            return Step::Send(self.connect());
        }
        self.input.extend_from_slice(input);
        loop {
            let Some((kind, body)) = (match packet(&mut self.input) {
                Ok(packet) => packet,
                Err(()) => return done(Outcome::retry("what answers is no MQTT 3.1.1 broker")),
            }) else {
                return Step::Send(Vec::new());
            };
            match (self.state, kind) {
                (State::Connecting, CONNACK) => match body.get(1) {
                    Some(0) => {
                        self.state = State::Published;
                        let mut bytes = self.publish();
                        if self.message.qos > 0 {
                            return Step::Send(bytes);
                        }
                        bytes.extend(DISCONNECT);
                        return Step::Last(bytes);
                    }
                    code => return done(refused(code.copied())),
                },
                (State::Published, PUBACK) if self.message.qos == 1 && body == PACKET_ID => return done(Outcome::Sent),
                (State::Published, PUBREC) if self.message.qos == 2 && body == PACKET_ID => {
                    self.state = State::Released;
                    return Step::Send([&[0x62, 2], &PACKET_ID[..]].concat());
                }
                (State::Released, PUBCOMP) if body == PACKET_ID => return done(Outcome::Sent),
                (State::Connecting, _) => return done(Outcome::retry("what answers is no MQTT 3.1.1 broker")),
                _ => {}
            }
        }
    }

    /// What it means that the broker ended the connection.
    #[must_use]
    pub fn ended(&self) -> Outcome {
        Outcome::retry(match self.state {
            State::Begin | State::Connecting => "the broker ended the connection before it let the client in",
            _ => "the broker ended the connection before it had the message: its access list may forbid the topic",
        })
    }

    fn connect(&self) -> Vec<u8> {
        let Message { client_id, username, password, .. } = &self.message;
        // Clean session; user and password where they are there.
        let flags = 0b10 | u8::from(!username.is_empty()) << 7 | u8::from(password.is_some()) << 6;
        let mut body = Vec::new();
        text(&mut body, b"MQTT");
        body.extend([4, flags]);
        body.extend(KEEP_ALIVE_S.to_be_bytes());
        text(&mut body, client_id.as_bytes());
        if !username.is_empty() {
            text(&mut body, username.as_bytes());
        }
        if let Some(password) = password {
            text(&mut body, password.as_bytes());
        }
        framed(0x10, &body)
    }

    fn publish(&self) -> Vec<u8> {
        let Message { topic, payload, qos, retain, .. } = &self.message;
        let mut body = Vec::with_capacity(topic.len() + payload.len() + 4);
        text(&mut body, topic.as_bytes());
        if *qos > 0 {
            body.extend(PACKET_ID);
        }
        body.extend_from_slice(payload);
        framed(0x30 | qos << 1 | u8::from(*retain), &body)
    }
}

fn done(outcome: Outcome) -> Step {
    Step::Done(DISCONNECT.to_vec(), outcome)
}

fn refused(code: Option<u8>) -> Outcome {
    match code {
        Some(1) => Outcome::failed("the broker does not speak MQTT 3.1.1"),
        Some(2) => Outcome::failed("the broker refused the client id"),
        Some(4) => Outcome::failed("the broker refused user and password"),
        Some(5) => Outcome::failed("the broker does not let this client in"),
        _ => Outcome::retry("the broker is not available"),
    }
}

fn text(out: &mut Vec<u8>, text: &[u8]) {
    let text = &text[..text.len().min(TEXT_BYTES_MAX)];
    out.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(text);
}

/// Fixed header and body; the length in groups of seven bits (2.2.3).
fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut length = body.len();
    loop {
        let low = u8::try_from(length & 0x7f).unwrap_or(0);
        length >>= 7;
        out.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

/// Takes a whole packet: its type and its two bytes, if it has any. `Err` where it is none that a broker sends here:
/// all of them are short.
fn packet(input: &mut Vec<u8>) -> Result<Option<(u8, Vec<u8>)>, ()> {
    let [first, rest @ ..] = input.as_slice() else { return Ok(None) };
    let kind = first >> 4;
    let length = match kind {
        CONNACK | PUBACK | PUBREC | PUBCOMP => 2,
        PINGRESP => 0,
        _ => return Err(()),
    };
    match rest {
        [said, ..] if *said != length => Err(()),
        [_, body @ ..] if body.len() >= usize::from(length) => {
            let body = body[..usize::from(length)].to_vec();
            input.drain(..2 + body.len());
            Ok(Some((kind, body)))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(qos: u8) -> Session {
        let message = Message { topic: "a/b".into(), payload: b"x".to_vec(), qos, retain: true, ..Message::default() };
        let mut session = Session::new(message);
        let connect = Step::Send(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00".to_vec());
        assert_eq!(session.step(&[]), connect);
        session
    }

    #[test]
    fn each_quality_of_service_ends_as_it_should() {
        let published = b"\x31\x06\x00\x03a/bx\xe0\x00".to_vec();
        assert_eq!(session(0).step(b"\x20\x02\x00\x00"), Step::Last(published));

        let mut once = session(1);
        assert_eq!(once.step(b"\x20\x02\x00"), Step::Send(vec![]), "half a packet");
        assert_eq!(once.step(b"\x00"), Step::Send(b"\x33\x08\x00\x03a/b\x00\x01x".to_vec()));
        assert_eq!(once.step(b"\x40\x02\x00\x07\xd0\x00"), Step::Send(vec![]), "of another message");
        assert_eq!(once.step(b"\x40\x02\x00\x01"), done(Outcome::Sent));

        let mut exactly = session(2);
        assert_eq!(exactly.step(b"\x20\x02\x00\x00"), Step::Send(b"\x35\x08\x00\x03a/b\x00\x01x".to_vec()));
        assert_eq!(exactly.step(b"\x50\x02\x00\x01"), Step::Send(b"\x62\x02\x00\x01".to_vec()));
        assert!(matches!(exactly.ended(), Outcome::Retry { .. }));
        assert_eq!(exactly.step(b"\x70\x02\x00\x01"), done(Outcome::Sent));
    }

    #[test]
    fn refusals_are_final_where_waiting_does_not_help() {
        for (code, is_final) in [(1, true), (2, true), (3, false), (4, true), (5, true), (99, false)] {
            let Step::Done(_, outcome) = session(1).step(&[0x20, 2, 0, code]) else { panic!("it is over") };
            assert_eq!(matches!(outcome, Outcome::Failed { .. }), is_final, "{code}");
        }
    }

    #[test]
    fn what_is_no_broker_is_left() {
        for answer in [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"\x20\xff\xff\xff\xff", b"\x20\xff\x7f", b"\x90"] {
            assert!(matches!(session(1).step(answer), Step::Done(_, Outcome::Retry { .. })), "{answer:?}");
        }
    }

    #[test]
    fn credentials_and_long_messages_are_framed() {
        let message = Message {
            topic: "t".into(),
            payload: vec![0; 200],
            client_id: "id".into(),
            username: "u".into(),
            password: Some("p".into()),
            ..Message::default()
        };
        assert_eq!(message.fault(), None);
        assert!(Message { topic: "a/#".into(), ..message.clone() }.fault().is_some());
        let session = Session::new(message);
        assert_eq!(session.connect(), b"\x10\x14\x00\x04MQTT\x04\xc2\x00\x3c\x00\x02id\x00\x01u\x00\x01p");
        assert_eq!(session.publish()[..6], [0x30, 0xcb, 0x01, 0, 1, b't']);
    }
}
