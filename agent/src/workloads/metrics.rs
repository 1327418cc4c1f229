//! Metrics of workloads, under the names of kube-state-metrics, so that dashboards and rules work unchanged: a workload is a
//! deployment, a replica a pod.

use super::Workloads;
use skerry_model::{LabelsBuilder, MetricKind, MetricMeta, Observation};
use skerry_scaling::workload::{ContainerStatus, Status};

type OfWorkload = (MetricMeta, fn(&Status) -> u32);
type OfContainer = (MetricMeta, fn(&ContainerStatus) -> Option<f64>);

macro_rules! meta {
    ($kind:ident $name:literal $help:literal) => {
        MetricMeta::fixed($name, MetricKind::$kind, $help)
    };
}

static WORKLOADS: [OfWorkload; 5] = [
    (meta!(Gauge "kube_deployment_spec_replicas" "Replicas of a workload that are wanted."), |one| one.wanted),
    (meta!(Gauge "kube_deployment_status_replicas" "Replicas that are there."), |one| one.observed.status_replicas),
    (meta!(Gauge "kube_deployment_status_replicas_ready" "Replicas that serve."), |one| one.ready),
    (
        meta!(Gauge "kube_deployment_status_replicas_available" "Replicas that have served for minReadySeconds."),
        |one| one.available,
    ),
    (meta!(Gauge "kube_deployment_status_replicas_updated" "Replicas made from what counts now."), |one| one.updated),
];

static CONTAINERS: [OfContainer; 3] = [
    (meta!(Counter "kube_pod_container_status_restarts_total" "Restarts of a container."), |one| {
        Some(one.restarts.into())
    }),
    (meta!(Gauge "kube_pod_container_status_ready" "Whether a container serves."), |one| {
        Some(u8::from(one.is_ready).into())
    }),
    (meta!(Gauge "kube_pod_container_status_last_terminated_exitcode" "How a container ended last."), |one| {
        one.exit_code.map(f64::from)
    }),
];

static LOOKS: MetricMeta =
    meta!(Counter "skerry_workload_looks_total" "Looks at the runtime of workloads, by outcome.");

static WAITING: MetricMeta =
    meta!(Gauge "kube_pod_container_status_waiting_reason" "Why a container does not run; 1 for the reason.");

impl Workloads {
    /// Their metrics now.
    #[must_use]
    pub fn observations(&self) -> Vec<Observation> {
        let all = self.list();
        let mut out = Vec::new();
        for (outcome, count) in ["failed", "seen"].iter().zip(self.looks()) {
            // A node without workloads has no series of them.
            if count > 0 {
                out.push(row(&LOOKS, &[("outcome", outcome)], count as f64));
            }
        }
        for (meta, value) in &WORKLOADS {
            for one in &all {
                out.push(row(meta, &[("deployment", &one.name)], value(one).into()));
            }
        }
        let containers = || all.iter().flat_map(|one| &one.containers);
        for (meta, value) in &CONTAINERS {
            for one in containers() {
                out.extend(value(one).map(|value| row(meta, &labels(one), value)));
            }
        }
        for one in containers().filter(|one| one.state == "Waiting") {
            let [pod, container] = labels(one);
            out.push(row(&WAITING, &[pod, container, ("reason", &one.reason)], 1.0));
        }
        out
    }
}

fn labels(one: &ContainerStatus) -> [(&'static str, &str); 2] {
    [("pod", &one.replica), ("container", &one.name)]
}

fn row(meta: &'static MetricMeta, labels: &[(&str, &str)], value: f64) -> Observation {
    let builder = labels.iter().fold(LabelsBuilder::metric(&meta.name), |b, (name, value)| b.label(name, *value));
    Observation { meta: meta.into(), labels: builder.build(), value }
}
