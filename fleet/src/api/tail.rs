//! `tail`: entries as they are written, over WebSocket as Loki has it, or one message to a line where the client asks for
//! no WebSocket.
//!
//! Nodes that are connected filter their lines by the query themselves and send what is left, straight from memory; what
//! is stored by then comes first. A node that connects later is asked then. What a node has read but not shipped when
//! the view begins is in neither; `query_range` with `node` finds it.
//!
//! Invariants:
//! - An entry that was sent from the store is not sent again when it comes live.
//! - A reader that is slower than the lines is told how many were left out.

use super::loki::{encoding, search, written};
use super::{ApiError, Fleet};
use crate::control::NodeState;
use crate::ingest::{Answered, Budget, Ticket};
use crate::node_labels::NodeLabels;
use crate::store::LogSource;
use axum::body::{Body, Bytes};
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use skerry_logql::{Direction, LogRequest, run_log};
use skerry_lokiapi::{Encoding, Live, Member, Seen, TailEntry, TailRequest, tail_message, tail_request};
use skerry_model::{NodeId, TimeRange};
use skerry_promapi::Params;
use skerry_wire::{ASKS_LOGS_VERSION, AnswerPart, AskKind};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, Interval, interval};
use tokio_util::sync::CancellationToken;

/// Live views at a time.
const TAILS_MAX: usize = 32;
/// Nodes that one view follows.
const NODES_MAX: usize = 256;
/// How long a node follows its logs without being asked again, and how often it is asked.
const FOLLOW_SECS: u32 = 60;
const PROLONG_EVERY: Duration = Duration::from_secs(20);
/// How often is looked for nodes that came or went.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Parts of answers that wait; what comes on top is left out and counted.
const PARTS_MAX: usize = 256;
/// Entries that wait where the reader asked for a delay; further ones are left out and counted.
const HELD_MAX: usize = 10_000;
/// For how long entries of the store are remembered: longer than a line takes from its file to here.
const SEEN_FOR: Duration = Duration::from_secs(120);
/// An interval cannot be empty.
const FLUSH_MIN: Duration = Duration::from_millis(1);
/// Largest message that a reader may send: it has nothing to say.
const READ_BYTES_MAX: usize = 4096;

/// The open views; cheap to clone.
#[derive(Clone)]
pub struct Tails {
    slots: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Tails {
    /// None yet; all end with `stop`.
    #[must_use]
    pub fn new(stop: CancellationToken) -> Self {
        Self { slots: Arc::new(Semaphore::new(TAILS_MAX)), stop }
    }
}

pub(super) async fn tail(
    State(fleet): State<Fleet>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    socket: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let params = Params::decode(query.unwrap_or_default().as_bytes(), &[]);
    let asked = match tail_request(&params, (fleet.wall)()) {
        Ok(asked) => asked,
        Err(refused) => return Ok(written(refused.into())),
    };
    let Ok(slot) = fleet.tails.slots.clone().try_acquire_owned() else {
        let message = format!("{TAILS_MAX} live views are open; try again when one has ended");
        return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, "tails_too_many", message));
    };
    let view = View::open(fleet, asked, encoding(&headers), slot).await?;
    match socket {
        Ok(socket) => {
            let socket = socket.max_message_size(READ_BYTES_MAX).max_frame_size(READ_BYTES_MAX);
            Ok(socket.on_upgrade(move |socket| view.serve(socket)))
        }
        // No WebSocket is asked for.
        Err(_) => {
            let lines = futures_util::stream::unfold(view, |mut view| async move {
                let line = view.next().await? + "\n";
                Some((Ok::<_, Infallible>(Bytes::from(line)), view))
            });
            Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
        }
    }
}

/// A node that is followed.
struct Followed {
    ticket: Ticket,
    live: Live,
    /// Which connection of the node was asked: a later one knows nothing of it.
    session: (Option<u64>, u64),
}

/// One live view.
struct View {
    fleet: Fleet,
    asked: TailRequest,
    encoding: Encoding,
    followed: HashMap<NodeId, Followed>,
    parts: mpsc::Sender<Answered>,
    answers: mpsc::Receiver<Answered>,
    seen: Seen,
    seen_until: Instant,
    held: Vec<TailEntry>,
    left_out: u64,
    is_due: bool,
    look: Interval,
    prolong: Interval,
    flush: Interval,
    _slot: OwnedSemaphorePermit,
}

impl View {
    /// Asks the nodes, and then reads what is stored, so that nothing falls between the two.
    async fn open(
        fleet: Fleet,
        asked: TailRequest,
        encoding: Encoding,
        slot: OwnedSemaphorePermit,
    ) -> Result<Self, ApiError> {
        let (parts, answers) = mpsc::channel(PARTS_MAX);
        let mut prolong = interval(PROLONG_EVERY);
        prolong.reset();
        let flush = interval(asked.delay.max(FLUSH_MIN));
        let mut view = Self {
            fleet,
            asked,
            encoding,
            followed: HashMap::new(),
            parts,
            answers,
            seen: Seen::default(),
            seen_until: Instant::now() + SEEN_FOR,
            held: Vec::new(),
            left_out: 0,
            is_due: true,
            look: interval(LOOK_EVERY),
            prolong,
            flush,
            _slot: slot,
        };
        view.look().await?;
        view.read_stored().await?;
        Ok(view)
    }

    async fn read_stored(&mut self) -> Result<(), ApiError> {
        let request = LogRequest {
            range: TimeRange { from: self.asked.start, to: (self.fleet.wall)() },
            limit: self.asked.limit,
            direction: Direction::Backward,
        };
        let query = self.asked.query.clone();
        let found = search(&self.fleet, move |source: &LogSource<'_>, budget| run_log(&query, source, request, budget));
        let found = match found.await? {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "a live view begins without what is stored");
                return Ok(());
            }
        };
        for stream in found.streams {
            let entry = |entry| TailEntry { labels: stream.labels.clone(), entry };
            self.held.extend(stream.entries.into_iter().rev().map(entry));
        }
        for entry in &self.held {
            self.seen.add(entry);
        }
        Ok(())
    }

    fn kind(&self, signed: skerry_model::Labels) -> AskKind {
        AskKind::FollowLogs { for_secs: FOLLOW_SECS, query: Some(self.asked.text.clone()), signed }
    }

    /// Asks nodes that have come, and forgets those that have gone.
    async fn look(&mut self) -> Result<(), ApiError> {
        let live = self.fleet.liveness.nodes();
        let session = |node: &NodeId| {
            let live = live.get(node).filter(|live| live.connected)?;
            let hello = live.hello.as_ref().filter(|hello| hello.asks >= ASKS_LOGS_VERSION)?;
            Some((live.session.map(|session| session.0), hello.session))
        };
        self.followed.retain(|node, followed| session(node) == Some(followed.session));
        let is_new = live.keys().any(|node| session(node).is_some() && !self.followed.contains_key(node));
        if !is_new || self.followed.len() >= NODES_MAX {
            return Ok(());
        }
        let (rows, labels) = (self.fleet.control.nodes().await?, NodeLabels::read(&self.fleet.delivery).await?);
        for row in rows.into_iter().filter(|row| row.state == NodeState::Approved) {
            let Some(session) = session(&row.node) else { continue };
            if self.followed.contains_key(&row.node) || self.followed.len() >= NODES_MAX {
                continue;
            }
            let signed = labels.of(&row.node);
            let member = Member::new(&row.node, &signed);
            if !member.may_meet(self.asked.query.matchers()) {
                continue;
            }
            let kind = self.kind(signed);
            // One that cannot be asked now is asked when it is looked for again.
            if let Ok(ticket) = self.fleet.asks.ask_for(&row.node, kind, self.parts.clone(), Budget::new(0)).await {
                let live = Live::new(self.asked.query.clone(), Some(member));
                self.followed.insert(row.node, Followed { ticket, live, session });
            }
        }
        Ok(())
    }

    async fn prolong(&mut self) -> Result<(), ApiError> {
        let labels = NodeLabels::read(&self.fleet.delivery).await?;
        for (node, followed) in &self.followed {
            // Where it does not reach the node, its connection has ended, which is seen by the next look.
            let _ = followed.ticket.prolong(self.kind(labels.of(node))).await;
        }
        Ok(())
    }

    fn take(&mut self, Answered { node, part }: Answered) {
        match part {
            AnswerPart::Lines { lines, skipped } => {
                self.left_out += skipped;
                let Some(followed) = self.followed.get_mut(&node) else { return };
                // The query is evaluated here too, by the centre's own labels: what a node says of itself changes no
                // other node's streams.
                for (_, entry) in followed.live.apply(&lines) {
                    if self.seen.take(&entry) {
                        continue;
                    }
                    if self.held.len() < HELD_MAX {
                        self.held.push(entry);
                    } else {
                        self.left_out += 1;
                    }
                }
            }
            // It follows too many views already, or does not know the query: asked again when it is looked for.
            _ => drop(self.followed.remove(&node)),
        }
    }

    /// The next message; `None` at the end. An empty one says nothing but that the view goes on.
    async fn next(&mut self) -> Option<String> {
        let stop = self.fleet.tails.stop.clone();
        loop {
            if self.is_due && (!self.held.is_empty() || self.left_out > 0) {
                // What nodes sent apart stands by time, as far as it came together.
                self.held.sort_by_key(|entry| entry.entry.at);
                self.is_due = self.asked.delay.is_zero();
                let (held, left_out) = (std::mem::take(&mut self.held), std::mem::take(&mut self.left_out));
                return Some(tail_message(held, left_out, (self.fleet.wall)(), self.encoding));
            }
            self.is_due = self.asked.delay.is_zero();
            let failed = tokio::select! {
                () = stop.cancelled() => return None,
                // Held by this view itself too, so it does not end.
                Some(answered) = self.answers.recv() => {
                    self.take(answered);
                    Ok(())
                }
                _ = self.flush.tick(), if !self.is_due => {
                    self.is_due = true;
                    Ok(())
                }
                _ = self.look.tick() => {
                    if Instant::now() > self.seen_until {
                        self.seen.clear();
                    }
                    self.look().await
                }
                _ = self.prolong.tick() => match self.prolong().await {
                    Ok(()) => return Some(String::new()),
                    failed => failed,
                },
            };
            // Said in the log already; the next look may go well.
            let _ = failed;
        }
    }

    async fn serve(mut self, mut socket: WebSocket) {
        loop {
            let sent = tokio::select! {
                message = self.next() => match message {
                    None => return,
                    Some(text) if text.is_empty() => socket.send(Message::Ping(Bytes::new())).await,
                    Some(text) => socket.send(Message::Text(text.into())).await,
                },
                heard = socket.recv() => match heard {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => Ok(()),
                },
            };
            if sent.is_err() {
                return;
            }
        }
    }
}
