//! When groups are due.
//!
//! A group's slots are the multiples of its interval, moved by a phase that its name and file give, so that groups of one
//! interval do not all come at once and a restart does not move them.

use skerry_model::UnixMillis;
use std::time::Duration;

/// Slots of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slots {
    interval_ms: i64,
    phase_ms: i64,
}

impl Slots {
    /// Of a group with this name in this file. An interval below a millisecond counts as one.
    pub(super) fn new(file: &str, group: &str, interval: Duration) -> Self {
        let interval_ms = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1);
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in file.bytes().chain([0xff]).chain(group.bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        #[expect(clippy::cast_possible_wrap, reason = "halved before")]
        let phase_ms = ((hash >> 1) as i64) % interval_ms;
        Self { interval_ms, phase_ms }
    }

    /// The first slot behind `now`.
    pub(super) fn after(self, now: UnixMillis) -> UnixMillis {
        let since = now.0.saturating_sub(self.phase_ms);
        let slot = since.div_euclid(self.interval_ms).saturating_mul(self.interval_ms).saturating_add(self.phase_ms);
        UnixMillis(slot.saturating_add(self.interval_ms))
    }

    /// The last slot that `now` has reached, beginning with `next`, and how many before it were missed; `None` before
    /// `next`.
    pub(super) fn reached(self, next: UnixMillis, now: UnixMillis) -> Option<(UnixMillis, u64)> {
        let late = now.0.checked_sub(next.0).filter(|late| *late >= 0)?;
        let missed = late / self.interval_ms;
        Some((UnixMillis(next.0 + missed * self.interval_ms), missed.unsigned_abs()))
    }

    /// The slot behind this one.
    pub(super) fn next(self, slot: UnixMillis) -> UnixMillis {
        UnixMillis(slot.0.saturating_add(self.interval_ms))
    }

    /// Time between two slots.
    pub(super) fn interval(self) -> Duration {
        Duration::from_millis(self.interval_ms.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn slots_are_spaced_and_stable(now in -1_000_000_000_000_i64..10_000_000_000_000, secs in 1u64..100_000, late in 0i64..10_000_000) {
            let slots = Slots::new("file", "group", Duration::from_secs(secs));
            let interval = slots.interval_ms;
            let first = slots.after(UnixMillis(now));
            prop_assert!(first.0 > now && first.0 <= now + interval);
            prop_assert_eq!(slots.after(first), slots.next(first));
            prop_assert_eq!(slots.reached(first, UnixMillis(first.0 - 1)), None);
            let (slot, missed) = slots.reached(first, UnixMillis(first.0 + late)).unwrap();
            prop_assert!(slot.0 <= first.0 + late && slot.0 + interval > first.0 + late);
            prop_assert_eq!(slot.0, first.0 + missed as i64 * interval);
        }
    }
}
