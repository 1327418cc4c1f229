//! Workloads as others see them.

use crate::actuate::ActuatorError;
use skerry_scaling::target::Observed;
use skerry_scaling::workload::Status;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How long the task may take to take a number of replicas: it may be waiting for the disk.
const TAKE_MAX: Duration = Duration::from_secs(10);

/// Workloads as they stand; cheap to clone.
#[derive(Clone)]
pub struct Workloads {
    board: Arc<Mutex<BTreeMap<String, Status>>>,
    /// Looks at the runtime that failed, and that showed what is there.
    looks: Arc<[AtomicU64; 2]>,
    requests: mpsc::Sender<Request>,
}

/// Somebody wants something of a workload.
#[derive(Debug)]
pub struct Request {
    /// Which.
    pub workload: String,
    /// What.
    pub wish: Wish,
    /// Told when it is on the disk; `false` where there is no such workload, or container.
    pub told: oneshot::Sender<bool>,
}

/// What may be wanted of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// So many replicas.
    Replicas(u32),
    /// That the container with this id is made anew.
    Renew(String),
}

impl Workloads {
    /// The handle, and where its requests come out.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Request>) {
        // When it is full whoever scales waits.
        let (requests, out) = mpsc::channel(8);
        (Self { board: Arc::default(), looks: Arc::default(), requests }, out)
    }

    /// Puts up how they stand.
    pub fn put(&self, all: Vec<Status>) {
        let by_name = all.into_iter().map(|status| (status.name.clone(), status)).collect();
        *self.board.lock().unwrap_or_else(PoisonError::into_inner) = by_name;
    }

    /// Counts a look at the runtime once what follows from it is decided and under way.
    pub(super) fn looked(&self, is_seen: bool) {
        self.looks[usize::from(is_seen)].fetch_add(1, Ordering::Relaxed);
    }

    /// Looks at the runtime that failed, and that showed what is there.
    #[must_use]
    pub fn looks(&self) -> [u64; 2] {
        [0, 1].map(|at: usize| self.looks[at].load(Ordering::Relaxed))
    }

    /// All of them, by name.
    #[must_use]
    pub fn list(&self) -> Vec<Status> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// A workload with its replicas, as policies see it.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn observe(&self, name: &str) -> Result<Observed, ActuatorError> {
        let board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        board.get(name).map(|status| status.observed.clone()).ok_or_else(|| not_found(name))
    }

    /// Makes it so many replicas; it is on the disk when this returns.
    ///
    /// # Errors
    /// `NotFound`; `Timeout` where it is not taken within 10 s.
    pub async fn scale(&self, name: &str, replicas: u32) -> Result<(), ActuatorError> {
        match self.ask(name, Wish::Replicas(replicas)).await {
            Ok(false) => Err(not_found(name)),
            taken => taken.map(drop),
        }
    }

    /// Makes one of its containers anew, by its id: it is ended in order and another takes its place.
    ///
    /// # Errors
    /// `NotFound` where no workload has it any more; `Timeout` where the wish is not taken within 10 s.
    pub async fn renew(&self, name: &str, id: String) -> Result<(), ActuatorError> {
        match self.ask(name, Wish::Renew(id)).await {
            Ok(false) => {
                let message = format!("workload {name} has no such container any more");
                Err(ActuatorError { reason: "NotFound", message })
            }
            taken => taken.map(drop),
        }
    }

    async fn ask(&self, name: &str, wish: Wish) -> Result<bool, ActuatorError> {
        let (told, answer) = oneshot::channel();
        let request = Request { workload: name.to_owned(), wish, told };
        let taken = async {
            self.requests.send(request).await.ok()?;
            answer.await.ok()
        };
        match timeout(TAKE_MAX, taken).await {
            Ok(Some(is_there)) => Ok(is_there),
            Ok(None) => Err(ActuatorError { reason: "Unreachable", message: "the agent is about to end".into() }),
            Err(_) => {
                let message = format!("workload {name} did not take what is wanted within {} s", TAKE_MAX.as_secs());
                Err(ActuatorError { reason: "Timeout", message })
            }
        }
    }
}

fn not_found(name: &str) -> ActuatorError {
    let message = format!("no workload {name} is declared on this node; declare it, or mend scaleTargetRef.name");
    ActuatorError { reason: "NotFound", message }
}
