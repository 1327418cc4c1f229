//! Labels that the admins signed for each node, as every series of the node shows them.

use crate::control::ControlError;
use crate::delivery::Delivery;
use skerry_model::{Labels, NodeId};
use skerry_promapi::with_signed;
use std::collections::{BTreeMap, BTreeSet};

/// Labels by node; nodes without any are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeLabels(BTreeMap<NodeId, BTreeMap<String, String>>);

impl NodeLabels {
    /// What counts now.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn read(delivery: &Delivery) -> Result<Self, ControlError> {
        let all = delivery.control.assignments().await?;
        let read = all.into_iter().filter_map(|(node, stored)| Some((node, delivery.read(&stored)?.labels)));
        Ok(Self(read.filter(|(_, labels)| !labels.is_empty()).collect()))
    }

    /// A series' labels with those of its node; a label that the series has itself wins.
    #[must_use]
    pub fn applied(&self, node: &NodeId, labels: &Labels) -> Labels {
        let signed = self.0.get(node).into_iter().flatten();
        with_signed(labels, signed.map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// The labels of a node.
    #[must_use]
    pub fn of(&self, node: &NodeId) -> Labels {
        self.applied(node, &Labels::default())
    }

    /// Every name of a label that some node was given.
    #[must_use]
    pub fn names(&self) -> BTreeSet<&str> {
        self.0.values().flat_map(|labels| labels.keys().map(String::as_str)).collect()
    }
}

impl FromIterator<(NodeId, BTreeMap<String, String>)> for NodeLabels {
    fn from_iter<I: IntoIterator<Item = (NodeId, BTreeMap<String, String>)>>(labels: I) -> Self {
        Self(labels.into_iter().collect())
    }
}
