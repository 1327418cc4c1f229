//! Container metrics under cAdvisor's names, from cgroups of version 1 and 2.
//!
//! The cgroup tree says which containers there are, by the form of their folders' names; the runtimes' list adds name,
//! image and labels, and the names of the kubelet's log folders add namespace, pod and container. So metrics come without
//! a runtime's socket too. What a pod shares, its network, is told once, with the pod's own cgroup as id.
//!
//! Left out of cAdvisor's: space of the container's file systems, open files and sockets of its processes.
//!
//! Invariants:
//! - At most [`cgroup::FOLDERS_MAX`] folders are looked at and [`CONTAINERS_MAX`] containers measured.
//! - A container that ends while it is read has fewer values and is no failure; a file of another form than the
//!   kernel documents is one.

mod cgroup;
mod files;
mod metas;
mod network;
mod pods;
mod state;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

use super::sink::gauge;
use super::source::{CollectError, Roots, Text};
use super::{Collect, Round, Sink};
use cgroup::{Container, Version};
use pods::{PodGroup, Pods};
use skerry_model::{ContainerInfo, MetricMeta};
use std::collections::{BTreeMap, HashSet};

/// Most containers that are measured.
const CONTAINERS_MAX: usize = 512;
/// Most labels of the runtime that become labels of series.
const LABELS_MAX: usize = 32;

static LAST_SEEN: MetricMeta = gauge("container_last_seen", "Last time a container was seen by the exporter.");
static START_TIME: MetricMeta =
    gauge("container_start_time_seconds", "Start time of the container since unix epoch in seconds.");

/// The collector.
pub(super) struct Containers;

/// A value of one container.
struct Row {
    meta: &'static MetricMeta,
    labels: Vec<(&'static str, String)>,
    value: f64,
}

/// Values with the labels of their container.
type Labelled = Vec<(Vec<(String, String)>, Row)>;

/// The values of one container.
#[derive(Default)]
struct Rows(Vec<Row>);

impl Rows {
    fn push(&mut self, meta: &'static MetricMeta, value: f64) {
        self.labelled(meta, Vec::new(), value);
    }

    /// Adds a value where there is one.
    fn maybe(&mut self, meta: &'static MetricMeta, value: Option<f64>) {
        if let Some(value) = value {
            self.push(meta, value);
        }
    }

    /// Adds a count of page faults where there is one.
    fn failures(&mut self, kind: &str, scope: &str, value: Option<f64>) {
        if let Some(value) = value {
            let labels = vec![("failure_type", kind.to_owned()), ("scope", scope.to_owned())];
            self.labelled(&metas::MEMORY_FAILURES, labels, value);
        }
    }

    fn labelled(&mut self, meta: &'static MetricMeta, labels: Vec<(&'static str, String)>, value: f64) {
        self.0.push(Row { meta, labels, value });
    }
}

impl Collect for Containers {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let mut rows: Labelled = Vec::new();
        let (version, found) = cgroup::containers(&round.roots)?;
        let is_kubernetes = found.iter().any(|container| container.path.starts_with("/kubepods"));
        let pods = if is_kubernetes { Pods::read(&round.roots)? } else { Pods::default() };
        let boot = boot_seconds(&round.roots);
        let mut networks = HashSet::new();
        for container in found.into_iter().take(CONTAINERS_MAX) {
            let info = round.containers.iter().find(|info| info.id == container.id);
            let group = pods::group(&container.path);
            let labels = labels(&container, info, group.as_ref(), &pods);
            let mut values = measure(round, version, &container, info, boot)?;
            if let Some(group) = &group
                && let Some(name) = pods.container(&container.id)
            {
                values.maybe(&state::RESTARTS, pods.restarts(&group.uid, name));
            }
            rows.extend(values.0.into_iter().map(|row| (labels.clone(), row)));
            // Containers of a pod share its network.
            let owner = group.as_ref().map_or(&container.path, |group| &group.path);
            if !networks.contains(owner) {
                let mut values = Rows::default();
                network::read(&round.roots, version, &container.path, &mut values)?;
                if !values.0.is_empty() {
                    networks.insert(owner.clone());
                }
                let labels = match &group {
                    Some(group) => {
                        let mut labels = pods.labels(&group.uid);
                        labels.push(("id".to_owned(), group.path.clone()));
                        labels
                    }
                    None => labels,
                };
                rows.extend(values.0.into_iter().map(|row| (labels.clone(), row)));
            }
        }
        rows.extend(round.containers.iter().take(CONTAINERS_MAX).flat_map(state::read));
        // A metric's series stand together; within it containers stay in the order of their cgroups.
        rows.sort_by_key(|(_, row)| &*row.meta.name);
        for (labels, row) in &rows {
            let mut all: Vec<(&str, &str)> =
                labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            all.extend(row.labels.iter().map(|(name, value)| (*name, value.as_str())));
            sink.push(row.meta, &all, row.value);
        }
        Ok(())
    }
}

fn measure(
    round: &Round,
    version: Version,
    container: &Container,
    info: Option<&ContainerInfo>,
    boot: Option<f64>,
) -> Result<Rows, CollectError> {
    let mut rows = Rows::default();
    match version {
        Version::V1 => v1::read(&round.roots, &container.path, &mut rows)?,
        Version::V2 => v2::read(&round.roots, &container.path, &mut rows)?,
    }
    rows.push(&LAST_SEEN, round.now.as_secs_f64().floor());
    let told = info.and_then(|info| info.started_at).map(|at| at.as_secs_f64());
    let folder = cgroup::folder(&round.roots, version, "memory", &container.path);
    // Without a runtime the first process tells.
    let start = match (told, boot) {
        (None, Some(boot)) => files::processes(folder.as_ref())?.and_then(|(_, first)| {
            let ticks = start_ticks(&round.roots, &first?)?;
            Some((boot + ticks / v1::TICKS_PER_S).floor())
        }),
        (told, _) => told,
    };
    rows.maybe(&START_TIME, start);
    Ok(rows)
}

/// When the machine was started, in seconds since 1970.
fn boot_seconds(roots: &Roots) -> Option<f64> {
    let text = Text::read(roots.proc.join("stat")).ok()?;
    text.content.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// When a process was started, in ticks since the machine was.
fn start_ticks(roots: &Roots, pid: &str) -> Option<f64> {
    let text = Text::read(roots.proc.join(pid).join("stat")).ok()?;
    // Column 22; the name in column 2 may hold anything, so columns count from behind it.
    text.content.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// `id`; what the runtime says: `name`, `image`, and each of its labels as `container_label_NAME`; and what the kubelet
/// says: `namespace`, `pod`, `container`, with the container's id as name.
fn labels(
    container: &Container,
    info: Option<&ContainerInfo>,
    group: Option<&PodGroup>,
    pods: &Pods,
) -> Vec<(String, String)> {
    let mut labels = vec![("id".to_owned(), container.path.clone())];
    if let Some(group) = group {
        labels.extend(pods.labels(&group.uid));
        let name = pods.container(&container.id);
        labels.extend(name.map(|name| ("container".to_owned(), name.to_owned())));
        if info.is_none() {
            labels.push(("name".to_owned(), container.id.clone()));
        }
    }
    let Some(info) = info else { return labels };
    labels.push(("image".to_owned(), info.image.clone()));
    labels.push(("name".to_owned(), info.name.clone()));
    labels.extend(runtime_labels(info));
    labels
}

/// The runtime's labels as labels of series; of two that become the same the first.
fn runtime_labels(info: &ContainerInfo) -> BTreeMap<String, String> {
    let mut given: BTreeMap<String, String> = BTreeMap::new();
    for (label, value) in info.labels.iter().take(LABELS_MAX) {
        let name: String = label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(128).collect();
        given.entry(format!("container_label_{name}")).or_insert_with(|| value.clone());
    }
    given
}
