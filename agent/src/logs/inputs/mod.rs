//! Log inputs beside files and containers: the journal, syslog, the kernel, Fluentd's forward protocol, standard input.
//!
//! ```text
//! socket, pipe, device -> wire format (skerry_logs::wire) -> source (labels, bounds, stages, batches) -> store
//! ```
//!
//! Each input is one task of its own (and one for each connection), so that none holds up another. All hand on batches
//! of records with positions and losses, as the files do, over the same channel.
//!
//! What of a source can be sent or read again is neither lost nor doubled by a crash: the journal and the kernel's
//! messages have positions, chunks of the forward protocol are acknowledged when they are on the disk, and recognised
//! when they come again. Where nobody can send again (syslog, forward without acknowledgement, standard input), a crash
//! costs what was in memory, at most `store.log_interval`, and the ledger tells the time.
//!
//! Invariants:
//! - A source that can wait waits while the store has no room; one that cannot loses its oldest, into the ledger.
//! - Nothing that a peer sends ends more than its own connection.
//! - Memory is bounded for each connection and for the number of connections.

mod config;
mod forward;
mod journal;
mod kmsg;
mod listen;
#[cfg(test)]
mod rig;
mod source;
mod stats;
mod stdin;
mod syslog;

pub use config::{ListenInput, LocalInput, REFERENCE};
pub use source::StoreEnded;
pub use stats::{Count, InputStats, SourceStats};

use crate::board::Board;
use crate::clock::Clock;
use crate::data::{LogGate, LogInput, PositionUpdate};
use crate::logs::LogStats;
use crate::logs::intake::{Batch, Intake};
use crate::supervise::Tasks;
use config::{Checked, Common};
use skerry_model::{LossReason, TimeRange, UnixMillis};
use source::{Parts, Source, mark_key};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Every fault of the inputs in section `logs`, as key below it and what was expected.
#[must_use]
pub fn faults(config: &crate::logs::Config) -> Vec<(String, String)> {
    Checked::parse(config).err().unwrap_or_default()
}

/// What the inputs talk to.
pub struct Ends {
    /// Where batches go.
    pub out: mpsc::Sender<LogInput>,
    /// Which sources have to wait for their budget.
    pub gate: LogGate,
    /// Where problems are put up.
    pub board: Board,
    /// Clocks.
    pub clock: Clock,
}

/// The inputs, ready to run.
pub struct Inputs {
    checked: Checked,
    all: skerry_logs::pipeline::Stages,
    line_bytes_max: usize,
    saved: HashMap<String, Vec<u8>>,
    /// The run before ended in order.
    clean: bool,
    logs: Arc<LogStats>,
    stats: InputStats,
}

impl Inputs {
    /// The inputs of a config, going on at the positions in `saved`. `clean`: the run before ended in order. What stages
    /// make of records is told by `logs`.
    ///
    /// # Errors
    /// Every fault of the config, as key below `logs` and what was expected.
    pub fn new(
        config: &crate::logs::Config,
        saved: &[(String, Vec<u8>)],
        clean: bool,
        logs: Arc<LogStats>,
    ) -> Result<Self, Vec<(String, String)>> {
        let checked = Checked::parse(config)?;
        let own = ["seen/", "journal/", "kmsg/", "forward/"];
        let saved = saved.iter().filter(|(key, _)| own.iter().any(|prefix| key.starts_with(prefix))).cloned().collect();
        let mut stats = Vec::new();
        let mut count = |common: &Common, kind| stats.push(Arc::new(SourceStats::new(&common.name, kind)));
        checked.journal.iter().for_each(|input| count(&input.common, "journal"));
        checked.syslog.iter().for_each(|input| count(&input.common, "syslog"));
        checked.kmsg.iter().for_each(|input| count(&input.common, "kmsg"));
        checked.forward.iter().for_each(|input| count(&input.common, "forward"));
        checked.stdin.iter().for_each(|input| count(input, "stdin"));
        let line_bytes_max = usize::try_from(config.line_bytes_max.0).unwrap_or(1 << 20);
        let all = config.pipeline.clone();
        Ok(Self { checked, all, line_bytes_max, saved, clean, logs, stats: stats.into() })
    }

    /// The counters, which may be read while the inputs run.
    #[must_use]
    pub fn stats(&self) -> InputStats {
        self.stats.clone()
    }

    /// Starts each input as a task of its own.
    ///
    /// # Errors
    /// Faults of the stages of an input together with those of all, as [`Self::new`].
    pub fn spawn(self, ends: Ends, tasks: &mut Tasks, stop: &CancellationToken) -> Result<(), Vec<(String, String)>> {
        let Ends { out, gate, board, clock } = ends;
        let parts = Parts { out, gate, stop: stop.clone(), board, clock, line_bytes_max: self.line_bytes_max };
        let Self { checked, all, saved, clean, logs, stats, .. } = self;
        let mut stats = stats.iter().cloned();
        // Since when records of an input that nobody can send again may be missing.
        let gap = |source: &Source| saved.get(&mark_key(&source.name)).filter(|_| !clean).cloned();
        let mut source = |common: &Common, tasks: &mut Tasks| -> Result<Source, Vec<(String, String)>> {
            let intake = Intake::new(&common.pipeline, &all, &logs)?;
            // As many counters were made as there are inputs, in their order.
            let stats = stats.next().unwrap_or_else(|| Arc::new(SourceStats::new(&common.name, "")));
            let source = Source::new(common, intake, stats, &parts);
            if Source::has_stages(common, &all) {
                tasks.spawn_fallible("stages", source.clone().tick(stop.clone()));
            }
            Ok(source)
        };
        if let Some(input) = checked.journal {
            let source = source(&input.common, tasks)?;
            let state = saved.get(&journal::key(&source.name)).cloned();
            tasks.spawn_fallible("journal", journal::run(input, source, state, stop.clone()));
        }
        for input in checked.syslog {
            let source = source(&input.common, tasks)?.marked();
            let (gap, stop) = (gap(&source), stop.clone());
            tasks.spawn_fallible("syslog", async move {
                tell_gap(&source, gap).await?;
                syslog::run(input, source, stop).await
            });
        }
        if let Some(input) = checked.kmsg {
            let source = source(&input.common, tasks)?;
            let state = saved.get(&kmsg::key(&source.name)).cloned();
            tasks.spawn_fallible("kmsg", kmsg::run(input, source, state, stop.clone()));
        }
        for input in checked.forward {
            let source = source(&input.common, tasks)?;
            let state = saved.get(&forward::key(&source.name)).cloned();
            let (gap, stop) = (gap(&source), stop.clone());
            tasks.spawn_fallible("forward-input", async move {
                tell_gap(&source, gap).await?;
                forward::run(input, source, state, stop).await
            });
        }
        if let Some(common) = checked.stdin {
            let source = source(&common, tasks)?.marked();
            let (gap, stop) = (gap(&source), stop.clone());
            tasks.spawn_fallible("stdin", async move {
                tell_gap(&source, gap).await?;
                stdin::run(source, stop).await
            });
        }
        Ok(())
    }
}

/// Tells the ledger that records may be missing since the last ones that were stored before a crash. Takes the mark
/// away, which the next record sets again.
async fn tell_gap(source: &Source, since: Option<Vec<u8>>) -> Result<(), StoreEnded> {
    let Some(since) = since else { return Ok(()) };
    let now = source.clock.wall();
    let since = since.try_into().map_or(now, |bytes| UnixMillis(i64::from_le_bytes(bytes)));
    let mut batch = Batch::default();
    batch.lose(&source.name, LossReason::Crash, None, TimeRange { from: since.min(now), to: now });
    let gone = PositionUpdate { key: mark_key(&source.name), state: None };
    source.send_bare(&mut batch, vec![gone]).await
}
