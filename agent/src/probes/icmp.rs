//! Prober `icmp`: one echo request.
//!
//! A ping socket (`SOCK_DGRAM`) needs no privilege where `net.ipv4.ping_group_range` holds the agent's group; a raw one
//! needs `CAP_NET_RAW`. The kernel gives ping sockets an identifier of their own and checks replies itself; a raw socket
//! sees every echo reply of the machine, so there the identifier and the payload are compared. The hop limit of a reply
//! is told by raw IPv4 sockets alone: the others need control messages, which safe code cannot read.

use super::check::CheckedIcmp;
use super::findings::Findings;
use super::target::look_up;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

/// Longest datagram.
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// Types of messages: request and reply, of IPv4 and of IPv6.
const ECHO_V4: (u8, u8) = (8, 0);
const ECHO_V6: (u8, u8) = (128, 129);

/// What the kernel does with what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ping,
    Raw,
}

/// Why no request can be sent at all, with what to do about it.
pub(super) const FORBIDDEN: &str = "this user may send no echo requests: put its group into the sysctl \
    net.ipv4.ping_group_range, or give the agent CAP_NET_RAW";

/// What asks one target.
#[derive(Debug, Clone)]
pub(super) struct IcmpProber {
    settings: Arc<CheckedIcmp>,
    host: String,
    /// Numbers of requests: shared by all, so that no two at a time are alike.
    numbers: Arc<AtomicU16>,
}

/// How a probe could not even begin.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Forbidden;

impl IcmpProber {
    pub(super) fn new(settings: Arc<CheckedIcmp>, host: String, numbers: Arc<AtomicU16>) -> Self {
        Self { settings, host, numbers }
    }

    /// Asks, within `timeout`.
    ///
    /// # Errors
    /// [`Forbidden`] where this user may not; that is in the findings too.
    pub(super) async fn run(&self, timeout: Duration, findings: &mut Findings) -> Result<(), Forbidden> {
        let until = Instant::now() + timeout;
        for phase in ["resolve", "setup", "rtt"] {
            findings.phase("probe_icmp_duration_seconds", phase, Duration::ZERO);
        }
        let begin = Instant::now();
        let ip = look_up(&self.host, self.settings.preference, findings).await;
        let looked_up = Instant::now();
        findings.phase("probe_icmp_duration_seconds", "resolve", looked_up - begin);
        let Some(ip) = ip else { return Ok(()) };
        let (socket, kind) = match self.open(ip) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                findings.fail(FORBIDDEN);
                return Err(Forbidden);
            }
            Err(error) => {
                findings.fail(format!("no socket for echo requests: {error}"));
                return Ok(());
            }
        };
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let request = request(ip, number, self.settings.payload_bytes);
        let set_up = Instant::now();
        findings.phase("probe_icmp_duration_seconds", "setup", set_up - looked_up);
        match timeout_at(until, exchange(&socket, kind, ip, &request)).await {
            Ok(Ok(hops)) => {
                findings.phase("probe_icmp_duration_seconds", "rtt", set_up.elapsed());
                if let Some(hops) = hops {
                    findings.set("probe_icmp_reply_hop_limit", f64::from(hops));
                }
            }
            Ok(Err(error)) => findings.fail(format!("the exchange with {ip} failed: {error}")),
            Err(_) => findings.fail(format!("{ip} did not answer in time")),
        }
        Ok(())
    }

    fn open(&self, ip: IpAddr) -> io::Result<(UdpSocket, Kind)> {
        let (family, protocol) = match ip {
            IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
            IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let open = |kind| rustix::net::socket_with(family, kind, flags, Some(protocol));
        let (socket, kind) = match open(SocketType::DGRAM) {
            Ok(socket) => (socket, Kind::Ping),
            // Not allowed, or a kernel without ping sockets.
            Err(_) => (open(SocketType::RAW)?, Kind::Raw),
        };
        match ip {
            IpAddr::V4(_) => sockopt::set_ip_ttl(&socket, u32::from(self.settings.ttl))?,
            IpAddr::V6(_) => sockopt::set_ipv6_unicast_hops(&socket, Some(self.settings.ttl))?,
        }
        // What receives and sends datagrams with addresses is the same for all kinds of sockets.
        Ok((UdpSocket::from_std(std::net::UdpSocket::from(socket))?, kind))
    }
}

/// Sends the request and waits for its reply; how many hops that had left, where that can be seen.
async fn exchange(socket: &UdpSocket, kind: Kind, ip: IpAddr, request: &[u8]) -> io::Result<Option<u8>> {
    socket.send_to(request, SocketAddr::new(ip, 0)).await?;
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let (read, from) = socket.recv_from(&mut buffer).await?;
        if from.ip() == ip
            && let Some(hops) = reply(&buffer[..read], kind, ip.is_ipv4(), request)
        {
            return Ok(hops);
        }
    }
}

/// The message of an echo request: type, code, checksum, identifier, number, payload.
fn request(ip: IpAddr, number: u16, payload_bytes: u16) -> Vec<u8> {
    let kind = if ip.is_ipv4() { ECHO_V4.0 } else { ECHO_V6.0 };
    let id = std::process::id().to_be_bytes();
    let mut message = vec![kind, 0, 0, 0, id[2], id[3]];
    message.extend(number.to_be_bytes());
    message.extend(b"Skerry probe ".iter().cycle().take(usize::from(payload_bytes)));
    // The kernel adds the checksum of IPv6, because it covers addresses.
    if ip.is_ipv4() {
        let sum = checksum(&message).to_be_bytes();
        message[2..4].copy_from_slice(&sum);
    }
    message
}

/// RFC 1071.
fn checksum(message: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    let mut sum: u32 = message.chunks(2).map(word).fold(0, |sum, word| sum.wrapping_add(word));
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// Whether a datagram is the reply to `request`, and the hops it had left where its header is there to be read.
fn reply(datagram: &[u8], kind: Kind, is_v4: bool, request: &[u8]) -> Option<Option<u8>> {
    let (message, hops) = match (kind, is_v4) {
        (Kind::Raw, true) => {
            let header = usize::from(datagram.first()? & 0x0f) * 4;
            (datagram.get(header..)?, datagram.get(8).copied())
        }
        _ => (datagram, None),
    };
    let expected = if is_v4 { ECHO_V4.1 } else { ECHO_V6.1 };
    // A ping socket has an identifier of the kernel's choice.
    let from = if kind == Kind::Raw { 4 } else { 6 };
    let is_reply = message.first() == Some(&expected) && message.get(from..) == request.get(from..);
    is_reply.then_some(hops)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_made_and_known_again() {
        let ip: IpAddr = "127.0.0.1".parse().unwrap();
        let asked = request(ip, 7, 57);
        assert_eq!((asked.len(), checksum(&asked)), (65, 0));
        let mut answer = asked.clone();
        answer[0] = 0;
        assert_eq!(reply(&answer, Kind::Ping, true, &asked), Some(None));
        let mut packet = vec![0x45; 20];
        packet[8] = 63;
        packet.extend(&answer);
        assert_eq!(reply(&packet, Kind::Raw, true, &asked), Some(Some(63)));
        for end in 0..packet.len() {
            assert_eq!(reply(&packet[..end], Kind::Raw, true, &asked), None);
        }
        assert_eq!(reply(&answer, Kind::Ping, true, &request(ip, 8, 57)), None);
        assert_eq!(reply(&asked, Kind::Ping, true, &asked), None);
    }
}
