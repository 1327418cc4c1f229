//! How a replica is made: the template's description, turned into the body of a call that makes another one.
//!
//! Kept are image, command, environment, networks, limits, health check, restart policy, log driver, `--rm`, named and bound
//! volumes. New are the name, the number, anonymous volumes, the host name that the runtime made up, addresses and MACs.

use super::family::{NUMBER_LABEL, REPLICA_LABEL, SERVICE_LABEL, TEMPLATE_LABEL};
use super::{ActuatorError, Style, invalid};
use crate::docker::{CPU_PERIOD_US, Container};
use serde_json::{Map, Value, json};
use skerry_scaling::quantity::Quantity;
use skerry_scaling::target::TargetRef;
use skerry_scaling::vpa::{Amounts, Given, Resource, Size};

/// What a replica asks for of CPU, as a quantity of cores: `250m`.
pub const CPU_REQUEST_LABEL: &str = "skerry.io/cpu-request";
/// What a replica asks for of memory, as a quantity of bytes: `64Mi`.
pub const MEMORY_REQUEST_LABEL: &str = "skerry.io/memory-request";
/// Of what was made with a recommended size: it is not made anew for another one at once.
pub const SIZED_LABEL: &str = "skerry.io/sized";

/// Labels of compose that belong to one container and not to its service.
const REPLACE_LABEL: &str = "com.docker.compose.replace";
const COMPOSE_PREFIX: &str = "com.docker.compose.";

/// Digits of a short id.
const SHORT_ID: usize = 12;

/// How a replica is made.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Recipe {
    pub(super) name: String,
    /// Of the call that makes it; the image is the template's own word for it.
    pub(super) body: Value,
    /// Further networks, with their `EndpointConfig`: older versions of the API take one alone when a container is made.
    pub(super) networks: Vec<(String, Value)>,
}

/// A clone of the template with this number.
pub(super) fn recipe(
    style: Style,
    target: &TargetRef,
    template: &Container,
    number: u32,
) -> Result<Recipe, ActuatorError> {
    let raw = template.raw();
    let name = name(style, target, template, number)?;
    let mut body = raw["Config"].as_object().cloned().unwrap_or_default();
    let mut host = raw["HostConfig"].as_object().cloned().unwrap_or_default();
    let mode = host.get("NetworkMode").and_then(Value::as_str).unwrap_or_default().to_owned();

    let hostname = body.get("Hostname").and_then(Value::as_str).unwrap_or_default();
    let is_shared = mode == "host" || mode.starts_with("container:") || host.get("UTSMode") == Some(&json!("host"));
    if is_shared || is_short_id(template, hostname) {
        body.remove("Hostname");
        body.remove("Domainname");
    }
    body.remove("MacAddress");
    if let Some(variables) = body.get_mut("Env").and_then(Value::as_array_mut) {
        // Podman's own, as the host name that it makes up; and compose's, which names the container that one replaced.
        let is_own = |text: &str| {
            text.starts_with("affinity:container=")
                || text.strip_prefix("HOSTNAME=").is_some_and(|name| is_short_id(template, name))
        };
        variables.retain(|variable| !variable.as_str().is_some_and(is_own));
    }
    labels(&mut body, style, target, template, number);

    if mode != "host" {
        fixed_port(&host).map_or(Ok(()), |port| Err(taken(target, template, &port)))?;
    }
    host.remove("ContainerIDFile");
    links(&mut host);
    limits(&mut host);
    volumes(&mut body, &mut host);

    let (own, networks) = networks(raw, template, &mode, &name);
    body.insert("NetworkingConfig".into(), json!({ "EndpointsConfig": own }));
    body.insert("HostConfig".into(), host.into());
    Ok(Recipe { name, body: body.into(), networks })
}

/// A clone's name: `SERVICE-N`, or as compose names it.
pub(super) fn name(
    style: Style,
    target: &TargetRef,
    template: &Container,
    number: u32,
) -> Result<String, ActuatorError> {
    let name = template.name();
    let own = match style {
        Style::Service => return Ok(format!("{}-{number}", target.name)),
        Style::Compose => template.label(NUMBER_LABEL).unwrap_or_default(),
    };
    // Version 1 of compose has underscores.
    let stem = name.strip_suffix(own).filter(|stem| stem.ends_with(['-', '_']) && !own.is_empty());
    stem.map(|stem| format!("{stem}{number}")).ok_or_else(|| {
        let problem = format!(
            "{name} does not end in its number, so its compose file sets container_name; compose has no replicas of such a service either: remove container_name"
        );
        invalid(target, problem)
    })
}

fn labels(body: &mut Map<String, Value>, style: Style, target: &TargetRef, template: &Container, number: u32) {
    let mut labels = body.remove("Labels").and_then(|labels| labels.as_object().cloned()).unwrap_or_default();
    let number = number.to_string();
    match style {
        Style::Service => {
            // Compose would take it for one of its own, twice under one number.
            labels.retain(|label, _| !label.starts_with(COMPOSE_PREFIX));
            labels.insert(SERVICE_LABEL.into(), target.name.as_str().into());
            labels.insert(REPLICA_LABEL.into(), number.into());
            labels.insert(TEMPLATE_LABEL.into(), template.id().into());
        }
        Style::Compose => {
            labels.remove(REPLACE_LABEL);
            labels.insert(NUMBER_LABEL.into(), number.into());
        }
    }
    body.insert("Labels".into(), labels.into());
}

/// The first port of the node that the template has for itself. A range is shared out by the runtime, and a port that it
/// chooses itself is another for each.
fn fixed_port(host: &Map<String, Value>) -> Option<String> {
    let bindings = host.get("PortBindings")?.as_object()?;
    bindings.iter().find_map(|(private, published)| {
        let ports = published.as_array()?.iter().filter_map(|binding| binding["HostPort"].as_str());
        ports
            .filter(|port| !["", "0"].contains(port) && !port.contains('-'))
            .map(|port| format!("{port}:{private}"))
            .next()
    })
}

fn taken(target: &TargetRef, template: &Container, port: &str) -> ActuatorError {
    let problem = format!(
        "{} publishes the port {port}, which one container alone can have; publish a range, such as 8000-8010:80, let the runtime choose, or publish none",
        template.name()
    );
    invalid(target, problem)
}

/// `/other:/this/alias` as it is told becomes `other:alias` as it is asked for.
fn links(host: &mut Map<String, Value>) {
    for link in host.get_mut("Links").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some((other, alias)) = link.as_str().and_then(|link| link.split_once(':')) else { continue };
        let alias = alias.rsplit('/').next().unwrap_or(alias);
        *link = format!("{}:{alias}", other.trim_start_matches('/')).into();
    }
}

/// Podman tells limits in forms that it and Docker do not take back.
fn limits(host: &mut Map<String, Value>) {
    if host.get("NanoCpus").and_then(Value::as_u64).is_some_and(|nanos| nanos > 0) {
        host.remove("CpuQuota");
        host.remove("CpuPeriod");
    }
    for limit in host.get_mut("Ulimits").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(name) = limit["Name"].as_str().and_then(|name| name.strip_prefix("RLIMIT_")) {
            limit["Name"] = name.to_ascii_lowercase().into();
        }
    }
}

/// Whether a name is the beginning of the template's id, as runtimes call what nobody named.
fn is_short_id(template: &Container, name: &str) -> bool {
    name.is_empty() || (name.len() >= SHORT_ID && template.id().starts_with(name))
}

/// Whether the runtime made the volume's name up.
fn is_anonymous(volume: &str) -> bool {
    crate::docker::is_id(volume)
}

/// Anonymous volumes become new ones. Podman, and compose when it makes a container anew, mount them by name.
fn volumes(body: &mut Map<String, Value>, host: &mut Map<String, Value>) {
    let mut paths = Vec::new();
    if let Some(binds) = host.get_mut("Binds").and_then(Value::as_array_mut) {
        binds.retain(|bind| {
            let mut parts = bind.as_str().unwrap_or_default().split(':');
            let is_new = parts.next().is_some_and(is_anonymous);
            paths.extend(parts.next().filter(|_| is_new).map(str::to_owned));
            !is_new
        });
    }
    for mount in host.get_mut("Mounts").and_then(Value::as_array_mut).into_iter().flatten() {
        if mount["Type"] == "volume" && mount["Source"].as_str().is_some_and(is_anonymous) {
            mount["Source"] = "".into();
        }
    }
    if !paths.is_empty() {
        let volumes = body.entry("Volumes").or_insert(Value::Null);
        if !volumes.is_object() {
            *volumes = json!({});
        }
        for path in paths {
            volumes[path] = json!({});
        }
    }
}

/// The network that the container is made in, where that is one of the user's, and the others that it is put into.
fn networks(raw: &Value, template: &Container, mode: &str, name: &str) -> (Map<String, Value>, Vec<(String, Value)>) {
    let (mut own, mut others) = (Map::new(), Vec::new());
    for (network, settings) in raw["NetworkSettings"]["Networks"].as_object().into_iter().flatten() {
        let is_own = network == mode || settings["NetworkID"] == mode;
        // What the mode says by itself.
        let is_builtin = ["bridge", "host", "none", "podman"].contains(&network.as_str());
        let is_default = ["", "default", "bridge", "host", "none", "podman"].contains(&mode);
        if (is_builtin && is_default) || mode.starts_with("container:") {
            continue;
        }
        let mut endpoint = json!({});
        if !is_builtin {
            let aliases = settings["Aliases"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let foreign = |alias: &&str| *alias != template.name() && !is_short_id(template, alias);
            let aliases: Vec<&str> = aliases.filter(foreign).chain([name]).collect();
            endpoint["Aliases"] = aliases.into();
        }
        for key in ["DriverOpts", "Links", "GwPriority"] {
            if let Some(value) = settings.get(key).filter(|value| !value.is_null()) {
                endpoint[key] = value.clone();
            }
        }
        if is_own {
            own.insert(network.clone(), endpoint);
        } else {
            others.push((network.clone(), endpoint));
        }
    }
    (own, others)
}

/// Has a clone ask for what its template was given while that ran: it has the template's limits of now, and labels that say
/// less or more would put them out of proportion.
pub(super) fn ask(body: &mut Value, asked: Amounts) {
    for (label, amount, unit) in [(CPU_REQUEST_LABEL, asked.cpu_milli, "m"), (MEMORY_REQUEST_LABEL, asked.memory, "")] {
        if amount > 0 {
            body["Labels"][label] = format!("{amount}{unit}").into();
        }
    }
}

/// Gives a new replica what is recommended, in place of what the template asks for and may use at most.
pub(super) fn provide(body: &mut Value, given: &Given) {
    let host = &body["HostConfig"];
    let number = |key: &str| host[key].as_u64().filter(|value| *value > 0);
    let (quota, period) = (number("CpuQuota"), number("CpuPeriod").unwrap_or(CPU_PERIOD_US));
    let (nanos, memory, reservation) = (number("NanoCpus"), number("Memory"), number("MemoryReservation"));
    let is_sized = given.cpu_milli.or(given.memory).is_some();
    let has_shares = number("CpuShares").is_some();
    let asked = |label: &str| Some(body["Labels"][label].as_str()?.parse::<Quantity>().ok()?.milli);
    let cpu = Size {
        request: asked(CPU_REQUEST_LABEL).and_then(|milli| milli.try_into().ok()),
        limit: nanos.map(|nanos| nanos / 1_000_000).or_else(|| Some(quota?.saturating_mul(1000) / period)),
    };
    let memory = Size {
        request: asked(MEMORY_REQUEST_LABEL).and_then(|milli| (milli / 1000).try_into().ok()).or(reservation),
        limit: memory,
    };
    if is_sized {
        body["Labels"][SIZED_LABEL] = "1".into();
    }
    let (new_cpu, new_memory) = (given.resized(Resource::Cpu, cpu), given.resized(Resource::Memory, memory));
    if let Some(limit) = new_cpu.limit.filter(|_| new_cpu != cpu) {
        if nanos.is_some() {
            body["HostConfig"]["NanoCpus"] = limit.saturating_mul(1_000_000).into();
        } else {
            body["HostConfig"]["CpuQuota"] = (limit.saturating_mul(period) / 1000).into();
        }
    }
    if let Some(request) = new_cpu.request.filter(|_| new_cpu != cpu) {
        if has_shares {
            // 1,024 shares are a core; rounded up they are read again as the same.
            body["HostConfig"]["CpuShares"] = request.saturating_mul(1024).div_ceil(1000).clamp(2, 262_144).into();
        }
        body["Labels"][CPU_REQUEST_LABEL] = format!("{request}m").into();
    }
    if let Some(limit) = new_memory.limit.filter(|_| new_memory != memory) {
        body["HostConfig"]["Memory"] = limit.into();
        // As much swap as memory, as where nothing is said.
        body["HostConfig"]["MemorySwap"] = 0.into();
    }
    if let Some(request) = new_memory.request.filter(|_| new_memory != memory) {
        if reservation.is_some() {
            body["HostConfig"]["MemoryReservation"] = request.into();
        }
        body["Labels"][MEMORY_REQUEST_LABEL] = request.to_string().into();
    }
}
