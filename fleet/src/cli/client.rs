//! The client of the server's API.

use super::home::Home;
use crate::api::view::TrustView;
use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use skerry_seal::TrustStore;
use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::time::Duration;
use ureq::http::Response;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body};
use zeroize::Zeroizing;

/// How long a request may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// Longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// A client with the admin's token.
pub(super) struct Client {
    agent: Agent,
    url: String,
    authorization: Zeroizing<String>,
}

/// What the server says in an error.
#[derive(Deserialize)]
#[serde(untagged)]
enum ErrorBody {
    Ours {
        error: ErrorWords,
    },
    /// As the query API says it.
    Prometheus {
        #[serde(rename = "errorType")]
        code: String,
        #[serde(rename = "error")]
        message: String,
    },
}

#[derive(Deserialize)]
struct ErrorWords {
    code: String,
    message: String,
}

/// An answer that is an error.
#[derive(Debug, thiserror::Error)]
#[error("the server refused ({code}): {message}")]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) code: String,
    message: String,
}

impl Client {
    pub(super) fn new(home: &Home) -> anyhow::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
        if let Some(ca) = &home.file.ca {
            let path = home.folder.join(ca);
            let pem = std::fs::read(&path).with_context(|| format!("read the server's CA {}", path.display()))?;
            let cert =
                Certificate::from_pem(&pem).with_context(|| format!("{} is no PEM certificate", path.display()))?;
            tls = tls.root_certs(RootCerts::new_with_certs(&[cert.to_owned()]));
        }
        let agent = Agent::config_builder()
            .tls_config(tls.build())
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(DEADLINE))
            .timeout_recv_response(Some(DEADLINE))
            .user_agent(concat!("skerry/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        let authorization = Zeroizing::new(format!("Bearer {}", home.file.api_token));
        Ok(Self { agent, url: home.file.url.trim_end_matches('/').to_owned(), authorization })
    }

    /// GET of a JSON answer.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<T> {
        self.read(self.send_get(path, query)?)
    }

    /// As [`Self::get`], of an answer that the server itself may wait for, for so long.
    pub(super) fn get_within<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        wait: Duration,
    ) -> anyhow::Result<T> {
        self.read(self.send_at(&self.address(path), query, wait)?)
    }

    /// As [`Self::get_within`], at a path from the root: Loki's API does not stand below this one's.
    pub(super) fn get_at<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        wait: Duration,
    ) -> anyhow::Result<T> {
        self.read(self.send_at(&format!("{}{path}", self.url), query, wait)?)
    }

    /// As [`Self::get`], but `None` where there is no such thing.
    pub(super) fn find<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Option<T>> {
        match self.get(path, &[]) {
            Ok(found) => Ok(Some(found)),
            Err(error) => match error.downcast_ref::<Refused>() {
                Some(refused) if refused.status == 404 => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// POST of a body, JSON back.
    pub(super) fn post<T: DeserializeOwned>(&self, path: &str, kind: &str, body: &[u8]) -> anyhow::Result<T> {
        self.read(self.send_post(path, kind, body)?)
    }

    /// POST without an answer that matters.
    pub(super) fn tell(&self, path: &str, kind: &str, body: &[u8]) -> anyhow::Result<()> {
        self.checked(self.send_post(path, kind, body)?).map(drop)
    }

    /// As [`Self::post`], at a path from the root.
    pub(super) fn post_at<T: DeserializeOwned>(&self, path: &str, kind: &str, body: &[u8]) -> anyhow::Result<T> {
        self.read(self.send_post_at(&format!("{}{path}", self.url), kind, body)?)
    }

    pub(super) fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.send_delete(&self.address(path))
    }

    /// As [`Self::delete`], at a path from the root.
    pub(super) fn delete_at(&self, path: &str) -> anyhow::Result<()> {
        self.send_delete(&format!("{}{path}", self.url))
    }

    fn send_delete(&self, address: &str) -> anyhow::Result<()> {
        let request = self.agent.delete(address).header("Authorization", self.authorization.as_str());
        self.checked(request.call().with_context(|| self.unreached())?).map(drop)
    }

    /// Lines of an answer that goes on until the server ends it, at a path from the root.
    pub(super) fn lines(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> anyhow::Result<impl Iterator<Item = std::io::Result<String>> + use<>> {
        let answer = self.checked(self.send_at(&format!("{}{path}", self.url), query, Duration::ZERO)?)?;
        Ok(BufReader::new(answer.into_body().into_with_config().limit(u64::MAX).reader()).lines())
    }

    /// The chain of root documents, held against the admin's own root hash.
    pub(super) fn trust(&self, home: &Home) -> anyhow::Result<TrustStore> {
        let view: TrustView = self.get("/trust", &[])?;
        let roots = view.roots.iter().map(|root| BASE64.decode(root)).collect::<Result<Vec<_>, _>>();
        let roots = roots.context("the server's root documents are no base64")?;
        let trust = TrustStore::follow(&roots, &home.root_hash)
            .context("the server's root documents are not this fleet's; is the address in admin.yaml the right one?")?;
        if *trust.fleet() != home.fleet {
            bail!("the server is of fleet {}, admin.yaml of {}", trust.fleet(), home.fleet);
        }
        Ok(trust)
    }

    fn address(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.url)
    }

    fn unreached(&self) -> String {
        format!("cannot reach the server at {}; is it running, and is `url` in admin.yaml right?", self.url)
    }

    fn send_get(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Response<Body>> {
        self.send_at(&self.address(path), query, Duration::ZERO)
    }

    fn send_at(&self, address: &str, query: &[(&str, String)], wait: Duration) -> anyhow::Result<Response<Body>> {
        let request = self.agent.get(address).header("Authorization", self.authorization.as_str());
        let request = query.iter().fold(request, |request, (key, value)| request.query(*key, value.as_str()));
        let request = request.config().timeout_recv_response(Some(DEADLINE.saturating_add(wait))).build();
        request.call().with_context(|| self.unreached())
    }

    fn send_post(&self, path: &str, kind: &str, body: &[u8]) -> anyhow::Result<Response<Body>> {
        self.send_post_at(&self.address(path), kind, body)
    }

    fn send_post_at(&self, address: &str, kind: &str, body: &[u8]) -> anyhow::Result<Response<Body>> {
        let request = self.agent.post(address).header("Authorization", self.authorization.as_str());
        request.header("Content-Type", kind).send(body).with_context(|| self.unreached())
    }

    fn checked(&self, mut answer: Response<Body>) -> anyhow::Result<Response<Body>> {
        let status = answer.status().as_u16();
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        let is_text =
            answer.headers().get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
        let body = answer.body_mut().with_config().limit(64 * 1024).read_to_vec().unwrap_or_default();
        match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(ErrorBody::Ours { error: ErrorWords { code, message } }) => {
                Err(Refused { status, code, message }.into())
            }
            Ok(ErrorBody::Prometheus { code, message }) => Err(Refused { status, code, message }.into()),
            // As Alertmanager's API says it: a text alone.
            Err(_) if serde_json::from_slice::<String>(&body).is_ok() => {
                let message = serde_json::from_slice::<String>(&body).unwrap_or_default();
                Err(Refused { status, code: status.to_string(), message }.into())
            }
            // As Loki's API says it.
            Err(_) if is_text => {
                let message = String::from_utf8_lossy(&body).trim_end().to_owned();
                Err(Refused { status, code: status.to_string(), message }.into())
            }
            Err(_) => bail!("{} answered with HTTP status {status}; is it a Skerry server?", self.url),
        }
    }

    fn read<T: DeserializeOwned>(&self, answer: Response<Body>) -> anyhow::Result<T> {
        let mut answer = self.checked(answer)?;
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let body = body.with_context(|| format!("the answer of {} broke off", self.url))?;
        serde_json::from_slice(&body)
            .with_context(|| format!("the answer of {} has another form than expected", self.url))
    }
}
