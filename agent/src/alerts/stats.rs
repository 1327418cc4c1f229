//! How alerting fares, for the agent's own metrics and its status.

use super::desk::Desk;
use skerry_alerting::Now;
use skerry_alerting::manager::Metric;
use skerry_model::Mono;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Least time between two looks at the counters.
const EVERY: Duration = Duration::from_secs(1);

/// Figures.
#[derive(Debug, Default)]
pub struct AlertStats(Mutex<Figures>);

/// What is known.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Alertmanager's metrics.
    pub metrics: Vec<Metric>,
    /// Alerts that fire, as far as they are routed here.
    pub firing: usize,
    /// Alerts of which the centre is told, or will be.
    pub followed: usize,
    /// Those of them that are held back until the fleet is reached.
    pub held: usize,
    noted: Option<Mono>,
}

impl AlertStats {
    /// Now, about.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.lock().clone()
    }

    pub(super) fn note(&self, desk: &Desk, now: Now) {
        let mut held = self.lock();
        if held.noted.is_some_and(|at| now.mono.since(at) < EVERY) {
            return;
        }
        let (metrics, followed, waiting) = desk.figures(now);
        *held = Figures { metrics, firing: desk.firing(now), followed, held: waiting, noted: Some(now.mono) };
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        // Plain values.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
