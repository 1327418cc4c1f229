//! Conversations over TCP and TLS, and datagrams.

use crate::http::{HttpError, SystemRoots, TlsClient, TlsSettings, TlsVersion, connect, resolve};
use skerry_alerting::notify::config::TlsConfig;
use skerry_alerting::notify::{DatagramTo, Dialogue, Outcome, Step, Talk};
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{UdpSocket, UnixDatagram};
use tokio::time::{Duration, Instant, timeout};

/// Most bytes of a peer that one conversation listens to.
const HEARD_BYTES_MAX: usize = 256 << 10;
/// Bytes that are read at once.
const READ_BYTES: usize = 4 << 10;
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// TLS settings as the agent's client has them.
pub(super) fn settings(tls: &TlsConfig) -> TlsSettings {
    let tls = tls.clone();
    TlsSettings {
        ca: tls.ca,
        ca_file: tls.ca_file,
        cert: tls.cert,
        cert_file: tls.cert_file,
        key: tls.key,
        key_file: tls.key_file,
        server_name: tls.server_name,
        insecure_skip_verify: tls.insecure_skip_verify,
        min_version: tls.is_13_least.then_some(TlsVersion::Tls13),
        max_version: tls.is_12_most.then_some(TlsVersion::Tls12),
    }
}

/// Connects and lets the dialogue lead. The caller bounds the time; `until` shares it among addresses.
pub(super) async fn talk(talk: Talk, system: &SystemRoots, until: Instant) -> Outcome {
    let mut dialogue = talk.dialogue;
    let tls = TlsClient::new(&settings(&talk.tls), system);
    let name = tls.server_name().unwrap_or(&talk.host).to_owned();
    let connected = async {
        let addresses = resolve(&talk.host, talk.port).await?;
        let stream = connect(&addresses, until, &mut None).await?;
        let stream: Box<dyn Stream> =
            if talk.is_tls { Box::new(tls.connect(stream, &name).await?.0) } else { Box::new(stream) };
        Ok(stream)
    };
    let outcome = match connected.await {
        Ok(stream) => match converse(stream, &mut dialogue, &tls, &name).await {
            Ok(outcome) => outcome,
            Err(Broken::Io(error)) => Outcome::retry(format!("the connection to {} broke: {error}", talk.host)),
            Err(Broken::Tls(error)) => Outcome::retry(error.text),
        },
        Err(HttpError { text, .. }) => Outcome::retry(text),
    };
    if let Dialogue::Smtp(session) = &dialogue
        && let Some(error) = session.refusal()
    {
        tracing::warn!(error, "a mail server refused some of the addresses");
    }
    outcome
}

enum Broken {
    Io(io::Error),
    Tls(HttpError),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

async fn converse(
    mut stream: Box<dyn Stream>,
    dialogue: &mut Dialogue,
    tls: &TlsClient,
    name: &str,
) -> Result<Outcome, Broken> {
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
                stream = Box::new(tls.connect(stream, name).await.map_err(Broken::Tls)?.0);
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
    let (shown, sent) = match to {
        DatagramTo::Unix(path) => {
            let sent = async {
                let socket = UnixDatagram::unbound()?;
                socket.send_to(message, &path).await
            };
            (path.display().to_string(), sent.await)
        }
        DatagramTo::Udp(host, port) => {
            let addresses = match resolve(&host, port).await {
                Ok(addresses) => addresses,
                Err(error) => return Outcome::retry(error.text),
            };
            (format!("{host}:{port}"), udp(&addresses, message).await)
        }
    };
    Outcome::of_datagram(sent, message.len(), &shown)
}

async fn udp(addresses: &[SocketAddr], message: &[u8]) -> io::Result<usize> {
    let Some(peer) = addresses.first() else { return Err(io::ErrorKind::NotFound.into()) };
    let own: SocketAddr = if peer.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(own).await?;
    socket.connect(peer).await?;
    socket.send(message).await
}
