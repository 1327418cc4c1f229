//! Rates and bounds: how much may change in which time, and how far at all.
//!
//! Invariants:
//! - A rate never turns a change round: a limit beyond where the target is counts as where it is.
//! - What was scaled counts against the rates of both directions, until the period of every rate is over.
//! - What is kept is bounded; where more happened, changes are taken together at the later moment.

use super::decision::Limit;
use crate::policy::{Behavior, Rate, RateKind, Rules, Select};
use skerry_model::UnixMillis;
use std::time::Duration;

/// Most changes of one direction that are kept.
pub const CHANGES_MAX: usize = 48;

/// A change that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// By how many replicas.
    pub by: u32,
    /// When.
    pub at: UnixMillis,
}

/// What was scaled of late.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Upwards.
    pub up: Vec<Change>,
    /// Downwards.
    pub down: Vec<Change>,
}

impl Changes {
    /// Notes that a target was scaled. Where no rate looks back, nothing is kept.
    pub fn note(&mut self, from: u32, to: u32, behavior: &Behavior, now: UnixMillis) {
        let periods = [&behavior.up, &behavior.down].into_iter().filter_map(longest_period);
        let Some(longest) = periods.max().filter(|_| from != to) else { return };
        let changes = if to > from { &mut self.up } else { &mut self.down };
        let outdated = changes.iter().rposition(|change| change.at + longest < now);
        let change = Change { by: from.abs_diff(to), at: now };
        match outdated.and_then(|index| changes.get_mut(index)) {
            Some(slot) => *slot = change,
            None => changes.push(change),
        }
        if changes.len() > CHANGES_MAX {
            changes.sort_by_key(|change| change.at);
            let pairs = changes.chunks(2).filter_map(|pair| {
                let by = pair.iter().fold(0u32, |sum, change| sum.saturating_add(change.by));
                Some(Change { by, at: pair.last()?.at })
            });
            *changes = pairs.collect();
        }
    }

    /// How many replicas there were before what was scaled within a period.
    fn at_begin(&self, current: u32, period: Duration, now: UnixMillis) -> i64 {
        i64::from(current) - within(&self.up, period, now) + within(&self.down, period, now)
    }
}

/// By how many replicas changes within a period went, its begin left out.
#[must_use]
pub fn within(changes: &[Change], period: Duration, now: UnixMillis) -> i64 {
    changes.iter().filter(|change| change.at + period > now).map(|change| i64::from(change.by)).sum()
}

/// How far back the longest rate looks; nothing where none counts.
fn longest_period(rules: &Rules) -> Option<Duration> {
    if rules.select == Select::Disabled {
        return None;
    }
    rules.rates.iter().map(|rate| rate.period).max()
}

/// Bounds of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Least replicas.
    pub min: u32,
    /// Most replicas.
    pub max: u32,
}

/// What rates and bounds leave of a wish, and which of them changed it.
#[must_use]
pub fn limit(
    current: u32,
    desired: u32,
    bounds: Bounds,
    behavior: &Behavior,
    changes: &Changes,
    now: UnixMillis,
) -> (u32, Option<Limit>) {
    if desired > current {
        let rate = up_limit(current, &behavior.up, changes, now);
        let (most, by) = if bounds.max > rate { (rate, Limit::UpRate) } else { (bounds.max, Limit::Most) };
        if desired > most {
            return (most, Some(by));
        }
    } else if desired < current {
        let rate = down_limit(current, &behavior.down, changes, now);
        let (least, by) = if bounds.min < rate { (rate, Limit::DownRate) } else { (bounds.min, Limit::Least) };
        if desired < least {
            return (least, Some(by));
        }
    }
    (desired, None)
}

/// Most replicas that rates let a target grow to now; not below what it has.
#[must_use]
pub fn up_limit(current: u32, rules: &Rules, changes: &Changes, now: UnixMillis) -> u32 {
    let limit = |rate: &Rate| {
        let start = changes.at_begin(current, rate.period, now);
        match rate.kind {
            RateKind::Pods => start.saturating_add(i64::from(rate.value)),
            RateKind::Percent => (start as f64 * (1.0 + f64::from(rate.value) / 100.0)).ceil() as i64,
        }
    };
    let limits = rules.rates.iter().map(limit);
    let limit = match rules.select {
        Select::Disabled => None,
        Select::Max => limits.max(),
        Select::Min => limits.min(),
    };
    limit.map_or(current, |limit| whole(limit).max(current))
}

/// Least replicas that rates let a target shrink to now; not above what it has.
#[must_use]
pub fn down_limit(current: u32, rules: &Rules, changes: &Changes, now: UnixMillis) -> u32 {
    let limit = |rate: &Rate| {
        let start = changes.at_begin(current, rate.period, now);
        match rate.kind {
            RateKind::Pods => start.saturating_sub(i64::from(rate.value)),
            RateKind::Percent => (start as f64 * (1.0 - f64::from(rate.value) / 100.0)) as i64,
        }
    };
    let limits = rules.rates.iter().map(limit);
    let limit = match rules.select {
        Select::Disabled => None,
        Select::Max => limits.min(),
        Select::Min => limits.max(),
    };
    limit.map_or(current, |limit| whole(limit).min(current))
}

fn whole(replicas: i64) -> u32 {
    u32::try_from(replicas.max(0)).unwrap_or(u32::MAX)
}
