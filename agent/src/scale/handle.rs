//! Policies and how they fare, for whoever shows them: metrics, the local HTTP, the centre's questions.

use super::metrics;
use super::view::View;
use serde_json::Value;
use skerry_model::Observation;
use skerry_promapi::Refusal;
use skerry_scaling::guard::NodeState;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// Questions that wait at most.
const QUESTIONS_MAX: usize = 4;

/// What is asked of the task that knows.
#[derive(Debug)]
pub struct Question {
    pub(super) about: About,
    /// The answer, or why there is none.
    pub(super) reply: oneshot::Sender<Result<Vec<Value>, Refusal>>,
}

/// What a question is about.
#[derive(Debug)]
pub(super) enum About {
    /// A policy that runs.
    Policy(String),
    /// Policies that need not run: the text of documents, and the name of its file.
    Text { file: String, text: String },
}

/// What is shown.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) views: Vec<Arc<View>>,
    pub(super) node: NodeState,
}

/// Policies and how they fare; cheap to clone.
#[derive(Debug, Clone)]
pub struct Scaling {
    shown: Arc<Mutex<Shown>>,
    questions: mpsc::Sender<Question>,
}

/// Nothing is scaled, and nobody answers.
impl Default for Scaling {
    fn default() -> Self {
        Self::new().0
    }
}

impl Scaling {
    /// The handle, and where the task takes its questions from.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Question>) {
        let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
        (Self { shown: Arc::default(), questions }, asked)
    }

    /// All policies as the last round left them; an object for each, as [`skerry_wire::ScalingAsk::List`] says.
    #[must_use]
    pub fn list(&self) -> Vec<Value> {
        let views = self.lock().views.clone();
        views.iter().map(|view| view.to_json()).collect()
    }

    /// What a policy would do now, without doing it: as [`skerry_wire::ScalingAsk::Explain`] says.
    ///
    /// # Errors
    /// [`Refusal`]: `not_found`, `unavailable`.
    pub async fn explain(&self, policy: &str) -> Result<Vec<Value>, Refusal> {
        self.ask(About::Policy(policy.to_owned())).await
    }

    /// As [`Self::explain`], for policies that need not run here: those of the documents in a text; `file` names it in
    /// faults.
    ///
    /// # Errors
    /// [`Refusal`]: `bad_data` with every fault, `unavailable`.
    pub async fn explain_spec(&self, file: &str, text: &str) -> Result<Vec<Value>, Refusal> {
        self.ask(About::Text { file: file.to_owned(), text: text.to_owned() }).await
    }

    async fn ask(&self, about: About) -> Result<Vec<Value>, Refusal> {
        let gone = || refusal("unavailable", "nothing is scaled on this node now; ask again in a moment");
        let (reply, answer) = oneshot::channel();
        self.questions.send(Question { about, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Metrics of the policies.
    #[must_use]
    pub fn observe(&self) -> Vec<Observation> {
        let shown = self.lock();
        metrics::observe(&shown.views, &shown.node)
    }

    /// Puts up how they fare.
    pub(super) fn show(&self, shown: Shown) {
        *self.lock() = shown;
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        // Plain values.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn refusal(kind: &'static str, text: impl Into<String>) -> Refusal {
    let status = match kind {
        "not_found" => 404,
        "bad_data" => 400,
        _ => 503,
    };
    Refusal { status, kind, text: text.into() }
}
