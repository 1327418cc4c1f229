//! What the control data and the store know of every approved node, read anew at each evaluation. Signatures are checked
//! once per document.

use super::contact::{CONNECTED, Contact, Outages};
use super::nodes::{Facts, drift};
use crate::control::{ControlError, NodeState};
use crate::delivery::Delivery;
use crate::ingest::NodeLive;
use crate::node_labels::NodeLabels;
use crate::store::{ContactRow, Contacts, OWN, ReadError, Store};
use skerry_model::{NodeId, StreamName, UnixMillis};
use skerry_seal::{Assignment, Revision};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Why it could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum RosterError {
    /// The control data.
    #[error("read what the fleet knows of its nodes")]
    Control(#[from] ControlError),
    /// The store.
    #[error("read what nodes sent")]
    Store(#[from] ReadError),
}

/// A document whose signatures were checked.
#[derive(Debug)]
struct Checked {
    hash: [u8; 32],
    received: UnixMillis,
    assignment: Option<Assignment>,
}

/// What is known of all nodes.
#[derive(Debug, Default)]
pub(super) struct Roster {
    checked: HashMap<NodeId, Checked>,
    /// How many root documents there were when signatures were checked.
    roots: usize,
    contacts: HashMap<NodeId, Contact>,
    /// What of them is not written yet.
    fresh: Vec<NodeId>,
    outages: Outages,
    outages_fresh: bool,
    /// Labels by node.
    signed: Arc<NodeLabels>,
}

/// The nodes at a moment.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    /// Approved ones by name.
    pub(super) facts: BTreeMap<NodeId, Facts>,
    /// Those that may no longer connect.
    pub(super) revoked: Vec<NodeId>,
}

impl Roster {
    /// Goes on from what was learnt before; the server begins to listen at `now`.
    pub(super) fn restored(contacts: Contacts, now: UnixMillis) -> Self {
        let mut roster = Self::default();
        for row in contacts.rows {
            if row.node.as_str() == OWN {
                roster.outages = serde_json::from_str(&row.learnt).unwrap_or_default();
            } else if let Ok(contact) = serde_json::from_str(&row.learnt) {
                roster.contacts.insert(row.node, contact);
            }
        }
        if let Some(alive) = contacts.alive {
            roster.outages.add(alive, now);
            roster.outages_fresh = true;
        }
        roster
    }

    /// What is to be kept of what was learnt since the last call.
    pub(super) fn take_fresh(&mut self) -> Vec<ContactRow> {
        let text = |learnt: Result<String, serde_json::Error>| learnt.unwrap_or_default();
        let mut rows: Vec<ContactRow> = Vec::new();
        for node in std::mem::take(&mut self.fresh) {
            if let Some(contact) = self.contacts.get(&node) {
                rows.push(ContactRow { node, learnt: text(serde_json::to_string(contact)) });
            }
        }
        if std::mem::take(&mut self.outages_fresh)
            && let Ok(node) = OWN.parse()
        {
            rows.push(ContactRow { node, learnt: text(serde_json::to_string(&self.outages)) });
        }
        rows
    }

    /// Labels by node, as they were read last.
    pub(super) fn signed(&self) -> Arc<NodeLabels> {
        self.signed.clone()
    }

    /// When the server did not run.
    pub(super) fn outages(&self) -> &Outages {
        &self.outages
    }

    /// What was learnt of a node.
    pub(super) fn contact(&self, node: &NodeId) -> Option<&Contact> {
        self.contacts.get(node)
    }

    /// Reads what is known now.
    ///
    /// # Errors
    /// [`RosterError`]; what was known stays.
    pub(super) async fn read(
        &mut self,
        delivery: &Delivery,
        store: &Store,
        now: UnixMillis,
    ) -> Result<Nodes, RosterError> {
        self.check(delivery).await?;
        let rows = delivery.control.nodes().await?;
        let revisions = delivery.control.revisions().await?;
        let counts = store.counts().await?;
        let mut live = delivery.liveness.nodes();
        let mut nodes = Nodes::default();
        for row in rows {
            match row.state {
                NodeState::Approved => {}
                NodeState::Revoked => {
                    nodes.revoked.push(row.node);
                    continue;
                }
                NodeState::Pending => continue,
            }
            let live = live.remove(&row.node).unwrap_or_default();
            self.learn(&row.node, &live);
            let count = counts.get(&row.node).copied().unwrap_or_default();
            let checked = self.checked.get(&row.node);
            let mut facts = of_live(&live, checked, &revisions, now);
            facts.last = live.last_seen.or(row.enrolled);
            facts.cert_not_after = row.cert_not_after;
            (facts.losses, facts.quarantined) = (count.losses, count.quarantined);
            nodes.facts.insert(row.node, facts);
        }
        self.contacts.retain(|node, _| nodes.facts.contains_key(node));
        Ok(nodes)
    }

    /// Checks the signatures of assignments that are new.
    async fn check(&mut self, delivery: &Delivery) -> Result<(), ControlError> {
        let roots = delivery.trust.current().roots().len();
        if roots != self.roots {
            self.checked.clear();
            self.roots = roots;
        }
        let all = delivery.control.assignments().await?;
        let is_known = |(node, stored): &(NodeId, crate::control::StoredDocument)| {
            self.checked.get(node).is_some_and(|known| known.hash == stored.hash)
        };
        if all.len() == self.checked.len() && all.iter().all(is_known) {
            return Ok(());
        }
        let mut checked = HashMap::with_capacity(all.len());
        for (node, stored) in all {
            let document = match self.checked.remove(&node) {
                Some(known) if known.hash == stored.hash => known,
                _ => Checked { hash: stored.hash, received: stored.received, assignment: delivery.read(&stored) },
            };
            checked.insert(node, document);
        }
        self.checked = checked;
        let labels = self.checked.iter().filter_map(|(node, checked)| {
            let labels = &checked.assignment.as_ref()?.labels;
            (!labels.is_empty()).then(|| (node.clone(), labels.clone()))
        });
        self.signed = Arc::new(labels.collect());
        Ok(())
    }

    fn learn(&mut self, node: &NodeId, live: &NodeLive) {
        let Some(last) = live.last_seen else { return };
        let mut is_new = false;
        let contact = self.contacts.entry(node.clone()).or_insert_with(|| {
            is_new = true;
            Contact::new(last)
        });
        is_new |= contact.heard(last, &self.outages);
        let offset = live.offset_ms.filter(|offset| contact.offset_ms != Some(*offset));
        if let Some(offset) = offset {
            // A drift of less than a second is not worth a write; it is shown all the same.
            is_new |= contact.offset_ms.is_none_or(|before| before.abs_diff(offset) >= 1000);
            contact.offset_ms = Some(offset);
        }
        if is_new {
            self.fresh.push(node.clone());
        }
    }
}

fn of_live(
    live: &NodeLive,
    checked: Option<&Checked>,
    revisions: &HashMap<StreamName, Vec<(Revision, UnixMillis)>>,
    now: UnixMillis,
) -> Facts {
    let assignment = checked.and_then(|checked| checked.assignment.as_ref());
    let status = live.status.as_deref();
    let running = status.map(|status| &status.configs).or(live.hello.as_deref().map(|hello| &hello.configs));
    let drifts = assignment.filter(|assignment| !assignment.revoked).zip(checked).zip(running).map(
        |((assignment, checked), running)| drift(assignment.streams.keys(), checked.received, running, revisions, now),
    );
    let trusted = status.map(|status| status.time_trusted).or(live.hello.as_deref().map(|hello| hello.time_trusted));
    Facts {
        signed: assignment.map(|assignment| assignment.labels.clone()).unwrap_or_default(),
        connected: live.connected && live.last_seen.is_some_and(|last| now.since(last) <= CONNECTED),
        backlog: status.map(|status| (status.at, status.backlog.clone())),
        time_trusted: trusted,
        drift: drifts.unwrap_or_default(),
        ..Facts::default()
    }
}
