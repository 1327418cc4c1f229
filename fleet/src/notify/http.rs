//! Requests: each on a connection of its own, since notices are few.

use super::tls;
use crate::outgoing::connect::connect;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use skerry_alerting::notify::{ANSWER_BYTES_MAX, HttpDelivery, Outcome, judge_http, without_paths};
use skerry_model::UnixMillis;
use std::sync::Arc;
use tokio::time::{Instant, timeout};

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 10;
/// Of the time that is left, how much an answer's body may take: so that its status counts where the body stalls.
const SHARE: f64 = 0.9;
/// Longest head of an answer.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// What of an answer decides.
struct Heard {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Heard {
    fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Sends one after the other until one fails; the outcome of the last one that was sent.
pub(super) async fn send(kind: &str, requests: Vec<HttpDelivery>, until: Instant) -> Outcome {
    let mut outcome = Outcome::Sent;
    for request in requests {
        outcome = match follow(request, until).await {
            Ok(heard) => {
                let now = UnixMillis(jiff::Timestamp::now().as_millisecond());
                judge_http(kind, heard.status, heard.header(header::RETRY_AFTER), &heard.body, now)
            }
            Err(error) => Outcome::retry(without_paths(&error)),
        };
        if outcome != Outcome::Sent {
            break;
        }
    }
    outcome
}

/// As browsers do: 301 to 303 with GET, 307 and 308 as before; credentials stay with the first host.
async fn follow(delivery: HttpDelivery, until: Instant) -> Result<Heard, String> {
    let mut method = if delivery.method == "PUT" { Method::PUT } else { Method::POST };
    let mut headers = HeaderMap::new();
    for (name, value) in &delivery.headers {
        let name = HeaderName::try_from(name).map_err(|_| format!("{name:?} is no name of a header"))?;
        let bad = |_| format!("the value of header {name} has characters that HTTP cannot carry");
        let mut value = HeaderValue::try_from(value).map_err(bad)?;
        value.set_sensitive(name == header::AUTHORIZATION);
        headers.append(name, value);
    }
    let mut body = Bytes::from(delivery.body);
    let mut url: Uri = delivery.url.parse().map_err(|_| format!("{:?} is no address", delivery.url))?;
    // Made where it is needed: it reads the machine's certificates.
    let mut made = None;
    let name = delivery.tls.server_name.clone();
    let first = url.host().unwrap_or_default().to_owned();
    let redirects_max = if delivery.follow_redirects { REDIRECTS_MAX } else { 0 };
    let mut redirects = 0;
    loop {
        let tls = match url.scheme_str() {
            Some("http") => None,
            Some("https") => Some(match &made {
                Some(config) => Arc::clone(config),
                None => Arc::clone(made.insert(tls::config(&delivery.tls)?)),
            }),
            _ => return Err(format!("{url} is none of http:// and https://")),
        };
        let name = name.as_deref().filter(|_| url.host() == Some(&first));
        let request = (method.clone(), headers.clone(), body.clone());
        let heard = exchange(&url, request, tls, name, until).await?;
        let location = heard.header(header::LOCATION).filter(|_| matches!(heard.status, 301..=303 | 307 | 308));
        let Some(location) = location.filter(|_| redirects < redirects_max) else { return Ok(heard) };
        let next =
            join(&url, location).ok_or_else(|| format!("{url} redirects to {location:?}, which is no address"))?;
        redirects += 1;
        if next.authority() != url.authority() {
            headers.remove(header::AUTHORIZATION);
        }
        if heard.status <= 303 {
            method = Method::GET;
            body = Bytes::new();
            headers.remove(header::CONTENT_TYPE);
        }
        url = next;
    }
}

/// The address that a redirect from `base` means (RFC 3986, section 5.2), without resolving dots: servers do it.
fn join(base: &Uri, location: &str) -> Option<Uri> {
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let location = location.split('#').next().unwrap_or_default();
    let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    let is_whole = location.split(['/', '?']).next().is_some_and(|first| first.contains(':'));
    let text = match location {
        location if is_whole => location.to_owned(),
        location if location.starts_with("//") => format!("{scheme}:{location}"),
        location if location.starts_with('/') => format!("{scheme}://{authority}{location}"),
        location if location.is_empty() || location.starts_with('?') => {
            format!("{scheme}://{authority}{}{location}", base.path())
        }
        location => format!("{scheme}://{authority}{folder}/{location}"),
    };
    text.parse().ok()
}

async fn exchange(
    url: &Uri,
    (method, headers, body): (Method, HeaderMap, Bytes),
    tls: Option<Arc<rustls::ClientConfig>>,
    name: Option<&str>,
    until: Instant,
) -> Result<Heard, String> {
    let authority = url.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err("a user is not taken from the address; set basic_auth instead".into());
    }
    let host = url.host().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = url.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
    let stream = connect(host, port, tls.as_ref(), name).await;
    let stream = stream.map_err(|error| format!("cannot reach {host}:{port}: {error}"))?;
    let broken = |error: hyper::Error| format!("the exchange with {host}:{port} failed: {}", chain(&error));
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, concat!("skerry-fleet/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(body))
        .map_err(|error| format!("make the request: {error}"))?;
    request.headers_mut().extend(headers);
    let builder = http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).clone();
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        let (head, mut body) = answer.into_parts();
        let mut heard = Heard { status: head.status.as_u16(), headers: head.headers, body: Vec::new() };
        let listen = async {
            while heard.body.len() < ANSWER_BYTES_MAX
                && let Some(Ok(frame)) = body.frame().await
            {
                let Some(chunk) = frame.data_ref() else { continue };
                let room = ANSWER_BYTES_MAX - heard.body.len();
                heard.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
        };
        // It was answered: that the answer goes on and on, stalls or breaks off changes nothing.
        let left = until.saturating_duration_since(Instant::now());
        let _ = timeout(left.mul_f64(SHARE), listen).await;
        Ok(heard)
    };
    tokio::pin!(answer);
    tokio::select! {
        heard = &mut answer => heard,
        ended = connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(broken(error)),
        },
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_resolved() {
        let base: Uri = "https://h:1/a/b?q=1".parse().unwrap();
        for (location, expected) in [
            ("http://x/y", "http://x/y"),
            ("//x/y", "https://x/y"),
            ("/y?z", "https://h:1/y?z"),
            ("y", "https://h:1/a/y"),
            ("?z=http://x", "https://h:1/a/b?z=http://x"),
            ("#f", "https://h:1/a/b"),
        ] {
            assert_eq!(join(&base, location).unwrap().to_string(), expected, "{location}");
        }
    }
}
