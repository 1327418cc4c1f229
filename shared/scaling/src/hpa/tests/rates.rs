//! Rates and bounds, beyond the cases of Kubernetes's own suites.

use crate::hpa::Limit;
use crate::hpa::rates::{Bounds, CHANGES_MAX, Change, Changes, down_limit, limit, up_limit, within};
use crate::policy::{Behavior, Rate, RateKind, Rules, Select};
use skerry_model::UnixMillis;
use std::time::Duration;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn rules(select: Select, rates: &[(RateKind, u32, u64)]) -> Rules {
    let rates = rates.iter().map(|(kind, value, period)| Rate {
        kind: *kind,
        value: *value,
        period: Duration::from_secs(*period),
    });
    Rules { window: None, select, rates: rates.collect(), tolerance_ppm: None }
}

/// Changes so many seconds ago, by so many; below 0 downwards.
fn changes(list: &[(i64, i32)]) -> Changes {
    let mut changes = Changes::default();
    for (ago, by) in list {
        let change = Change { by: by.unsigned_abs(), at: UnixMillis(NOW.0 - ago * 1000) };
        if *by > 0 { changes.up.push(change) } else { changes.down.push(change) }
    }
    changes
}

use RateKind::{Percent, Pods};
use Select::{Disabled, Max, Min};

#[test]
fn growing() {
    let both = [(Pods, 4, 60), (Percent, 50, 60)];
    for (current, select, rates, made, expected, why) in [
        (10, Max, &both[..], vec![], 15, "percent lets more"),
        (10, Min, &both, vec![], 14, "pods let less"),
        (4, Max, &both, vec![], 8, "pods let more"),
        (10, Disabled, &both, vec![], 10, "not at all"),
        (10, Max, &[], vec![], 10, "without rates"),
        (10, Max, &[(Pods, 4, 60)], vec![(30, 3)], 11, "3 of 4 are used"),
        (10, Max, &[(Pods, 4, 60)], vec![(60, 3)], 14, "the begin of a period is outside of it"),
        (10, Max, &[(Pods, 4, 60)], vec![(59, 3)], 11, "what is later is within"),
        (10, Max, &[(Pods, 4, 60)], vec![(30, 3), (20, -3)], 14, "what was taken away may come back"),
        (10, Max, &[(Pods, 4, 60)], vec![(20, -5)], 19, "before, there were 15"),
        (10, Max, &[(Percent, 100, 60)], vec![(30, 5), (20, -5)], 20, "before, there were 10"),
        (10, Max, &[(Pods, 1, 60)], vec![(30, 8)], 10, "never below what is there"),
        (10, Min, &[(Pods, 4, 30), (Percent, 100, 120)], vec![(60, 6)], 10, "8 by percent is less than there is"),
        (10, Max, &[(Pods, 4, 30), (Percent, 100, 120)], vec![(60, 6)], 14, "each period looks back by itself"),
        (100, Max, &[(Percent, 10, 60)], vec![], 111, "1.1 is a little more in binary, as Kubernetes reckons"),
        (1, Max, &[(Percent, 1, 60)], vec![], 2, "percent rounds up"),
        (0, Max, &[(Percent, 100, 60)], vec![], 0, "a percentage of nothing"),
        (u32::MAX, Max, &[(Percent, 2_000_000_000, 60)], vec![], u32::MAX, "huge"),
    ] {
        assert_eq!(up_limit(current, &rules(select, rates), &changes(&made), NOW), expected, "{why}");
    }
}

#[test]
fn shrinking() {
    let both = [(Pods, 4, 60), (Percent, 50, 60)];
    for (current, select, rates, made, expected, why) in [
        (10, Max, &both[..], vec![], 5, "percent lets more"),
        (10, Min, &both, vec![], 6, "pods let less"),
        (10, Disabled, &both, vec![], 10, "not at all"),
        (10, Max, &[(Percent, 33, 60)], vec![], 6, "6.7 is cut"),
        (10, Max, &[(Pods, 4, 60)], vec![(30, -3)], 9, "3 of 4 are used"),
        (10, Max, &[(Pods, 4, 60)], vec![(30, -3), (20, 3)], 6, "what was added may go"),
        (10, Max, &[(Pods, 2, 60)], vec![(20, 5)], 3, "before, there were 5"),
        (10, Max, &[(Pods, 2, 60)], vec![(20, -5)], 10, "never above what is there"),
        (10, Max, &[(Percent, 500, 60)], vec![], 0, "never below nothing"),
        (3, Max, &[(Pods, 100, 60)], vec![], 0, "never below nothing"),
        (2, Max, &[(Percent, 10, 60)], vec![], 1, "1.8 is cut: percent alone comes to an end"),
    ] {
        assert_eq!(down_limit(current, &rules(select, rates), &changes(&made), NOW), expected, "{why}");
    }
}

#[test]
fn who_holds_it_is_told() {
    let behavior = Behavior { up: rules(Max, &[(Pods, 4, 60)]), down: rules(Max, &[(Pods, 4, 60)]) };
    let bounds = Bounds { min: 2, max: 12 };
    for (current, desired, expected, by) in [
        (5, 7, 7, None),
        (5, 9, 9, None),
        (5, 10, 9, Some(Limit::UpRate)),
        (10, 20, 12, Some(Limit::Most)),
        (8, 20, 12, Some(Limit::Most)),
        (12, 20, 12, Some(Limit::Most)),
        (9, 4, 5, Some(Limit::DownRate)),
        (6, 2, 2, None),
        (6, 1, 2, Some(Limit::Least)),
        (5, 1, 2, Some(Limit::Least)),
        (2, 0, 2, Some(Limit::Least)),
        (5, 5, 5, None),
    ] {
        let found = limit(current, desired, bounds, &behavior, &Changes::default(), NOW);
        assert_eq!(found, (expected, by), "{current} {desired}");
    }
    let still = Behavior { up: rules(Disabled, &[]), down: rules(Disabled, &[]) };
    assert_eq!(limit(5, 9, bounds, &still, &Changes::default(), NOW), (5, Some(Limit::UpRate)));
    assert_eq!(limit(5, 2, bounds, &still, &Changes::default(), NOW), (5, Some(Limit::DownRate)));
}

#[test]
fn changes_are_kept_as_long_as_a_rate_looks_back() {
    let behavior = Behavior { up: rules(Max, &[(Pods, 4, 60)]), down: rules(Max, &[(Pods, 4, 600)]) };
    let mut made = changes(&[(601, 2), (599, 3)]);
    made.note(3, 7, &behavior, NOW);
    let kept: Vec<u32> = made.up.iter().map(|change| change.by).collect();
    assert_eq!(kept, [4, 3], "upward changes count downwards too, for 600 s");
    made.note(7, 7, &behavior, NOW);
    assert_eq!((made.up.len(), made.down.len()), (2, 0), "no change is none");
    let still = Behavior { up: rules(Disabled, &[(Pods, 4, 60)]), down: rules(Disabled, &[]) };
    made.note(7, 5, &still, NOW);
    assert!(made.down.is_empty(), "nobody looks back");
}

#[test]
fn what_cannot_be_kept_apart_is_kept_together() {
    let period = Duration::from_secs(1800);
    let behavior = Behavior { up: rules(Max, &[(Pods, 4, 1800)]), down: rules(Max, &[(Pods, 4, 1800)]) };
    let mut made = Changes::default();
    for second in 0..1800i64 {
        let now = UnixMillis(NOW.0 + second * 1000);
        made.note(1, 2, &behavior, now);
        assert!(made.up.len() <= CHANGES_MAX);
        assert_eq!(within(&made.up, period, now), second + 1, "nothing is forgotten");
    }
}
