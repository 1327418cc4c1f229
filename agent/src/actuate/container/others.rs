//! Replicas that somebody else takes away.
//!
//! Whoever stops or removes a service, as `docker compose stop`, `down` and `up` do, takes its replicas away one by one, and
//! each ends in its own time. Making up for the first while the last still ends would undo what somebody wants done. So
//! replicas that went without our doing count as wanted for a while after the last of them went, and none is made or
//! started; then what is left is what there is, none of them for a service that was stopped as a whole.

use skerry_model::Mono;
use skerry_scaling::target::TargetRef;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Left to others beyond the time that a replica is given to end.
pub(super) const MARGIN: Duration = Duration::from_secs(5);
/// Most targets that are remembered; more than that, and all are forgotten.
const TARGETS_MAX: usize = 256;

/// What was seen of targets. Lost at a restart, which costs those who are at it then one more `stop`.
#[derive(Debug, Default)]
pub(super) struct Others(BTreeMap<TargetRef, Seen>);

#[derive(Debug)]
struct Seen {
    /// Ids of the replicas that ran.
    running: BTreeSet<String>,
    /// How many others took away, less those that came since.
    away: u32,
    /// Until when they are left alone.
    until: Mono,
}

impl Others {
    /// Takes which replicas run, but for those that were told to end here, and how long they are given to end. Gives how
    /// many others took away a moment ago.
    pub(super) fn note(&mut self, target: &TargetRef, running: BTreeSet<String>, grace: Duration, now: Mono) -> u32 {
        if self.0.len() >= TARGETS_MAX && !self.0.contains_key(target) {
            self.0.clear();
        }
        let Some(seen) = self.0.get_mut(target) else {
            self.0.insert(target.clone(), Seen { running, away: 0, until: now });
            return 0;
        };
        if now >= seen.until {
            seen.away = 0;
        }
        let count = |one: &BTreeSet<String>, other| u32::try_from(one.difference(other).count()).unwrap_or(u32::MAX);
        let (gone, come) = (count(&seen.running, &running), count(&running, &seen.running));
        if gone > 0 || (come > 0 && seen.away > 0) {
            seen.until = now + grace + MARGIN;
        }
        seen.away = seen.away.saturating_add(gone).saturating_sub(come);
        seen.running = running;
        seen.away
    }

    /// A replica was told to end here.
    pub(super) fn told(&mut self, target: &TargetRef, id: &str) {
        if let Some(seen) = self.0.get_mut(target) {
            seen.running.remove(id);
        }
    }

    /// Nothing of a target is there any more.
    pub(super) fn forget(&mut self, target: &TargetRef) {
        self.0.remove(target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_scaling::target::TargetKind;

    const GRACE: Duration = Duration::from_secs(10);

    fn target() -> TargetRef {
        TargetRef { kind: TargetKind::Container, name: "web".into(), scope: String::new() }
    }

    /// Looks a second apart, each as the replicas that run and how many others took away; `-` before one that is told to
    /// end here.
    #[test]
    fn those_who_take_replicas_away_are_left_alone() {
        for (what, looks) in [
            ("nothing happens", &[("abc", 0), ("abc", 0)][..]),
            ("more come, and go by our doing", &[("a", 0), ("abc", 0), ("-c", 0), ("ab", 0)]),
            ("stopped one by one", &[("abc", 0), ("ac", 1), ("a", 2), ("", 3)]),
            ("some are started again", &[("abc", 0), ("", 3), ("b", 2), ("ab", 1), ("abc", 0)]),
            ("the others go, and the template is made anew", &[("abc", 0), ("a", 2), ("", 3), ("d", 2)]),
            ("one in place of another between two looks", &[("ab", 0), ("ac", 0)]),
            ("first seen while it is at it", &[("a", 0)]),
        ] {
            let mut others = Others::default();
            for (at, (running, away)) in looks.iter().enumerate() {
                if let Some(id) = running.strip_prefix('-') {
                    others.told(&target(), id);
                    continue;
                }
                let ids = running.chars().map(String::from).collect();
                let now = Mono(at as u64 * 1000);
                assert_eq!(others.note(&target(), ids, GRACE, now), *away, "{what}: look {at}");
            }
        }
    }

    #[test]
    fn their_time_ends_after_the_last() {
        let ids = |all: &str| all.chars().map(String::from).collect::<BTreeSet<_>>();
        let mut others = Others::default();
        let mut look = |running: &str, s: u64| others.note(&target(), ids(running), GRACE, Mono(s * 1000));
        assert_eq!([look("abc", 0), look("ab", 1), look("ab", 15), look("ab", 16)], [0, 1, 1, 0]);
        assert_eq!(
            [look("a", 17), look("", 31), look("", 45), look("", 46)],
            [1, 2, 2, 0],
            "the second gave more time"
        );
        others.forget(&target());
        assert_eq!(others.note(&target(), ids(""), GRACE, Mono(50_000)), 0);
        for n in 0..2 * TARGETS_MAX {
            let other = TargetRef { name: n.to_string(), ..target() };
            others.note(&other, ids("a"), GRACE, Mono(0));
        }
        assert!(others.0.len() <= TARGETS_MAX);
    }
}
