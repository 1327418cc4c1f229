//! Questions to nodes, and the way of the answers to whoever asked.
//!
//! Answers to a question that nobody waits for any more make the node stop: so nothing has to be done when whoever
//! asked goes away, or when the server was restarted since.

use crate::mqtt::{Downlink, SendError};
use bytes::Bytes;
use skerry_model::{NodeId, UnixMillis};
use skerry_wire::{Answer, AnswerPart, Ask, AskKind, DownLeaf, codec};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Questions that may be open at the same time, over all nodes.
const OPEN_MAX: usize = 2048;
/// Parts that wait for whoever asked. What comes on top is left out and counted in the next part: a live view that
/// lags is worth less than one with a gap, and the durable path carries everything.
const PARTS_MAX: usize = 64;

/// Why a question was not asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Too many are open.
    #[error("{OPEN_MAX} questions to nodes are open; try again when one has ended")]
    TooMany,
    /// It did not reach the node.
    #[error("ask node {node}")]
    Unsent {
        /// The node.
        node: NodeId,
        /// Why.
        source: SendError,
    },
}

/// The open questions; cheap to clone.
#[derive(Clone)]
pub struct Asks(Arc<Shared>);

struct Shared {
    downlink: Downlink,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Open>>,
}

struct Open {
    node: NodeId,
    parts: mpsc::Sender<Answered>,
    /// What results may still take.
    budget: Budget,
    /// Lines left out since the last part that was taken.
    left_out: u64,
}

/// Part of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// Who answers.
    pub node: NodeId,
    /// The part.
    pub part: AnswerPart,
}

/// Bytes that the results of one or many questions may take together, so that nodes cannot fill the server's memory
/// faster than it reads. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Budget(Arc<AtomicU64>);

impl Budget {
    /// So many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }

    fn take(&self, bytes: u64) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

/// An open question, whose answer goes to whoever holds the channel's other end. Dropping it ends it.
pub struct Ticket {
    asks: Asks,
    id: u64,
    node: NodeId,
}

/// An open question with a channel of its own.
pub struct AskHandle {
    ticket: Ticket,
    kind: AskKind,
    parts: mpsc::Receiver<Answered>,
}

impl Asks {
    /// No questions yet. `now` numbers them, so that none has the number of one from before a restart.
    #[must_use]
    pub fn new(downlink: Downlink, now: UnixMillis) -> Self {
        let first = u64::try_from(now.0).unwrap_or(0) << 16;
        Self(Arc::new(Shared { downlink, next: AtomicU64::new(first), open: Mutex::default() }))
    }

    /// Asks a node.
    ///
    /// # Errors
    /// [`AskError`] if too many questions are open or the node is not connected.
    pub async fn ask(&self, node: &NodeId, kind: AskKind) -> Result<AskHandle, AskError> {
        let (sender, parts) = mpsc::channel(PARTS_MAX);
        let ticket = self.ask_for(node, kind.clone(), sender, Budget::new(0)).await?;
        Ok(AskHandle { ticket, kind, parts })
    }

    /// Asks a node; the parts of its answer go to `parts`, which many questions may share, within a budget that they
    /// may share too. A result that goes over it ends with [`AnswerPart::Failed`].
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn ask_for(
        &self,
        node: &NodeId,
        kind: AskKind,
        parts: mpsc::Sender<Answered>,
        budget: Budget,
    ) -> Result<Ticket, AskError> {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        {
            let mut open = self.lock();
            if open.len() >= OPEN_MAX {
                return Err(AskError::TooMany);
            }
            open.insert(id, Open { node: node.clone(), parts, budget, left_out: 0 });
        }
        let ticket = Ticket { asks: self.clone(), id, node: node.clone() };
        ticket.send(kind).await.map(|()| ticket)
    }

    /// Hands an answer on. Tells the node to stop where nobody waits for it.
    pub(crate) async fn deliver(&self, node: &NodeId, answer: Answer) {
        if self.hand_on(node, answer.id, answer.part) {
            return;
        }
        // Where even this does not reach the node, its next answer is a new occasion.
        let _ = self.send(node, answer.id, AskKind::Stop).await;
    }

    /// Whether the question goes on, or ended by itself.
    fn hand_on(&self, node: &NodeId, id: u64, part: AnswerPart) -> bool {
        let mut open = self.lock();
        let Some(asked) = open.get_mut(&id).filter(|asked| asked.node == *node) else {
            return part.ends();
        };
        let mut ends = part.ends();
        let part = match part {
            AnswerPart::Result { piece, .. } if !asked.budget.take(piece.bytes()) => {
                ends = true;
                let reason = "the results of all nodes are too long together; aggregate, or ask fewer nodes".into();
                AnswerPart::Failed { kind: "execution".into(), reason }
            }
            AnswerPart::Lines { lines, skipped } => {
                AnswerPart::Lines { lines, skipped: skipped.saturating_add(std::mem::take(&mut asked.left_out)) }
            }
            part => part,
        };
        let sent = asked.parts.try_send(Answered { node: node.clone(), part });
        let goes_on = match sent {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(Answered { part: AnswerPart::Lines { lines, skipped }, .. })) => {
                asked.left_out = skipped.saturating_add(lines.len() as u64);
                true
            }
            // A live view's end is seen by its channel's. A result with a part missing is none.
            Err(mpsc::error::TrySendError::Full(Answered { part, .. })) => part == AnswerPart::End,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        };
        if ends || !goes_on {
            // Its receiver drains what is queued and then sees the end.
            open.remove(&id);
        }
        goes_on
    }

    async fn send(&self, node: &NodeId, id: u64, kind: AskKind) -> Result<(), SendError> {
        let ask = codec::encode(&Ask { id, kind });
        self.0.downlink.send(node, DownLeaf::Ask, Bytes::from(ask)).await
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Open>> {
        // Sound even if a holder panicked: each change is one insert or remove.
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Asks again under the same number, which prolongs a question that has a time limit.
    ///
    /// # Errors
    /// [`AskError::Unsent`]; the question stays open.
    pub async fn prolong(&self, kind: AskKind) -> Result<(), AskError> {
        self.send(kind).await
    }

    async fn send(&self, kind: AskKind) -> Result<(), AskError> {
        let sent = self.asks.send(&self.node, self.id, kind).await;
        sent.map_err(|source| AskError::Unsent { node: self.node.clone(), source })
    }
}

impl AskHandle {
    /// Next part of the answer; `None` once it has ended.
    pub async fn next(&mut self) -> Option<AnswerPart> {
        self.parts.recv().await.map(|answered| answered.part)
    }

    /// Asks again under the same number, which prolongs a question that has a time limit.
    ///
    /// # Errors
    /// [`AskError::Unsent`]; the question stays open.
    pub async fn prolong(&self) -> Result<(), AskError> {
        self.ticket.prolong(self.kind.clone()).await
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.asks.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::fixture::node;
    use crate::mqtt::Outbound;
    use skerry_wire::LiveLine;

    fn lines(id: u64, count: usize) -> Answer {
        let line = LiveLine {
            at: UnixMillis(1),
            labels: skerry_model::Labels::default(),
            output: skerry_model::OutputStream::None,
            level: skerry_model::Level::Info,
            fields: skerry_model::Labels::default(),
            line: "x".into(),
        };
        Answer { id, part: AnswerPart::Lines { lines: vec![line; count], skipped: 0 } }
    }

    fn asked(outbound: Outbound) -> Ask {
        assert_eq!(outbound.leaf, DownLeaf::Ask);
        codec::decode(&outbound.payload, 4096).unwrap()
    }

    #[tokio::test]
    async fn answers_reach_whoever_asked_and_nobody_else() {
        let (sender, mut sent) = mpsc::channel(8);
        let asks = Asks::new(Downlink::to_channel(sender), UnixMillis(5));
        let kind = AskKind::follow(60);
        let mut handle = asks.ask(&node("a"), kind.clone()).await.unwrap();
        let ask = asked(sent.recv().await.unwrap());
        assert_eq!(ask.kind, kind);
        asks.deliver(&node("a"), lines(ask.id, 2)).await;
        assert_eq!(handle.next().await, Some(lines(ask.id, 2).part));
        // Another node under the same number is told to stop.
        asks.deliver(&node("b"), lines(ask.id, 1)).await;
        assert_eq!(asked(sent.recv().await.unwrap()), Ask { id: ask.id, kind: AskKind::Stop });
        handle.prolong().await.unwrap();
        assert_eq!(asked(sent.recv().await.unwrap()).id, ask.id);
        asks.deliver(&node("a"), Answer { id: ask.id, part: AnswerPart::End }).await;
        assert_eq!((handle.next().await, handle.next().await), (Some(AnswerPart::End), None));
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_what_was_left_out() {
        let (sender, mut sent) = mpsc::channel(8);
        let asks = Asks::new(Downlink::to_channel(sender), UnixMillis(5));
        let mut handle = asks.ask(&node("a"), AskKind::follow(60)).await.unwrap();
        let id = asked(sent.recv().await.unwrap()).id;
        for _ in 0..PARTS_MAX + 3 {
            asks.deliver(&node("a"), lines(id, 2)).await;
        }
        for _ in 0..PARTS_MAX {
            assert!(matches!(handle.next().await, Some(AnswerPart::Lines { skipped: 0, .. })));
        }
        asks.deliver(&node("a"), lines(id, 1)).await;
        assert!(matches!(handle.next().await, Some(AnswerPart::Lines { skipped: 6, .. })));
    }

    #[tokio::test]
    async fn results_of_many_questions_share_a_channel_and_a_budget() {
        let (sender, mut sent) = mpsc::channel(8);
        let asks = Asks::new(Downlink::to_channel(sender), UnixMillis(5));
        let texts = skerry_wire::Piece::Texts(vec!["x".repeat(500)]);
        let piece = skerry_wire::Packed::pack(&texts).unwrap();
        let (parts, mut answers) = mpsc::channel(8);
        let budget = Budget::new(piece.bytes() + 100);
        let mut tickets = Vec::new();
        for name in ["a", "b"] {
            let kind = AskKind::follow(1);
            tickets.push(asks.ask_for(&node(name), kind, parts.clone(), budget.clone()).await.unwrap());
        }
        let ids = [asked(sent.recv().await.unwrap()).id, asked(sent.recv().await.unwrap()).id];
        let part = || AnswerPart::Result { number: 0, piece: piece.clone() };
        asks.deliver(&node("a"), Answer { id: ids[0], part: part() }).await;
        asks.deliver(&node("b"), Answer { id: ids[1], part: part() }).await;
        assert_eq!(answers.recv().await, Some(Answered { node: node("a"), part: part() }));
        let failed = answers.recv().await.unwrap();
        assert!(failed.node == node("b") && matches!(failed.part, AnswerPart::Failed { .. }), "{failed:?}");
        // The rest of it is not wanted any more.
        asks.deliver(&node("b"), Answer { id: ids[1], part: part() }).await;
        assert_eq!(asked(sent.recv().await.unwrap()), Ask { id: ids[1], kind: AskKind::Stop });
        assert_eq!(asks.lock().len(), 1);
        drop(tickets);
        assert!(asks.lock().is_empty());
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_stopped_and_the_open_ones_are_bounded() {
        let (sender, mut sent) = mpsc::channel(2 * OPEN_MAX);
        let asks = Asks::new(Downlink::to_channel(sender), UnixMillis(5));
        let kind = AskKind::follow(60);
        let mut handles = Vec::new();
        for _ in 0..OPEN_MAX {
            handles.push(asks.ask(&node("a"), kind.clone()).await.unwrap());
            sent.recv().await.unwrap();
        }
        assert!(matches!(asks.ask(&node("a"), kind.clone()).await, Err(AskError::TooMany)));
        let id = handles[0].ticket.id;
        handles.remove(0);
        asks.deliver(&node("a"), lines(id, 1)).await;
        assert_eq!(asked(sent.recv().await.unwrap()), Ask { id, kind: AskKind::Stop });
        drop(sent);
        let unsent = asks.ask(&node("a"), kind).await;
        assert!(matches!(unsent, Err(AskError::Unsent { source: SendError::NotConnected, .. })));
        assert_eq!(asks.lock().len(), OPEN_MAX - 1);
    }
}
