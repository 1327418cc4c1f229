//! Reads a workload: a Kubernetes Deployment's fields beside those of its pods, in one mapping.
//!
//! ```yaml
//! replicas: 2
//! strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
//! containers:
//!   - name: web
//!     image: shop/web:7@sha256:…
//!     ports: [{name: http, containerPort: 8080, hostPort: 8000-8009}]
//!     readinessProbe: {httpGet: {path: /ready, port: http}}
//! ```
//!
//! Beyond Kubernetes: `networks`, `devices`, ranges of `hostPort`, and volumes of the runtime (`volumes[].volume.name`).

mod container;
mod mounts;
mod probe;

use super::{Amount, RestartPolicy, Strategy, Template, Workload};
use serde_json::{Map, Value};
use skerry_yaml::Fault;
use skerry_yaml::values::{Checks, Mapping, read};
use std::collections::BTreeSet;
use std::time::Duration;

/// Longest name of a workload, a container, a port, a network or a volume.
const NAME_BYTES_MAX: usize = 63;
/// Longest text otherwise, such as an argument or a value of the environment.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// Longest `spec`, as JSON: it is kept in the node's database, twice while it is replaced.
const SPEC_BYTES_MAX: usize = 64 << 10;
/// Most replicas, containers of a replica, and items of any other list.
pub(super) const REPLICAS_MAX: u32 = 100;
const CONTAINERS_MAX: usize = 16;
const ITEMS_MAX: usize = 256;
/// Longest time that may be set anywhere, in seconds: a week.
const SECONDS_MAX: i64 = 7 * 86_400;
/// What is not part of the template: a change of it replaces nothing.
const NOT_TEMPLATE: [&str; 6] =
    ["replicas", "strategy", "minReadySeconds", "progressDeadlineSeconds", "priority", "revisionHistoryLimit"];

impl Workload {
    /// Reads the `spec` of a document of this name; keys of faults begin with `spec`.
    ///
    /// # Errors
    /// Every fault with its line.
    pub fn parse(name: &str, spec: &str) -> Result<Self, Vec<Fault>> {
        let below_spec = |mut fault: Fault| {
            fault.key = if fault.key.is_empty() { "spec".to_owned() } else { format!("spec.{}", fault.key) };
            fault
        };
        let document = read(spec).map_err(|fault| vec![below_spec(fault)])?;
        let mut checks = Checks::new(&document.places);
        let workload = workload(name, &document.value, &mut checks);
        let faults: Vec<Fault> = checks.into_faults().into_iter().map(below_spec).collect();
        if faults.is_empty() { Ok(workload) } else { Err(faults) }
    }
}

fn workload(name: &str, value: &Value, checks: &mut Checks<'_>) -> Workload {
    if !is_name(name) {
        checks.fault("", format!("the workload's name {name:?} stands in names of containers: {NAME_EXPECTED}"));
    }
    let source = value.to_string();
    if source.len() > SPEC_BYTES_MAX {
        checks.fault("", format!("{} bytes are too many: at most {SPEC_BYTES_MAX} are expected", source.len()));
    }
    let mut spec = Mapping::new(Some(value), "", checks);
    let replicas = count(&mut spec, "replicas", REPLICAS_MAX, checks).unwrap_or(1);
    let min_ready = seconds(&mut spec, "minReadySeconds", 0, checks).unwrap_or_default();
    let progress_deadline =
        seconds(&mut spec, "progressDeadlineSeconds", 1, checks).unwrap_or(Duration::from_secs(600));
    if progress_deadline <= min_ready {
        checks.fault("progressDeadlineSeconds", "more than minReadySeconds is expected: nothing could make progress");
    }
    let priority = spec.number("priority", i32::MIN.into(), 1_000_000_000, checks).unwrap_or(0);
    // Deployments have it; one earlier revision is kept here.
    let _ = spec.take("revisionHistoryLimit");
    let template = template(&mut spec, value, checks);
    let fixed = fixed_ports(&template, replicas, checks);
    let strategy = strategy(spec.child("strategy", checks), fixed, checks);
    spec.finish(checks);
    let priority = i32::try_from(priority).unwrap_or_default();
    Workload { name: name.to_owned(), replicas, template, strategy, min_ready, progress_deadline, priority, source }
}

fn template(spec: &mut Mapping<'_>, value: &Value, checks: &mut Checks<'_>) -> Template {
    let restart = choice(
        spec,
        "restartPolicy",
        &[("Always", RestartPolicy::Always), ("OnFailure", RestartPolicy::OnFailure), ("Never", RestartPolicy::Never)],
        checks,
    );
    let grace = seconds(spec, "terminationGracePeriodSeconds", 0, checks).unwrap_or(Duration::from_secs(30));
    let mut networks = spec.words("networks", checks);
    if spec.flag("hostNetwork", checks) == Some(true) {
        if !networks.is_empty() {
            checks.fault("hostNetwork", "networks are named too: one of the two is expected");
        }
        networks = vec!["host".to_owned()];
    }
    for (at, network) in networks.iter().enumerate() {
        if !is_name(network) {
            checks.fault(&format!("networks[{at}]"), NAME_EXPECTED);
        } else if networks.len() > 1 && ["host", "none"].contains(&network.as_str()) {
            checks.fault(&format!("networks[{at}]"), format!("{network} stands alone"));
        }
    }
    let labels = spec.texts("labels", checks);
    for (label, text) in &labels {
        let key = format!("labels.{label}");
        if label.starts_with("skerry.io/") && !super::is_request_label(label) {
            checks.fault(&key, "labels that begin with skerry.io/ are the agent's own");
        } else if label.len() > 256 || text.len() > TEXT_BYTES_MAX {
            checks.fault(&key, "is too long");
        }
    }
    let volumes = mounts::volumes(spec, checks);
    let items = spec.items("containers", checks);
    if !(1..=CONTAINERS_MAX).contains(&items.len()) {
        checks.fault("containers", format!("1 to {CONTAINERS_MAX} containers are expected"));
    }
    let containers: Vec<_> = items
        .into_iter()
        .take(CONTAINERS_MAX)
        .map(|(key, item)| container::read(Mapping::new(Some(item), &key, checks), &volumes, &networks, checks))
        .collect();
    let mut names = BTreeSet::new();
    for (at, container) in containers.iter().enumerate() {
        if !names.insert(&container.name) {
            checks.fault(&format!("containers[{at}].name"), format!("{:?} stands twice", container.name));
        }
    }
    mounts::check(&volumes, &containers, checks);
    Template { hash: hash(value), containers, restart, grace, networks, labels }
}

/// Whether a port of the host can be held by one replica alone; faults where more are declared.
fn fixed_ports(template: &Template, replicas: u32, checks: &mut Checks<'_>) -> bool {
    let mut is_fixed = template.networks.first().is_some_and(|network| network == "host");
    for (at, container) in template.containers.iter().enumerate() {
        for (port_at, port) in container.ports.iter().enumerate() {
            let Some(host) = port.host else { continue };
            let room = u32::from(host.last - host.first) + 1;
            is_fixed |= room == 1;
            if room < replicas {
                let problem = format!(
                    "{room} port(s) of the host are too few for {replicas} replicas: a range such as 8000-8009 is expected"
                );
                checks.fault(&format!("containers[{at}].ports[{port_at}].hostPort"), problem);
            }
        }
    }
    is_fixed
}

/// Where a port of the host is fixed, a new replica cannot begin before an old one ended.
fn strategy(mapping: Option<Mapping<'_>>, is_fixed: bool, checks: &mut Checks<'_>) -> Strategy {
    let default = if is_fixed {
        Strategy::Rolling { surge: Amount::Count(0), unavailable: Amount::Count(1) }
    } else {
        Strategy::Rolling { surge: Amount::Percent(25), unavailable: Amount::Percent(25) }
    };
    let Some(mut mapping) = mapping else { return default };
    let is_rolling =
        choice(&mut mapping, "type", &[("RollingUpdate", Rolls(true)), ("Recreate", Rolls(false))], checks).0;
    let rolling = mapping.child("rollingUpdate", checks);
    let (key, has_rolling) = (mapping.at("rollingUpdate"), rolling.is_some());
    mapping.finish(checks);
    if !is_rolling {
        if has_rolling {
            checks.fault(&key, "type Recreate replaces all at once: nothing is expected here");
        }
        return Strategy::Recreate;
    }
    let (Some(mut rolling), Strategy::Rolling { surge, unavailable }) = (rolling, default) else { return default };
    let surge = amount(&mut rolling, "maxSurge", checks).unwrap_or(surge);
    let unavailable = amount(&mut rolling, "maxUnavailable", checks).unwrap_or(unavailable);
    rolling.finish(checks);
    if surge.is_zero() && unavailable.is_zero() {
        checks.fault(&key, "maxSurge and maxUnavailable are both 0: nothing could be replaced");
    }
    if is_fixed && unavailable.is_zero() {
        checks.fault(&key, "maxUnavailable is 0 and a port of the host is fixed: a new replica could never begin");
    }
    Strategy::Rolling { surge, unavailable }
}

#[derive(Clone, Copy)]
struct Rolls(bool);

fn amount(mapping: &mut Mapping<'_>, name: &str, checks: &mut Checks<'_>) -> Option<Amount> {
    let text = mapping.text(name, checks)?;
    let parsed = match text.strip_suffix('%') {
        Some(percent) => percent.parse().ok().filter(|percent| *percent <= 100).map(Amount::Percent),
        None => text.parse().ok().filter(|count| *count <= REPLICAS_MAX).map(Amount::Count),
    };
    if parsed.is_none() {
        checks.fault(&mapping.at(name), format!("a number up to {REPLICAS_MAX} or a part such as 25% is expected"));
    }
    parsed
}

/// FNV-1a over what is written of the template, with sorted keys.
fn hash(spec: &Value) -> String {
    let mut part = spec.as_object().cloned().unwrap_or_else(Map::new);
    for name in NOT_TEMPLATE {
        part.remove(name);
    }
    let byte = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", Value::Object(part).to_string().bytes().fold(0xcbf2_9ce4_8422_2325, byte))
}

const NAME_EXPECTED: &str = "1 to 63 letters, digits, '-', '_' and '.', beginning with a letter or digit, are expected";

fn is_name(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.len() <= NAME_BYTES_MAX && text.bytes().all(is_inner) && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// A name that has to be there.
fn name(mapping: &mut Mapping<'_>, key: &str, checks: &mut Checks<'_>) -> String {
    let text = mapping.text_or(key, "", checks);
    if !is_name(&text) {
        checks.fault(&mapping.at(key), NAME_EXPECTED);
    }
    text
}

/// A text of bounded length without NUL.
fn bounded(text: String, key: &str, checks: &mut Checks<'_>) -> String {
    if text.len() > TEXT_BYTES_MAX || text.contains('\0') {
        checks.fault(key, format!("at most {TEXT_BYTES_MAX} bytes without NUL are expected"));
    }
    text
}

/// A list of texts of bounded length.
fn words(mapping: &mut Mapping<'_>, name: &str, checks: &mut Checks<'_>) -> Vec<String> {
    let words = mapping.words(name, checks);
    let key = mapping.at(name);
    if words.len() > ITEMS_MAX {
        checks.fault(&key, format!("at most {ITEMS_MAX} are expected"));
    }
    words.into_iter().map(|word| bounded(word, &key, checks)).collect()
}

/// The items of a list of bounded length.
fn items<'a>(mapping: &mut Mapping<'a>, name: &str, checks: &mut Checks<'_>) -> Vec<(String, &'a Value)> {
    let mut items = mapping.items(name, checks);
    if items.len() > ITEMS_MAX {
        checks.fault(&mapping.at(name), format!("at most {ITEMS_MAX} are expected"));
        items.truncate(ITEMS_MAX);
    }
    items
}

fn seconds(mapping: &mut Mapping<'_>, name: &str, least: i64, checks: &mut Checks<'_>) -> Option<Duration> {
    let number = mapping.number(name, least, SECONDS_MAX, checks)?;
    u64::try_from(number).ok().map(Duration::from_secs)
}

fn count(mapping: &mut Mapping<'_>, name: &str, most: u32, checks: &mut Checks<'_>) -> Option<u32> {
    mapping.number(name, 0, most.into(), checks).and_then(|number| u32::try_from(number).ok())
}

/// One of some words; the first where none is written.
fn choice<T: Copy>(mapping: &mut Mapping<'_>, name: &str, known: &[(&str, T)], checks: &mut Checks<'_>) -> T {
    let Some(text) = mapping.text(name, checks) else { return known[0].1 };
    known.iter().find(|(word, _)| *word == text).map_or_else(
        || {
            let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
            checks.fault(&mapping.at(name), format!("{text:?} is unknown: {} is expected", words.join(" or ")));
            known[0].1
        },
        |(_, value)| *value,
    )
}

#[cfg(test)]
mod tests;
