//! What nodes told of their scaling and of their workloads: events of one kind, by the time at which they happened.
//!
//! A node that was away for weeks tells late: so the order is that of the events, and not of their arrival.

use super::error::ReadError;
use super::events::{EventRow, event_row};
use rusqlite::{Connection, params};
use skerry_model::{NodeId, UnixMillis};
use skerry_wire::{Event, EventKind};

/// Rows that are looked through for those about one subject.
const LOOKED_AT_MAX: u32 = 50_000;

/// - `event_told`: the events of these kinds by time, which are few among all.
pub(super) const TABLES: &str = "
CREATE INDEX IF NOT EXISTS event_told ON event(kind, at, id) WHERE kind IN ('scaling', 'workload');
";

/// Kinds of events that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToldKind {
    /// Decisions of policies.
    Scaling,
    /// What happened to workloads.
    Workload,
}

/// Which events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldQuery {
    /// Of this kind.
    pub kind: ToldKind,
    /// Of this node.
    pub node: Option<NodeId>,
    /// About this policy or this workload.
    pub subject: Option<String>,
    /// Not before this moment, by the node's clock.
    pub from: Option<UnixMillis>,
    /// Only what lies behind this place.
    pub behind: Option<ToldPlace>,
    /// Most rows.
    pub limit: u32,
}

/// A place in a history: that of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToldPlace {
    /// When it happened.
    pub at: UnixMillis,
    /// Its number, for those of one moment.
    pub id: i64,
}

/// A part of a history.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// Newest first.
    pub rows: Vec<EventRow>,
    /// Behind which place the rest is, where there may be one.
    pub rest: Option<ToldPlace>,
}

impl ToldKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Scaling => "scaling",
            Self::Workload => "workload",
        }
    }
}

/// The policy or the workload that an event is about.
fn subject(event: &Event) -> Option<&str> {
    match &event.kind {
        EventKind::Scaling(scaling) => Some(&scaling.policy),
        EventKind::Workload(workload) => Some(&workload.workload),
        _ => None,
    }
}

/// The newest events that meet a query, newest first.
pub(super) fn newest(connection: &Connection, query: &ToldQuery) -> Result<Told, ReadError> {
    // The kinds are named once more, so that the index is known to have them all.
    let mut select = connection.prepare_cached(
        "SELECT e.id, n.name, e.received, e.data FROM event e JOIN node n ON n.id = e.node
         WHERE e.kind = ?1 AND e.kind IN ('scaling', 'workload') AND (?2 IS NULL OR n.name = ?2) AND e.at >= ?3
         AND (e.at, e.id) < (?4, ?5) ORDER BY e.at DESC, e.id DESC LIMIT ?6",
    )?;
    let wanted = usize::try_from(query.limit).unwrap_or(usize::MAX);
    // One more says whether there is a rest.
    let looked_at = if query.subject.is_some() { LOOKED_AT_MAX } else { query.limit.min(LOOKED_AT_MAX) } + 1;
    let from = query.from.map_or(i64::MIN, |from| from.0);
    let ToldPlace { at, id } = query.behind.unwrap_or(ToldPlace { at: UnixMillis(i64::MAX), id: i64::MAX });
    let node = query.node.as_ref().map(NodeId::as_str);
    let rows = select.query_map(params![query.kind.as_str(), node, from, at.0, id, looked_at], event_row)?;
    let mut told = Told::default();
    let mut last = None;
    for (seen, row) in (1..).zip(rows) {
        let row = row?;
        if told.rows.len() >= wanted || seen == looked_at {
            told.rest = last;
            break;
        }
        last = Some(ToldPlace { at: row.event.at, id: row.id });
        if query.subject.as_deref().is_none_or(|name| subject(&row.event) == Some(name)) {
            told.rows.push(row);
        }
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::fixture::node;
    use crate::store::{Config, open};
    use skerry_model::{Epoch, Seq, StreamKind};
    use skerry_wire::{Batch, Body, ScalingEvent, WorkloadEvent, codec};

    fn scaled(at: i64, policy: &str) -> Event {
        let event = ScalingEvent {
            policy: policy.into(),
            target: "Container/web".into(),
            from: 1,
            to: 2,
            reason: "SuccessfulRescale".into(),
            message: String::new(),
        };
        Event { at: UnixMillis(at), kind: EventKind::Scaling(event) }
    }

    fn worked(at: i64, workload: &str) -> Event {
        let event = WorkloadEvent {
            workload: workload.into(),
            container: None,
            reason: "Created".into(),
            message: String::new(),
        };
        Event { at: UnixMillis(at), kind: EventKind::Workload(event) }
    }

    #[tokio::test]
    async fn events_come_by_their_time_and_each_once() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _writer) = open(&folder.path().join("data.db"), Config::default()).unwrap();
        let batch = |seq: u64, events: &[Event]| Batch {
            epoch: Epoch(1),
            from: Seq(seq),
            to: Seq(seq),
            dict: Vec::new(),
            body: Body::Block(codec::encode(&events)),
        };
        // The node "b" was away, and tells late what happened first. A batch that comes twice counts once.
        let stopped = Event { at: UnixMillis(40), kind: EventKind::Stopped };
        let sent = [
            ("a", batch(1, &[scaled(20, "web"), worked(25, "till")])),
            ("a", batch(1, &[scaled(20, "web"), worked(25, "till")])),
            ("a", batch(2, &[stopped, scaled(50, "api")])),
            ("b", batch(1, &[scaled(10, "web"), scaled(30, "web")])),
        ];
        for (name, batch) in sent {
            store.ingest(&node(name), StreamKind::Events, batch, UnixMillis(100)).await.unwrap();
        }
        let all = ToldQuery { kind: ToldKind::Scaling, node: None, subject: None, from: None, behind: None, limit: 10 };
        let web = ToldQuery { subject: Some("web".into()), ..all.clone() };
        for (query, expected) in [
            (all.clone(), vec![("a", 50), ("b", 30), ("a", 20), ("b", 10)]),
            (ToldQuery { limit: 2, ..all.clone() }, vec![("a", 50), ("b", 30)]),
            (ToldQuery { node: Some(node("a")), ..all.clone() }, vec![("a", 50), ("a", 20)]),
            (ToldQuery { from: Some(UnixMillis(20)), ..all.clone() }, vec![("a", 50), ("b", 30), ("a", 20)]),
            (web.clone(), vec![("b", 30), ("a", 20), ("b", 10)]),
            (ToldQuery { limit: 1, ..web.clone() }, vec![("b", 30)]),
            (ToldQuery { kind: ToldKind::Workload, ..all.clone() }, vec![("a", 25)]),
            (ToldQuery { kind: ToldKind::Workload, ..web.clone() }, vec![]),
            (ToldQuery { node: Some(node("c")), ..all.clone() }, vec![]),
        ] {
            let rows = store.told(query.clone()).await.unwrap().rows;
            let found: Vec<_> = rows.iter().map(|row| (row.node.as_str(), row.event.at.0)).collect();
            assert_eq!(found, expected, "{query:?}");
        }
        // Part by part it is the same history, also while newer ones are told in between.
        let mut late = 0;
        for query in
            [ToldQuery { limit: 1, ..all.clone() }, ToldQuery { limit: 3, ..all }, ToldQuery { limit: 2, ..web }]
        {
            let whole = store.told(ToldQuery { limit: 100, ..query.clone() }).await.unwrap();
            assert_eq!(whole.rest, None);
            let (mut parts, mut behind) = (Vec::new(), None);
            loop {
                let Told { rows, rest } = store.told(ToldQuery { behind, ..query.clone() }).await.unwrap();
                assert!(rows.len() <= query.limit as usize && late < 50);
                parts.extend(rows);
                late += 1;
                let batch = batch(late, &[scaled(1000 + i64::try_from(late).unwrap(), "web")]);
                store.ingest(&node("d"), StreamKind::Events, batch, UnixMillis(100)).await.unwrap();
                behind = rest;
                if rest.is_none() {
                    break;
                }
            }
            assert_eq!(parts, whole.rows, "{query:?}");
        }
    }
}
