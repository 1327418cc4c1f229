//! Everything that can be read about the running agent, in one place, for those who show it: its own metrics, the
//! local HTTP, the status that goes to the fleet.

use crate::alerts::AlertStats;
use crate::board::Board;
use crate::clock::Clock;
use crate::host;
use crate::logs::LogStats;
use crate::logs::inputs::InputStats;
use crate::probes::ProbeStats;
use crate::push::PushStats;
use crate::query::AskStats;
use crate::recommend::Recommender;
use crate::rules::{Memory, RuleStats, Rules};
use crate::scale::Scaling;
use crate::scrape;
use crate::store::Stats;
use crate::sync::task::{Facts, SyncStats};
use crate::workloads::Workloads;
use skerry_model::{Mono, NodeId, Observation};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::watch;

/// Handles to what the features publish; cheap to clone.
#[derive(Clone)]
pub struct Vitals {
    /// This node.
    pub node: NodeId,
    /// The fleet's name and endpoint, where the node has joined one.
    pub fleet: Option<(String, String)>,
    /// When this run began.
    pub started: Mono,
    /// Clocks.
    pub clock: Clock,
    /// What the features say.
    pub board: Board,
    /// The newest round of collection.
    pub latest: watch::Receiver<Arc<Vec<Observation>>>,
    /// The store's figures.
    pub store: watch::Receiver<Arc<Stats>>,
    /// Figures of the database of what ship policies keep here, where there is one.
    pub kept: Option<watch::Receiver<Arc<Stats>>>,
    /// The log inputs' figures.
    pub logs: Arc<LogStats>,
    /// The figures of the inputs beside files and containers.
    pub inputs: InputStats,
    /// The probes' figures.
    pub probes: Arc<ProbeStats>,
    /// Push's figures.
    pub push: Arc<PushStats>,
    /// The rules.
    pub rules: Rules,
    /// Their figures.
    pub rule_stats: Arc<RuleStats>,
    /// Samples that rules read.
    pub memory: Arc<Memory>,
    /// The figures of alerting.
    pub alert_stats: Arc<AlertStats>,
    /// What is scaled.
    pub scaling: Scaling,
    /// What is kept as declared.
    pub workloads: Workloads,
    /// What containers should ask for.
    pub recommender: Recommender,
    /// What is scraped.
    pub targets: scrape::State,
    /// The sync's figures.
    pub sync: Arc<SyncStats>,
    /// The questions' figures.
    pub asks: Arc<AskStats>,
}

#[cfg(test)]
impl Vitals {
    /// Of a node that does nothing but keep a store.
    pub(crate) fn idle(clock: Clock, store: watch::Receiver<Arc<Stats>>) -> Self {
        Self {
            node: "pi-4".parse().unwrap(),
            fleet: None,
            started: clock.mono(),
            clock,
            board: Board::default(),
            latest: watch::channel(Arc::default()).1,
            store,
            kept: None,
            logs: Arc::new(LogStats::default()),
            inputs: Arc::default(),
            probes: Arc::default(),
            push: Arc::default(),
            rules: Rules::default(),
            rule_stats: Arc::default(),
            memory: Arc::default(),
            alert_stats: Arc::default(),
            scaling: Scaling::default(),
            workloads: Workloads::new().0,
            recommender: Recommender::default(),
            targets: scrape::State::default(),
            sync: Arc::default(),
            asks: Arc::default(),
        }
    }
}

impl Vitals {
    /// Whether the link is up and the fleet has answered.
    #[must_use]
    pub fn fleet_reached(&self) -> bool {
        self.sync.ready.load(Ordering::Relaxed)
    }

    /// What keeps the agent from being well; nothing when all is. `needs_fleet`: whether reaching the fleet counts.
    #[must_use]
    pub fn unwell(&self, needs_fleet: bool) -> Option<String> {
        if self.board.read().last_round.is_none() {
            return Some("no round of collection has ended yet".into());
        }
        if let Some(error) = self.store_errors().next() {
            return Some(error);
        }
        (needs_fleet && !self.fleet_reached()).then(|| "the fleet is not reached".into())
    }

    fn store_errors(&self) -> impl Iterator<Item = String> {
        let all = std::iter::once(&self.store).chain(&self.kept);
        all.filter_map(|stats| stats.borrow().last_error.clone())
    }

    /// What somebody should look at.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.board.read().problems();
        problems.extend(self.store_errors());
        problems.extend(self.logs.problems());
        problems.truncate(16);
        problems
    }

    /// What goes to the fleet.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let entries = self.board.read();
        let store = self.store.borrow().clone();
        let short = |mut text: String| {
            text.truncate(text.floor_char_boundary(256));
            text
        };
        Facts {
            configs: entries.configs,
            assignment: entries.assignment,
            root_version: entries.root_version,
            time_trusted: entries.time_trusted,
            problems: self.problems().into_iter().map(short).collect(),
            backlog: store.backlog.clone(),
            rss_bytes: host::usage().resident_bytes,
            db_bytes: std::iter::once(&self.store).chain(&self.kept).map(|stats| stats.borrow().file_bytes()).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    /// Figures that are borrowed twice at once wait for ever where the store writes new ones in between.
    #[test]
    fn facts_are_read_while_the_store_writes_its_figures() {
        let (figures, store) = watch::channel(Arc::new(Stats::new(Mono(0))));
        let vitals = Vitals::idle(Clock::system(), store);
        let (done_in, done) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            (0..20_000).for_each(|_| drop(vitals.facts()));
            let _ = done_in.send(());
        });
        let writes = std::thread::spawn(move || {
            while !figures.is_closed() {
                figures.send_modify(|stats| Arc::make_mut(stats).db_bytes += 1);
            }
        });
        done.recv_timeout(Duration::from_mins(1)).expect("nobody waits for ever");
        writes.join().unwrap();
    }
}
