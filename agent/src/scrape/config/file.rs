//! A `prometheus.yml` as it stands.

use super::{Global, Ignored, JobConfig, Jobs};
use serde::Deserialize;
use skerry_yaml::{Fault, Faults};
use std::path::Path;

/// What counts of such a file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prometheus {
    /// What jobs have where they say nothing else.
    pub global: Global,
    /// The jobs.
    pub scrape_configs: Vec<JobConfig>,
    rule_files: Ignored,
    alerting: Ignored,
    remote_write: Ignored,
    remote_read: Ignored,
    storage: Ignored,
    tracing: Ignored,
    otlp: Ignored,
    runtime: Ignored,
}

/// Reads the file.
///
/// # Errors
/// Every fault, with file, line and key.
pub fn read_file(path: &Path) -> Result<Prometheus, Faults> {
    let file = path.display().to_string();
    let fail = |faults| Faults { file: file.clone(), faults };
    let unread = |error: std::io::Error| {
        fail(vec![Fault { line: None, key: String::new(), problem: format!("cannot be read: {error}") }])
    };
    let text = std::fs::read_to_string(path).map_err(unread)?;
    let document = skerry_yaml::read::<Prometheus>(&text).map_err(|fault| fail(vec![fault]))?;
    let (mut value, places) = (document.value, document.places);
    for job in &mut value.scrape_configs {
        job.join_folder(path.parent().unwrap_or(Path::new("/")));
    }
    let faults = Jobs { global: &value.global, jobs: &value.scrape_configs }.faults();
    if faults.is_empty() {
        return Ok(value);
    }
    let faults = faults.into_iter().map(|(key, problem)| Fault { line: places.line(&key), key, problem });
    Err(fail(faults.collect()))
}
