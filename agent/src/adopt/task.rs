//! The shell around [`Adoption`]: stores what it decides, tells of it, and watches the trial.

use super::core::{Adoption, Outcome};
use crate::board::Board;
use crate::clock::Clock;
use crate::store::{CommitError, Store};
use crate::sync::task::Sealed;
use skerry_wire::{Event, EventKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

/// How long a config has to pass the agent's own checks. Longer than the first waits of a link that was just cut.
pub const TRIAL: Duration = Duration::from_secs(90);
/// How often the checks are made.
const CHECK_EVERY: Duration = Duration::from_millis(250);

/// Why the task ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was stopped.
    Stopped,
    /// Other configs are to run now.
    Restart,
}

/// The task's ends.
pub struct AdoptTask {
    /// What decides.
    pub adoption: Adoption,
    /// Where it is stored.
    pub store: Store,
    /// The identity's folder, where the copy of the trust state lies.
    pub folder: PathBuf,
    /// Where the outcome is put up.
    pub board: Board,
    /// What comes down from the fleet.
    pub sealed: mpsc::Receiver<Sealed>,
    /// What still keeps a config from passing its trial, given whether the fleet has to be reached; nothing when all
    /// is well.
    pub unwell: Box<dyn Fn(bool) -> Option<String> + Send>,
    /// Whether the fleet is reached.
    pub link_up: Box<dyn Fn() -> bool + Send>,
    /// Wakes the sync when there is something to report.
    pub changed: Arc<Notify>,
    /// Clocks.
    pub clock: Clock,
}

impl AdoptTask {
    /// Verifies and adopts until `stop`, or until other configs are to run.
    ///
    /// # Errors
    /// [`CommitError`] where an outcome could not be stored: then what is stored counts, after a restart.
    pub async fn run(mut self, stop: CancellationToken) -> Result<Ended, CommitError> {
        let outcome = self.adoption.begin();
        if self.carry_out(outcome).await? {
            return Ok(Ended::Restart);
        }
        let deadline = self.clock.mono() + TRIAL;
        loop {
            let on_trial = !self.adoption.trial().is_empty();
            let outcome = tokio::select! {
                () = stop.cancelled() => return Ok(Ended::Stopped),
                sealed = self.sealed.recv() => match sealed {
                    None => return Ok(Ended::Stopped),
                    Some(Sealed::Trust(trust)) => self.adoption.take_trust(&trust, self.clock.mono()),
                    Some(Sealed::Config(envelope)) => {
                        let up = (self.link_up)();
                        self.adoption.take_config(&envelope, up, self.clock.mono(), self.clock.wall())
                    }
                },
                () = tokio::time::sleep(CHECK_EVERY), if on_trial => self.check(deadline),
            };
            if self.carry_out(outcome).await? {
                return Ok(Ended::Restart);
            }
        }
    }

    fn check(&mut self, deadline: skerry_model::Mono) -> Outcome {
        match (self.unwell)(self.adoption.trial_needs_link()) {
            None => self.adoption.confirm(),
            Some(reason) if self.clock.mono() >= deadline => {
                self.adoption.roll_back(&format!("after {} s still: {reason}", TRIAL.as_secs()))
            }
            Some(_) => Outcome::default(),
        }
    }

    /// Stores and tells. Whether the agent has to start anew.
    async fn carry_out(&mut self, outcome: Outcome) -> Result<bool, CommitError> {
        let Outcome { changes, events, restart, memory } = outcome;
        for kind in &events {
            self.tell(kind);
        }
        if !(changes.is_empty() && events.is_empty()) {
            let at = self.clock.wall();
            let events = events.into_iter().map(|kind| Event { at, kind }).collect();
            self.store.put_state(changes, events).await?;
        }
        if memory && let Err(error) = self.adoption.memory().save(&self.folder) {
            // The store has it; only a node that then loses its database would have forgotten.
            tracing::error!(%error, "the copy of the trust state beside the keys could not be written");
            self.board.problem("trust", &error.to_string());
        }
        self.publish();
        Ok(restart)
    }

    fn tell(&self, kind: &EventKind) {
        match kind {
            EventKind::ConfigApplied(config) => {
                let (stream, epoch, version) = (&config.stream, config.epoch, config.version);
                tracing::info!(%stream, epoch, version, "config applied");
                self.board.write(|entries| entries.configs_applied += 1);
            }
            EventKind::ConfigRefused { config, code, reason } => {
                let stream = config.as_ref().map(|config| config.stream.to_string()).unwrap_or_default();
                tracing::warn!(stream, code, reason, "signed document refused");
                self.board.write(|entries| *entries.refusals.entry(code.clone()).or_default() += 1);
            }
            EventKind::ConfigRolledBack { config, reason } => {
                let (stream, version) = (&config.stream, config.version);
                tracing::error!(%stream, version, reason, "config failed its trial; what ran before runs again");
                self.board.write(|entries| entries.configs_rolled_back += 1);
            }
            EventKind::AssignmentApplied { epoch, version, revoked } => {
                tracing::info!(epoch, version, revoked, "assignment applied");
            }
            _ => {}
        }
    }

    fn publish(&self) {
        let (now, rtc) = (self.clock.mono(), self.clock.wall());
        let assignment = self.adoption.assignment();
        self.board.write(|entries| {
            entries.configs = self.adoption.states();
            entries.trial = self.adoption.trial();
            entries.assignment = assignment.map(|(epoch, version, _)| (epoch, version));
            entries.revoked = assignment.is_some_and(|(_, _, revoked)| revoked);
            entries.root_version = self.adoption.root_version();
            entries.time_trusted = self.adoption.time_trusted(now, rtc);
        });
        self.changed.notify_one();
    }
}
