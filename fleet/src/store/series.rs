//! Reads series back: label sets by matchers, then their samples from the blocks of every epoch.

use super::compact::{CHUNK_SPAN_MAX_MS, LIMITS};
use super::error::ReadError;
use super::index::{self, Found};
use super::ledger::labels_of;
use super::own::shown;
use rusqlite::{Connection, OptionalExtension, params};
use skerry_chunk::{DecodeError, MetricReader, Unpacker};
use skerry_model::{Labels, NodeId, Sample, SeriesId, UnixMillis};
use skerry_promql::Matcher;
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::Arc;

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
    /// Most samples that it may bring; above [`SAMPLES_MAX`] that counts.
    pub samples_max: u64,
}

/// One series of one node, all epochs merged.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesData {
    /// Whose.
    pub node: NodeId,
    /// Labels with `node` added, see [`shown`].
    pub labels: Labels,
    /// Samples by rising time, each moment once.
    pub samples: Vec<Sample>,
}

/// Newest samples of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct NewestOf {
    /// The node.
    pub node: NodeId,
    /// By series, with the labels that the node gave it; a sample may say that the series has ended.
    pub samples: Vec<(Arc<Labels>, Sample)>,
}

/// Answer to a [`Select`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Selected {
    /// Series that have samples in the range, sorted by labels.
    pub series: Vec<SeriesData>,
    /// Blocks that could not be read: the file is damaged there. The rest was read.
    pub damaged_blocks: u64,
}

/// Label sets that meet the matchers, whenever they had samples.
///
/// # Errors
/// [`ReadError::TooLarge`] where there are more than `limit`.
pub(super) fn label_sets(
    connection: &Connection,
    matchers: &[Matcher],
    limit: usize,
) -> Result<Vec<(NodeId, Labels)>, ReadError> {
    let found = index::find(connection, matchers, limit as u64)?;
    Ok(found.into_iter().map(|found| (found.name.clone(), shown(&found.labels, &found.name))).collect())
}

/// Samples as they are found, up to the most that the query may bring.
struct Gathered {
    samples: Vec<Vec<Sample>>,
    range: RangeInclusive<UnixMillis>,
    total: u64,
    max: u64,
    damaged_blocks: u64,
    unpacker: Unpacker,
}

impl Gathered {
    /// Takes the wanted series, given by rising id, out of a block.
    fn take(&mut self, data: &[u8], wanted: &[(SeriesId, usize)]) -> Result<(), ReadError> {
        if self.read(data, wanted).is_err() {
            self.damaged_blocks += 1;
        }
        if self.total > self.max {
            return Err(ReadError::TooLarge { what: "samples", limit: self.max });
        }
        Ok(())
    }

    fn read(&mut self, data: &[u8], wanted: &[(SeriesId, usize)]) -> Result<(), DecodeError> {
        let reader = MetricReader::open_with(&mut self.unpacker, data, &LIMITS)?;
        let Self { samples, range, total, max, .. } = self;
        let total = Cell::from_mut(total);
        let mut add = |at: usize, time: UnixMillis, value: f64| {
            if range.contains(&time) {
                total.set(total.get() + 1);
                samples[at].push(Sample { at: time, value });
            }
        };
        if wanted.len() > ONE_BY_ONE_MAX {
            // Once there are too many, nothing more is taken: the query has no answer.
            let place = |id: SeriesId| {
                let found = wanted.binary_search_by_key(&id, |(id, _)| *id).ok().filter(|_| total.get() <= *max);
                found.map(|found| wanted[found].1)
            };
            return reader.samples_of(place, add);
        }
        for (id, at) in wanted {
            reader.samples(*id, |time, value| add(*at, time, value))?;
        }
        Ok(())
    }
}

/// From so many wanted series on, all columns of a block are walked over once: finding one by itself passes over those
/// before it.
const ONE_BY_ONE_MAX: usize = 4;

/// The samples that a query asks for.
pub(super) fn select(connection: &Connection, query: &Select) -> Result<Selected, ReadError> {
    let found = index::find(connection, &query.matchers, SERIES_MAX)?;
    let gathered = gather(connection, query, &found)?;
    let mut answer = Selected { series: Vec::new(), damaged_blocks: gathered.damaged_blocks };
    for (found, mut samples) in found.into_iter().zip(gathered.samples) {
        if samples.is_empty() {
            continue;
        }
        if !samples.windows(2).all(|pair| pair[0].at < pair[1].at) {
            samples.sort_by_key(|sample| sample.at);
            samples.dedup_by_key(|sample| sample.at);
        }
        let labels = shown(&found.labels, &found.name);
        answer.series.push(SeriesData { node: found.name, labels, samples });
    }
    answer.series.sort_by(|a, b| (&a.labels, &a.node).cmp(&(&b.labels, &b.node)));
    Ok(answer)
}

/// The samples of these series in a query's range.
fn gather(connection: &Connection, query: &Select, found: &[Found]) -> Result<Gathered, ReadError> {
    let mut gathered = Gathered {
        samples: vec![Vec::new(); found.len()],
        range: query.from..=query.to,
        total: 0,
        max: query.samples_max.min(SAMPLES_MAX),
        damaged_blocks: 0,
        unpacker: Unpacker::new(),
    };
    select_chunks(connection, query, found, &mut gathered)?;
    select_blocks(connection, query, found, &mut gathered)?;
    Ok(gathered)
}

/// Takes what compaction has put together.
fn select_chunks(
    connection: &Connection,
    query: &Select,
    found: &[Found],
    gathered: &mut Gathered,
) -> Result<(), ReadError> {
    let mut by_node: BTreeMap<i64, Vec<(SeriesId, usize)>> = BTreeMap::new();
    for (at, found) in found.iter().enumerate() {
        if let Ok(id) = u32::try_from(found.id) {
            by_node.entry(found.node).or_default().push((SeriesId(id), at));
        }
    }
    // The index has all of this; a chunk's own page is touched only for what is read.
    let mut list = connection.prepare_cached(
        "SELECT id, s0, s1 FROM metric_chunk WHERE node = ? AND t1 >= ? AND t1 <= ? AND t0 <= ? AND s0 <= ? AND s1 >= ?
         ORDER BY t1, id",
    )?;
    let mut read = connection.prepare_cached("SELECT data FROM metric_chunk WHERE id = ?")?;
    for (node, mut series) in by_node {
        series.sort_unstable();
        let (Some(first), Some(last)) = (series.first(), series.last()) else { continue };
        let ends = query.to.0.saturating_add(CHUNK_SPAN_MAX_MS);
        let rows = list.query_map(params![node, query.from.0, ends, query.to.0, last.0.0, first.0.0], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, u32>(1)?, row.get::<_, u32>(2)?))
        })?;
        for (id, s0, s1) in rows.collect::<Result<Vec<_>, _>>()? {
            let begin = series.partition_point(|(series, _)| series.0 < s0);
            let end = series.partition_point(|(series, _)| series.0 <= s1);
            if begin < end {
                let mut rows = read.query([id])?;
                if let Some(row) = rows.next()? {
                    gathered.take(row.get_ref(0)?.as_blob().unwrap_or_default(), &series[begin..end])?;
                }
            }
        }
    }
    Ok(())
}

/// Takes what is still as the nodes sent it.
fn select_blocks(
    connection: &Connection,
    query: &Select,
    found: &[Found],
    gathered: &mut Gathered,
) -> Result<(), ReadError> {
    let mut by_stream: BTreeMap<i64, Vec<(SeriesId, usize)>> = BTreeMap::new();
    let mut ids = connection.prepare_cached(
        "SELECT r.stream, r.sid FROM series r JOIN stream s ON s.id = r.stream
         WHERE r.labelset = ? AND s.t1 >= ? AND s.t0 <= ?",
    )?;
    for (at, found) in found.iter().enumerate() {
        let rows = ids.query_map(params![found.id, query.from.0, query.to.0], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, u32>(1)?))
        })?;
        for row in rows {
            let (stream, sid) = row?;
            by_stream.entry(stream).or_default().push((SeriesId(sid), at));
        }
    }
    let mut blocks = connection
        .prepare_cached("SELECT data FROM metric_block WHERE stream = ? AND t1 >= ? AND t0 <= ? ORDER BY t1, id")?;
    for (stream, mut series) in by_stream {
        series.sort_unstable();
        let mut rows = blocks.query(params![stream, query.from.0, query.to.0])?;
        while let Some(row) = rows.next()? {
            gathered.take(row.get_ref(0)?.as_blob().unwrap_or_default(), &series)?;
        }
    }
    Ok(())
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

/// Newest samples: by number of the stream and series id, or, without a stream, by number of the label set.
pub(super) type Newest = HashMap<(Option<i64>, SeriesId), Sample>;

/// When a node's newest block ends. Blocks that bear a time later than `now` count only where there are no others.
fn last_of(connection: &Connection, node: &NodeId, now: UnixMillis) -> Result<Option<i64>, ReadError> {
    let mut query = connection.prepare_cached(
        "SELECT max(
           coalesce((SELECT max((SELECT max(b.t1) FROM metric_block b WHERE b.stream = s.id AND b.t1 <= ?2))
             FROM stream s WHERE s.node = n.id AND s.kind = 'metrics'), -9223372036854775808),
           coalesce((SELECT max(c.t1) FROM metric_chunk c WHERE c.node = n.id AND c.t1 <= ?2), -9223372036854775808))
         FROM node n WHERE n.name = ?1",
    )?;
    let mut last = None;
    for horizon in [now.0.saturating_add(AHEAD_MS), i64::MAX] {
        if last.is_none() {
            let found = query.query_row(params![node.as_str(), horizon], |row| row.get::<_, i64>(0)).optional()?;
            last = found.filter(|at| *at > i64::MIN);
        }
    }
    Ok(last)
}

/// The newest sample of each series of these metrics, node by node, by the rules of [`newest`]; nodes that have none are
/// left out. A node's blocks are read once, however many metrics there are, and labels once for all nodes.
pub(super) fn newest_named(
    connection: &Connection,
    nodes: &[NodeId],
    metrics: &[String],
    now: UnixMillis,
) -> Result<Vec<NewestOf>, ReadError> {
    let named = index::named(connection, metrics)?;
    let mut answer = Vec::new();
    for node in nodes {
        let Some(last) = last_of(connection, node, now)? else { continue };
        let found = index::of_node_among(connection, node, &named)?;
        let from = UnixMillis(last.saturating_sub(LOOKBACK_MS));
        let query = Select { matchers: Vec::new(), from, to: UnixMillis(last), samples_max: SAMPLES_MAX };
        let gathered = gather(connection, &query, &found)?;
        let newest = |samples: &Vec<Sample>| samples.iter().copied().max_by_key(|sample| sample.at);
        let samples = found.into_iter().zip(&gathered.samples);
        let samples: Vec<_> = samples.filter_map(|(found, all)| Some((found.labels, newest(all)?))).collect();
        if !samples.is_empty() {
            answer.push(NewestOf { node: node.clone(), samples });
        }
    }
    Ok(answer)
}

/// The same, without labels.
pub(super) fn newest_of(connection: &Connection, node: &NodeId, now: UnixMillis) -> Result<Newest, ReadError> {
    let Some(last) = last_of(connection, node, now)? else { return Ok(Newest::new()) };
    let after = last.saturating_sub(LOOKBACK_MS);
    let mut newest: Newest = Newest::new();
    let mut unpacker = Unpacker::new();
    let mut take = |stream: Option<i64>, data: &[u8]| {
        // A damaged block costs its values alone.
        let Ok(reader) = MetricReader::open_with(&mut unpacker, data, &LIMITS) else { return };
        let _ = reader.samples_of(Some, |series, at, value| {
            let sample = Sample { at, value };
            let held = newest.entry((stream, series)).or_insert(sample);
            if held.at <= at && at.0 <= last {
                *held = sample;
            }
        });
    };
    let mut query = connection.prepare_cached(
        "SELECT c.data FROM metric_chunk c WHERE c.node = (SELECT id FROM node WHERE name = ?) AND c.t1 > ? AND c.t1 <= ?
         ORDER BY c.t1, c.id",
    )?;
    let mut rows = query.query(params![node.as_str(), after, last])?;
    while let Some(row) = rows.next()? {
        take(None, row.get_ref(0)?.as_blob().unwrap_or_default());
    }
    let mut query = connection.prepare_cached(
        "SELECT b.stream, b.data FROM stream s JOIN metric_block b ON b.stream = s.id
         WHERE s.node = (SELECT id FROM node WHERE name = ?) AND s.kind = 'metrics' AND b.t1 > ? AND b.t1 <= ?
         ORDER BY b.t1, b.id",
    )?;
    let mut rows = query.query(params![node.as_str(), after, last])?;
    while let Some(row) = rows.next()? {
        take(row.get(0)?, row.get_ref(1)?.as_blob().unwrap_or_default());
    }
    // A block reaches back, a chunk far: what ended before is not news.
    newest.retain(|_, sample| sample.at.0 > after);
    Ok(newest)
}

fn name_newest(
    connection: &Connection,
    node: &NodeId,
    newest: Newest,
    limit: usize,
) -> Result<Vec<(Labels, Sample)>, ReadError> {
    let mut query = connection.prepare_cached(
        "SELECT t.labels FROM labelset l JOIN label_text t ON t.id = l.text
         WHERE l.id = CASE WHEN ?1 IS NULL THEN ?2 ELSE (SELECT labelset FROM series WHERE stream = ?1 AND sid = ?2) END",
    )?;
    let mut named: BTreeMap<Labels, Sample> = BTreeMap::new();
    for ((stream, id), sample) in newest {
        let mut rows = query.query(params![stream, id.0])?;
        let Some(row) = rows.next()? else { continue };
        let labels = shown(&labels_of(row.get_ref(0)?.as_str().unwrap_or_default())?, node);
        let held = named.entry(labels).or_insert(sample);
        if held.at < sample.at {
            *held = sample;
        }
    }
    Ok(named.into_iter().take(limit).collect())
}
