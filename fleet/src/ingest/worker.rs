//! Deals with one node's messages, in their order.
//!
//! Batches are handed to the store without waiting for the one before, so that one commit takes what has gathered;
//! their outcomes come back in order, and all that are there at once are acknowledged in one message.

use super::task::{Desired, Ingest};
use crate::intake::core::{EPOCHS_OPEN_MAX, Outcome, Verdict};
use crate::mqtt::Done;
use crate::store::StoreError;
use bytes::Bytes;
use skerry_model::{NodeId, StreamKind, UnixMillis};
use skerry_wire::{
    Ack, Acks, Answer, Batch, DownLeaf, Hello, MESSAGE_BYTES_MAX, PROTOCOL_VERSION, Status, StatusReport, UpLeaf, codec,
};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Batches of one node that may be with the store at the same time.
const PENDING_MAX: usize = 32;
/// Acknowledgements in one message: with all their ranges they stay below the size limit.
const ACKS_PER_MESSAGE: usize = 128;
/// A worker that has had nothing to do for so long ends.
const IDLE_MAX: Duration = Duration::from_secs(600);
/// Most stream tips, and most configs, in a hello or report.
const TIPS_MAX: usize = 3 * EPOCHS_OPEN_MAX;
const CONFIGS_MAX: usize = 256;
/// Texts that a node tells of itself are cut to these bounds.
const FACT_BYTES_MAX: usize = 128;
const PROBLEM_BYTES_MAX: usize = 256;
const PROBLEMS_MAX: usize = 16;

/// A message of the node.
pub(super) struct Message {
    pub(super) leaf: UpLeaf,
    pub(super) payload: Bytes,
    pub(super) done: Done,
    /// When it arrived, by the fleet's clock.
    pub(super) at: UnixMillis,
}

/// A batch that is with the store.
struct Pending {
    stream: StreamKind,
    outcome: oneshot::Receiver<Result<Outcome, StoreError>>,
    done: Done,
    since: Instant,
}

/// What the worker waits for came to pass.
enum Step {
    Outcome(Result<Outcome, StoreError>),
    Message(Message),
    End,
}

/// One node's intake.
pub(super) struct Worker<D> {
    node: NodeId,
    shared: Arc<Ingest<D>>,
    messages: mpsc::Receiver<Message>,
    pending: VecDeque<Pending>,
    /// The node speaks another protocol: nothing of it is taken until it says hello in this one.
    is_foreign: bool,
    /// Messages that were not taken, so that a flood of them is logged at ever longer intervals.
    faults: u64,
}

impl<D: Desired> Worker<D> {
    pub(super) fn new(node: NodeId, shared: Arc<Ingest<D>>, messages: mpsc::Receiver<Message>) -> Self {
        Self { node, shared, messages, pending: VecDeque::new(), is_foreign: false, faults: 0 }
    }

    /// Works until the queue is closed or nothing came for ten minutes, and returns the node's name.
    pub(super) async fn run(mut self) -> NodeId {
        loop {
            match self.step().await {
                Step::Outcome(outcome) => self.settle(outcome).await,
                Step::Message(message) => self.take(message).await,
                Step::End if self.messages.is_closed() => return self.node,
                // What was queued in this very moment is still dealt with.
                Step::End => self.messages.close(),
            }
        }
    }

    async fn step(&mut self) -> Step {
        let is_idle = self.pending.is_empty();
        let has_room = self.pending.len() < PENDING_MAX;
        let oldest = self.pending.front_mut().map(|pending| &mut pending.outcome);
        tokio::select! {
            // Outcomes first: they free what the node waits for.
            biased;
            outcome = async { oldest?.await.ok() }, if !is_idle => {
                Step::Outcome(outcome.unwrap_or(Err(StoreError::Closed)))
            }
            message = self.messages.recv(), if has_room => match message {
                Some(message) => Step::Message(message),
                // Closed and drained. With batches still at the store the next step waits for them.
                None if is_idle => Step::End,
                None => match self.pending.front_mut() {
                    Some(pending) => Step::Outcome((&mut pending.outcome).await.unwrap_or(Err(StoreError::Closed))),
                    None => Step::End,
                },
            },
            () = tokio::time::sleep(IDLE_MAX), if is_idle => Step::End,
        }
    }

    async fn take(&mut self, message: Message) {
        let Message { leaf, payload, done, at } = message;
        if self.is_foreign && leaf != UpLeaf::Hello {
            self.shared.counters.refuse("protocol");
            return done.complete();
        }
        match leaf {
            UpLeaf::Hello => self.take_hello(&payload, done, at).await,
            UpLeaf::Status => {
                self.take_status(&payload, at).await;
                done.complete();
            }
            UpLeaf::Answer => {
                if let Some(answer) = self.decode::<Answer>(leaf, &payload) {
                    self.shared.asks.deliver(&self.node, answer).await;
                }
                done.complete();
            }
            UpLeaf::Metrics => self.take_batch(StreamKind::Metrics, &payload, done, at).await,
            UpLeaf::Logs => self.take_batch(StreamKind::Logs, &payload, done, at).await,
            UpLeaf::Events => self.take_batch(StreamKind::Events, &payload, done, at).await,
        }
    }

    async fn take_hello(&mut self, payload: &[u8], done: Done, at: UnixMillis) {
        let Some(mut hello) = self.decode::<Hello>(UpLeaf::Hello, payload) else { return done.complete() };
        if hello.streams.len() > TIPS_MAX || hello.configs.len() > CONFIGS_MAX {
            let reason = format!("{} stream tips, {} configs", hello.streams.len(), hello.configs.len());
            self.fault(UpLeaf::Hello, "too_many_entries", &reason);
            return done.complete();
        }
        bound_hello(&mut hello);
        self.is_foreign = hello.protocol != PROTOCOL_VERSION;
        if self.is_foreign {
            let reason = format!(
                "node speaks protocol {}, this fleet speaks {PROTOCOL_VERSION}; nothing of it is taken; update the older of the two",
                hello.protocol
            );
            self.fault(UpLeaf::Hello, "protocol", &reason);
            self.shared.liveness.on_hello(&self.node, hello, Some(reason), at);
            return done.complete();
        }
        self.shared.liveness.on_hello(&self.node, hello.clone(), None, at);
        match self.shared.store.greet(&self.node, &hello, at).await {
            Ok(acks) => self.send_acks(acks).await,
            // Without a word on what is held the node would send all of it again: it is to come back instead.
            Err(_) => return self.shared.counters.store_failed(),
        }
        for (leaf, payload) in self.shared.desired.for_node(&self.node, &hello).await {
            if let Err(error) = self.shared.downlink.send(&self.node, leaf, payload).await {
                tracing::warn!(node = %self.node, leaf = leaf.as_str(), %error, "node was not sent what it should have");
                break;
            }
        }
        done.complete();
    }

    async fn take_status(&mut self, payload: &[u8], at: UnixMillis) {
        match self.decode::<Status>(UpLeaf::Status, payload) {
            Some(Status::Alive(mut report)) => {
                if report.backlog.len() > StreamKind::ALL.len() || report.configs.len() > CONFIGS_MAX {
                    let reason = format!("{} backlogs, {} configs", report.backlog.len(), report.configs.len());
                    return self.fault(UpLeaf::Status, "too_many_entries", &reason);
                }
                bound_report(&mut report);
                self.shared.liveness.on_status(&self.node, report.clone(), at);
                self.shared.store.note_seen(&self.node, Some(report), at).await;
            }
            Some(Status::Gone { session, .. }) => {
                self.shared.liveness.on_goodbye(&self.node, session);
                self.shared.store.note_seen(&self.node, None, at).await;
            }
            None => {}
        }
    }

    async fn take_batch(&mut self, stream: StreamKind, payload: &[u8], done: Done, at: UnixMillis) {
        let Some(batch) = self.decode::<Batch>(UpLeaf::of_stream(stream), payload) else { return done.complete() };
        match self.shared.store.submit(&self.node, stream, batch, at).await {
            Ok(outcome) => self.pending.push_back(Pending { stream, outcome, done, since: Instant::now() }),
            // Dropped unfinished, it ends the connection: the server is shutting down.
            Err(_) => self.shared.counters.store_failed(),
        }
    }

    /// Deals with the oldest batch's outcome and with all others that are there already.
    async fn settle(&mut self, first: Result<Outcome, StoreError>) {
        let mut owed: Vec<Outcome> = Vec::new();
        let mut finished = Vec::new();
        let mut next = Some(first);
        while let Some(outcome) = next.take() {
            let Some(pending) = self.pending.pop_front() else { break };
            match outcome {
                Ok(outcome) => {
                    self.shared.counters.committed(pending.stream, &outcome.verdict, pending.since.elapsed());
                    self.report(pending.stream, &outcome);
                    merge(&mut owed, outcome);
                    finished.push(pending.done);
                }
                // Dropped unfinished, it ends the connection: the node comes back and sends it again. The store has
                // logged why.
                Err(_) => self.shared.counters.store_failed(),
            }
            next = self.pending.front_mut().and_then(|pending| match pending.outcome.try_recv() {
                Ok(outcome) => Some(outcome),
                Err(oneshot::error::TryRecvError::Empty) => None,
                Err(oneshot::error::TryRecvError::Closed) => Some(Err(StoreError::Closed)),
            });
        }
        self.send_acks(owed.into_iter().map(|outcome| outcome.ack).collect()).await;
        finished.into_iter().for_each(Done::complete);
    }

    fn report(&mut self, stream: StreamKind, outcome: &Outcome) {
        match &outcome.verdict {
            Verdict::Quarantined { code, reason } => {
                tracing::warn!(node = %self.node, %stream, code, reason, "a batch cannot be read and was kept aside");
            }
            Verdict::Refused(refusal) => {
                self.note_fault(UpLeaf::of_stream(stream), &refusal.to_string());
            }
            _ => {}
        }
    }

    async fn send_acks(&self, acks: Vec<Ack>) {
        for part in acks.chunks(ACKS_PER_MESSAGE) {
            let payload = Bytes::from(codec::encode(&Acks { acks: part.to_vec() }));
            // Lost ones are made up for: the node sends again and is told again, or says hello.
            let sent = self.shared.downlink.send(&self.node, DownLeaf::Ack, payload).await;
            self.shared.counters.acks(part.len(), sent.is_ok());
        }
    }

    fn decode<T: serde::de::DeserializeOwned>(&mut self, leaf: UpLeaf, payload: &[u8]) -> Option<T> {
        match codec::decode(payload, MESSAGE_BYTES_MAX) {
            Ok(message) => Some(message),
            Err(error) => {
                self.fault(leaf, error.code(), &error.to_string());
                None
            }
        }
    }

    fn fault(&mut self, leaf: UpLeaf, code: &'static str, reason: &str) {
        self.shared.counters.refuse(code);
        self.note_fault(leaf, reason);
    }

    fn note_fault(&mut self, leaf: UpLeaf, error: &str) {
        self.faults += 1;
        if self.faults.is_power_of_two() {
            let (node, leaf, faults) = (&self.node, leaf.as_str(), self.faults);
            tracing::warn!(%node, leaf, faults, error, "a message of a node was not taken");
        }
    }
}

/// Adds an outcome to those to be told in one message, one per epoch. The last word on numbers is the whole truth; but
/// a request for the dictionary stands, even if a later batch did without what is missing.
fn merge(owed: &mut Vec<Outcome>, mut next: Outcome) {
    let same = |told: &Outcome| (told.ack.stream, told.ack.epoch) == (next.ack.stream, next.ack.epoch);
    let Some(at) = owed.iter().position(same) else { return owed.push(next) };
    let told = owed.remove(at);
    if matches!(told.verdict, Verdict::NeedsDict { .. }) {
        next.ack.dict = next.ack.dict.min(told.ack.dict);
        next.verdict = told.verdict;
    }
    owed.push(next);
}

/// Cuts what a node tells of itself to the bounds that `skerry_wire` states.
fn bound_hello(hello: &mut Hello) {
    let host = &mut hello.host;
    let facts = [&mut host.hostname, &mut host.os, &mut host.kernel, &mut host.arch];
    for text in facts.into_iter().chain([&mut hello.agent_version, &mut hello.boot_id]) {
        cut(text, FACT_BYTES_MAX);
    }
}

fn bound_report(report: &mut StatusReport) {
    report.problems.truncate(PROBLEMS_MAX);
    for text in &mut report.problems {
        cut(text, PROBLEM_BYTES_MAX);
    }
}

fn cut(text: &mut String, bytes_max: usize) {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_model::{Epoch, SeriesId};

    #[test]
    fn outcomes_of_an_epoch_become_one_and_a_missing_dictionary_stays_missing() {
        let outcome = |stream, through, dict: Option<u32>, verdict| {
            let have = vec![(1, through)].into();
            let ack = Ack { stream, epoch: Epoch(1), have, dict: dict.map(SeriesId) };
            Outcome { ack, verdict }
        };
        let missing = Verdict::NeedsDict { series: SeriesId(5) };
        let mut owed = Vec::new();
        merge(&mut owed, outcome(StreamKind::Metrics, 1, Some(9), Verdict::Duplicate));
        merge(&mut owed, outcome(StreamKind::Logs, 7, None, Verdict::Duplicate));
        merge(&mut owed, outcome(StreamKind::Metrics, 1, Some(4), missing));
        merge(&mut owed, outcome(StreamKind::Metrics, 3, Some(9), Verdict::Duplicate));
        merge(&mut owed, outcome(StreamKind::Metrics, 4, Some(9), Verdict::Duplicate));
        let told: Vec<_> = owed.iter().map(|told| (told.ack.stream, told.ack.have.through(), told.ack.dict)).collect();
        assert_eq!(told, [(StreamKind::Logs, 7, None), (StreamKind::Metrics, 4, Some(SeriesId(4)))]);
    }

    #[test]
    fn texts_are_cut_at_a_character() {
        // Every third byte boundary lies within a letter of two bytes; so does the limit.
        let mut text = "aé".repeat(60);
        assert!(!text.is_char_boundary(FACT_BYTES_MAX));
        cut(&mut text, FACT_BYTES_MAX);
        assert_eq!(text.len(), FACT_BYTES_MAX - 1);
        let mut short = String::from("x");
        cut(&mut short, 9);
        assert_eq!(short, "x");
    }
}
