//! Samples that rules read, in memory: what the selectors of all rules need and no more.
//!
//! ```text
//! rows of a moment ── push ──> series that a need reads, each in the lane of its scrape
//! rules ── select ──> WindowSource ── what the window covers: from memory
//!                          └───────── all else: from the store behind it
//! ```
//!
//! Whether a need reads a series is decided when the series is seen first; each need has the list of its series, sorted
//! by labels, so that a selector is answered by walking a list. The moments of a scrape are held once for all of its
//! series, and a series that does not change is one value and a count.
//!
//! Invariants:
//! - What is answered from memory is what the store would answer: a need is answered here only from the moment on from
//!   which every sample was seen.
//! - The window stays within its bytes: when they are used up, the needs that cost most are left out, are answered from
//!   behind from then on, and are tried again after [`RETRY_AFTER`].
//! - A moment is held once per series; of two values for it the first stays, as in the stores.

mod needs;
mod seed;
mod series;
mod source;
#[cfg(test)]
mod tests;
mod trim;

pub use needs::Need;
pub use source::WindowSource;
pub use trim::RETRY_AFTER;

use needs::Needs;
use series::{Lane, Place, ROWS_MAX, Series, slot_bytes};
use skerry_model::{Labels, UnixMillis};
use std::collections::HashMap;

/// What is kept beyond what rules look back, because a round of evaluations lags behind its slot and clocks differ.
const SLACK_MS: i64 = 60_000;
/// Most series that are remembered as not needed.
const UNNEEDED_MAX: usize = 200_000;
/// The lane of a series that has none yet.
const NO_LANE: u32 = u32::MAX;

/// How a window fares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Series that are kept.
    pub series: usize,
    /// Samples that are kept, holes between them included.
    pub samples: usize,
    /// Memory, in bytes, about.
    pub bytes: usize,
    /// The selectors that did not fit; they are answered from behind.
    pub left_out: Vec<String>,
}

/// What is known of a label set.
#[derive(Debug, Clone, Copy)]
enum Slot {
    /// Its series.
    Kept(u32),
    /// Nobody needs it; the round of letting go before which it was seen last.
    Unneeded(u32),
}

/// Samples in memory, by what rules need.
#[derive(Debug)]
pub struct Window {
    needs: Needs,
    slots: HashMap<Labels, Slot>,
    series: Vec<Option<Series>>,
    free_series: Vec<u32>,
    lanes: Vec<Lane>,
    free_lanes: Vec<u32>,
    /// How many slots are [`Slot::Unneeded`].
    unneeded: usize,
    bytes: usize,
    bytes_max: usize,
    /// When it let go last.
    trimmed: UnixMillis,
    rounds: u32,
}

/// A push that is under way.
struct Push {
    at: i64,
    /// The lane of the last series, and the row of the moment in it.
    place: Option<(u32, u64)>,
    /// Series that are in no lane yet.
    fresh: Vec<(u32, f64)>,
}

impl Window {
    /// An empty window of at most `bytes_max` bytes. It answers from memory what lies behind `now`, and more once it is
    /// seeded.
    #[must_use]
    pub fn new(needs: &[Need], bytes_max: usize, now: UnixMillis) -> Self {
        Self {
            needs: Needs::new(needs, &Needs::default(), now),
            slots: HashMap::new(),
            series: Vec::new(),
            free_series: Vec::new(),
            lanes: Vec::new(),
            free_lanes: Vec::new(),
            unneeded: 0,
            bytes: 0,
            bytes_max,
            trimmed: now,
            rounds: 0,
        }
    }

    /// Takes other needs, after a reload; samples that are still needed stay.
    pub fn set_needs(&mut self, needs: &[Need], now: UnixMillis) {
        self.needs = Needs::new(needs, &self.needs, now);
        self.decide_anew();
        self.let_go(now);
    }

    /// How it fares. Walks all series.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let left_out = self.needs.all.iter().filter(|need| need.left_out.is_some());
        Stats {
            series: self.series.iter().flatten().count(),
            samples: self.series.iter().flatten().map(Series::len).sum(),
            bytes: self.bytes,
            left_out: left_out.map(needs::Known::text).collect(),
        }
    }

    /// Takes what was measured at a moment, stale markers too. A moment may come again with other series, and late; what
    /// is too old for every rule is passed over.
    pub fn push<'a>(&mut self, at: UnixMillis, rows: impl IntoIterator<Item = (&'a Labels, f64)>) {
        // A backlog of weeks costs nothing.
        if at.0 <= self.horizon(self.needs.back_ms) {
            return;
        }
        let mut push = Push { at: at.0, place: None, fresh: Vec::new() };
        for (labels, value) in rows {
            self.take(&mut push, labels, value);
        }
        self.join(push);
        if self.bytes > self.bytes_max {
            self.shrink();
        }
    }

    fn take(&mut self, push: &mut Push, labels: &Labels, value: f64) {
        if !self.needs.may_read(labels.metric()) {
            return;
        }
        let number = match self.slots.get_mut(labels) {
            Some(Slot::Kept(number)) => *number,
            Some(Slot::Unneeded(round)) => return *round = self.rounds,
            None => return self.meet(push, labels, value),
        };
        let lane = self.series[number as usize].as_ref().map_or(NO_LANE, |series| series.lane);
        // One without a lane was new a moment ago: it stands twice in this push.
        if lane == NO_LANE {
            return;
        }
        let row = match push.place {
            Some((last, row)) if last == lane => row,
            _ => {
                let Some(row) = self.row(lane, push.at) else { return };
                push.place = Some((lane, row));
                row
            }
        };
        self.set(number, row, value);
    }

    /// A series that is seen for the first time. It joins a lane once it is known in which lane its scrape is.
    fn meet(&mut self, push: &mut Push, labels: &Labels, value: f64) {
        let (needs, back_ms) = self.needs.of(labels);
        if needs.is_empty() {
            if self.unneeded < UNNEEDED_MAX {
                self.unneeded += 1;
                self.bytes += slot_bytes(labels);
                self.slots.insert(labels.clone(), Slot::Unneeded(self.rounds));
            }
            return;
        }
        if push.at <= self.horizon(back_ms) {
            return;
        }
        let series = Series::new(labels.clone(), NO_LANE, needs, back_ms);
        self.bytes += series.bytes_fixed();
        let number = self.free_series.pop().unwrap_or_else(|| {
            self.series.push(None);
            self.series.len() as u32 - 1
        });
        for need in &series.needs {
            self.needs.all[*need as usize].series.push(number);
        }
        self.slots.insert(labels.clone(), Slot::Kept(number));
        self.series[number as usize] = Some(series);
        push.fresh.push((number, value));
    }

    /// Puts the series that are new in a push into the lane of the others, or into a new one.
    fn join(&mut self, push: Push) {
        if push.fresh.is_empty() {
            return;
        }
        let (number, row) = push.place.unwrap_or_else(|| {
            let number = self.free_lanes.pop().unwrap_or_else(|| {
                self.lanes.push(Lane::default());
                self.lanes.len() as u32 - 1
            });
            // An empty lane takes any moment.
            (number, self.row(number, push.at).unwrap_or_default())
        });
        let lane = &mut self.lanes[number as usize];
        let before = lane.bytes();
        lane.members.extend(push.fresh.iter().map(|(member, _)| *member));
        for (member, _) in &push.fresh {
            if let Some(series) = &mut self.series[*member as usize] {
                series.lane = number;
                lane.back_ms = lane.back_ms.max(series.back_ms);
            }
        }
        self.bytes += lane.bytes() - before;
        for (member, value) in push.fresh {
            self.set(member, row, value);
        }
    }

    fn set(&mut self, number: u32, row: u64, value: f64) {
        self.change(number, |series| series.set(row, value));
    }

    /// Changes the values of a series, and books the memory.
    fn change(&mut self, number: u32, change: impl FnOnce(&mut Series)) {
        if let Some(series) = &mut self.series[number as usize] {
            let before = series.bytes();
            change(series);
            self.bytes = (self.bytes + series.bytes()).saturating_sub(before);
        }
    }

    /// The row of a moment in a lane; `None` where it is too old for every rule.
    fn row(&mut self, number: u32, at: i64) -> Option<u64> {
        let lane = &mut self.lanes[number as usize];
        if lane.len() > 0 && at <= self.trimmed.0.saturating_sub(lane.back_ms).saturating_sub(SLACK_MS) {
            return None;
        }
        let before = lane.bytes();
        let place = lane.place(at);
        self.bytes += lane.bytes() - before;
        let row = match place {
            Place::Row(row) => row,
            Place::Between(row) => {
                for member in lane.members.clone() {
                    self.change(member, |series| series.make_room(row));
                }
                row
            }
        };
        let lane = &self.lanes[number as usize];
        if lane.len() > ROWS_MAX {
            // An eighth at once, or each further row would cost a walk over all members.
            let first = lane.first() + (ROWS_MAX / 8) as u64;
            for member in lane.members.clone() {
                self.change(member, |series| series.drop_before(first));
            }
            self.lanes[number as usize].drop_before(first);
            return (row >= first).then_some(row);
        }
        Some(row)
    }

    /// What is not after this is too old for one who looks back so far.
    const fn horizon(&self, back_ms: i64) -> i64 {
        self.trimmed.0.saturating_sub(back_ms).saturating_sub(SLACK_MS)
    }
}
