//! Kills for want of memory, as the runtimes tell of them.
//!
//! The kernel counts kills in the container's cgroup, and the runtime remembers how a container has ended; one that is
//! started again at once takes both with it before anybody looks. So the runtime is listened to as well. Podman tells of no
//! such kills; there counter and state have to do.

use super::handle::Recommender;
use crate::clock::Clock;
use crate::docker::Engine;
use skerry_model::UnixMillis;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What was learnt since may have been lost with a kill of the agent, so it is asked for again. Runtimes remember a few
/// hundred of all events.
const BACK_MS: i64 = 3_600_000;
/// Time between two attempts to listen.
const AGAIN: Duration = Duration::from_secs(10);

/// Listens to all runtimes of this node.
pub struct KillsTask {
    /// Who is told.
    pub recommender: Recommender,
    /// Runtimes of this node.
    pub engines: Arc<[Engine]>,
    /// Clocks.
    pub clock: Clock,
}

impl KillsTask {
    /// Listens until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut listening = JoinSet::new();
        let since = UnixMillis(self.clock.wall().0.saturating_sub(BACK_MS));
        for at in 0..self.engines.len() {
            let (engines, recommender, clock) = (self.engines.clone(), self.recommender.clone(), self.clock.clone());
            listening.spawn(async move { listen(&engines[at], &recommender, &clock, since).await });
        }
        stop.cancelled().await;
    }
}

/// Never ends. A runtime that is not there, stops or hangs is tried again.
async fn listen(engine: &Engine, recommender: &Recommender, clock: &Clock, mut since: UnixMillis) {
    loop {
        if engine.socket().exists() {
            let begun = clock.wall();
            let mut sink = |event: crate::docker::Event| {
                if event.action == "oom" {
                    recommender.lacked_memory(&event.id, event.at);
                }
                true
            };
            match engine.events(Some(since), &[], &["oom"], &mut sink).await {
                Ok(()) => since = begun,
                Err(error) => tracing::debug!(%error, "kills for want of memory are not told by this runtime now"),
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}
