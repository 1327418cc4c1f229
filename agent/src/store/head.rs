//! Scrapes that are in memory alone: taken, numbered, perhaps already sent, not yet committed.
//!
//! Pure: knows neither database nor clock.
//!
//! Invariants:
//! - Numbers rise from row to row. They are consecutive except where an acknowledged row was let go of while the
//!   disk was full.
//! - Within a row series ids rise.

use super::blocks::{CELLS_MAX, ROWS_MAX};
use skerry_chunk::{Column, MetricBlock};
use skerry_model::{Mono, Seq, SeriesId, TimeRange, UnixMillis};
use skerry_wire::SeqSet;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Whether the commit schedule counts a scrape. Settings speak of rounds of collection; what other sources bring in
/// between rides along, bounded by its memory and by the longest wait of what is not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// A round of the node's own collection.
    Round,
    /// Anything else.
    Between,
}

/// One scrape.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// Its number.
    pub(super) seq: Seq,
    /// When it was taken, by the wall clock.
    pub(super) at: UnixMillis,
    /// Whether the commit schedule counts it.
    pub(super) pace: Pace,
    /// When it came, for the commit schedule.
    pub(super) since: Mono,
    /// Values, by rising series id.
    pub(super) values: Box<[(SeriesId, f64)]>,
}

impl Row {
    /// Memory it takes, in bytes.
    fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.values)
    }
}

/// The rows that are not yet committed, oldest first, and the newest row of all, committed or not.
#[derive(Debug, Default)]
pub(super) struct Head {
    rows: VecDeque<Row>,
    newest: Option<Row>,
    bytes: usize,
}

impl Head {
    /// Adds the newest row.
    pub(super) fn push(&mut self, row: Row) {
        self.bytes += row.bytes();
        self.newest = Some(row.clone());
        self.rows.push_back(row);
    }

    /// How many rows wait for their commit.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many of them the commit schedule counts.
    pub(super) fn rounds(&self) -> usize {
        self.rows.iter().filter(|row| row.pace == Pace::Round).count()
    }

    /// Memory of the waiting rows.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of the oldest waiting row.
    pub(super) fn first(&self) -> Option<Seq> {
        self.rows.front().map(|row| row.seq)
    }

    /// Waiting rows, oldest first.
    pub(super) fn rows(&self) -> impl DoubleEndedIterator<Item = &Row> {
        self.rows.iter()
    }

    /// Waiting rows that are not acknowledged.
    pub(super) fn unacked<'a>(&'a self, acked: &'a SeqSet) -> impl Iterator<Item = &'a Row> {
        self.rows.iter().filter(|row| !acked.contains(row.seq))
    }

    /// The first run of consecutive rows that begins at `at` or, if that is not here, after it; as long as one block
    /// may be.
    pub(super) fn run_from(&self, at: Seq) -> Vec<&Row> {
        let start = self.rows.partition_point(|row| row.seq < at);
        let mut run: Vec<&Row> = Vec::new();
        let mut series = BTreeSet::new();
        for row in self.rows.range(start..) {
            series.extend(row.values.iter().map(|(id, _)| *id));
            let ends = run.last().is_some_and(|last| {
                last.seq.next() != row.seq || run.len() == ROWS_MAX || (run.len() + 1) * series.len() > CELLS_MAX
            });
            if ends {
                break;
            }
            run.push(row);
        }
        run
    }

    /// Lets go of the rows up to `through`, which have been committed.
    pub(super) fn committed(&mut self, through: Seq) {
        while self.rows.front().is_some_and(|row| row.seq <= through) {
            if let Some(row) = self.rows.pop_front() {
                self.bytes -= row.bytes();
            }
        }
    }

    /// Lets go of acknowledged rows without committing them: the centre has them, and there is no room here.
    pub(super) fn shed(&mut self, acked: &SeqSet) {
        self.rows.retain(|row| !acked.contains(row.seq));
        self.bytes = self.rows.iter().map(Row::bytes).sum();
    }

    /// Latest value of every series in memory, by series id.
    pub(super) fn newest(&self) -> BTreeMap<SeriesId, (UnixMillis, f64)> {
        let mut values = BTreeMap::new();
        for row in self.rows.iter().chain(&self.newest) {
            values.extend(row.values.iter().map(|(series, value)| (*series, (row.at, *value))));
        }
        values
    }
}

/// Rows as a block.
pub(super) fn block(rows: &[&Row]) -> MetricBlock {
    let mut columns: BTreeMap<SeriesId, Vec<Option<f64>>> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        for (series, value) in &row.values {
            columns.entry(*series).or_insert_with(|| vec![None; rows.len()])[at] = Some(*value);
        }
    }
    MetricBlock {
        timestamps: rows.iter().map(|row| row.at).collect(),
        columns: columns.into_iter().map(|(series, values)| Column { series, values }).collect(),
    }
}

/// Time that rows cover; `None` without rows.
pub(super) fn range(rows: &[&Row]) -> Option<TimeRange> {
    rows.iter().map(|row| TimeRange::at(row.at)).reduce(TimeRange::cover)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seq: u64, values: &[(u32, f64)]) -> Row {
        let values = values.iter().map(|(series, value)| (SeriesId(*series), *value)).collect();
        Row { seq: Seq(seq), at: UnixMillis(seq as i64 * 1000), pace: Pace::Round, since: Mono(seq), values }
    }

    fn head() -> Head {
        let mut head = Head::default();
        head.push(row(4, &[(1, 1.0), (2, 2.0)]));
        head.push(row(5, &[(2, 3.0)]));
        head.push(row(6, &[(2, 4.0), (7, f64::NAN)]));
        head
    }

    #[test]
    fn a_block_has_a_row_for_each_scrape_and_gaps_where_a_series_is_absent() {
        let head = head();
        let block = block(&head.run_from(Seq(1)));
        assert_eq!(block.timestamps, [4000, 5000, 6000].map(UnixMillis));
        let ids: Vec<u32> = block.columns.iter().map(|column| column.series.0).collect();
        assert_eq!(ids, [1, 2, 7]);
        assert_eq!(block.columns[0].values, [Some(1.0), None, None]);
        assert_eq!(block.columns[1].values, [Some(2.0), Some(3.0), Some(4.0)]);
    }

    #[test]
    fn a_run_ends_at_a_hole() {
        let mut head = head();
        let mut acked = SeqSet::new();
        acked.insert(Seq(5), Seq(5));
        assert_eq!(head.unacked(&acked).count(), 2);
        head.shed(&acked);
        let numbers = |at| head.run_from(Seq(at)).iter().map(|row| row.seq.0).collect::<Vec<_>>();
        assert_eq!(numbers(1), [4]);
        assert_eq!(numbers(5), [6]);
        assert_eq!(numbers(7), [0u64; 0]);
        assert_eq!(head.bytes(), head.rows().map(Row::bytes).sum::<usize>());
    }

    #[test]
    fn a_run_is_no_longer_than_a_block_may_be() {
        let mut head = Head::default();
        // Rows without a series in common: few values, many cells.
        for n in 0..2000 {
            head.push(row(u64::from(n) + 1, &[(2 * n, 1.0), (2 * n + 1, 1.0)]));
        }
        let run = head.run_from(Seq(1));
        assert_eq!(run.len(), 362, "362 rows of 724 series are the most that stay below 2^18 cells");
        let mut head = Head::default();
        (1..=2000).for_each(|n| head.push(row(n, &[])));
        assert_eq!(head.run_from(Seq(1)).len(), ROWS_MAX);
    }

    #[test]
    fn the_newest_values_outlive_their_commit() {
        let mut head = head();
        head.committed(Seq(6));
        assert_eq!((head.len(), head.bytes(), head.first()), (0, 0, None));
        let newest = head.newest();
        assert_eq!(newest[&SeriesId(2)], (UnixMillis(6000), 4.0));
        assert_eq!(newest.len(), 2);
    }
}
