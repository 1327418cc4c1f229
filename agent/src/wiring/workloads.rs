//! Workloads, put together: what wiring knows of them.

use crate::config::Effective;
use crate::host;
use crate::store::Store;
use crate::supervise::Tasks;
use crate::vitals::Vitals;
use crate::workloads::{Request, Workloads, WorkloadsTask};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Workloads of a run, before anything runs.
pub(super) struct Keeping {
    /// For whoever shows or scales them.
    pub(super) workloads: Workloads,
    requests: mpsc::Receiver<Request>,
    stored: Vec<(String, Vec<u8>)>,
}

impl Keeping {
    /// Takes over what was stored.
    pub(super) fn install(stored: Vec<(String, Vec<u8>)>) -> Self {
        let (workloads, requests) = Workloads::new();
        Self { workloads, requests, stored }
    }

    /// Begins to keep.
    pub(super) fn start(
        self,
        effective: &Effective,
        store: &Store,
        vitals: &Vitals,
        (tasks, stop): (&mut Tasks, &CancellationToken),
    ) {
        let Self { workloads, requests, stored } = self;
        let recommender = vitals.recommender.clone();
        let task = WorkloadsTask {
            config: effective.workloads.clone(),
            stored,
            boot: host::boot_id(),
            node: vitals.node.clone(),
            initial: Arc::new(move |target, container| recommender.initial(target, container)),
            workloads,
            requests,
            store: store.clone(),
            board: vitals.board.clone(),
            clock: vitals.clock.clone(),
        };
        tasks.spawn_fallible("workloads", task.run(stop.clone()));
    }
}
