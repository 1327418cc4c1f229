//! Container metrics under cAdvisor's names, from cgroups of version 1 and 2.
//!
//! The cgroup tree says which containers there are, by the form of their folders' names; the runtimes' list adds name,
//! image and labels. So metrics come without a runtime's socket too, with the cgroup's path as only label.
//!
//! Invariants:
//! - At most [`cgroup::FOLDERS_MAX`] folders are looked at and [`CONTAINERS_MAX`] containers measured.
//! - A container that ends while it is read has fewer values and is no failure; a file of another form than the
//!   kernel documents is one.

mod cgroup;
mod files;
mod metas;
mod network;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

use super::sink::{counter, gauge};
use super::source::CollectError;
use super::{Collect, Round, Sink};
use cgroup::{Container, Version};
use skerry_model::{ContainerInfo, MetricMeta};
use std::collections::BTreeMap;

/// Most containers that are measured.
const CONTAINERS_MAX: usize = 512;
/// Most labels of the runtime that become labels of series.
const LABELS_MAX: usize = 32;

static LAST_SEEN: MetricMeta = gauge("container_last_seen", "Last time a container was seen by the exporter.");
static START_TIME: MetricMeta =
    gauge("container_start_time_seconds", "Start time of the container since unix epoch in seconds.");
static RESTARTS: MetricMeta =
    counter("container_restarts_total", "Times that the runtime has restarted the container.");

/// The collector.
pub(super) struct Containers;

/// A value of one container.
struct Row {
    meta: &'static MetricMeta,
    labels: Vec<(&'static str, String)>,
    value: f64,
}

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

    fn labelled(&mut self, meta: &'static MetricMeta, labels: Vec<(&'static str, String)>, value: f64) {
        self.0.push(Row { meta, labels, value });
    }
}

impl Collect for Containers {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let mut rows: Vec<(Vec<(String, String)>, Row)> = Vec::new();
        let (version, found) = cgroup::containers(&round.roots)?;
        for container in found.into_iter().take(CONTAINERS_MAX) {
            let info = round.containers.iter().find(|info| info.id == container.id);
            let labels = labels(&container, info);
            let values = measure(round, version, &container, info)?;
            rows.extend(values.0.into_iter().map(|row| (labels.clone(), row)));
        }
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
) -> Result<Rows, CollectError> {
    let mut rows = Rows::default();
    match version {
        Version::V1 => v1::read(&round.roots, &container.path, &mut rows)?,
        Version::V2 => v2::read(&round.roots, &container.path, &mut rows)?,
    }
    network::read(&round.roots, version, &container.path, &mut rows)?;
    rows.push(&LAST_SEEN, round.now.as_secs_f64().floor());
    if let Some(info) = info {
        rows.maybe(&START_TIME, info.started_at.map(|at| at.as_secs_f64()));
        #[expect(clippy::cast_precision_loss, reason = "a count of restarts is small")]
        rows.push(&RESTARTS, info.restarts as f64);
    }
    Ok(rows)
}

/// `id`, and what the runtime says: `name`, `image`, and each of its labels as `container_label_NAME`.
fn labels(container: &Container, info: Option<&ContainerInfo>) -> Vec<(String, String)> {
    let mut labels = vec![("id".to_owned(), container.path.clone())];
    let Some(info) = info else { return labels };
    labels.push(("image".to_owned(), info.image.clone()));
    labels.push(("name".to_owned(), info.name.clone()));
    let mut given: BTreeMap<String, String> = BTreeMap::new();
    for (label, value) in info.labels.iter().take(LABELS_MAX) {
        let name: String = label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(128).collect();
        given.entry(format!("container_label_{name}")).or_insert_with(|| value.clone());
    }
    labels.extend(given);
    labels
}
