//! What the task does outside: looks at targets, scales them, reads samples. Everything ends in bounded time.

use super::engine::{Looked, Rehearsal};
use super::readings::{Item, Prepared, gather};
use super::turns::{AT_ONCE, Turns, late};
use crate::actuate::{Actuator, ActuatorError};
use crate::clock::Clock;
use crate::rules::Memory;
use serde_json::Value;
use skerry_alerting::window::WindowSource;
use skerry_model::Now;
use skerry_promql::Source;
use skerry_scaling::hpa::Readings;
use skerry_scaling::target::{TargetKind, TargetRef};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Who scales targets of a kind; kinds that are absent cannot be scaled here.
pub type Actuators = BTreeMap<TargetKind, Arc<dyn Actuator>>;

/// Longest look at a target, with what its replicas use.
const LOOK_MAX: Duration = Duration::from_secs(20);
/// Longest action.
const SCALE_MAX: Duration = Duration::from_secs(120);
/// How long an action keeps one of its kind from beginning where [`AT_ONCE`] are under way. Containers take this long to
/// end in order, so who takes longer goes on, without its turn: each policy has one action at most, with pauses that grow.
const ACT_PATIENCE: Duration = Duration::from_secs(5);

/// The ends of the task that others wait for.
pub(super) struct Hands {
    actuators: Actuators,
    looks: BTreeMap<TargetKind, Turns>,
    acts: BTreeMap<TargetKind, Semaphore>,
    memory: Arc<Memory>,
    behind: Arc<dyn Source + Send + Sync>,
    /// How far back samples of containers are looked for.
    reach: Duration,
    clock: Clock,
}

impl Hands {
    pub(super) fn new(
        actuators: Actuators,
        memory: Arc<Memory>,
        behind: Arc<dyn Source + Send + Sync>,
        reach: Duration,
        clock: Clock,
    ) -> Self {
        let looks = actuators.keys().map(|kind| (*kind, Turns::default())).collect();
        let acts = actuators.keys().map(|kind| (*kind, Semaphore::new(AT_ONCE))).collect();
        Self { actuators, looks, acts, memory, behind, reach, clock }
    }

    pub(super) fn now(&self) -> Now {
        Now { wall: self.clock.wall(), mono: self.clock.mono() }
    }

    /// Who scales a target, and the turns of whoever goes to it.
    fn actuator<'a, T>(
        &'a self,
        turns: &'a BTreeMap<TargetKind, T>,
        target: &TargetRef,
    ) -> Result<(&'a dyn Actuator, &'a T), ActuatorError> {
        let found = self.actuators.get(&target.kind).zip(turns.get(&target.kind));
        found.map(|(actuator, turns)| (actuator.as_ref(), turns)).ok_or_else(|| ActuatorError {
            reason: "Unsupported",
            message: format!(
                "{} cannot be scaled on this node: no runtime of that kind is set up here",
                target.kind.as_str()
            ),
        })
    }

    /// The target of a policy as it is.
    pub(super) async fn look(&self, prepared: &Prepared) -> Looked {
        let target = &prepared.policy.target;
        let (actuator, turns) = self.actuator(&self.looks, target)?;
        let look = async {
            let observed = actuator.observe(target).await?;
            let usage = if prepared.wants_usage() {
                actuator.usage(target).await.map_err(|error| format!("{}: {}", error.reason, error.message))
            } else {
                Ok(None)
            };
            Ok((observed, usage))
        };
        turns.take(target, LOOK_MAX, look).await
    }

    /// Makes a target so many replicas.
    pub(super) async fn scale(&self, target: &TargetRef, replicas: u32) -> Result<(), ActuatorError> {
        let (actuator, turns) = self.actuator(&self.acts, target)?;
        let mut scale = actuator.scale(target, replicas);
        // Never closed.
        let turn = turns.acquire().await;
        if let Ok(done) = timeout(ACT_PATIENCE, &mut scale).await {
            return done;
        }
        drop(turn);
        let rest = SCALE_MAX.saturating_sub(ACT_PATIENCE);
        timeout(rest, scale).await.unwrap_or_else(|_| Err(late(target, SCALE_MAX)))
    }

    /// Reads the metrics of these.
    pub(super) async fn read(self: &Arc<Self>, items: Vec<Item>) -> Vec<(Item, Readings)> {
        if items.is_empty() {
            return Vec::new();
        }
        let hands = self.clone();
        let work = move || {
            let now = hands.clock.wall();
            let window = hands.memory.window(now);
            let source = WindowSource { window: &window, behind: hands.behind.as_ref() };
            let readings = gather(&source, &items, hands.reach, now);
            drop(window);
            items.into_iter().zip(readings).collect()
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
            tracing::error!(%error, "reading the metrics of policies ended badly");
            Vec::new()
        })
    }

    /// What these policies would do now.
    pub(super) async fn rehearse(self: &Arc<Self>, rehearsals: Vec<Rehearsal>) -> Vec<Value> {
        let mut values = Vec::new();
        for rehearsal in rehearsals {
            let looked = match rehearsal.may_look() {
                Ok(()) => self.look(&rehearsal.prepared).await,
                Err(refused) => Err(refused),
            };
            let readings = match &looked {
                Ok((observed, usage)) => {
                    let item =
                        Item { prepared: rehearsal.prepared.clone(), observed: observed.clone(), usage: usage.clone() };
                    self.read(vec![item]).await.pop().map(|(_, readings)| readings).unwrap_or_default()
                }
                Err(_) => Readings::new(),
            };
            values.push(rehearsal.decide(&looked, &readings, self.now()).explained());
        }
        values
    }
}
