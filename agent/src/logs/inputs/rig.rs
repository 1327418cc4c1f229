//! What the inputs' tests share: an input with real sockets, and the store's end of the channel.

use super::config::Checked;
use super::source::{Parts, Source};
use super::stats::{Count, SourceStats};
use crate::board::Board;
use crate::clock::Clock;
use crate::data::{LogGate, LogInput};
use crate::logs::intake::Intake;
use skerry_model::{LogRecord, LossEntry, UnixMillis};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Where the rig's clock stands: 2026-11-21T00:00:00Z.
pub(super) const WALL: UnixMillis = UnixMillis(1_795_219_200_000);

/// The store's end of an input: takes everything at once, and keeps promises when told to.
pub(super) struct Rig {
    pub(super) folder: tempfile::TempDir,
    pub(super) stop: CancellationToken,
    pub(super) gate: LogGate,
    pub(super) board: Board,
    pub(super) stats: Arc<SourceStats>,
    pub(super) records: Vec<LogRecord>,
    pub(super) losses: Vec<LossEntry>,
    pub(super) positions: HashMap<String, Vec<u8>>,
    /// Whether what is taken counts as committed.
    pub(super) commits: bool,
    taken: mpsc::Receiver<LogInput>,
    out: mpsc::Sender<LogInput>,
    withheld: Vec<tokio::sync::oneshot::Sender<()>>,
}

impl Rig {
    pub(super) fn new() -> Self {
        let (out, taken) = mpsc::channel(2);
        Self {
            folder: tempfile::tempdir().unwrap(),
            stop: CancellationToken::new(),
            gate: LogGate::open(),
            board: Board::default(),
            stats: Arc::new(SourceStats::new("in", "test")),
            records: Vec::new(),
            losses: Vec::new(),
            positions: HashMap::new(),
            commits: true,
            taken,
            out,
            withheld: Vec::new(),
        }
    }

    /// The checked inputs of a section `logs`.
    pub(super) fn checked(json: &str) -> Checked {
        Checked::parse(&serde_json::from_str(json).unwrap()).unwrap()
    }

    /// The source of an input.
    pub(super) fn source(&self, common: &super::config::Common) -> Source {
        let clock = Clock::manual(WALL).0;
        let parts = Parts {
            out: self.out.clone(),
            gate: self.gate.clone(),
            stop: self.stop.clone(),
            board: self.board.clone(),
            clock,
            line_bytes_max: 64 << 10,
        };
        Source::new(common, Intake::default(), self.stats.clone(), &parts)
    }

    /// Takes what comes until `enough` says so. Ends with a panic where nothing more comes for ten seconds, or never
    /// enough.
    pub(super) async fn until(&mut self, what: &str, enough: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_mins(2);
        while !enough(self) {
            let silence = tokio::time::Instant::now() + Duration::from_secs(10);
            match tokio::time::timeout_at(deadline.min(silence), self.taken.recv()).await {
                Ok(Some(input)) => self.take(input),
                _ => panic!(
                    "{what} did not come: {} records, the last {:?}, losses {:?}",
                    self.records.len(),
                    self.lines().last(),
                    self.losses
                ),
            }
        }
    }

    /// Takes what is there once `run` has ended.
    pub(super) async fn rest(&mut self, run: impl Future) {
        tokio::pin!(run);
        loop {
            tokio::select! {
                biased;
                Some(input) = self.taken.recv() => self.take(input),
                _ = &mut run => break,
            }
        }
        while let Ok(input) = self.taken.try_recv() {
            self.take(input);
        }
    }

    fn take(&mut self, input: LogInput) {
        self.records.extend(input.records);
        self.losses.extend(input.losses);
        for position in input.positions {
            match position.state {
                Some(state) => drop(self.positions.insert(position.key, state)),
                None => drop(self.positions.remove(&position.key)),
            }
        }
        if let Some(promise) = input.committed {
            if self.commits {
                // Who does not wait any more is none of the store's business.
                let _ = promise.send(());
            } else {
                self.withheld.push(promise);
            }
        }
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.records.iter().map(|record| String::from_utf8_lossy(&record.line).into_owned()).collect()
    }

    pub(super) fn count(&self, count: Count) -> u64 {
        self.stats.value(count)
    }

    /// A port that is free now.
    pub(super) fn port() -> u16 {
        skerry_ports::free_port().unwrap()
    }
}
