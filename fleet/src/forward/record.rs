//! Records as they are sent, and which of a block's a target wants.

use crate::node_labels::NodeLabels;
use crate::store::FoundBlock;
use skerry_chunk::{Limits, LogReader, Unpacker};
use skerry_model::{Labels, Level, NodeId, OutputStream, RecordRef, UnixMillis, stream_labels};
use skerry_promapi::with_node;
use skerry_promql::{Matcher, matches_all};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// A record on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Number of its block in the queue.
    pub(super) queue: i64,
    /// Its place in the block, from 0.
    pub(super) index: u32,
    /// Epoch and number of the block: with the place, the record's name for ever.
    pub(super) block: (u64, u64),
    /// Whose.
    pub(super) node: NodeId,
    /// The labels by which it is queried: its source's, `stream`, `level`, `node`, and what the admins signed.
    pub(super) labels: Arc<Labels>,
    /// When it was written.
    pub(super) at: UnixMillis,
    /// When it came to the fleet.
    pub(super) received: UnixMillis,
    /// Severity.
    pub(super) level: Level,
    /// What is known of it alone.
    pub(super) fields: Labels,
    /// The text.
    pub(super) line: Vec<u8>,
}

impl Entry {
    /// Its time in nanoseconds. Our times have milliseconds; the place in the block takes the digits below, so that
    /// equal lines of one millisecond stay two and keep their order.
    pub(super) fn nanos(&self) -> i64 {
        self.at.0.saturating_mul(1_000_000).saturating_add(i64::from(self.index % 1_000_000))
    }

    /// Its name among all records of all nodes.
    pub(super) fn id(&self) -> String {
        format!("{}-{:x}-{}-{}", self.node, self.block.0, self.block.1, self.index)
    }

    /// Its line as text.
    pub(super) fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.line)
    }

    /// What runs there, by the first label that tells.
    pub(super) fn service(&self) -> &str {
        let of = |name: &&str| !self.labels.value(name).is_empty();
        ["service_name", "service", "app", "container", "unit", "source"]
            .iter()
            .find(|name| of(name))
            .map_or("", |name| self.labels.value(name))
    }

    /// About how many bytes it takes in a request.
    pub(super) fn bytes(&self) -> usize {
        self.line.len() + self.fields.iter().map(|(name, value)| name.len() + value.len() + 8).sum::<usize>() + 48
    }
}

/// Which records a target wants.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Conditions on the labels.
    pub matchers: Vec<Matcher>,
    /// Lowest severity. Records whose severity is not known are then left out.
    pub level: Option<Level>,
}

/// What a block gives.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Records that are wanted.
    pub(super) entries: Vec<Entry>,
    /// How many are not.
    pub(super) excluded: u64,
    /// How many cannot be read.
    pub(super) corrupt: u64,
}

/// Reads a block from its record `skip` on.
pub(super) fn read(
    (queue, node, block): (i64, &NodeId, &FoundBlock),
    skip: u32,
    wanted: &Wanted,
    labels: &NodeLabels,
) -> Read {
    let mut out = Read::default();
    let mut seen = u64::from(skip);
    // Records of one label set share the shown one; `None` where the matchers leave it out.
    let mut shown: HashMap<(*const Labels, OutputStream, Level), Option<Arc<Labels>>> = HashMap::new();
    let mut each = |index: usize, record: RecordRef<'_>| {
        let Ok(index) = u32::try_from(index) else { return ControlFlow::Break(()) };
        if index < skip {
            return ControlFlow::Continue(());
        }
        seen = u64::from(index) + 1;
        let key = (std::ptr::from_ref(record.labels), record.output, record.level);
        let set = shown.entry(key).or_insert_with(|| {
            let set = stream_labels(record.labels, record.output, record.level);
            // A label set that is full to its bounds is shown without what is told beside it.
            let set = labels.applied(node, &with_node(&set.unwrap_or_else(|_| record.labels.clone()), node));
            let wants = wanted.level.is_none_or(|least| record.level >= least);
            (wants && matches_all(&wanted.matchers, &set)).then(|| Arc::new(set))
        });
        match set {
            None => out.excluded += 1,
            Some(set) => out.entries.push(Entry {
                queue,
                index,
                block: (block.epoch.0, block.seq.0),
                node: node.clone(),
                labels: set.clone(),
                at: record.at,
                received: block.received,
                level: record.level,
                fields: record.fields.clone(),
                line: record.line.to_vec(),
            }),
        }
        ControlFlow::Continue(())
    };
    let reader = LogReader::open(&block.data, &Limits::default());
    let done = reader.and_then(|reader| reader.visit(&mut Unpacker::new(), |_| true, &mut each));
    if done.is_err() {
        out.corrupt = block.records.saturating_sub(seen);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::fixture::{block, record};
    use skerry_promql::MatchOp;

    fn all() -> Wanted {
        Wanted { matchers: Vec::new(), level: None }
    }

    #[test]
    fn records_bear_the_labels_that_queries_show() {
        let labels: NodeLabels =
            [("pi".parse().unwrap(), [("site".to_owned(), "north".to_owned())].into())].into_iter().collect();
        let found = block(&[record(5, Level::Warn, b"one"), record(5, Level::Unknown, b"one")]);
        let node = "pi".parse().unwrap();
        let got = read((7, &node, &found), 0, &all(), &labels);
        let shown: Vec<String> = got.entries.iter().map(|entry| entry.labels.to_string()).collect();
        assert_eq!(
            shown,
            [
                r#"{level="warn",node="pi",site="north",source="app",stream="stderr"}"#,
                r#"{node="pi",site="north",source="app",stream="stderr"}"#
            ]
        );
        assert_eq!((got.entries[0].nanos(), got.entries[1].nanos()), (5_000_000, 5_000_001), "two stay two");
        assert_eq!(got.entries[1].id(), "pi-9-4-1");
        assert_eq!((got.excluded, got.corrupt, got.entries[0].queue), (0, 0, 7));
    }

    #[test]
    fn only_what_is_wanted_and_not_sent_yet_is_read() {
        let found = block(&[
            record(1, Level::Info, b"a"),
            record(2, Level::Error, b"b"),
            record(3, Level::Unknown, b"c"),
            record(4, Level::Warn, b"d"),
        ]);
        let node = "pi".parse().unwrap();
        let lines = |skip, wanted: &Wanted| {
            let got = read((1, &node, &found), skip, wanted, &NodeLabels::default());
            let lines: Vec<u8> = got.entries.iter().map(|entry| entry.line[0]).collect();
            (String::from_utf8(lines).unwrap(), got.excluded)
        };
        assert_eq!(lines(0, &all()), ("abcd".into(), 0));
        assert_eq!(lines(2, &all()), ("cd".into(), 0));
        assert_eq!(lines(0, &Wanted { level: Some(Level::Warn), ..all() }), ("bd".into(), 2));
        let matchers = vec![Matcher::new("level", MatchOp::NotRegex, "error|warn").unwrap()];
        assert_eq!(lines(1, &Wanted { matchers, level: None }), ("c".into(), 2));
        let matchers = vec![Matcher::equal("node", "other")];
        assert_eq!(lines(0, &Wanted { matchers, level: None }), (String::new(), 4));
    }

    #[test]
    fn damage_is_counted_and_not_met_twice() {
        let mut found = block(&[record(1, Level::Info, b"a"), record(2, Level::Info, b"b")]);
        let at = found.data.len() / 2;
        found.data[at] ^= 1;
        let node = "pi".parse().unwrap();
        let got = |skip| read((1, &node, &found), skip, &all(), &NodeLabels::default());
        assert_eq!((got(0).corrupt, got(0).entries.len()), (2, 0));
        assert_eq!(got(1).corrupt, 1, "what was sent before is not lost");
    }
}
