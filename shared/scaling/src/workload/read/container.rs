//! Reads a container of a workload.

use super::mounts::{self, Volume};
use super::{bounded, choice, items, name, probe, words};
use crate::quantity::Quantity;
use crate::workload::{Container, EnvValue, HostPort, Image, Port, ProbeKind, PullPolicy, Resources, Security};
use skerry_yaml::values::{Checks, Mapping};

/// Keys of Kubernetes's that ask for something that is not done here: better refused than left out.
const REFUSED: [(&str, &str); 3] = [
    ("envFrom", "there are no config maps here: name the variables under env"),
    ("lifecycle", "hooks are not run: do it in the entry point, and on SIGTERM"),
    ("resizePolicy", "see updateMode of the policy that recommends"),
];

pub(super) fn read(
    mut from: Mapping<'_>,
    volumes: &[Volume],
    networks: &[String],
    checks: &mut Checks<'_>,
) -> Container {
    for (key, why) in REFUSED {
        if from.take(key).is_some() {
            checks.fault(&from.at(key), format!("is not supported: {why}"));
        }
    }
    let ports = ports(&mut from, networks, checks);
    let probe = |from: &mut Mapping<'_>, kind, checks: &mut Checks<'_>| {
        let key = match kind {
            ProbeKind::Startup => "startupProbe",
            ProbeKind::Liveness => "livenessProbe",
            ProbeKind::Readiness => "readinessProbe",
        };
        from.child(key, checks).and_then(|mapping| probe::read(mapping, kind, &ports, checks))
    };
    let startup = probe(&mut from, ProbeKind::Startup, checks);
    let liveness = probe(&mut from, ProbeKind::Liveness, checks);
    let readiness = probe(&mut from, ProbeKind::Readiness, checks);
    let pulls = [("IfNotPresent", PullPolicy::IfNotPresent), ("Never", PullPolicy::Never)];
    let (requests, limits) = resources(from.child("resources", checks), checks);
    let container = Container {
        name: name(&mut from, "name", checks),
        image: image(&mut from, checks),
        pull: choice(&mut from, "imagePullPolicy", &pulls, checks),
        command: words(&mut from, "command", checks),
        args: words(&mut from, "args", checks),
        working_dir: from.text("workingDir", checks),
        env: env(&mut from, checks),
        mounts: mounts::mounts(&mut from, volumes, checks),
        devices: devices(&mut from, checks),
        requests,
        limits,
        security: security(from.child("securityContext", checks), checks),
        startup,
        liveness,
        readiness,
        ports,
    };
    from.finish(checks);
    container
}

fn image(from: &mut Mapping<'_>, checks: &mut Checks<'_>) -> Image {
    let Some(text) = from.text("image", checks) else {
        checks.fault(&from.at("image"), "the image is missing");
        return Image::default();
    };
    parse_image(&text).unwrap_or_else(|problem| {
        checks.fault(&from.at("image"), problem);
        Image::default()
    })
}

fn parse_image(text: &str) -> Result<Image, String> {
    let expected = || format!("{text:?} is no image: NAME[:TAG][@sha256:DIGEST] or sha256:DIGEST is expected");
    let is_digest =
        |text: &str| text.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(is_lower_hex));
    if is_digest(text) {
        let digest = Some(text.to_owned());
        return Ok(Image { text: text.to_owned(), digest, ..Image::default() });
    }
    let (named, digest) = match text.split_once('@') {
        Some((named, digest)) if is_digest(digest) => (named, Some(digest.to_owned())),
        Some(_) => return Err(expected()),
        None => (text, None),
    };
    let is_name = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte))
    };
    // A port stands before the first slash, a tag behind the last.
    let (repository, tag) = match named.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (named, "latest"),
    };
    let (host, path) = match repository.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (Some(host), path),
        _ => (None, repository),
    };
    let is_host = |host: &str| {
        host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:".contains(&byte))
            && host.starts_with(|c: char| c.is_ascii_alphanumeric())
    };
    let is_tag = tag.len() <= 128
        && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if named.len() > 255
        || repository == "sha256"
        || !is_tag
        || !path.split('/').all(is_name)
        || !host.is_none_or(is_host)
    {
        return Err(expected());
    }
    let (tagged, repository) = (format!("{repository}:{tag}"), repository.to_owned());
    Ok(Image { text: text.to_owned(), tagged, repository, digest })
}

const fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn env(from: &mut Mapping<'_>, checks: &mut Checks<'_>) -> Vec<(String, EnvValue)> {
    let mut env = Vec::new();
    for (key, item) in items(from, "env", checks) {
        let mut item = Mapping::new(Some(item), &key, checks);
        let name = item.text_or("name", "", checks);
        if name.is_empty() || name.len() > 256 || name.contains(['=', '\0']) {
            checks.fault(&item.at("name"), "a name without '=' is expected");
        }
        let value = item.text("value", checks);
        let from = item.child("valueFrom", checks).and_then(|mapping| reference(mapping, checks));
        let value = match (value, from) {
            (Some(_), Some(_)) => {
                checks.fault(&key, "value and valueFrom are both set: one of them is expected");
                continue;
            }
            (text, None) => EnvValue::Text(bounded(text.unwrap_or_default(), &key, checks)),
            (None, Some(value)) => value,
        };
        item.finish(checks);
        env.push((name, value));
    }
    env
}

fn reference(mut from: Mapping<'_>, checks: &mut Checks<'_>) -> Option<EnvValue> {
    let (key, mut field) = (from.at("fieldRef.fieldPath"), from.child("fieldRef", checks));
    let path = field.as_mut().and_then(|field| field.text("fieldPath", checks)).unwrap_or_default();
    let value = match path.as_str() {
        "metadata.name" => Some(EnvValue::Replica),
        "spec.nodeName" => Some(EnvValue::Node),
        _ => {
            checks.fault(&key, "metadata.name or spec.nodeName is expected");
            None
        }
    };
    if let Some(field) = field {
        field.finish(checks);
    }
    from.finish(checks);
    value
}

fn ports(from: &mut Mapping<'_>, networks: &[String], checks: &mut Checks<'_>) -> Vec<Port> {
    let own_network = networks.first().is_none_or(|network| network != "host");
    let mut ports = Vec::new();
    for (key, item) in items(from, "ports", checks) {
        let mut item = Mapping::new(Some(item), &key, checks);
        let container = item.number("containerPort", 1, 65_535, checks).and_then(|port| u16::try_from(port).ok());
        if container.is_none() && item.take("containerPort").is_none() {
            checks.fault(&item.at("containerPort"), "a port is expected");
        }
        let host = item.text("hostPort", checks).and_then(|text| {
            let parsed = host_port(&text);
            if parsed.is_none() {
                checks.fault(
                    &item.at("hostPort"),
                    format!("{text:?} is no port from 1 to 65535, and no range such as 8000-8009"),
                );
            }
            parsed
        });
        let host_ip = item.text_or("hostIP", "", checks);
        if !host_ip.is_empty() && host_ip.parse::<std::net::IpAddr>().is_err() {
            checks.fault(&item.at("hostIP"), "an IP address is expected");
        }
        let port = Port {
            name: item.text("name", checks),
            container: container.unwrap_or_default(),
            // On the host's own network every port is one of the host.
            host: host.filter(|_| own_network),
            host_ip,
            protocol: choice(&mut item, "protocol", &[("TCP", "tcp"), ("UDP", "udp"), ("SCTP", "sctp")], checks),
        };
        item.finish(checks);
        ports.push(port);
    }
    ports
}

fn host_port(text: &str) -> Option<HostPort> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first > 0 && first <= last).then_some(HostPort { first, last })
}

fn devices(from: &mut Mapping<'_>, checks: &mut Checks<'_>) -> Vec<String> {
    let devices = words(from, "devices", checks);
    for (at, device) in devices.iter().enumerate() {
        let parts: Vec<&str> = device.split(':').collect();
        let is_good = parts.len() <= 3
            && parts.iter().take(2).all(|path| path.starts_with("/dev/"))
            && parts.get(2).is_none_or(|rights| rights.chars().all(|right| "rwm".contains(right)));
        if !is_good {
            let problem = "/dev/HOST[:/dev/CONTAINER[:rwm]] is expected";
            checks.fault(&format!("{}[{at}]", from.at("devices")), problem);
        }
    }
    devices
}

fn resources(from: Option<Mapping<'_>>, checks: &mut Checks<'_>) -> (Resources, Resources) {
    let Some(mut from) = from else { return Default::default() };
    let limits = amounts(from.child("limits", checks), checks);
    let mut requests = amounts(from.child("requests", checks), checks);
    let key = from.at("requests");
    from.finish(checks);
    // As Kubernetes: what is limited and not asked for is asked for as far as the limit.
    requests.cpu_milli = requests.cpu_milli.or(limits.cpu_milli);
    requests.memory = requests.memory.or(limits.memory);
    let is_over = |asked: Option<u64>, limit: Option<u64>| asked.zip(limit).is_some_and(|(asked, limit)| asked > limit);
    if is_over(requests.cpu_milli, limits.cpu_milli) || is_over(requests.memory, limits.memory) {
        checks.fault(&key, "more than the limits is asked for");
    }
    (requests, limits)
}

fn amounts(from: Option<Mapping<'_>>, checks: &mut Checks<'_>) -> Resources {
    let Some(mut from) = from else { return Resources::default() };
    let mut amount = |name: &str| {
        let text = from.text(name, checks)?;
        match text.parse::<Quantity>() {
            Ok(quantity) if quantity.milli > 0 => Some(quantity),
            Ok(_) => {
                checks.fault(&from.at(name), "more than 0 is expected");
                None
            }
            Err(error) => {
                checks.fault(&from.at(name), error.to_string());
                None
            }
        }
    };
    let (cpu, memory) = (amount("cpu"), amount("memory"));
    from.finish(checks);
    Resources {
        cpu_milli: cpu.and_then(|cpu| u64::try_from(cpu.milli).ok()),
        memory: memory.and_then(|memory| u64::try_from(memory.units()).ok()),
    }
}

fn security(from: Option<Mapping<'_>>, checks: &mut Checks<'_>) -> Security {
    let Some(mut from) = from else { return Security::default() };
    let user = from.number("runAsUser", 0, u32::MAX.into(), checks);
    let group = from.number("runAsGroup", 0, u32::MAX.into(), checks);
    let user = match (user, group) {
        (Some(user), Some(group)) => Some(format!("{user}:{group}")),
        (Some(user), None) => Some(user.to_string()),
        (None, Some(_)) => {
            checks.fault(&from.at("runAsGroup"), "runAsUser is expected beside it");
            None
        }
        (None, None) => None,
    };
    let (mut add, mut drop) = (Vec::new(), Vec::new());
    if let Some(mut capabilities) = from.child("capabilities", checks) {
        add = words(&mut capabilities, "add", checks);
        drop = words(&mut capabilities, "drop", checks);
        capabilities.finish(checks);
    }
    let security = Security {
        user,
        is_privileged: from.flag("privileged", checks).unwrap_or(false),
        is_root_read_only: from.flag("readOnlyRootFilesystem", checks).unwrap_or(false),
        no_new_privileges: from.flag("allowPrivilegeEscalation", checks) == Some(false),
        add,
        drop,
    };
    from.finish(checks);
    security
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_read() {
        let hex = "a".repeat(64);
        let digest = format!("sha256:{hex}");
        for (text, tagged, has_digest) in [
            ("nginx", "nginx:latest", false),
            ("nginx:1.27", "nginx:1.27", false),
            ("shop/web_app:7-rc.1", "shop/web_app:7-rc.1", false),
            ("registry.local:5000/shop/web", "registry.local:5000/shop/web:latest", false),
            ("registry.local:5000/shop/web:3", "registry.local:5000/shop/web:3", false),
            (&format!("nginx:1@{digest}"), "nginx:1", true),
            (&digest, "", true),
        ] {
            let image = parse_image(text).unwrap();
            assert_eq!((image.tagged.as_str(), image.digest.is_some()), (tagged, has_digest), "{text}");
            assert_eq!(image.digest.unwrap_or(digest.clone()), digest);
        }
        for text in ["", ":1", "Nginx", "a b", "a:b c", "a@sha256:1", "a//b", "../x", "a?x=1", "sha256:zz", "a:/", "é"]
        {
            assert!(parse_image(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ports_of_the_host_are_read() {
        for (text, expected) in [
            ("80", Some((80, 80))),
            ("80-89", Some((80, 89))),
            ("9-8", None),
            ("0", None),
            ("65536", None),
            ("x", None),
        ] {
            assert_eq!(host_port(text).map(|port| (port.first, port.last)), expected, "{text}");
        }
    }
}
