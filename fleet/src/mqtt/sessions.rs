//! Who is connected: one session per node, the newest.
//!
//! Invariants:
//! - A later session takes the node's place at once and cancels the earlier one.
//! - An earlier session's end never removes its successor: it leaves only a place that still bears its own number.

use super::message::{SendError, SessionId};
use bytes::Bytes;
use skerry_model::NodeId;
use skerry_wire::DownLeaf;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Messages that may wait for one node. What comes on top is refused: acknowledgements and configs are made anew.
const QUEUE_MAX: usize = 64;

/// The live sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    last: u64,
    by_node: HashMap<NodeId, Place>,
}

#[derive(Debug)]
struct Place {
    session: SessionId,
    replaced: CancellationToken,
    queue: mpsc::Sender<(DownLeaf, Bytes)>,
}

/// A session's place among the others; left when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) session: SessionId,
    /// Cancelled when a later session of the node takes over.
    pub(super) replaced: CancellationToken,
    /// Messages for the node.
    pub(super) queue: mpsc::Receiver<(DownLeaf, Bytes)>,
    node: NodeId,
    sessions: Arc<Sessions>,
}

impl Sessions {
    /// Takes the node's place, and sends away who had it.
    pub(super) fn enter(self: &Arc<Self>, node: &NodeId) -> Seat {
        let (queue, receiver) = mpsc::channel(QUEUE_MAX);
        let replaced = CancellationToken::new();
        let mut places = self.lock();
        places.last += 1;
        let session = SessionId(places.last);
        let place = Place { session, replaced: replaced.clone(), queue };
        if let Some(earlier) = places.by_node.insert(node.clone(), place) {
            earlier.replaced.cancel();
        }
        Seat { session, replaced, queue: receiver, node: node.clone(), sessions: self.clone() }
    }

    pub(super) fn send(&self, node: &NodeId, leaf: DownLeaf, payload: Bytes) -> Result<(), SendError> {
        let places = self.lock();
        let place = places.by_node.get(node).ok_or(SendError::NotConnected)?;
        place.queue.try_send((leaf, payload)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SendError::Full,
            mpsc::error::TrySendError::Closed(_) => SendError::NotConnected,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        // Sound even if a holder panicked: each change is one insert or remove.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut places = self.sessions.lock();
        if places.by_node.get(&self.node).is_some_and(|place| place.session == self.session) {
            places.by_node.remove(&self.node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_sessions_end_leaves_its_successor_in_place() {
        let sessions = Arc::new(Sessions::default());
        let node: NodeId = "pi-4".parse().unwrap();
        let first = sessions.enter(&node);
        assert!(!first.replaced.is_cancelled());
        let mut second = sessions.enter(&node);
        assert!(first.replaced.is_cancelled() && !second.replaced.is_cancelled());
        assert!(second.session > first.session);
        drop(first);
        sessions.send(&node, DownLeaf::Ack, Bytes::from_static(b"x")).unwrap();
        assert_eq!(second.queue.try_recv().unwrap(), (DownLeaf::Ack, Bytes::from_static(b"x")));
        drop(second);
        assert_eq!(sessions.send(&node, DownLeaf::Ack, Bytes::new()), Err(SendError::NotConnected));
    }

    #[test]
    fn a_nodes_queue_is_bounded() {
        let sessions = Arc::new(Sessions::default());
        let node: NodeId = "pi-4".parse().unwrap();
        let _seat = sessions.enter(&node);
        for _ in 0..QUEUE_MAX {
            sessions.send(&node, DownLeaf::Ack, Bytes::new()).unwrap();
        }
        assert_eq!(sessions.send(&node, DownLeaf::Ack, Bytes::new()), Err(SendError::Full));
    }
}
