//! Stabilization: what was recommended a while ago holds back what is recommended now.
//!
//! Invariants:
//! - A target grows to no more than the least, and shrinks to no less than the largest, of what was recommended in the
//!   window of that direction, now included; the moment at a window's begin is outside of it.
//! - What is kept is bounded. What can never decide again is let go first; then moments are taken together, so that what
//!   is held back is held back longer, never shorter.

use skerry_model::UnixMillis;
use std::time::Duration;

/// Most recommendations that are kept.
pub const RECOMMENDATIONS_MAX: usize = 128;

/// What was recommended, before windows, rates and bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recommendation {
    /// How many replicas.
    pub replicas: u32,
    /// When.
    pub at: UnixMillis,
}

/// How far back recommendations count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Against growing.
    pub up: Duration,
    /// Against shrinking.
    pub down: Duration,
}

/// Notes a recommendation, and what is left of it with those before.
pub fn stabilize(log: &mut Vec<Recommendation>, windows: Windows, current: u32, desired: u32, now: UnixMillis) -> u32 {
    let (up_from, down_from) = (begin(now, windows.up), begin(now, windows.down));
    let (mut least, mut most, mut outdated) = (desired, desired, None);
    for (index, one) in log.iter().enumerate() {
        if one.at > up_from {
            least = least.min(one.replicas);
        }
        if one.at > down_from {
            most = most.max(one.replicas);
        }
        if one.at < up_from && one.at < down_from {
            outdated = Some(index);
        }
    }
    let one = Recommendation { replicas: desired, at: now };
    match outdated.and_then(|index| log.get_mut(index)) {
        Some(slot) => *slot = one,
        None => log.push(one),
    }
    shorten(log);
    if current < least {
        least
    } else if current > most {
        most
    } else {
        current
    }
}

/// Whether anything in a log counts in the longer of the windows.
pub(super) fn has_recent(log: &[Recommendation], windows: Windows, now: UnixMillis) -> bool {
    let from = begin(now, windows.up.max(windows.down));
    log.iter().any(|one| one.at > from)
}

fn begin(now: UnixMillis, window: Duration) -> UnixMillis {
    UnixMillis(now.0.saturating_sub(i64::try_from(window.as_millis()).unwrap_or(i64::MAX)))
}

/// Keeps a log within its bound.
fn shorten(log: &mut Vec<Recommendation>) {
    if log.len() <= RECOMMENDATIONS_MAX {
        return;
    }
    log.sort_by_key(|one| one.at);
    // From the newest on: one counts where no later one is as small, or none is as large.
    let (mut least, mut most) = (u32::MAX, 0);
    let mut kept: Vec<Recommendation> = Vec::with_capacity(log.len());
    for one in log.iter().rev() {
        if kept.is_empty() || one.replicas < least || one.replicas > most {
            kept.push(*one);
        }
        least = least.min(one.replicas);
        most = most.max(one.replicas);
    }
    if kept.len() > RECOMMENDATIONS_MAX / 2 {
        let halves = kept.chunks(4).flat_map(|four| {
            let at = four.first().map_or(UnixMillis::default(), |newest| newest.at);
            let replicas = || four.iter().map(|one| one.replicas);
            [replicas().min(), replicas().max()]
                .into_iter()
                .flatten()
                .map(move |replicas| Recommendation { replicas, at })
        });
        kept = halves.collect();
    }
    kept.reverse();
    *log = kept;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = 1000;

    fn windows(up: u64, down: u64) -> Windows {
        Windows { up: Duration::from_secs(up), down: Duration::from_secs(down) }
    }

    /// What the definition says, with all that ever was recommended.
    fn by_definition(all: &[Recommendation], windows: Windows, current: u32, now: UnixMillis) -> u32 {
        let within = |window: Duration| {
            let from = begin(now, window);
            let last = all.len() - 1;
            all.iter().enumerate().filter(move |(n, one)| *n == last || one.at > from).map(|(_, one)| one.replicas)
        };
        let least = within(windows.up).min().unwrap();
        let most = within(windows.down).max().unwrap();
        if current < least { least } else { current.min(most) }
    }

    proptest! {
        #[test]
        fn a_log_of_bounded_length_decides_as_a_whole_one(
            steps in prop::collection::vec((0u32..60, 1i64..20), 1..600),
            up in 0u64..900, down in 0u64..900, current in 0u32..60,
        ) {
            let (windows, mut log, mut all, mut now) = (windows(up, down), Vec::new(), Vec::new(), UnixMillis(0));
            for (replicas, seconds) in steps {
                now.0 += seconds * SECOND;
                all.push(Recommendation { replicas, at: now });
                let found = stabilize(&mut log, windows, current, replicas, now);
                prop_assert!(log.len() <= RECOMMENDATIONS_MAX);
                prop_assert_eq!(found, by_definition(&all, windows, current, now));
            }
        }
    }

    #[test]
    fn more_than_can_be_kept_is_held_back_longer() {
        // A slow fall and a slow rise: nothing in them is ever without meaning.
        for (first, step) in [(5000i64, -1), (1000, 1)] {
            let (windows, mut log, mut all) = (windows(3600, 3600), Vec::new(), Vec::new());
            for n in 0..3000i64 {
                let (replicas, now) = ((first + n * step) as u32, UnixMillis(n * SECOND));
                all.push(Recommendation { replicas, at: now });
                let current = 3000;
                let found = stabilize(&mut log, windows, current, replicas, now);
                let exact = by_definition(&all, windows, current, now);
                assert!(found.abs_diff(current) <= exact.abs_diff(current), "{n}: {found} {exact}");
                assert!(log.len() <= RECOMMENDATIONS_MAX);
            }
        }
    }
}
