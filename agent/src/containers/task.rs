//! Asks the runtimes, round after round.

use super::answer::{Inspected, Listed, is_id};
use super::{CONTAINERS_MAX, Config};
use crate::http::get_unix;
use serde::de::DeserializeOwned;
use skerry_model::ContainerInfo;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Longest list and longest description of a container.
const LIST_BYTES_MAX: usize = 4 << 20;
const INSPECT_BYTES_MAX: usize = 1 << 20;
/// How long a runtime may take to answer. A daemon that hangs would otherwise hold the round for ever.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// A running container is described again every so many rounds: its restarts change without its state changing.
const REFRESH_ROUNDS: u64 = 6;

/// Keeps the list of containers.
pub struct ContainersTask {
    /// Settings.
    pub config: Config,
    /// Where the list goes, when it changed.
    pub found: watch::Sender<Arc<Vec<ContainerInfo>>>,
}

/// What is known of one runtime.
#[derive(Default)]
struct Runtime {
    containers: BTreeMap<String, Known>,
    /// What was said last about how it is reached, so that only changes are logged.
    problem: Option<String>,
    reached: bool,
}

struct Known {
    /// State and health when it was described.
    condition: String,
    /// Round in which it was described.
    round: u64,
    info: ContainerInfo,
}

impl ContainersTask {
    /// Asks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        if !self.config.enabled {
            return stop.cancelled().await;
        }
        let mut runtimes: Vec<(PathBuf, Runtime)> =
            self.config.sockets.iter().map(|socket| (socket.clone(), Runtime::default())).collect();
        for round in 0.. {
            for (socket, runtime) in &mut runtimes {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = runtime.ask(socket, round) => {}
                }
            }
            let known = runtimes.iter().flat_map(|(_, runtime)| runtime.containers.values());
            let list: Vec<ContainerInfo> = known.map(|known| known.info.clone()).take(CONTAINERS_MAX).collect();
            self.found.send_if_modified(|held| {
                let changed = **held != list;
                if changed {
                    *held = Arc::new(list);
                }
                changed
            });
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.config.interval.0) => {}
            }
        }
    }
}

impl Runtime {
    /// One round. What is known stays where the runtime does not answer: it may be restarting, and its containers run.
    async fn ask(&mut self, socket: &Path, round: u64) {
        if !self.reached && !socket.exists() {
            return;
        }
        let listed: Vec<Listed> = match read(socket, "/containers/json?all=1", LIST_BYTES_MAX).await {
            Ok(listed) => listed,
            Err(problem) => return self.failed(socket, problem),
        };
        if !self.reached || self.problem.is_some() {
            tracing::info!(socket = %socket.display(), containers = listed.len(), "container runtime answers");
        }
        (self.reached, self.problem) = (true, None);
        let listed: Vec<Listed> = listed.into_iter().filter(|entry| is_id(&entry.id)).take(CONTAINERS_MAX).collect();
        self.containers.retain(|id, _| listed.iter().any(|entry| entry.id == *id));
        for entry in listed {
            let condition = entry.condition();
            let Listed { id, state, .. } = entry;
            let is_fresh = self.containers.get(&id).is_some_and(|known| {
                known.condition == condition && (state != "running" || round < known.round + REFRESH_ROUNDS)
            });
            if is_fresh {
                continue;
            }
            let path = format!("/containers/{id}/json");
            match read::<Inspected>(socket, &path, INSPECT_BYTES_MAX).await.map(|answer| answer.into_info(&id)) {
                Ok(Some(info)) => drop(self.containers.insert(id, Known { condition, round, info })),
                Ok(None) => tracing::debug!(container = id, "the runtime described another container"),
                // Gone since the list was made, most likely; the next round tells.
                Err(problem) => tracing::debug!(container = id, problem, "container could not be described"),
            }
        }
    }

    fn failed(&mut self, socket: &Path, problem: String) {
        if !socket.exists() {
            tracing::info!(socket = %socket.display(), "container runtime is gone");
            *self = Self::default();
        } else if self.problem.as_ref() != Some(&problem) {
            tracing::warn!(socket = %socket.display(), problem, "container runtime does not answer; may this user read the socket?");
            self.problem = Some(problem);
        }
    }
}

async fn read<T: DeserializeOwned>(socket: &Path, path: &str, bytes_max: usize) -> Result<T, String> {
    let answer = timeout(ANSWER_MAX, get_unix(socket, path, bytes_max)).await;
    let answer = answer.map_err(|_| format!("no answer within {} s", ANSWER_MAX.as_secs()))?;
    let answer = answer.map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(format!("HTTP status {}", answer.status));
    }
    serde_json::from_slice(&answer.body).map_err(|error| format!("an answer of another form: {error}"))
}
