//! One connection's task: moves bytes, keeps time, and carries the session's events to the fleet.
//!
//! Everything it may wait for stands in one `select!`: the byte stream both ways, the fleet taking a message, a
//! message being done, the byte budget, messages for the node, and the orders to stop. So a slow database holds back
//! neither a kick nor a PUBACK nor the clock.
//!
//! Invariants:
//! - While reading is paused by this side, the keepalive clock stands still: the node cannot be heard then.
//! - Every wait on the peer has a limit: for CONNECT, for the rest of a packet, for a sign of life, for taking bytes.
//! - A packet is charged to the global byte budget before its body is kept.

use super::codec::{BadConnect, CONTROL_BYTES_MAX, Connect, ConnectAnswer, Encoder, Farewell, Grants, Version};
use super::codec::{decode, decode_connect};
use super::hub::Hub;
use super::message::{EndReason, Inbound};
use super::session::{ACKS_MAX, End, Session};
use super::sessions::Seat;
use super::stats::{Refusal, add};
use super::stream::{Moved, Wire};
use crate::pki::SpkiPin;
use bytes::{Bytes, BytesMut};
use skerry_model::NodeId;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

/// Answers and messages that may wait for the node to take them, in bytes; beyond, neither is made.
const OUT_BYTES_MAX: usize = 256 * 1024;
/// Longest pause of reading: a fleet that stands still for longer does not need the connection.
const PAUSE_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long the last words may take.
const FAREWELL_MAX: Duration = Duration::from_millis(500);
/// PUBLISH's type, in the upper half of the first byte.
const PUBLISH: u8 = 3;

/// Who is at the other end, as TLS proved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Common name of the certificate.
    pub node: NodeId,
    /// Pin of its key.
    pub cert_pin: SpkiPin,
    /// Where it connects from.
    pub peer: SocketAddr,
}

/// Serves one connection from CONNECT to its end.
pub(super) async fn serve<S>(hub: &Hub, stream: S, who: PeerIdentity, stop: &CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut wire = Wire::new(stream);
    let limit = Instant::now() + hub.config.connect_timeout;
    // Subscribed before the check below, so that no revocation falls between the two.
    let admission = hub.admission.watch();
    let opened = tokio::select! {
        biased;
        () = stop.cancelled() => return,
        opened = timeout_at(limit, open(hub, &mut wire, &who)) => opened,
    };
    let (connect, session) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(refused)) => {
            hub.stats.refuse(refused.why);
            tracing::info!(node = %who.node, peer = %who.peer, reason = refused.why.as_str(), error = refused.detail,
                "connection refused");
            say_last(&mut wire).await;
            return;
        }
        Err(_) => {
            hub.stats.refuse(Refusal::Connect);
            tracing::info!(node = %who.node, peer = %who.peer, "no CONNECT in time");
            return;
        }
    };
    let seat = hub.sessions.enter(&who.node);
    add(&hub.stats.connections, 1);
    add(&hub.stats.connected, 1);
    Connection::new(hub, wire, who, connect, session, seat, admission).run(stop).await;
    hub.stats.connected.fetch_sub(1, Ordering::Relaxed);
}

struct Refused {
    why: Refusal,
    detail: String,
}

/// Reads CONNECT and judges it; a refusal's answer stands in the wire's output.
async fn open<S>(hub: &Hub, wire: &mut Wire<S>, who: &PeerIdentity) -> Result<(Connect, Session), Refused>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let refused = |why, detail: String| Refused { why, detail };
    let body = loop {
        match wire.input.head() {
            Err(_) => return Err(refused(Refusal::Malformed, "the packet length is malformed".into())),
            Ok(Some(head)) if head.first != 0x10 || head.total_bytes() > CONTROL_BYTES_MAX => {
                return Err(refused(Refusal::Connect, format!("the first packet ({:#04x}) is no CONNECT", head.first)));
            }
            Ok(Some(head)) => {
                if let Some(body) = wire.input.take(head) {
                    break body;
                }
            }
            Ok(None) => {}
        }
        match wire.step(true).await {
            Ok(Moved::Closed) => return Err(refused(Refusal::Connect, "closed before CONNECT".into())),
            Ok(_) => {}
            Err(error) => return Err(refused(Refusal::Connect, format!("lost before CONNECT: {error}"))),
        }
    };
    add(&hub.stats.bytes_in, body.len() + 2);
    let connect = match decode_connect(0x10, &body) {
        Ok(connect) => connect,
        Err(BadConnect::Version) => {
            Encoder(Version::V311).connack(&mut wire.out, ConnectAnswer::Version, None);
            return Err(refused(Refusal::Connect, "MQTT 3.1.1 or 5 is expected".into()));
        }
        Err(BadConnect::Malformed(cause)) => return Err(refused(Refusal::Malformed, cause)),
    };
    let encoder = Encoder(connect.version);
    if !hub.admission.admits(&who.cert_pin) {
        encoder.connack(&mut wire.out, ConnectAnswer::NotAuthorized, None);
        return Err(refused(Refusal::Revoked, "the key is revoked".into()));
    }
    match Session::open(who.node.clone(), &connect, hub.config.node_bytes_max) {
        Ok(session) => Ok((connect, session)),
        Err(wish) => {
            encoder.connack(&mut wire.out, ConnectAnswer::Unacceptable, None);
            Err(refused(Refusal::Connect, format!("{wish:?} is not acceptable")))
        }
    }
}

/// Writes what still stands in the output, as far as the peer takes it soon, and closes.
async fn say_last<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>) {
    let _ = timeout(FAREWELL_MAX, wire.finish()).await;
}

type Budget = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// The current packet's share of the byte budget.
enum Charge {
    None,
    Waiting(Budget),
    Held(OwnedSemaphorePermit),
}

struct Connection<'a, S> {
    hub: &'a Hub,
    wire: Wire<S>,
    who: PeerIdentity,
    version: Version,
    session: Session,
    seat: Seat,
    admission: watch::Receiver<()>,
    /// What the fleet takes next.
    pending: Option<Inbound>,
    /// Whether the fleet was told of this connection.
    announced: bool,
    charge: Charge,
    idle_max: Duration,
    heard_at: Instant,
    /// Whether this side did not read in the last turn.
    paused: bool,
    /// Since when the peer takes nothing of what is to be written.
    unwritten_since: Option<Instant>,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Connection<'a, S> {
    fn new(
        hub: &'a Hub,
        mut wire: Wire<S>,
        who: PeerIdentity,
        connect: Connect,
        session: Session,
        seat: Seat,
        admission: watch::Receiver<()>,
    ) -> Self {
        let max_s = hub.config.keepalive_s_max;
        let keepalive_s = if connect.keepalive_s == 0 { max_s } else { connect.keepalive_s.min(max_s) };
        let grants = Grants {
            assigned_id: connect.client_id.is_empty().then(|| who.node.as_str().into()),
            keepalive_s: (keepalive_s != connect.keepalive_s).then_some(keepalive_s),
            receive_max: ACKS_MAX as u16,
            packet_bytes_max: u32::try_from(hub.config.packet_bytes_max).unwrap_or(u32::MAX),
        };
        Encoder(connect.version).connack(&mut wire.out, ConnectAnswer::Accepted, Some(grants));
        let connected = Inbound::Connected {
            node: who.node.clone(),
            session: seat.session,
            peer: Some(who.peer),
            cert_pin: Some(who.cert_pin),
        };
        Self {
            hub,
            wire,
            version: connect.version,
            session,
            seat,
            admission,
            pending: Some(connected),
            announced: false,
            charge: Charge::None,
            // One and a half times the keepalive (MQTT 5, 3.1.2.10).
            idle_max: Duration::from_millis(u64::from(keepalive_s) * 1500),
            heard_at: Instant::now(),
            paused: false,
            unwritten_since: None,
            who,
        }
    }

    async fn run(mut self, stop: &CancellationToken) {
        tracing::debug!(node = %self.who.node, session = %self.seat.session, peer = %self.who.peer, "session begins");
        let end = loop {
            if let Err(end) = self.turn(stop).await {
                break end;
            }
        };
        tracing::debug!(node = %self.who.node, session = %self.seat.session, reason = end.reason.as_str(),
            detail = %end.detail, "node disconnected");
        let Self { hub, mut wire, who, version, mut session, seat, announced, charge, .. } = self;
        let id = seat.session;
        // From here on the node counts as gone, also for senders; the last words may take a moment.
        drop((seat, charge));
        if let Some(farewell) = end.farewell {
            Encoder(version).disconnect(&mut wire.out, farewell);
        }
        if end.reason != EndReason::Lost {
            say_last(&mut wire).await;
        }
        drop(wire);
        if !announced {
            return;
        }
        // An error means that nobody listens any more, so that nothing is left to be told.
        if let Some(payload) = session.will(end.reason) {
            let _ = hub.inbound.send(Inbound::will(who.node.clone(), payload)).await;
        }
        let gone = Inbound::Disconnected { node: who.node, session: id, reason: end.reason };
        let _ = hub.inbound.send(gone).await;
    }

    /// Handles what is there, then waits for one thing to happen.
    async fn turn(&mut self, stop: &CancellationToken) -> Result<(), End> {
        self.take_packets()?;
        let now = Instant::now();
        let waiting = matches!(self.charge, Charge::Waiting(_));
        let has_room = self.wire.out.len() < OUT_BYTES_MAX;
        let reading = self.pending.is_none() && self.session.takes_more() && has_room && !waiting;
        if reading && self.paused {
            self.heard_at = now;
        }
        self.paused = !reading;
        if !self.wire.is_dirty() {
            self.unwritten_since = None;
        } else if self.unwritten_since.is_none() {
            self.unwritten_since = Some(now);
        }
        let (deadline, late) = self.deadline(reading);
        let owes = self.session.owes() && has_room;
        let sending = self.session.can_send() && has_room;
        let pending = self.pending.is_some();
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                Err(End::new(EndReason::Shutdown, Farewell::ServerShuttingDown, "the endpoint shuts down"))
            }
            () = self.seat.replaced.cancelled() => {
                let detail = "another connection of the same node took over";
                Err(End::new(EndReason::TakenOver, Farewell::SessionTakenOver, detail))
            }
            _ = self.admission.changed() => {
                if self.hub.admission.admits(&self.who.cert_pin) {
                    return Ok(());
                }
                self.hub.stats.refuse(Refusal::Revoked);
                Err(End::new(EndReason::Revoked, Farewell::NotAuthorized, "the key was revoked"))
            }
            place = self.hub.inbound.reserve(), if pending => match (place, self.pending.take()) {
                (Ok(place), Some(event)) => {
                    place.send(event);
                    self.announced = true;
                    Ok(())
                }
                _ => Err(End::new(EndReason::Shutdown, Farewell::ServerShuttingDown, "the fleet takes no more")),
            },
            dropped = self.session.oldest_done(), if owes => self.session.settle(dropped, &mut self.wire.out),
            permit = granted(&mut self.charge), if waiting => {
                self.charge = permit;
                Ok(())
            }
            message = self.seat.queue.recv(), if sending => {
                if let Some((leaf, payload)) = message {
                    self.session.send(leaf, payload, &mut self.wire.out, &self.hub.stats);
                }
                Ok(())
            }
            moved = self.wire.step(reading) => match moved {
                Ok(Moved::Read(bytes)) => {
                    add(&self.hub.stats.bytes_in, bytes);
                    self.heard_at = Instant::now();
                    Ok(())
                }
                Ok(Moved::Wrote(bytes)) => {
                    add(&self.hub.stats.bytes_out, bytes);
                    self.unwritten_since = None;
                    Ok(())
                }
                Ok(Moved::Closed) => Err(End::silent(EndReason::Lost, "the node closed the connection")),
                Err(error) => Err(End::silent(EndReason::Lost, error.to_string())),
            },
            () = sleep_until(deadline) => Err(late),
        }
    }

    /// The next moment at which the peer's silence or slowness ends the connection, and with which words.
    fn deadline(&self, reading: bool) -> (Instant, End) {
        let silent = |detail| End::new(EndReason::Silent, Farewell::KeepAliveTimeout, detail);
        let mut first = match (reading, self.wire.input.is_partial()) {
            (true, true) if self.hub.config.stall_timeout < self.idle_max => {
                (self.heard_at + self.hub.config.stall_timeout, silent("a packet stopped half-way"))
            }
            (true, _) => (self.heard_at + self.idle_max, silent("nothing was heard within the keepalive")),
            // Reading is paused by this side, until the fleet or the budget lets it go on.
            (false, _) => (Instant::now() + PAUSE_MAX, silent("the fleet took nothing for a day")),
        };
        if let Some(since) = self.unwritten_since {
            let limit = since + self.hub.config.write_timeout;
            if limit < first.0 {
                first = (limit, End::silent(EndReason::Stalled, "the node does not take what is sent"));
            }
        }
        first
    }

    /// Handles the packets that have come, one after the other, until one of them has to wait for something.
    fn take_packets(&mut self) -> Result<(), End> {
        while self.pending.is_none() && self.session.takes_more() && self.wire.out.len() < OUT_BYTES_MAX {
            let head = self.wire.input.head().map_err(|_| self.malformed("the packet length is malformed".into()))?;
            let Some(head) = head else { break };
            let publish = head.first >> 4 == PUBLISH;
            let bytes_max = if publish { self.hub.config.packet_bytes_max } else { CONTROL_BYTES_MAX };
            if head.total_bytes() > bytes_max {
                self.hub.stats.refuse(Refusal::PacketTooLarge);
                let detail = format!("a packet of {} bytes is above {bytes_max}", head.total_bytes());
                return Err(End::new(EndReason::PacketTooLarge, Farewell::PacketTooLarge, detail));
            }
            if let Charge::None = self.charge {
                self.charge = self.charge_for(head.total_bytes());
            }
            if let Charge::Waiting(_) = self.charge {
                break;
            }
            let Some(body) = self.wire.input.take(head) else { break };
            self.on_packet(head.first, &body)?;
        }
        Ok(())
    }

    fn charge_for(&self, bytes: usize) -> Charge {
        // Bounded by `packet_bytes_max`, which is at most the whole budget.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        match self.hub.budget.clone().try_acquire_many_owned(bytes) {
            Ok(permit) => Charge::Held(permit),
            Err(_) => Charge::Waiting(Box::pin(self.hub.budget.clone().acquire_many_owned(bytes))),
        }
    }

    fn on_packet(&mut self, first: u8, body: &Bytes) -> Result<(), End> {
        let Charge::Held(budget) = std::mem::replace(&mut self.charge, Charge::None) else { return Ok(()) };
        let packet = decode(self.version, first, body).map_err(|error| self.malformed(error.0))?;
        let published = self.session.on_packet(packet, budget, &mut self.wire.out, &self.hub.stats)?;
        self.pending = published.map(|published| Inbound::Message {
            node: self.who.node.clone(),
            leaf: published.leaf,
            payload: published.payload,
            done: published.done,
        });
        Ok(())
    }

    fn malformed(&self, detail: String) -> End {
        self.hub.stats.refuse(Refusal::Malformed);
        End::new(EndReason::ProtocolError, Farewell::MalformedPacket, detail)
    }
}

/// Waits until the budget grants what `charge` asks for. Safe to cancel: the place in the queue is kept.
async fn granted(charge: &mut Charge) -> Charge {
    match charge {
        // The budget is never closed; if it were, the packet would wait until the connection ends.
        Charge::Waiting(budget) => match budget.await {
            Ok(permit) => Charge::Held(permit),
            Err(_) => std::future::pending().await,
        },
        _ => std::future::pending().await,
    }
}

/// Room for the answers of one connection, given back when empty.
pub(super) fn release(out: &mut BytesMut) {
    if out.is_empty() {
        *out = BytesMut::new();
    }
}
