//! Settings of the container runtimes, section `containers` of a NodeConfig.

use serde::{Deserialize, Serialize};
use skerry_model::Span;
use std::path::PathBuf;

/// Most sockets that are looked at.
const SOCKETS_MAX: usize = 8;

/// Settings of the container runtimes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether runtimes are asked at all. Without them container metrics still come, by cgroup, without names.
    pub enabled: bool,
    /// Sockets of Docker or Podman. One that is not there is looked for again at each round.
    pub sockets: Vec<PathBuf>,
    /// Time between two rounds.
    pub interval: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            sockets: vec!["/var/run/docker.sock".into(), "/run/podman/podman.sock".into()],
            interval: Span::secs(10),
        }
    }
}

/// Key, default and meaning of every setting, for the reference in README.md.
pub const REFERENCE: &[(&str, &str, &str)] = &[
    ("enabled", "true", "ask container runtimes for names, images and labels; metrics by cgroup come without them too"),
    (
        "sockets",
        "[/var/run/docker.sock, /run/podman/podman.sock]",
        "sockets of Docker or Podman; absent ones are no fault",
    ),
    ("interval", "10s", "time between two looks; 1s to 1h"),
];

impl Config {
    /// Every fault, as key below `containers` and what was expected.
    #[must_use]
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        if !(Span::secs(1)..=Span::secs(3600)).contains(&self.interval) {
            faults.push(("interval".into(), format!("{} is out of range: 1s to 1h is expected", self.interval)));
        }
        if self.sockets.len() > SOCKETS_MAX {
            let count = self.sockets.len();
            faults
                .push(("sockets".into(), format!("{count} sockets are too many: at most {SOCKETS_MAX} are expected")));
        }
        for (at, socket) in self.sockets.iter().enumerate() {
            if !socket.is_absolute() {
                let problem = format!("{} is not absolute: a path that begins with / is expected", socket.display());
                faults.push((format!("sockets[{at}]"), problem));
            }
        }
        faults
    }
}
