//! Hands the samples of blocks that come in to the window, as the series that rules know: with the node's name and the
//! labels that were signed for it.
//!
//! Which series a rule reads is decided once per series of a node's epoch; the others cost nothing afterwards.

use crate::node_labels::NodeLabels;
use crate::store::{ArrivedBlock, shown};
use skerry_alerting::window::{Need, Window};
use skerry_chunk::{Limits, MetricReader, Unpacker};
use skerry_model::{Labels, NodeId, SeriesId, UnixMillis, stale_nan};
use skerry_promql::matches_all;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Streams that are remembered; the one that was quiet for longest is forgotten, and read again when it comes back.
const STREAMS_MAX: usize = 50_000;

/// Number of a stream and the highest id of a series that is known of it.
pub(super) type Unknown = (i64, Option<SeriesId>);

/// An epoch of a node.
#[derive(Debug)]
struct Stream {
    node: NodeId,
    /// Series that a rule reads.
    wanted: HashMap<SeriesId, Labels>,
    /// Ids up to this one have been looked at.
    known: Option<SeriesId>,
    /// When a block of it came last.
    used: u64,
}

/// What is known of the series that come in.
#[derive(Debug, Default)]
pub(super) struct Feed {
    needs: Vec<Need>,
    signed: Arc<NodeLabels>,
    streams: HashMap<i64, Stream>,
    turn: u64,
    unpacker: Unpacker,
    /// Blocks that could not be read.
    pub(super) damaged: u64,
}

impl Feed {
    /// Takes other needs: everything is decided anew.
    pub(super) fn set_needs(&mut self, needs: Vec<Need>) {
        self.needs = needs;
        self.streams.clear();
    }

    /// Takes other signed labels. Series of nodes whose labels changed end under their old ones.
    pub(super) fn set_signed(&mut self, signed: Arc<NodeLabels>, window: &mut Window, now: UnixMillis) {
        if self.signed == signed {
            return;
        }
        let before = std::mem::replace(&mut self.signed, signed);
        let after = &self.signed;
        self.streams.retain(|_, stream| {
            let is_same = before.of(&stream.node) == after.of(&stream.node);
            if !is_same {
                window.push(now, stream.wanted.values().map(|labels| (labels, stale_nan())));
            }
            is_same
        });
    }

    /// Looks at series of a stream, given with their labels as the node gave them, by rising id.
    pub(super) fn learn(&mut self, stream: i64, node: &NodeId, series: Vec<(SeriesId, Labels)>) {
        self.make_room();
        let held = self.streams.entry(stream).or_insert_with(|| Stream {
            node: node.clone(),
            wanted: HashMap::new(),
            known: None,
            used: self.turn,
        });
        for (id, labels) in series {
            held.known = held.known.max(Some(id));
            let labels = self.signed.applied(node, &shown(&labels, node));
            if self.needs.iter().any(|need| matches_all(&need.matchers, &labels)) {
                held.wanted.insert(id, labels);
            }
        }
    }

    fn make_room(&mut self) {
        if self.streams.len() < STREAMS_MAX {
            return;
        }
        let quiet = self.streams.iter().min_by_key(|(_, stream)| stream.used).map(|(number, _)| *number);
        if let Some(quiet) = quiet {
            self.streams.remove(&quiet);
        }
    }

    /// Hands a block on. Where it has series that were never looked at, nothing is handed on and it is said which of
    /// its stream are known.
    pub(super) fn take(&mut self, block: &ArrivedBlock, window: &mut Window) -> Option<Unknown> {
        self.turn += 1;
        if self.needs.is_empty() {
            return None;
        }
        let Some(stream) = self.streams.get_mut(&block.stream) else { return Some((block.stream, None)) };
        stream.used = self.turn;
        let Ok(reader) = MetricReader::open_with(&mut self.unpacker, &block.data, &Limits::default()) else {
            self.damaged += 1;
            return None;
        };
        let mut rows: BTreeMap<UnixMillis, Vec<(&Labels, f64)>> = BTreeMap::new();
        let mut unknown = false;
        let read = reader.samples_of(
            |id| {
                unknown |= Some(id) > stream.known;
                stream.wanted.get(&id)
            },
            |labels, at, value| rows.entry(at).or_default().push((labels, value)),
        );
        if read.is_err() {
            self.damaged += 1;
        }
        if unknown {
            return Some((block.stream, stream.known));
        }
        for (at, rows) in rows {
            window.push(at, rows);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::fixture::{self, node};
    use skerry_alerting::window::WindowSource;
    use skerry_promql::{Matcher, Selected, Source, SourceError};

    struct Nothing;

    impl Source for Nothing {
        fn select(&self, _: &[Matcher], _: UnixMillis, _: UnixMillis, _: u64) -> Result<Vec<Selected>, SourceError> {
            Ok(Vec::new())
        }
    }

    fn signed(site: &str) -> Arc<NodeLabels> {
        Arc::new([(node("a"), BTreeMap::from([("site".to_owned(), site.to_owned())]))].into_iter().collect())
    }

    #[test]
    fn blocks_reach_the_window_under_the_labels_that_rules_know() {
        let wanted = fixture::labels(SeriesId(1));
        let matchers = vec![Matcher::equal("__name__", wanted.metric()), Matcher::equal("site", "lab")];
        let need = Need { matchers: matchers.clone(), back_ms: 300_000 };
        let begin = UnixMillis(fixture::at(1).0 - 600_000);
        let mut window = Window::new(std::slice::from_ref(&need), 1 << 20, begin);
        let mut feed = Feed::default();
        feed.set_needs(vec![need]);
        feed.set_signed(signed("lab"), &mut window, begin);
        let block =
            |from, to| ArrivedBlock { node: node("a"), stream: 4, data: fixture::block(from, to).encode().unwrap() };
        let learn = |feed: &mut Feed, after: u32| {
            let ids = (after + 1..=10).map(|id| (SeriesId(id), fixture::labels(SeriesId(id))));
            feed.learn(4, &node("a"), ids.collect());
        };
        assert_eq!(feed.take(&block(1, 3), &mut window), Some((4, None)));
        learn(&mut feed, 0);
        assert_eq!(feed.take(&block(1, 3), &mut window), None);
        let select = |window: &Window| {
            let source = WindowSource { window, behind: &Nothing };
            source.select(&matchers, fixture::at(1), fixture::at(9), 1000).unwrap()
        };
        window.trim(fixture::at(3));
        let found = select(&window);
        assert!(!found.is_empty() && found.iter().all(|series| series.labels.value("node") == "a"), "{found:?}");
        let before: usize = found.iter().map(|series| series.samples.len()).sum();
        // The node moves: its series end here.
        feed.set_signed(signed("barn"), &mut window, fixture::at(4));
        assert_eq!(feed.take(&block(4, 4), &mut window), Some((4, None)));
        let after: usize = select(&window).iter().map(|series| series.samples.len()).sum();
        assert!(after > before, "a stale marker is there");
        let damaged = ArrivedBlock { data: vec![1, 2, 3], ..block(1, 1) };
        learn(&mut feed, 0);
        assert_eq!((feed.take(&damaged, &mut window), feed.damaged), (None, 1));
    }
}
