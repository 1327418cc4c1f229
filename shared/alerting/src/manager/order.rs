//! The orders in which Alertmanager writes alerts and groups.

use skerry_model::Labels;
use std::cmp::Ordering;

/// Labels that compare by [`in_order`].
#[derive(PartialEq, Eq)]
pub(super) struct InOrder(pub(super) Labels);

impl Ord for InOrder {
    fn cmp(&self, other: &Self) -> Ordering {
        in_order(&self.0, &other.0)
    }
}

impl PartialOrd for InOrder {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The order of alerts in a notice: by job, by instance, then fewer labels first, then by labels.
pub(super) fn in_order(a: &Labels, b: &Labels) -> Ordering {
    for name in ["job", "instance"] {
        let by = match (a.value(name), b.value(name)) {
            ("", "") => Ordering::Equal,
            ("", _) => Ordering::Greater,
            (_, "") => Ordering::Less,
            (a, b) => a.cmp(b),
        };
        if by != Ordering::Equal {
            return by;
        }
    }
    labels_in_order(a, b)
}

/// Alertmanager's order of label sets: fewer labels first, then by each name, then by its value.
pub(super) fn labels_in_order(a: &Labels, b: &Labels) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| {
        for ((name_a, value_a), (name_b, value_b)) in a.iter().zip(b.iter()) {
            // Whoever lacks the smaller name comes first.
            let by = name_b.cmp(name_a).then_with(|| value_a.cmp(value_b));
            if by != Ordering::Equal {
                return by;
            }
        }
        Ordering::Equal
    })
}
