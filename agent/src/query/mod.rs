//! Questions about what this node keeps: from the local HTTP, and from the centre over the link.
//!
//! [`Queries`] evaluates one at a time, whoever asks: the node's memory is for its work, and a second asker waits. Rules
//! and policies read through [`Behind`], one at a time too.
//! [`AskTask`] takes the centre's questions, in the order that [`asks`] decides, and answers in small parts.
//!
//! Invariants:
//! - A question changes nothing, on the disk or elsewhere.
//! - A query touches at most 250,000 values, and a result that goes to the centre has at most 4 MiB. One over logs ends
//!   after 30 s, or when whoever asked has gone.
//! - Nobody who has a turn waits for one whose turn comes after it: that of the queries comes first, then the rules, then
//!   that of [`Behind`], and the store's thread last. Only threads that may block wait for the last two.
//! - A question of the centre that has expired, or was taken back, is not evaluated; a flood of them is refused.

mod asks;
mod kept;
mod logs;
mod task;

pub use kept::{About, Behind};
pub use task::AskTask;

use crate::store::Store;
use crate::vitals::Vitals;
use kept::Kept;
use skerry_model::{Labels, UnixMillis};
use skerry_promapi::{Catalog, Endpoint, Found, Member, Params, Refusal, Response, answer, evaluate};
use skerry_promql::Limits;
use skerry_wire::{ASKS_LOGS_VERSION, Question, ScalingAsk};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// Samples and values that one query may touch: about 4 MB in all.
pub const VALUES_MAX: u64 = 250_000;

/// Answers questions about scaling: JSON objects as [`ScalingAsk`] says. Like every answer it changes nothing, and whoever
/// asked may go away in the middle, which drops the future.
pub type Scales = Arc<dyn Fn(ScalingAsk) -> ScalesAnswer + Send + Sync>;

/// What [`Scales`] gives.
pub type ScalesAnswer = Pin<Box<dyn Future<Output = Result<Vec<String>, Refusal>> + Send>>;

/// Counters for the agent's own metrics.
#[derive(Debug, Default)]
pub struct AskStats {
    /// Questions of the centre that were answered, or told why not.
    pub answered: AtomicU64,
    /// Questions that were refused unread: too many, or switched off.
    pub refused: AtomicU64,
}

/// Answers questions; cheap to clone.
#[derive(Clone)]
pub struct Queries {
    store: Store,
    vitals: Vitals,
    about: Arc<About>,
    /// Of queries.
    turn: Arc<Semaphore>,
    /// Of what stands behind the memory of rules and policies.
    behind: Arc<Mutex<()>>,
}

impl Queries {
    /// Over what `store` keeps.
    #[must_use]
    pub fn new(store: Store, vitals: Vitals, about: About) -> Self {
        Self { store, vitals, about: Arc::new(about), turn: Arc::new(Semaphore::new(1)), behind: Arc::default() }
    }

    /// The time.
    #[must_use]
    pub fn wall(&self) -> UnixMillis {
        self.vitals.clock.wall()
    }

    /// Answers a request of the local HTTP; `None` where that ended badly, which is logged.
    pub async fn answer(&self, endpoint: Endpoint, params: Params) -> Option<Response> {
        let now = self.vitals.clock.wall();
        self.in_turn(move |kept, limits| answer(&endpoint, &params, &kept, now, limits)).await
    }

    /// Answers a question of the centre, which knows this node by these labels beside its name.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn evaluate(&self, question: Question, signed: Labels) -> Result<Found, Refusal> {
        if question.version() >= ASKS_LOGS_VERSION {
            return self.evaluate_logs(question, &signed).await;
        }
        let (now, node) = (self.vitals.clock.wall(), self.vitals.node.clone());
        let work = move |source, limits| {
            let member: &dyn Catalog = &Member { source, node, signed };
            evaluate(&question, member, now, limits).map_err(Refusal::from)
        };
        self.in_turn(work).await.unwrap_or_else(|| {
            let text = "the query ended badly; the agent's log has the cause".into();
            Err(Refusal { status: 500, kind: "internal", text })
        })
    }

    /// What the node keeps, for rules and policies, with a turn of their own. Its calls block, on a thread that may; it is
    /// to be made within the runtime.
    #[must_use]
    pub fn behind(&self) -> Behind {
        Behind { kept: self.kept(), turn: self.behind.clone() }
    }

    fn kept(&self) -> Kept {
        Kept {
            store: self.store.clone(),
            runtime: Handle::current(),
            vitals: self.vitals.clone(),
            about: self.about.clone(),
        }
    }

    async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce(Kept, Limits) -> T + Send + 'static) -> Option<T> {
        // Never closed while anybody holds it.
        let turn = self.turn.clone().acquire_owned().await;
        let kept = self.kept();
        let limits = Limits { values_max: VALUES_MAX, ..Limits::default() };
        let work = move || {
            // Whoever asked may go away; the turn lasts until the work is done all the same.
            let _turn = turn;
            work(kept, limits)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => Some(done),
            Err(error) => {
                tracing::error!(%error, "a query ended badly");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
