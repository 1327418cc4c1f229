//! Requests on the wire.

use super::payload::{FileBody, Payload};
use super::{
    Address, Answer, Cause, Head, HeadedSink, HttpError, Request, Sink, SystemRoots, TlsClient, TlsSettings, Trace,
    fail,
};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderValue, LOCATION, USER_AGENT,
};
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};

/// Longest head of an answer, and longest chunk of a body that is handed over at once.
const BUFFER_BYTES: usize = 64 << 10;

/// A connection of any kind: one form, so that HTTP is compiled once.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A client; its TLS is made ready once.
#[derive(Debug, Clone)]
pub struct Client {
    tls: TlsClient,
}

/// One request of a chain of redirects.
struct Hop {
    to: Address,
    method: Method,
    headers: HeaderMap,
    body: Payload,
    until: Instant,
}

impl Client {
    /// With these settings.
    #[must_use]
    pub fn new(tls: &TlsSettings, system: &SystemRoots) -> Self {
        Self { tls: TlsClient::new(tls, system) }
    }

    /// Its TLS.
    #[must_use]
    pub const fn tls(&self) -> &TlsClient {
        &self.tls
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn send(&self, request: &Request) -> Result<Answer, HttpError> {
        let mut body = Vec::new();
        let mut keep = |chunk: &[u8]| {
            body.extend_from_slice(chunk);
            Ok(())
        };
        let head = self.stream(request, &mut Trace::default(), &mut keep).await?;
        Ok(Answer { status: head.status.as_u16(), body: body.into() })
    }

    /// Sends a request and hands the answer's body over as it comes, in chunks of at most 64 KiB. `sink` ends the
    /// exchange by an error, whose text is the outcome's.
    ///
    /// # Errors
    /// [`HttpError`]; `trace` is filled as far as it came.
    pub async fn stream(&self, request: &Request, trace: &mut Trace, sink: &mut Sink<'_>) -> Result<Head, HttpError> {
        self.stream_headed(request, trace, &mut |_, chunk| sink(chunk)).await
    }

    /// As [`Client::stream`], for a `sink` that has to know the answer's head: how to read the body, or whether at all.
    /// An answer without a body comes as its head alone.
    ///
    /// # Errors
    /// [`HttpError`]; `trace` is filled as far as it came.
    pub async fn stream_headed(
        &self,
        request: &Request,
        trace: &mut Trace,
        sink: &mut HeadedSink<'_>,
    ) -> Result<Head, HttpError> {
        let until = Instant::now() + request.deadline;
        let outcome = timeout_at(until, self.follow(request, until, trace, sink)).await;
        outcome.unwrap_or_else(|_| Err(late(&request.url, request.deadline)))
    }

    async fn follow(
        &self,
        request: &Request,
        until: Instant,
        trace: &mut Trace,
        sink: &mut HeadedSink<'_>,
    ) -> Result<Head, HttpError> {
        let first = Address::parse(&request.url)?;
        let (method, headers) = (request.method.clone(), request.headers.clone());
        let mut hop = Hop { to: first.clone(), method, headers, body: Payload::whole(&request.body), until };
        loop {
            let stream = self.open(&hop, request, &first, trace).await?;
            let url = hop.to.url();
            let may_redirect = trace.redirects < request.redirects_max;
            let head = talk(stream, &mut hop, &url, may_redirect, request.bytes_max, trace, sink).await?;
            let Some(location) = redirect(&head).filter(|_| may_redirect) else { return Ok(head) };
            trace.redirects += 1;
            let to = hop.to.join(&location)?;
            if (&to.host, to.port) != (&hop.to.host, hop.to.port) {
                for private in [AUTHORIZATION, COOKIE, HOST] {
                    hop.headers.remove(private);
                }
            }
            hop.to = to;
            let keeps = matches!(head.status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
            if !keeps && hop.method != Method::HEAD && hop.method != Method::GET {
                hop.method = Method::GET;
                hop.body = Payload::whole(&Bytes::new());
                hop.headers.remove(CONTENT_TYPE);
                hop.headers.remove(CONTENT_LENGTH);
            }
        }
    }

    async fn open(
        &self,
        hop: &Hop,
        request: &Request,
        first: &Address,
        trace: &mut Trace,
    ) -> Result<Box<dyn Stream>, HttpError> {
        let Address { host, port, is_tls, .. } = &hop.to;
        let is_first = host == &first.host;
        let begin = Instant::now();
        let addresses = match request.address.filter(|_| is_first) {
            Some(ip) => vec![SocketAddr::new(ip, *port)],
            None => resolve(host, *port).await?,
        };
        let resolved = Instant::now();
        trace.resolve += resolved - begin;
        trace.peer = None;
        let stream = connect(&addresses, hop.until, &mut trace.remote).await?;
        let connected = Instant::now();
        trace.connect += connected - resolved;
        if !is_tls {
            return Ok(Box::new(stream));
        }
        let name = self.tls.server_name().filter(|_| is_first).unwrap_or(host);
        let (stream, peer) = self.tls.connect(stream, name).await?;
        trace.tls += connected.elapsed();
        trace.peer = Some(peer);
        Ok(Box::new(stream))
    }
}

fn late(url: &str, deadline: Duration) -> HttpError {
    fail(Cause::Late, format!("{url} did not answer within {} s", deadline.as_secs_f64()))
}

fn redirect(head: &Head) -> Option<String> {
    let is_redirect = matches!(head.status.as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = head.headers.get(LOCATION).filter(|_| is_redirect)?;
    Some(location.to_str().ok()?.to_owned())
}

/// Addresses of a host, in the order of the system's resolver; at least one.
///
/// # Errors
/// [`Cause::Resolve`].
pub async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, HttpError> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let unknown = |why: String| fail(Cause::Resolve, format!("the name {host:?} cannot be looked up: {why}"));
    let addresses = tokio::net::lookup_host((host, port)).await.map_err(|error| unknown(error.to_string()))?;
    let addresses: Vec<SocketAddr> = addresses.collect();
    if addresses.is_empty() { Err(unknown("it has no address".into())) } else { Ok(addresses) }
}

/// Connects to the first of the addresses that answers; each has an equal share of the time until `until`. `tried`
/// becomes the last one that was tried.
///
/// # Errors
/// [`Cause::Connect`] or [`Cause::Late`], of the last one.
pub async fn connect(
    addresses: &[SocketAddr],
    until: Instant,
    tried: &mut Option<SocketAddr>,
) -> Result<TcpStream, HttpError> {
    let mut last = fail(Cause::Connect, "there is no address to connect to");
    for (at, address) in addresses.iter().enumerate() {
        *tried = Some(*address);
        let left = u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
        let share = until.saturating_duration_since(Instant::now()) / left;
        last = match timeout_at(Instant::now() + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Requests and answers are short; where it cannot be set they are slower.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => fail(Cause::Connect, format!("cannot reach {address}: {error}")),
            Err(_) => fail(Cause::Late, format!("cannot reach {address}: no answer")),
        };
    }
    Err(last)
}

/// A request to a server on a unix socket; `request.url` is the path. A file takes the place of the request's body.
pub(super) async fn unix(
    socket: &Path,
    request: &Request,
    file: Option<FileBody>,
    sink: &mut HeadedSink<'_>,
) -> Result<Head, HttpError> {
    let shown = format!("{}{}", socket.display(), request.url);
    let until = Instant::now() + request.deadline;
    let to = Address {
        is_tls: false,
        host: String::new(),
        port: 0,
        authority: "localhost".into(),
        path: request.url.clone(),
    };
    let body = file.map_or_else(|| Payload::whole(&request.body), Payload::File);
    let mut hop = Hop { to, method: request.method.clone(), headers: request.headers.clone(), body, until };
    let exchange = async {
        let reach = |error| fail(Cause::Connect, format!("cannot reach {}: {error}", socket.display()));
        let stream = UnixStream::connect(socket).await.map_err(reach)?;
        talk(Box::new(stream), &mut hop, &shown, false, request.bytes_max, &mut Trace::default(), sink).await
    };
    timeout_at(until, exchange).await.unwrap_or_else(|_| Err(late(&shown, request.deadline)))
}

/// One request and its answer. The body of an answer that redirects is left unread where `may_redirect`.
async fn talk(
    stream: Box<dyn Stream>,
    hop: &mut Hop,
    url: &str,
    may_redirect: bool,
    bytes_max: usize,
    trace: &mut Trace,
    sink: &mut HeadedSink<'_>,
) -> Result<Head, HttpError> {
    let broken =
        |error: hyper::Error| fail(Cause::Exchange, format!("the exchange with {url} failed: {}", chain(&error)));
    let begin = Instant::now();
    let request = message(hop, url)?;
    let builder = hyper::client::conn::http1::Builder::new().max_buf_size(BUFFER_BYTES).clone();
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        let headed = Instant::now();
        trace.processing += headed - begin;
        trace.body_bytes = 0;
        trace.status = Some(answer.status());
        let (parts, mut body) = answer.into_parts();
        let head = Head { status: parts.status, version: parts.version, headers: parts.headers, url: url.to_owned() };
        if may_redirect && redirect(&head).is_some() {
            return Ok(head);
        }
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(broken)?;
            let Some(chunk) = frame.data_ref() else { continue };
            trace.body_bytes = trace.body_bytes.saturating_add(chunk.len());
            if trace.body_bytes > bytes_max {
                trace.transfer += headed.elapsed();
                return Err(fail(Cause::Oversize, format!("the answer of {url} is longer than {bytes_max} bytes")));
            }
            for part in chunk.chunks(BUFFER_BYTES) {
                sink(&head, part).map_err(|text| fail(Cause::Stopped, text))?;
            }
        }
        trace.transfer += headed.elapsed();
        Ok(head)
    };
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        ended = connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(broken(error)),
        },
    }
}

fn message(hop: &mut Hop, url: &str) -> Result<hyper::Request<Payload>, HttpError> {
    let bad = |why: String| fail(Cause::Invalid, format!("{url} is no address: {why}"));
    let mut request = hyper::Request::new(hop.body.begin());
    *request.method_mut() = hop.method.clone();
    *request.uri_mut() = hop.to.path.parse().map_err(|error| bad(format!("{error}")))?;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_str(&hop.to.authority).map_err(|error| bad(error.to_string()))?);
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("skerry-agent/", env!("CARGO_PKG_VERSION"))));
    headers.extend(hop.headers.clone());
    Ok(request)
}

/// hyper's errors tell what happened only in their sources.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
