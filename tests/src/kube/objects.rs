//! Deployments and their pods, as the API shows them.

use serde_json::{Value, json};
use std::collections::BTreeMap;

/// All objects, by namespace and name.
#[derive(Debug, Default)]
pub struct Objects {
    /// Counts changes.
    pub version: u64,
    /// Deployments.
    pub deployments: BTreeMap<(String, String), Deployment>,
    /// Pods.
    pub pods: BTreeMap<(String, String), PodState>,
}

/// A Deployment.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Replicas that are wanted.
    pub replicas: i64,
    /// The version of its last change.
    pub version: u64,
    /// Labels that select its pods; none make a selector that is empty.
    pub labels: BTreeMap<String, String>,
    /// Requests of each container: cpu and memory.
    pub requests: (String, String),
}

/// A pod.
#[derive(Debug, Clone)]
pub struct PodState {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// `Pending`, `Running`, …
    pub phase: String,
    /// Whether it is ready.
    pub is_ready: bool,
    /// Whether it is being removed.
    pub is_deleting: bool,
    /// Requests: cpu and memory.
    pub requests: (String, String),
    /// Use: cpu and memory; none where nothing was measured.
    pub usage: Option<(String, String)>,
}

impl Objects {
    /// Adds a Deployment, its label being `app: NAME`, and its pods.
    pub fn deploy(&mut self, namespace: &str, name: &str, replicas: i64) {
        self.version += 1;
        let labels = BTreeMap::from([("app".to_owned(), name.to_owned())]);
        let requests = ("500m".to_owned(), "64Mi".to_owned());
        let deployment = Deployment { replicas, version: self.version, labels, requests };
        self.deployments.insert((namespace.into(), name.into()), deployment);
        self.settle();
    }

    /// Makes pods as many as are wanted, all ready, and removes those too many, the newest first.
    pub fn settle(&mut self) {
        for ((namespace, name), deployment) in &self.deployments {
            let pod_name = |number: i64| (namespace.clone(), format!("{name}-{number:04}"));
            for number in 0..deployment.replicas {
                self.pods.entry(pod_name(number)).or_insert_with(|| PodState {
                    labels: deployment.labels.clone(),
                    phase: "Running".into(),
                    is_ready: true,
                    is_deleting: false,
                    requests: deployment.requests.clone(),
                    usage: Some(("250m".into(), "32Mi".into())),
                });
            }
            let mut number = deployment.replicas.max(0);
            while self.pods.remove(&pod_name(number)).is_some() {
                number += 1;
            }
        }
    }

    /// Pods of a Deployment.
    fn count(&self, namespace: &str, deployment: &Deployment) -> usize {
        let is_its = |((space, _), pod): &(&(String, String), &PodState)| {
            space == namespace && deployment.labels.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
        };
        self.pods.iter().filter(is_its).count()
    }

    /// The scale of a Deployment.
    pub(super) fn scale(&self, namespace: &str, name: &str) -> Option<Value> {
        let deployment = self.deployments.get(&(namespace.to_owned(), name.to_owned()))?;
        let selector: Vec<String> = deployment.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        // What is zero or empty is left out, but for status.replicas.
        let spec = if deployment.replicas == 0 { json!({}) } else { json!({"replicas": deployment.replicas}) };
        let mut status = json!({"replicas": self.count(namespace, deployment)});
        if !selector.is_empty() {
            status["selector"] = selector.join(",").into();
        }
        Some(json!({
            "kind": "Scale", "apiVersion": "autoscaling/v1",
            "metadata": {"name": name, "namespace": namespace, "uid": format!("uid-{name}"),
                         "resourceVersion": deployment.version.to_string(),
                         "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": spec, "status": status,
        }))
    }

    /// A Deployment itself.
    pub(super) fn deployment(&self, namespace: &str, name: &str) -> Option<Value> {
        let deployment = self.deployments.get(&(namespace.to_owned(), name.to_owned()))?;
        let there = self.count(namespace, deployment);
        Some(json!({
            "kind": "Deployment", "apiVersion": "apps/v1",
            "metadata": {"name": name, "namespace": namespace, "resourceVersion": deployment.version.to_string(),
                         "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"replicas": deployment.replicas, "selector": {"matchLabels": deployment.labels},
                     "template": {"metadata": {"labels": deployment.labels},
                                  "spec": {"containers": [{"name": "app", "image": "app:1"}]}}},
            "status": {"replicas": there, "readyReplicas": there, "availableReplicas": there, "updatedReplicas": there},
        }))
    }

    /// A pod.
    pub(super) fn pod(namespace: &str, name: &str, pod: &PodState) -> Value {
        let (cpu, memory) = &pod.requests;
        let mut whole = json!({
            "metadata": {"name": name, "namespace": namespace, "labels": pod.labels, "resourceVersion": "1",
                         "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"containers": [{"name": "app", "image": "app:1",
                                     "resources": {"requests": {"cpu": cpu, "memory": memory}}}]},
            "status": {"phase": pod.phase, "startTime": "2026-01-01T00:00:01Z",
                       "conditions": [{"type": "Ready", "status": if pod.is_ready { "True" } else { "False" },
                                       "lastTransitionTime": "2026-01-01T00:00:05Z"}],
                       "containerStatuses": [{"name": "app", "containerID": format!("containerd://{name}"),
                                              "ready": pod.is_ready, "restartCount": 0, "image": "app:1",
                                              "imageID": "", "state": {"running": {}}}]},
        });
        if pod.is_deleting {
            whole["metadata"]["deletionTimestamp"] = "2026-01-01T01:00:00Z".into();
        }
        whole
    }

    /// What metrics.k8s.io says of a pod.
    pub(super) fn metrics(namespace: &str, name: &str, pod: &PodState) -> Option<Value> {
        let (cpu, memory) = pod.usage.as_ref()?;
        Some(json!({
            "metadata": {"name": name, "namespace": namespace, "creationTimestamp": "2026-01-01T00:10:00Z"},
            "timestamp": "2026-01-01T00:09:50Z", "window": "15.123s",
            "containers": [{"name": "app", "usage": {"cpu": cpu, "memory": memory}}],
        }))
    }
}
