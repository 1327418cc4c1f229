//! What a node should have: the root documents and the assignment it lacks, and the newest config of each stream it
//! follows. Sent when it says hello, and at once when an administrator brings something new.
//!
//! Sent is not obeyed: the node verifies each document itself. What is lost on the way is sent with the next hello.

use crate::control::{Control, ControlError, StoredDocument};
use crate::ingest::{Desired, Liveness};
use crate::mqtt::Downlink;
use crate::trust::Trust;
use bytes::Bytes;
use serde_bytes::ByteBuf;
use skerry_model::{NodeId, StreamName};
use skerry_seal::{Assignment, Revision, read_assignment};
use skerry_wire::{ConfigState, DownLeaf, Hello, codec};

/// The documents and the way to the nodes; cheap to clone.
#[derive(Clone)]
pub struct Delivery {
    /// The documents.
    pub control: Control,
    /// The root documents.
    pub trust: Trust,
    /// Who is there, and with what.
    pub liveness: Liveness,
    /// The way to them.
    pub downlink: Downlink,
}

impl Desired for Delivery {
    async fn for_node(&self, node: &NodeId, hello: &Hello) -> Vec<(DownLeaf, Bytes)> {
        match self.missing(node, hello).await {
            Ok(messages) => messages,
            Err(error) => {
                tracing::error!(%node, error = &error as &dyn std::error::Error, "the node's documents were not read");
                Vec::new()
            }
        }
    }
}

impl Delivery {
    /// Brings a node that is connected up to date; one that is not gets everything with its next hello.
    pub async fn push(&self, node: &NodeId) {
        let Some(live) = self.liveness.node(node).filter(|live| live.connected) else { return };
        let Some(hello) = live.hello else { return };
        // What the node has adopted since its hello stands in its reports.
        let mut hello = Hello::clone(&hello);
        if let Some(status) = live.status {
            hello.configs.clone_from(&status.configs);
        }
        for (leaf, payload) in self.for_node(node, &hello).await {
            if let Err(error) = self.downlink.send(node, leaf, payload).await {
                tracing::info!(%node, %error, "a document waits for the node's next hello");
                return;
            }
        }
    }

    /// Brings every connected node up to date that follows `stream`; how many there are.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn push_stream(&self, stream: &StreamName) -> Result<Vec<NodeId>, ControlError> {
        let mut followers = Vec::new();
        for (node, stored) in self.control.assignments().await? {
            let follows = self.read(&stored).is_some_and(|doc| !doc.revoked && doc.streams.contains_key(stream));
            if follows {
                self.push(&node).await;
                followers.push(node);
            }
        }
        Ok(followers)
    }

    /// A stored assignment, read. `None` where its signers no longer hold the role; the node would refuse it too.
    #[must_use]
    pub fn read(&self, stored: &StoredDocument) -> Option<Assignment> {
        read_assignment(&stored.envelope, &self.trust.current()).ok().map(|accepted| accepted.doc)
    }

    async fn missing(&self, node: &NodeId, hello: &Hello) -> Result<Vec<(DownLeaf, Bytes)>, ControlError> {
        let trust = self.trust.current();
        let known = usize::try_from(hello.root_version).unwrap_or(usize::MAX);
        let roots: Vec<ByteBuf> = trust.roots().iter().skip(known.max(1)).cloned().map(ByteBuf::from).collect();
        let stored = self.control.assignment(node).await?;
        let held = hello.assignment.map(|(epoch, version)| Revision::new(epoch, version));
        let newer = stored.as_ref().filter(|stored| held.is_none_or(|held| held < stored.revision));
        let assignment = newer.map(|stored| ByteBuf::from(stored.envelope.clone()));
        let mut messages = Vec::new();
        if !roots.is_empty() || assignment.is_some() {
            let message = codec::encode(&skerry_wire::Trust { roots, assignment });
            messages.push((DownLeaf::Trust, Bytes::from(message)));
        }
        let Some(assignment) = stored.as_ref().and_then(|stored| self.read(stored)) else { return Ok(messages) };
        if assignment.revoked {
            return Ok(messages);
        }
        for stream in assignment.streams.keys() {
            let Some(newest) = self.control.configs(stream, 1).await?.into_iter().next() else { continue };
            let runs = hello.configs.iter().find(|config| config.stream == *stream);
            if runs.is_none_or(|runs| revision(runs) < newest.revision) {
                messages.push((DownLeaf::Config, Bytes::from(newest.envelope)));
            }
        }
        Ok(messages)
    }
}

fn revision(config: &ConfigState) -> Revision {
    Revision::new(config.epoch, config.version)
}
