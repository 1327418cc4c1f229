//! Ports for tests whose programs are told where to listen.
//!
//! Asking the kernel for any port, and letting go of it, gives one of those that it also hands out to every connection
//! (`net.ipv4.ip_local_port_range`, from 32768 on where nobody set it). Until the program listens there, or while it is
//! being started again, a connection or another test may be given the same one; and who tries again and again to connect
//! to it can meet itself (two ends that open at once, RFC 9293 section 3.5). Those that are given here lie below.
//!
//! Invariants:
//! - A process is given no port twice before it was given all of them.
//! - Nobody listened there, at any address, when it was given.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

/// The first port, and how many there are: up to where the kernel's own begin.
const FIRST: u16 = 16_384;
const COUNT: u32 = 16_384;
/// Ports that processes which follow one another have to themselves, as long as there are few of them.
const STRIDE: u32 = 61;

/// A port for TCP and UDP where nobody listens now.
///
/// # Errors
/// Where somebody is at every one of them.
pub fn free_port() -> io::Result<u16> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    for _ in 0..COUNT {
        let place = std::process::id().wrapping_mul(STRIDE).wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + u16::try_from(place % COUNT).unwrap_or(0);
        let at = (Ipv4Addr::UNSPECIFIED, port);
        if TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok() {
            return Ok(port);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// The same with the address of this machine for itself, 127.0.0.1.
///
/// # Errors
/// As [`free_port`].
pub fn free_address() -> io::Result<SocketAddr> {
    free_port().map(|port| (Ipv4Addr::LOCALHOST, port).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn none_is_given_twice_nor_one_that_is_taken() {
        let given: HashSet<u16> = std::thread::scope(|scope| {
            let some = || (0..50).map(|_| free_port().unwrap()).collect::<Vec<_>>();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(some)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(given.len(), 200);
        assert!(given.iter().all(|port| (16_384..32_768).contains(port)));
        let next = free_port().unwrap() + 1;
        // Another's where it cannot be bound here: then it is not given either.
        let _held = TcpListener::bind((Ipv4Addr::LOCALHOST, next));
        assert_ne!(free_port().unwrap(), next);
    }
}
