//! Losses that wait for their commit.
//!
//! Equal ones (same stream, reason and source) become one entry, so that a source that loses a line a second costs
//! one event per commit and not sixty. Nothing is ever left out: when too many different sources wait, further ones
//! are summed up under the empty source.

use skerry_model::{LossEntry, LossReason, StreamKind};
use std::collections::BTreeMap;

/// Most different sources that wait at a time; also how many different rows the ledger table holds.
pub(super) const SOURCES_MAX: usize = 256;
/// Longest source text, in bytes.
const SOURCE_BYTES_MAX: usize = 256;

type Key = (StreamKind, LossReason, String);

/// Losses in memory.
#[derive(Debug, Default, Clone)]
pub(super) struct Losses(BTreeMap<Key, LossEntry>);

impl Losses {
    /// Adds a loss.
    pub(super) fn add(&mut self, mut entry: LossEntry) {
        let end = entry.source.floor_char_boundary(SOURCE_BYTES_MAX);
        entry.source.truncate(end);
        let known = self.0.contains_key(&(entry.stream, entry.reason, entry.source.clone()));
        if !known && self.0.len() >= SOURCES_MAX {
            entry.source.clear();
        }
        let key = (entry.stream, entry.reason, entry.source.clone());
        self.0.entry(key).and_modify(|sum| merge(sum, &entry)).or_insert(entry);
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What waits, by stream, reason and source.
    pub(super) fn entries(&self) -> impl Iterator<Item = &LossEntry> {
        self.0.values()
    }
}

/// Adds `more` to `sum`. Where one of the counts is not known, neither is the sum's.
pub(super) fn merge(sum: &mut LossEntry, more: &LossEntry) {
    sum.count = sum.count.zip(more.count).map(|(a, b)| a.saturating_add(b));
    sum.range = sum.range.cover(more.range);
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_model::{TimeRange, UnixMillis};

    fn loss(source: &str, count: Option<u64>, at: i64) -> LossEntry {
        LossEntry {
            stream: StreamKind::Logs,
            reason: LossReason::Oversize,
            count,
            range: TimeRange::at(UnixMillis(at)),
            source: source.into(),
        }
    }

    #[test]
    fn equal_losses_become_one() {
        let mut losses = Losses::default();
        losses.add(loss("a", Some(2), 5));
        losses.add(loss("a", Some(3), 1));
        losses.add(loss("b", None, 1));
        losses.add(loss("b", Some(1), 2));
        let entries: Vec<&LossEntry> = losses.entries().collect();
        assert_eq!(entries[0].count, Some(5));
        assert_eq!(entries[0].range, TimeRange { from: UnixMillis(1), to: UnixMillis(5) });
        assert_eq!(entries[1].count, None);
        assert_eq!(entries.len(), 2);
    }

    #[test]
    fn sources_are_bounded_and_every_count_stays() {
        let mut losses = Losses::default();
        for n in 0..1000 {
            losses.add(loss(&format!("{n}é{}", "x".repeat(400)), Some(1), 0));
        }
        assert_eq!(losses.entries().map(|entry| entry.count.unwrap()).sum::<u64>(), 1000);
        assert_eq!(losses.entries().count(), SOURCES_MAX + 1);
        assert!(losses.entries().all(|entry| entry.source.len() <= SOURCE_BYTES_MAX));
    }
}
