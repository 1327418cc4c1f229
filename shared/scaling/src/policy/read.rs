//! Reads the spec of a policy.

use super::{Behavior, Fallback, METRICS_MAX, Metric, REPLICAS_MAX, Resource, ScalingPolicy, Source, Target};
use crate::quantity::Quantity;
use crate::target::{TargetKind, TargetRef};
use crate::trigger::Triggers;
use crate::vpa::{self, UpdateMode, Vertical};
use skerry_yaml::Fault;
use skerry_yaml::values::{Checks, Mapping};
use std::time::Duration;

/// Longest name of a target; a path may be as long as Linux has them.
const NAME_BYTES_MAX: usize = 253;
const PATH_BYTES_MAX: usize = 4095;
const DEFAULT_COOLDOWN_SECONDS: i64 = 300;
const COOLDOWN_SECONDS_MAX: i64 = 7 * 86_400;
const FAILURES_MAX: i64 = 1_000_000;

pub(super) fn policy(name: &str, text: &str) -> Result<ScalingPolicy, Vec<Fault>> {
    let below = |fault: Fault| match fault.key.as_str() {
        "" => Fault { key: "spec".into(), ..fault },
        key => Fault { key: format!("spec.{key}"), ..fault },
    };
    let document = skerry_yaml::values::read(text).map_err(|fault| vec![below(fault)])?;
    let mut checks = Checks::new(&document.places);
    let mut spec = Mapping::new(Some(&document.value), "", &mut checks);
    let policy = read(name, &mut spec, &mut checks);
    spec.finish(&mut checks);
    let faults = checks.into_faults();
    if faults.is_empty() { Ok(policy) } else { Err(faults.into_iter().map(below).collect()) }
}

/// What can be read; where there are faults it is of no use.
fn read(name: &str, spec: &mut Mapping<'_>, checks: &mut Checks<'_>) -> ScalingPolicy {
    let replicas = |number: Option<i64>| number.and_then(|number| u32::try_from(number).ok());
    let most = i64::from(REPLICAS_MAX);
    let target = target(name, spec, checks);
    let vertical = Vertical::read(spec, checks);
    let is_vertical_alone = vertical.is_some()
        && ["maxReplicas", "metrics", "triggers", "targetCPUUtilizationPercentage"]
            .iter()
            .all(|key| spec.take(key).is_none());
    let min_replicas = replicas(spec.number("minReplicas", 0, most, checks)).unwrap_or(1);
    let max_replicas = match is_vertical_alone || required(spec, "maxReplicas", checks) {
        true if is_vertical_alone => Some(REPLICAS_MAX),
        true => replicas(spec.number("maxReplicas", 1, most, checks)),
        false => None,
    };
    if max_replicas.is_some_and(|max| max < min_replicas) {
        checks.fault("maxReplicas", format!("is below minReplicas, which is {min_replicas}"));
    }
    let items = spec.items("metrics", checks);
    if items.len() > METRICS_MAX {
        checks.fault("metrics", format!("{} are too many: at most {METRICS_MAX} are taken", items.len()));
    }
    let has_metrics = !items.is_empty();
    let items = items.into_iter().take(METRICS_MAX);
    let mut metrics: Vec<Metric> = items.filter_map(|(key, item)| super::metric::read(&key, item, checks)).collect();
    let triggers = Triggers::read(spec, checks);
    // As autoscaling/v1 has its one metric.
    let percent = replicas(spec.number("targetCPUUtilizationPercentage", 1, i32::MAX.into(), checks));
    if percent.is_some() && has_metrics {
        checks.fault("targetCPUUtilizationPercentage", "stands in place of metrics: one of both is expected");
    }
    if !has_metrics && (percent.is_some() || (triggers.is_empty() && !is_vertical_alone)) {
        let default = Metric::default();
        metrics.push(Metric { target: percent.map_or(default.target, Target::Utilization), ..default });
    }
    let can_wake = |metric: &Metric| matches!(metric.source, Source::Object { .. } | Source::External(_));
    if min_replicas == 0 && triggers.is_empty() && !metrics.iter().any(can_wake) {
        let problem = "0 replicas need an Object or External metric, or triggers, to tell when they are needed again";
        checks.fault("minReplicas", problem);
    }
    if let Some(vertical) = &vertical {
        check_vertical(vertical, &target, &metrics, checks);
    }
    let fallback = spec.child("fallback", checks).map(|fallback| read_fallback(fallback, &metrics, checks));
    let cooldown = spec.number("cooldownSeconds", 0, COOLDOWN_SECONDS_MAX, checks).unwrap_or(DEFAULT_COOLDOWN_SECONDS);
    let priority = spec.number("priority", i32::MIN.into(), i32::MAX.into(), checks);
    ScalingPolicy {
        name: name.to_owned(),
        target,
        min_replicas,
        max_replicas: max_replicas.unwrap_or(1),
        metrics,
        behavior: Behavior::read(spec.child("behavior", checks), checks),
        triggers,
        cooldown: Duration::from_secs(cooldown.unsigned_abs()),
        fallback,
        priority: priority.and_then(|priority| i32::try_from(priority).ok()).unwrap_or(0),
        vertical,
        is_paused: spec.flag("paused", checks).unwrap_or(false),
    }
}

/// Replicas that are counted by a resource whose requests change beneath would answer to that, not to the load.
fn check_vertical(vertical: &Vertical, target: &TargetRef, metrics: &[Metric], checks: &mut Checks<'_>) {
    for metric in metrics {
        let (resource, container) = match &metric.source {
            Source::Resource(resource) => (*resource, None),
            Source::ContainerResource { resource, container } => (*resource, Some(container.as_str())),
            _ => continue,
        };
        let changed = match resource {
            Resource::Cpu => vpa::Resource::Cpu,
            Resource::Memory => vpa::Resource::Memory,
        };
        if vertical.sets(changed, container) {
            let resource = resource.as_str();
            let problem = format!(
                "changes {resource}, by which a metric counts replicas: take another metric, leave {resource} out of controlledResources, or set updateMode: \"Off\""
            );
            checks.fault("vertical", problem);
        }
    }
    let is_ours = matches!(target.kind, TargetKind::Container | TargetKind::ComposeService | TargetKind::Workload);
    if !is_ours && vertical.update_mode != UpdateMode::Off {
        let kind = target.kind.as_str();
        let problem =
            format!("sizes of a {kind} cannot be set from here: updateMode: \"Off\" tells what is recommended");
        checks.fault("vertical.updateMode", problem);
    }
}

fn read_fallback(mut fallback: Mapping<'_>, metrics: &[Metric], checks: &mut Checks<'_>) -> Fallback {
    let mut number = |name: &str, most: i64| {
        let is_there = required(&mut fallback, name, checks);
        let number = if is_there { fallback.number(name, 0, most, checks) } else { None };
        number.and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
    };
    let (failure_threshold, replicas) =
        (number("failureThreshold", FAILURES_MAX), number("replicas", REPLICAS_MAX.into()));
    let takes = |metric: &Metric| {
        matches!(metric.source, Source::Object { .. } | Source::External(_))
            && matches!(metric.target, Target::AverageValue(_))
    };
    if !metrics.iter().any(takes) {
        checks.fault(fallback.key(), "stands in for Object and External metrics with an averageValue: there is none");
    }
    fallback.finish(checks);
    Fallback { failure_threshold, replicas }
}

/// Whether a key is there; else that is a fault.
pub(super) fn required(mapping: &mut Mapping<'_>, name: &str, checks: &mut Checks<'_>) -> bool {
    let is_there = mapping.take(name).is_some();
    if !is_there {
        checks.fault(&mapping.at(name), "is expected and not there");
    }
    is_there
}

/// A quantity that is there, in a range of thousandths.
pub(super) fn quantity(mapping: &mut Mapping<'_>, name: &str, least: i64, checks: &mut Checks<'_>) -> Option<Quantity> {
    let text = mapping.text(name, checks)?;
    match text.parse::<Quantity>() {
        Ok(quantity) if quantity.milli >= least => return Some(quantity),
        Ok(_) if least > 0 => checks.fault(&mapping.at(name), "has to be above 0"),
        Ok(_) => checks.fault(&mapping.at(name), "has to be 0 or above"),
        Err(error) => checks.fault(&mapping.at(name), error.to_string()),
    }
    None
}

/// `scaleTargetRef`.
fn target(policy: &str, spec: &mut Mapping<'_>, checks: &mut Checks<'_>) -> TargetRef {
    let nothing = TargetRef { kind: TargetKind::Container, name: String::new(), scope: String::new() };
    if !required(spec, "scaleTargetRef", checks) {
        return nothing;
    }
    let Some(mut target) = spec.child("scaleTargetRef", checks) else { return nothing };
    let mut text = |name: &str, checks: &mut Checks<'_>| match required(&mut target, name, checks) {
        true => target.text(name, checks),
        false => None,
    };
    let (kind, name) = (text("kind", checks), text("name", checks));
    let found = kind.as_deref().and_then(|kind| TargetKind::ALL.into_iter().find(|known| known.as_str() == kind));
    if let (Some(kind), None) = (&kind, found) {
        let (kind, known) = (shown(kind), TargetKind::ALL.map(TargetKind::as_str).join(", "));
        checks.fault(&target.at("kind"), format!("{kind:?} is unknown: one of {known} is expected"));
    }
    let version = target.text("apiVersion", checks);
    let scopes = ["namespace", "project"].map(|key| target.text(key, checks));
    let mut made = TargetRef { kind: found.unwrap_or(nothing.kind), ..nothing };
    if found.is_some() {
        let wanted = if made.kind.is_kubernetes() { "apps/v1" } else { "skerry.io/v1" };
        if version.as_deref().is_some_and(|version| version != wanted) {
            checks.fault(&target.at("apiVersion"), format!("{wanted} is expected for this kind"));
        }
        for (key, scope) in ["namespace", "project"].into_iter().zip(scopes) {
            let is_of = match key {
                "namespace" => made.kind.is_kubernetes(),
                _ => made.kind == TargetKind::ComposeService,
            };
            match scope {
                Some(_) if !is_of => checks.fault(&target.at(key), "is not of this kind of target"),
                Some(scope) if is_plain(&scope) => made.scope = scope,
                Some(_) => checks.fault(&target.at(key), PLAIN),
                None => {}
            }
        }
        if made.kind.is_kubernetes() && made.scope.is_empty() {
            let namespace = policy.split_once('/').map_or("default", |(namespace, _)| namespace);
            made.scope = namespace.to_owned();
        }
    }
    if let Some(name) = name {
        match target_name(made.kind, &name) {
            Ok(name) => made.name = name,
            Err(problem) => checks.fault(&target.at("name"), problem),
        }
    }
    target.finish(checks);
    made
}

const PLAIN: &str = "1 to 253 letters, digits, dots, hyphens and underscores are expected, the first no dot or hyphen";

fn is_plain(name: &str) -> bool {
    let is_of = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    name.len() <= NAME_BYTES_MAX && name.chars().all(is_of) && !name.starts_with(['.', '-']) && !name.is_empty()
}

/// A target's name as its kind writes it: it becomes part of commands and requests.
fn target_name(kind: TargetKind, name: &str) -> Result<String, String> {
    match kind {
        TargetKind::Exec => {
            let is_path = name.starts_with('/')
                && name.len() <= PATH_BYTES_MAX
                && !name.split('/').any(|part| part == "..")
                && !name.chars().any(char::is_control);
            is_path.then(|| name.to_owned()).ok_or_else(|| "the absolute path of a program is expected".to_owned())
        }
        TargetKind::SystemdUnit => {
            // `name`, `name@` and `name@.service` are the same template.
            let short = name.strip_suffix(".service").unwrap_or(name);
            let short = short.strip_suffix('@').unwrap_or(short);
            // systemd writes other characters as \xNN, and takes colons.
            let plain = short.replace([':', '\\'], "_");
            is_plain(&plain).then(|| short.to_owned()).ok_or_else(|| {
                "the name of a template unit is expected, without instance: worker of worker@.service".to_owned()
            })
        }
        _ => is_plain(name).then(|| name.to_owned()).ok_or_else(|| PLAIN.to_owned()),
    }
}

/// A text of the file that is repeated to people.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}
