//! The cgroup tree: which version it is, and which of its folders are containers.

use super::super::source::{CollectError, Roots, entries, file_name};
use std::path::{Path, PathBuf};

/// Most folders that are looked at.
pub(super) const FOLDERS_MAX: usize = 4096;
/// Deepest folder that is looked at: Kubernetes nests a container five deep.
const DEPTH_MAX: usize = 8;

/// Version of the cgroup tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// A tree per controller.
    V1,
    /// One tree.
    V2,
}

/// A container's cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Container {
    /// 64 hex digits.
    pub(super) id: String,
    /// Below the tree's root, with a slash in front: the same in every controller.
    pub(super) path: String,
}

/// Where a controller's tree is: `None` where there is none.
pub(super) fn root(roots: &Roots, version: Version, controller: &str) -> Option<PathBuf> {
    let base = roots.sys.join("fs/cgroup");
    match version {
        Version::V2 => Some(base),
        Version::V1 => {
            let joint = match controller {
                "cpu" | "cpuacct" => Some("cpu,cpuacct"),
                _ => None,
            };
            [Some(controller), joint].into_iter().flatten().map(|name| base.join(name)).find(|path| path.is_dir())
        }
    }
}

/// The folder of one container below a controller.
pub(super) fn folder(roots: &Roots, version: Version, controller: &str, path: &str) -> Option<PathBuf> {
    root(roots, version, controller).map(|root| root.join(path.trim_start_matches('/')))
}

/// All containers, sorted by path; none on a machine without cgroups.
pub(super) fn containers(roots: &Roots) -> Result<(Version, Vec<Container>), CollectError> {
    let unified = roots.sys.join("fs/cgroup/cgroup.controllers").exists();
    let version = if unified { Version::V2 } else { Version::V1 };
    // Every container has a memory limit to be held to, and with it a folder in that controller.
    let Some(root) = root(roots, version, "memory").or_else(|| root(roots, version, "cpuacct")) else {
        return Ok((version, Vec::new()));
    };
    let (mut found, mut waiting, mut looked) = (Vec::new(), vec![(root.clone(), 0)], 0);
    while let Some((folder, depth)) = waiting.pop() {
        looked += 1;
        if looked > FOLDERS_MAX {
            break;
        }
        // A folder may go while it is listed.
        for path in entries(&folder).unwrap_or_default() {
            if !is_folder(&path) {
                continue;
            }
            match container_id(&file_name(&path)) {
                Some(id) => found.push(Container { id: id.to_owned(), path: below(&root, &path) }),
                None if depth < DEPTH_MAX => waiting.push((path, depth + 1)),
                None => {}
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok((version, found))
}

fn is_folder(path: &Path) -> bool {
    // No link is followed: a loop would have no end.
    path.symlink_metadata().is_ok_and(|meta| meta.is_dir())
}

fn below(root: &Path, path: &Path) -> String {
    let rest = path.strip_prefix(root).unwrap_or(path).to_string_lossy();
    format!("/{rest}")
}

/// The container that a folder's name stands for: the id itself, or the id in a systemd scope such as
/// `docker-ID.scope`, `libpod-ID.scope`, `cri-containerd-ID.scope` and `crio-ID.scope`.
fn container_id(name: &str) -> Option<&str> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let id = name.rsplit('-').next().unwrap_or(name);
    // `libpod-conmon-ID.scope` holds the container's monitor, not the container.
    (is_id(id) && !name.contains("conmon")).then_some(id)
}

/// Whether a text is a container's id: 64 hex digits.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_runtimes_are_known() {
        let id = "a".repeat(64);
        for name in [
            id.clone(),
            format!("docker-{id}.scope"),
            format!("libpod-{id}.scope"),
            format!("cri-containerd-{id}.scope"),
            format!("crio-{id}.scope"),
        ] {
            assert_eq!(container_id(&name), Some(id.as_str()), "{name}");
        }
        for name in [format!("libpod-conmon-{id}.scope"), "system.slice".into(), format!("{id}0"), "a".repeat(63)] {
            assert_eq!(container_id(&name), None, "{name}");
        }
    }
}
