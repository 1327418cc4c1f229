//! Values of one series, held by the steps that they count for.
//!
//! Step `k` looks at the window `(t - range, t]` before its time. A moment counts for the steps from the first whose time is
//! not before it to the last whose window begins before it. Moments with the same first and last step are put together in
//! one cell: so a series takes at most two cells per step, however many lines it has, and a line costs the same however
//! long the range is. At the end a window slides over the cells, which costs two merges per cell.

use crate::ast::RangeOp;

/// Windows of a query, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Windows {
    /// Time of the first step, without the offset.
    pub(super) start: i64,
    /// 0 where there is one step.
    pub(super) step: i64,
    pub(super) count: usize,
    pub(super) range: i64,
    /// How far back windows lie before their step.
    pub(super) offset: i64,
}

impl Windows {
    /// Time of a step.
    pub(super) fn at(&self, step: usize) -> i64 {
        self.start.saturating_add(self.step.saturating_mul(i64::try_from(step).unwrap_or(i64::MAX)))
    }

    /// First and last moment that any window looks at.
    pub(super) fn bounds(&self) -> (i64, i64) {
        let last = self.at(self.count - 1).saturating_sub(self.offset);
        (self.start.saturating_sub(self.offset).saturating_sub(self.range).saturating_add(1), last)
    }

    /// The steps whose windows hold a moment; `None` where none does.
    pub(super) fn steps(&self, at: i64) -> Option<(u32, u32)> {
        let behind = at.saturating_sub(self.start.saturating_sub(self.offset));
        let last = i64::try_from(self.count - 1).unwrap_or(i64::MAX);
        // Before the end of its range, the moment is in the window.
        let until = behind.saturating_add(self.range);
        let (first, end) = match self.step {
            0 if behind <= 0 && until > 0 => (0, 0),
            0 => return None,
            step => (ceil(behind, step).max(0), ceil(until, step).saturating_sub(1).min(last)),
        };
        (first <= end).then_some((u32::try_from(first).ok()?, u32::try_from(end).ok()?))
    }
}

fn ceil(number: i64, by: i64) -> i64 {
    number.div_euclid(by) + i64::from(number.rem_euclid(by) > 0)
}

/// How values become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fold {
    /// A sum that keeps what plain addition loses; also counts.
    Sum,
    Avg,
    Min,
    Max,
    /// Variance of the population.
    Variance,
    First,
    Last,
}

impl Fold {
    pub(super) fn of(op: RangeOp) -> Option<Self> {
        Some(match op {
            RangeOp::Rate | RangeOp::Count | RangeOp::BytesRate | RangeOp::Bytes | RangeOp::Sum | RangeOp::Absent => {
                Self::Sum
            }
            RangeOp::Avg => Self::Avg,
            RangeOp::Min => Self::Min,
            RangeOp::Max => Self::Max,
            RangeOp::Stddev | RangeOp::Stdvar => Self::Variance,
            RangeOp::First => Self::First,
            RangeOp::Last => Self::Last,
            RangeOp::RateCounter | RangeOp::Quantile => return None,
        })
    }
}

/// Values put together: of a sum itself and what it lost, and the count; of a variance the mean, the sum of squared
/// differences, and the count; of the others the value, and its time.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Held {
    a: f64,
    b: f64,
    count: f64,
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds are exact to 2^53")]
impl Held {
    fn one(fold: Fold, at: i64, value: f64) -> Self {
        let b = if matches!(fold, Fold::First | Fold::Last) { at as f64 } else { 0.0 };
        Self { a: value, b, count: 1.0 }
    }

    /// This and what was read behind it.
    fn with(self, fold: Fold, other: Self) -> Self {
        let count = self.count + other.count;
        match fold {
            Fold::Sum | Fold::Avg => {
                let sum = self.a + other.a;
                let lost = if sum.is_infinite() {
                    0.0
                } else if self.a.abs() >= other.a.abs() {
                    (self.a - sum) + other.a
                } else {
                    (other.a - sum) + self.a
                };
                Self { a: sum, b: self.b + other.b + lost, count }
            }
            Fold::Min | Fold::Max => {
                let is_better = if fold == Fold::Min { other.a < self.a } else { other.a > self.a };
                Self { a: if is_better || self.a.is_nan() { other.a } else { self.a }, b: 0.0, count }
            }
            Fold::Variance => {
                let delta = other.a - self.a;
                let a = self.a + delta * other.count / count;
                Self { a, b: self.b + other.b + delta * delta * self.count * other.count / count, count }
            }
            Fold::First => Self { count, ..if other.b < self.b { other } else { self } },
            Fold::Last => Self { count, ..if other.b >= self.b { other } else { self } },
        }
    }

    fn value(self, fold: Fold) -> f64 {
        let sum = if self.a.is_infinite() { self.a } else { self.a + self.b };
        match fold {
            Fold::Sum => sum,
            Fold::Avg => sum / self.count,
            Fold::Variance => self.b / self.count,
            Fold::Min | Fold::Max | Fold::First | Fold::Last => self.a,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    first: u32,
    last: u32,
    held: Held,
}

/// Cells of one series, by rising steps.
#[derive(Debug, Default)]
pub(super) struct Cells(Vec<Cell>);

impl Cells {
    /// Adds a value at a moment that counts for these steps. Whether that took a new cell.
    pub(super) fn add(&mut self, fold: Fold, (first, last): (u32, u32), at: i64, value: f64) -> bool {
        let one = Held::one(fold, at, value);
        // Lines come mostly by rising time.
        let key = (first, last);
        let place = match self.0.last() {
            Some(cell) if (cell.first, cell.last) == key => Ok(self.0.len() - 1),
            Some(cell) if (cell.first, cell.last) < key => Err(self.0.len()),
            _ => self.0.binary_search_by(|cell| (cell.first, cell.last).cmp(&key)),
        };
        match place {
            Ok(place) => {
                let held = &mut self.0[place].held;
                *held = held.with(fold, one);
            }
            Err(place) => self.0.insert(place, Cell { first, last, held: one }),
        }
        place.is_err()
    }

    /// Calls `each` with the value of every step that has one.
    pub(super) fn each(&self, fold: Fold, steps: usize, mut each: impl FnMut(usize, f64)) {
        // A queue of two stacks: `front` holds what each of its cells comes to with those behind it, `back` what all
        // cells behind the front come to.
        let mut front: Vec<(u32, Held)> = Vec::new();
        let mut back: Option<Held> = None;
        let (mut taken, mut back_from) = (0, 0);
        for step in 0..steps {
            let number = u32::try_from(step).unwrap_or(u32::MAX);
            while let Some(cell) = self.0.get(taken).filter(|cell| cell.first <= number) {
                back = Some(back.map_or(cell.held, |back| back.with(fold, cell.held)));
                taken += 1;
            }
            while front.last().is_some_and(|(last, _)| *last < number) {
                front.pop();
            }
            if front.is_empty() && back.is_some() {
                // The back becomes the front; what is over by now stays out.
                let mut behind: Option<Held> = None;
                for cell in self.0[back_from..taken].iter().rev().take_while(|cell| cell.last >= number) {
                    let held = behind.map_or(cell.held, |behind| cell.held.with(fold, behind));
                    behind = Some(held);
                    front.push((cell.last, held));
                }
                (back, back_from) = (None, taken);
            }
            let held = match (front.last(), back) {
                (Some((_, front)), Some(back)) => front.with(fold, back),
                (Some((_, front)), None) => *front,
                (None, Some(back)) => back,
                (None, None) => continue,
            };
            each(step, held.value(fold));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn windows_are_open_on_the_left() {
        let windows = Windows { start: 100, step: 10, count: 5, range: 20, offset: 0 };
        for (at, steps) in [
            (80, None),
            (81, Some((0, 0))),
            (90, Some((0, 0))),
            (91, Some((0, 1))),
            (100, Some((0, 1))),
            (101, Some((1, 2))),
            (140, Some((4, 4))),
            (141, None),
        ] {
            assert_eq!(windows.steps(at), steps, "{at}");
        }
        assert_eq!(windows.bounds(), (81, 140));
        let sparse = Windows { start: 0, step: 100, count: 2, range: 10, offset: 50 };
        assert_eq!(sparse.bounds(), (-59, 50));
        assert_eq!(
            [-60, -59, -50, -49, 40, 41, 50].map(|at| sparse.steps(at).map(|(first, _)| first)),
            [None, Some(0), Some(0), None, None, Some(1), Some(1)]
        );
        let instant = Windows { start: 5, step: 0, count: 1, range: 5, offset: 0 };
        assert_eq!([0, 1, 5, 6].map(|at| instant.steps(at).is_some()), [false, true, true, false]);
        let extreme = Windows { start: i64::MIN, step: i64::MAX, count: 3, range: i64::MAX, offset: i64::MIN };
        let _ = (extreme.bounds(), extreme.steps(i64::MIN), extreme.steps(i64::MAX), extreme.steps(0));
    }

    /// What a step's window comes to, from the samples themselves.
    fn plain(fold: Fold, values: &[(i64, f64)]) -> f64 {
        let only: Vec<f64> = values.iter().map(|(_, value)| *value).collect();
        let sum: f64 = only.iter().sum();
        let mean = sum / only.len() as f64;
        match fold {
            Fold::Sum => sum,
            Fold::Avg => mean,
            Fold::Min => only.iter().copied().fold(f64::INFINITY, f64::min),
            Fold::Max => only.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Fold::Variance => only.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / only.len() as f64,
            Fold::First => only[0],
            Fold::Last => only[only.len() - 1],
        }
    }

    proptest! {
        #[test]
        fn cells_give_what_samples_give(
            times in proptest::collection::vec((-50i64..400, -100i32..100), 0..60),
            step in 1i64..60, range in 1i64..150, offset in -20i64..20, steps in 1usize..12,
            split in 0usize..60,
        ) {
            let windows = Windows { start: 50, step, count: steps, range, offset };
            let mut sorted: Vec<(i64, f64)> = times.iter().map(|(at, value)| (*at, f64::from(*value))).collect();
            sorted.sort_by_key(|(at, _)| *at);
            sorted.dedup_by_key(|(at, _)| *at);
            // Blocks may come in any order.
            let mut read = sorted.clone();
            let turn = split.min(read.len());
            read.rotate_left(turn);
            for fold in [Fold::Sum, Fold::Avg, Fold::Min, Fold::Max, Fold::Variance, Fold::First, Fold::Last] {
                let mut cells = Cells::default();
                for (at, value) in &read {
                    if let Some(steps) = windows.steps(*at) {
                        cells.add(fold, steps, *at, *value);
                    }
                }
                prop_assert!(cells.0.len() <= 2 * steps);
                let mut found = vec![None; steps];
                cells.each(fold, steps, |step, value| found[step] = Some(value));
                for (step, found) in found.into_iter().enumerate() {
                    let end = windows.at(step) - offset;
                    let inside: Vec<(i64, f64)> =
                        sorted.iter().copied().filter(|(at, _)| *at > end - range && *at <= end).collect();
                    match found {
                        None => prop_assert!(inside.is_empty(), "{fold:?} step {step}"),
                        Some(found) => {
                            prop_assert!(!inside.is_empty());
                            let expected = plain(fold, &inside);
                            prop_assert!((found - expected).abs() < 1e-6, "{fold:?} {step}: {found} {expected}");
                        }
                    }
                }
            }
        }
    }
}
