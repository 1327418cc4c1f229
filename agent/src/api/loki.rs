//! Loki's HTTP API over the logs that this node keeps, and its live view over WebSocket.
//!
//! A page in a browser on the node may open a WebSocket to loopback whatever site it is from; browsers say where such a
//! page came from, and it is refused.

use crate::query::Queries;
use async_tungstenite::WebSocketStream;
use async_tungstenite::tokio::TokioAdapter;
use async_tungstenite::tungstenite::handshake::derive_accept_key;
use async_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use async_tungstenite::tungstenite::{Message, Utf8Bytes};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, get, on};
use futures_util::StreamExt;
use hyper_util::rt::TokioIo;
use skerry_lokiapi::{Encoding, Endpoint, Live, ROUTES, TailEntry, TailRequest, tail_message, tail_request};
use skerry_model::{TimeRange, UnixMillis};
use skerry_promapi::Params;
use skerry_wire::LiveLine;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Longest form of a request.
const FORM_BYTES_MAX: usize = 64 * 1024;
/// Live views at a time.
const TAILS_MAX: usize = 4;
/// Largest message that a reader of a live view may send: it has nothing to say.
const READ_BYTES_MAX: usize = 4096;
/// How often a reader that hears nothing is looked for.
const PING_EVERY: Duration = Duration::from_secs(20);
/// Entries that wait where the reader asked for a delay; further ones are left out and counted.
const HELD_MAX: usize = 2000;
/// An interval cannot be empty.
const FLUSH_MIN: Duration = Duration::from_millis(1);
const ENCODING: HeaderName = HeaderName::from_static("x-loki-response-encoding-flags");

/// What live views need.
#[derive(Clone)]
pub struct Tails {
    /// Lines as they are read.
    pub live: broadcast::Sender<Arc<Vec<LiveLine>>>,
    /// Ends them.
    pub stop: CancellationToken,
    tracker: TaskTracker,
    slots: Arc<Semaphore>,
}

impl Tails {
    /// Over these lines, until `stop`.
    #[must_use]
    pub fn new(live: broadcast::Sender<Arc<Vec<LiveLine>>>, stop: CancellationToken) -> Self {
        Self { live, stop, tracker: TaskTracker::new(), slots: Arc::new(Semaphore::new(TAILS_MAX)) }
    }

    /// Waits for the end of all views, once they are stopped.
    pub(super) async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[derive(Clone)]
struct Shared {
    queries: Queries,
    tails: Tails,
}

/// Its routes.
pub(super) fn router(queries: Queries, tails: Tails) -> Router {
    let fixed = ROUTES
        .into_iter()
        .fold(Router::new(), |router, (path, endpoint)| router.route(&format!("/loki/api/v1/{path}"), at(endpoint)));
    fixed
        .route("/loki/api/v1/label/{name}/values", get(label_values))
        .route("/loki/api/v1/tail", get(tail))
        .route("/ready", get(async || "ready\n"))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .with_state(Shared { queries, tails })
}

fn at(endpoint: Endpoint) -> MethodRouter<Shared> {
    let handler = move |State(shared): State<Shared>, headers: HeaderMap, RawQuery(query): RawQuery, form: Bytes| async move {
        respond(&shared.queries, endpoint, &headers, query, &form).await
    };
    on(MethodFilter::GET.or(MethodFilter::POST), handler)
}

async fn label_values(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    respond(&shared.queries, Endpoint::LabelValues(name), &headers, query, &[]).await
}

fn encoding(headers: &HeaderMap) -> Encoding {
    Encoding::of_header(headers.get(ENCODING).and_then(|value| value.to_str().ok()))
}

async fn respond(
    queries: &Queries,
    endpoint: Endpoint,
    headers: &HeaderMap,
    query: Option<String>,
    form: &[u8],
) -> Response {
    let params = Params::decode(query.unwrap_or_default().as_bytes(), form);
    match queries.answer_logs(endpoint, params, encoding(headers)).await {
        Some(done) => written(done),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn written(done: skerry_lokiapi::Response) -> Response {
    let status = StatusCode::from_u16(done.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, done.media_type())], done.body).into_response()
}

/// What makes a request one for a WebSocket: its key. An error says what is wrong with it.
fn websocket_key(headers: &HeaderMap) -> Result<&[u8], (StatusCode, &'static str)> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if headers.contains_key(header::ORIGIN) {
        return Err((StatusCode::FORBIDDEN, "live views of web pages are refused\n"));
    }
    if !text(header::UPGRADE).eq_ignore_ascii_case("websocket") || text(header::SEC_WEBSOCKET_VERSION) != "13" {
        return Err((StatusCode::UPGRADE_REQUIRED, "tail is a WebSocket of version 13\n"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(|key| key.as_bytes());
    key.ok_or((StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is missing\n"))
}

async fn tail(State(shared): State<Shared>, RawQuery(query): RawQuery, request: Request) -> Response {
    let params = Params::decode(query.unwrap_or_default().as_bytes(), &[]);
    let now = shared.queries.wall();
    let asked = match tail_request(&params, now) {
        Ok(asked) => asked,
        Err(refused) => return written(refused.into()),
    };
    let encoding = encoding(request.headers());
    let accept = match websocket_key(request.headers()) {
        Ok(key) => derive_accept_key(key),
        Err(refused) => return refused.into_response(),
    };
    let Ok(slot) = shared.tails.slots.clone().try_acquire_owned() else {
        let text = format!("{TAILS_MAX} live views are open; close one\n");
        return (StatusCode::TOO_MANY_REQUESTS, text).into_response();
    };
    let upgrade = hyper::upgrade::on(request);
    let stop = shared.tails.stop.clone();
    shared.tails.tracker.clone().spawn(async move {
        let _slot = slot;
        // Where the client went away instead, there is nothing to be done.
        let Ok(upgraded) = upgrade.await else { return };
        let config = WebSocketConfig::default()
            .max_message_size(Some(READ_BYTES_MAX))
            .max_frame_size(Some(READ_BYTES_MAX))
            .read_buffer_size(READ_BYTES_MAX);
        let io = TokioAdapter::new(TokioIo::new(upgraded));
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        tokio::select! {
            () = stop.cancelled() => {}
            () = watch(shared, asked, encoding, socket) => {}
        }
    });
    let headers = [(header::CONNECTION, "Upgrade"), (header::UPGRADE, "websocket")];
    (StatusCode::SWITCHING_PROTOCOLS, headers, [(header::SEC_WEBSOCKET_ACCEPT, accept)], Body::empty()).into_response()
}

/// Sends what is kept of the time that is asked for, and then what is read, until the reader goes.
async fn watch<S>(shared: Shared, asked: TailRequest, encoding: Encoding, mut socket: WebSocketStream<S>)
where
    S: futures_util::AsyncRead + futures_util::AsyncWrite + Unpin,
{
    // Subscribed before what is kept is read, so that no line falls between the two.
    let mut lines = shared.tails.live.subscribe();
    let mut query = Live::new(asked.query.clone(), None);
    let range = TimeRange { from: asked.start, to: UnixMillis(i64::MAX) };
    let (entries, mut seen) = shared.queries.tail_of(asked.query, range, asked.limit).await;
    // Lines that come from now on are not among them.
    let mut doubtful = lines.len();
    let message = |held: &mut Held| {
        let Held { entries, left_out } = std::mem::take(held);
        tail_message(entries, left_out, shared.queries.wall(), encoding)
    };
    let mut held = Held { entries, left_out: 0 };
    let mut due = true;
    let mut ping = tokio::time::interval(PING_EVERY);
    let mut flush = tokio::time::interval(asked.delay.max(FLUSH_MIN));
    loop {
        if due && !held.is_empty() {
            // Those that waited stand by time, whichever input was read first.
            held.entries.sort_by_key(|entry| entry.entry.at);
            if send(&mut socket, message(&mut held)).await.is_err() {
                return;
            }
        }
        due = asked.delay.is_zero();
        tokio::select! {
            read = lines.recv() => {
                match read {
                    Ok(batch) => {
                        let found = query.apply(&batch).into_iter().map(|(_, entry)| entry);
                        held.extend(found.filter(|entry| !seen.take(entry)));
                    }
                    Err(broadcast::error::RecvError::Lagged(batches)) => held.left_out += batches,
                    Err(broadcast::error::RecvError::Closed) => return,
                }
                doubtful = doubtful.saturating_sub(1);
                if doubtful == 0 {
                    seen.clear();
                }
            }
            _ = flush.tick(), if !due => due = true,
            heard = socket.next() => match heard {
                // Pings are answered by the protocol.
                Some(Ok(message)) if !message.is_close() => {}
                _ => return,
            },
            _ = ping.tick() => if socket.send(Message::Ping(Bytes::new())).await.is_err() {
                return;
            },
        }
    }
}

/// Entries that wait to be sent.
#[derive(Default)]
struct Held {
    entries: Vec<TailEntry>,
    left_out: u64,
}

impl Held {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.left_out == 0
    }

    fn extend(&mut self, entries: impl Iterator<Item = TailEntry>) {
        for entry in entries {
            if self.entries.len() < HELD_MAX {
                self.entries.push(entry);
            } else {
                self.left_out += 1;
            }
        }
    }
}

async fn send<S>(socket: &mut WebSocketStream<S>, text: String) -> Result<(), async_tungstenite::tungstenite::Error>
where
    S: futures_util::AsyncRead + futures_util::AsyncWrite + Unpin,
{
    socket.send(Message::Text(Utf8Bytes::from(text))).await
}
