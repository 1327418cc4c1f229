//! A small HTTP/1.1 client: one request on a connection of its own, one bounded answer, one deadline.
//!
//! ```text
//! let system = SystemRoots::default();                  // once; a clone costs a counter
//! let client = Client::new(&TlsSettings::default(), &system);   // once for each set of TLS settings
//! let request = Request { deadline, bytes_max, ..Request::get(url) }.bearer("token")?;
//! let answer = client.send(&request).await?;            // the whole body, at most `bytes_max`
//! let head = client.stream(&request, &mut trace, &mut |chunk| parser.feed(chunk)).await?;   // or piece by piece
//! ```
//!
//! - A status of any kind is an answer; [`HttpError`] says why there is none, with its [`Cause`] for programs.
//! - [`Trace`] tells how long the phases took, to whom, and which TLS; it is filled as far as the exchange came, so it
//!   tells of failures too.
//! - Certificates are verified: against `ca`/`ca_file` where one is set, else against the system's bundle. A server's own
//!   certificate that stands in `ca_file` is taken as it is, as other clients do, if name and time hold.
//! - Files of [`TlsSettings`] are read at the first connection that succeeds in it; those of [`BasicAuth`] and [`Authorization`] at each call of
//!   `header`, so that a rotated token counts at once.
//! - Redirects are followed as browsers do: 301 to 303 with GET, 307 and 308 with the same method and body; credentials
//!   stay with the first host. The redirect beyond `redirects_max` is itself the answer.
//! - HTTP/2, proxies and compressed bodies are not spoken.

mod address;
pub mod cert;
mod exchange;
mod payload;
mod settings;
mod tls;

pub use address::Address;
pub use exchange::{Client, connect, resolve};
pub use payload::FileBody;
pub use settings::{Authorization, BasicAuth, TlsSettings, TlsVersion};
pub use tls::{SystemRoots, TlsClient};

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode, Version};
use rustls::pki_types::CertificateDer;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// How long a request may take from the name's look-up to the last byte, where it says nothing else.
const DEADLINE: Duration = Duration::from_secs(30);
/// Longest answer, where a request says nothing else.
const BYTES_MAX: usize = 1 << 20;
/// Redirects that are followed, where a request says nothing else.
const REDIRECTS_MAX: usize = 10;

/// A request. `Debug` hides headers that are marked sensitive, as those of [`Request::basic`] and the like are.
#[derive(Debug, Clone)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// `http://` or `https://` address.
    pub url: String,
    /// Headers; `Host` and `User-Agent` are added where they are absent.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// From the name's look-up to the last byte.
    pub deadline: Duration,
    /// Longest body of the answer, in bytes.
    pub bytes_max: usize,
    /// Redirects that are followed at most; 0: none.
    pub redirects_max: usize,
    /// Address of the host, instead of looking its name up; not for hosts of redirects.
    pub address: Option<IpAddr>,
}

/// What takes a body chunk by chunk; an error ends the exchange.
pub type Sink<'a> = dyn FnMut(&[u8]) -> Result<(), String> + Send + 'a;

/// One that is told the answer's head with each chunk.
pub type HeadedSink<'a> = dyn FnMut(&Head, &[u8]) -> Result<(), String> + Send + 'a;

/// An answer without its body.
#[derive(Debug, Clone)]
pub struct Head {
    /// Status.
    pub status: StatusCode,
    /// HTTP version.
    pub version: Version,
    /// Headers.
    pub headers: HeaderMap,
    /// Where it came from, after redirects.
    pub url: String,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Bytes,
}

/// What an exchange did, as far as it came. Spans add up over redirects.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// Look-up of names.
    pub resolve: Duration,
    /// TCP connect.
    pub connect: Duration,
    /// TLS handshake.
    pub tls: Duration,
    /// From the request to the head of the answer.
    pub processing: Duration,
    /// From there to the end of the body.
    pub transfer: Duration,
    /// Redirects that were followed.
    pub redirects: usize,
    /// Who answered last, or was tried.
    pub remote: Option<SocketAddr>,
    /// TLS of the last connection; `None` where it was plain.
    pub peer: Option<TlsPeer>,
    /// Status of the last answer, as soon as its head came; its body may have failed.
    pub status: Option<StatusCode>,
    /// Bytes of the last answer's body that came.
    pub body_bytes: usize,
}

/// What a TLS connection was made with.
#[derive(Debug, Clone)]
pub struct TlsPeer {
    /// `TLS 1.2` or `TLS 1.3`.
    pub version: &'static str,
    /// The server's certificates, its own first; see [`cert::facts`].
    pub certs: Vec<CertificateDer<'static>>,
}

impl TlsPeer {
    /// When the first of the server's certificates ends, in seconds since 1970; `None` where none can be read.
    #[must_use]
    pub fn earliest_expiry(&self) -> Option<i64> {
        self.certs.iter().filter_map(|der| cert::facts(der)).map(|facts| facts.not_after).min()
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct HttpError {
    /// For programs.
    pub cause: Cause,
    /// For people: what, where and why.
    pub text: String,
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The address, a header or a setting is unusable.
    Invalid,
    /// The name is unknown.
    Resolve,
    /// Nobody listens, or the network is down.
    Connect,
    /// No TLS: certificate, version, or not TLS at all.
    Tls,
    /// The connection broke, or what came is no HTTP.
    Exchange,
    /// The body is longer than it may be.
    Oversize,
    /// It took too long.
    Late,
    /// The caller's own function wanted no more.
    Stopped,
}

pub(crate) fn fail(cause: Cause, text: impl Into<String>) -> HttpError {
    HttpError { cause, text: text.into() }
}

impl Request {
    /// GET with the usual bounds: 30 s, 1 MiB, ten redirects.
    #[must_use]
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            url: url.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            deadline: DEADLINE,
            bytes_max: BYTES_MAX,
            redirects_max: REDIRECTS_MAX,
            address: None,
        }
    }

    /// Sets a header.
    ///
    /// # Errors
    /// [`Cause::Invalid`] where name or value cannot stand in HTTP.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, HttpError> {
        let (name, value) = header(name, value)?;
        self.headers.insert(name, value);
        Ok(self)
    }

    /// Sets `Authorization` to what [`BasicAuth::header`], [`Authorization::header`] made.
    #[must_use]
    pub fn authorized(mut self, value: HeaderValue) -> Self {
        self.headers.insert(AUTHORIZATION, value);
        self
    }

    /// Sets a user and password.
    ///
    /// # Errors
    /// As [`Request::header`].
    pub fn basic(self, user: &str, password: &str) -> Result<Self, HttpError> {
        Ok(self.authorized(settings::basic(user, password)?))
    }

    /// Sets a bearer token.
    ///
    /// # Errors
    /// As [`Request::header`].
    pub fn bearer(self, token: &str) -> Result<Self, HttpError> {
        Ok(self.authorized(settings::bearer(token)?))
    }
}

/// Name and value of a header as HTTP has them.
///
/// # Errors
/// [`Cause::Invalid`].
pub fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), HttpError> {
    let no_name = |_| fail(Cause::Invalid, format!("{name:?} is no name of an HTTP header"));
    let no_value =
        |_| fail(Cause::Invalid, format!("the value of header {name} has characters that HTTP cannot carry"));
    Ok((HeaderName::from_bytes(name.as_bytes()).map_err(no_name)?, HeaderValue::from_str(value).map_err(no_value)?))
}

/// GET.
///
/// # Errors
/// [`HttpError`].
pub async fn get(url: &str, bytes_max: usize) -> Result<Answer, HttpError> {
    let client = Client::new(&TlsSettings::default(), &SystemRoots::default());
    client.send(&Request { bytes_max, ..Request::get(url) }).await
}

/// POST. With `https` the server's certificate is **not** checked: what is sent and answered has to carry its own
/// proof, as enrolment messages do, because a node that joins knows no CA of the fleet yet.
///
/// # Errors
/// [`HttpError`].
pub async fn post(url: &str, content_type: &str, body: Vec<u8>, bytes_max: usize) -> Result<Answer, HttpError> {
    let unverified = TlsSettings { insecure_skip_verify: true, ..TlsSettings::default() };
    let client = Client::new(&unverified, &SystemRoots::default());
    let request = Request { method: Method::POST, body: body.into(), bytes_max, redirects_max: 0, ..Request::get(url) };
    client.send(&request.header(CONTENT_TYPE.as_str(), content_type)?).await
}

/// A request to a server on a unix socket, whose path is the request's `url`; redirects are not followed. The answer's body
/// goes to `sink` as with [`Client::stream_headed`], and `file` takes the place of the request's body.
///
/// # Errors
/// [`HttpError`].
pub async fn unix(
    socket: &Path,
    request: &Request,
    file: Option<FileBody>,
    sink: &mut HeadedSink<'_>,
) -> Result<Head, HttpError> {
    exchange::unix(socket, request, file, sink).await
}

#[cfg(test)]
mod tests;
