//! Decides, without I/O, clock or randomness: which requests a window becomes, what an answer means, how long to wait.

use crate::outgoing::backoff::pause_asked;
use crate::outgoing::http::Answer;
use crate::store::OutgoingBlock;
use skerry_chunk::{Limits, MetricBlock};
use skerry_model::{Labels, NodeId, Sample, SeriesId, TimeRange, UnixMillis};
use skerry_remote::{Protocol, Series};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// How a store that speaks 2.0 says how many samples it took.
const WRITTEN: &str = "x-prometheus-remote-write-samples-written";

/// Samples of one node.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    /// Whose.
    pub(super) node: NodeId,
    /// Whether its samples begin before the newest that the node had sent.
    pub(super) is_late: bool,
    /// Series, each with samples by rising time.
    pub(super) series: Vec<Series>,
}

impl Request {
    pub(super) fn samples(&self) -> u64 {
        self.series.iter().map(|series| series.samples.len() as u64).sum()
    }

    /// Times of its samples; it has one at least.
    pub(super) fn range(&self) -> TimeRange {
        let times = self.series.iter().flat_map(|series| &series.samples).map(|sample| TimeRange::at(sample.at));
        times.reduce(TimeRange::cover).unwrap_or(TimeRange::at(UnixMillis(0)))
    }
}

/// A block, read; `None` where it is damaged.
pub(super) fn decode(block: &OutgoingBlock) -> Option<MetricBlock> {
    MetricBlock::decode(&block.data, &Limits::default()).ok()
}

/// What a window becomes.
#[derive(Debug, Default)]
pub(super) struct Planned {
    /// Requests by node, in the order to be sent.
    pub(super) requests: BTreeMap<NodeId, Vec<Request>>,
    /// How many samples the target's relabelling drops.
    pub(super) excluded: u64,
    /// How many samples of each node are of series whose labels are not held, which only a damaged file brings about.
    pub(super) unnamed: BTreeMap<NodeId, (u64, TimeRange)>,
}

/// The requests that blocks become: by node, in the order to be sent. The same blocks give the same requests.
///
/// A node's late blocks make requests of their own, behind the others: a target that takes samples in order only
/// refuses the late ones alone. Where a moment of a series comes twice its first value counts, as in queries.
pub(super) fn requests(
    blocks: &[(OutgoingBlock, MetricBlock)],
    shown: impl Fn(i64, SeriesId) -> Option<Shown>,
    samples_max: u64,
) -> Planned {
    let mut planned = Planned::default();
    let mut gathered: BTreeMap<(&NodeId, bool), BTreeMap<Labels, Vec<Sample>>> = BTreeMap::new();
    for (from, block) in blocks {
        let series = gathered.entry((&from.node, from.is_late)).or_default();
        for column in &block.columns {
            let values = block.timestamps.iter().zip(&column.values);
            let samples = values.filter_map(|(at, value)| value.map(|value| Sample { at: *at, value }));
            match shown(from.stream, column.series) {
                Some(Shown::As(labels)) => series.entry(labels).or_default().extend(samples),
                Some(Shown::Dropped) => planned.excluded += samples.count() as u64,
                None => {
                    let entry = planned.unnamed.entry(from.node.clone()).or_insert((0, from.range));
                    *entry = (entry.0 + samples.count() as u64, entry.1.cover(from.range));
                }
            }
        }
    }
    let samples_max = usize::try_from(samples_max).unwrap_or(usize::MAX).max(1);
    for ((node, is_late), series) in gathered {
        let cut = cut(series, samples_max);
        let cut = cut.into_iter().map(|series| Request { node: node.clone(), is_late, series });
        planned.requests.entry(node.clone()).or_default().extend(cut);
    }
    planned
}

/// Cuts series into parts of at most `samples_max` samples, one series after the other.
fn cut(series: BTreeMap<Labels, Vec<Sample>>, samples_max: usize) -> Vec<Vec<Series>> {
    let (mut parts, mut part, mut room) = (Vec::new(), Vec::new(), samples_max);
    for (labels, mut samples) in series {
        samples.sort_by_key(|sample| sample.at);
        samples.dedup_by_key(|sample| sample.at);
        let mut left = samples.as_slice();
        while let Some(now) = left.split_off(..left.len().min(room)).filter(|now| !now.is_empty()) {
            room -= now.len();
            part.push(Series { labels: labels.clone(), samples: now.to_vec() });
            if room == 0 {
                parts.push(std::mem::take(&mut part));
                room = samples_max;
            }
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// What is known of a request before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// It was never sent.
    New,
    /// It was sent, or may have been, and what became of it is not known.
    InDoubt,
}

/// What was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    /// As what.
    pub(super) protocol: Protocol,
    /// Whether its samples begin before the newest that its node had sent.
    pub(super) is_late: bool,
    /// What is known of it before.
    pub(super) before: Before,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The target has the samples.
    Sent,
    /// The target has the samples from the time before.
    Repeated,
    /// Try again.
    Retry {
        /// Not before this.
        after: Option<Duration>,
        /// Why.
        why: String,
    },
    /// The target does not want these samples, and never will.
    Refused {
        /// How many of them it took nevertheless.
        written: u64,
        /// Why.
        why: String,
    },
}

/// Judges an answer, as the specification demands: 5xx and 429 are tried again, other 4xx are not. A redirect says
/// that the URL is wrong and nothing about the samples, so it is tried until the URL is mended.
///
/// A store that knows 1.0 alone may take a message of 2.0 for an empty one and be content. What speaks 2.0 says how many
/// samples it took; where nothing is said, nothing was taken.
pub(super) fn judge(answer: &Answer, sent: &Sent, now: UnixMillis) -> Verdict {
    let words = answer.words();
    let written: Option<u64> = answer.headers.get(WRITTEN).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let why = format!("HTTP {}: {words}", answer.status);
    let after = || pause_asked(answer.retry_after()?, now);
    match answer.status {
        200..=299 if sent.protocol == Protocol::V2 && written.is_none() => {
            let why = format!("{why}; it does not say what it took, so it does not speak 2.0: mend protobuf_message");
            Verdict::Retry { after: None, why }
        }
        200..=299 => Verdict::Sent,
        300..=399 => Verdict::Retry { after: None, why: format!("{why}; redirects are not followed, mend the URL") },
        // A target that takes samples in order only says so of what it has already. Late samples are out of order
        // the first time too, so of them it says nothing.
        400 if sent.before == Before::InDoubt && !sent.is_late && is_order(&words) => Verdict::Repeated,
        429 => Verdict::Retry { after: after(), why },
        400..=499 => Verdict::Refused { written: written.unwrap_or(0), why },
        _ => Verdict::Retry { after: after(), why },
    }
}

/// Whether a refusal is about the order of samples, in the words of Prometheus and those who built on it.
fn is_order(words: &str) -> bool {
    ["out of order", "out-of-order", "duplicate sample"].iter().any(|phrase| words.contains(phrase))
}

/// Deals nodes out to `lanes`, the fullest ones first, each to the lane that has least.
pub(super) fn deal(requests: BTreeMap<NodeId, Vec<Request>>, lanes: usize) -> Vec<Vec<Request>> {
    let mut nodes: Vec<Vec<Request>> = requests.into_values().collect();
    nodes.sort_by_key(|requests| std::cmp::Reverse(requests.len()));
    let mut dealt: Vec<Vec<Request>> = (0..lanes.max(1)).map(|_| Vec::new()).collect();
    for requests in nodes {
        if let Some(lane) = dealt.iter_mut().min_by_key(|lane| lane.len()) {
            lane.extend(requests);
        }
    }
    dealt
}

/// How a series appears at a target.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shown {
    /// With these labels.
    As(Labels),
    /// Not at all: the target's relabelling drops it.
    Dropped,
}

/// How series of streams appear: found once, kept up to a bound.
#[derive(Debug, Default)]
pub(super) struct LabelCache(HashMap<(i64, SeriesId), Shown>);

/// Most label sets that a target's task keeps: about 30 MB.
const CACHE_MAX: usize = 100_000;

impl LabelCache {
    /// Which of these series are not in it.
    pub(super) fn missing(&self, wanted: impl Iterator<Item = (i64, SeriesId)>) -> Vec<(i64, SeriesId)> {
        let mut missing: Vec<_> = wanted.filter(|key| !self.0.contains_key(key)).collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    /// Whether it takes so many more without growing beyond its bound. One window is held whatever its size.
    pub(super) fn has_room(&self, more: usize) -> bool {
        self.0.len() + more <= CACHE_MAX
    }

    /// Adds series.
    pub(super) fn add(&mut self, found: Vec<((i64, SeriesId), Shown)>) {
        self.0.extend(found);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn shown(&self, stream: i64, series: SeriesId) -> Option<Shown> {
        self.0.get(&(stream, series)).cloned()
    }
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
