//! Requests.

use super::talk::settings;
use crate::http::{Client, HttpError, Request, SystemRoots, Trace};
use hyper::Method;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue, RETRY_AFTER};
use skerry_alerting::notify::{ANSWER_BYTES_MAX, HttpDelivery, Outcome, judge_http, without_paths};
use skerry_model::UnixMillis;
use tokio::time::Instant;

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 10;

/// Of the time that is left, how much one exchange may take.
const SHARE: f64 = 0.95;

/// What of an answer decides.
#[derive(Default)]
struct Heard {
    status: u16,
    retry_after: Option<String>,
    body: Vec<u8>,
}

/// Sends one after the other until one fails; the outcome of the last one that was sent.
pub(super) async fn send(kind: &str, requests: Vec<HttpDelivery>, system: &SystemRoots, until: Instant) -> Outcome {
    let mut outcome = Outcome::Sent;
    for request in requests {
        outcome = match exchange(request, system, until).await {
            Ok(heard) => {
                let now = UnixMillis(jiff::Timestamp::now().as_millisecond());
                judge_http(kind, heard.status, heard.retry_after.as_deref(), &heard.body, now)
            }
            Err(error) => Outcome::retry(without_paths(&error.text)),
        };
        if outcome != Outcome::Sent {
            break;
        }
    }
    outcome
}

async fn exchange(delivery: HttpDelivery, system: &SystemRoots, until: Instant) -> Result<Heard, HttpError> {
    let mut request = Request {
        method: if delivery.method == "PUT" { Method::PUT } else { Method::POST },
        body: delivery.body.into(),
        // A little earlier than the try itself, so that what was heard by then counts.
        deadline: until.saturating_duration_since(Instant::now()).mul_f64(SHARE),
        // The sink below ends what is longer than it cares for.
        bytes_max: usize::MAX,
        redirects_max: if delivery.follow_redirects { REDIRECTS_MAX } else { 0 },
        ..Request::get(delivery.url)
    };
    for (name, value) in &delivery.headers {
        let (name, mut value): (HeaderName, HeaderValue) = crate::http::header(name, value)?;
        value.set_sensitive(name == AUTHORIZATION);
        request.headers.append(name, value);
    }
    let client = Client::new(&settings(&delivery.tls), system);
    let mut heard = Heard::default();
    let mut sink = |head: &crate::http::Head, chunk: &[u8]| {
        heard.note(head);
        let room = ANSWER_BYTES_MAX - heard.body.len();
        heard.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if heard.body.len() < ANSWER_BYTES_MAX { Ok(()) } else { Err("enough was heard".to_owned()) }
    };
    let mut trace = Trace::default();
    let ended = client.stream_headed(&request, &mut trace, &mut sink).await;
    match (ended, trace.status) {
        (Ok(head), _) => heard.note(&head),
        // It was answered: that the answer goes on and on, or breaks off, changes nothing, unless it was a redirect.
        (Err(_), Some(status)) if !status.is_redirection() => heard.status = status.as_u16(),
        (Err(error), _) => return Err(error),
    }
    Ok(heard)
}

impl Heard {
    fn note(&mut self, head: &crate::http::Head) {
        self.status = head.status.as_u16();
        self.retry_after = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    }
}
