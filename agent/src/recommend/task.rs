//! The async shell of the recommender: the store, and the runtimes of containers that are to be changed.

use super::core::Candidate;
use super::doing::{self, Doing};
use super::handle::{Changes, Recommender};
use super::resize::Sizes;
use super::{anew, resize};
use crate::clock::Clock;
use crate::docker::{Container, Engine, EngineError};
use crate::store::{Closed, StateError, Store};
use jiff::tz::TimeZone;
use skerry_model::{Mono, Now};
use skerry_scaling::target::{TargetKind, TargetRef};
use skerry_scaling::vpa::{Due, Gave, Given, Windows, due};
use skerry_wire::Event;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Time between two writes of what was learnt. Each costs flash, and a kill costs as much of what was learnt.
const SAVE_EVERY: Duration = Duration::from_secs(3600);
/// Time between two looks at containers that a policy may change.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// A container that could not be changed is left alone for so long.
const AGAIN: Duration = Duration::from_secs(3600);
/// A target of which a container was made anew is left alone for so long.
const SETTLE: Duration = Duration::from_secs(1800);
/// What was made with a recommended size is not made anew for another before so long, unless it lacks memory.
const YOUNG: Duration = Duration::from_secs(12 * 3600);
/// Label of what was cloned from a template.
const REPLICA_LABEL: &str = "skerry.io/replica";
/// Label of what was made with a recommended size by whoever keeps it.
const SIZED_LABEL: &str = "skerry.io/sized";
/// How long a container is given to end that says nothing of it.
const GRACE: Duration = Duration::from_secs(10);

/// Has whoever keeps a workload make one of its containers anew, by its id; why not, else.
pub type Renew =
    Arc<dyn Fn(&TargetRef, &str) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// The task's ends.
pub struct RecommendTask {
    /// What is known.
    pub recommender: Recommender,
    /// Runtimes of this node.
    pub engines: Arc<[Engine]>,
    /// When containers may be made anew.
    pub windows: Windows,
    /// In which local time.
    pub zone: TimeZone,
    /// Who makes containers of workloads anew.
    pub renew: Renew,
    /// Where what was learnt and what was done is kept.
    pub store: Store,
    /// Clocks.
    pub clock: Clock,
}

/// What a run remembers; a restart costs one more attempt.
#[derive(Default)]
struct Memory {
    /// By container, or by target where one was made anew: until when it is left alone.
    waits: BTreeMap<String, Mono>,
    /// Why the last attempt at a container failed, so that it is told once.
    failed: BTreeMap<String, String>,
    is_mended: bool,
    /// What became of the change that the run before was making is known.
    is_settled: bool,
    /// What containers had before that are being given something else.
    had: BTreeMap<String, Gave>,
    /// It was told that there is no room for all containers.
    is_full_told: bool,
}

/// What came of a look at a container.
enum Outcome {
    /// Nothing is to be done, or not now.
    Nothing,
    /// It runs with other sizes.
    Resized(String),
    /// It was made anew, or removed so that whoever keeps it makes it anew.
    Anew(String),
    /// It could not be changed: what was to be done, and why it was not.
    Failed(String, String),
}

impl RecommendTask {
    /// Keeps and applies recommendations until `stop`; then stores what came.
    ///
    /// # Errors
    /// [`Closed`]: nothing can be kept any more.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Closed> {
        let mut memory = Memory::default();
        let every = |period| {
            let mut every = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
            every.set_missed_tick_behavior(MissedTickBehavior::Delay);
            every
        };
        let (mut save, mut look) = (every(SAVE_EVERY), every(LOOK_EVERY));
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = save.tick() => self.save().await?,
                _ = look.tick() => tokio::select! {
                    // What is half done is mended by the next run.
                    () = stop.cancelled() => break,
                    looked = self.look(&mut memory) => looked?,
                },
            }
        }
        self.save().await
    }

    fn now(&self) -> Now {
        Now { wall: self.clock.wall(), mono: self.clock.mono() }
    }

    /// Writes what was learnt. Where the disk takes nothing it waits in the store, here and below.
    async fn save(&self) -> Result<(), Closed> {
        let changes = self.recommender.changes(self.now());
        if changes.is_empty() {
            return Ok(());
        }
        self.store.keep(changes, Vec::new()).await
    }

    /// Writes what was done, with what is known of the container since.
    async fn tell(&self, event: Event, mut changes: Changes) -> Result<(), Closed> {
        changes.push((doing::KEY.to_owned(), None));
        self.store.keep(changes, vec![event]).await
    }

    /// Looks at all containers that a policy may change.
    async fn look(&self, memory: &mut Memory) -> Result<(), Closed> {
        let left_out = self.recommender.left_out();
        if left_out > 0 && !std::mem::replace(&mut memory.is_full_told, true) {
            tracing::warn!(
                "there are more kinds of containers than sizes are recommended for: skerry_recommend_left_out_total counts on"
            );
        }
        let candidates = self.recommender.candidates();
        if !memory.is_settled {
            // What was cut off is in order before it is judged.
            memory.is_settled = self.settle_anew(&mut memory.is_mended).await?;
        }
        if candidates.is_empty() {
            return Ok(());
        }
        if !memory.is_mended {
            memory.is_mended = self.mend().await;
        }
        let now = self.clock.mono();
        memory.waits.retain(|_, until| *until > now);
        memory.failed.retain(|id, _| candidates.iter().any(|candidate| candidate.id == *id));
        memory.had.retain(|id, _| candidates.iter().any(|candidate| candidate.id == *id));
        for candidate in &candidates {
            let target = candidate.target.to_string();
            if memory.waits.contains_key(&candidate.id) {
                continue;
            }
            let may_make = !memory.waits.contains_key(&target) && self.windows.hold(self.clock.wall(), &self.zone);
            let siblings = candidates.iter().filter(|other| other.target == candidate.target).count();
            let doing = Doing {
                id: candidate.id.clone(),
                policy: candidate.policy.clone(),
                target: target.clone(),
                replicas: u32::try_from(siblings).unwrap_or(u32::MAX),
                message: String::new(),
            };
            let (reason, message) = match self.change(candidate, may_make, memory, &doing).await? {
                Outcome::Nothing => continue,
                Outcome::Resized(message) => ("Resized", message),
                Outcome::Anew(message) => {
                    memory.waits.insert(target.clone(), self.clock.mono() + SETTLE);
                    ("Recreated", message)
                }
                Outcome::Failed(what, problem) => {
                    memory.waits.insert(candidate.id.clone(), self.clock.mono() + AGAIN);
                    // What is recommended goes on changing meanwhile.
                    let before = memory.failed.insert(candidate.id.clone(), problem.clone());
                    if before.as_ref() == Some(&problem) {
                        continue;
                    }
                    ("FailedResize", format!("{what}; {problem}"))
                }
            };
            if reason != "FailedResize" {
                memory.failed.remove(&candidate.id);
            }
            tracing::info!(
                policy = candidate.policy,
                target,
                container = candidate.container,
                reason,
                message,
                "vertical scaling"
            );
            let event = doing.event(reason, &message, self.clock.wall());
            self.tell(event, self.recommender.change_of(&candidate.id)).await?;
        }
        Ok(())
    }

    /// Tells of the change that the run before was making, where it was made. Gives whether that is known now.
    async fn settle_anew(&self, is_mended: &mut bool) -> Result<bool, Closed> {
        let stored = match self.store.state(doing::KEY).await {
            Ok(stored) => stored,
            Err(StateError::Closed(closed)) => return Err(closed),
            Err(StateError::Read(error)) => {
                tracing::warn!(%error, "whether a container was being changed cannot be read");
                return Ok(false);
            }
        };
        let Some(doing) = stored.as_deref().and_then(Doing::from_bytes) else { return Ok(true) };
        let is_there = self.engines.iter().any(|engine| engine.socket().exists());
        *is_mended = is_there && self.mend().await;
        if !*is_mended {
            return Ok(false);
        }
        for engine in self.engines.iter().filter(|engine| engine.socket().exists()) {
            match engine.inspect(&doing.id).await {
                // It is as it was: it will be decided about anew.
                Ok(_) => {
                    self.store.keep(vec![(doing::KEY.to_owned(), None)], Vec::new()).await?;
                    return Ok(true);
                }
                Err(EngineError::NotFound { .. }) => {}
                Err(_) => return Ok(false),
            }
        }
        self.tell(doing.event("Recreated", &doing.message, self.clock.wall()), Changes::new()).await?;
        Ok(true)
    }

    /// Writes down what is about to be done.
    async fn begin(&self, doing: &Doing) -> Result<(), Closed> {
        self.store.keep(vec![(doing::KEY.to_owned(), Some(doing.to_bytes()))], Vec::new()).await
    }

    /// Whether what an earlier run left half done is done, in all runtimes that are there.
    async fn mend(&self) -> bool {
        let mut is_mended = true;
        for engine in self.engines.iter().filter(|engine| engine.socket().exists()) {
            if let Err(error) = anew::mend(engine).await {
                tracing::warn!(%error, "containers that were being made anew are not in order yet; it is tried again");
                is_mended = false;
            }
        }
        is_mended
    }

    /// The container's runtime and description; `None` where no runtime has it, or none answers now.
    async fn find(&self, id: &str) -> Option<(&Engine, Container)> {
        for engine in self.engines.iter().filter(|engine| engine.socket().exists()) {
            match engine.inspect(id).await {
                Ok(container) => return Some((engine, container)),
                Err(EngineError::NotFound { .. }) => {}
                Err(error) => tracing::debug!(container = id, %error, "a container could not be described"),
            }
        }
        None
    }

    async fn change(
        &self,
        of: &Candidate,
        may_make: bool,
        memory: &mut Memory,
        doing: &Doing,
    ) -> Result<Outcome, Closed> {
        let Some((engine, container)) = self.find(&of.id).await else { return Ok(Outcome::Nothing) };
        let before = Sizes::read(container.raw(), of.given.map(|given| given.asks));
        if let Some(given) = of.given.filter(|given| !given.is_told) {
            let had = memory.had.remove(&of.id);
            return Ok(self.settle(of, &container, (&before, had), given));
        }
        // A start alone makes nothing younger: who is killed every three hours would never be helped.
        let since = container.created().or(of.started).max(of.given.map(|given| given.at));
        let age = since.map_or(Duration::ZERO, |since| self.clock.wall().since(since));
        let recommended = of.recommended.held(of.of_container.values, before.cpu.limit, before.memory.limit);
        let Some(why) = due(before.asks(), &recommended, &of.of_container, age, of.early_oom) else {
            return Ok(Outcome::Nothing);
        };
        let mut after = before.with(&Given::of(&recommended, &of.of_container, of.most));
        let mut said = resize::told(container.name(), &why.to_string(), &before, &after);
        let mut problem = String::new();
        if of.mode.is_in_place() {
            let is_short = before.spare(&mut after, of.working);
            let short = "it uses more memory than the new limit leaves room for";
            if after == before {
                return Ok(Outcome::Failed(said, format!("{short}; nothing is changed now")));
            }
            if is_short {
                said = resize::told(container.name(), &why.to_string(), &before, &after);
                said = format!("{said}; its memory stays: {short}");
            }
            let given = after.given(self.clock.wall());
            self.recommender.gave(&of.id, Some(given));
            self.store.keep(self.recommender.change_of(&of.id), Vec::new()).await?;
            match engine.update(&of.id, &before.change(&after)).await {
                Ok(()) => {
                    self.recommender.gave(&of.id, Some(Gave { is_told: true, ..given }));
                    return Ok(Outcome::Resized(said));
                }
                Err(EngineError::Refused { message, .. } | EngineError::Conflict { message }) => {
                    self.recommender.gave(&of.id, of.given);
                    problem = format!("the runtime does not change it while it runs: {message}");
                }
                // It may have been done nonetheless: the next look tells.
                Err(error) => {
                    memory.had.extend(of.given.map(|had| (of.id.clone(), had)));
                    return Ok(Outcome::Failed(said, error.to_string()));
                }
            }
        }
        if !may_make {
            // Whoever may only be made anew waits for its time in silence.
            let wait = format!("{problem}; it is made anew in the next window of maintenance (scaling.maintenance)");
            return Ok(if problem.is_empty() { Outcome::Nothing } else { Outcome::Failed(said, wait) });
        }
        // Others keep these, and make them anew with what is recommended.
        let is_clone = of.is_scaled && container.label(REPLICA_LABEL).is_some();
        let is_of_workload = of.target.kind == TargetKind::Workload;
        let was_made = container.label(anew::LABEL).or(container.label(SIZED_LABEL)).is_some();
        if was_made && age < YOUNG && why != Due::OutOfMemory {
            return Ok(Outcome::Nothing);
        }
        self.begin(&Doing { message: said.clone(), ..doing.clone() }).await?;
        let outcome = if is_of_workload {
            (self.renew)(&of.target, &of.id).await
        } else if is_clone {
            let grace = container.stop_seconds().map_or(GRACE, Duration::from_secs);
            let ended = async {
                engine.stop(&of.id, grace).await?;
                engine.remove(&of.id).await
            };
            ended.await.map_err(|error| error.to_string())
        } else {
            anew::make(engine, &container, &before, &after).await.map(drop)
        };
        Ok(match outcome {
            Ok(()) => Outcome::Anew(said),
            Err(error) => Outcome::Failed(said, format!("it could not be made anew: {error}")),
        })
    }

    /// What a crash left open, or a runtime that did not answer: whether a container has what it was to be given.
    fn settle(
        &self,
        of: &Candidate,
        container: &Container,
        (now, had): (&Sizes, Option<Gave>),
        given: Gave,
    ) -> Outcome {
        let is_taken = now.has(container.raw(), &given, &of.of_container.resources);
        self.recommender.gave(&of.id, if is_taken { Some(Gave { is_told: true, ..given }) } else { had });
        if !is_taken {
            // What it lacks the next look gives.
            return Outcome::Nothing;
        }
        let Gave { asks, limits, .. } = given;
        let limit = |amount: u64| if amount > 0 { amount.to_string() } else { "none".into() };
        Outcome::Resized(format!(
            "{} has cpu request {}m limit {}, memory request {} limit {}; that was not told when it was given",
            container.name(),
            asks.cpu_milli,
            limit(limits.cpu_milli),
            asks.memory,
            limit(limits.memory)
        ))
    }
}
