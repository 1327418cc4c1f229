//! Sets of sequence numbers, kept as ranges.

use serde::{Deserialize, Serialize};
use skerry_model::Seq;

/// A set of sequence numbers as sorted, disjoint, non-adjacent closed ranges.
///
/// Both ends keep their view of a stream in one: the fleet what it has committed, the node what it knows of that.
/// Newest-first sending leaves a few holes; a set stays small because holes are filled oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct SeqSet(Vec<(u64, u64)>);

impl SeqSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The ranges, lowest first.
    #[must_use]
    pub fn ranges(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers are in it.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.iter().fold(0, |sum: u64, (from, to)| sum.saturating_add((to - from).saturating_add(1)))
    }

    /// Adds all numbers of `from..=to`; does nothing where `to < from`.
    pub fn insert(&mut self, from: Seq, to: Seq) {
        let (mut from, mut to) = (from.0, to.0);
        if to < from {
            return;
        }
        let first = self.0.partition_point(|(_, end)| end.saturating_add(1) < from);
        let last = self.0.partition_point(|(start, _)| *start <= to.saturating_add(1));
        if let Some(touched) = self.0.get(first..last)
            && let (Some(low), Some(high)) = (touched.first(), touched.last())
        {
            from = from.min(low.0);
            to = to.max(high.1);
        }
        self.0.splice(first..last.max(first), [(from, to)]);
    }

    /// Adds all of another set.
    pub fn extend(&mut self, other: &Self) {
        for (from, to) in &other.0 {
            self.insert(Seq(*from), Seq(*to));
        }
    }

    /// Whether a number is in it.
    #[must_use]
    pub fn contains(&self, seq: Seq) -> bool {
        let at = self.0.partition_point(|(_, end)| *end < seq.0);
        self.0.get(at).is_some_and(|(start, _)| *start <= seq.0)
    }

    /// The parts of `from..=to` that are not in it, lowest first.
    #[must_use]
    pub fn missing(&self, from: Seq, to: Seq) -> Vec<(Seq, Seq)> {
        let (mut at, mut holes) = (from.0, Vec::new());
        let first = self.0.partition_point(|(_, end)| *end < from.0);
        for (start, end) in &self.0[first..] {
            if at > to.0 || *start > to.0 {
                break;
            }
            if *start > at {
                holes.push((Seq(at), Seq(start - 1)));
            }
            let Some(behind) = end.checked_add(1) else {
                return holes;
            };
            at = behind;
        }
        if at <= to.0 {
            holes.push((Seq(at), to));
        }
        holes
    }

    /// The highest number up to which all from 1 are in it; zero where 1 is not.
    #[must_use]
    pub fn through(&self) -> u64 {
        match self.0.first() {
            Some((1, to)) => *to,
            _ => 0,
        }
    }

    #[cfg(test)]
    fn is_normal(&self) -> bool {
        self.0.iter().all(|(from, to)| from <= to) && self.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0)
    }
}

impl From<Vec<(u64, u64)>> for SeqSet {
    fn from(ranges: Vec<(u64, u64)>) -> Self {
        let mut set = Self::new();
        for (from, to) in ranges {
            set.insert(Seq(from), Seq(to));
        }
        set
    }
}

impl From<SeqSet> for Vec<(u64, u64)> {
    fn from(set: SeqSet) -> Self {
        set.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_as_a_set(ops in proptest::collection::vec((1u64..60, 0u64..8), 0..40), probe in (1u64..60, 0u64..20)) {
            let (mut set, mut model) = (SeqSet::new(), BTreeSet::new());
            for (from, more) in ops {
                set.insert(Seq(from), Seq(from + more));
                model.extend(from..=from + more);
                prop_assert!(set.is_normal());
            }
            prop_assert_eq!(set.len(), model.len() as u64);
            for n in 0..80 {
                prop_assert_eq!(set.contains(Seq(n)), model.contains(&n));
            }
            let (from, to) = (probe.0, probe.0 + probe.1);
            let missing: Vec<u64> = set.missing(Seq(from), Seq(to)).iter().flat_map(|(a, b)| a.0..=b.0).collect();
            let expected: Vec<u64> = (from..=to).filter(|n| !model.contains(n)).collect();
            prop_assert_eq!(missing, expected);
            let through = (1..).take_while(|n| model.contains(n)).last().unwrap_or(0);
            prop_assert_eq!(set.through(), through);
        }
    }

    #[test]
    fn the_last_number_does_not_overflow() {
        let mut set = SeqSet::new();
        set.insert(Seq(u64::MAX), Seq(u64::MAX));
        set.insert(Seq(u64::MAX - 1), Seq(u64::MAX - 1));
        assert_eq!(set.ranges(), [(u64::MAX - 1, u64::MAX)]);
        assert_eq!(set.missing(Seq(u64::MAX), Seq(u64::MAX)), []);
    }
}
