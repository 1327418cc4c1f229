//! The async shell of rules: slots, the store, and whoever takes alerts.

use super::engine::Rules;
use super::memory::Memory;
use super::stats::RuleStats;
use crate::board::Board;
use crate::clock::Clock;
use crate::data::Raised;
use crate::store::{Closed, CommitError, Pace, Store};
use skerry_alerting::Now;
use skerry_alerting::rules::{Round, RuleError, Stage, State, Turn};
use skerry_alerting::window::WindowSource;
use skerry_model::{Labels, Mono, Sample, Scrape, UnixMillis};
use skerry_promql::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Least time between two commits for alerts that began to wait. What a crash takes from memory is their begin.
const PENDING_COMMIT_EVERY: Duration = Duration::from_secs(60);
/// Least time between two commits for alerts that began to fire or ended: each costs flash, and rules may flap.
const FIRING_COMMIT_EVERY: Duration = Duration::from_secs(10);
/// Longest sleep, so that a clock that was set is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Why rules ended by themselves.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// Nobody takes the samples.
    #[error("the store takes no more samples")]
    Store(#[from] Closed),
}

/// The task's ends.
pub struct RulesTask {
    /// The groups.
    pub rules: Rules,
    /// Samples in memory.
    pub memory: Arc<Memory>,
    /// What is asked where memory does not reach. Its calls block.
    pub behind: Arc<dyn Source + Send + Sync>,
    /// Where results go.
    pub store: Store,
    /// Where alerts go. When it is full the next evaluation waits.
    pub alerts: mpsc::Sender<Raised>,
    /// Where it is put up that a rule fails.
    pub board: Board,
    /// Counters.
    pub stats: Arc<RuleStats>,
    /// Clocks.
    pub clock: Clock,
}

impl RulesTask {
    /// Evaluates until `stop`.
    ///
    /// # Errors
    /// [`RulesError`].
    pub async fn run(self, stop: CancellationToken) -> Result<(), RulesError> {
        let mut failing = Failing::default();
        let mut committed: Option<Mono> = None;
        // How long after the last commit one is due for alerts that changed.
        let mut owed: Option<Duration> = None;
        self.seed().await;
        loop {
            let now = self.now();
            let longest = if owed.is_some() { FIRING_COMMIT_EVERY } else { SLEEP_MAX };
            let wait = self.rules.next().map_or(longest, |at| at.since(now.mono).min(longest));
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(wait) => {}
            }
            for turn in self.rules.due(self.now()) {
                if stop.is_cancelled() {
                    return Ok(());
                }
                let Some(round) = self.evaluate(turn.clone()).await else { continue };
                let urgency = urgency(&round);
                self.raise(&round).await;
                failing.note(&turn, &round.errors, &self.board);
                self.stats.note(&round);
                for scrape in scrapes(round.samples) {
                    self.store.append_scrape(scrape, Pace::Between).await?;
                }
                owed = [owed, urgency].into_iter().flatten().min();
            }
            if let Some(least) = owed
                && committed.is_none_or(|at| self.clock.mono().since(at) >= least)
            {
                (committed, owed) = (Some(self.clock.mono()), None);
                match self.store.flush().await {
                    Ok(()) => {}
                    Err(CommitError::Closed(closed)) => return Err(closed.into()),
                    Err(CommitError::Write(error)) => tracing::debug!(%error, "the state of alerts is in memory"),
                }
            }
            self.stats.groups(&self.rules);
        }
    }

    fn now(&self) -> Now {
        Now { wall: self.clock.wall(), mono: self.clock.mono() }
    }

    /// Fills the memory with what the store has.
    async fn seed(&self) {
        if !self.memory.is_used() {
            return;
        }
        let (memory, behind, at) = (self.memory.clone(), self.behind.clone(), self.clock.wall());
        let seeded = tokio::task::spawn_blocking(move || memory.window(at).seed(behind.as_ref(), at)).await;
        match seeded {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the store is asked for what rules read"),
            Err(error) => tracing::error!(%error, "reading ahead for rules ended badly"),
        }
    }

    async fn evaluate(&self, turn: Turn) -> Option<Round> {
        let (rules, memory, behind) = (self.rules.clone(), self.memory.clone(), self.behind.clone());
        let (now, group) = (self.now(), turn.group.clone());
        let work = move || {
            let window = memory.window(now.wall);
            rules.evaluate(turn, &WindowSource { window: &window, behind: behind.as_ref() }, now)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(round) => Some(round),
            Err(error) => {
                tracing::error!(%error, %group, "an evaluation ended badly");
                None
            }
        }
    }

    /// Hands alerts on before anything else is done with the round: somebody is waiting for them.
    async fn raise(&self, round: &Round) {
        for change in &round.changes {
            let (rule, was, is) = (&change.rule, change.was.as_str(), change.is.as_str());
            if change.is_restored {
                tracing::info!(%rule, labels = %change.alert.labels, "an alert that fired before the restart fires");
            } else if change.is == State::Firing || change.was == State::Firing {
                tracing::info!(%rule, was, is, labels = %change.alert.labels, "alert changed");
            }
        }
        if round.alerts.is_empty() {
            return;
        }
        let value = |change: &skerry_alerting::rules::Change| {
            (change.alert.fingerprint(), skerry_promql::number_text(change.value))
        };
        let values = round.changes.iter().map(value).collect();
        // Whoever takes alerts ends with the run.
        let _ = self.alerts.send(Raised { alerts: round.alerts.clone(), values }).await;
    }
}

/// How long ago the last commit has to be for one on account of this round; `None` where it needs none.
fn urgency(round: &Round) -> Option<Duration> {
    let fires = |change: &skerry_alerting::rules::Change| change.is == State::Firing || change.was == State::Firing;
    let least = if round.changes.iter().any(fires) { FIRING_COMMIT_EVERY } else { PENDING_COMMIT_EVERY };
    (!round.changes.is_empty()).then_some(least)
}

/// Samples of a round as scrapes: those of one moment together.
fn scrapes(samples: Vec<(Labels, Sample)>) -> Vec<Scrape> {
    let mut by_time: BTreeMap<UnixMillis, Vec<(Labels, f64)>> = BTreeMap::new();
    for (labels, sample) in samples {
        by_time.entry(sample.at).or_default().push((labels, sample.value));
    }
    by_time.into_iter().map(|(at, values)| Scrape { at, values }).collect()
}

/// Groups with rules that fail now.
#[derive(Debug, Default)]
struct Failing(BTreeSet<String>);

impl Failing {
    /// Logs what is new, and puts up or takes down the group's problem.
    fn note(&mut self, turn: &Turn, errors: &[RuleError], board: &Board) {
        for RuleError { file, group, rule, stage, text, .. } in errors.iter().filter(|error| error.is_new) {
            let what = match stage {
                Stage::Evaluation => "evaluation",
                Stage::Template => "template",
                Stage::Restore => "taking up its state",
            };
            tracing::warn!(%file, %group, %rule, what, error = %text, "a rule fails");
        }
        let source = format!("rules {}", turn.group);
        match errors.first() {
            Some(error) => {
                let more = if errors.len() > 1 { format!(" (and {} more)", errors.len() - 1) } else { String::new() };
                board.problem(&source, &format!("{}: {}{more}", error.rule, error.text));
                self.0.insert(source);
            }
            None => {
                if self.0.remove(&source) {
                    tracing::info!(file = %turn.file, group = %turn.group, "rules work again");
                    board.solved(&source);
                }
            }
        }
    }
}
