//! What a request is answered with.

use super::objects::Objects;
use super::{Kube, State};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A request.
pub(super) struct Asked {
    pub(super) method: String,
    /// With the query.
    pub(super) target: String,
    /// By lower-case name.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
    /// The client showed a certificate that holds.
    pub(super) has_certificate: bool,
}

/// A status and a body.
pub(super) type Answer = (u16, Value);

pub(super) fn answer(kube: &Kube, asked: &Asked) -> Answer {
    let mut state = kube.state();
    let bearer = asked.headers.get("authorization").map(String::as_str);
    let is_known = bearer.map_or(asked.has_certificate, |bearer| bearer == format!("Bearer {}", state.token));
    if !is_known {
        return status(401, "Unauthorized", "Unauthorized");
    }
    let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
    let query: BTreeMap<String, String> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), unescaped(value)))
        .collect();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let is_get = asked.method == "GET";
    match parts[..] {
        ["version"] => (200, json!({"major": "1", "minor": "32", "gitVersion": "v1.32.0", "platform": "test"})),
        ["api"] => (200, json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})),
        ["apis"] => (200, groups(state.has_metrics)),
        ["api", "v1"] => (200, resources("v1", &[("pods", "Pod", &["get", "list"])])),
        ["apis", "apps", "v1"] => {
            let scale = ("deployments/scale", "Scale", &["get", "patch", "update"][..]);
            (200, resources("apps/v1", &[("deployments", "Deployment", &["get", "list"]), scale]))
        }
        ["apis", "metrics.k8s.io", "v1beta1"] if state.has_metrics => {
            (200, resources("metrics.k8s.io/v1beta1", &[("pods", "PodMetrics", &["get", "list"])]))
        }
        ["api", "v1", "namespaces", namespace] if is_get => {
            (200, json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": namespace}}))
        }
        ["api", "v1", "namespaces", namespace, "pods"] if is_get => {
            allowed(&state, "list", "pods").unwrap_or_else(|| pods(&state.objects, namespace, &query))
        }
        ["apis", "metrics.k8s.io", "v1beta1", "namespaces", namespace, "pods"] if is_get && state.has_metrics => {
            allowed(&state, "list", "pods.metrics").unwrap_or_else(|| metrics(&state.objects, namespace, &query))
        }
        ["apis", "apps", "v1", "namespaces", namespace, "deployments", name] if is_get => {
            let found = state.objects.deployment(namespace, name);
            allowed(&state, "get", "deployments").or(found.map(|found| (200, found))).unwrap_or_else(|| missing(name))
        }
        ["apis", "apps", "v1", "namespaces", namespace, "deployments", name, "scale"] => {
            scale(&mut state, asked, namespace, name)
        }
        _ => status(404, "NotFound", "the server could not find the requested resource"),
    }
}

/// An object of kind Status.
pub(super) fn status(code: u16, reason: &str, message: &str) -> Answer {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                      "message": message, "reason": reason, "code": code});
    (code, body)
}

fn missing(name: &str) -> Answer {
    let (code, mut body) = status(404, "NotFound", &format!("deployments.apps \"{name}\" not found"));
    body["details"] = json!({"name": name, "group": "apps", "kind": "deployments"});
    (code, body)
}

fn allowed(state: &State, verb: &str, resource: &str) -> Option<Answer> {
    let is_forbidden = state.forbidden.contains(&format!("{verb} {resource}"));
    is_forbidden.then(|| {
        let message = format!("{resource} is forbidden: User \"agent\" cannot {verb} resource \"{resource}\"");
        status(403, "Forbidden", &message)
    })
}

fn groups(has_metrics: bool) -> Value {
    let group = |name: &str, version: &str| {
        let version = json!({"groupVersion": format!("{name}/{version}"), "version": version});
        json!({"name": name, "versions": [version], "preferredVersion": version})
    };
    let mut groups = vec![group("apps", "v1")];
    if has_metrics {
        groups.push(group("metrics.k8s.io", "v1beta1"));
    }
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn resources(version: &str, all: &[(&str, &str, &[&str])]) -> Value {
    let resource = |(name, kind, verbs): &(&str, &str, &[&str])| {
        let mut resource = json!({"name": name, "singularName": "", "namespaced": true, "kind": kind, "verbs": verbs});
        if *kind == "Scale" {
            resource["group"] = "autoscaling".into();
            resource["version"] = "v1".into();
        }
        resource
    };
    let all: Vec<Value> = all.iter().map(resource).collect();
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": all})
}

fn scale(state: &mut State, asked: &Asked, namespace: &str, name: &str) -> Answer {
    let verb = match asked.method.as_str() {
        "GET" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        _ => return status(405, "MethodNotAllowed", "the server does not allow this method on the requested resource"),
    };
    if let Some(answer) = allowed(state, verb, "deployments/scale") {
        return answer;
    }
    let Some(before) = state.objects.scale(namespace, name) else { return missing(name) };
    if verb == "get" {
        return (200, before);
    }
    let content_type = asked.headers.get("content-type").map_or("", String::as_str);
    let takes: &[&str] = match verb {
        "update" => &["application/json", ""],
        _ => &["application/merge-patch+json", "application/strategic-merge-patch+json"],
    };
    if !takes.contains(&content_type) {
        return status(
            415,
            "UnsupportedMediaType",
            &format!("the body of the request was in an unknown format: {content_type}"),
        );
    }
    let Ok(sent) = serde_json::from_slice::<Value>(&asked.body) else {
        return status(400, "BadRequest", "the object provided is unrecognized");
    };
    if verb == "update" && (sent["kind"] != "Scale" || sent["metadata"]["name"] != name) {
        return status(400, "BadRequest", "the name of the object does not match the name on the URL");
    }
    let version = sent.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default();
    if !version.is_empty() && before["metadata"]["resourceVersion"] != version {
        let message = format!(
            "Operation cannot be fulfilled on deployments.apps \"{name}\": the object has been modified; please apply \
             your changes to the latest version and try again"
        );
        return status(409, "Conflict", &message);
    }
    let replicas = match sent.pointer("/spec/replicas") {
        Some(replicas) => replicas.as_i64(),
        None if verb == "update" => Some(0),
        None => before.pointer("/spec/replicas").map_or(Some(0), Value::as_i64),
    };
    match replicas {
        Some(replicas @ 0..=2_147_483_647) => {
            state.objects.version += 1;
            let version = state.objects.version;
            if let Some(deployment) = state.objects.deployments.get_mut(&(namespace.to_owned(), name.to_owned()))
                && deployment.replicas != replicas
            {
                (deployment.replicas, deployment.version) = (replicas, version);
            }
            state.objects.scale(namespace, name).map_or_else(|| missing(name), |scale| (200, scale))
        }
        _ => status(422, "Invalid", "spec.replicas: Invalid value: must be greater than or equal to 0"),
    }
}

/// Whether labels fit a selector of `key=value`, `key!=value`, `key` and `!key`, with commas between.
fn selects(selector: &str, labels: &BTreeMap<String, String>) -> bool {
    selector.split(',').map(str::trim).filter(|part| !part.is_empty()).all(|part| {
        if let Some((key, value)) = part.split_once("!=") {
            labels.get(key.trim()).is_none_or(|had| had != value.trim())
        } else if let Some((key, value)) = part.split_once('=') {
            labels.get(key.trim()).is_some_and(|had| had == value.trim_start_matches('=').trim())
        } else if let Some(key) = part.strip_prefix('!') {
            !labels.contains_key(key.trim())
        } else {
            labels.contains_key(part)
        }
    })
}

fn pods(objects: &Objects, namespace: &str, query: &BTreeMap<String, String>) -> Answer {
    let selector = query.get("labelSelector").map_or("", String::as_str);
    let after = query.get("continue").map_or("", String::as_str);
    let limit: usize = query.get("limit").and_then(|limit| limit.parse().ok()).filter(|n| *n > 0).unwrap_or(usize::MAX);
    let all = objects
        .pods
        .iter()
        .filter(|((space, name), pod)| space == namespace && selects(selector, &pod.labels) && name.as_str() > after);
    let mut items: Vec<(&str, Value)> = all
        .take(limit.saturating_add(1))
        .map(|((_, name), pod)| (name.as_str(), Objects::pod(namespace, name, pod)))
        .collect();
    let mut metadata = json!({"resourceVersion": objects.version.to_string()});
    if items.len() > limit {
        items.truncate(limit);
        metadata["continue"] = items.last().map_or("", |(name, _)| name).into();
    }
    let items: Vec<Value> = items.into_iter().map(|(_, item)| item).collect();
    (200, json!({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items}))
}

fn metrics(objects: &Objects, namespace: &str, query: &BTreeMap<String, String>) -> Answer {
    let selector = query.get("labelSelector").map_or("", String::as_str);
    let all = objects.pods.iter().filter(|((space, _), pod)| space == namespace && selects(selector, &pod.labels));
    let items: Vec<Value> = all.filter_map(|((_, name), pod)| Objects::metrics(namespace, name, pod)).collect();
    (200, json!({"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": items}))
}

fn unescaped(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, after @ ..] = rest {
        rest = after;
        let code = after.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match (first, code.and_then(|code| u8::from_str_radix(code, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &rest[2..];
            }
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
