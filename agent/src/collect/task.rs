//! The async shell of the collectors: a round each interval, on a blocking thread.

use super::Collector;
use crate::board::Board;
use crate::clock::Clock;
use crate::data::CollectorFailure;
use crate::stale::Present;
use crate::store::{CommitError, Pace, Store};
use skerry_model::{ContainerInfo, Mono, Observation, Scrape, UnixMillis};
use skerry_wire::{Event, EventKind};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How far wall time may run away from monotonic time between two rounds before it counts as having been set.
const STEP_MS_MIN: u64 = 2000;

/// Why collection ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum CollectEnded {
    /// The thread of a round ended without a result.
    #[error(
        "the thread of the collectors ended unexpectedly; restart the agent and report this with the log around it"
    )]
    Thread(#[from] tokio::task::JoinError),
    /// Nobody takes the samples.
    #[error("the store takes no more samples")]
    Store(#[from] CommitError),
}

/// The task's ends.
pub struct CollectTask {
    /// What measures.
    pub collector: Collector,
    /// Time between the begins of two rounds.
    pub interval: Duration,
    /// The agent's own metrics, added to each round.
    pub own: Box<dyn Fn() -> Vec<Observation> + Send>,
    /// The containers that run.
    pub containers: watch::Receiver<Arc<Vec<ContainerInfo>>>,
    /// Where samples go.
    pub store: Store,
    /// The newest round, for whoever shows it.
    pub latest: watch::Sender<Arc<Vec<Observation>>>,
    /// Where failures are put up.
    pub board: Board,
    /// Clocks.
    pub clock: Clock,
}

impl CollectTask {
    /// Measures until `stop`. A round that takes longer than the interval delays the next one.
    ///
    /// # Errors
    /// [`CollectEnded`].
    pub async fn run(self, stop: CancellationToken) -> Result<(), CollectEnded> {
        let Self { mut collector, interval, own, containers, store, latest, board, clock } = self;
        let mut every = tokio::time::interval(interval);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut failing, mut steps, mut present) = (Failing::default(), Steps::default(), Present::default());
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = every.tick() => {}
            }
            let (now, containers) = (clock.wall(), containers.borrow().clone());
            let round = tokio::task::spawn_blocking(move || {
                let collected = collector.collect(now, &containers);
                (collector, collected)
            });
            let (returned, mut collected) = round.await?;
            collector = returned;
            collected.observations.extend(own());
            board.write(|entries| entries.last_round = Some((now, collected.observations.len())));
            let values = collected.observations.iter().map(|o| (o.labels.clone(), o.value)).collect();
            let mut scrape = Scrape { at: now, values };
            present.follow(&mut scrape);
            latest.send_replace(Arc::new(collected.observations));
            store.append_scrape(scrape, Pace::Round).await.map_err(CommitError::Closed)?;
            let mut kinds = failing.follow(&collected.failures, &board);
            kinds.extend(steps.follow(now, clock.mono()));
            if !kinds.is_empty() {
                let events = kinds.into_iter().map(|kind| Event { at: now, kind }).collect();
                match store.append_events(events).await {
                    // They wait in memory and are tried again; the store itself has said so.
                    Ok(()) | Err(CommitError::Write(_)) => {}
                    Err(closed) => return Err(closed.into()),
                }
            }
        }
    }
}

/// Which collectors fail, so that the begin and the end of it are told and not each round.
#[derive(Debug, Default)]
struct Failing(BTreeMap<&'static str, String>);

impl Failing {
    fn follow(&mut self, failures: &[CollectorFailure], board: &Board) -> Vec<EventKind> {
        let mut kinds = Vec::new();
        let over: Vec<&'static str> =
            self.0.keys().filter(|name| !failures.iter().any(|f| f.collector == **name)).copied().collect();
        for collector in over {
            self.0.remove(collector);
            board.solved(&format!("collector {collector}"));
            tracing::info!(collector, "collector works again");
            kinds.push(EventKind::CollectorRecovered { collector: collector.to_owned() });
        }
        for CollectorFailure { collector, error } in failures {
            board.problem(&format!("collector {collector}"), error);
            if self.0.insert(collector, error.clone()).is_none() {
                tracing::warn!(collector, error, "collector fails; the others go on");
                kinds.push(EventKind::CollectorFailed { collector: (*collector).to_owned(), error: error.clone() });
            }
        }
        kinds
    }
}

/// Notices that the wall clock was set.
#[derive(Debug, Default)]
struct Steps(Option<(UnixMillis, Mono)>);

impl Steps {
    fn follow(&mut self, wall: UnixMillis, mono: Mono) -> Option<EventKind> {
        let (last_wall, last_mono) = self.0.replace((wall, mono))?;
        let passed = i64::try_from(mono.since(last_mono).as_millis()).unwrap_or(i64::MAX);
        let by_ms = wall.0.saturating_sub(last_wall.0).saturating_sub(passed);
        (by_ms.unsigned_abs() > STEP_MS_MIN).then(|| {
            tracing::warn!(by_ms, "the wall clock was set");
            EventKind::ClockStep { by_ms }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begin_and_end_of_a_failure_are_told_once() {
        let (mut failing, board) = (Failing::default(), Board::default());
        let fails = [CollectorFailure { collector: "cpu", error: "no /proc".into() }];
        assert_eq!(failing.follow(&fails, &board).len(), 1);
        assert_eq!(failing.follow(&fails, &board), []);
        assert_eq!(board.read().problems(), ["collector cpu: no /proc"]);
        assert_eq!(failing.follow(&[], &board), [EventKind::CollectorRecovered { collector: "cpu".into() }]);
        assert!(board.read().problems().is_empty());
    }

    #[test]
    fn a_clock_that_is_set_is_noticed_and_one_that_drifts_is_not() {
        let mut steps = Steps::default();
        assert_eq!(steps.follow(UnixMillis(0), Mono(0)), None);
        assert_eq!(steps.follow(UnixMillis(15_900), Mono(15_000)), None);
        let year = 31_536_000_000;
        assert_eq!(steps.follow(UnixMillis(year), Mono(30_000)), Some(EventKind::ClockStep { by_ms: year - 30_900 }));
        assert_eq!(steps.follow(UnixMillis(1), Mono(30_001)), Some(EventKind::ClockStep { by_ms: -year }));
    }
}
