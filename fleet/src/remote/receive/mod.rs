//! Samples in from whoever speaks Prometheus remote write: `POST /api/v1/write`.
//!
//! A sender is kept like a node. Its pseudo-node is `remote`, or `remote.NAME` where the URL has `?sender=NAME`; no
//! node can join under such a name. Its series have that as label `node`; what they bring as `node` themselves is
//! `exported_node`, as with nodes. The samples become blocks with labels by number, and go the same way into the store
//! as a node's.
//!
//! Invariants:
//! - One task takes requests in one after the other; a request is answered once its samples are durable.
//! - Samples that are older than the newest of their series are refused, as Prometheus does, told in the answer and
//!   booked. The rest of their request is kept.
//! - A request that was answered is answered the same when it comes again within the last few of its sender; one whose
//!   samples were committed before a crash is recognized by its samples.
//! - What is in memory is bounded: waiting requests, the one being read, and the series of all senders together.

mod core;
mod task;

pub use task::{Admitted, ReceiveError, ReceiveTask, Receiver, Told};

use crate::store::is_own;
use skerry_model::NodeId;

/// Name of the sender without a name, and what stands before the names of the others.
const SENDER: &str = "remote";

/// Whether this name belongs to senders or to the fleet itself, so that no node may join under it.
#[must_use]
pub fn is_reserved(node: &NodeId) -> bool {
    let rest = node.as_str().strip_prefix(SENDER);
    is_own(node) || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The pseudo-node of a sender; `None` where it can have no such name.
#[must_use]
pub fn sender_node(name: &str) -> Option<NodeId> {
    if name.is_empty() { SENDER.parse().ok() } else { format!("{SENDER}.{name}").parse().ok() }
}
