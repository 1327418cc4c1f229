//! Sockets of the inputs: where they listen, and connections of either kind behind one type.

use super::config::Listen;
use super::source::{GATHER, Source, StoreEnded};
use super::stats::Count;
use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Connections of one input at a time.
pub(super) const CONNECTIONS_MAX: usize = 64;
/// Time between two attempts to listen.
const LISTEN_EVERY: Duration = Duration::from_secs(30);
/// Room in the kernel for datagrams that come in a burst; the kernel's own limit bounds it.
const DATAGRAM_ROOM_BYTES: usize = 2 << 20;
/// Silence after which the kernel asks whether a peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(120);

/// An open socket.
pub(super) enum Listener {
    Udp(UdpSocket),
    Datagram(UnixDatagram),
    Tcp(TcpListener),
    Stream(UnixListener),
}

impl Listener {
    /// Listens; tries again until it can or is stopped (`None`). `mode`: rights of a unix socket.
    pub(super) async fn open(listen: &Listen, mode: u32, source: &Source, stop: &CancellationToken) -> Option<Self> {
        loop {
            match Self::bind(listen, mode) {
                Ok(listener) => {
                    source.solved();
                    return Some(listener);
                }
                Err(error) => source.problem(&format!(
                    "cannot listen at {listen}: {error}; is another program there, and may the agent's user listen there?"
                )),
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(LISTEN_EVERY) => {}
            }
        }
    }

    fn bind(listen: &Listen, mode: u32) -> io::Result<Self> {
        match listen {
            Listen::Udp(address) => {
                let socket = std::net::UdpSocket::bind(address)?;
                socket.set_nonblocking(true)?;
                // Root may go beyond the limit; for others the kernel cuts it down, and what it gives is good enough.
                let room = DATAGRAM_ROOM_BYTES;
                if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, room).is_err() {
                    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, room);
                }
                UdpSocket::from_std(socket).map(Self::Udp)
            }
            Listen::Tcp(address) => {
                let socket = std::net::TcpListener::bind(address)?;
                socket.set_nonblocking(true)?;
                TcpListener::from_std(socket).map(Self::Tcp)
            }
            Listen::UnixDatagram(path) => {
                clear(path)?;
                let socket = UnixDatagram::bind(path)?;
                allow(path, mode)?;
                Ok(Self::Datagram(socket))
            }
            Listen::UnixStream(path) => {
                clear(path)?;
                let socket = UnixListener::bind(path)?;
                allow(path, mode)?;
                Ok(Self::Stream(socket))
            }
        }
    }

    /// The next connection and what its peer is called. Waits for ever at sockets of datagrams.
    pub(super) async fn accept(&self) -> io::Result<(Conn, String)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // A peer that vanished without a word is noticed in time; without it only its slot is held longer.
                let _ = rustix::net::sockopt::set_socket_keepalive(&stream, true);
                let _ = rustix::net::sockopt::set_tcp_keepidle(&stream, KEEPALIVE);
                Ok((Conn::Tcp(stream), peer.ip().to_canonical().to_string()))
            }
            Self::Stream(listener) => Ok((Conn::Unix(listener.accept().await?.0), String::new())),
            Self::Udp(_) | Self::Datagram(_) => std::future::pending().await,
        }
    }

    /// Waits until a datagram may be there.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.readable().await,
            Self::Datagram(socket) => socket.readable().await,
            Self::Tcp(_) | Self::Stream(_) => std::future::pending().await,
        }
    }

    /// A datagram that is there, and who sent it where that can be said.
    pub(super) fn try_datagram(&self, buffer: &mut [u8]) -> io::Result<(usize, Option<std::net::IpAddr>)> {
        match self {
            Self::Udp(socket) => {
                socket.try_recv_from(buffer).map(|(read, peer)| (read, Some(peer.ip().to_canonical())))
            }
            Self::Datagram(socket) => socket.try_recv(buffer).map(|read| (read, None)),
            Self::Tcp(_) | Self::Stream(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Datagrams that the kernel dropped since the socket was opened, because the agent did not read them in time. Zero
    /// where it does not tell; at unix sockets the sender waits instead.
    pub(super) fn kernel_drops(&self) -> u64 {
        let Self::Udp(socket) = self else { return 0 };
        let Ok(inode) = rustix::fs::fstat(socket.as_fd()).map(|stat| stat.st_ino.to_string()) else { return 0 };
        let tables = ["/proc/net/udp", "/proc/net/udp6"].map(std::fs::read_to_string);
        tables.iter().flatten().find_map(|table| drops_of(table, &inode)).unwrap_or(0)
    }
}

/// The last column of the line of a socket's inode.
fn drops_of(table: &str, inode: &str) -> Option<u64> {
    let mut lines = table.lines().skip(1).map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    lines.find(|columns| columns.get(9) == Some(&inode))?.get(12)?.parse().ok()
}

/// Removes a socket that an earlier run left; nothing else.
fn clear(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    if std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

fn allow(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// A connection.
#[derive(Debug)]
pub(super) enum Conn {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Conn {
    /// Waits until there is something to read. No buffer is held meanwhile.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Unix(stream) => stream.readable().await,
        }
    }

    /// Appends what is there, at most `room` bytes, and says whether the stream goes on. `WouldBlock`: nothing is there.
    pub(super) fn try_read(&self, buffer: &mut Vec<u8>, room: usize) -> io::Result<usize> {
        let before = buffer.len();
        buffer.reserve_exact(room);
        buffer.resize(before + room, 0);
        let read = match self {
            Self::Tcp(stream) => stream.try_read(&mut buffer[before..]),
            Self::Unix(stream) => stream.try_read(&mut buffer[before..]),
        };
        buffer.truncate(before + read.as_ref().map_or(0, |read| *read));
        read
    }

    /// Writes all of it.
    pub(super) async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = match self {
                Self::Tcp(stream) => {
                    stream.writable().await?;
                    stream.try_write(bytes)
                }
                Self::Unix(stream) => {
                    stream.writable().await?;
                    stream.try_write(bytes)
                }
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Serves peers until `stop`, then waits until each connection has ended. `serve` makes of a connection, with its peer's
/// name, what is to be done with it. While [`CONNECTIONS_MAX`] are open further peers wait in the kernel's queue.
///
/// # Errors
/// [`StoreEnded`].
pub(super) async fn serve_all<F>(
    listener: &Listener,
    source: &Source,
    stop: &CancellationToken,
    serve: impl Fn(Conn, String) -> F,
) -> Result<(), StoreEnded>
where
    F: Future<Output = Result<(), StoreEnded>> + Send + 'static,
{
    let mut served = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept(), if served.len() < CONNECTIONS_MAX => match accepted {
                Ok((conn, peer)) => {
                    source.stats.add(Count::Connections, 1);
                    served.spawn(serve(conn, peer));
                    if served.len() == CONNECTIONS_MAX {
                        source.problem(&format!("{CONNECTIONS_MAX} connections are open: further ones wait"));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, source = &*source.name, "a connection could not be accepted");
                    tokio::time::sleep(GATHER).await;
                }
            },
            Some(ended) = served.join_next() => {
                source.stats.sub(Count::Connections, 1);
                if served.len() + 1 == CONNECTIONS_MAX {
                    source.solved();
                }
                ended.unwrap_or(Ok(()))?;
            }
        }
    }
    while let Some(ended) = served.join_next().await {
        source.stats.sub(Count::Connections, 1);
        ended.unwrap_or(Ok(()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernels_own_table_tells_what_it_dropped() {
        let listener = Listener::bind(&Listen::Udp("127.0.0.1:0".parse().unwrap()), 0).unwrap();
        let Listener::Udp(socket) = &listener else { panic!("another kind") };
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(listener.kernel_drops(), 0);
        // More than the kernel has room for while nobody reads: it fills up, and the rest is counted.
        let room = rustix::net::sockopt::socket_recv_buffer_size(socket).unwrap();
        for _ in 0..room / 30_000 {
            sender.send_to(&[b'x'; 60_000], socket.local_addr().unwrap()).unwrap();
        }
        assert!(listener.kernel_drops() > 0);
    }

    #[tokio::test]
    async fn only_sockets_make_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        for _ in 0..2 {
            Listener::bind(&Listen::UnixStream(path.clone()), 0o660).unwrap();
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "mine").unwrap();
        assert!(Listener::bind(&Listen::UnixDatagram(path.clone()), 0o666).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }
}
