//! Whose a container is, by the labels of its series: what a policy would name, and its name in that.

use skerry_model::Labels;
use skerry_scaling::target::{TargetKind, TargetRef};

/// Longest text that is kept of a label.
const TEXT_BYTES_MAX: usize = 128;
/// What Kubernetes makes the ends of names of.
const SAFE: &str = "bcdfghjklmnpqrstvwxz2456789";

/// Containers that are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Subject {
    /// What they belong to; a container of its own is its own target.
    pub(super) target: TargetRef,
    /// Their name in it.
    pub(super) container: String,
}

/// A container as its series tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) subject: Subject,
    /// Whether that is more than a number.
    pub(super) is_named: bool,
    /// Its image without tag and digest, of containers of their own: another image under the same name is something else.
    pub(super) image: String,
}

/// 64 hex digits at the end of a cgroup's path.
pub(super) fn container_id(path: &str) -> Option<&str> {
    let last = path.rsplit('/').next().unwrap_or(path);
    let last = last.strip_suffix(".scope").unwrap_or(last);
    let id = last.rsplit('-').next().unwrap_or(last);
    (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// `None` for what is no container of a workload: a cgroup without an id, a pod's own one.
pub(super) fn told(labels: &Labels) -> Option<Told> {
    let id = container_id(labels.value("id"))?;
    let [workload, service, compose] = [
        "container_label_skerry_io_workload",
        "container_label_skerry_io_service",
        "container_label_com_docker_compose_service",
    ]
    .map(|label| labels.value(label));
    let (name, pod) = (labels.value("name"), labels.value("pod"));
    let of = |kind, scope: &str, target: &str, container: &str| {
        let target = TargetRef { kind, name: clean(target), scope: clean(scope) };
        Some(Told { subject: Subject { target, container: clean(container) }, is_named: true, image: String::new() })
    };
    if !workload.is_empty() {
        let container = labels.value("container_label_skerry_io_container");
        return of(TargetKind::Workload, "", workload, if container.is_empty() { workload } else { container });
    }
    if !service.is_empty() {
        return of(TargetKind::Container, "", service, service);
    }
    if !compose.is_empty() {
        let project = labels.value("container_label_com_docker_compose_project");
        return of(TargetKind::ComposeService, project, compose, compose);
    }
    if !pod.is_empty() {
        let container = labels.value("container");
        let (kind, owner) = owner(pod);
        return (!container.is_empty()).then(|| of(kind, labels.value("namespace"), owner, container))?;
    }
    // What the kubelet has not told of yet, and what only holds a pod together.
    if labels.value("id").contains("kubepods") {
        return None;
    }
    let is_named = !name.is_empty();
    let name = clean(if is_named { name } else { &id[..12] });
    let target = TargetRef { kind: TargetKind::Container, name: name.clone(), scope: String::new() };
    let image = clean(repository(labels.value("image")));
    Some(Told { subject: Subject { target, container: name }, is_named, image })
}

/// What a pod belongs to, by its name: `NAME-HASH-ABCDE` to a Deployment, `NAME-0` to a StatefulSet, `NAME-ABCDE` to a
/// ReplicaSet (or to a DaemonSet or Job, which no policy scales), any other to itself.
fn owner(pod: &str) -> (TargetKind, &str) {
    let is_random = |end: &str, lens: std::ops::RangeInclusive<usize>| {
        lens.contains(&end.len()) && end.chars().all(|letter| SAFE.contains(letter))
    };
    let Some((rest, end)) = pod.rsplit_once('-') else { return (TargetKind::ReplicaSet, pod) };
    if !end.is_empty() && end.len() < 5 && end.bytes().all(|byte| byte.is_ascii_digit()) {
        return (TargetKind::StatefulSet, rest);
    }
    if !is_random(end, 5..=5) {
        return (TargetKind::ReplicaSet, pod);
    }
    match rest.rsplit_once('-') {
        Some((name, hash)) if is_random(hash, 6..=10) => (TargetKind::Deployment, name),
        _ => (TargetKind::ReplicaSet, rest),
    }
}

/// An image's name without digest and tag.
fn repository(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        // A colon before a slash is that of a port.
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

/// Labels may hold anything; keys are put together from them.
fn clean(text: &str) -> String {
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    text[..end].chars().map(|letter| if letter.is_control() { '_' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_known_by_their_labels() {
        let id = "0123456789abcdef".repeat(4);
        let docker = format!("/system.slice/docker-{id}.scope");
        let pod = format!("/kubepods/pod1/{id}");
        for (labels, expected, is_named) in [
            (vec![("id", docker.as_str())], "Container/0123456789ab 0123456789ab", false),
            (
                vec![("id", &docker), ("name", "web"), ("image", "reg:5/nginx:1@sha256:x")],
                "Container/web web reg:5/nginx",
                true,
            ),
            (
                vec![("id", &docker), ("name", "web-2"), ("container_label_skerry_io_service", "web")],
                "Container/web web",
                true,
            ),
            (
                vec![
                    ("id", &docker),
                    ("name", "shop-db-1"),
                    ("container_label_com_docker_compose_service", "db"),
                    ("container_label_com_docker_compose_project", "shop"),
                ],
                "ComposeService/shop/db db",
                true,
            ),
            (
                vec![
                    ("id", &docker),
                    ("container_label_skerry_io_workload", "app"),
                    ("container_label_skerry_io_container", "side"),
                ],
                "Workload/app side",
                true,
            ),
            (
                vec![("id", &pod), ("pod", "web-7d4b9c-x2f4z"), ("namespace", "shop"), ("container", "nginx")],
                "Deployment/shop/web nginx",
                true,
            ),
            (
                vec![("id", &pod), ("pod", "db-0"), ("namespace", "shop"), ("container", "pg")],
                "StatefulSet/shop/db pg",
                true,
            ),
            (
                vec![("id", &pod), ("pod", "agent-x2f4z"), ("namespace", "s"), ("container", "a")],
                "ReplicaSet/s/agent a",
                true,
            ),
            (
                vec![("id", &pod), ("pod", "etcd-node1"), ("namespace", "s"), ("container", "a")],
                "ReplicaSet/s/etcd-node1 a",
                true,
            ),
        ] {
            let found = told(&Labels::new(labels.clone()).unwrap()).unwrap();
            let text = format!("{} {} {}", found.subject.target, found.subject.container, found.image);
            assert_eq!((text.trim_end(), found.is_named), (expected, is_named), "{labels:?}");
        }
        for labels in [
            vec![],
            vec![("id", "/system.slice/ssh.service")],
            vec![("id", &pod)],
            vec![("id", &pod), ("pod", "web-0")],
        ] {
            assert_eq!(told(&Labels::new(labels.clone()).unwrap()), None, "{labels:?}");
        }
    }
}
