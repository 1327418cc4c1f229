//! Metrics of a policy: what is measured, and what it should be.

use super::query::Query;
use super::read::{quantity, required, shown};
use crate::quantity::Quantity;
use serde_json::Value;
use skerry_yaml::values::{Checks, Mapping};
use std::fmt;

/// A metric and its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// What is measured.
    pub source: Source,
    /// What it should be.
    pub target: Target,
    /// Above it, strictly, the metric is active: the sum of an Object or External metric, the average of a Pods metric, in
    /// thousandths. `None` for Resource and ContainerResource, which never make a target active.
    pub activation_milli: Option<i64>,
}

/// What is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A resource of all containers of a replica.
    Resource(Resource),
    /// A resource of one container of a replica.
    ContainerResource {
        /// The resource.
        resource: Resource,
        /// The container's name.
        container: String,
    },
    /// A series of each replica.
    Pods(Query),
    /// A series that describes one object.
    Object {
        /// The object's kind.
        kind: String,
        /// Its name.
        name: String,
        /// The series. A bare name is narrowed to the object by a label: its kind in small letters, with its name.
        query: Query,
    },
    /// The sum of any series.
    External(Query),
}

/// Resources of containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// In cores.
    Cpu,
    /// In bytes.
    Memory,
}

impl Resource {
    /// As Kubernetes names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
    }
}

/// What a metric should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Percent of what replicas ask for, at least 1; Resource and ContainerResource alone.
    Utilization(u32),
    /// On average over the replicas, above 0.
    AverageValue(Quantity),
    /// As a whole, above 0; Object and External alone.
    Value(Quantity),
}

/// What a policy without metrics and triggers has, as with Kubernetes: 80 % of the CPU that is asked for.
impl Default for Metric {
    fn default() -> Self {
        Self { source: Source::Resource(Resource::Cpu), target: Target::Utilization(80), activation_milli: None }
    }
}

/// `Resource cpu`, `ContainerResource cpu of web`, `External queue_length`.
impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Resource(resource) => write!(f, "Resource {}", resource.as_str()),
            Source::ContainerResource { resource, container } => {
                write!(f, "ContainerResource {} of {container}", resource.as_str())
            }
            Source::Pods(query) => write!(f, "Pods {}", query.name),
            Source::Object { kind, name, query } => write!(f, "Object {} of {kind}/{name}", query.name),
            Source::External(query) => write!(f, "External {}", query.name),
        }
    }
}

/// `50%`, `500m on average`, `10`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Utilization(percent) => write!(f, "{percent}%"),
            Self::AverageValue(value) => write!(f, "{value} on average"),
            Self::Value(value) => write!(f, "{value}"),
        }
    }
}

/// Types of metrics, the key that each stands under, and the types of targets that it takes.
const TYPES: [(&str, &str, &[&str]); 5] = [
    ("Resource", "resource", &[UTILIZATION, AVERAGE]),
    ("ContainerResource", "containerResource", &[UTILIZATION, AVERAGE]),
    ("Pods", "pods", &[AVERAGE]),
    ("Object", "object", &[VALUE, AVERAGE]),
    ("External", "external", &[VALUE, AVERAGE]),
];
const UTILIZATION: &str = "Utilization";
const AVERAGE: &str = "AverageValue";
const VALUE: &str = "Value";
/// Types of targets and the key of each.
const TARGETS: [(&str, &str); 3] = [(UTILIZATION, "averageUtilization"), (AVERAGE, "averageValue"), (VALUE, "value")];

/// Longest name of a container or object.
const NAME_BYTES_MAX: usize = 253;

/// A metric of the list; nothing where it has a fault that leaves none.
pub(super) fn read(key: &str, item: &Value, checks: &mut Checks<'_>) -> Option<Metric> {
    let mut item = Mapping::new(Some(item), key, checks);
    if !required(&mut item, "type", checks) {
        return None;
    }
    let kind = item.text("type", checks)?;
    let Some((kind, key, targets)) = TYPES.iter().find(|(known, ..)| *known == kind) else {
        let known = TYPES.map(|(known, ..)| known).join(", ");
        checks.fault(&item.at("type"), format!("{:?} is unknown: one of {known} is expected", shown(&kind)));
        return None;
    };
    let is_there = required(&mut item, key, checks);
    let body = item.child(key, checks).filter(|_| is_there);
    let activation = item.text("activationThreshold", checks).map(|text| text.parse::<Quantity>());
    let activation_at = item.at("activationThreshold");
    let ignores_nothing = item.flag("ignoreNullValues", checks).unwrap_or(false);
    let ignores_at = item.at("ignoreNullValues");
    item.finish(checks);
    let mut body = body?;
    let source = match *kind {
        "Resource" => resource(&mut body, checks).map(Source::Resource),
        "ContainerResource" => {
            let container = name(&mut body, "container", checks);
            let resource = resource(&mut body, checks);
            resource.zip(container).map(|(resource, container)| Source::ContainerResource { resource, container })
        }
        "Pods" => Query::read(&mut body, None, checks).map(Source::Pods),
        "External" => Query::read(&mut body, None, checks).map(Source::External),
        _ => object(&mut body, checks),
    };
    let target = target(&mut body, targets, checks);
    body.finish(checks);
    let of_resource = matches!(*kind, "Resource" | "ContainerResource");
    let source = match source {
        Some(Source::External(query)) if ignores_nothing => Some(Source::External(query.or_zero())),
        Some(Source::Object { kind, name, query }) if ignores_nothing => {
            Some(Source::Object { kind, name, query: query.or_zero() })
        }
        source => {
            if ignores_nothing && source.is_some() {
                checks.fault(&ignores_at, "is of Object and External metrics: replicas without a value are missing");
            }
            source
        }
    };
    let activation_milli = match activation {
        Some(_) if of_resource => {
            checks.fault(
                &activation_at,
                "cpu and memory cannot tell that replicas are needed: there are none to measure",
            );
            None
        }
        Some(Ok(threshold)) => Some(threshold.milli),
        Some(Err(error)) => {
            checks.fault(&activation_at, error.to_string());
            None
        }
        None => (!of_resource).then_some(0),
    };
    Some(Metric { source: source?, target: target?, activation_milli })
}

fn resource(body: &mut Mapping<'_>, checks: &mut Checks<'_>) -> Option<Resource> {
    if !required(body, "name", checks) {
        return None;
    }
    let name = body.text("name", checks)?;
    let found = [Resource::Cpu, Resource::Memory].into_iter().find(|known| known.as_str() == name);
    if found.is_none() {
        checks.fault(&body.at("name"), format!("{:?} is unknown: cpu or memory is expected", shown(&name)));
    }
    found
}

/// A name that is there.
fn name(body: &mut Mapping<'_>, key: &str, checks: &mut Checks<'_>) -> Option<String> {
    if !required(body, key, checks) {
        return None;
    }
    let name = body.text(key, checks)?;
    let is_name = !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control);
    if !is_name {
        checks.fault(&body.at(key), format!("1 to {NAME_BYTES_MAX} bytes without control characters are expected"));
    }
    is_name.then_some(name)
}

fn object(body: &mut Mapping<'_>, checks: &mut Checks<'_>) -> Option<Source> {
    let is_there = required(body, "describedObject", checks);
    let described = body.child("describedObject", checks).filter(|_| is_there);
    let described = described.and_then(|mut described| {
        let (kind, name) = (name(&mut described, "kind", checks), name(&mut described, "name", checks));
        drop(described.text("apiVersion", checks));
        described.finish(checks);
        kind.zip(name)
    });
    let matcher = described.as_ref().map(|(kind, name)| (kind.to_lowercase(), name.clone()));
    let query = Query::read(body, matcher, checks);
    let ((kind, name), query) = described.zip(query)?;
    Some(Source::Object { kind, name, query })
}

fn target(body: &mut Mapping<'_>, allowed: &[&str], checks: &mut Checks<'_>) -> Option<Target> {
    if !required(body, "target", checks) {
        return None;
    }
    let mut target = body.child("target", checks)?;
    let kind = target.text("type", checks);
    let given: Vec<&(&str, &str)> = TARGETS.iter().filter(|(_, key)| target.take(key).is_some()).collect();
    let expected = || {
        let keys = TARGETS.iter().filter(|(kind, _)| allowed.contains(kind)).map(|(_, key)| *key);
        format!("one of {} is expected", keys.collect::<Vec<_>>().join(", "))
    };
    let read = match given[..] {
        [(found, key)] if allowed.contains(found) => {
            if kind.as_deref().is_some_and(|kind| kind != *found) {
                checks.fault(&target.at("type"), format!("{found} is expected beside {key}"));
            }
            match *found {
                UTILIZATION => target
                    .number(key, 1, i32::MAX.into(), checks)
                    .and_then(|percent| u32::try_from(percent).ok().map(Target::Utilization)),
                AVERAGE => quantity(&mut target, key, 1, checks).map(Target::AverageValue),
                _ => quantity(&mut target, key, 1, checks).map(Target::Value),
            }
        }
        [(_, key)] => {
            checks.fault(&target.at(key), format!("is not of this type of metric: {}", expected()));
            None
        }
        _ => {
            checks.fault(target.key(), expected());
            None
        }
    };
    target.finish(checks);
    read
}
