//! A small HTTP/1.1 client: one request, one bounded answer, one deadline.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// How long a request may take from connect to the last byte.
const DEADLINE: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Bytes,
}

/// Why there is no answer, for people.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct HttpError(String);

fn fail(text: impl Into<String>) -> HttpError {
    HttpError(text.into())
}

/// GET.
///
/// # Errors
/// [`HttpError`].
pub async fn get(url: &str, bytes_max: usize) -> Result<Answer, HttpError> {
    within(exchange(Method::GET, url, "", Vec::new(), bytes_max), url).await
}

/// POST. With `https` the server's certificate is **not** checked: what is sent and answered has to carry its own
/// proof, as enrolment messages do, because a node that joins knows no CA of the fleet yet.
///
/// # Errors
/// [`HttpError`].
pub async fn post(url: &str, content_type: &str, body: Vec<u8>, bytes_max: usize) -> Result<Answer, HttpError> {
    within(exchange(Method::POST, url, content_type, body, bytes_max), url).await
}

/// GET from a server on a unix socket.
///
/// # Errors
/// [`HttpError`].
pub async fn get_unix(socket: &Path, path: &str, bytes_max: usize) -> Result<Answer, HttpError> {
    let shown = format!("{}{path}", socket.display());
    let exchange = async {
        let reach = |error| fail(format!("cannot reach {}: {error}", socket.display()));
        let stream = UnixStream::connect(socket).await.map_err(reach)?;
        let request = Request::get(path).header(hyper::header::HOST, "localhost").body(Full::new(Bytes::new()));
        let request = request.map_err(|error| fail(format!("{path} is no path: {error}")))?;
        talk(stream, request, &shown, bytes_max).await
    };
    within(exchange, &shown).await
}

async fn within(exchange: impl Future<Output = Result<Answer, HttpError>>, url: &str) -> Result<Answer, HttpError> {
    let late = |_| fail(format!("{url} did not answer within {} s", DEADLINE.as_secs()));
    tokio::time::timeout(DEADLINE, exchange).await.map_err(late)?
}

async fn exchange(
    method: Method,
    url: &str,
    content_type: &str,
    body: Vec<u8>,
    bytes_max: usize,
) -> Result<Answer, HttpError> {
    let parsed: hyper::Uri = url.parse().map_err(|error| fail(format!("{url} is no address: {error}")))?;
    let (scheme, host) = (parsed.scheme_str().unwrap_or_default(), parsed.host().unwrap_or_default());
    let port = match (scheme, parsed.port_u16()) {
        ("http" | "https", Some(port)) => port,
        ("http", None) => 80,
        ("https", None) => 443,
        _ => return Err(fail(format!("{url} is no address: http:// or https:// is expected"))),
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let reach = |error| fail(format!("cannot reach {bare}:{port}: {error}"));
    let stream = TcpStream::connect((bare.as_str(), port)).await.map_err(reach)?;
    let request = Request::builder()
        .method(method)
        .uri(parsed.path_and_query().map_or("/", |path| path.as_str()))
        .header(hyper::header::HOST, format!("{host}:{port}"))
        .header(hyper::header::CONTENT_TYPE, content_type)
        .header(hyper::header::USER_AGENT, concat!("skerry-agent/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| fail(format!("{url} is no address: {error}")))?;
    if scheme == "http" {
        return talk(stream, request, url, bytes_max).await;
    }
    let name = ServerName::try_from(bare.clone()).map_err(|error| fail(format!("{bare} is no host name: {error}")))?;
    let stream = tokio_rustls::TlsConnector::from(unverified()?)
        .connect(name, stream)
        .await
        .map_err(|error| fail(format!("TLS with {bare}:{port} failed: {error}")))?;
    talk(stream, request, url, bytes_max).await
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
    url: &str,
    bytes_max: usize,
) -> Result<Answer, HttpError> {
    let broken = |error: hyper::Error| fail(format!("the exchange with {url} failed: {error}"));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), bytes_max).collect().await;
        let body = body.map_err(|error| fail(format!("the answer of {url} cannot be read: {error}")))?.to_bytes();
        Ok(Answer { status, body })
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

fn unverified() -> Result<Arc<rustls::ClientConfig>, HttpError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| fail(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Takes any certificate; see [`post`] for when that is right.
#[derive(Debug)]
struct Unverified(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
