//! Reads a block of log records for a query: what both ends do with the blocks of their stores.
//!
//! Invariants:
//! - A block's body is decompressed only where its directory cannot rule it out: by time, by the texts that lines must
//!   hold, by the labels of its streams.
//! - The labels of a stream are made once per block and stream, not once per record.

use skerry_chunk::{DecodeError, Limits, LogReader, Unpacker};
use skerry_logql::Selection;
use skerry_model::{Labels, Level, OutputStream, RecordRef, TimeRange, stream_labels};
use skerry_promql::{Matcher, matches_all};
use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;

/// Blocks that are read to the last record for a list of streams. Of further ones only those are that have a label set
/// which none before had: their streams differ in level and output alone.
const LISTED_BLOCKS_MAX: usize = 256;

/// How a store shows the labels of a stream.
pub type Show<'a> = &'a dyn Fn(&Labels) -> Labels;

/// Label sets that come of one set of a source, by level and output.
const VARIANTS: usize = Level::ALL.len() * OUTPUTS.len();
const OUTPUTS: [OutputStream; 3] = [OutputStream::None, OutputStream::Stdout, OutputStream::Stderr];

/// The labels by which records are queried, as the store shows them.
fn shown(labels: &Labels, output: OutputStream, level: Level, show: Show<'_>) -> Labels {
    // A label set that is full to its bounds stays without them.
    show(&stream_labels(labels, output, level).unwrap_or_else(|_| labels.clone()))
}

/// Hands on the records of a block that meet the selection, until told to stop.
///
/// # Errors
/// [`DecodeError`] where the block is damaged; the records before the damage were handed on.
pub fn scan(
    block: &[u8],
    limits: &Limits,
    unpacker: &mut Unpacker,
    selection: &Selection,
    show: Show<'_>,
    each: &mut dyn FnMut(&Labels, RecordRef<'_>) -> ControlFlow<()>,
) -> Result<(), DecodeError> {
    let reader = LogReader::open(block, limits)?;
    let Selection { matchers, range, needles } = selection;
    if !overlaps(&reader, *range) {
        return Ok(());
    }
    let wanted = wanted(&reader, matchers, show);
    if !wanted.contains(&true) {
        return Ok(());
    }
    let mut streams = Streams::new(&reader, matchers, show);
    let texts: Vec<&[u8]> = needles.iter().map(Vec::as_slice).collect();
    reader.search(
        unpacker,
        &texts,
        |set| wanted.get(set).copied().unwrap_or(true),
        |_, record| {
            if record.at < range.from || record.at > range.to {
                return ControlFlow::Continue(());
            }
            match streams.of(record) {
                Some(labels) => each(labels, record),
                None => ControlFlow::Continue(()),
            }
        },
    )
}

fn overlaps(reader: &LogReader<'_>, range: TimeRange) -> bool {
    reader.info().range.is_some_and(|held| held.from <= range.to && held.to >= range.from)
}

/// Whether streams of each label set may meet the matchers.
fn wanted(reader: &LogReader<'_>, matchers: &[Matcher], show: Show<'_>) -> Vec<bool> {
    let levels: Vec<Level> =
        Level::ALL.into_iter().filter(|level| reader.info().level_mask >> (*level as u8) & 1 == 1).collect();
    let may_meet = |labels: &Labels| {
        let base = show(labels);
        matchers.iter().all(|matcher| {
            let meets = |value: &str| matcher.matches(value);
            match matcher.label() {
                // What a level becomes by way of the store is judged record by record.
                label if label.starts_with("exported_") => true,
                "level" if base.value("level").is_empty() => levels.iter().any(|level| meets(level_label(*level))),
                "stream" if base.value("stream").is_empty() => ["", "stdout", "stderr"].into_iter().any(meets),
                label => meets(base.value(label)),
            }
        })
    };
    reader.label_sets().iter().map(may_meet).collect()
}

fn level_label(level: Level) -> &'static str {
    if level == Level::Unknown { "" } else { level.as_str() }
}

/// The labels of a block's streams, made as they are met.
struct Streams<'a> {
    sets: &'a [Labels],
    matchers: &'a [Matcher],
    show: Show<'a>,
    /// By set, level and output: not yet met, not wanted, or the labels.
    known: Vec<Option<Option<Labels>>>,
    /// Of a record whose labels are none of the block's sets.
    other: Option<Labels>,
}

impl<'a> Streams<'a> {
    fn new(reader: &'a LogReader<'_>, matchers: &'a [Matcher], show: Show<'a>) -> Self {
        let sets = reader.label_sets();
        Self { sets, matchers, show, known: vec![None; sets.len() * VARIANTS], other: None }
    }

    /// The labels of the record's stream; `None` where they do not meet the matchers.
    fn of(&mut self, record: RecordRef<'_>) -> Option<&Labels> {
        let RecordRef { labels, output, level, .. } = record;
        let make = || Some(shown(labels, output, level, self.show)).filter(|made| matches_all(self.matchers, made));
        // Records refer to the sets of their block, so the place of a set is its number.
        let offset = std::ptr::from_ref(labels).addr().wrapping_sub(self.sets.as_ptr().addr());
        let place = offset / size_of::<Labels>() * VARIANTS + level as usize * OUTPUTS.len() + output as usize;
        match self.known.get_mut(place) {
            Some(known) => known.get_or_insert_with(make).as_ref(),
            None => {
                self.other = make();
                self.other.as_ref()
            }
        }
    }
}

/// What is in blocks, by their directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Directory {
    /// Label sets of sources, each counted once.
    pub streams: usize,
    /// Blocks.
    pub blocks: u64,
    /// Records.
    pub records: u64,
    /// Bytes of lines.
    pub line_bytes: u64,
}

/// Sums up directories, block by block.
pub struct DirectorySum<'a> {
    matchers: &'a [Matcher],
    range: TimeRange,
    sum: Directory,
    sets: HashSet<(u64, Labels)>,
}

impl<'a> DirectorySum<'a> {
    /// Nothing yet.
    #[must_use]
    pub fn new(matchers: &'a [Matcher], range: TimeRange) -> Self {
        Self { matchers, range, sum: Directory::default(), sets: HashSet::new() }
    }

    /// Takes in a block, whole, if some of its streams may meet the matchers. `whose` is the number of whoever `show`
    /// is for.
    ///
    /// # Errors
    /// [`DecodeError`] where the block is damaged.
    pub fn add(&mut self, block: &[u8], limits: &Limits, whose: u64, show: Show<'_>) -> Result<(), DecodeError> {
        let reader = LogReader::open(block, limits)?;
        let wanted = if overlaps(&reader, self.range) { wanted(&reader, self.matchers, show) } else { Vec::new() };
        if wanted.contains(&true) {
            self.sum.blocks += 1;
            self.sum.records += reader.info().records as u64;
            self.sum.line_bytes += reader.info().line_bytes;
            let met = reader.label_sets().iter().zip(wanted).filter(|(_, is_wanted)| *is_wanted);
            self.sets.extend(met.map(|(set, _)| (whose, set.clone())));
        }
        Ok(())
    }

    /// The sum.
    #[must_use]
    pub fn finish(self) -> Directory {
        Directory { streams: self.sets.len(), ..self.sum }
    }
}

/// Gathers the label sets of streams, block by block.
pub struct StreamList<'a> {
    matchers: &'a [Matcher],
    range: TimeRange,
    found: BTreeSet<Labels>,
    /// Label sets as sources have them, with level and output, shown by whom.
    met: HashSet<(u64, Labels, Level, OutputStream)>,
    sets: HashSet<(u64, Labels)>,
    read_blocks: usize,
}

impl<'a> StreamList<'a> {
    /// No streams yet.
    #[must_use]
    pub fn new(matchers: &'a [Matcher], range: TimeRange) -> Self {
        Self { matchers, range, found: BTreeSet::new(), met: HashSet::new(), sets: HashSet::new(), read_blocks: 0 }
    }

    /// Takes in a block. `whose` is the number of whoever `show` is for.
    ///
    /// # Errors
    /// [`DecodeError`] where the block is damaged; the streams before the damage are taken in.
    pub fn add(
        &mut self,
        block: &[u8],
        limits: &Limits,
        unpacker: &mut Unpacker,
        whose: u64,
        show: Show<'_>,
    ) -> Result<(), DecodeError> {
        let reader = LogReader::open(block, limits)?;
        if !overlaps(&reader, self.range) {
            return Ok(());
        }
        let may_meet = wanted(&reader, self.matchers, show);
        let is_new = |set: &Labels| !self.sets.contains(&(whose, set.clone()));
        let wanted: Vec<bool> = reader
            .label_sets()
            .iter()
            .zip(may_meet)
            .map(|(set, may_meet)| may_meet && (self.read_blocks < LISTED_BLOCKS_MAX || is_new(set)))
            .collect();
        if !wanted.contains(&true) {
            return Ok(());
        }
        self.read_blocks += 1;
        let range = self.range;
        let mut known = HashSet::new();
        reader.visit(
            unpacker,
            |set| wanted.get(set).copied().unwrap_or(true),
            |_, record| {
                if range.from <= record.at && record.at <= range.to {
                    let RecordRef { labels, level, output, .. } = record;
                    if known.insert((std::ptr::from_ref(labels).addr(), level, output)) {
                        self.met(whose, labels, level, output, show);
                    }
                }
                ControlFlow::Continue(())
            },
        )
    }

    fn met(&mut self, whose: u64, labels: &Labels, level: Level, output: OutputStream, show: Show<'_>) {
        if self.met.insert((whose, labels.clone(), level, output)) {
            self.sets.insert((whose, labels.clone()));
            let made = shown(labels, output, level, show);
            if matches_all(self.matchers, &made) {
                self.found.insert(made);
            }
        }
    }

    /// How many were found.
    #[must_use]
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Whether none was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// What was found, each once.
    #[must_use]
    pub fn into_streams(self) -> Vec<Labels> {
        self.found.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_chunk::LogBlock;
    use skerry_model::{LogRecord, UnixMillis};
    use skerry_promql::MatchOp;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::new(pairs.iter().copied()).unwrap()
    }

    fn record(at: i64, source: &str, output: OutputStream, level: Level, line: &str) -> LogRecord {
        LogRecord {
            at: UnixMillis(at),
            labels: labels(&[("source", source)]),
            output,
            level,
            fields: Labels::default(),
            line: line.into(),
        }
    }

    fn block() -> Vec<u8> {
        let records = vec![
            record(10, "app", OutputStream::Stdout, Level::Info, "one two three"),
            record(20, "app", OutputStream::Stderr, Level::Error, "one failed here"),
            record(30, "web", OutputStream::None, Level::Unknown, "GET /one 200"),
            record(40, "app", OutputStream::Stdout, Level::Info, "one last line"),
        ];
        LogBlock { records }.encode(1).unwrap()
    }

    fn everything() -> Selection {
        Selection {
            matchers: Vec::new(),
            range: TimeRange { from: UnixMillis(0), to: UnixMillis(100) },
            needles: Vec::new(),
        }
    }

    /// Times of the records that a scan hands on, after the first of which it may be told to stop.
    fn times(selection: &Selection, stops: bool) -> Vec<i64> {
        let mut found = Vec::new();
        let show = |labels: &Labels| labels.with("node", "pi").unwrap();
        scan(&block(), &Limits::default(), &mut Unpacker::new(), selection, &show, &mut |labels, record| {
            assert_eq!(labels.value("node"), "pi");
            found.push(record.at.0);
            if stops { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
        found
    }

    #[test]
    fn records_are_selected_by_stream_time_and_shown_labels() {
        for (label, op, value, expected) in [
            ("source", MatchOp::Equal, "app", &[10, 20, 40][..]),
            ("level", MatchOp::Equal, "error", &[20]),
            ("level", MatchOp::Regex, "warn|fatal", &[]),
            ("level", MatchOp::Equal, "", &[30]),
            ("stream", MatchOp::Equal, "stdout", &[10, 40]),
            ("stream", MatchOp::NotEqual, "stdout", &[20, 30]),
            ("node", MatchOp::Equal, "pi", &[10, 20, 30, 40]),
            ("node", MatchOp::Equal, "", &[]),
            ("none", MatchOp::Equal, "", &[10, 20, 30, 40]),
        ] {
            let matchers = vec![Matcher::new(label, op, value).unwrap()];
            assert_eq!(times(&Selection { matchers, ..everything() }, false), expected, "{label} {value}");
        }
        let range = TimeRange { from: UnixMillis(20), to: UnixMillis(30) };
        assert_eq!(times(&Selection { range, ..everything() }, false), [20, 30]);
        assert_eq!(times(&everything(), true), [10]);
    }

    #[test]
    fn lines_hold_every_needle_and_a_block_without_its_tokens_is_not_opened() {
        let needles =
            |texts: &[&str]| Selection { needles: texts.iter().map(|t| (*t).into()).collect(), ..everything() };
        assert_eq!(times(&needles(&["x absent y"]), false), [0i64; 0]);
        assert_eq!(times(&needles(&["one failed here"]), false), [20]);
        assert_eq!(times(&needles(&["ne"]), false), [10, 20, 30, 40]);
        assert_eq!(times(&needles(&["ne", "t "]), false), [40]);
        assert_eq!(times(&needles(&["One"]), false), [0i64; 0]);
        // What is damaged behind the directory is noticed as soon as the body is opened.
        let mut damaged = block();
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        let read = |selection: &Selection| {
            let show = |labels: &Labels| labels.clone();
            let each = &mut |_: &Labels, _: RecordRef<'_>| ControlFlow::Continue(());
            scan(&damaged, &Limits::default(), &mut Unpacker::new(), selection, &show, each)
        };
        assert_eq!(read(&needles(&["x absent y"])), Ok(()));
        assert_eq!(read(&needles(&["failed"])), Err(DecodeError::Crc));
    }

    #[test]
    fn streams_are_listed_once_with_what_their_records_have() {
        let matchers = [Matcher::equal("node", "pi")];
        let mut list = StreamList::new(&matchers, everything().range);
        let show = |labels: &Labels| labels.with("node", "pi").unwrap();
        for _ in 0..2 {
            list.add(&block(), &Limits::default(), &mut Unpacker::new(), 7, &show).unwrap();
        }
        let expected = [
            labels(&[("level", "error"), ("node", "pi"), ("source", "app"), ("stream", "stderr")]),
            labels(&[("level", "info"), ("node", "pi"), ("source", "app"), ("stream", "stdout")]),
            labels(&[("node", "pi"), ("source", "web")]),
        ];
        assert_eq!(list.into_streams(), expected);
        let mut list = StreamList::new(&[], TimeRange::at(UnixMillis(20)));
        list.add(&block(), &Limits::default(), &mut Unpacker::new(), 7, &show).unwrap();
        assert_eq!(list.len(), 1);
    }

    #[test]
    fn a_long_list_goes_on_with_new_label_sets_alone() {
        let none = |labels: &Labels| labels.clone();
        let one = |n: usize, level| {
            let records = vec![record(1, &format!("s{n}"), OutputStream::None, level, "x")];
            LogBlock { records }.encode(1).unwrap()
        };
        let mut list = StreamList::new(&[], everything().range);
        for n in 0..LISTED_BLOCKS_MAX {
            list.add(&one(n % 2, Level::Info), &Limits::default(), &mut Unpacker::new(), 0, &none).unwrap();
        }
        list.add(&one(0, Level::Error), &Limits::default(), &mut Unpacker::new(), 0, &none).unwrap();
        assert_eq!(list.len(), 2, "known set, other level");
        list.add(&one(5, Level::Error), &Limits::default(), &mut Unpacker::new(), 0, &none).unwrap();
        assert_eq!(list.len(), 3);
    }
}
