//! Replicas of services of compose projects, made so that compose counts them as its own: its labels, names and numbers.

use super::container::{Initial, Replicas, Style};
use super::{Acting, Actuator, Asked};
use crate::clock::Clock;
use crate::docker::Engine;
use skerry_scaling::target::{Observed, TargetRef};
use std::sync::Arc;

/// Kind `ComposeService`: the containers of a service of a compose project.
///
/// The one with the lowest number is the template and stays, stopped for no replicas; others are clones of it, whoever made
/// them. After `docker compose up` with a changed file the containers are compose's, and the policy goes on from there.
pub struct ComposeActuator(Replicas);

impl ComposeActuator {
    /// Looks for targets in these runtimes, in their order.
    #[must_use]
    pub fn new(engines: Arc<[Engine]>, clock: &Clock) -> Self {
        Self(Replicas::new(Style::Compose, engines, clock))
    }

    /// Gives new replicas what is recommended, and counts what running ones were given.
    #[must_use]
    pub fn with_sizes(mut self, initial: Initial, asked: Asked) -> Self {
        (self.0.initial, self.0.asked) = (Some(initial), Some(asked));
        self
    }
}

impl Actuator for ComposeActuator {
    fn observe<'a>(&'a self, target: &'a TargetRef) -> Acting<'a, Observed> {
        Box::pin(self.0.observe(target))
    }

    fn scale<'a>(&'a self, target: &'a TargetRef, replicas: u32) -> Acting<'a, ()> {
        Box::pin(self.0.scale(target, replicas))
    }
}
