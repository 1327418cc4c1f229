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
const OPEN_MAX: usize = 256;
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
    parts: mpsc::Sender<AnswerPart>,
    /// Lines left out since the last part that was taken.
    left_out: u64,
}

/// An open question. Dropping it ends it.
pub struct AskHandle {
    asks: Asks,
    id: u64,
    node: NodeId,
    kind: AskKind,
    parts: mpsc::Receiver<AnswerPart>,
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
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let (sender, parts) = mpsc::channel(PARTS_MAX);
        {
            let mut open = self.lock();
            if open.len() >= OPEN_MAX {
                return Err(AskError::TooMany);
            }
            open.insert(id, Open { node: node.clone(), parts: sender, left_out: 0 });
        }
        let handle = AskHandle { asks: self.clone(), id, node: node.clone(), kind, parts };
        handle.prolong().await.map(|()| handle)
    }

    /// Hands an answer on. Tells the node to stop where nobody waits for it.
    pub(super) async fn deliver(&self, node: &NodeId, answer: Answer) {
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
            return part == AnswerPart::End;
        };
        let ends = part == AnswerPart::End;
        let part = match part {
            AnswerPart::Lines { lines, skipped } => {
                AnswerPart::Lines { lines, skipped: skipped.saturating_add(std::mem::take(&mut asked.left_out)) }
            }
            AnswerPart::End => AnswerPart::End,
        };
        let goes_on = match asked.parts.try_send(part) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(AnswerPart::Lines { lines, skipped })) => {
                asked.left_out = skipped.saturating_add(lines.len() as u64);
                true
            }
            Err(mpsc::error::TrySendError::Full(AnswerPart::End)) => true,
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

impl AskHandle {
    /// Next part of the answer; `None` once it has ended.
    pub async fn next(&mut self) -> Option<AnswerPart> {
        self.parts.recv().await
    }

    /// Asks again under the same number, which prolongs a question that has a time limit.
    ///
    /// # Errors
    /// [`AskError::Unsent`]; the question stays open.
    pub async fn prolong(&self) -> Result<(), AskError> {
        let sent = self.asks.send(&self.node, self.id, self.kind.clone()).await;
        sent.map_err(|source| AskError::Unsent { node: self.node.clone(), source })
    }
}

impl Drop for AskHandle {
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
        let line = LiveLine { at: UnixMillis(1), labels: skerry_model::Labels::default(), line: "x".into() };
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
        let kind = AskKind::FollowLogs { for_secs: 60 };
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
        let mut handle = asks.ask(&node("a"), AskKind::FollowLogs { for_secs: 60 }).await.unwrap();
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
    async fn what_nobody_waits_for_is_stopped_and_the_open_ones_are_bounded() {
        let (sender, mut sent) = mpsc::channel(2 * OPEN_MAX);
        let asks = Asks::new(Downlink::to_channel(sender), UnixMillis(5));
        let kind = AskKind::FollowLogs { for_secs: 60 };
        let mut handles = Vec::new();
        for _ in 0..OPEN_MAX {
            handles.push(asks.ask(&node("a"), kind.clone()).await.unwrap());
            sent.recv().await.unwrap();
        }
        assert!(matches!(asks.ask(&node("a"), kind.clone()).await, Err(AskError::TooMany)));
        let id = handles[0].id;
        handles.remove(0);
        asks.deliver(&node("a"), lines(id, 1)).await;
        assert_eq!(asked(sent.recv().await.unwrap()), Ask { id, kind: AskKind::Stop });
        drop(sent);
        let unsent = asks.ask(&node("a"), kind).await;
        assert!(matches!(unsent, Err(AskError::Unsent { source: SendError::NotConnected, .. })));
        assert_eq!(asks.lock().len(), OPEN_MAX - 1);
    }
}
