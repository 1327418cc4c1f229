//! Who is connected, as far as it shows behind a broker: concluded from what nodes say.
//!
//! A node counts as connected from its first message on and as gone from its last will on. Where the broker lost its
//! memory, wills may be lost with it: then everybody counts as gone until heard again.

use crate::mqtt::message::{EndReason, Inbound, SessionId};
use bytes::Bytes;
use skerry_model::NodeId;
use skerry_wire::{Hello, MESSAGE_BYTES_MAX, Status, UpLeaf, codec};
use std::collections::HashMap;

/// Nodes that are kept track of. Messages of more get through all the same, without `Connected`.
const NODES_MAX: usize = 100_000;

/// The nodes that count as connected.
#[derive(Debug, Default)]
pub(super) struct Presence {
    last: u64,
    nodes: HashMap<NodeId, Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    session: SessionId,
    /// The agent's own number, from its hello.
    process: Option<u64>,
}

/// What a message says about its node's presence.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// To be told before the message.
    pub(super) before: Option<Inbound>,
    /// To be told after it.
    pub(super) after: Option<Inbound>,
}

impl Presence {
    pub(super) fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Notes a message. What cannot be decoded still shows that the node is there.
    pub(super) fn on_message(&mut self, node: &NodeId, leaf: UpLeaf, payload: &Bytes) -> Change {
        if leaf == UpLeaf::Status
            && let Ok(Status::Gone { session, clean }) = codec::decode(payload, MESSAGE_BYTES_MAX)
        {
            return Change { before: None, after: self.gone(node, session, clean) };
        }
        let hello = leaf == UpLeaf::Hello;
        if !hello && self.nodes.contains_key(node) {
            return Change::default();
        }
        let process = match hello {
            true => codec::decode::<Hello>(payload, MESSAGE_BYTES_MAX).ok().map(|hello| hello.session),
            false => None,
        };
        Change { before: self.connected(node, process), after: None }
    }

    fn connected(&mut self, node: &NodeId, process: Option<u64>) -> Option<Inbound> {
        if self.nodes.len() >= NODES_MAX && !self.nodes.contains_key(node) {
            return None;
        }
        self.last += 1;
        let session = SessionId(self.last);
        self.nodes.insert(node.clone(), Seen { session, process });
        Some(Inbound::Connected { node: node.clone(), session, peer: None, cert_pin: None })
    }

    /// The will of a process that has been succeeded by another says nothing about the successor.
    fn gone(&mut self, node: &NodeId, process: u64, clean: bool) -> Option<Inbound> {
        let seen = self.nodes.get(node)?;
        if seen.process.is_some_and(|known| known != process) {
            return None;
        }
        let session = self.nodes.remove(node)?.session;
        let reason = if clean { EndReason::Goodbye } else { EndReason::Will };
        Some(Inbound::Disconnected { node: node.clone(), session, reason })
    }

    /// Everybody counts as gone.
    pub(super) fn forget(&mut self) -> Vec<Inbound> {
        let gone = |(node, seen): (NodeId, Seen)| Inbound::Disconnected {
            node,
            session: seen.session,
            reason: EndReason::Lost,
        };
        self.nodes.drain().map(gone).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_model::UnixMillis;
    use skerry_wire::HostFacts;

    fn hello(session: u64) -> Bytes {
        let hello = Hello {
            protocol: skerry_wire::PROTOCOL_VERSION,
            agent_version: "1".into(),
            boot_id: "b".into(),
            session,
            host: HostFacts::default(),
            streams: vec![],
            configs: vec![],
            assignment: None,
            root_version: 0,
            at: UnixMillis(0),
            time_trusted: true,
            asks: 0,
        };
        codec::encode(&hello).into()
    }

    fn gone(session: u64, clean: bool) -> Bytes {
        codec::encode(&Status::Gone { session, clean }).into()
    }

    fn session_of(event: &Option<Inbound>) -> Option<SessionId> {
        match event {
            Some(Inbound::Connected { session, .. } | Inbound::Disconnected { session, .. }) => Some(*session),
            _ => None,
        }
    }

    #[test]
    fn a_node_is_there_from_its_first_word_to_its_will() {
        let mut presence = Presence::default();
        let node: NodeId = "a".parse().unwrap();
        let early = presence.on_message(&node, UpLeaf::Metrics, &Bytes::new());
        assert!(matches!(early.before, Some(Inbound::Connected { .. })), "also without a hello");
        assert!(presence.on_message(&node, UpLeaf::Logs, &Bytes::new()).before.is_none());

        let hello = presence.on_message(&node, UpLeaf::Hello, &hello(5));
        assert!(session_of(&hello.before) > session_of(&early.before), "a hello is a new session");

        let stale = presence.on_message(&node, UpLeaf::Status, &gone(4, false));
        assert!(stale.before.is_none() && stale.after.is_none(), "the will of an earlier process");

        let end = presence.on_message(&node, UpLeaf::Status, &gone(5, false));
        assert_eq!(session_of(&end.after), session_of(&hello.before));
        assert!(matches!(end.after, Some(Inbound::Disconnected { reason: EndReason::Will, .. })));
        assert_eq!(presence.count(), 0);
        assert!(presence.on_message(&node, UpLeaf::Status, &gone(5, true)).after.is_none(), "gone is gone");
    }

    #[test]
    fn where_wills_may_be_lost_everybody_is() {
        let mut presence = Presence::default();
        for name in ["a", "b"] {
            presence.on_message(&name.parse().unwrap(), UpLeaf::Hello, &hello(1));
        }
        assert_eq!(presence.forget().len(), 2);
        assert_eq!(presence.count(), 0);
    }
}
