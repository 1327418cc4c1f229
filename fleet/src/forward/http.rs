//! What Loki, Elasticsearch and OTLP have in common: a POST, and what its status means.

use super::core::Fate;
use super::record::Entry;
use super::{elastic, loki, otlp};
use crate::clock::WallClock;
use crate::outgoing::backoff::pause_asked;
use crate::outgoing::endpoint::Endpoint;
use crate::outgoing::http::{Answer, Client, Form};
use bytes::Bytes;
use rustls::ClientConfig;
use skerry_model::UnixMillis;
use std::sync::Arc;

/// A protocol over HTTP.
#[derive(Debug, Clone)]
pub enum Protocol {
    /// Loki's push API.
    Loki(loki::Options),
    /// Elasticsearch's and OpenSearch's bulk API.
    Elastic(elastic::Options),
    /// OpenTelemetry's log export.
    Otlp(otlp::Options),
}

impl Protocol {
    fn form(&self, endpoint: &Endpoint) -> Form {
        match self {
            Self::Loki(options) => options.form(endpoint),
            Self::Elastic(options) => options.form(endpoint),
            Self::Otlp(options) => options.form(endpoint),
        }
    }

    fn body(&self, entries: &[&Entry]) -> Vec<u8> {
        match self {
            Self::Loki(options) => options.body(entries),
            Self::Elastic(options) => options.body(entries),
            Self::Otlp(options) => options.body(entries),
        }
    }

    fn judge(&self, answer: &Answer, records: usize, now: UnixMillis) -> Fate {
        match self {
            Self::Loki(_) => loki::judge(answer, now),
            Self::Elastic(_) => elastic::judge(answer, records, now),
            Self::Otlp(options) => options.judge(answer, now),
        }
    }
}

/// Sends batches to one target.
pub(super) struct HttpSender {
    protocol: Protocol,
    client: Client,
    wall: WallClock,
}

impl HttpSender {
    pub(super) fn new(
        protocol: Protocol,
        endpoint: &Arc<Endpoint>,
        tls: Option<Arc<ClientConfig>>,
        wall: WallClock,
    ) -> Self {
        let client = Client::new(endpoint.clone(), protocol.form(endpoint), tls);
        Self { protocol, client, wall }
    }

    /// Sends records once; what became of them, and the bytes of the request.
    pub(super) async fn send(&mut self, entries: &[&Entry]) -> (Fate, u64) {
        let body = Bytes::from(self.protocol.body(entries));
        let bytes = body.len() as u64;
        let fate = match self.client.post(body).await {
            Ok(answer) => self.protocol.judge(&answer, entries.len(), (self.wall)()),
            Err(error) => Fate::Retry { after: None, why: error.to_string() },
        };
        (fate, bytes)
    }
}

/// The URL's path, or this one where it has none.
pub(super) fn path_or(endpoint: &Endpoint, path: &str) -> Option<String> {
    let own = endpoint.url.path_and_query()?;
    (own.path() == "/").then(|| match own.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    })
}

/// Judges a status. Only one that speaks of the content (400, 413, 422) is about the records; all others say that the
/// target, the URL or the credentials have to be mended, and are tried until they are.
pub(super) fn judge(answer: &Answer, now: UnixMillis) -> Fate {
    let why = format!("HTTP {}: {}", answer.status, answer.words());
    let retry = |hint: &str| Fate::Retry {
        after: answer.retry_after().and_then(|text| pause_asked(text, now)),
        why: format!("{why}{hint}"),
    };
    match answer.status {
        200..=299 => Fate::Taken,
        300..=399 => retry("; redirects are not followed, mend the URL"),
        400 | 422 => Fate::Refused { why },
        413 => Fate::TooLarge { why },
        401 | 403 => retry("; mend the credentials"),
        404 | 405 | 406 | 410 | 415 | 501 => retry("; mend the URL, or the target does not speak this protocol"),
        _ => retry(""),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use axum::http::{HeaderMap, HeaderValue, header};
    use std::time::Duration;

    pub(in crate::forward) fn answer(status: u16, body: &str) -> Answer {
        Answer { status, headers: HeaderMap::new(), body: body.into() }
    }

    #[test]
    fn only_the_content_is_refused_for_good() {
        for status in [301, 401, 403, 404, 405, 408, 415, 421, 429, 500, 501, 502, 503, 504, 599] {
            assert!(matches!(judge(&answer(status, "x"), UnixMillis(0)), Fate::Retry { .. }), "{status}");
        }
        for status in [200, 202, 204] {
            assert_eq!(judge(&answer(status, "x"), UnixMillis(0)), Fate::Taken);
        }
        assert!(matches!(judge(&answer(400, ""), UnixMillis(0)), Fate::Refused { .. }));
        assert!(matches!(judge(&answer(413, ""), UnixMillis(0)), Fate::TooLarge { .. }));
        let mut busy = answer(429, "slow down");
        busy.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("7"));
        let why = "HTTP 429: slow down".to_owned();
        assert_eq!(judge(&busy, UnixMillis(0)), Fate::Retry { after: Some(Duration::from_secs(7)), why });
        let Fate::Retry { why, .. } = judge(&answer(401, "no"), UnixMillis(0)) else { panic!("tried again") };
        assert!(why.contains("credentials"), "{why}");
    }
}
