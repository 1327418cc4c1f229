//! The async shell of the log inputs: one task, one blocking thread at a time.

use skerry_model::ContainerInfo;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::config::{Checked, Config};
use super::stats::LogStats;
use super::tailer::Tailer;
use crate::clock::Clock;
use crate::data::{LogGate, LogInput};

/// Why the log inputs ended by themselves.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// The thread that reads files ended without an answer.
    #[error("the reader of log files ended unexpectedly; restart the agent and report this with the log around it")]
    Reader(#[from] tokio::task::JoinError),
    /// Nobody takes the records.
    #[error("the store takes no more log records: it has ended")]
    StoreEnded,
}

/// The log inputs, ready to run.
#[derive(Debug)]
pub struct LogInputs {
    tailer: Tailer,
    stats: Arc<LogStats>,
    poll: Duration,
}

impl LogInputs {
    /// The inputs of a config, going on at the positions in `saved` (as the store holds them; those of other
    /// inputs are left alone).
    ///
    /// # Errors
    /// Every fault of the config, as key below `logs` and what was expected.
    pub fn new(config: &Config, saved: Vec<(String, Vec<u8>)>) -> Result<Self, Vec<(String, String)>> {
        let config = Arc::new(Checked::parse(config)?);
        let stats = Arc::new(LogStats::default());
        let poll = Duration::from_millis(config.poll_ms);
        Ok(Self { tailer: Tailer::new(config, saved, stats.clone())?, stats, poll })
    }

    /// Makes the sources wait that the gate says.
    #[must_use]
    pub fn behind(mut self, gate: LogGate) -> Self {
        self.tailer.set_gate(gate);
        self
    }

    /// The counters, which may be read while the inputs run.
    #[must_use]
    pub fn stats(&self) -> Arc<LogStats> {
        self.stats.clone()
    }

    /// Reads until `stop`. When `out` is full it waits, and the files wait with it: nothing is dropped. What was
    /// read and not taken by `out` is read again at the next start.
    ///
    /// # Errors
    /// [`TailError`] if the reader or the receiver ended first.
    pub async fn run(
        self,
        mut containers: watch::Receiver<Arc<Vec<ContainerInfo>>>,
        out: mpsc::Sender<LogInput>,
        clock: Clock,
        stop: CancellationToken,
    ) -> Result<(), TailError> {
        let mut tailer = self.tailer;
        containers.mark_changed();
        while !stop.is_cancelled() {
            // A closed list stays as it was last.
            if containers.has_changed().unwrap_or(false) {
                tailer.set_containers(containers.borrow_and_update().to_vec());
            }
            let clock = clock.clone();
            let round = tokio::task::spawn_blocking(move || {
                let outcome = tailer.poll_once(clock.mono(), clock.wall());
                (tailer, outcome)
            });
            let outcome;
            (tailer, outcome) = round.await?;
            let input = outcome.input;
            if !(input.records.is_empty() && input.positions.is_empty() && input.losses.is_empty()) {
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    sent = out.send(input) => sent.map_err(|_| TailError::StoreEnded)?,
                }
            }
            if !outcome.more {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(self.poll) => {}
                }
            }
        }
        let last = tailer.end(clock.mono(), clock.wall());
        // The store takes in what is queued before it ends; were it gone already, there would be nobody to tell.
        if !(last.records.is_empty() && last.losses.is_empty()) {
            let _ = out.send(last).await;
        }
        Ok(())
    }
}
