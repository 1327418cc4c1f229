//! Conversations over TCP and TLS, and datagrams.

use super::tls;
use crate::outgoing::connect::{Stream, connect};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use skerry_alerting::notify::{DatagramTo, Dialogue, Outcome, Step, Talk};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UdpSocket, UnixDatagram};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Most bytes of a peer that one conversation listens to.
const HEARD_BYTES_MAX: usize = 256 << 10;
/// Bytes that are read at once.
const READ_BYTES: usize = 4 << 10;
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Connects and lets the dialogue lead. The caller bounds the time.
pub(super) async fn talk(talk: Talk) -> Outcome {
    let mut dialogue = talk.dialogue;
    let name = talk.tls.server_name.as_deref().unwrap_or(&talk.host);
    let outcome = async {
        let config = if talk.is_tls { Some(tls::config(&talk.tls)?) } else { None };
        let stream = connect(&talk.host, talk.port, config.as_ref(), Some(name)).await;
        let stream = stream.map_err(|error| format!("cannot reach {}:{}: {error}", talk.host, talk.port))?;
        let upgrade = || tls::config(&talk.tls);
        let broken = |error: io::Error| format!("the connection to {}:{} broke: {error}", talk.host, talk.port);
        converse(stream, &mut dialogue, &upgrade, name).await.map_err(broken)
    };
    let outcome = outcome.await.unwrap_or_else(|error: String| Outcome::retry(error));
    if let Dialogue::Smtp(session) = &dialogue
        && let Some(error) = session.refusal()
    {
        tracing::warn!(error, "a mail server refused some of the addresses");
    }
    outcome
}

async fn converse(
    mut stream: Box<dyn Stream>,
    dialogue: &mut Dialogue,
    tls: &(dyn Fn() -> Result<Arc<ClientConfig>, String> + Sync),
    name: &str,
) -> io::Result<Outcome> {
    let (mut input, mut heard) = (vec![0; READ_BYTES], 0);
    let mut read = 0;
    loop {
        match dialogue.step(&input[..read]) {
            Step::Send(bytes) => {
                write(&mut stream, &bytes).await?;
                read = stream.read(&mut input).await?;
                heard += read;
                if read == 0 {
                    return Ok(dialogue.ended());
                }
                if heard > HEARD_BYTES_MAX {
                    return Ok(Outcome::retry("the receiver speaks without end"));
                }
            }
            Step::StartTls(bytes) => {
                write(&mut stream, &bytes).await?;
                let config = tls().map_err(io::Error::other)?;
                let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
                stream = Box::new(TlsConnector::from(config).connect(name, stream).await?);
                read = 0;
            }
            Step::Last(bytes) => {
                write(&mut stream, &bytes).await?;
                let _ = timeout(GOODBYE, stream.shutdown()).await;
                return Ok(Outcome::Sent);
            }
            Step::Done(bytes, outcome) => {
                let goodbye = async {
                    if write(&mut stream, &bytes).await.is_ok() {
                        let _ = stream.shutdown().await;
                    }
                };
                let _ = timeout(GOODBYE, goodbye).await;
                return Ok(outcome);
            }
        }
    }
}

async fn write(stream: &mut Box<dyn Stream>, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Sends one datagram.
pub(super) async fn datagram(to: DatagramTo, message: &[u8]) -> Outcome {
    let (shown, sent) = match &to {
        DatagramTo::Unix(path) => (path.display().to_string(), unix(path, message).await),
        DatagramTo::Udp(host, port) => (format!("{host}:{port}"), udp(host, *port, message).await),
    };
    Outcome::of_datagram(sent, message.len(), &shown)
}

async fn unix(path: &std::path::Path, message: &[u8]) -> io::Result<usize> {
    UnixDatagram::unbound()?.send_to(message, path).await
}

async fn udp(host: &str, port: u16, message: &[u8]) -> io::Result<usize> {
    let peer = tokio::net::lookup_host((host, port)).await?.next();
    let peer: SocketAddr = peer.ok_or_else(|| io::Error::other("the name has no address"))?;
    let own: SocketAddr = if peer.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(own).await?;
    socket.connect(peer).await?;
    socket.send(message).await
}
