//! The runtimes' JSON. Only what is used is read; every field may be missing, because versions and runtimes differ.

use serde::Deserialize;
use skerry_model::{ContainerInfo, UnixMillis};
use std::collections::BTreeMap;

/// Longest name, image, label and path that is kept, in bytes.
const TEXT_BYTES_MAX: usize = 512;
/// Most labels that are kept.
const LABELS_MAX: usize = 64;

/// An entry of `GET /containers/json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
pub(super) struct Listed {
    pub(super) id: String,
    pub(super) state: String,
}

/// `GET /containers/ID/json`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Inspected {
    id: String,
    name: String,
    restart_count: u64,
    log_path: Option<String>,
    state: State,
    config: ContainerConfig,
    host_config: HostConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct State {
    status: String,
    pid: u32,
    started_at: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ContainerConfig {
    image: String,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    log_config: LogConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct LogConfig {
    r#type: String,
}

/// Whether a text names a container in full: 64 hex digits. Anything else is put into no path.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

impl Inspected {
    /// The container, if the answer is about `id`.
    pub(super) fn into_info(self, id: &str) -> Option<ContainerInfo> {
        if self.id != id {
            return None;
        }
        let Self { name, restart_count, log_path, state, config, host_config, .. } = self;
        let labels = config.labels.unwrap_or_default().into_iter();
        let is_json = host_config.log_config.r#type == "json-file";
        // A container that never ran has the year 1.
        let started = state.started_at.parse::<jiff::Timestamp>().ok().map(|at| UnixMillis(at.as_millisecond()));
        Some(ContainerInfo {
            id: id.to_owned(),
            name: cut(name.trim_start_matches('/')),
            image: cut(&config.image),
            labels: labels.take(LABELS_MAX).map(|(label, value)| (cut(&label), cut(&value))).collect(),
            state: cut(&state.status),
            started_at: started.filter(|at| at.0 > 0),
            restarts: restart_count,
            pid: Some(state.pid).filter(|pid| *pid > 0),
            // Podman says json-file of its k8s-file driver; the log inputs read that too.
            json_log_path: log_path.filter(|path| is_json && path.starts_with('/') && path.len() <= 4096),
        })
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()
}
