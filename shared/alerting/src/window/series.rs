//! One series' values, and the moments that it shares with the others of its scrape.
//!
//! ```text
//! lane   moments   t0  t1  t2  t3  t4          once for all series of a scrape
//! series values        v   v   -   v           from its first row on; a hole where it was not measured
//! ```
//!
//! Two thirds of a node's series do not change within a rule's window: such a series is one value and a count.

use skerry_model::{Labels, Sample, UnixMillis};
use std::collections::VecDeque;

/// Most rows of a lane. Six hours at a row every 3 s; beyond it the oldest go first.
pub(super) const ROWS_MAX: usize = 8192;

/// Stands where a series has no sample: a signalling NaN that no arithmetic gives and that is not the stale marker.
const HOLE_BITS: u64 = 0x7ff0_0000_0000_5ea1;

fn is_hole(value: f64) -> bool {
    value.to_bits() == HOLE_BITS
}

fn hole() -> f64 {
    f64::from_bits(HOLE_BITS)
}

/// A peer's NaN that looks like a hole is another NaN.
fn storable(value: f64) -> f64 {
    if is_hole(value) { f64::NAN } else { value }
}

/// Values, oldest first.
#[derive(Debug)]
enum Values {
    /// The same so many times, never holes.
    Same(f64, usize),
    Each(VecDeque<f64>),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::Same(_, count) => *count,
            Self::Each(values) => values.len(),
        }
    }

    fn get(&self, at: usize) -> f64 {
        match self {
            Self::Same(value, count) if at < *count => *value,
            Self::Same(..) => hole(),
            Self::Each(values) => values.get(at).copied().unwrap_or_else(hole),
        }
    }

    /// One by one, with room for one more.
    fn each(&mut self) -> &mut VecDeque<f64> {
        if let Self::Same(value, count) = self {
            *self = Self::Each(std::iter::repeat_n(*value, *count).collect());
        }
        match self {
            Self::Each(values) => {
                if values.len() == values.capacity() {
                    // Doubling would waste half of the memory of most series.
                    values.reserve_exact((values.len() / 4).max(4));
                }
                values
            }
            Self::Same(..) => unreachable!("made one by one above"),
        }
    }

    fn push(&mut self, value: f64) {
        match self {
            Self::Same(same, count) if *count == 0 || same.to_bits() == value.to_bits() => {
                *same = value;
                *count += 1;
            }
            _ => self.each().push_back(value),
        }
    }

    fn drop_front(&mut self, count: usize) {
        match self {
            Self::Same(_, left) => *left = left.saturating_sub(count),
            Self::Each(values) => drop(values.drain(..count.min(values.len()))),
        }
    }

    /// One value and a count, where that is all; what is left of the memory goes back.
    fn pack(&mut self) {
        let Self::Each(values) = self else { return };
        let first = values.front().copied().unwrap_or_else(hole);
        if values.iter().all(|value| value.to_bits() == first.to_bits()) && !is_hole(first) {
            *self = Self::Same(first, values.len());
        } else if values.capacity() > values.len() * 2 + 8 {
            values.shrink_to(values.len() + 4);
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Same(..) => 0,
            Self::Each(values) => values.capacity() * size_of::<f64>(),
        }
    }
}

/// Memory of a label set in the map of all, in bytes; the labels as if nobody else held them.
pub(super) fn slot_bytes(labels: &Labels) -> usize {
    labels.iter().map(|(name, value)| name.len() + value.len() + 48).sum::<usize>() + 48
}

/// A series that rules need.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) labels: Labels,
    /// Its lane.
    pub(super) lane: u32,
    /// The needs that read it, by rising number.
    pub(super) needs: Box<[u32]>,
    /// How far back the farthest-looking of them looks.
    pub(super) back_ms: i64,
    /// Number of the row of its first value.
    first: u64,
    values: Values,
}

impl Series {
    pub(super) fn new(labels: Labels, lane: u32, needs: Box<[u32]>, back_ms: i64) -> Self {
        Self { labels, lane, needs, back_ms, first: 0, values: Values::Same(0.0, 0) }
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Number of the row of its first value.
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    /// Memory it takes, in bytes, its values apart.
    pub(super) fn bytes_fixed(&self) -> usize {
        // Its number also stands in the list of each need.
        size_of::<Self>() + slot_bytes(&self.labels) + self.needs.len() * 2 * size_of::<u32>()
    }

    /// Memory of its values, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.values.bytes()
    }

    /// The value of row `row`; the first that comes stays.
    pub(super) fn set(&mut self, row: u64, value: f64) {
        let value = storable(value);
        let end = self.first + self.values.len() as u64;
        if self.values.len() == 0 {
            self.first = row;
            self.values = Values::Same(value, 1);
        } else if row >= end {
            (end..row).for_each(|_| self.values.push(hole()));
            self.values.push(value);
        } else if row >= self.first {
            let at = index(row - self.first);
            if is_hole(self.values.get(at)) {
                self.values.each()[at] = value;
            }
        } else {
            let gap = self.first - row - 1;
            (0..gap).for_each(|_| self.values.each().push_front(hole()));
            self.values.each().push_front(value);
            self.first = row;
        }
    }

    /// Makes room for a row that came late and is now row `row`.
    pub(super) fn make_room(&mut self, row: u64) {
        if row <= self.first {
            self.first += 1;
        } else if row < self.first + self.values.len() as u64 {
            let at = index(row - self.first);
            self.values.each().insert(at, hole());
        }
    }

    /// Lets go of the rows before `row`, and of the holes behind them.
    pub(super) fn drop_before(&mut self, row: u64) {
        if row > self.first {
            self.values.drop_front(index(row - self.first));
            self.first = row;
            while self.values.len() > 0 && is_hole(self.values.get(0)) {
                self.values.drop_front(1);
                self.first += 1;
            }
        }
    }

    /// Lets go of memory that it no longer needs.
    pub(super) fn pack(&mut self) {
        self.values.pack();
    }

    /// Lets go of the rows from `row` on.
    pub(super) fn drop_from(&mut self, row: u64) {
        let kept = index(row.saturating_sub(self.first));
        if kept < self.values.len() {
            match &mut self.values {
                Values::Same(_, count) => *count = kept,
                Values::Each(values) => values.truncate(kept),
            }
        }
    }

    /// Its samples among rows `from..to` of its lane.
    pub(super) fn read(&self, lane: &Lane, from: u64, to: u64) -> Vec<Sample> {
        let from = from.max(self.first);
        let to = to.min(self.first + self.values.len() as u64);
        if from >= to {
            return Vec::new();
        }
        let moments = lane.moments.range(index(from - lane.first)..index(to - lane.first));
        let places = index(from - self.first)..index(to - self.first);
        let mut samples = Vec::with_capacity(places.len());
        let sample = |(at, value): (&i64, f64)| Sample { at: UnixMillis(*at), value };
        match &self.values {
            Values::Same(value, _) => samples.extend(moments.map(|at| sample((at, *value)))),
            Values::Each(values) => {
                let values = values.range(places).copied();
                samples.extend(moments.zip(values).filter(|(_, value)| !is_hole(*value)).map(sample));
            }
        }
        samples
    }

    /// The newest of its samples among rows `from..to` of its lane.
    pub(super) fn newest(&self, lane: &Lane, from: u64, to: u64) -> Option<Sample> {
        let end = to.min(self.first + self.values.len() as u64);
        (from.max(self.first)..end).rev().find_map(|row| {
            let value = self.values.get(index(row - self.first));
            let at = lane.moments.get(index(row - lane.first))?;
            (!is_hole(value)).then_some(Sample { at: UnixMillis(*at), value })
        })
    }
}

/// Rows are counted from the first that a lane ever had, and a lane holds a few thousand.
fn index(rows: u64) -> usize {
    usize::try_from(rows).unwrap_or(usize::MAX)
}

/// The moments of series that are measured together.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Rising.
    moments: VecDeque<i64>,
    /// Number of the oldest row.
    first: u64,
    /// Its series.
    pub(super) members: Vec<u32>,
    /// How far back the farthest-looking of them is read.
    pub(super) back_ms: i64,
}

/// Where a moment stands in a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is this row.
    Row(u64),
    /// It came late: room has to be made for this row in every member.
    Between(u64),
}

impl Lane {
    /// Memory it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.moments.capacity() * size_of::<i64>() + self.members.capacity() * size_of::<u32>()
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.moments.len()
    }

    /// Number of the oldest row.
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    /// The row of a moment, made where there is none.
    pub(super) fn place(&mut self, at: i64) -> Place {
        let end = self.first + self.moments.len() as u64;
        match self.moments.back() {
            Some(last) if *last == at => return Place::Row(end - 1),
            Some(last) if *last > at => {}
            _ => {
                self.moments.push_back(at);
                return Place::Row(end);
            }
        }
        match self.moments.binary_search(&at) {
            Ok(place) => Place::Row(self.first + place as u64),
            Err(place) => {
                self.moments.insert(place, at);
                Place::Between(self.first + place as u64)
            }
        }
    }

    /// The rows in `from..=to`, as numbers of the first and of the one behind the last.
    pub(super) fn rows(&self, from: i64, to: i64) -> (u64, u64) {
        let end = match self.moments.back() {
            Some(last) if *last <= to => self.moments.len(),
            _ => self.moments.partition_point(|at| *at <= to),
        };
        let start = self.moments.partition_point(|at| *at < from);
        (self.first + start as u64, self.first + end as u64)
    }

    /// Lets go of the rows before `row`.
    pub(super) fn drop_before(&mut self, row: u64) {
        let count = index(row.saturating_sub(self.first)).min(self.moments.len());
        self.moments.drain(..count);
        self.first += count as u64;
    }

    /// Lets go of the rows from `row` on.
    pub(super) fn drop_from(&mut self, row: u64) {
        self.moments.truncate(index(row.saturating_sub(self.first)));
    }
}
