//! Syslog: RFC 5424 messages over TCP or TLS, framed by their length (RFC 6587, RFC 5425), or over UDP, one datagram
//! each (RFC 5426).
//!
//! Receivers acknowledge nothing. Over TCP and TLS a batch counts as sent once the system has taken it: what lies in
//! its buffers when a connection breaks may be lost, and a batch during which it breaks is sent again as a whole. Over
//! UDP whatever the network drops is lost.

use super::core::{Fate, Item};
use super::record::Entry;
use crate::outgoing::connect::{self, Stream};
use rustls::ClientConfig;
use serde::Deserialize;
use skerry_model::Level;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

/// Longest message in a datagram: IPv4's 65,507 bytes.
const DATAGRAM_MAX: usize = 65_507;

/// Where messages go and what they look like.
#[derive(Debug, Clone)]
pub struct Options {
    /// How they get there.
    pub transport: Transport,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How messages are told apart on a stream.
    pub framing: Framing,
    /// 0 to 23.
    pub facility: u8,
    /// Number of the enterprise that the names of labels and fields belong to.
    pub enterprise: u32,
    /// How long connecting or writing may take.
    pub timeout: Duration,
    /// Name in the receiver's certificate, where it is not the host's.
    pub server_name: Option<String>,
}

/// How messages get there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// UDP.
    Udp,
}

/// How messages are told apart on a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// The length before each message.
    #[default]
    OctetCounting,
    /// A line break after each; those within become spaces.
    Newline,
}

/// Severity numbers of RFC 5424; what nothing tells is a notice.
const fn severity(level: Level) -> u8 {
    match level {
        Level::Fatal => 2,
        Level::Error => 3,
        Level::Warn => 4,
        Level::Unknown => 5,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

impl Options {
    /// The message without a frame.
    fn message(&self, entry: &Entry) -> Vec<u8> {
        let priority = u16::from(self.facility) * 8 + u16::from(severity(entry.level));
        let time = jiff::Timestamp::from_millisecond(entry.at.0).map_or_else(|_| "-".into(), |at| format!("{at:.3}"));
        let node = header(entry.node.as_str(), 255);
        let (name, process) = (header(entry.service(), 48), header(entry.fields.value("pid"), 128));
        let mut text = format!("<{priority}>1 {time} {node} {name} {process} - ");
        let before = text.len();
        for (id, pairs) in [("labels", &*entry.labels), ("fields", &entry.fields)] {
            if pairs.is_empty() {
                continue;
            }
            text.push_str(&format!("[{id}@{}", self.enterprise));
            for (name, value) in pairs.iter() {
                text.push_str(&format!(" {}=\"{}\"", parameter(name), escaped(value)));
            }
            text.push(']');
        }
        if text.len() == before {
            text.push('-');
        }
        let mut message = text.into_bytes();
        message.push(b' ');
        message.extend_from_slice(&entry.line);
        message
    }

    fn frame(&self, mut message: Vec<u8>, out: &mut Vec<u8>) {
        match self.framing {
            Framing::OctetCounting => out.extend_from_slice(format!("{} ", message.len()).as_bytes()),
            Framing::Newline => {
                message.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
                message.push(b'\n');
            }
        }
        out.extend_from_slice(&message);
    }
}

/// A field of the header: visible ASCII, `-` where there is nothing.
fn header(text: &str, bytes_max: usize) -> String {
    let fit: String = text.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).take(bytes_max).collect();
    if fit.is_empty() { "-".into() } else { fit }
}

/// A parameter's name: at most 32 visible characters but `=`, `]` and `"`.
fn parameter(name: &str) -> String {
    let fit = |c: char| if c.is_ascii_graphic() && !['=', ']', '"'].contains(&c) { c } else { '_' };
    name.chars().map(fit).take(32).collect()
}

fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if ['"', '\\', ']'].contains(&c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

enum Open {
    Stream(Box<dyn Stream>),
    Socket(UdpSocket),
}

/// Sends batches to one receiver.
pub(super) struct SyslogSender {
    options: Options,
    tls: Option<Arc<ClientConfig>>,
    open: Option<Open>,
}

impl SyslogSender {
    pub(super) fn new(options: Options, tls: Option<Arc<ClientConfig>>) -> Self {
        Self { options, tls, open: None }
    }

    /// Sends records once; what became of them, and how many bytes they are.
    pub(super) async fn send(&mut self, entries: &[&Entry]) -> (Fate, u64) {
        let limit = self.options.timeout;
        match tokio::time::timeout(limit, self.attempt(entries)).await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => {
                self.open = None;
                (Fate::Retry { after: None, why: format!("{}: {error}", self.address()) }, 0)
            }
            Err(_) => {
                self.open = None;
                let why = format!("{}: nothing goes on for {} s", self.address(), limit.as_secs_f64());
                (Fate::Retry { after: None, why }, 0)
            }
        }
    }

    fn address(&self) -> String {
        format!("{}:{}", self.options.host, self.options.port)
    }

    async fn attempt(&mut self, entries: &[&Entry]) -> io::Result<(Fate, u64)> {
        if let Some(Open::Stream(stream)) = &mut self.open
            && has_ended(stream).await
        {
            self.open = None;
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => self.connect().await?,
        };
        match open {
            Open::Stream(mut stream) => {
                let mut bytes = Vec::new();
                for entry in entries {
                    self.options.frame(self.options.message(entry), &mut bytes);
                }
                stream.write_all(&bytes).await?;
                stream.flush().await?;
                self.open = Some(Open::Stream(stream));
                Ok((Fate::Taken, bytes.len() as u64))
            }
            Open::Socket(socket) => {
                let (mut items, mut sum) = (Vec::with_capacity(entries.len()), 0);
                for entry in entries {
                    let message = self.options.message(entry);
                    if message.len() > DATAGRAM_MAX {
                        items.push(Item::Refused(format!("{} bytes are no datagram", message.len())));
                        continue;
                    }
                    socket.send(&message).await?;
                    sum += message.len() as u64;
                    items.push(Item::Taken);
                }
                self.open = Some(Open::Socket(socket));
                Ok((Fate::Each(items), sum))
            }
        }
    }

    async fn connect(&self) -> io::Result<Open> {
        let Options { host, port, .. } = &self.options;
        if self.options.transport != Transport::Udp {
            let name = self.options.server_name.as_deref();
            return connect::connect(host, *port, self.tls.as_ref(), name).await.map(Open::Stream);
        }
        let peer = tokio::net::lookup_host((host.as_str(), *port)).await?.next();
        let peer: SocketAddr = peer.ok_or_else(|| io::Error::other("the name has no address"))?;
        let own: SocketAddr = if peer.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(own).await?;
        socket.connect(peer).await?;
        Ok(Open::Socket(socket))
    }
}

/// Whether the receiver has closed the connection. It has nothing to say, so whatever it says is passed over.
async fn has_ended(stream: &mut Box<dyn Stream>) -> bool {
    let mut words = [0; 1024];
    loop {
        tokio::select! {
            biased;
            read = stream.read(&mut words) => match read {
                Ok(0) | Err(_) => return true,
                Ok(_) => {}
            },
            // In between the reactor looks at the socket.
            () = tokio::task::yield_now() => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::fixture::entry;
    use skerry_model::Labels;

    fn options() -> Options {
        Options {
            transport: Transport::Tcp,
            host: "127.0.0.1".into(),
            port: 0,
            framing: Framing::OctetCounting,
            facility: 1,
            enterprise: 32473,
            timeout: Duration::from_secs(9),
            server_name: None,
        }
    }

    #[test]
    fn messages_are_those_of_rfc_5424() {
        let mut record = entry(0, b"it's \xff\nhere");
        record.fields = Labels::new([("pid", "7"), ("odd \"name]", "a\"b\\c]")]).unwrap();
        record.labels = Arc::new(Labels::new([("source", "my app")]).unwrap());
        let message = options().message(&record);
        let expected: &[u8] = b"<12>1 2027-01-15T08:00:00.123Z pi my_app 7 - [labels@32473 source=\"my app\"]\
            [fields@32473 odd__name_=\"a\\\"b\\\\c\\]\" pid=\"7\"] it's \xff\nhere";
        assert_eq!(String::from_utf8_lossy(&message), String::from_utf8_lossy(expected));
        let mut framed = Vec::new();
        options().frame(b"ab\nc".to_vec(), &mut framed);
        Options { framing: Framing::Newline, ..options() }.frame(b"ab\nc".to_vec(), &mut framed);
        assert_eq!(framed, b"4 ab\ncab c\n");
        record.fields = Labels::default();
        record.labels = Arc::default();
        assert!(String::from_utf8_lossy(&options().message(&record)).contains(" pi - - - - it's"));
    }

    #[tokio::test]
    async fn a_receiver_that_went_away_is_seen_before_the_next_batch() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut sender = SyslogSender::new(Options { port, ..options() }, None);
        let (one, two) = (entry(0, b"one"), entry(1, b"two"));
        let read = async |close_with: &[u8]| {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut found = Vec::new();
            while !found.ends_with(close_with) {
                assert!(stream.read_buf(&mut found).await.unwrap() > 0);
            }
            found
        };
        let (sent, found) = tokio::join!(async { sender.send(&[&one]).await }, read(b"one"));
        assert_eq!((sent.0, sent.1), (Fate::Taken, found.len() as u64));
        assert!(found.starts_with(format!("{} <12>1 ", found.len() - 4).as_bytes()));
        // The receiver has closed its end; nothing is written into the void.
        let (sent, found) = tokio::join!(async { sender.send(&[&two]).await }, read(b"two"));
        assert_eq!(sent.0, Fate::Taken);
        assert!(found.ends_with(b" two"));
        drop(listener);
        sender.open = None;
        assert!(matches!(sender.send(&[&two]).await.0, Fate::Retry { .. }));
    }

    /// A receiver with a certificate for `logs.example`, and the file of the CA that is to be trusted.
    fn tls_receiver(folder: &std::path::Path) -> (tokio_rustls::TlsAcceptor, std::path::PathBuf) {
        use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
        let made = rcgen::generate_simple_self_signed(["logs.example".to_owned()]).unwrap();
        let path = folder.join("ca.pem");
        std::fs::write(&path, made.cert.pem()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        (tokio_rustls::TlsAcceptor::from(Arc::new(config)), path)
    }

    #[tokio::test]
    async fn messages_go_over_tls_to_the_right_receiver_alone() {
        use crate::outgoing::endpoint::TlsFile;
        let folder = tempfile::tempdir().unwrap();
        let (acceptor, ca) = tls_receiver(folder.path());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let record = entry(0, b"secret");
        for (name, is_right) in [("logs.example", true), ("other.example", false)] {
            let files = TlsFile { ca_file: Some(ca.clone()), ..TlsFile::default() };
            let tls = crate::outgoing::tls::config(&files).unwrap();
            let server_name = Some(name.to_owned());
            let options = Options { transport: Transport::Tls, port, server_name, ..options() };
            let mut sender = SyslogSender::new(options, Some(Arc::new(tls)));
            let receive = async {
                let (stream, _) = listener.accept().await.unwrap();
                let mut found = Vec::new();
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    while !found.ends_with(b"secret") && stream.read_buf(&mut found).await.is_ok_and(|read| read > 0) {}
                }
                found
            };
            let ((fate, _), found) = tokio::join!(async { sender.send(&[&record]).await }, receive);
            assert_eq!((fate == Fate::Taken, found.ends_with(b" secret")), (is_right, is_right), "{name}: {fate:?}");
        }
    }

    #[tokio::test]
    async fn a_line_too_long_for_a_datagram_is_refused() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let mut sender = SyslogSender::new(Options { port, transport: Transport::Udp, ..options() }, None);
        let (good, long) = (entry(0, b"good"), entry(1, &[b'x'; 70_000]));
        let (fate, _) = sender.send(&[&long, &good]).await;
        let Fate::Each(items) = fate else { panic!("each has one") };
        assert!(matches!(&items[0], Item::Refused(_)));
        assert_eq!(items[1], Item::Taken);
        let mut words = [0; 2000];
        let read = socket.recv(&mut words).await.unwrap();
        assert!(words[..read].ends_with(b" good"));
    }
}
