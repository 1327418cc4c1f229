//! What every input does with its records: labels, bounds, stages, batches, and the way to the store.

use super::config::Common;
use super::stats::{Count, SourceStats};
use crate::board::Board;
use crate::clock::Clock;
use crate::data::{LogGate, LogInput, PositionUpdate};
use crate::logs::intake::{Batch, Intake};
use crate::logs::level;
use skerry_logs::pipeline::Now;
use skerry_model::{Labels, Level, LogRecord, LossReason, OutputStream, TimeRange, UnixMillis};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// How long a record waits for more, so that a wake-up of the store brings several.
pub(super) const GATHER: Duration = Duration::from_millis(100);
/// How often a socket is looked at after the end was called for, and how long for what the kernel has.
pub(super) const LAST_READS: usize = 64;
pub(super) const LAST_WAIT: Duration = Duration::from_millis(10);
/// Time between two looks whether stages have something to tell.
const TICK: Duration = Duration::from_secs(1);

/// The store takes no more.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the store takes no more log records: it has ended")]
pub struct StoreEnded;

/// One input, as all of its parts see it; cheap to clone.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) name: Arc<str>,
    /// The labels of every record.
    pub(super) labels: Labels,
    intake: Intake,
    pub(super) stats: Arc<SourceStats>,
    /// Key under which is kept when something came last that nobody can send again; `None` where all can be read again.
    mark: Option<Arc<str>>,
    pub(super) line_bytes_max: usize,
    out: mpsc::Sender<LogInput>,
    /// Whether the source has to wait for its budget.
    gate: LogGate,
    /// At the end nobody waits for budgets: what is in hand has to go to the store.
    stop: CancellationToken,
    pub(super) board: Board,
    pub(super) clock: Clock,
}

/// A record in the making.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) at: Option<UnixMillis>,
    /// Labels beside those of the input; the empty ones are left out.
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) output: OutputStream,
    /// `None`: guessed from the text.
    pub(super) level: Option<Level>,
    pub(super) fields: Vec<(String, String)>,
    pub(super) line: Vec<u8>,
    /// Part of it is missing already.
    pub(super) is_cut: bool,
}

/// What an input is made with.
pub(super) struct Parts {
    pub(super) out: mpsc::Sender<LogInput>,
    pub(super) gate: LogGate,
    pub(super) stop: CancellationToken,
    pub(super) board: Board,
    pub(super) clock: Clock,
    pub(super) line_bytes_max: usize,
}

/// Key of the mark of an input whose records nobody can send again.
pub(super) fn mark_key(name: &str) -> String {
    format!("seen/{name}")
}

impl Source {
    pub(super) fn new(common: &Common, intake: Intake, stats: Arc<SourceStats>, parts: &Parts) -> Self {
        Self {
            name: common.name.as_str().into(),
            labels: common.labels.clone(),
            intake,
            stats,
            mark: None,
            line_bytes_max: parts.line_bytes_max,
            out: parts.out.clone(),
            gate: parts.gate.clone(),
            stop: parts.stop.clone(),
            board: parts.board.clone(),
            clock: parts.clock.clone(),
        }
    }

    /// The same input, whose records nobody can send again: it keeps when they came last, so that after a crash the
    /// ledger tells since when some may be missing.
    pub(super) fn marked(mut self) -> Self {
        self.mark = Some(mark_key(&self.name).into());
        self
    }

    pub(super) fn now(&self) -> Now {
        Now { mono: self.clock.mono(), wall: self.clock.wall() }
    }

    /// Takes one record. `from` names its sender in the ledger, where that tells more than the input's name.
    pub(super) fn take(&self, draft: Draft, batch: &mut Batch) {
        let now = self.now();
        let Draft { at, labels, output, level, fields, mut line, mut is_cut } = draft;
        let at = at.unwrap_or(now.wall);
        if line.len() > self.line_bytes_max {
            line.truncate(self.line_bytes_max);
            is_cut = true;
        }
        let level = level.unwrap_or_else(|| level::guess(&line));
        let of_source = self.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let own = labels.into_iter().filter(|(name, _)| self.labels.value(name).is_empty());
        let all = of_source.chain(own.map(|(name, value)| (name.to_owned(), value)));
        let labels = Labels::new(all).unwrap_or_else(|_| self.labels.clone());
        let fields = Labels::new(fields).unwrap_or_else(|_| {
            is_cut = true;
            Labels::default()
        });
        if is_cut {
            batch.lose(&self.name, LossReason::Oversize, Some(1), TimeRange::at(at));
        }
        self.stats.add(Count::Records, 1);
        self.intake.take(LogRecord { at, labels, output, level, fields, line }, &self.name, now, batch);
    }

    /// Notes what is missing.
    pub(super) fn lose(&self, reason: LossReason, count: Option<u64>, batch: &mut Batch) {
        batch.lose(&self.name, reason, count, TimeRange::at(self.clock.wall()));
    }

    /// Room for one batch in the way to the store; waits until there is, and until the source's budget lets it go on.
    pub(super) async fn room(&self) -> Result<mpsc::Permit<'_, LogInput>, StoreEnded> {
        if self.gate.is_closed(&self.labels) {
            let mut gate = self.gate.clone();
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = gate.opened(&self.labels) => {}
            }
        }
        self.out.reserve().await.map_err(|_| StoreEnded)
    }

    /// The batch with positions and a promise, as it goes to the store.
    pub(super) fn input(
        &self,
        batch: &mut Batch,
        mut positions: Vec<PositionUpdate>,
        committed: Option<oneshot::Sender<()>>,
    ) -> LogInput {
        if let Some(key) = &self.mark {
            let state = Some(self.clock.wall().0.to_le_bytes().to_vec());
            positions.push(PositionUpdate { key: key.to_string(), state });
        }
        LogInput { committed, ..std::mem::take(batch).into_input(positions) }
    }

    /// Hands a batch on, and waits where the store has no room for it. An empty one goes nowhere.
    pub(super) async fn send(&self, batch: &mut Batch, positions: Vec<PositionUpdate>) -> Result<(), StoreEnded> {
        if batch.is_empty() && positions.is_empty() {
            return Ok(());
        }
        let room = self.room().await?;
        room.send(self.input(batch, positions, None));
        Ok(())
    }

    /// Hands losses and positions on, and nothing of its own.
    pub(super) async fn send_bare(&self, batch: &mut Batch, positions: Vec<PositionUpdate>) -> Result<(), StoreEnded> {
        let room = self.room().await?;
        room.send(std::mem::take(batch).into_input(positions));
        Ok(())
    }

    /// Lets stages tell what is due, until `stop`, and then what is still open.
    pub(super) async fn tick(self, stop: CancellationToken) -> Result<(), StoreEnded> {
        let mut batch = Batch::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => {
                    self.intake.end(self.now(), &mut batch);
                    return self.send(&mut batch, Vec::new()).await;
                }
                () = tokio::time::sleep(TICK) => {}
            }
            self.intake.tick(self.now(), &mut batch);
            self.send(&mut batch, Vec::new()).await?;
        }
    }

    /// Whether stages may have something to tell by themselves.
    pub(super) fn has_stages(common: &Common, all: &skerry_logs::pipeline::Stages) -> bool {
        !(common.pipeline.0.is_empty() && all.0.is_empty())
    }

    /// Puts a problem on the board and says it once.
    pub(super) fn problem(&self, words: &str) {
        let name = format!("logs {}", self.name);
        tracing::warn!(source = &*self.name, problem = words, "a log input has a problem");
        self.board.problem(&name, words);
    }

    /// Takes it down.
    pub(super) fn solved(&self) {
        self.board.solved(&format!("logs {}", self.name));
    }
}
