//! Which nodes are there, and what they last said of themselves.
//!
//! The transport is the authority on connections. A node's own goodbye, or its last will, counts only for the session
//! of its last hello and only until it is heard again: the will of an old connection may arrive after its successor.

use crate::mqtt::SessionId;
use crate::pki::SpkiPin;
use skerry_model::{NodeId, UnixMillis};
use skerry_wire::{Hello, StatusReport};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A connected node that is not heard for so long counts as silent: it reports every minute, so three are missing.
const CONTACT_MAX: Duration = Duration::from_secs(200);

/// What is known of a node.
#[derive(Debug, Clone, Default)]
pub struct NodeLive {
    /// Whether the transport holds a connection of it.
    pub connected: bool,
    /// Its newest connection, also after that has ended.
    pub session: Option<SessionId>,
    /// Where that came from.
    pub peer: Option<SocketAddr>,
    /// Key it was proved with.
    pub cert_pin: Option<SpkiPin>,
    /// When it was heard last, by the fleet's clock; `None` if never.
    pub last_seen: Option<UnixMillis>,
    /// Its last hello.
    pub hello: Option<Arc<Hello>>,
    /// Its last report.
    pub status: Option<Arc<StatusReport>>,
    /// By how much its clock was ahead of the fleet's when it told its time last, since this server runs.
    pub offset_ms: Option<i64>,
    /// What keeps the fleet from taking its data, for people.
    pub fault: Option<String>,
    /// It said goodbye, or its last will did, and was not heard since.
    left: bool,
}

/// How a node is reached at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveState {
    /// Connected and heard lately.
    Connected,
    /// Connected, but not heard for longer than its reports should take.
    Silent,
    /// Not connected.
    Gone,
}

impl LiveState {
    /// Lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Silent => "silent",
            Self::Gone => "gone",
        }
    }
}

impl NodeLive {
    /// How the node is reached at `now`.
    #[must_use]
    pub fn state(&self, now: UnixMillis) -> LiveState {
        match self.last_seen {
            _ if !self.connected || self.left => LiveState::Gone,
            Some(last) if now.since(last) <= CONTACT_MAX => LiveState::Connected,
            _ => LiveState::Silent,
        }
    }
}

/// The nodes that were ever heard; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Liveness(Arc<Mutex<BTreeMap<NodeId, NodeLive>>>);

impl Liveness {
    /// Begins with what a former run of the server knew.
    #[must_use]
    pub fn restored(seen: Vec<crate::store::SeenNode>) -> Self {
        let of = |seen: crate::store::SeenNode| {
            let live = NodeLive {
                last_seen: Some(seen.last),
                hello: seen.hello.map(Arc::new),
                status: seen.status.map(Arc::new),
                ..NodeLive::default()
            };
            (seen.node, live)
        };
        Self(Arc::new(Mutex::new(seen.into_iter().map(of).collect())))
    }

    /// What is known of a node.
    #[must_use]
    pub fn node(&self, node: &NodeId) -> Option<NodeLive> {
        self.lock().get(node).cloned()
    }

    /// All nodes by name.
    #[must_use]
    pub fn nodes(&self) -> BTreeMap<NodeId, NodeLive> {
        self.lock().clone()
    }

    /// How many nodes have a connection.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.lock().values().filter(|live| live.connected).count()
    }

    /// Forgets a node, as when it is removed from the fleet.
    pub fn forget(&self, node: &NodeId) {
        self.lock().remove(node);
    }

    pub(crate) fn on_connected(
        &self,
        node: &NodeId,
        session: SessionId,
        peer: Option<SocketAddr>,
        cert_pin: Option<SpkiPin>,
        now: UnixMillis,
    ) {
        self.change(node, |live| {
            if live.session.is_some_and(|held| held > session) {
                return;
            }
            live.connected = true;
            live.left = false;
            live.session = Some(session);
            (live.peer, live.cert_pin) = (peer, cert_pin);
            live.last_seen = Some(now);
        });
    }

    /// Whether this ended the node's newest connection.
    pub(super) fn on_disconnected(&self, node: &NodeId, session: SessionId) -> bool {
        self.change(node, |live| {
            let is_newest = live.session == Some(session);
            live.connected &= !is_newest;
            is_newest
        })
    }

    pub(crate) fn on_hello(&self, node: &NodeId, hello: Hello, fault: Option<String>, now: UnixMillis) {
        self.change(node, |live| {
            live.left = false;
            live.last_seen = Some(now);
            live.offset_ms = Some(hello.at.0.saturating_sub(now.0));
            live.hello = Some(Arc::new(hello));
            live.fault = fault;
        });
    }

    pub(super) fn on_status(&self, node: &NodeId, report: StatusReport, now: UnixMillis) {
        self.change(node, |live| {
            live.left = false;
            live.last_seen = Some(now);
            live.offset_ms = Some(report.at.0.saturating_sub(now.0));
            live.status = Some(Arc::new(report));
        });
    }

    pub(super) fn on_goodbye(&self, node: &NodeId, session: u64) {
        self.change(node, |live| {
            if live.hello.as_ref().is_some_and(|hello| hello.session == session) {
                live.left = true;
            }
        });
    }

    pub(super) fn on_message(&self, node: &NodeId, now: UnixMillis) {
        self.change(node, |live| {
            live.left = false;
            live.last_seen = Some(now);
        });
    }

    fn change<T>(&self, node: &NodeId, change: impl FnOnce(&mut NodeLive) -> T) -> T {
        change(self.lock().entry(node.clone()).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, NodeLive>> {
        // Sound even if a holder panicked: each change is a few assignments.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::fixture::{hello, node};

    const T: UnixMillis = UnixMillis(1_000_000);

    fn state(liveness: &Liveness, after: u64) -> LiveState {
        liveness.node(&node("a")).unwrap().state(T + Duration::from_secs(after))
    }

    #[test]
    fn an_old_connections_end_leaves_its_successor_connected() {
        let liveness = Liveness::default();
        liveness.on_connected(&node("a"), SessionId(1), None, None, T);
        liveness.on_connected(&node("a"), SessionId(2), None, None, T);
        assert!(!liveness.on_disconnected(&node("a"), SessionId(1)));
        assert_eq!(state(&liveness, 0), LiveState::Connected);
        // Told late, after its successor.
        liveness.on_connected(&node("a"), SessionId(1), None, None, T);
        assert_eq!(liveness.node(&node("a")).unwrap().session, Some(SessionId(2)));
        assert!(liveness.on_disconnected(&node("a"), SessionId(2)));
        assert_eq!(state(&liveness, 0), LiveState::Gone);
        assert_eq!(liveness.connected(), 0);
    }

    #[test]
    fn a_goodbye_counts_for_the_current_session_until_the_node_is_heard() {
        let liveness = Liveness::default();
        liveness.on_connected(&node("a"), SessionId(1), None, None, T);
        liveness.on_hello(&node("a"), hello(&[]), None, T);
        liveness.on_goodbye(&node("a"), 99);
        assert_eq!(state(&liveness, 0), LiveState::Connected);
        liveness.on_goodbye(&node("a"), 7);
        assert_eq!(state(&liveness, 0), LiveState::Gone);
        liveness.on_message(&node("a"), T);
        assert_eq!(state(&liveness, 0), LiveState::Connected);
    }

    #[test]
    fn a_connected_node_that_says_nothing_is_silent() {
        let liveness = Liveness::default();
        liveness.on_connected(&node("a"), SessionId(1), None, None, T);
        assert_eq!(state(&liveness, 200), LiveState::Connected);
        assert_eq!(state(&liveness, 201), LiveState::Silent);
    }
}
