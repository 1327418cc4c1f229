//! What nodes told of their decisions and their workloads.

use crate::store::{EventRow, ReadError, Store, Told, ToldKind, ToldPlace, ToldQuery};
use serde::{Deserialize, Serialize};
use skerry_model::{NodeId, UnixMillis};
use skerry_wire::{EventKind, ScalingEvent, WorkloadEvent};

/// Which events.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Of this node.
    pub node: Option<NodeId>,
    /// About this policy or workload.
    pub subject: Option<String>,
    /// Not before this moment, by the node's clock.
    pub from: Option<UnixMillis>,
    /// Only what lies behind this place.
    pub behind: Option<ToldPlace>,
    /// Most rows.
    pub limit: u32,
}

/// `GET /scaling/history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decisions {
    /// Newest first, by the nodes' clocks.
    pub decisions: Vec<Decision>,
    /// What `before` has to be for the next, older ones, where there may be any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Its number.
    pub id: i64,
    /// The node that decided.
    pub node: String,
    /// When, by the node's clock.
    pub at_ms: i64,
    /// When the fleet heard of it.
    pub received_ms: i64,
    /// The policy.
    pub policy: String,
    /// What was scaled, as `KIND/NAME`.
    pub target: String,
    /// Replicas before.
    pub from: u32,
    /// Replicas that were decided.
    pub to: u32,
    /// Stable word.
    pub reason: String,
    /// Inputs, proposals, and what decided.
    pub message: String,
}

impl Decision {
    /// How the number of replicas changes, with `arrow` between; nothing where the target could not be looked at.
    #[must_use]
    pub fn change(&self, arrow: &str) -> String {
        let Self { from, to, .. } = self;
        let is_unknown = ["AmbiguousSelector", "FailedGetScale"].contains(&self.reason.as_str());
        match (from, to) {
            (0, 0) if is_unknown => String::new(),
            (from, to) if from == to => to.to_string(),
            (from, to) => format!("{from}{arrow}{to}"),
        }
    }

    /// Whether it tells of something that keeps a policy from its work.
    #[must_use]
    pub fn is_trouble(&self) -> bool {
        !["SuccessfulRescale", "Preempted", "Recovered"].contains(&self.reason.as_str())
    }
}

/// `GET /workloads/history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happenings {
    /// Newest first, by the nodes' clocks.
    pub events: Vec<Happening>,
    /// What `before` has to be for the next, older ones, where there may be any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Something that happened to a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// Its number.
    pub id: i64,
    /// The node.
    pub node: String,
    /// When, by the node's clock.
    pub at_ms: i64,
    /// When the fleet heard of it.
    pub received_ms: i64,
    /// The workload.
    pub workload: String,
    /// Its container, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Stable word.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// Decisions, newest first.
///
/// # Errors
/// [`ReadError`].
pub async fn decisions(store: &Store, wanted: Wanted) -> Result<Decisions, ReadError> {
    let Told { rows, rest } = store.told(query(ToldKind::Scaling, wanted)).await?;
    Ok(Decisions { decisions: rows.into_iter().filter_map(decision).collect(), next: rest.map(place_text) })
}

/// What happened to workloads, newest first.
///
/// # Errors
/// [`ReadError`].
pub async fn happenings(store: &Store, wanted: Wanted) -> Result<Happenings, ReadError> {
    let Told { rows, rest } = store.told(query(ToldKind::Workload, wanted)).await?;
    Ok(Happenings { events: rows.into_iter().filter_map(happening).collect(), next: rest.map(place_text) })
}

/// A place as it stands in `next` and `before`: milliseconds and number.
fn place_text(ToldPlace { at, id }: ToldPlace) -> String {
    format!("{}.{id}", at.0)
}

/// A place that was written so; without the number that of everything before its millisecond.
#[must_use]
pub fn place(text: &str) -> Option<ToldPlace> {
    let (at, id) = text.split_once('.').unwrap_or((text, "0"));
    Some(ToldPlace { at: UnixMillis(at.parse().ok()?), id: id.parse().ok()? })
}

fn query(kind: ToldKind, wanted: Wanted) -> ToldQuery {
    let Wanted { node, subject, from, behind, limit } = wanted;
    ToldQuery { kind, node, subject, from, behind, limit }
}

fn decision(row: EventRow) -> Option<Decision> {
    let EventKind::Scaling(ScalingEvent { policy, target, from, to, reason, message }) = row.event.kind else {
        return None;
    };
    Some(Decision {
        id: row.id,
        node: row.node.to_string(),
        at_ms: row.event.at.0,
        received_ms: row.received.0,
        policy,
        target,
        from,
        to,
        reason,
        message,
    })
}

fn happening(row: EventRow) -> Option<Happening> {
    let EventKind::Workload(WorkloadEvent { workload, container, reason, message }) = row.event.kind else {
        return None;
    };
    Some(Happening {
        id: row.id,
        node: row.node.to_string(),
        at_ms: row.event.at.0,
        received_ms: row.received.0,
        workload,
        container,
        reason,
        message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_and_read() {
        for (at, id) in [(0, 0), (1_800_000_000_000, 55), (-3, 1), (i64::MAX, i64::MAX)] {
            let spot = ToldPlace { at: UnixMillis(at), id };
            assert_eq!(place(&place_text(spot)), Some(spot));
        }
        assert_eq!(place("17"), Some(ToldPlace { at: UnixMillis(17), id: 0 }));
        for text in ["", ".", "a", "1.", "1.b", "1.2.3", "99999999999999999999"] {
            assert_eq!(place(text), None, "{text}");
        }
    }
}
