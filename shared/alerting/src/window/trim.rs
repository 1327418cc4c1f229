//! Letting go: of what is too old, of series that are gone, and of needs that do not fit.

use super::needs::{Known, seen_from};
use super::series::{Lane, slot_bytes};
use super::{SLACK_MS, Slot, Window};
use skerry_model::UnixMillis;
use std::time::Duration;

/// When a need that did not fit is tried again.
pub const RETRY_AFTER: Duration = Duration::from_secs(3600);
/// Shortest time between two rounds.
const EVERY_MS: u64 = 30_000;
/// Samples from further ahead are let go of: whoever stamped them had a wrong clock, and no rule will see them soon.
pub(super) const AHEAD_MAX_MS: i64 = 3_600_000;
/// For so many rounds a series that nobody needs is remembered as such after it was seen last.
const UNNEEDED_ROUNDS: u32 = 20;
/// As many new series in a list of sorted ones are put in their places one by one; more are sorted together.
const SINGLE_MAX: usize = 32;

impl Window {
    /// Lets go of what is too old for every rule by `now`, and of series that are gone; before each round of evaluations.
    /// Costs next to nothing if it was done within the last half minute.
    pub fn trim(&mut self, now: UnixMillis) {
        if now.0.abs_diff(self.trimmed.0) >= EVERY_MS {
            let retry = |need: &mut Known| {
                let is_due = need.left_out.is_some_and(|since| now < since || now.since(since) >= RETRY_AFTER);
                if is_due {
                    (need.left_out, need.since) = (None, seen_from(now));
                }
                is_due
            };
            // All of them are asked.
            if self.needs.all.iter_mut().map(retry).fold(false, |any, is_due| any | is_due) {
                self.decide_anew();
            }
            self.let_go(now);
            if self.bytes > self.bytes_max {
                self.shrink();
            }
        }
        self.sort();
    }

    /// Decides for every series which needs read it, as after a change of the needs.
    pub(super) fn decide_anew(&mut self) {
        for need in &mut self.needs.all {
            need.series.clear();
            need.sorted = 0;
        }
        self.forget_unneeded(0);
        for (number, slot) in self.series.iter_mut().enumerate() {
            let Some(series) = slot else { continue };
            (series.needs, series.back_ms) = self.needs.of(&series.labels);
            for need in &series.needs {
                self.needs.all[*need as usize].series.push(number as u32);
            }
        }
    }

    /// Forgets the series that nobody needs, but those seen within the last `rounds` rounds.
    fn forget_unneeded(&mut self, rounds: u32) {
        let now = self.rounds;
        self.slots.retain(|_, slot| match slot {
            Slot::Kept(_) => true,
            Slot::Unneeded(seen) => now.wrapping_sub(*seen) < rounds,
        });
        self.unneeded = self.slots.len() - (self.series.len() - self.free_series.len());
    }

    /// A round of letting go. What it costs in memory is counted anew.
    pub(super) fn let_go(&mut self, now: UnixMillis) {
        self.trimmed = now;
        self.rounds = self.rounds.wrapping_add(1);
        self.bytes = 0;
        let mut gone = Vec::new();
        for number in 0..self.lanes.len() {
            let mut lane = std::mem::take(&mut self.lanes[number]);
            if !lane.members.is_empty() {
                self.let_go_in(&mut lane, &mut gone);
                if lane.members.is_empty() {
                    self.free_lanes.push(number as u32);
                    continue;
                }
            }
            self.bytes += lane.bytes();
            self.lanes[number] = lane;
        }
        self.remove(gone);
        if self.rounds.is_multiple_of(UNNEEDED_ROUNDS) {
            self.forget_unneeded(UNNEEDED_ROUNDS);
        }
        if self.unneeded > 0 {
            let unneeded = self.slots.iter().filter(|(_, slot)| matches!(slot, Slot::Unneeded(_)));
            self.bytes += unneeded.map(|(labels, _)| slot_bytes(labels)).sum::<usize>();
        }
    }

    fn let_go_in(&mut self, lane: &mut Lane, gone: &mut Vec<u32>) {
        let (_, ahead) = lane.rows(i64::MIN, self.trimmed.0.saturating_add(AHEAD_MAX_MS));
        let (mut first, mut back_ms) = (ahead, 0);
        // Most members of a lane look back equally far.
        let mut known = None;
        let members = std::mem::take(&mut lane.members);
        let stays = |number: &u32| {
            let Some(series) = &mut self.series[*number as usize] else { return false };
            let horizon = self.trimmed.0.saturating_sub(series.back_ms).saturating_sub(SLACK_MS);
            let row = match known {
                Some((same, row)) if same == horizon => row,
                _ => lane.rows(horizon.saturating_add(1), i64::MAX).0,
            };
            known = Some((horizon, row));
            series.drop_from(ahead);
            series.drop_before(row);
            series.pack();
            if series.len() == 0 || series.needs.is_empty() {
                gone.push(*number);
                return false;
            }
            first = first.min(series.first());
            back_ms = back_ms.max(series.back_ms);
            self.bytes += series.bytes_fixed() + series.bytes();
            true
        };
        lane.members = members.into_iter().filter(stays).collect();
        lane.back_ms = back_ms;
        lane.drop_from(ahead);
        lane.drop_before(first);
    }

    /// Removes series from everywhere but their lanes.
    fn remove(&mut self, gone: Vec<u32>) {
        let mut touched = vec![false; if gone.is_empty() { 0 } else { self.needs.all.len() }];
        for number in &gone {
            let Some(series) = self.series[*number as usize].take() else { continue };
            self.slots.remove(&series.labels);
            series.needs.iter().for_each(|need| touched[*need as usize] = true);
        }
        for need in self.needs.all.iter_mut().zip(touched).filter_map(|(need, touched)| touched.then_some(need)) {
            let is_kept = |number: &u32| self.series[*number as usize].is_some();
            need.sorted = need.series[..need.sorted].iter().filter(|number| is_kept(number)).count();
            need.series.retain(is_kept);
        }
        self.free_series.extend(gone);
    }

    /// Leaves out the needs that cost most, until what is left fits.
    pub(super) fn shrink(&mut self) {
        self.forget_unneeded(0);
        self.let_go(self.trimmed);
        while self.bytes > self.bytes_max {
            let samples = |number: &u32| self.series[*number as usize].as_ref().map_or(0, |series| series.len() + 8);
            let cost = |need: &Known| need.series.iter().map(samples).sum::<usize>();
            let mut costs: Vec<(usize, usize)> = self.needs.all.iter().map(cost).zip(0..).collect();
            costs.retain(|(cost, _)| *cost > 0);
            if costs.is_empty() {
                break;
            }
            costs.sort_unstable();
            let half = costs.iter().map(|(cost, _)| cost).sum::<usize>() / 2;
            let mut freed = 0;
            // Needs share series, so that leaving out one may free nothing: half of the cost goes at once.
            while let Some((cost, number)) = costs.pop_if(|_| freed < half.max(1)) {
                freed += cost;
                self.needs.all[number].left_out = Some(self.trimmed);
            }
            self.decide_anew();
            self.let_go(self.trimmed);
        }
    }

    /// Sorts what joined the lists of needs.
    fn sort(&mut self) {
        let series = &self.series;
        let labels = |number: &u32| series[*number as usize].as_ref().map(|series| &series.labels);
        for need in self.needs.all.iter_mut().filter(|need| need.sorted < need.series.len()) {
            if need.series.len() - need.sorted > SINGLE_MAX {
                need.series.sort_by(|a, b| labels(a).cmp(&labels(b)));
            } else {
                for new in need.sorted..need.series.len() {
                    let number = need.series[new];
                    let place = need.series[..new].partition_point(|other| labels(other) < labels(&number));
                    need.series[place..=new].rotate_right(1);
                }
            }
            need.sorted = need.series.len();
        }
    }
}
