//! Whose a container of Kubernetes is, without asking the API server: the kubelet names the folders and links of its
//! logs after namespace, pod and container, and the cgroups after the pod's UID. k3s, containerd and CRI-O alike.

use super::super::source::{CollectError, Roots, entries, file_name};
use super::cgroup::is_id;
use std::collections::HashMap;
use std::path::PathBuf;

/// Most pods and most containers that are told apart; the kubelet's own limit is 110 pods.
const NAMES_MAX: usize = 1024;

/// A pod as its cgroup shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodGroup {
    pub(super) uid: String,
    /// The pod's own cgroup, above those of its containers.
    pub(super) path: String,
}

/// The pod that a container's cgroup is part of: below a folder `podUID`, or `kubepods-CLASS-podUID.slice` with the
/// UID's dashes as underscores.
pub(super) fn group(path: &str) -> Option<PodGroup> {
    let mut end = 0;
    for part in path.split('/') {
        end += part.len() + 1;
        let name = part.strip_suffix(".slice").unwrap_or(part);
        let uid = match name.strip_prefix("kubepods-") {
            Some(rest) => rest.split('-').find_map(|word| word.strip_prefix("pod")),
            None => name.strip_prefix("pod"),
        };
        let uid = uid.map(|uid| uid.replace('_', "-"));
        let is_uid = |uid: &String| uid.len() >= 32 && uid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        if let Some(uid) = uid.filter(is_uid) {
            return Some(PodGroup { uid, path: path[..end - 1].to_owned() });
        }
    }
    None
}

/// What the kubelet's names tell.
#[derive(Debug, Default)]
pub(super) struct Pods {
    by_uid: HashMap<String, Pod>,
    /// Container's name by its id.
    containers: HashMap<String, String>,
}

#[derive(Debug)]
struct Pod {
    namespace: String,
    name: String,
    logs: PathBuf,
}

impl Pods {
    pub(super) fn read(roots: &Roots) -> Result<Self, CollectError> {
        let mut pods = Self::default();
        let logs = roots.rootfs.join("var/log");
        for path in entries(&logs.join("pods"))?.into_iter().take(NAMES_MAX) {
            let folder = file_name(&path);
            let [namespace, name, uid] = folder.splitn(3, '_').collect::<Vec<_>>()[..] else { continue };
            let pod = Pod { namespace: namespace.to_owned(), name: name.to_owned(), logs: path.clone() };
            pods.by_uid.insert(uid.to_owned(), pod);
        }
        for path in entries(&logs.join("containers"))?.into_iter().take(NAMES_MAX) {
            let file = file_name(&path);
            let Some((rest, id)) = file.strip_suffix(".log").and_then(|name| name.rsplit_once('-')) else { continue };
            let [_, _, container] = rest.splitn(3, '_').collect::<Vec<_>>()[..] else { continue };
            if is_id(id) {
                pods.containers.insert(id.to_owned(), container.to_owned());
            }
        }
        Ok(pods)
    }

    /// The labels `namespace` and `pod`, where the kubelet has told them.
    pub(super) fn labels(&self, uid: &str) -> Vec<(String, String)> {
        let Some(pod) = self.by_uid.get(uid) else { return Vec::new() };
        vec![("namespace".to_owned(), pod.namespace.clone()), ("pod".to_owned(), pod.name.clone())]
    }

    /// The name of a container in its pod; none for the one that only holds the pod together.
    pub(super) fn container(&self, id: &str) -> Option<&str> {
        self.containers.get(id).map(String::as_str)
    }

    /// How often a container was restarted: its logs are numbered by its starts.
    pub(super) fn restarts(&self, uid: &str, container: &str) -> Option<f64> {
        let logs = entries(&self.by_uid.get(uid)?.logs.join(container)).ok()?;
        let number = |path: &PathBuf| file_name(path).strip_suffix(".log")?.parse::<u32>().ok();
        logs.iter().filter_map(number).max().map(f64::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_known_by_their_cgroups() {
        let (uid, id) = ("12345678-1234-1234-1234-123456789abc", "f".repeat(64));
        let joined = uid.replace('-', "_");
        for (path, expected) in [
            (format!("/kubepods/burstable/pod{uid}/{id}"), Some(format!("/kubepods/burstable/pod{uid}"))),
            (format!("/kubepods/pod{uid}/{id}"), Some(format!("/kubepods/pod{uid}"))),
            (
                format!(
                    "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{joined}.slice/crio-{id}.scope"
                ),
                Some(format!("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{joined}.slice")),
            ),
            (
                format!("/kubepods.slice/kubepods-pod{joined}.slice/cri-containerd-{id}.scope"),
                Some(format!("/kubepods.slice/kubepods-pod{joined}.slice")),
            ),
            (format!("/system.slice/docker-{id}.scope"), None),
            (format!("/podman/{id}"), None),
            (format!("/machine.slice/libpod-{id}.scope"), None),
        ] {
            let found = group(&path);
            assert_eq!(found.as_ref().map(|group| &group.path), expected.as_ref(), "{path}");
            assert!(found.is_none_or(|group| group.uid == uid), "{path}");
        }
    }
}
