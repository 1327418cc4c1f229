//! What decisions remember of the rounds before.
//!
//! Moments are kept by the wall clock, so that they outlive the process; where that clock is set, they move along, so that
//! windows and periods are as long as they should be.

use super::rates::{Change, Changes};
use super::windows::{Recommendation, Windows, has_recent};
use crate::policy::ScalingPolicy;
use skerry_model::{Now, UnixMillis};

mod packed;

/// Longest form of a state in bytes.
pub const STATE_BYTES_MAX: usize = 4096;

/// Recommendations, what was scaled when, when something was active last, failures in a row. Bounded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// What was recommended, before windows.
    pub(super) recommendations: Vec<Recommendation>,
    /// What was scaled.
    pub(super) changes: Changes,
    /// When a metric or trigger was active last, or when that was first looked at.
    pub(super) active_at: Option<UnixMillis>,
    /// Failures in a row of each metric, in the policy's order.
    pub(super) failures: Vec<u32>,
    /// A forecast took the last step, a large one: metrics may correct it once. Not kept over a restart.
    pub(super) is_lifted: bool,
    /// The moment before; nothing in a state that was just read.
    clock: Option<Now>,
}

/// Bytes that no version of [`State::to_bytes`] wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the state of a scaling policy cannot be read: begin without one, which only makes the first windows longer")]
pub struct InvalidState;

impl State {
    /// Notes that a target was scaled. Only where it was: what failed does not count against rates.
    pub fn scaled(&mut self, from: u32, to: u32, policy: &ScalingPolicy, now: Now) {
        self.follow_clock(now);
        self.changes.note(from, to, &policy.behavior, now.wall);
    }

    /// Begins a round. Where nothing is known of the windows before the first one, what runs counts as recommended.
    pub(super) fn begin(&mut self, current: u32, windows: Windows, now: Now) {
        let is_first = self.clock.is_none();
        self.follow_clock(now);
        if is_first && !has_recent(&self.recommendations, windows, now.wall) {
            self.recommendations.push(Recommendation { replicas: current, at: now.wall });
        }
    }

    /// Moves what is remembered by as much as the wall clock was set since. What a process before this one left in the
    /// future, by a clock that was wrong then or is now, happened just now.
    fn follow_clock(&mut self, now: Now) {
        let Some(last) = self.clock.replace(now) else {
            return self.moments(|at| at.0 = at.0.min(now.wall.0));
        };
        let expected = last.wall + now.mono.since(last.mono);
        let step = now.wall.0.saturating_sub(expected.0);
        if step != 0 {
            self.moments(|at| at.0 = at.0.saturating_add(step));
        }
    }

    fn moments(&mut self, change: impl Fn(&mut UnixMillis)) {
        let Changes { up, down } = &mut self.changes;
        let changes = up.iter_mut().chain(down).map(|one: &mut Change| &mut one.at);
        self.recommendations
            .iter_mut()
            .map(|one| &mut one.at)
            .chain(changes)
            .chain(&mut self.active_at)
            .for_each(change);
    }
}
