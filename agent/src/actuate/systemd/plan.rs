//! Which instances are started and stopped.

use super::INSTANCES_MAX;
use super::show::{Instance, State};
use std::collections::{BTreeMap, BTreeSet};

/// Numbers to start and to stop.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) starts: Vec<u32>,
    pub(super) stops: Vec<u32>,
}

/// The fewest changes that make it so many: the lowest numbers come first and the highest go first. Of those that stay,
/// failed ones are tried again.
pub(super) fn plan(found: &BTreeMap<u32, Instance>, replicas: u32) -> Plan {
    let there: BTreeSet<u32> =
        found.iter().filter(|(_, instance)| instance.is_there()).map(|(number, _)| *number).collect();
    let kept: BTreeSet<u32> = there.iter().copied().take(replicas as usize).collect();
    let mut stops: Vec<u32> = there.difference(&kept).copied().collect();
    stops.reverse();
    let absent = (1..=INSTANCES_MAX).filter(|number| !there.contains(number));
    let mut starts: Vec<u32> = absent.take((replicas as usize).saturating_sub(kept.len())).collect();
    starts.extend(kept.iter().filter(|number| found.get(number).is_some_and(|it| it.state == State::Failed)));
    starts.sort_unstable();
    Plan { starts, stops }
}
