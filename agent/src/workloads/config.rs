//! Settings of workloads, section `workloads` of a NodeConfig.

use serde::{Deserialize, Serialize};
use skerry_model::Span;
use skerry_scaling::workload::Workload;
use skerry_yaml::Fault;
use std::path::PathBuf;

/// Most workloads of a node.
pub const WORKLOADS_MAX: usize = 128;

/// Settings of workloads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Time between two looks at what runs.
    pub interval: Span,
    /// Socket of the runtime that runs them.
    pub socket: PathBuf,
    /// Folder of images.
    pub images: PathBuf,
    /// Longest pause before a container that ended is started again.
    pub backoff_max: Span,
    /// Workloads, from the documents behind a NodeConfig.
    #[serde(skip)]
    pub workloads: Vec<Workload>,
    /// Some documents could not be read: nothing is removed for not being declared.
    #[serde(skip)]
    pub is_incomplete: bool,
    /// Documents made this section; it says nothing about settings.
    #[serde(skip)]
    pub is_bare: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval: Span::secs(10),
            socket: "/var/run/docker.sock".into(),
            images: "/var/lib/skerry/images".into(),
            backoff_max: Span::secs(300),
            workloads: Vec::new(),
            is_incomplete: false,
            is_bare: false,
        }
    }
}

/// Key, default and meaning of every setting, for the reference in README.md.
pub const REFERENCE: &[(&str, &str, &str)] = &[
    ("interval", "10s", "time between two looks at what runs; ends of containers are noticed at once; 1s to 1h"),
    ("socket", "/var/run/docker.sock", "socket of Docker or Podman, which runs the workloads"),
    (
        "images",
        "/var/lib/skerry/images",
        "folder of images as `docker save` writes them (.tar, .tar.gz), taken where the runtime has no image that a workload needs; what an image's digest says is checked",
    ),
    (
        "backoff_max",
        "5m",
        "longest pause before a container that ended is started again (CrashLoopBackOff); the first one is 10s, or this where it is less; 1s to 5m",
    ),
];

impl Config {
    /// For documents behind a NodeConfig that has no such section: the settings stay those of the layers below.
    #[must_use]
    pub fn bare() -> Self {
        Self { is_bare: true, ..Self::default() }
    }

    /// Every fault but those of workloads, as key below `workloads` and what was expected.
    #[must_use]
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        for (key, span, most, text) in
            [("interval", self.interval, 3600, "1h"), ("backoff_max", self.backoff_max, 300, "5m")]
        {
            if !(Span::secs(1)..=Span::secs(most)).contains(&span) {
                faults.push((key.into(), format!("{span} is out of range: 1s to {text} is expected")));
            }
        }
        for (key, path) in [("socket", &self.socket), ("images", &self.images)] {
            if !path.is_absolute() {
                let problem = format!("{} is not absolute: a path that begins with / is expected", path.display());
                faults.push((key.into(), problem));
            }
        }
        if self.workloads.len() > WORKLOADS_MAX {
            faults.push((String::new(), format!("more than {WORKLOADS_MAX} workloads are declared")));
        }
        faults
    }

    /// Takes the `spec` of a document of this name; every fault in it.
    pub fn take_text(&mut self, name: &str, spec: &str) -> Vec<Fault> {
        match Workload::parse(name, spec) {
            Ok(workload) => {
                self.workloads.push(workload);
                Vec::new()
            }
            Err(faults) => faults,
        }
    }
}
