//! Which series meet a selector.
//!
//! A label set stands once in the file for the whole fleet, with an index of its names and values; a series is a node
//! and such a set. So matchers are judged once per set and not once per node: ten thousand nodes with five hundred
//! series each are five million rows of numbers and, where they measure the same, some hundred sets.

use super::error::ReadError;
use super::events::name;
use super::ledger::labels_of;
use super::own::{OWN, is_own};
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use skerry_model::{Labels, NodeId};
use skerry_promql::Matcher;
use std::collections::HashMap;
use std::sync::Arc;

/// Most bytes of label names and values of the series that one query finds, each set of labels counted once per series.
const LABEL_BYTES_MAX: u64 = 64 << 20;
/// Most pairs of name and value that the index is asked for at once; what is beyond is judged set by set.
const PAIRS_MAX: usize = 4;

/// A series that meets the matchers.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Number of its label set.
    pub(super) id: i64,
    /// Number of its node.
    pub(super) node: i64,
    /// Name of its node.
    pub(super) name: NodeId,
    /// The labels that the node gave it.
    pub(super) labels: Arc<Labels>,
}

/// Gathers what is found, up to the bounds.
struct Finds {
    found: Vec<Found>,
    bytes: u64,
    series_max: u64,
}

impl Finds {
    fn add(&mut self, found: Found) -> Result<(), ReadError> {
        self.bytes += found.labels.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum::<u64>();
        self.found.push(found);
        if self.found.len() as u64 > self.series_max {
            return Err(ReadError::TooLarge { what: "series", limit: self.series_max });
        }
        if self.bytes > LABEL_BYTES_MAX {
            return Err(ReadError::TooLarge { what: "bytes of labels", limit: LABEL_BYTES_MAX });
        }
        Ok(())
    }
}

/// Every series that meets all of `matchers`, whenever it had samples.
///
/// # Errors
/// [`ReadError::TooLarge`] where there are more than `series_max`, or their labels take more than 64 MiB.
pub(super) fn find(connection: &Connection, matchers: &[Matcher], series_max: u64) -> Result<Vec<Found>, ReadError> {
    let mut finds = Finds { found: Vec::new(), bytes: 0, series_max };
    of_the_fleet(connection, matchers, &mut finds)?;
    // `node` is no label of the set; one of that name that the node gave is asked for as `exported_node`.
    let of_node: Vec<&Matcher> = matchers.iter().filter(|matcher| matcher.label() == "node").collect();
    let meets = |labels: &Labels| {
        let own = matchers.iter().filter(|matcher| matcher.label() != "node");
        own.into_iter().all(|matcher| match matcher.label() {
            "exported_node" if !labels.value("node").is_empty() => matcher.matches(labels.value("node")),
            label => matcher.matches(labels.value(label)),
        })
    };
    let node = of_node.iter().find_map(|matcher| matcher.demanded("node"));
    let node = match node {
        None => None,
        Some(node) => match node_number(connection, node)? {
            Some(id) if node != OWN && of_node.iter().all(|matcher| matcher.matches(node)) => Some((id, name(node)?)),
            _ => return Ok(finds.found),
        },
    };
    let pairs: Vec<(&str, &str)> = matchers
        .iter()
        .filter(|matcher| !["node", "exported_node"].contains(&matcher.label()))
        .filter_map(|matcher| matcher.demanded(matcher.label()).map(|value| (matcher.label(), value)))
        .take(PAIRS_MAX)
        .collect();
    match (node, pairs.is_empty()) {
        (Some((id, name)), true) => of_one_node(connection, id, &name, meets, &mut finds)?,
        (node, _) => {
            let texts = texts(connection, &pairs, meets)?;
            match node {
                Some((id, name)) => {
                    let mut query = connection.prepare_cached("SELECT id FROM labelset WHERE text = ? AND node = ?")?;
                    for (text, labels) in texts {
                        let set = query.query_row(params![text, id], |row| row.get(0)).optional()?;
                        if let Some(set) = set {
                            finds.add(Found { id: set, node: id, name: name.clone(), labels })?;
                        }
                    }
                }
                None => of_every_node(connection, texts, &of_node, &mut finds)?,
            }
        }
    }
    Ok(finds.found)
}

/// The label sets of these metrics, of whatever node, by number.
///
/// # Errors
/// [`ReadError::TooLarge`] where the labels of one metric take more than 64 MiB.
pub(super) fn named(connection: &Connection, metrics: &[String]) -> Result<HashMap<i64, Arc<Labels>>, ReadError> {
    let mut named = HashMap::new();
    for metric in metrics {
        named.extend(texts(connection, &[("__name__", metric)], |_| true)?);
    }
    Ok(named)
}

/// Series of a node whose label sets are among these; whose labels are read once for many nodes.
pub(super) fn of_node_among(
    connection: &Connection,
    node: &NodeId,
    named: &HashMap<i64, Arc<Labels>>,
) -> Result<Vec<Found>, ReadError> {
    let Some(number) = node_number(connection, node.as_str())? else { return Ok(Vec::new()) };
    let mut query = connection.prepare_cached("SELECT id, text FROM labelset WHERE node = ?")?;
    let mut rows = query.query([number])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if let Some(labels) = named.get(&row.get(1)?) {
            found.push(Found { id: row.get(0)?, node: number, name: node.clone(), labels: labels.clone() });
        }
    }
    Ok(found)
}

fn of_one_node(
    connection: &Connection,
    id: i64,
    name: &NodeId,
    meets: impl Fn(&Labels) -> bool,
    finds: &mut Finds,
) -> Result<(), ReadError> {
    let mut query = connection
        .prepare_cached("SELECT l.id, t.labels FROM labelset l JOIN label_text t ON t.id = l.text WHERE l.node = ?")?;
    let mut rows = query.query([id])?;
    while let Some(row) = rows.next()? {
        let labels = labels_of(row.get_ref(1)?.as_str().unwrap_or_default())?;
        if meets(&labels) {
            finds.add(Found { id: row.get(0)?, node: id, name: name.clone(), labels: Arc::new(labels) })?;
        }
    }
    Ok(())
}

fn node_number(connection: &Connection, node: &str) -> rusqlite::Result<Option<i64>> {
    let mut query = connection.prepare_cached("SELECT id FROM node WHERE name = ?")?;
    query.query_row([node], |row| row.get(0)).optional()
}

/// Series of the fleet itself, whose label `node` is one like the others.
fn of_the_fleet(connection: &Connection, matchers: &[Matcher], finds: &mut Finds) -> Result<(), ReadError> {
    let Some(own) = node_number(connection, OWN)? else { return Ok(()) };
    let demanded =
        matchers.iter().filter_map(|matcher| matcher.demanded(matcher.label()).map(|v| (matcher.label(), v)));
    let pairs: Vec<(&str, &str)> = demanded.take(PAIRS_MAX).collect();
    let meets = |labels: &Labels| matchers.iter().all(|matcher| matcher.matches(labels.value(matcher.label())));
    if pairs.is_empty() {
        return of_one_node(connection, own, &name(OWN)?, meets, finds);
    }
    let mut query = connection.prepare_cached("SELECT id FROM labelset WHERE text = ? AND node = ?")?;
    for (text, labels) in texts(connection, &pairs, meets)? {
        if let Some(id) = query.query_row(params![text, own], |row| row.get(0)).optional()? {
            finds.add(Found { id, node: own, name: name(OWN)?, labels })?;
        }
    }
    Ok(())
}

/// The label sets that have all of `pairs` and meet the rest.
fn texts(
    connection: &Connection,
    pairs: &[(&str, &str)],
    meets: impl Fn(&Labels) -> bool,
) -> Result<Vec<(i64, Arc<Labels>)>, ReadError> {
    let mut sql = String::from("SELECT id, labels FROM label_text");
    for at in 0..pairs.len() {
        sql.push_str(if at == 0 { " WHERE id IN (" } else { " INTERSECT " });
        sql.push_str("SELECT text FROM label_pair WHERE name = ? AND value = ?");
    }
    if !pairs.is_empty() {
        sql.push(')');
    }
    let mut query = connection.prepare_cached(&sql)?;
    let mut rows = query.query(params_from_iter(pairs.iter().flat_map(|(name, value)| [*name, *value])))?;
    let (mut texts, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let text = row.get_ref(1)?.as_str().unwrap_or_default();
        let labels = labels_of(text)?;
        if meets(&labels) {
            bytes += text.len() as u64;
            texts.push((row.get(0)?, Arc::new(labels)));
        }
        if bytes > LABEL_BYTES_MAX {
            return Err(ReadError::TooLarge { what: "bytes of labels", limit: LABEL_BYTES_MAX });
        }
    }
    Ok(texts)
}

fn of_every_node(
    connection: &Connection,
    texts: Vec<(i64, Arc<Labels>)>,
    of_node: &[&Matcher],
    finds: &mut Finds,
) -> Result<(), ReadError> {
    let mut names = connection.prepare_cached("SELECT name FROM node WHERE id = ?")?;
    // Whether a node meets its matchers is judged once.
    let mut nodes: HashMap<i64, Option<NodeId>> = HashMap::new();
    let mut query = connection.prepare_cached("SELECT id, node FROM labelset WHERE text = ?")?;
    for (text, labels) in texts {
        let mut rows = query.query([text])?;
        while let Some(row) = rows.next()? {
            let node: i64 = row.get(1)?;
            let met = match nodes.get(&node) {
                Some(met) => met.clone(),
                None => {
                    let text: String = names.query_row([node], |row| row.get(0))?;
                    let met = of_node.iter().all(|matcher| matcher.matches(&text));
                    // Those of the fleet itself were found by their own labels.
                    let met = if met { Some(name(&text)?).filter(|name| !is_own(name)) } else { None };
                    nodes.insert(node, met.clone());
                    met
                }
            };
            if let Some(name) = met {
                finds.add(Found { id: row.get(0)?, node, name, labels: labels.clone() })?;
            }
        }
    }
    Ok(())
}
