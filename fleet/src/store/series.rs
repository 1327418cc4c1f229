//! Reads series back: label sets by matchers, then their samples from the blocks of every epoch.

use super::error::ReadError;
use super::events::name;
use super::ledger::labels_of;
use rusqlite::{Connection, params};
use skerry_chunk::{Limits, MetricReader};
use skerry_model::{Labels, NodeId, Sample, SeriesId, UnixMillis};
use skerry_promapi::with_node;
use skerry_promql::Matcher;
use std::collections::{BTreeMap, HashMap};

/// Most samples that one query brings.
pub const SAMPLES_MAX: u64 = 5_000_000;
/// Most series that one query brings.
const SERIES_MAX: u64 = 50_000;

/// Which samples to read.
#[derive(Debug, Clone)]
pub struct Select {
    /// All of them have to be met. The label `node` is the node's name.
    pub matchers: Vec<Matcher>,
    /// First moment.
    pub from: UnixMillis,
    /// Last moment; it belongs to the range.
    pub to: UnixMillis,
}

/// One series of one node, all epochs merged.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesData {
    /// Whose.
    pub node: NodeId,
    /// Labels with `node` added, see [`with_node`].
    pub labels: Labels,
    /// Samples by rising time, each moment once.
    pub samples: Vec<Sample>,
}

/// Answer to a [`Select`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Selected {
    /// Series that have samples in the range, sorted by labels.
    pub series: Vec<SeriesData>,
    /// Blocks that could not be read: the file is damaged there. The rest was read.
    pub damaged_blocks: u64,
}

/// Label sets that meet the matchers, whenever they had samples; at most `limit`.
pub(super) fn label_sets(
    connection: &Connection,
    matchers: &[Matcher],
    limit: usize,
) -> Result<Vec<(NodeId, Labels)>, ReadError> {
    let mut found = find(connection, matchers)?;
    found.truncate(limit);
    Ok(found.into_iter().map(|found| (found.node.clone(), with_node(&found.labels, &found.node))).collect())
}

/// A label set that meets the matchers.
struct Found {
    id: i64,
    node: NodeId,
    labels: Labels,
}

/// The samples that a query asks for.
pub(super) fn select(connection: &Connection, query: &Select) -> Result<Selected, ReadError> {
    let found = find(connection, &query.matchers)?;
    let mut by_stream: BTreeMap<i64, Vec<(SeriesId, usize)>> = BTreeMap::new();
    let mut ids = connection.prepare_cached(
        "SELECT r.stream, r.sid FROM series r JOIN stream s ON s.id = r.stream
         WHERE r.labelset = ? AND s.t1 >= ? AND s.t0 <= ?",
    )?;
    for (at, labelset) in found.iter().enumerate() {
        let rows = ids.query_map(params![labelset.id, query.from.0, query.to.0], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, u32>(1)?))
        })?;
        for row in rows {
            let (stream, sid) = row?;
            by_stream.entry(stream).or_default().push((SeriesId(sid), at));
        }
    }
    let mut answer = Selected::default();
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); found.len()];
    let mut total = 0;
    let mut blocks = connection
        .prepare_cached("SELECT data FROM metric_block WHERE stream = ? AND t1 >= ? AND t0 <= ? ORDER BY t1, id")?;
    for (stream, mut series) in by_stream {
        series.sort_unstable();
        let mut rows = blocks.query(params![stream, query.from.0, query.to.0])?;
        while let Some(row) = rows.next()? {
            let read = read_block(row.get_ref(0)?.as_blob().unwrap_or_default(), &series, |at, sample| {
                if (query.from..=query.to).contains(&sample.at) {
                    total += 1;
                    samples[at].push(sample);
                }
            });
            answer.damaged_blocks += u64::from(read.is_none());
            if total > SAMPLES_MAX {
                return Err(ReadError::TooLarge { what: "samples", limit: SAMPLES_MAX });
            }
        }
    }
    for (labelset, mut samples) in found.into_iter().zip(samples) {
        if samples.is_empty() {
            continue;
        }
        samples.sort_by_key(|sample| sample.at);
        samples.dedup_by_key(|sample| sample.at);
        let labels = with_node(&labelset.labels, &labelset.node);
        answer.series.push(SeriesData { node: labelset.node, labels, samples });
    }
    answer.series.sort_by(|a, b| (&a.labels, &a.node).cmp(&(&b.labels, &b.node)));
    Ok(answer)
}

fn find(connection: &Connection, matchers: &[Matcher]) -> Result<Vec<Found>, ReadError> {
    let demanded = |label| matchers.iter().find_map(|matcher| matcher.demanded(label));
    // The planner takes the index on (metric, node), on (node, labels), or none, as the demands allow.
    let mut query = connection.prepare_cached(match (demanded("__name__"), demanded("node")) {
        (Some(_), Some(_)) => {
            "SELECT l.id, n.name, l.labels FROM labelset l JOIN node n ON n.id = l.node
             WHERE l.metric = ?1 AND n.name = ?2"
        }
        (Some(_), None) => {
            "SELECT l.id, n.name, l.labels FROM labelset l JOIN node n ON n.id = l.node
             WHERE l.metric = ?1 AND ?2 IS NULL"
        }
        (None, Some(_)) => {
            "SELECT l.id, n.name, l.labels FROM labelset l JOIN node n ON n.id = l.node
             WHERE ?1 IS NULL AND n.name = ?2"
        }
        (None, None) => {
            "SELECT l.id, n.name, l.labels FROM labelset l JOIN node n ON n.id = l.node
             WHERE ?1 IS NULL AND ?2 IS NULL"
        }
    })?;
    let mut rows = query.query(params![demanded("__name__"), demanded("node")])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let node = name(row.get_ref(1)?.as_str().unwrap_or_default())?;
        let labels = labels_of(row.get_ref(2)?.as_str().unwrap_or_default())?;
        let met = matchers.iter().all(|matcher| match matcher.label() {
            "node" => matcher.matches(node.as_str()),
            "exported_node" => matcher.matches(labels.value("node")),
            label => matcher.matches(labels.value(label)),
        });
        if met {
            found.push(Found { id: row.get(0)?, node, labels });
        }
        if found.len() as u64 > SERIES_MAX {
            return Err(ReadError::TooLarge { what: "series", limit: SERIES_MAX });
        }
    }
    Ok(found)
}

/// From so many wanted series on, all columns of a block are read in one go: finding one by itself passes over those
/// before it.
const ONE_BY_ONE_MAX: usize = 8;

/// Hands each sample of the wanted series, given by rising id, to `each`; `None` where the block cannot be read to its
/// end.
fn read_block(data: &[u8], wanted: &[(SeriesId, usize)], mut each: impl FnMut(usize, Sample)) -> Option<()> {
    let reader = MetricReader::open(data, &Limits::default()).ok()?;
    let mut hand_on = |at: usize, values: Vec<Option<f64>>| {
        for (time, value) in reader.timestamps().iter().zip(values) {
            if let Some(value) = value {
                each(at, Sample { at: *time, value });
            }
        }
    };
    if wanted.len() > ONE_BY_ONE_MAX {
        for column in reader.columns() {
            let column = column.ok()?;
            if let Ok(found) = wanted.binary_search_by_key(&column.series, |(id, _)| *id) {
                hand_on(wanted[found].1, column.values);
            }
        }
        return Some(());
    }
    for (id, at) in wanted {
        if let Some(values) = reader.read(*id).ok()? {
            hand_on(*at, values);
        }
    }
    Some(())
}

/// How far before a node's newest block a value still counts as newest: the lookback of Prometheus.
const LOOKBACK_MS: i64 = 300_000;
/// How far ahead of the fleet's clock a node's may run.
const AHEAD_MS: i64 = 3_600_000;

/// The newest value of every series that a node measured within five minutes of its newest block, at most `limit`,
/// sorted by labels. Blocks that bear a time later than `now` count only where there are no others: a clock that was
/// once set to a far future would otherwise hide all that came after it was mended.
pub(super) fn newest(
    connection: &Connection,
    node: &NodeId,
    now: UnixMillis,
    limit: usize,
) -> Result<Vec<(Labels, Sample)>, ReadError> {
    name_newest(connection, node, newest_of(connection, node, now)?, limit)
}

/// The same by stream and id.
pub(super) fn newest_of(
    connection: &Connection,
    node: &NodeId,
    now: UnixMillis,
) -> Result<HashMap<(i64, SeriesId), Sample>, ReadError> {
    let mut query = connection.prepare_cached(
        "SELECT max((SELECT max(b.t1) FROM metric_block b WHERE b.stream = s.id AND b.t1 <= ?2))
         FROM stream s WHERE s.node = (SELECT id FROM node WHERE name = ?1) AND s.kind = 'metrics'",
    )?;
    let mut last = None;
    for horizon in [now.0.saturating_add(AHEAD_MS), i64::MAX] {
        if last.is_none() {
            last = query.query_row(params![node.as_str(), horizon], |row| row.get::<_, Option<i64>>(0))?;
        }
    }
    let Some(last) = last else { return Ok(HashMap::new()) };
    let mut query = connection.prepare_cached(
        "SELECT b.stream, b.data FROM stream s JOIN metric_block b ON b.stream = s.id
         WHERE s.node = (SELECT id FROM node WHERE name = ?) AND s.kind = 'metrics' AND b.t1 > ? AND b.t1 <= ?
         ORDER BY b.t1, b.id",
    )?;
    let mut newest: HashMap<(i64, SeriesId), Sample> = HashMap::new();
    let mut rows = query.query(params![node.as_str(), last.saturating_sub(LOOKBACK_MS), last])?;
    while let Some(row) = rows.next()? {
        let stream = row.get(0)?;
        // A damaged block costs its values alone.
        let Ok(reader) = MetricReader::open(row.get_ref(1)?.as_blob().unwrap_or_default(), &Limits::default()) else {
            continue;
        };
        for column in reader.columns() {
            let Ok(column) = column else { break };
            let present = reader.timestamps().iter().zip(column.values);
            let samples = present.filter_map(|(at, value)| value.map(|value| Sample { at: *at, value }));
            let Some(sample) = samples.max_by_key(|sample| sample.at) else { continue };
            let held = newest.entry((stream, column.series)).or_insert(sample);
            if held.at <= sample.at {
                *held = sample;
            }
        }
    }
    Ok(newest)
}

fn name_newest(
    connection: &Connection,
    node: &NodeId,
    newest: HashMap<(i64, SeriesId), Sample>,
    limit: usize,
) -> Result<Vec<(Labels, Sample)>, ReadError> {
    let mut query = connection.prepare_cached(
        "SELECT l.labels FROM series r JOIN labelset l ON l.id = r.labelset WHERE r.stream = ? AND r.sid = ?",
    )?;
    let mut named: BTreeMap<Labels, Sample> = BTreeMap::new();
    for ((stream, id), sample) in newest {
        let mut rows = query.query(params![stream, id.0])?;
        let Some(row) = rows.next()? else { continue };
        let labels = with_node(&labels_of(row.get_ref(0)?.as_str().unwrap_or_default())?, node);
        let held = named.entry(labels).or_insert(sample);
        if held.at < sample.at {
            *held = sample;
        }
    }
    Ok(named.into_iter().take(limit).collect())
}
