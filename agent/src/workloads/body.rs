//! A container of a workload, as the runtime's API takes it.

use crate::actuate::{CPU_REQUEST_LABEL, MEMORY_REQUEST_LABEL, SIZED_LABEL};
use serde_json::{Map, Value, json};
use skerry_scaling::workload::{
    Container, EnvValue, LABEL_CONTAINER, LABEL_REPLICA, LABEL_SPEC, LABEL_WORKLOAD, Mount, MountSource, Resources,
    SlotId, Workload,
};

/// What the container's environment can ask for.
pub(super) struct Around<'a> {
    /// Name of the replica.
    pub(super) replica: String,
    /// Name of the node.
    pub(super) node: &'a str,
}

/// What is asked for and allowed, where it is not what is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) requests: Resources,
    pub(super) limits: Resources,
    /// Whether somebody recommends them.
    pub(super) is_recommended: bool,
}

/// The body of `POST /containers/create`, with the first network.
pub(super) fn body(
    workload: &Workload,
    container: &Container,
    slot: &SlotId,
    image: &str,
    sizes: Sizes,
    around: &Around<'_>,
) -> Value {
    let template = &workload.template;
    let env: Vec<(String, String)> = environment(container, around);
    let expanded = |words: &[String]| -> Vec<String> { words.iter().map(|word| expand(word, &env)).collect() };
    let texts: Vec<String> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut body = json!({
        "Image": image,
        "Env": texts,
        "Labels": labels(workload, slot, sizes),
        "Hostname": around.replica,
        "StopTimeout": template.grace.as_secs(),
        "HostConfig": host(container, sizes),
    });
    for (key, words) in [("Entrypoint", &container.command), ("Cmd", &container.args)] {
        if !words.is_empty() {
            body[key] = expanded(words).into();
        }
    }
    if let Some(folder) = &container.working_dir {
        body["WorkingDir"] = folder.as_str().into();
    }
    if let Some(user) = &container.security.user {
        body["User"] = user.as_str().into();
    }
    let exposed: Map<String, Value> =
        container.ports.iter().map(|port| (format!("{}/{}", port.container, port.protocol), json!({}))).collect();
    body["ExposedPorts"] = exposed.into();
    if let Some(network) = template.networks.first() {
        body["HostConfig"]["NetworkMode"] = network.as_str().into();
        if network == "host" || network == "none" {
            // Docker refuses a name of its own in the host's network of names.
            body.as_object_mut().map(|body| body.remove("Hostname").filter(|_| network == "host"));
        } else {
            body["NetworkingConfig"] =
                json!({ "EndpointsConfig": { network.as_str(): endpoint(workload, container) } });
        }
    }
    body
}

/// How a container is called in a network: as its replica, and as what it is among its replica's.
pub(super) fn endpoint(workload: &Workload, container: &Container) -> Value {
    json!({ "Aliases": [workload.name, container.name] })
}

fn labels(workload: &Workload, slot: &SlotId, sizes: Sizes) -> Value {
    let mut labels: Map<String, Value> =
        workload.template.labels.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    let mut own = |name: &str, value: String| drop(labels.insert(name.to_owned(), value.into()));
    own(LABEL_WORKLOAD, workload.name.clone());
    own(LABEL_REPLICA, slot.replica.to_string());
    own(LABEL_CONTAINER, slot.container.clone());
    own(LABEL_SPEC, workload.template.hash.clone());
    if sizes.is_recommended {
        own(SIZED_LABEL, "1".into());
    }
    if let Some(milli) = sizes.requests.cpu_milli {
        own(CPU_REQUEST_LABEL, format!("{milli}m"));
    }
    if let Some(bytes) = sizes.requests.memory {
        own(MEMORY_REQUEST_LABEL, bytes.to_string());
    }
    labels.into()
}

fn host(container: &Container, sizes: Sizes) -> Value {
    let security = &container.security;
    let mut bindings = Map::new();
    for port in &container.ports {
        let Some(host) = port.host else { continue };
        let range =
            if host.first == host.last { host.first.to_string() } else { format!("{}-{}", host.first, host.last) };
        let bound = json!([{ "HostIp": port.host_ip, "HostPort": range }]);
        bindings.insert(format!("{}/{}", port.container, port.protocol), bound);
    }
    let devices: Vec<Value> = container.devices.iter().map(|device| self::device(device)).collect();
    let mut host = json!({
        // Whoever keeps them starts them again: with pauses that it remembers.
        "RestartPolicy": { "Name": "no" },
        "PortBindings": bindings,
        "Mounts": container.mounts.iter().filter_map(mount).collect::<Vec<Value>>(),
        "Binds": container.mounts.iter().filter_map(bind).collect::<Vec<String>>(),
        "Devices": devices,
        "Privileged": security.is_privileged,
        "ReadonlyRootfs": security.is_root_read_only,
        "CapAdd": security.add,
        "CapDrop": security.drop,
    });
    if security.no_new_privileges {
        host["SecurityOpt"] = json!(["no-new-privileges"]);
    }
    if let Some(milli) = sizes.limits.cpu_milli {
        host["NanoCpus"] = milli.saturating_mul(1_000_000).into();
    }
    if let Some(milli) = sizes.requests.cpu_milli {
        // 1,024 shares are a core, as Kubernetes counts them; 2 are the least that the kernel takes.
        host["CpuShares"] = (milli.saturating_mul(1024) / 1000).max(2).into();
    }
    if let Some(bytes) = sizes.limits.memory {
        host["Memory"] = bytes.into();
    }
    if let Some(bytes) = sizes.requests.memory {
        host["MemoryReservation"] = bytes.into();
    }
    host
}

/// A path that the runtime makes where it is not there: only the older form asks for that.
fn bind(mount: &Mount) -> Option<String> {
    let MountSource::Host { path, creates: true } = &mount.source else { return None };
    let ending = if mount.is_read_only { ":ro" } else { "" };
    Some(format!("{path}:{}{ending}", mount.target))
}

fn mount(mount: &Mount) -> Option<Value> {
    let (target, is_read_only) = (mount.target.as_str(), mount.is_read_only);
    let mut value = json!({ "Target": target, "ReadOnly": is_read_only });
    match &mount.source {
        MountSource::Host { creates: true, .. } => return None,
        MountSource::Host { path, creates: false } => {
            (value["Type"], value["Source"]) = ("bind".into(), path.as_str().into());
        }
        MountSource::Volume(name) => (value["Type"], value["Source"]) = ("volume".into(), name.as_str().into()),
        // Without a name it goes with its container.
        MountSource::Scratch => value["Type"] = "volume".into(),
        MountSource::Memory(limit) => {
            value["Type"] = "tmpfs".into();
            if let Some(bytes) = limit {
                value["TmpfsOptions"] = json!({ "SizeBytes": bytes });
            }
        }
    }
    Some(value)
}

fn device(text: &str) -> Value {
    let mut parts = text.split(':');
    let host = parts.next().unwrap_or_default();
    let inside = parts.next().unwrap_or(host);
    let rights = parts.next().unwrap_or("rwm");
    json!({ "PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": rights })
}

/// The environment, with `$(NAME)` of variables before it replaced.
fn environment(container: &Container, around: &Around<'_>) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = Vec::with_capacity(container.env.len());
    for (name, value) in &container.env {
        let value = match value {
            EnvValue::Text(text) => expand(text, &env),
            EnvValue::Replica => around.replica.clone(),
            EnvValue::Node => around.node.to_owned(),
        };
        env.push((name.clone(), value));
    }
    env
}

/// Replaces `$(NAME)` as Kubernetes does: unknown names stay as they are, `$$` is `$`.
fn expand(text: &str, env: &[(String, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let named = rest.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        let found = named.and_then(|(name, after)| {
            let (_, value) = env.iter().rev().find(|(known, _)| known == name)?;
            Some((value, after))
        });
        match found {
            Some((value, after)) => {
                out.push_str(value);
                rest = after;
            }
            None => out.push('$'),
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_expanded_as_kubernetes_does() {
        let env = [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "$(A)".to_owned())];
        for (text, expected) in [
            ("x$(A)y$(B)", "x1y$(A)"),
            ("$$(A)", "$(A)"),
            ("$(C) $A $", "$(C) $A $"),
            ("$(A", "$(A"),
            ("$$$$(A)$", "$$(A)$"),
            ("é$(A)é", "é1é"),
        ] {
            assert_eq!(expand(text, &env), expected, "{text}");
        }
    }

    #[test]
    fn a_container_is_written_as_the_runtime_takes_it() {
        let spec = "
networks: [shop]
labels: {app: web}
volumes: [{name: d, hostPath: {path: /srv}}, {name: t, emptyDir: {medium: Memory, sizeLimit: 1Ki}}, {name: s, emptyDir: {}}]
containers:
- name: web
  image: web:1
  command: [/bin/web]
  args: ['--zone=$(ZONE)']
  env: [{name: ZONE, value: a}, {name: ME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
  ports: [{containerPort: 80, hostPort: 8000-8001, hostIP: 127.0.0.1}]
  devices: [/dev/ttyUSB0]
  resources: {requests: {cpu: 250m}, limits: {memory: 1Mi}}
  securityContext: {runAsUser: 5, runAsGroup: 6, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
  volumeMounts: [{name: d, mountPath: /d, readOnly: true}, {name: t, mountPath: /t}, {name: s, mountPath: /s}]
";
        let workload = Workload::parse("shop", spec).unwrap();
        let container = &workload.template.containers[0];
        let slot = SlotId { workload: "shop".into(), replica: 2, container: "web".into() };
        let sizes = Sizes { requests: container.requests, limits: container.limits, is_recommended: false };
        let around = Around { replica: "shop-2".into(), node: "pi" };
        let body = body(&workload, container, &slot, "web:1", sizes, &around);
        for (pointer, expected) in [
            ("/Image", json!("web:1")),
            ("/Entrypoint", json!(["/bin/web"])),
            ("/Cmd", json!(["--zone=a"])),
            ("/Env", json!(["ZONE=a", "ME=shop-2"])),
            ("/User", json!("5:6")),
            ("/Labels/app", json!("web")),
            ("/Labels/skerry.io~1replica", json!("2")),
            ("/Labels/skerry.io~1cpu-request", json!("250m")),
            ("/ExposedPorts/80~1tcp", json!({})),
            ("/HostConfig/RestartPolicy/Name", json!("no")),
            ("/HostConfig/PortBindings/80~1tcp/0/HostPort", json!("8000-8001")),
            ("/HostConfig/CpuShares", json!(256)),
            ("/HostConfig/Memory", json!(1 << 20)),
            ("/HostConfig/NanoCpus", json!(null)),
            ("/HostConfig/NetworkMode", json!("shop")),
            ("/HostConfig/SecurityOpt", json!(["no-new-privileges"])),
            ("/HostConfig/Mounts/0", json!({"Type": "bind", "Source": "/srv", "Target": "/d", "ReadOnly": true})),
            ("/HostConfig/Mounts/1/TmpfsOptions/SizeBytes", json!(1024)),
            ("/HostConfig/Mounts/2/Type", json!("volume")),
            ("/NetworkingConfig/EndpointsConfig/shop/Aliases", json!(["shop", "web"])),
        ] {
            assert_eq!(body.pointer(pointer).unwrap_or(&Value::Null), &expected, "{pointer}");
        }
    }
}
