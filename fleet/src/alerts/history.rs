//! Episodes of alerts as the API tells them.

use crate::node_labels::NodeLabels;
use crate::store::{AlertQuery, AlertRow, ReadError, Store, shown};
use serde::{Deserialize, Serialize};
use skerry_alerting::manager::matcher::{Matcher, matches_all};
use skerry_model::{Labels, NodeId, UnixMillis};
use std::collections::BTreeMap;

/// Rows that are looked through for those that meet matchers.
const LOOKED_AT_MAX: u32 = 50_000;

/// Answer of `/api/v1/alert-history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryList {
    /// Episodes, newest first.
    pub alerts: Vec<HistoryView>,
}

/// An episode of an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryView {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The node that told it; `None` for a rule of the fleet.
    pub node: Option<String>,
    /// The labels that it is routed by.
    pub labels: BTreeMap<String, String>,
    /// What people are told.
    pub annotations: BTreeMap<String, String>,
    /// Its value when it began, as Prometheus writes numbers.
    pub value: String,
    /// Since when it fires.
    pub starts_ms: i64,
    /// When it ended; `None` while it fires.
    pub ends_ms: Option<i64>,
    /// Receivers that the fleet told.
    pub told: Vec<String>,
    /// Receivers that the node told by itself.
    pub told_by_node: Vec<String>,
    /// It began and ended while the node had no link: nobody was told here.
    pub offline: bool,
    /// When the fleet heard of it.
    pub received_ms: i64,
}

/// Which episodes.
#[derive(Debug, Clone, Default)]
pub struct HistoryQuery {
    /// Of this node: told by it, or by a rule about it.
    pub node: Option<NodeId>,
    /// All of them have to be met by the labels that an episode is routed by.
    pub matchers: Vec<Matcher>,
    /// Only what had not ended then.
    pub from: Option<UnixMillis>,
    /// Only what fires.
    pub firing: bool,
    /// Most rows.
    pub limit: usize,
}

/// Labels that an alert of a node is routed by.
pub(super) fn routed(row: &AlertRow, signed: &NodeLabels) -> Labels {
    match (&row.labels, &row.node) {
        (Some(labels), _) => labels.clone(),
        (None, Some(node)) => signed.applied(node, &shown(&row.told_labels, node)),
        (None, None) => row.told_labels.clone(),
    }
}

/// Episodes that meet a query, newest first.
///
/// # Errors
/// [`ReadError`].
pub async fn read(store: &Store, signed: &NodeLabels, query: HistoryQuery) -> Result<HistoryList, ReadError> {
    let HistoryQuery { node, matchers, .. } = query;
    let all = matchers.is_empty() && node.is_none();
    let meets = |labels: &Labels| {
        node.as_ref().is_none_or(|node| labels.value("node") == node.as_str()) && matches_all(&matchers, labels)
    };
    let limit = if all { u32::try_from(query.limit).unwrap_or(LOOKED_AT_MAX) } else { LOOKED_AT_MAX };
    let rows = AlertQuery { node: None, from: query.from, is_open: query.firing, limit: limit.min(LOOKED_AT_MAX) };
    let rows = store.alerts(rows).await?;
    let found = rows.into_iter().map(|row| (routed(&row, signed), row));
    let found = found.filter(|(labels, _)| meets(labels)).take(query.limit);
    Ok(HistoryList { alerts: found.map(|(labels, row)| view(&labels, row)).collect() })
}

fn view(labels: &Labels, row: AlertRow) -> HistoryView {
    let pairs = |labels: &Labels| labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    HistoryView {
        id: row.id,
        name: labels.value("alertname").to_owned(),
        node: row.node.map(|node| node.to_string()),
        labels: pairs(labels),
        annotations: pairs(&row.annotations),
        value: row.value,
        starts_ms: row.starts.0,
        ends_ms: row.ends.map(|at| at.0),
        told: row.told,
        told_by_node: row.told_by_node,
        offline: row.offline,
        received_ms: row.received.0,
    }
}
