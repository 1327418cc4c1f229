//! What is asked of a query besides its text, and what comes of it.

use skerry_model::{Labels, TimeRange, UnixMillis};
use std::collections::BTreeMap;

/// Labels of one entry, sorted by name, each name once, no value empty. Not [`Labels`], because a line may hold more
/// fields than a label set takes.
pub type Pairs = Vec<(String, String)>;

/// From which end entries are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Newest first; Loki's default.
    #[default]
    Backward,
    /// Oldest first.
    Forward,
}

/// What is asked of a log query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRequest {
    /// From when to when, both included.
    pub range: TimeRange,
    /// Most entries.
    pub limit: usize,
    /// Which entries, if there are more, and their order.
    pub direction: Direction,
}

/// The whole milliseconds in `[start, end)`, whose ends are nanoseconds, as Loki's API has them; `None` where there is none.
#[must_use]
pub fn range_of_nanos(start: i128, end: i128) -> Option<TimeRange> {
    let ceil = |nanos: i128| (nanos + 999_999).div_euclid(1_000_000);
    let (from, to) = (ceil(start), ceil(end) - 1);
    let millis = |at: i128| i64::try_from(at).ok().map(UnixMillis);
    (from <= to).then_some(TimeRange { from: millis(from)?, to: millis(to)? })
}

/// What a query may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of lines that are looked at.
    pub examined_bytes_max: u64,
    /// Bytes of the entries that an answer holds at a time.
    pub held_bytes_max: u64,
    /// Series of a metric query.
    pub series_max: usize,
    /// Values that a metric query holds at a time: one per series and step with records, one per sample where a function
    /// needs them all (`quantile_over_time`, `rate_counter`). About 32 bytes each.
    pub values_max: u64,
}

impl Default for Limits {
    /// What a server affords: 20 GiB, 64 MiB, 5,000 series, 2 million values. A node gives less.
    fn default() -> Self {
        Self { examined_bytes_max: 20 << 30, held_bytes_max: 64 << 20, series_max: 5_000, values_max: 2_000_000 }
    }
}

/// What a query may use, and whether it may go on.
#[derive(Clone, Copy)]
pub struct Budget<'a> {
    /// By amount.
    pub limits: Limits,
    /// Asked every few hundred records: whether to give up, because time is up or nobody waits any more.
    pub should_stop: &'a dyn Fn() -> bool,
}

/// How much was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Blocks that the source offered.
    pub blocks_offered: u64,
    /// Blocks that were read.
    pub blocks_read: u64,
    /// Records that were looked at.
    pub lines: u64,
    /// Bytes of their lines.
    pub bytes: u64,
    /// Records that passed the query's filters.
    pub lines_kept: u64,
    /// Entries of the answer, of a log query.
    pub entries: u64,
}

/// One entry of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: UnixMillis,
    /// The line, as the query formats it.
    pub line: Vec<u8>,
    /// Structured metadata, as the query leaves it.
    pub metadata: Pairs,
    /// Labels that the query takes from the line or makes, `__error__` and `__error_details__` among them.
    pub parsed: Pairs,
}

/// Entries of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Its labels, without those of single entries.
    pub labels: Labels,
    /// Its entries, in the order of the direction.
    pub entries: Vec<Entry>,
}

/// The answer to a log query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogAnswer {
    /// Streams by their labels; each entry keeps its own labels, as Loki answers with `categorize-labels`.
    pub streams: Vec<Stream>,
    /// How much was looked at.
    pub statistics: Statistics,
}

/// Entries that have all labels in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlatStream {
    /// Labels of the stream and of the entries.
    pub labels: Pairs,
    /// When, and the line; in the order of the direction.
    pub entries: Vec<(UnixMillis, Vec<u8>)>,
}

impl LogAnswer {
    /// Streams as Loki answers without `categorize-labels`: the labels of entries stand with those of the stream.
    #[must_use]
    pub fn flat(self) -> Vec<FlatStream> {
        let mut streams: BTreeMap<Pairs, Vec<(UnixMillis, Vec<u8>)>> = BTreeMap::new();
        for stream in self.streams {
            for entry in stream.entries {
                let labels = all_labels(&stream.labels, &entry.metadata, &entry.parsed);
                streams.entry(labels).or_default().push((entry.at, entry.line));
            }
        }
        streams.into_iter().map(|(labels, entries)| FlatStream { labels, entries }).collect()
    }
}

/// The labels of an entry together; where a name stands in several, what the query made of it counts.
#[must_use]
pub fn all_labels(stream: &Labels, metadata: &Pairs, parsed: &Pairs) -> Pairs {
    let mut all: BTreeMap<&str, &str> = stream.iter().collect();
    all.extend(metadata.iter().chain(parsed).map(|(name, value)| (name.as_str(), value.as_str())));
    all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The answer to a metric query.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricAnswer {
    /// A scalar, a vector (of an instant query) or a matrix (of a range query), and its annotations.
    pub answer: skerry_promql::Answer,
    /// How much was looked at.
    pub statistics: Statistics,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_become_the_milliseconds_between_them() {
        let range = |start, end| range_of_nanos(start, end).map(|range| (range.from.0, range.to.0));
        assert_eq!(range(1_000_000, 3_000_000), Some((1, 2)));
        assert_eq!(range(1_000_001, 3_000_001), Some((2, 3)));
        assert_eq!(range(1_000_001, 2_000_000), None);
        assert_eq!(range(-5_000_000, -1_000_000), Some((-5, -2)));
        assert_eq!(range(0, i128::from(i64::MAX) * 1_000_000_000), None);
    }

    #[test]
    fn labels_of_entries_move_to_the_stream() {
        let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect::<Pairs>();
        let entry = |at, line: &str, parsed| Entry {
            at: UnixMillis(at),
            line: line.into(),
            metadata: pairs(&[("pid", "1")]),
            parsed,
        };
        let entries = vec![entry(2, "x", pairs(&[("a", "1")])), entry(1, "y", Vec::new())];
        let stream = Stream { labels: Labels::new([("app", "p")]).unwrap(), entries };
        let flat = LogAnswer { streams: vec![stream], statistics: Statistics::default() }.flat();
        assert_eq!(flat.len(), 2);
        assert_eq!(flat[0].labels, pairs(&[("a", "1"), ("app", "p"), ("pid", "1")]));
        assert_eq!(flat[1].entries, [(UnixMillis(1), b"y".to_vec())]);
    }
}
