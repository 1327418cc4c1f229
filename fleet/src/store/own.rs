//! Series of the fleet itself: what it knows of each node, and what its rules make. They are kept like a node's, under a
//! name that no node can have, but their labels are shown as they are: a rule over all nodes has no node, or names one.

use skerry_model::{Labels, NodeId};
use skerry_promapi::with_node;

/// The name that the fleet's own series are kept under.
pub const OWN: &str = "skerry-fleet";

/// Whether this is the name that the fleet's own series are kept under.
#[must_use]
pub fn is_own(node: &NodeId) -> bool {
    node.as_str() == OWN
}

/// Labels as queries see them: with the node's name as `node`, see [`with_node`]; those of the fleet itself as they are.
#[must_use]
pub fn shown(labels: &Labels, node: &NodeId) -> Labels {
    if is_own(node) { labels.clone() } else { with_node(labels, node) }
}
