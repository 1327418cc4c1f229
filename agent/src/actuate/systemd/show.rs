//! What `systemctl show` says: a block of `Property=value` lines for each unit, with an empty line between two.

use super::super::spans;
use super::INSTANCES_MAX;
use std::collections::BTreeMap;

/// What is asked for. Versions from 219 (2015) on know all but the last few, and leave out what they do not know.
pub(super) const PROPERTIES: &str = "Id,LoadState,ActiveState,ActiveEnterTimestampMonotonic,InactiveExitTimestampMonotonic,\
     CPUQuotaPerSecUSec,MemoryLimit,MemoryMax,MemoryHigh,CPUUsageNSec,MemoryCurrent";

/// Where an instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    /// Not there.
    #[default]
    Inactive,
    /// Is being started, or waits for its restart.
    Starting,
    /// Runs.
    Active,
    /// Is being stopped.
    Stopping,
    /// Ended badly.
    Failed,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Instance {
    /// There is no unit file for it.
    pub(super) is_missing: bool,
    /// Where it is in its life.
    pub(super) state: State,
    /// It was told to end by us, and not by somebody else.
    pub(super) is_told: bool,
    /// When its start began, on the monotonic clock; 0: never.
    pub(super) began_us: u64,
    /// When it was there.
    pub(super) active_us: u64,
    /// CPU that it may use, in thousandths of a core.
    pub(super) cpu_milli_max: Option<u64>,
    /// Memory that it may use, in bytes.
    pub(super) memory_max: Option<u64>,
    /// CPU time that it used.
    pub(super) cpu_nanos: Option<u64>,
    /// Memory that it uses.
    pub(super) memory_bytes: Option<u64>,
}

impl Instance {
    /// Whether it counts as there: one that others stop does until it is gone, so that their stop comes to its end.
    pub(super) fn is_there(&self) -> bool {
        self.state != State::Inactive && !(self.state == State::Stopping && self.is_told)
    }
}

/// Instances of template `name`, by their numbers; units that are none are left out.
pub(super) fn read(said: &str, name: &str) -> BTreeMap<u32, Instance> {
    let mut found = BTreeMap::new();
    for block in said.split("\n\n") {
        let (mut number, mut instance) = (None, Instance::default());
        let mut bounds = [None; 3];
        for (key, value) in block.lines().filter_map(|line| line.split_once('=')) {
            match key {
                "Id" => number = number_of(value, name),
                // A masked unit is there and cannot be started: systemd says so when it is tried.
                "LoadState" => instance.is_missing = value == "not-found",
                "ActiveState" => instance.state = state(value),
                "InactiveExitTimestampMonotonic" => instance.began_us = value.parse().unwrap_or(0),
                "ActiveEnterTimestampMonotonic" => instance.active_us = value.parse().unwrap_or(0),
                "CPUQuotaPerSecUSec" => {
                    let quota = spans::read(value).and_then(|span| u64::try_from(span.as_micros()).ok());
                    instance.cpu_milli_max = quota.filter(|micros| *micros > 0).map(|micros| micros.div_ceil(1000));
                }
                "MemoryMax" => bounds[0] = amount(value),
                "MemoryLimit" => bounds[1] = amount(value),
                "MemoryHigh" => bounds[2] = amount(value),
                "CPUUsageNSec" => instance.cpu_nanos = amount(value),
                "MemoryCurrent" => instance.memory_bytes = amount(value),
                _ => {}
            }
        }
        instance.memory_max = bounds.into_iter().flatten().find(|bytes| *bytes > 0);
        if let Some(number) = number {
            found.insert(number, instance);
        }
    }
    found
}

/// The number of an instance.
fn number_of(id: &str, name: &str) -> Option<u32> {
    let text = id.strip_prefix(name)?.strip_prefix('@')?.strip_suffix(".service")?;
    let number: u32 = text.parse().ok()?;
    ((1..=INSTANCES_MAX).contains(&number) && number.to_string() == text).then_some(number)
}

/// States that a later systemd may add count as starting: neither ready nor gone.
fn state(word: &str) -> State {
    match word {
        "active" | "reloading" | "refreshing" => State::Active,
        "inactive" => State::Inactive,
        "deactivating" => State::Stopping,
        "failed" => State::Failed,
        _ => State::Starting,
    }
}

/// A number; the largest one stands for none, as do words.
fn amount(value: &str) -> Option<u64> {
    value.parse().ok().filter(|amount| *amount < u64::MAX)
}
