//! How many replicas begin and end now, so that never more than allowed are there, nor fewer.

use crate::workload::Strategy;

/// Replicas of a workload that are not on their way out, and those that are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    /// Made from what counts now.
    pub(super) new: u32,
    pub(super) new_available: u32,
    /// Made from something else.
    pub(super) old: u32,
    pub(super) old_available: u32,
    /// On their way out.
    pub(super) leaving: u32,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Plan {
    /// New ones to begin.
    pub(super) begin: u32,
    /// New ones to end: more than wanted are there.
    pub(super) end_new: u32,
    /// Old ones to end, those that are not available first.
    pub(super) end_old_sick: u32,
    /// Old ones to end that are available.
    pub(super) end_old_well: u32,
}

/// The next step from `counts` to `wanted` new replicas.
pub(super) fn plan(strategy: Strategy, wanted: u32, counts: Counts) -> Plan {
    let Counts { new, new_available, old, old_available, leaving } = counts;
    let end_new = new.saturating_sub(wanted);
    let (surge, unavailable) = match strategy {
        Strategy::Recreate if old > 0 => {
            return Plan { end_old_sick: old - old_available, end_old_well: old_available, end_new, begin: 0 };
        }
        // What leaves may still hold what a new one needs.
        Strategy::Recreate if leaving > 0 => return Plan { end_new, ..Plan::default() },
        Strategy::Recreate => (0, wanted),
        Strategy::Rolling { surge, unavailable } => {
            let (surge, unavailable) = (surge.of_up(wanted), unavailable.of_down(wanted));
            // Parts of few replicas may round to nothing; something has to give.
            if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
        }
    };
    let most = wanted.saturating_add(surge);
    let begin = wanted.saturating_sub(new).min(most.saturating_sub(new + old + leaving));
    let least_available = wanted.saturating_sub(unavailable);
    let new_sick = new - new_available;
    // New ones that are not available yet are counted on.
    let may_end = (new + old).saturating_sub(least_available + new_sick);
    let end_old_sick = (old - old_available).min(may_end);
    let spare = (new_available + old_available).saturating_sub(least_available);
    let end_old_well = old_available.min(spare).min(may_end - end_old_sick);
    Plan { begin, end_new, end_old_sick, end_old_well }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Amount::{Count, Percent};
    use proptest::{prop_assert, prop_assert_eq, proptest};

    const fn counts(new: u32, new_available: u32, old: u32, old_available: u32, leaving: u32) -> Counts {
        Counts { new, new_available, old, old_available, leaving }
    }

    #[test]
    fn steps_are_those_of_a_deployment() {
        let one_more = Strategy::Rolling { surge: Count(1), unavailable: Count(0) };
        let one_less = Strategy::Rolling { surge: Count(0), unavailable: Count(1) };
        let quarter = Strategy::Rolling { surge: Percent(25), unavailable: Percent(25) };
        for (strategy, wanted, now, (begin, end_new, end_old_sick, end_old_well)) in [
            (one_more, 3, counts(0, 0, 0, 0, 0), (3, 0, 0, 0)),
            (one_more, 3, counts(0, 0, 3, 3, 0), (1, 0, 0, 0)),
            (one_more, 3, counts(1, 0, 3, 3, 0), (0, 0, 0, 0)),
            (one_more, 3, counts(1, 1, 3, 3, 0), (0, 0, 0, 1)),
            (one_more, 3, counts(1, 1, 2, 2, 1), (0, 0, 0, 0)),
            (one_more, 3, counts(1, 1, 2, 2, 0), (1, 0, 0, 0)),
            (one_more, 3, counts(3, 3, 1, 1, 0), (0, 0, 0, 1)),
            // An old one that is sick makes room at once.
            (one_more, 3, counts(0, 0, 3, 2, 0), (1, 0, 0, 0)),
            (one_more, 3, counts(1, 1, 3, 2, 0), (0, 0, 1, 0)),
            (one_less, 1, counts(0, 0, 1, 1, 0), (0, 0, 0, 1)),
            (one_less, 1, counts(0, 0, 0, 0, 1), (0, 0, 0, 0)),
            (one_less, 1, counts(0, 0, 0, 0, 0), (1, 0, 0, 0)),
            (quarter, 10, counts(0, 0, 10, 10, 0), (3, 0, 0, 2)),
            (quarter, 1, counts(0, 0, 1, 1, 0), (1, 0, 0, 0)),
            (one_more, 2, counts(5, 5, 0, 0, 0), (0, 3, 0, 0)),
            (one_more, 0, counts(2, 2, 1, 1, 0), (0, 2, 0, 1)),
            (Strategy::Recreate, 2, counts(0, 0, 2, 1, 0), (0, 0, 1, 1)),
            (Strategy::Recreate, 2, counts(0, 0, 0, 0, 2), (0, 0, 0, 0)),
            (Strategy::Recreate, 2, counts(0, 0, 0, 0, 0), (2, 0, 0, 0)),
        ] {
            let expected = Plan { begin, end_new, end_old_sick, end_old_well };
            assert_eq!(plan(strategy, wanted, now), expected, "{strategy:?} {wanted} {now:?}");
        }
    }

    proptest! {
        /// From wherever, bounds hold at each step, and it comes to the end once new ones become available.
        #[test]
        fn it_ends_within_bounds(
            wanted in 0u32..8, surge in 0u32..4, unavailable in 0u32..4, is_recreated: bool,
            new in 0u32..8, old in 0u32..8,
        ) {
            let strategy = if is_recreated {
                Strategy::Recreate
            } else {
                Strategy::Rolling { surge: Count(surge), unavailable: Count(unavailable) }
            };
            let floor = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
            let mut now = counts(new, new, old, old, 0);
            for _ in 0..100 {
                let before = now;
                let step = plan(strategy, wanted, now);
                now.new = now.new + step.begin - step.end_new;
                now.new_available -= step.end_new.min(now.new_available);
                now.old -= step.end_old_sick + step.end_old_well;
                now.old_available -= step.end_old_well;
                let all = now.new + now.old;
                if step.begin > 0 && !is_recreated {
                    prop_assert!(all <= wanted + surge, "{now:?}");
                }
                if !is_recreated && step.end_old_well > 0 {
                    prop_assert!(now.new_available + now.old_available >= wanted.saturating_sub(floor), "{now:?}");
                }
                if step == Plan::default() && now.new_available == now.new {
                    break;
                }
                if before == now || step.begin == 0 {
                    now.new_available = now.new;
                }
            }
            prop_assert_eq!((now.new, now.old), (wanted, 0));
        }
    }
}
