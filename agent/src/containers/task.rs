//! Asks the runtimes, round after round.

use super::answer::{condition, info};
use super::{CONTAINERS_MAX, Config};
use crate::docker::{Engine, Status};
use skerry_model::ContainerInfo;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

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
        let mut runtimes: Vec<(Engine, Runtime)> =
            self.config.sockets.iter().map(|socket| (Engine::new(socket), Runtime::default())).collect();
        for round in 0.. {
            for (engine, runtime) in &mut runtimes {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = runtime.ask(engine, round) => {}
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
    async fn ask(&mut self, engine: &Engine, round: u64) {
        let socket = engine.socket().display();
        if !self.reached && !engine.socket().exists() {
            return;
        }
        let mut listed = match engine.list(&[]).await {
            Ok(listed) => listed,
            Err(error) => return self.failed(engine, error.to_string()),
        };
        if !self.reached || self.problem.is_some() {
            tracing::info!(%socket, containers = listed.len(), "container runtime answers");
        }
        (self.reached, self.problem) = (true, None);
        listed.truncate(CONTAINERS_MAX);
        self.containers.retain(|id, _| listed.iter().any(|entry| entry.id == *id));
        for entry in listed {
            let condition = condition(&entry);
            let is_fresh = self.containers.get(&entry.id).is_some_and(|known| {
                let may_wait = entry.status != Status::Running || round < known.round + REFRESH_ROUNDS;
                known.condition == condition && may_wait
            });
            if is_fresh {
                continue;
            }
            let id = entry.id;
            match engine.inspect(&id).await.map(|container| info(&container, &id)) {
                Ok(Some(info)) => drop(self.containers.insert(id, Known { condition, round, info })),
                Ok(None) => tracing::debug!(container = id, "the runtime described another container"),
                // Gone since the list was made, most likely; the next round tells.
                Err(error) => tracing::debug!(container = id, %error, "container could not be described"),
            }
        }
    }

    fn failed(&mut self, engine: &Engine, problem: String) {
        let socket = engine.socket().display();
        if !engine.socket().exists() {
            tracing::info!(%socket, "container runtime is gone");
            *self = Self::default();
        } else if self.problem.as_ref() != Some(&problem) {
            tracing::warn!(%socket, problem, "container runtime does not answer; may this user read the socket?");
            self.problem = Some(problem);
        }
    }
}
