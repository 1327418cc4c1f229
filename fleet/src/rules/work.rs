//! What takes time: rules, window and the fleet's own series, worked on by one thread at a time that may block.

use super::contact::Outages;
use super::feed::{Feed, Unknown};
use super::nodes::{self, Shown};
use super::own::Own;
use super::roster::{Nodes, Roster};
use super::view::Told;
use crate::node_labels::NodeLabels;
use crate::source::FleetSource;
use crate::store::ArrivedBlock;
use skerry_alerting::Now;
use skerry_alerting::rules::{Change, Engine, RuleError, Turn};
use skerry_alerting::window::{Window, WindowSource};
use skerry_model::{Alert, Epoch, Labels, NodeId, UnixMillis, stale_nan};
use skerry_wire::Batch;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often the fleet's knowledge of nodes is stored; rules see it fresh.
const STORE_EVERY: Duration = Duration::from_secs(60);

/// Time that only grows, for how long evaluations take.
pub(super) fn stopwatch() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Everything that an evaluation works with.
pub(super) struct Work {
    pub(super) engine: Engine,
    pub(super) window: Window,
    pub(super) feed: Feed,
    pub(super) own: Own,
    shown: BTreeMap<NodeId, Known>,
    stored: Option<UnixMillis>,
}

/// A node's series as they were made last.
#[derive(Default)]
struct Known {
    labels: Shown,
    rows: Vec<(Labels, f64)>,
}

/// What came of a round.
#[derive(Default)]
pub(super) struct Done {
    pub(super) batches: Vec<Batch>,
    pub(super) alerts: Vec<Alert>,
    pub(super) changes: Vec<Change>,
    pub(super) errors: Vec<RuleError>,
    pub(super) told: Told,
    /// Why samples could not be made into blocks.
    pub(super) unmade: Option<String>,
}

impl Work {
    pub(super) fn new(engine: Engine, window: Window, epoch: Epoch) -> Self {
        let mut feed = Feed::default();
        feed.set_needs(engine.needs());
        Self { engine, window, feed, own: Own::new(epoch), shown: BTreeMap::new(), stored: None }
    }

    /// Takes in blocks; those of series that are not known yet come back with what is to be learnt.
    pub(super) fn take(&mut self, blocks: Vec<ArrivedBlock>) -> Vec<(ArrivedBlock, Unknown)> {
        let unknown = |block: ArrivedBlock| self.feed.take(&block, &mut self.window).map(|unknown| (block, unknown));
        // The fleet's own series were handed on when they were made.
        blocks.into_iter().filter(|block| !crate::store::is_own(&block.node)).filter_map(unknown).collect()
    }

    /// Makes the series of nodes, evaluates what is due, and says what is to be stored.
    pub(super) fn round(
        &mut self,
        turns: Vec<Turn>,
        nodes: Option<(Nodes, &Roster)>,
        behind: &FleetSource,
        now: Now,
    ) -> Done {
        let began = stopwatch();
        let mut done = Done::default();
        let mut samples: Vec<(Labels, UnixMillis, f64)> = Vec::new();
        if let Some((nodes, roster)) = nodes {
            // Rules look no further than their own time, which is a little earlier than now.
            let at = turns.iter().map(|turn| turn.at).min().unwrap_or(now.wall).min(now.wall);
            self.set_signed(roster.signed(), now.wall);
            self.show(&nodes, roster, at, now.wall, &mut samples);
        }
        self.window.trim(now.wall);
        for turn in turns {
            let source = WindowSource { window: &self.window, behind };
            let round = self.engine.evaluate(turn, &source, now);
            for (labels, sample) in &round.samples {
                self.window.push(sample.at, [(labels, sample.value)]);
            }
            samples.extend(round.samples.into_iter().map(|(labels, sample)| (labels, sample.at, sample.value)));
            done.alerts.extend(round.alerts);
            done.changes.extend(round.changes);
            done.errors.extend(round.errors);
            done.told.values += round.values;
        }
        match self.own.batches(samples.iter().map(|(labels, at, value)| (labels, *at, *value))) {
            Ok(batches) => done.batches = batches,
            Err(error) => done.unmade = Some(error.to_string()),
        }
        done.told.groups = self.engine.groups();
        done.told.stats = self.window.stats();
        done.told.own_series = self.own.series();
        done.told.damaged = self.feed.damaged;
        done.told.took = stopwatch().saturating_sub(began);
        done
    }

    fn set_signed(&mut self, signed: Arc<NodeLabels>, now: UnixMillis) {
        self.feed.set_signed(signed, &mut self.window, now);
    }

    /// Hands the series of nodes to the window, and new ones at once, all once a minute to the store. A series that is
    /// no more ends.
    fn show(
        &mut self,
        nodes: &Nodes,
        roster: &Roster,
        at: UnixMillis,
        now: UnixMillis,
        samples: &mut Vec<(Labels, UnixMillis, f64)>,
    ) {
        let is_stored = self.stored.is_none_or(|last| now.since(last) >= STORE_EVERY || now < last);
        if is_stored {
            self.stored = Some(now);
        }
        let mut all: Vec<(Labels, f64)> = Vec::new();
        let mut ended: Vec<Labels> = Vec::new();
        let mut before = std::mem::take(&mut self.shown);
        for (node, facts) in &nodes.facts {
            let mut known = before.remove(node).unwrap_or_default();
            let rows = rows(node, facts, roster, now, &mut known.labels);
            if known.rows.len() != rows.len() || known.rows.iter().zip(&rows).any(|(old, new)| old.0 != new.0) {
                let lacks = |rows: &[(Labels, f64)], labels: &Labels| rows.iter().all(|(held, _)| held != labels);
                let gone = known.rows.iter().map(|(labels, _)| labels).filter(|labels| lacks(&rows, labels));
                ended.extend(gone.cloned());
                if !is_stored {
                    let fresh = rows.iter().filter(|(labels, _)| lacks(&known.rows, labels));
                    samples.extend(fresh.map(|(labels, value)| (labels.clone(), at, *value)));
                }
            }
            all.extend(rows.iter().cloned());
            known.rows = rows;
            self.shown.insert(node.clone(), known);
        }
        ended.extend(before.into_values().flat_map(|known| known.rows).map(|(labels, _)| labels));
        self.window.push(at, all.iter().map(|(labels, value)| (labels, *value)));
        self.window.push(at, ended.iter().map(|labels| (labels, stale_nan())));
        samples.extend(ended.into_iter().map(|labels| (labels, at, stale_nan())));
        if is_stored {
            samples.extend(all.into_iter().map(|(labels, value)| (labels, at, value)));
        }
    }
}

fn rows(
    node: &NodeId,
    facts: &nodes::Facts,
    roster: &Roster,
    now: UnixMillis,
    shown: &mut Shown,
) -> Vec<(Labels, f64)> {
    let outages: &Outages = roster.outages();
    nodes::rows(node, facts, roster.contact(node), outages, now, shown)
}
