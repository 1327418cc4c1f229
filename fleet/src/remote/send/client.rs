//! One HTTP connection to a target, opened when it is needed and kept while it lasts.

use super::core::Answer;
use crate::remote::config::{Auth, Target};
use axum::http::{HeaderValue, Method, Request, header, request};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// Most bytes of an answer that are read; its first words say what is wrong.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// How a store that speaks 2.0 says what it took.
const WRITTEN: &str = "x-prometheus-remote-write-samples-written";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It took too long.
    #[error("no answer within {} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// There is no connection.
    #[error("connect to {address}: {source}")]
    Connect {
        /// Whereto.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] hyper::Error),
    /// The request cannot be made.
    #[error("make the request: {0}")]
    Request(String),
}

/// A connection to a target.
pub(super) struct Client {
    target: Arc<Target>,
    tls: Option<Arc<ClientConfig>>,
    open: Option<http1::SendRequest<Full<Bytes>>>,
    /// Drives the connection; dropped with it.
    driver: JoinSet<()>,
}

impl Client {
    pub(super) fn new(target: Arc<Target>, tls: Option<Arc<ClientConfig>>) -> Self {
        Self { target, tls, open: None, driver: JoinSet::new() }
    }

    /// Sends one body and waits for the answer. After an error the next call connects anew.
    pub(super) async fn post(&mut self, body: Bytes) -> Result<Answer, ClientError> {
        let limit = self.target.timeout;
        let done = tokio::time::timeout(limit, self.exchange(body)).await;
        let answer = done.unwrap_or(Err(ClientError::Timeout(limit)));
        if answer.is_err() {
            self.close();
        }
        answer
    }

    fn close(&mut self) {
        self.open = None;
        self.driver = JoinSet::new();
    }

    async fn exchange(&mut self, body: Bytes) -> Result<Answer, ClientError> {
        let request = self.request(body)?;
        let kept = match &mut self.open {
            Some(open) => open.ready().await.is_ok(),
            None => false,
        };
        let mut open = match self.open.take().filter(|_| kept) {
            Some(open) => open,
            None => self.connect().await?,
        };
        let answer = open.send_request(request).await?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.map(str::to_owned);
        let written = answer.headers().get(WRITTEN).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let words = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        if let Ok(words) = words {
            let words = String::from_utf8_lossy(&words.to_bytes()).into_owned();
            self.open = Some(open);
            return Ok(Answer { status, retry_after, written, words });
        }
        // The status counts; a connection with the rest of a long answer in it is of no more use.
        self.close();
        Ok(Answer { status, retry_after, written, words: String::new() })
    }

    fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>, ClientError> {
        let (target, url) = (&self.target, &self.target.url);
        let made = |error: axum::http::Error| ClientError::Request(error.to_string());
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let host = url.authority().map_or("", |authority| authority.as_str());
        let mut builder = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::HOST, host)
            .header(header::USER_AGENT, concat!("skerry-fleet/", env!("CARGO_PKG_VERSION")))
            .header(header::CONTENT_TYPE, target.protocol.content_type())
            .header(header::CONTENT_ENCODING, "snappy")
            .header("x-prometheus-remote-write-version", target.protocol.version());
        if let Some(auth) = &target.auth {
            builder = authorize(builder, auth)?;
        }
        let mut request = builder.body(Full::new(body)).map_err(made)?;
        for (name, value) in &target.headers {
            request.headers_mut().insert(name, value.clone());
        }
        Ok(request)
    }

    async fn connect(&mut self) -> Result<http1::SendRequest<Full<Bytes>>, ClientError> {
        let url = &self.target.url;
        let host = url.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = url.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let failed = |source| ClientError::Connect { address: format!("{host}:{port}"), source };
        let stream = TcpStream::connect((host, port)).await.map_err(failed)?;
        // A request is written in one go and waited for.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else { return self.handshake(stream).await };
        let name = self.target.tls.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|error| failed(std::io::Error::other(format!("{name:?}: {error}"))))?;
        let stream = TlsConnector::from(tls.clone()).connect(name, stream).await.map_err(failed)?;
        self.handshake(stream).await
    }

    async fn handshake<S>(&mut self, stream: S) -> Result<http1::SendRequest<Full<Bytes>>, ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (open, connection) = http1::handshake(TokioIo::new(stream)).await?;
        self.driver = JoinSet::new();
        // Its error comes out of the request that was under way.
        self.driver.spawn(async move { drop(connection.await) });
        Ok(open)
    }
}

fn authorize(builder: request::Builder, auth: &Auth) -> Result<request::Builder, ClientError> {
    let failed = |error: &dyn std::fmt::Display| ClientError::Request(format!("the credentials: {error}"));
    let value = match auth {
        Auth::Basic(name, password) => {
            let password = password.as_ref().map_or(Ok(Zeroizing::default()), |password| password.read());
            let pair = Zeroizing::new(format!("{name}:{}", password.map_err(|error| failed(&error))?.as_str()));
            format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes()))
        }
        Auth::Scheme(scheme, credential) => {
            format!("{scheme} {}", credential.read().map_err(|error| failed(&error))?.as_str())
        }
    };
    let mut value = HeaderValue::try_from(value).map_err(|error| failed(&error))?;
    value.set_sensitive(true);
    Ok(builder.header(header::AUTHORIZATION, value))
}
