//! A ledger in memory that loses what is not committed: the double of the SQLite store in tests and simulations.

use super::core::{Content, Ledger, StreamKey, StreamState, Taken};
use skerry_model::{Labels, NodeId, SeriesId, StreamKind};
use std::collections::BTreeMap;
use std::convert::Infallible;

/// A ledger with crash semantics: [`MemoryLedger::crash`] takes back all since the last [`MemoryLedger::commit`].
#[derive(Debug, Clone, Default)]
pub struct MemoryLedger {
    committed: Tables,
    /// What the open transaction added; it shadows `committed`.
    open: Tables,
}

#[derive(Debug, Clone, Default)]
struct Tables {
    states: BTreeMap<StreamKey, StreamState>,
    series: BTreeMap<(StreamKey, SeriesId), Labels>,
    taken: Vec<Taken>,
}

impl MemoryLedger {
    /// An empty ledger.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes durable what was taken since the last commit.
    pub fn commit(&mut self) {
        let open = std::mem::take(&mut self.open);
        self.committed.states.extend(open.states);
        self.committed.series.extend(open.series);
        self.committed.taken.extend(open.taken);
    }

    /// Forgets what was taken since the last commit, as a power cut does.
    pub fn crash(&mut self) {
        self.open = Tables::default();
    }

    /// All content that is durable, in the order it was taken.
    #[must_use]
    pub fn taken(&self) -> &[Taken] {
        &self.committed.taken
    }

    /// Durable state of one epoch.
    #[must_use]
    pub fn state(&self, key: &StreamKey) -> Option<&StreamState> {
        self.committed.states.get(key)
    }

    /// Durable labels of a series.
    #[must_use]
    pub fn labels(&self, key: &StreamKey, id: SeriesId) -> Option<&Labels> {
        self.committed.series.get(&(key.clone(), id))
    }
}

impl Ledger for MemoryLedger {
    type Error = Infallible;

    fn load(&mut self, key: &StreamKey) -> Result<Option<StreamState>, Infallible> {
        Ok(self.open.states.get(key).or_else(|| self.committed.states.get(key)).cloned())
    }

    fn epochs_open(&mut self, node: &NodeId, stream: StreamKind) -> Result<usize, Infallible> {
        let of_stream = |key: &&StreamKey| key.node == *node && key.stream == stream;
        let fresh = self.open.states.keys().filter(|key| !self.committed.states.contains_key(key));
        Ok(self.committed.states.keys().filter(of_stream).count() + fresh.filter(of_stream).count())
    }

    fn series(&mut self, key: &StreamKey, id: SeriesId) -> Result<Option<Labels>, Infallible> {
        let at = (key.clone(), id);
        Ok(self.open.series.get(&at).or_else(|| self.committed.series.get(&at)).cloned())
    }

    fn take(&mut self, taken: Taken) -> Result<(), Infallible> {
        self.open.states.insert(taken.key.clone(), taken.state.clone());
        if let Content::Metrics { dict, .. } = &taken.content {
            for (id, labels) in dict {
                self.open.series.insert((taken.key.clone(), *id), labels.clone());
            }
        }
        self.open.taken.push(taken);
        Ok(())
    }
}
