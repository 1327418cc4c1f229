//! Whether a container that runs is to get what is recommended.

use super::estimate::{Amounts, Bounds, Recommendation};
use super::vertical::{ContainerPolicy, ControlledValues, Resource};
use skerry_model::UnixMillis;
use std::fmt;
use std::time::Duration;

/// A container that is within the bounds is left alone for so long after it was made, or was given another size.
const LIFETIME_MIN: Duration = Duration::from_secs(12 * 3600);
/// And as long as what it asks for differs by less than this part.
const CHANGE_MIN: f64 = 0.1;

/// What a container asks for, where it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Requests {
    /// CPU, in thousandths of a core.
    pub cpu_milli: Option<u64>,
    /// Memory, in bytes.
    pub memory: Option<u64>,
}

/// What a container asks for of one resource, and what it may use at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// What it asks for; where only the limit is given, that.
    pub request: Option<u64>,
    /// What it may use at most; `None` where nothing holds it.
    pub limit: Option<u64>,
}

impl Size {
    /// The size with which the container asks for `target`: the limit keeps its proportion, or stays and bounds what is
    /// asked for.
    #[must_use]
    pub fn resized(self, target: u64, values: ControlledValues) -> Self {
        let Some(limit) = self.limit else { return Self { request: Some(target), limit: None } };
        match values {
            ControlledValues::RequestsOnly => Self { request: Some(target.min(limit)), ..self },
            ControlledValues::RequestsAndLimits => {
                let before = u128::from(self.request.filter(|request| *request > 0).unwrap_or(limit).max(1));
                let scaled = u128::from(limit) * u128::from(target) / before;
                let limit = u64::try_from(scaled).unwrap_or(u64::MAX).max(target);
                Self { request: Some(target), limit: Some(limit) }
            }
        }
    }
}

/// What a container is to be given: of a resource that the policy does not control nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given {
    /// CPU to ask for, in thousandths of a core.
    pub cpu_milli: Option<u64>,
    /// Memory to ask for, in bytes.
    pub memory: Option<u64>,
    /// What becomes of limits.
    pub values: ControlledValues,
    /// Largest limits: what the node has. Docker refuses a limit above the processors that there are.
    pub most: Amounts,
}

impl Default for Given {
    fn default() -> Self {
        let most = Amounts { cpu_milli: u64::MAX, memory: u64::MAX };
        Self { cpu_milli: None, memory: None, values: ControlledValues::default(), most }
    }
}

impl Given {
    /// The target of what is recommended, as far as a policy controls it, on a node that has `most`.
    #[must_use]
    pub fn of(recommended: &Recommendation, policy: &ContainerPolicy, most: Amounts) -> Self {
        let controls = |resource| policy.resources.contains(&resource);
        let target = recommended.target;
        Self {
            cpu_milli: controls(Resource::Cpu).then_some(target.cpu_milli),
            memory: controls(Resource::Memory).then_some(target.memory),
            values: policy.values,
            most,
        }
    }

    /// A container's size of a resource with it.
    #[must_use]
    pub fn resized(&self, resource: Resource, before: Size) -> Size {
        let (target, most) = match resource {
            Resource::Cpu => (self.cpu_milli, self.most.cpu_milli),
            Resource::Memory => (self.memory, self.most.memory),
        };
        let Some(target) = target else { return before };
        let new = before.resized(target, self.values);
        // One that was larger already and stays is nobody's wish here.
        Size { limit: new.limit.map(|limit| if new.limit == before.limit { limit } else { limit.min(most) }), ..new }
    }
}

impl Recommendation {
    /// What is recommended to a container whose limits stay: nothing above them, or it would for ever ask for less than
    /// the lower bound.
    #[must_use]
    pub fn held(&self, values: ControlledValues, cpu_limit: Option<u64>, memory_limit: Option<u64>) -> Self {
        let limits = match values {
            ControlledValues::RequestsOnly => {
                Bounds { cpu_max: cpu_limit, memory_max: memory_limit, ..Bounds::default() }
            }
            ControlledValues::RequestsAndLimits => return *self,
        };
        let Self { target, lower, upper, uncapped } = *self;
        Self { target: limits.hold(target), lower: limits.hold(lower), upper: limits.hold(upper), uncapped }
    }
}

/// What a container was given while it runs. Its labels stay what they were when it was made, so this counts before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gave {
    /// What it asks for since then; zero of what it asks for nothing.
    pub asks: Amounts,
    /// What it may use at most since then; zero where nothing holds it.
    pub limits: Amounts,
    /// When.
    pub at: UnixMillis,
    /// Whether the runtime took it and that was told: it is written before the runtime is asked, so that a crash in between
    /// is seen.
    pub is_told: bool,
}

/// Why a container is to get what is recommended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// It asks for nothing of a resource.
    Unset(Resource),
    /// It asks for less than the lower bound.
    Below(Resource),
    /// It asks for more than the upper bound.
    Above(Resource),
    /// It was killed for want of memory soon after its start.
    OutOfMemory,
    /// It is old enough and asks for something else by a tenth and more.
    Drift,
}

/// Ends the sentence "the container ".
impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset(resource) => write!(f, "asks for no {}", resource.as_str()),
            Self::Below(resource) => write!(f, "asks for less {} than the lower bound", resource.as_str()),
            Self::Above(resource) => write!(f, "asks for more {} than the upper bound", resource.as_str()),
            Self::OutOfMemory => f.write_str("was killed for want of memory soon after its start"),
            Self::Drift => f.write_str("asks for something else than the target, by a tenth or more, since 12 hours"),
        }
    }
}

/// Whether, and why. `age` is how long ago it was made, or given another size; `oom` whether it was killed for want of memory within ten minutes of its
/// start.
#[must_use]
pub fn due(
    asks: Requests,
    recommended: &Recommendation,
    policy: &ContainerPolicy,
    age: Duration,
    oom: bool,
) -> Option<Due> {
    let (mut found, mut difference) = (None, 0.0);
    for resource in &policy.resources {
        let of = |amounts: &Amounts| match resource {
            Resource::Cpu => amounts.cpu_milli,
            Resource::Memory => amounts.memory,
        };
        let asked = match resource {
            Resource::Cpu => asks.cpu_milli,
            Resource::Memory => asks.memory,
        };
        let Some(asked) = asked else {
            found = found.or(Some(Due::Unset(*resource)));
            continue;
        };
        if asked < of(&recommended.lower) {
            found = found.or(Some(Due::Below(*resource)));
        } else if asked > of(&recommended.upper) {
            found = found.or(Some(Due::Above(*resource)));
        }
        difference += asked.abs_diff(of(&recommended.target)) as f64 / asked.max(1) as f64;
    }
    let (drifted, old) = (difference >= CHANGE_MIN, age >= LIFETIME_MIN);
    found.or((oom && difference > 0.0).then_some(Due::OutOfMemory)).or((drifted && old).then_some(Due::Drift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_stay_hold_what_is_recommended() {
        let amounts = |cpu_milli, memory| Amounts { cpu_milli, memory };
        let recommended = Recommendation {
            target: amounts(2000, 8000),
            lower: amounts(1500, 7500),
            upper: amounts(10_000, 9000),
            uncapped: amounts(2000, 8000),
        };
        let both = recommended.held(ControlledValues::RequestsAndLimits, Some(3000), Some(7000));
        assert_eq!(both, recommended);
        let held = recommended.held(ControlledValues::RequestsOnly, Some(3000), Some(7000));
        assert_eq!(held.target, amounts(2000, 7000));
        assert_eq!(held.lower, amounts(1500, 7000));
        assert_eq!(held.upper, amounts(3000, 7000));
        assert_eq!(held.uncapped, recommended.uncapped);
        assert_eq!(recommended.held(ControlledValues::RequestsOnly, None, None), recommended);
        // A container that already asks for all of its limit is left alone.
        let asks = Requests { cpu_milli: Some(2000), memory: Some(7000) };
        let policy = ContainerPolicy { values: ControlledValues::RequestsOnly, ..ContainerPolicy::default() };
        let old = Duration::from_secs(86_400);
        assert_eq!(due(asks, &recommended, &policy, old, false), Some(Due::Below(Resource::Memory)));
        assert_eq!(due(asks, &held, &policy, old, true), None);
    }

    #[test]
    fn limits_keep_their_proportion() {
        let (both, requests) = (ControlledValues::RequestsAndLimits, ControlledValues::RequestsOnly);
        for (request, limit, target, values, expected) in [
            (Some(100), Some(200), 150, both, (150, Some(300))),
            (None, Some(200), 150, both, (150, Some(150))),
            (Some(0), Some(200), 50, both, (50, Some(50))),
            (Some(100), None, 150, both, (150, None)),
            (None, None, 150, both, (150, None)),
            (Some(100), Some(200), 150, requests, (150, Some(200))),
            (Some(100), Some(200), 250, requests, (200, Some(200))),
            (Some(u64::MAX), Some(1), 7, both, (7, Some(7))),
            (Some(1), Some(u64::MAX), 7, both, (7, Some(u64::MAX))),
        ] {
            let size = Size { request, limit }.resized(target, values);
            assert_eq!((size.request, size.limit), (Some(expected.0), expected.1), "{request:?} {limit:?} {target}");
        }
    }

    #[test]
    fn limits_in_proportion_end_with_the_node() {
        let most = Amounts { cpu_milli: 2000, memory: 1 << 30 };
        let given = Given { cpu_milli: Some(100), memory: Some(100), most, ..Given::default() };
        for (request, limit, expected) in [
            (Some(10), Some(200), Some(2000)),
            (Some(10), Some(400), Some(2000)),
            (Some(10), Some(100), Some(1000)),
            (Some(100), Some(4000), Some(4000)),
            (Some(10), None, None),
        ] {
            let size = given.resized(Resource::Cpu, Size { request, limit });
            assert_eq!((size.request, size.limit), (Some(100), expected), "{request:?} {limit:?}");
        }
        let size = Size { request: Some(1), limit: Some(1 << 30) };
        assert_eq!(given.resized(Resource::Memory, size).limit, Some(1 << 30));
    }

    #[test]
    fn running_containers_are_changed_for_a_reason() {
        let amounts = |cpu_milli, memory| Amounts { cpu_milli, memory };
        let (lower, target, upper) = (amounts(50, 100), amounts(100, 200), amounts(400, 800));
        let recommended = Recommendation { target, lower, upper, uncapped: target };
        let hour = 3600;
        for (cpu_milli, memory, age, oom, expected) in [
            (Some(100), Some(200), 100 * hour, false, None),
            (None, Some(200), 0, false, Some(Due::Unset(Resource::Cpu))),
            (Some(49), Some(200), 0, false, Some(Due::Below(Resource::Cpu))),
            (Some(100), Some(801), 0, false, Some(Due::Above(Resource::Memory))),
            (Some(105), Some(209), 12 * hour, false, None),
            (Some(112), Some(200), 12 * hour, false, Some(Due::Drift)),
            (Some(112), Some(200), 12 * hour - 1, false, None),
            (Some(100), Some(201), 60, true, Some(Due::OutOfMemory)),
            (Some(100), Some(200), 60, true, None),
        ] {
            let asks = Requests { cpu_milli, memory };
            let found = due(asks, &recommended, &ContainerPolicy::default(), Duration::from_secs(age), oom);
            assert_eq!(found, expected, "{asks:?} {age} {oom}");
        }
        let memory_alone = ContainerPolicy { resources: vec![Resource::Memory], ..ContainerPolicy::default() };
        let asks = Requests { cpu_milli: None, memory: Some(200) };
        assert_eq!(due(asks, &recommended, &memory_alone, Duration::ZERO, false), None);
    }
}
