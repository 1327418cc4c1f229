//! One HTTP connection to a target, opened when it is needed and kept while it lasts.

use super::connect::{self, Stream};
use super::endpoint::{Auth, Endpoint};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header, request};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

/// What a target answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: u16,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body, up to the bound that was asked for; empty where it is longer.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Header `Retry-After`: seconds, or a date.
    pub(crate) fn retry_after(&self) -> Option<&str> {
        self.headers.get(header::RETRY_AFTER)?.to_str().ok()
    }

    /// The beginning of its words.
    pub(crate) fn words(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().chars().take(WORDS_MAX).collect()
    }
}

/// Most characters of a target's words that are kept.
const WORDS_MAX: usize = 300;

/// What every request to a target has in common.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    /// Path and query, where they are not those of the endpoint's URL.
    pub(crate) path: Option<String>,
    /// Headers of its protocol.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Most bytes of an answer that are read.
    pub(crate) answer_bytes_max: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
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
pub(crate) struct Client {
    endpoint: Arc<Endpoint>,
    form: Form,
    tls: Option<Arc<ClientConfig>>,
    open: Option<http1::SendRequest<Full<Bytes>>>,
    /// Drives the connection; dropped with it.
    driver: JoinSet<()>,
}

impl Client {
    pub(crate) fn new(endpoint: Arc<Endpoint>, form: Form, tls: Option<Arc<ClientConfig>>) -> Self {
        Self { endpoint, form, tls, open: None, driver: JoinSet::new() }
    }

    /// Sends one body and waits for the answer. After an error the next call connects anew.
    pub(crate) async fn post(&mut self, body: Bytes) -> Result<Answer, ClientError> {
        let limit = self.endpoint.timeout;
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
        let (head, body) = answer.into_parts();
        let (status, headers) = (head.status.as_u16(), head.headers);
        if let Ok(body) = Limited::new(body, self.form.answer_bytes_max).collect().await {
            self.open = Some(open);
            return Ok(Answer { status, headers, body: body.to_bytes().to_vec() });
        }
        // The status counts; a connection with the rest of a long answer in it is of no more use.
        self.close();
        Ok(Answer { status, headers, body: Vec::new() })
    }

    fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>, ClientError> {
        let (target, url) = (&self.endpoint, &self.endpoint.url);
        let made = |error: axum::http::Error| ClientError::Request(error.to_string());
        let own = url.path_and_query().map_or("/", |path| path.as_str());
        let path = self.form.path.as_deref().unwrap_or(own);
        let host = url.authority().map_or("", |authority| authority.as_str());
        let mut builder = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::HOST, host)
            .header(header::USER_AGENT, concat!("skerry-fleet/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &self.form.headers {
            builder = builder.header(name, value);
        }
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
        let url = &self.endpoint.url;
        let host = url.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = url.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let name = self.endpoint.tls.server_name.as_deref();
        let stream = connect::connect(host, port, self.tls.as_ref(), name).await;
        self.handshake(stream.map_err(|source| ClientError::Connect { address: format!("{host}:{port}"), source })?)
            .await
    }

    async fn handshake(&mut self, stream: Box<dyn Stream>) -> Result<http1::SendRequest<Full<Bytes>>, ClientError> {
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
