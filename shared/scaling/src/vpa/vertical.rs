//! `vertical` of a policy: whether and within which bounds containers get what is recommended, with the field names of
//! Kubernetes's VerticalPodAutoscaler.

use super::estimate::Bounds;
use crate::quantity::Quantity;
use skerry_yaml::values::{Checks, Mapping, items};

/// Most containers with a policy of their own.
const CONTAINERS_MAX: usize = 64;

/// A resource that is recommended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// CPU.
    Cpu,
    /// Memory.
    Memory,
}

impl Resource {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Cpu, Self::Memory];

    /// `cpu` or `memory`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
    }
}

/// What happens to a recommendation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpdateMode {
    /// It is told.
    Off,
    /// New containers get it.
    Initial,
    /// New containers get it, and old ones are made anew in a maintenance window.
    Recreate,
    /// Running containers get it where the runtime can; others as with `Recreate`.
    InPlaceOrRecreate,
    /// As `InPlaceOrRecreate`.
    #[default]
    Auto,
}

impl UpdateMode {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Off, Self::Initial, Self::Recreate, Self::InPlaceOrRecreate, Self::Auto];

    /// As it stands in `updateMode`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "Off",
            Self::Initial => "Initial",
            Self::Recreate => "Recreate",
            Self::InPlaceOrRecreate => "InPlaceOrRecreate",
            Self::Auto => "Auto",
        }
    }

    /// Whether running containers are changed without being made anew.
    #[must_use]
    pub const fn is_in_place(self) -> bool {
        matches!(self, Self::InPlaceOrRecreate | Self::Auto)
    }
}

/// Whether a container takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContainerMode {
    /// It does.
    #[default]
    Auto,
    /// It does not.
    Off,
}

/// What is set of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ControlledValues {
    /// What it asks for, and its limits in proportion.
    #[default]
    RequestsAndLimits,
    /// What it asks for.
    RequestsOnly,
}

/// A policy of containers of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPolicy {
    /// Name; `*` for all that have none of their own.
    pub name: String,
    /// Whether they take part.
    pub mode: ContainerMode,
    /// Least and most of what is recommended.
    pub bounds: Bounds,
    /// Resources that are recommended.
    pub resources: Vec<Resource>,
    /// What is set.
    pub values: ControlledValues,
}

impl Default for ContainerPolicy {
    fn default() -> Self {
        Self {
            name: "*".into(),
            mode: ContainerMode::Auto,
            bounds: Bounds::default(),
            resources: Resource::ALL.to_vec(),
            values: ControlledValues::RequestsAndLimits,
        }
    }
}

/// Key `vertical` of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vertical {
    /// What happens to recommendations.
    pub update_mode: UpdateMode,
    /// Policies of containers, each name once; those that no policy names have the default one.
    pub containers: Vec<ContainerPolicy>,
}

impl Vertical {
    /// Takes the key `vertical` of a policy's `spec`; `None` where it is not there.
    pub fn read(spec: &mut Mapping<'_>, checks: &mut Checks<'_>) -> Option<Self> {
        let mut own = spec.child("vertical", checks)?;
        let modes = UpdateMode::ALL.map(|mode| (mode.as_str(), mode));
        let mut update_mode = word(&mut own, "updateMode", &modes, checks);
        if let Some(mut policy) = own.child("updatePolicy", checks) {
            update_mode = update_mode.or(word(&mut policy, "updateMode", &modes, checks));
            policy.finish(checks);
        }
        let mut containers: Vec<ContainerPolicy> = Vec::new();
        if let Some(mut resources) = own.child("resourcePolicy", checks) {
            for (key, item) in resources.items("containerPolicies", checks) {
                let policy = container(Mapping::new(Some(item), &key, checks), checks);
                if containers.iter().any(|known| known.name == policy.name) {
                    checks.fault(&format!("{key}.containerName"), format!("{:?} has a policy already", policy.name));
                } else if containers.len() == CONTAINERS_MAX {
                    checks.fault(&key, format!("at most {CONTAINERS_MAX} policies of containers are expected"));
                    break;
                } else {
                    containers.push(policy);
                }
            }
            resources.finish(checks);
        }
        own.finish(checks);
        Some(Self { update_mode: update_mode.unwrap_or_default(), containers })
    }

    /// The policy of a container of this name.
    #[must_use]
    pub fn policy(&self, container: &str) -> ContainerPolicy {
        let of = |name: &str| self.containers.iter().find(|policy| policy.name == name);
        of(container).or_else(|| of("*")).cloned().unwrap_or_default()
    }

    /// Whether this resource is set, of a container of this name or, where none is given, of any. Replicas must not be
    /// counted by a resource that is changed beneath: one would answer to the other.
    #[must_use]
    pub fn sets(&self, resource: Resource, container: Option<&str>) -> bool {
        let does =
            |policy: &ContainerPolicy| policy.mode == ContainerMode::Auto && policy.resources.contains(&resource);
        self.update_mode != UpdateMode::Off
            && match container {
                Some(name) => does(&self.policy(name)),
                // Containers that are not named have the default one.
                None => does(&self.policy("*")) || self.containers.iter().any(does),
            }
    }
}

fn container(mut own: Mapping<'_>, checks: &mut Checks<'_>) -> ContainerPolicy {
    let name = own.text("containerName", checks).filter(|name| !name.is_empty());
    if name.is_none() {
        checks.fault(&own.at("containerName"), "the name of a container is expected, or \"*\" for all others");
    }
    let mode = [("Auto", ContainerMode::Auto), ("Off", ContainerMode::Off)];
    let mode = word(&mut own, "mode", &mode, checks).unwrap_or_default();
    let (cpu_min, memory_min) = amounts(&mut own, "minAllowed", checks);
    let (cpu_max, memory_max) = amounts(&mut own, "maxAllowed", checks);
    for (resource, min, max) in [("cpu", cpu_min, cpu_max), ("memory", memory_min, memory_max)] {
        if min.zip(max).is_some_and(|(min, max)| min > max) {
            checks.fault(&format!("{}.{resource}", own.at("minAllowed")), "is above maxAllowed");
        }
    }
    let mut resources = Vec::new();
    let given = own.take("controlledResources");
    for (key, item) in given.map(|list| items(list, &own.at("controlledResources"), checks)).unwrap_or_default() {
        match Resource::ALL.into_iter().find(|resource| item.as_str() == Some(resource.as_str())) {
            Some(resource) if !resources.contains(&resource) => resources.push(resource),
            Some(_) => checks.fault(&key, "stands there twice"),
            None => checks.fault(&key, "cpu or memory is expected"),
        }
    }
    let (all, requests) = (ControlledValues::RequestsAndLimits, ControlledValues::RequestsOnly);
    let values = [("RequestsAndLimits", all), ("RequestsOnly", requests)];
    let values = word(&mut own, "controlledValues", &values, checks).unwrap_or_default();
    own.finish(checks);
    ContainerPolicy {
        name: name.unwrap_or_default(),
        mode,
        bounds: Bounds { cpu_min, cpu_max, memory_min, memory_max },
        resources: if given.is_some() { resources } else { Resource::ALL.to_vec() },
        values,
    }
}

/// CPU in thousandths of a core and memory in bytes.
fn amounts(own: &mut Mapping<'_>, name: &str, checks: &mut Checks<'_>) -> (Option<u64>, Option<u64>) {
    let Some(mut amounts) = own.child(name, checks) else { return (None, None) };
    let mut quantity = |resource: Resource, checks: &mut Checks<'_>| {
        let text = amounts.text(resource.as_str(), checks)?;
        let read = text.parse::<Quantity>().map_err(|error| error.to_string());
        let read = read.and_then(|quantity| {
            let number = if resource == Resource::Cpu { quantity.milli } else { quantity.units() };
            u64::try_from(number).map_err(|_| "a quantity from zero on is expected".to_owned())
        });
        read.map_err(|problem| checks.fault(&amounts.at(resource.as_str()), problem)).ok()
    };
    let read = (quantity(Resource::Cpu, checks), quantity(Resource::Memory, checks));
    amounts.finish(checks);
    read
}

/// One of some words.
fn word<T: Copy>(own: &mut Mapping<'_>, name: &str, words: &[(&str, T)], checks: &mut Checks<'_>) -> Option<T> {
    let text = own.text(name, checks)?;
    let found = words.iter().find(|(word, _)| *word == text);
    if found.is_none() {
        let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        checks.fault(&own.at(name), format!("{text:?} is not known: one of {} is expected", all.join(", ")));
    }
    found.map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::ScalingPolicy;

    const TARGET: &str = "scaleTargetRef: {kind: Container, name: web}\n";

    fn faults(spec: &str) -> Vec<(Option<usize>, String)> {
        let faults = ScalingPolicy::parse("web", &format!("{TARGET}{spec}")).unwrap_err();
        faults.into_iter().map(|fault| (fault.line.map(|line| line as usize), fault.key)).collect()
    }

    #[test]
    fn a_vertical_policy_is_read() {
        let spec = "vertical:\n  updateMode: Initial\n  resourcePolicy:\n    containerPolicies:\n    - containerName: web\n      minAllowed: {cpu: 50m, memory: 64Mi}\n      maxAllowed: {cpu: 2}\n      controlledResources: [cpu]\n      controlledValues: RequestsOnly\n    - {containerName: '*', mode: 'Off'}\n";
        let policy = ScalingPolicy::parse("web", &format!("{TARGET}{spec}")).unwrap();
        assert!(!policy.scales_replicas());
        let vertical = policy.vertical.unwrap();
        assert_eq!(vertical.update_mode, UpdateMode::Initial);
        let bounds = Bounds { cpu_min: Some(50), cpu_max: Some(2000), memory_min: Some(64 << 20), memory_max: None };
        let expected = ContainerPolicy {
            name: "web".into(),
            mode: ContainerMode::Auto,
            bounds,
            resources: vec![Resource::Cpu],
            values: ControlledValues::RequestsOnly,
        };
        assert_eq!(vertical.policy("web"), expected);
        assert_eq!(vertical.policy("other").mode, ContainerMode::Off);
        assert!(vertical.sets(Resource::Cpu, None) && vertical.sets(Resource::Cpu, Some("web")));
        assert!(!vertical.sets(Resource::Memory, None) && !vertical.sets(Resource::Cpu, Some("other")));
        let policy =
            ScalingPolicy::parse("web", &format!("{TARGET}vertical: {{updatePolicy: {{updateMode: 'Off'}}}}\n"));
        let vertical = policy.unwrap().vertical.unwrap();
        assert_eq!((vertical.update_mode, vertical.sets(Resource::Cpu, None)), (UpdateMode::Off, false));
        let nothing = ScalingPolicy::parse(
            "web",
            &format!(
                "{TARGET}vertical: {{resourcePolicy: {{containerPolicies: [{{containerName: a, controlledResources: []}}]}}}}\n"
            ),
        );
        assert_eq!(nothing.unwrap().vertical.unwrap().policy("a").resources, []);
    }

    #[test]
    fn faults_are_named_with_their_lines() {
        for (spec, expected) in [
            ("vertical: {updateMode: Sometimes}\n", vec![(Some(2), "spec.vertical.updateMode")]),
            ("vertical: 5\n", vec![(Some(2), "spec.vertical")]),
            ("vertical:\n  more: 1\n", vec![(Some(3), "spec.vertical.more")]),
            (
                "vertical:\n  resourcePolicy:\n    containerPolicies:\n    - {mode: x, minAllowed: {cpu: 2, memory: 1z}, maxAllowed: {cpu: 1, gpu: 1}}\n",
                vec![
                    (Some(5), "spec.vertical.resourcePolicy.containerPolicies[0].containerName"),
                    (Some(5), "spec.vertical.resourcePolicy.containerPolicies[0].mode"),
                    (Some(5), "spec.vertical.resourcePolicy.containerPolicies[0].minAllowed.memory"),
                    (Some(5), "spec.vertical.resourcePolicy.containerPolicies[0].maxAllowed.gpu"),
                    (Some(5), "spec.vertical.resourcePolicy.containerPolicies[0].minAllowed.cpu"),
                ],
            ),
            (
                "vertical:\n  resourcePolicy:\n    containerPolicies:\n    - {containerName: a, minAllowed: {cpu: -1}, controlledResources: [cpu, cpu, gpu]}\n    - {containerName: a}\n",
                vec![
                    (Some(5), "spec.vertical.resourcePolicy.containerPolicies[0].minAllowed.cpu"),
                    (Some(5), "spec.vertical.resourcePolicy.containerPolicies[0].controlledResources[1]"),
                    (Some(5), "spec.vertical.resourcePolicy.containerPolicies[0].controlledResources[2]"),
                    (Some(6), "spec.vertical.resourcePolicy.containerPolicies[1].containerName"),
                ],
            ),
            // Replicas that are counted by what is changed.
            ("maxReplicas: 3\nvertical: {}\n", vec![(Some(3), "spec.vertical")]),
            (
                "maxReplicas: 3\nmetrics: [{type: ContainerResource, containerResource: {name: memory, container: web, target: {type: Utilization, averageUtilization: 50}}}]\nvertical: {}\n",
                vec![(Some(4), "spec.vertical")],
            ),
        ] {
            let expected: Vec<(Option<usize>, String)> =
                expected.into_iter().map(|(line, key)| (line, key.to_owned())).collect();
            assert_eq!(faults(spec), expected, "{spec}");
        }
        let unit = ScalingPolicy::parse("web", "scaleTargetRef: {kind: SystemdUnit, name: web}\nvertical: {}\n");
        assert_eq!(unit.unwrap_err()[0].key, "spec.vertical.updateMode");
    }

    #[test]
    fn other_resources_may_count_replicas() {
        let memory_alone =
            "vertical: {resourcePolicy: {containerPolicies: [{containerName: '*', controlledResources: [memory]}]}}\n";
        for spec in
            [format!("maxReplicas: 3\n{memory_alone}"), "maxReplicas: 3\nvertical: {updateMode: 'Off'}\n".to_owned()]
        {
            let policy = ScalingPolicy::parse("web", &format!("{TARGET}{spec}")).unwrap();
            assert!(policy.scales_replicas(), "{spec}");
        }
    }
}
