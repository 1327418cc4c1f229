//! The async shell of scaling: rounds, questions, and what has to be on the disk.

use super::config::Config;
use super::engine::{Batch, Engine, Looked};
use super::files;
use super::handle::{About, Question, Scaling, Shown, refusal};
use super::hands::{Actuators, Hands};
use super::node::Node;
use super::seat::Act;
use super::series;
use crate::board::Board;
use crate::clock::Clock;
use crate::rules::Memory;
use crate::store::{Closed, Store};
use crate::zone::read_zone;
use skerry_model::Observation;
use skerry_promql::Source;
use skerry_scaling::guard::Guard;
use skerry_scaling::trigger::Zones;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long a round waits for the slower ones of its targets; who is later is decided later.
const TOGETHER: Duration = Duration::from_secs(1);
/// How long the first round waits for the first measurement at least: a loaded machine takes some rounds' time for it.
const FIRST_MEASURED: Duration = Duration::from_secs(10);
/// How often it is looked whether anything was measured in this run.
const UNMEASURED: Duration = Duration::from_millis(200);
/// Questions that are answered at once; each looks at one target at a time. Others wait.
const ANSWERING_MAX: usize = 4;
/// How long actions that are under way may take when the agent stops; the next run takes up the others.
const DRAIN: Duration = Duration::from_secs(5);

/// Why scaling ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ScaleError {
    /// Nothing can be kept any more.
    #[error("the store keeps no more state")]
    Store(#[from] Closed),
}

/// The task's ends.
pub struct ScaleTask {
    /// Settings, with the policies.
    pub config: Config,
    /// What was stored under [`super::PREFIX`].
    pub stored: Vec<(String, Vec<u8>)>,
    /// Who scales.
    pub actuators: Actuators,
    /// Time between two collections of what containers use.
    pub collected_every: Duration,
    /// Samples in memory.
    pub memory: Arc<Memory>,
    /// What is asked where memory does not reach. Its calls block.
    pub behind: Arc<dyn Source + Send + Sync>,
    /// The newest round of collection, which says how the node is.
    pub latest: watch::Receiver<Arc<Vec<Observation>>>,
    /// Where state and events go.
    pub store: Store,
    /// Where it is shown how policies fare.
    pub scaling: Scaling,
    /// What is asked of it.
    pub questions: mpsc::Receiver<Question>,
    /// Where it is put up that something cannot be scaled.
    pub board: Board,
    /// Clocks.
    pub clock: Clock,
}

/// Something outside that has ended.
enum Done {
    Looked(usize, Looked),
    Scaled(usize, Result<(), crate::actuate::ActuatorError>),
    Answered,
}

/// A run of the task.
struct Running {
    engine: Engine,
    hands: Arc<Hands>,
    jobs: JoinSet<Done>,
    /// Looks and actions that are under way.
    looking: usize,
    acting: usize,
    /// Questions that are being answered.
    answering: usize,
    /// Targets that were looked at and not decided yet.
    seen: Vec<(usize, Looked)>,
    node: Node,
    latest: watch::Receiver<Arc<Vec<Observation>>>,
    store: Store,
    scaling: Scaling,
    board: Board,
    /// Sources of problems that are put up.
    problems: BTreeSet<String>,
}

impl ScaleTask {
    /// Scales until `stop`.
    ///
    /// # Errors
    /// [`ScaleError`].
    pub async fn run(self, stop: CancellationToken) -> Result<(), ScaleError> {
        let Self { config, stored, actuators, collected_every, memory, behind, latest, store, .. } = self;
        let reach = series::reach(collected_every);
        let hands = Arc::new(Hands::new(actuators, memory, behind, reach, self.clock));
        let (every, controller) = (config.sync_period.0, config.controller());
        let zones = Zones::new(Box::new(read_zone));
        let engine = Engine::new(config.policies, controller, Guard::new(config.guard), stored, zones, hands.now());
        let mut questions = self.questions;
        let mut running = Running {
            engine,
            hands,
            jobs: JoinSet::new(),
            looking: 0,
            acting: 0,
            answering: 0,
            seen: Vec::new(),
            node: Node::default(),
            latest,
            store,
            scaling: self.scaling,
            board: self.board,
            problems: BTreeSet::new(),
        };
        // What is no more is forgotten at once.
        running.save(false).await?;
        running.rounds((every, collected_every), &mut questions, &stop).await?;
        questions.close();
        running.end().await
    }
}

impl Running {
    async fn rounds(
        &mut self,
        (every, collected_every): (Duration, Duration),
        questions: &mut mpsc::Receiver<Question>,
        stop: &CancellationToken,
    ) -> Result<(), ScaleError> {
        let mut next = self.hands.now().mono;
        let mut together = next;
        // What is stored is of before the stop, or of before the disk was full: a decision by it would be undone by the
        // next. So the first round waits for measurements of this run, unless there are none.
        let latest_start = next + (2 * collected_every).max(FIRST_MEASURED);
        loop {
            let now = self.hands.now().mono;
            if now >= next && now < latest_start && self.board.read().last_round.is_none() {
                next = now + UNMEASURED;
            }
            if now >= next {
                (next, together) = (now + every, now + TOGETHER.min(every / 2));
                self.begin();
                self.show();
            }
            if !self.seen.is_empty() && (self.looking == 0 || now >= together) {
                self.decide().await?;
            }
            let wake = if self.seen.is_empty() { next } else { next.min(together) };
            let wait = wake.since(self.hands.now().mono);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(done) = self.jobs.join_next() => match done {
                    Ok(done) => self.take(done).await?,
                    Err(error) => tracing::error!(%error, "a part of scaling ended badly"),
                },
                Some(question) = questions.recv(), if self.answering < ANSWERING_MAX => self.ask(question),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Begins a round.
    fn begin(&mut self) {
        let at = self.board.read().last_round.map_or(self.hands.now().wall, |(at, _)| at);
        let latest = self.latest.borrow().clone();
        self.engine.set_node(self.node.look(&latest, at));
        for (at, prepared) in self.engine.due(self.hands.now()) {
            let hands = self.hands.clone();
            self.looking += 1;
            self.jobs.spawn(async move { Done::Looked(at, hands.look(&prepared).await) });
        }
    }

    fn act(&mut self, acts: Vec<Act>) {
        for Act { seat, replicas } in acts {
            let (hands, target) = (self.hands.clone(), self.engine.target(seat));
            self.acting += 1;
            self.jobs.spawn(async move { Done::Scaled(seat, hands.scale(&target, replicas).await) });
        }
    }

    async fn take(&mut self, done: Done) -> Result<(), ScaleError> {
        match done {
            Done::Answered => self.answering -= 1,
            Done::Looked(at, looked) => {
                self.looking -= 1;
                self.seen.push((at, looked));
            }
            Done::Scaled(at, outcome) => {
                self.acting -= 1;
                self.engine.done(at, outcome, self.hands.now());
                self.save(false).await?;
                self.show();
            }
        }
        Ok(())
    }

    /// Decides about all that was looked at, and begins what is to be done once it is written.
    async fn decide(&mut self) -> Result<(), ScaleError> {
        let seen = std::mem::take(&mut self.seen);
        let (wanted, mut acts) = self.engine.looked(seen, self.hands.now());
        let (places, items): (Vec<usize>, Vec<_>) = wanted.into_iter().unzip();
        let read = self.hands.read(items).await;
        let read: Vec<_> = places.into_iter().zip(read).map(|(at, (item, readings))| (at, item, readings)).collect();
        acts.extend(self.engine.decide(read, self.hands.now()));
        self.save(false).await?;
        self.act(acts);
        self.show();
        Ok(())
    }

    fn ask(&mut self, Question { about, mut reply }: Question) {
        let rehearsals = match about {
            About::Policy(name) => match self.engine.rehearsal(&name) {
                Some(rehearsal) => Ok(vec![rehearsal]),
                None => {
                    Err(refusal("not_found", format!("{name:?} is no policy of this node; {}", self.engine.names())))
                }
            },
            About::Text { file, text } => match files::tried(&file, &text) {
                Ok(policies) => Ok(policies.into_iter().map(|one| self.engine.rehearsal_of_new(one)).collect()),
                Err(faults) => Err(refusal("bad_data", faults.to_string())),
            },
        };
        let hands = self.hands.clone();
        self.answering += 1;
        self.jobs.spawn(async move {
            let answer = match rehearsals {
                Ok(rehearsals) => tokio::select! {
                    values = hands.rehearse(rehearsals) => Ok(values),
                    // Whoever asked has gone: nobody looks at targets for them any more.
                    () = reply.closed() => return Done::Answered,
                },
                Err(refusal) => Err(refusal),
            };
            let _ = reply.send(answer);
            Done::Answered
        });
    }

    /// Hands on what has to be written: state and events in one transaction. Where the disk takes nothing they wait in
    /// the store, and scaling goes on.
    async fn save(&mut self, is_end: bool) -> Result<(), ScaleError> {
        let Batch { changes, events } = self.engine.take(is_end, self.hands.now());
        if !changes.is_empty() || !events.is_empty() {
            self.store.keep(changes, events).await?;
        }
        Ok(())
    }

    fn show(&mut self) {
        let now = self.hands.now();
        let (node, pressure) = self.engine.node();
        let mut found: Vec<(String, String)> = Vec::new();
        for (name, problem) in self.engine.problems(now) {
            found.extend(problem.map(|problem| (format!("scaling {name}"), problem)));
        }
        found.extend(pressure.map(|why| ("scaling".to_owned(), format!("nothing may grow: {why}"))));
        for (source, words) in &found {
            self.board.problem(source, words);
        }
        let sources: BTreeSet<String> = found.into_iter().map(|(source, _)| source).collect();
        for source in self.problems.difference(&sources) {
            self.board.solved(source);
        }
        self.problems = sources;
        self.scaling.show(Shown { views: self.engine.views(), node });
    }

    /// Waits a little for what is under way, and writes everything.
    async fn end(mut self) -> Result<(), ScaleError> {
        let deadline = self.hands.now().mono + DRAIN;
        while self.acting > 0 {
            let left = deadline.since(self.hands.now().mono);
            match tokio::time::timeout(left, self.jobs.join_next()).await {
                Ok(Some(Ok(Done::Scaled(at, outcome)))) => {
                    self.acting -= 1;
                    self.engine.done(at, outcome, self.hands.now());
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        self.save(true).await
    }
}
