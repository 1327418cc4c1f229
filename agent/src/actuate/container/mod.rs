//! Replicas of containers of Docker and Podman: of a labelled container, and of a service of a compose project.
//!
//! ```text
//! family: containers under the label -> template, replicas     what is there
//! plan:   family, how many           -> start, make, remove    what is to be done
//! clone:  the template's description -> body of a new one      how a replica is made
//! pods:   descriptions               -> Observed               what metrics are read for
//! ```
//!
//! The template is the container that somebody made: the one that is labelled `skerry.io/service: NAME` without a
//! `skerry.io/replica`, or the lowest number of a compose service. It is the first replica and is never removed; for no
//! replicas it is stopped. Clones of it bear their number, and the id of the template that they were made from.
//!
//! Invariants:
//! - A container that is not under the target's labels is neither changed, started, stopped nor removed: what is acted on
//!   is an id out of a list by these labels.
//! - What is there is looked at before anything is done, so a call that is repeated after a crash or a half success makes up
//!   for the rest. A replica that could not be started is not left behind.
//! - Nobody who stops or removes replicas by other means is worked against: see [`others`].
//! - Whoever ends slowly is waited for [`STOP_WAIT`] at most. The runtime goes on; the next look removes it.

mod backoff;
mod clone;
mod family;
mod others;
mod plan;
mod pods;
#[cfg(test)]
mod tests;

use super::{Acting, Actuator, ActuatorError, Asked, put_asked};
use crate::clock::Clock;
use crate::docker::{Container, Engine, EngineError};
use backoff::Backoff;
use family::{Family, Member};
use others::Others;
use plan::{Step, Then};
use skerry_model::Mono;
use skerry_scaling::target::{Observed, TargetRef};
use skerry_scaling::vpa::Given;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

pub use clone::{CPU_REQUEST_LABEL, MEMORY_REQUEST_LABEL, SIZED_LABEL};
pub use family::{REPLICA_LABEL, SERVICE_LABEL, TEMPLATE_LABEL};

/// Longest that one call waits for containers to end.
const STOP_WAIT: Duration = Duration::from_secs(20);
/// How long the next is left alone after one was told to end, where that does not end before.
const STAGGER: Duration = Duration::from_millis(300);
/// How long a container that says nothing of it is given to end, as with Docker.
const GRACE: Duration = Duration::from_secs(10);
/// After so long no further replica is begun in one call: with a driver that copies layers each writes its whole image.
const MAKE_BUDGET: Duration = Duration::from_secs(60);
/// Reason of a replica that is left alone for a while, because it ended by itself.
const CRASH_LOOP: &str = "CrashLoopBackOff";
/// Most names that are tried for one replica, where others bear them.
const NAMES_MAX: u32 = 16;

/// What a new replica is to be given, where a recommendation says so: by target and name of the container, the service's.
pub type Initial = Arc<dyn Fn(&TargetRef, &str) -> Option<Given> + Send + Sync>;

/// What makes a container part of a target, and how clones are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Label `skerry.io/service`.
    Service,
    /// Compose's labels.
    Compose,
}

/// Kind `Container`: the container that is labelled `skerry.io/service: NAME`, and clones of it.
pub struct ContainerActuator(Replicas);

impl ContainerActuator {
    /// Looks for targets in these runtimes, in their order.
    #[must_use]
    pub fn new(engines: Arc<[Engine]>, clock: &Clock) -> Self {
        Self(Replicas::new(Style::Service, engines, clock))
    }

    /// Gives new replicas what is recommended, and counts what running ones were given.
    #[must_use]
    pub fn with_sizes(mut self, initial: Initial, asked: Asked) -> Self {
        (self.0.initial, self.0.asked) = (Some(initial), Some(asked));
        self
    }
}

impl Actuator for ContainerActuator {
    fn observe<'a>(&'a self, target: &'a TargetRef) -> Acting<'a, Observed> {
        Box::pin(self.0.observe(target))
    }

    fn scale<'a>(&'a self, target: &'a TargetRef, replicas: u32) -> Acting<'a, ()> {
        Box::pin(self.0.scale(target, replicas))
    }
}

/// Replicas of one style, in all runtimes.
pub(super) struct Replicas {
    style: Style,
    engines: Arc<[Engine]>,
    clock: Clock,
    pub(super) initial: Option<Initial>,
    pub(super) asked: Option<Asked>,
    memory: Mutex<Memory>,
}

/// What the runtime does not tell. Lost at a restart, which costs one more attempt or signal.
#[derive(Default)]
struct Memory {
    /// Containers that were told to end, and until when that may take.
    ending: BTreeMap<String, Mono>,
    /// Readiness as it was seen to change.
    readiness: pods::Readiness,
    /// Replicas that ended by themselves and were started again.
    backoff: Backoff,
    /// Replicas that others take away.
    others: Others,
}

impl Memory {
    /// A replica is told to end, which may take until then.
    fn told(&mut self, target: &TargetRef, id: &str, until: Mono) {
        self.ending.insert(id.to_owned(), until);
        self.others.told(target, id);
    }
}

/// A target in its runtime.
struct Found {
    engine: usize,
    family: Family,
}

impl Replicas {
    pub(super) fn new(style: Style, engines: Arc<[Engine]>, clock: &Clock) -> Self {
        Self { style, engines, clock: clock.clone(), initial: None, asked: None, memory: Mutex::default() }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for the target in the runtimes. One that does not answer is a failure only where no other has the target.
    async fn find(&self, target: &TargetRef) -> Result<Found, ActuatorError> {
        let labels = family::labels(self.style, target)?;
        let mut failed: Option<EngineError> = None;
        let mut is_any_there = false;
        for (at, engine) in self.engines.iter().enumerate() {
            if !engine.socket().exists() {
                continue;
            }
            is_any_there = true;
            match engine.list(&labels).await {
                Ok(listed) => {
                    let family = Family::new(self.style, target, listed)?;
                    if !family.members.is_empty() {
                        return Ok(Found { engine: at, family });
                    }
                }
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            return Err(of_engine(target, &error));
        }
        if !is_any_there {
            let sockets: Vec<String> =
                self.engines.iter().map(|engine| engine.socket().display().to_string()).collect();
            let message =
                format!("{target}: no runtime is there; looked for {} (containers.sockets)", sockets.join(", "));
            return Err(ActuatorError { reason: "Unreachable", message });
        }
        self.memory().others.forget(target);
        let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
        let message = format!("{target}: no container is labelled {}", labels.join(" and "));
        Err(ActuatorError { reason: "NotFound", message })
    }

    /// The target as it is. Clones that were told to end and did are removed.
    pub(super) async fn observe(&self, target: &TargetRef) -> Result<Observed, ActuatorError> {
        let Found { engine, mut family } = self.find(target).await?;
        let engine = &self.engines[engine];
        self.tidy(engine, &mut family).await;
        let ending = self.ending(&family);
        let mut described = Vec::new();
        for member in family.active() {
            match engine.inspect(&member.listed.id).await {
                Ok(container) => described.push(container),
                // Gone since the list was made.
                Err(EngineError::NotFound { .. }) => {}
                Err(error) => return Err(of_engine(target, &error)),
            }
        }
        let grace = described.iter().filter_map(Container::stop_seconds).max().map_or(GRACE, Duration::from_secs);
        let mut memory = self.memory();
        let mut observed = pods::observed(target, &described, &ending, &mut memory.readiness, self.clock.wall())?;
        let stay = observed.pods.iter().filter(|pod| !pod.is_deleting);
        let running = stay.flat_map(|pod| pod.containers.iter().filter_map(|one| one.id.clone())).collect();
        let away = memory.others.note(target, running, grace, self.clock.mono());
        observed.spec_replicas = observed.spec_replicas.saturating_add(away);
        if let Some(asked) = &self.asked {
            put_asked(&mut observed, asked);
        }
        Ok(observed)
    }

    /// Makes it so many.
    pub(super) async fn scale(&self, target: &TargetRef, replicas: u32) -> Result<(), ActuatorError> {
        let Found { engine: at, mut family } = self.find(target).await?;
        let engine = &self.engines[at];
        self.tidy(engine, &mut family).await;
        let ending = self.ending(&family);
        let template = match family.template() {
            Some(member) => Some(engine.inspect(&member.listed.id).await.map_err(|error| of_engine(target, &error))?),
            None => None,
        };
        let steps = plan::steps(target, &family, template.as_ref(), replicas, &ending)?;
        let grace = template.as_ref().and_then(Container::stop_seconds).map_or(GRACE, Duration::from_secs);
        let running =
            family.active().map(|member| member.listed.id.clone()).filter(|id| !ending.contains(id)).collect();
        let away = self.memory().others.note(target, running, grace, self.clock.mono());
        if away > 0 && steps.iter().any(Step::makes) {
            let message = format!(
                "{target}: somebody else has just stopped or removed {away} of the replicas; none is started before that \
                 is over for {} s",
                (grace + others::MARGIN).as_secs()
            );
            return Err(ActuatorError { reason: "Conflict", message });
        }
        let ends = steps.iter().filter(|step| matches!(step, Step::End(..))).count();
        let stagger = STAGGER.min(STOP_WAIT / u32::try_from(ends.max(1)).unwrap_or(u32::MAX));
        let mut endings = JoinSet::new();
        let begun = self.clock.mono();
        let (mut done, mut left, mut outcome) = (0, 0, Ok(()));
        let mut may_make = true;
        for step in steps {
            let makes = step.makes();
            may_make &= self.clock.mono().since(begun) < MAKE_BUDGET;
            if makes && !may_make {
                left += 1;
                continue;
            }
            let made = match step {
                Step::Start(member) => self.start(engine, target, member).await,
                Step::Make => match &template {
                    Some(template) => self.make(engine, target, template).await,
                    None => Ok(()),
                },
                Step::Discard(member) => engine.remove(&member.listed.id).await.map_err(|e| of_engine(target, &e)),
                // Begun in this order; they may end at the same time.
                Step::End(member, then) => {
                    let until = self.clock.mono() + grace + STOP_WAIT;
                    self.memory().told(target, &member.listed.id, until);
                    let (engines, id) = (self.engines.clone(), member.listed.id.clone());
                    endings.spawn(async move { end(&engines[at], &id, grace, then).await });
                    match timeout(stagger, endings.join_next()).await {
                        Ok(Some(ended)) => self.ended(target, ended),
                        _ => Ok(()),
                    }
                }
            };
            match made {
                Ok(()) => done += u32::from(makes),
                Err(error) => {
                    // What keeps one from being made keeps the others too; one that ends by itself does not.
                    may_make &= !makes || error.reason == CRASH_LOOP;
                    outcome = outcome.and(Err(error));
                }
            }
        }
        while let Some(ended) = endings.join_next().await {
            outcome = outcome.and(self.ended(target, ended));
        }
        match outcome {
            Err(error) if done == 0 => Err(error),
            Err(error) => {
                let message = format!("{}; {done} replicas were started, the others are tried again", error.message);
                Err(ActuatorError { reason: "Partial", message })
            }
            Ok(()) if left > 0 => {
                let s = MAKE_BUDGET.as_secs();
                let message =
                    format!("{target}: {done} replicas were started in {s} s, {left} follow at the next call");
                Err(ActuatorError { reason: "Partial", message })
            }
            Ok(()) => Ok(()),
        }
    }

    /// Forgets one that ended; one that takes longer is remembered.
    fn ended(&self, target: &TargetRef, ended: Result<Ending, JoinError>) -> Result<(), ActuatorError> {
        match ended {
            Ok(Ok(Some(id))) => {
                self.memory().ending.remove(&id);
                Ok(())
            }
            Ok(Ok(None)) => Ok(()),
            Ok(Err(error)) => Err(of_engine(target, &error)),
            Err(error) => Err(invalid(target, format!("an end of a container was not waited for: {error}"))),
        }
    }

    /// Containers of the family that were told to end and may still do so.
    fn ending(&self, family: &Family) -> Vec<String> {
        let now = self.clock.mono();
        let mut memory = self.memory();
        memory.ending.retain(|_, until| now < *until);
        family
            .members
            .iter()
            .map(|member| member.listed.id.clone())
            .filter(|id| memory.ending.contains_key(id))
            .collect()
    }

    /// Removes clones that were told to end and did, and those whose removal failed before; the latter are of no use any
    /// more. What fails is tried at the next look.
    async fn tidy(&self, engine: &Engine, family: &mut Family) {
        for member in std::mem::take(&mut family.members) {
            let id = &member.listed.id;
            let is_due = !member.is_template && !member.is_active() && self.memory().ending.contains_key(id);
            let is_removed = (is_due || member.is_left()) && engine.remove(id).await.is_ok();
            if is_removed {
                self.memory().ending.remove(id);
            } else if !member.is_left() {
                family.members.push(member);
            }
        }
    }

    /// Starts a replica that is there. One that ends by itself again and again is not started as often.
    async fn start(&self, engine: &Engine, target: &TargetRef, member: &Member) -> Result<(), ActuatorError> {
        let Member { listed, .. } = member;
        let container = engine.inspect(&listed.id).await.map_err(|error| of_engine(target, &error))?;
        let ran = container.finished().zip(container.started()).map(|(ended, began)| ended.since(began));
        let pause = self.memory().backoff.attempt(&listed.id, ran, self.clock.mono());
        if let Some(pause) = pause {
            let (name, code, s) = (&listed.name, container.exit_code(), pause.as_secs());
            let message = format!("{target}: {name} ended again with code {code}; it is started again in {s} s");
            return Err(ActuatorError { reason: CRASH_LOOP, message });
        }
        self.memory().ending.remove(&listed.id);
        engine.start(&listed.id).await.map_err(|error| of_engine(target, &error))
    }

    /// Makes one more clone under the lowest free number and starts it.
    async fn make(&self, engine: &Engine, target: &TargetRef, template: &Container) -> Result<(), ActuatorError> {
        let image = image(engine, target, template).await?;
        // What an earlier step of this call made is not in the family yet.
        let labels = family::labels(self.style, target)?;
        let listed = engine.list(&labels).await.map_err(|error| of_engine(target, &error))?;
        let now = Family::new(self.style, target, listed)?;
        let initial = self.initial.as_ref().and_then(|initial| initial(target, &target.name));
        let asked = self.asked.as_ref().and_then(|asked| asked(template.id()));
        let mut number = 1;
        for _ in 0..NAMES_MAX {
            number = now.free_number(number + 1);
            let mut recipe = clone::recipe(self.style, target, template, number)?;
            recipe.body["Image"] = image.as_str().into();
            if let Some(asked) = asked {
                clone::ask(&mut recipe.body, asked);
            }
            if let Some(given) = &initial {
                clone::provide(&mut recipe.body, given);
            }
            let id = match engine.create(&recipe.name, &recipe.body).await {
                Ok(id) => id,
                // Somebody else's container has that name.
                Err(EngineError::Conflict { .. }) => continue,
                Err(error) => return Err(of_engine(target, &error)),
            };
            let outcome = begin(engine, &id, &recipe).await;
            let Err(error) = outcome else { return Ok(()) };
            // It would be in the way of the next attempt. Where this fails too, the next call finds it by its labels.
            if let Err(error) = engine.remove(&id).await {
                tracing::debug!(container = id, %error, "a container that did not start could not be removed");
            }
            return Err(of_engine(target, &error));
        }
        let (first, last) =
            (clone::name(self.style, target, template, 2)?, clone::name(self.style, target, template, number)?);
        let message = format!("{target}: other containers have all names between {first} and {last}");
        Err(ActuatorError { reason: "Conflict", message })
    }
}

/// Puts a new container into its other networks and starts it.
async fn begin(engine: &Engine, id: &str, recipe: &clone::Recipe) -> Result<(), EngineError> {
    for (network, endpoint) in &recipe.networks {
        engine.connect(network, id, endpoint).await?;
    }
    engine.start(id).await
}

/// The id of a container that ended, or `None` where that takes longer.
type Ending = Result<Option<String>, EngineError>;

/// Ends a container.
async fn end(engine: &Engine, id: &str, grace: Duration, then: Then) -> Ending {
    match (timeout(STOP_WAIT, engine.stop(id, grace)).await, then) {
        (Err(_) | Ok(Err(EngineError::Timeout { .. })), _) => return Ok(None),
        (Ok(Ok(()) | Err(EngineError::NotFound { .. })), _) => {}
        // One that is frozen cannot be asked; it goes without.
        (Ok(Err(EngineError::Conflict { .. } | EngineError::Refused { .. })), Then::Remove) => {}
        (Ok(Err(error)), _) => return Err(error),
    }
    if then == Then::Remove {
        engine.remove(id).await?;
    }
    Ok(Some(id.to_owned()))
}

/// The name by which the template's image is found: as it was asked for, or its id where that name is another's now.
async fn image(engine: &Engine, target: &TargetRef, template: &Container) -> Result<String, ActuatorError> {
    let id = template.image_id();
    let id = if id.contains(':') { id.to_owned() } else { format!("sha256:{id}") };
    for name in [template.image(), &id] {
        match engine.image(name).await {
            Ok(image) if image.id == id => return Ok(name.to_owned()),
            Ok(_) | Err(EngineError::NotFound { .. }) => {}
            Err(error) => return Err(of_engine(target, &error)),
        }
    }
    let (name, template) = (template.image(), template.name());
    let message = format!(
        "{target}: the image {name} ({id}) that {template} was made from is not on this node any more; load or pull it, or make {template} anew"
    );
    Err(ActuatorError { reason: "ImageMissing", message })
}

fn of_engine(target: &TargetRef, error: &EngineError) -> ActuatorError {
    ActuatorError { reason: error.reason(), message: format!("{target}: {error}") }
}

fn invalid(target: &TargetRef, problem: impl std::fmt::Display) -> ActuatorError {
    ActuatorError { reason: "Invalid", message: format!("{target}: {problem}") }
}
