//! Numbers for label sets.
//!
//! Only active series are in memory: those seen in the last [`IDLE_SCRAPES_MAX`] scrapes. One that falls silent is
//! retired; its row stays in the database as long as a retained block may use it. If it speaks again it gets a new
//! number, so no lookup by labels ever has to go to the disk.
//!
//! Invariants:
//! - Numbers only rise; none is used for two label sets.
//! - Labels in memory are bounded by count and by bytes; what exceeds them is refused, and its samples go into the
//!   loss ledger.

use skerry_model::{Labels, SeriesId};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Scrapes without a value after which a series is retired: an hour at the default interval, so that a container
/// that restarts keeps its numbers.
const IDLE_SCRAPES_MAX: u64 = 240;
/// Most bytes of label names and values of all active series. Bounds memory, and the dictionary that one message
/// may have to carry.
const LABEL_BYTES_MAX: usize = 4 << 20;

#[derive(Debug)]
struct Active {
    id: SeriesId,
    seen: u64,
}

/// The active series.
#[derive(Debug)]
pub(super) struct SeriesMap {
    by_labels: HashMap<Arc<Labels>, Active>,
    by_id: BTreeMap<SeriesId, Arc<Labels>>,
    next: u32,
    saved: u32,
    scrape: u64,
    label_bytes: usize,
    count_max: usize,
}

fn label_bytes(labels: &Labels) -> usize {
    labels.iter().map(|(name, value)| name.len() + value.len()).sum()
}

impl SeriesMap {
    /// The map that holds `active`, which stand in the database. `highest` is the highest number ever given out.
    pub(super) fn new(count_max: usize, highest: u32, active: Vec<(SeriesId, Labels)>) -> Self {
        let mut map = Self {
            by_labels: HashMap::new(),
            by_id: BTreeMap::new(),
            next: highest.saturating_add(1),
            saved: highest,
            scrape: 0,
            label_bytes: 0,
            count_max,
        };
        for (id, labels) in active {
            map.insert(id, labels);
        }
        map
    }

    fn insert(&mut self, id: SeriesId, labels: Labels) {
        let labels = Arc::new(labels);
        self.label_bytes += label_bytes(&labels);
        self.by_id.insert(id, labels.clone());
        self.by_labels.insert(labels, Active { id, seen: self.scrape });
    }

    /// Begins the next scrape.
    pub(super) const fn begin_scrape(&mut self) {
        self.scrape += 1;
    }

    /// The number of a label set seen in this scrape; `None` where a bound keeps it out.
    pub(super) fn resolve(&mut self, labels: &Labels) -> Option<SeriesId> {
        if let Some(active) = self.by_labels.get_mut(labels) {
            active.seen = self.scrape;
            return Some(active.id);
        }
        let full = self.by_labels.len() >= self.count_max || self.label_bytes + label_bytes(labels) > LABEL_BYTES_MAX;
        if full || self.next == u32::MAX {
            return None;
        }
        let id = SeriesId(self.next);
        self.next += 1;
        self.insert(id, labels.clone());
        Some(id)
    }

    /// Whether a label set that is not known yet would be refused.
    pub(super) fn is_full(&self) -> bool {
        self.by_labels.len() >= self.count_max || self.label_bytes >= LABEL_BYTES_MAX
    }

    /// Numbers and labels that no commit has written, by rising number.
    pub(super) fn unsaved(&self) -> impl Iterator<Item = (SeriesId, &Labels)> {
        self.by_id.range(SeriesId(self.saved.saturating_add(1))..).map(|(id, labels)| (*id, &**labels))
    }

    /// Highest number that a commit has written.
    pub(super) const fn saved(&self) -> SeriesId {
        SeriesId(self.saved)
    }

    /// Highest number given out; zero before the first.
    pub(super) const fn highest(&self) -> SeriesId {
        SeriesId(self.next - 1)
    }

    /// Notes that numbers up to `id` have been written.
    pub(super) const fn mark_saved(&mut self, id: SeriesId) {
        self.saved = id.0;
    }

    /// Labels of an active series.
    pub(super) fn labels(&self, id: SeriesId) -> Option<&Labels> {
        self.by_id.get(&id).map(|labels| &**labels)
    }

    /// Number of active series.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Retires series that have been silent for too long; when the map is full, all that were silent in the newest
    /// complete scrape. Unsaved ones stay: their rows must be written first. Returns their numbers.
    pub(super) fn retire(&mut self) -> Vec<SeriesId> {
        let idle_max = if self.is_full() { 1 } else { IDLE_SCRAPES_MAX };
        let Some(oldest_kept) = self.scrape.checked_sub(idle_max) else { return Vec::new() };
        let mut retired: Vec<SeriesId> = self
            .by_labels
            .values()
            .filter(|active| active.seen < oldest_kept && active.id.0 <= self.saved)
            .map(|active| active.id)
            .collect();
        retired.sort_unstable();
        for id in &retired {
            if let Some(labels) = self.by_id.remove(id) {
                self.label_bytes -= label_bytes(&labels);
                self.by_labels.remove(&*labels);
            }
        }
        retired
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_model::LabelsBuilder;

    fn labels(name: &str) -> Labels {
        LabelsBuilder::metric(name).build()
    }

    #[test]
    fn numbers_rise_and_are_never_used_again() {
        let mut map = SeriesMap::new(3, 10, vec![(SeriesId(4), labels("old"))]);
        map.begin_scrape();
        assert_eq!(map.resolve(&labels("old")), Some(SeriesId(4)));
        assert_eq!(map.resolve(&labels("a")), Some(SeriesId(11)));
        assert_eq!(map.resolve(&labels("b")), Some(SeriesId(12)));
        assert_eq!(map.resolve(&labels("c")), None, "the fourth exceeds the bound");
        assert_eq!(map.resolve(&labels("a")), Some(SeriesId(11)));
        assert_eq!(map.unsaved().map(|(id, _)| id.0).collect::<Vec<_>>(), [11, 12]);
        map.mark_saved(map.highest());
        map.begin_scrape();
        assert_eq!(map.retire(), [], "all were seen in the newest complete scrape");
        map.resolve(&labels("a"));
        map.begin_scrape();
        assert_eq!(map.retire(), [SeriesId(4), SeriesId(12)], "the map is full, so one silent scrape is enough");
        assert_eq!(map.resolve(&labels("b")), Some(SeriesId(13)));
        assert_eq!(map.labels(SeriesId(13)), Some(&labels("b")));
        assert_eq!(map.labels(SeriesId(12)), None);
    }

    #[test]
    fn silence_is_forgiven_for_a_while_and_unsaved_series_stay() {
        let mut map = SeriesMap::new(10, 0, vec![]);
        map.begin_scrape();
        map.resolve(&labels("a"));
        map.mark_saved(map.highest());
        map.resolve(&labels("b"));
        for _ in 0..IDLE_SCRAPES_MAX {
            map.begin_scrape();
        }
        assert_eq!(map.retire(), []);
        map.begin_scrape();
        assert_eq!(map.retire(), [SeriesId(1)]);
        assert_eq!(map.len(), 1);
    }

    #[test]
    fn labels_are_bounded_by_bytes() {
        let mut map = SeriesMap::new(usize::MAX, 0, vec![]);
        map.begin_scrape();
        let big = |i: usize| Labels::new([("l", format!("{i:016000}"))]).unwrap();
        let taken = (0..400).filter(|i| map.resolve(&big(*i)).is_some()).count();
        assert_eq!(taken, LABEL_BYTES_MAX / 16_001);
    }
}
