//! What the paths of pods' logs tell.
//!
//! ```text
//! /var/log/pods/NAMESPACE_POD_UID/CONTAINER/0.log
//! /var/log/containers/POD_NAMESPACE_CONTAINER-ID.log        a link to the above; the ID has 64 hex digits
//! ```
//! The kubelet makes both on every node, whatever runs the containers; no API server is asked.

use std::path::Path;

/// Hex digits of a container's id, and how many of them its label has.
const ID_DIGITS: usize = 64;
const ID_SHOWN: usize = 12;

/// The labels `namespace`, `pod`, `container` and, where the path has it, `container_id`; none for other paths.
pub(super) fn labels(path: &Path) -> Vec<(String, String)> {
    let Some(path) = path.to_str() else { return Vec::new() };
    let parts: Vec<&str> = path.rsplitn(4, '/').collect();
    match parts[..] {
        [_, container, pod, folder] if folder.ends_with("/pods") => of_pod(pod, container),
        [file, "containers", ..] => of_link(file),
        _ => Vec::new(),
    }
}

fn of_pod(folder: &str, container: &str) -> Vec<(String, String)> {
    // Names of pods and namespaces have no underscore.
    let [namespace, pod, _uid] = folder.split('_').collect::<Vec<_>>()[..] else { return Vec::new() };
    pairs([("namespace", namespace), ("pod", pod), ("container", container)])
}

fn of_link(file: &str) -> Vec<(String, String)> {
    let name = file.split(".log").next().unwrap_or_default();
    let [pod, namespace, last] = name.split('_').collect::<Vec<_>>()[..] else { return Vec::new() };
    let Some((container, id)) = last.rsplit_once('-') else { return Vec::new() };
    if id.len() != ID_DIGITS || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Vec::new();
    }
    pairs([("namespace", namespace), ("pod", pod), ("container", container), ("container_id", &id[..ID_SHOWN])])
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(path: &str) -> String {
        labels(Path::new(path)).iter().map(|(name, value)| format!("{name}={value} ")).collect()
    }

    #[test]
    fn paths_of_the_kubelet_name_pod_and_container() {
        let id = "0123456789abcdef".repeat(4);
        for (path, expected) in [
            (
                "/var/log/pods/kube-system_web-7d4_9f-1a/app/0.log".to_owned(),
                "namespace=kube-system pod=web-7d4 container=app ",
            ),
            ("/var/log/pods/a_b_c/app/0.log.20261121-101010".to_owned(), "namespace=a pod=b container=app "),
            (
                format!("/var/log/containers/web-7d4_shop_my-app-{id}.log"),
                "namespace=shop pod=web-7d4 container=my-app container_id=0123456789ab ",
            ),
            (format!("/var/log/containers/web_shop_app-{}.log", &id[1..]), ""),
            ("/var/log/containers/web.log".to_owned(), ""),
            ("/var/log/pods/a_b/app/0.log".to_owned(), ""),
            ("/srv/app/0.log".to_owned(), ""),
            ("0.log".to_owned(), ""),
        ] {
            assert_eq!(shown(&path), expected, "{path}");
        }
    }
}
