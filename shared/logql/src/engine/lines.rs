//! Log queries: the newest or oldest entries that pass.
//!
//! Blocks are read from the asked end on, and reading stops once no block that is left can have an entry that is taken.
//! Entries of the same time stand in the order they were read: by block, then by their place in it.

use super::scan::{Halt, Scan, Streams};
use crate::answer::{Budget, Direction, Entry, LogAnswer, LogRequest, Pairs, Stream};
use crate::error::QueryError;
use crate::query::LogQuery;
use crate::run::{Run, needles};
use crate::source::{Selection, Source};
use skerry_model::{Labels, UnixMillis};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

/// What an entry takes beside its texts, in bytes, about.
const ENTRY_BYTES: usize = 160;

/// An entry's place in the answer; the least come first.
type Place = (i64, u64, u64);

struct Kept {
    place: Place,
    stream: Labels,
    entry: Entry,
}

impl Kept {
    fn bytes(&self) -> u64 {
        let pairs = |pairs: &Pairs| pairs.iter().map(|(name, value)| name.len() + value.len() + 48).sum::<usize>();
        (ENTRY_BYTES + self.entry.line.len() + pairs(&self.entry.metadata) + pairs(&self.entry.parsed)) as u64
    }
}

/// By place, so that a heap has the last one on top.
impl Ord for Kept {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place.cmp(&other.place)
    }
}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Kept {}

/// The best entries so far.
struct Best {
    kept: BinaryHeap<Kept>,
    bytes: u64,
    limit: usize,
    bytes_max: u64,
}

impl Best {
    /// Whether an entry at that place would be among them.
    fn wants(&self, place: Place) -> bool {
        self.kept.len() < self.limit || self.kept.peek().is_some_and(|last| place < last.place)
    }

    fn add(&mut self, kept: Kept) -> Result<(), Halt> {
        self.bytes += kept.bytes();
        self.kept.push(kept);
        if self.kept.len() > self.limit
            && let Some(last) = self.kept.pop()
        {
            self.bytes -= last.bytes();
        }
        if self.bytes > self.bytes_max {
            return Err(Halt::Limit(format!(
                "the answer would take more than {} bytes: ask for fewer entries than {}, or shorten lines with line_format",
                self.bytes_max, self.limit
            )));
        }
        Ok(())
    }

    /// When the last of them was, once there are as many as wanted.
    fn last_at(&self) -> Option<UnixMillis> {
        let last = self.kept.peek().filter(|_| self.kept.len() >= self.limit)?;
        Some(last.entry_at())
    }
}

impl Kept {
    fn entry_at(&self) -> UnixMillis {
        self.entry.at
    }
}

/// The entries that a query gives of a range, at most `limit` of them.
///
/// # Errors
/// [`QueryError`]: where a limit is passed, the caller says stop, or records cannot be read.
pub fn run_log<S: Source + ?Sized>(
    query: &LogQuery,
    source: &S,
    request: LogRequest,
    budget: Budget<'_>,
) -> Result<LogAnswer, QueryError<S::Error>> {
    let log = &query.log;
    let mut scan = Scan::new(budget);
    if request.limit == 0 {
        return Ok(LogAnswer { streams: Vec::new(), statistics: scan.statistics });
    }
    let selection = Selection { matchers: log.matchers.clone(), range: request.range, needles: needles(log) };
    let is_backward = request.direction == Direction::Backward;
    let mut blocks: Vec<_> = source.blocks(&selection).map_err(QueryError::Source)?.into_iter().enumerate().collect();
    scan.statistics.blocks_offered = blocks.len() as u64;
    if !is_backward {
        blocks.reverse();
        blocks.sort_by_key(|(_, block)| block.range.from);
    }
    let mut run = Run::new(log, None);
    let mut streams = Streams::default();
    let bytes_max = budget.limits.held_bytes_max;
    let mut best = Best { kept: BinaryHeap::new(), bytes: 0, limit: request.limit, bytes_max };
    for (number, block) in blocks {
        // What is left ends before, or begins behind, the last entry that is wanted.
        let is_enough = best.last_at().is_some_and(|last| match is_backward {
            true => last >= block.range.to,
            false => last < block.range.from,
        });
        if is_enough {
            break;
        }
        let mut count = 0u64;
        scan.read(source, block, &selection, &mut streams, &mut |statistics, _, labels, record| {
            count += 1;
            // The source names newer blocks first.
            let place = match is_backward {
                true => (!record.at.0, number as u64, !count),
                false => (record.at.0, !(number as u64), count),
            };
            if !best.wants(place) || !run.passes(labels, record) {
                return Ok(());
            }
            statistics.lines_kept += 1;
            let split = run.work.split();
            let line = run.line(record).to_vec();
            let entry = Entry { at: record.at, line, metadata: split.metadata, parsed: split.parsed };
            best.add(Kept { place, stream: split.stream, entry })
        })?;
    }
    let mut answer: BTreeMap<Labels, Vec<Entry>> = BTreeMap::new();
    scan.statistics.entries = best.kept.len() as u64;
    for kept in best.kept.into_sorted_vec() {
        answer.entry(kept.stream).or_default().push(kept.entry);
    }
    let streams = answer.into_iter().map(|(labels, entries)| Stream { labels, entries }).collect();
    Ok(LogAnswer { streams, statistics: scan.statistics })
}
