//! Makes batches of the fleet's own series, as if a node had sent them.
//!
//! Each run of the server begins an epoch of its own, so that nothing has to be read back and no number is used twice.

use skerry_chunk::{Column, EncodeError, MetricBlock, dict};
use skerry_model::{Epoch, Labels, Seq, SeriesId, UnixMillis};
use skerry_wire::{Batch, Body};
use std::collections::{BTreeMap, HashMap};

/// Series of one batch; the store takes twice as many.
const BATCH_SERIES_MAX: usize = 50_000;
/// Series of one epoch. At more the epoch ends and another one begins, which forgets those that are no more.
const SERIES_MAX: usize = 1_000_000;

/// The fleet's own series.
#[derive(Debug)]
pub(super) struct Own {
    epoch: Epoch,
    next: Seq,
    ids: HashMap<Labels, SeriesId>,
}

impl Own {
    /// Under an epoch that was never used.
    pub(super) fn new(epoch: Epoch) -> Self {
        Self { epoch, next: Seq::FIRST, ids: HashMap::new() }
    }

    /// The epoch that batches bear.
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How many series it has in memory.
    pub(super) fn series(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are so many series that a new epoch is due.
    pub(super) fn is_full(&self) -> bool {
        self.ids.len() > SERIES_MAX
    }

    /// Batches that hold these samples; of two of one series at one moment the first counts.
    ///
    /// # Errors
    /// [`EncodeError`] if a block cannot be made, which no sample should bring about.
    pub(super) fn batches<'a>(
        &mut self,
        rows: impl IntoIterator<Item = (&'a Labels, UnixMillis, f64)>,
    ) -> Result<Vec<Batch>, EncodeError> {
        let mut moments: BTreeMap<UnixMillis, BTreeMap<SeriesId, f64>> = BTreeMap::new();
        let mut fresh: BTreeMap<SeriesId, Labels> = BTreeMap::new();
        for (labels, at, value) in rows {
            let id = match self.ids.get(labels) {
                Some(id) => *id,
                None => {
                    let id = SeriesId(u32::try_from(self.ids.len() + 1).unwrap_or(u32::MAX));
                    self.ids.insert(labels.clone(), id);
                    fresh.insert(id, labels.clone());
                    id
                }
            };
            moments.entry(at).or_default().entry(id).or_insert(value);
        }
        let mut batches = Vec::new();
        for (at, samples) in moments {
            let samples: Vec<(SeriesId, f64)> = samples.into_iter().collect();
            for part in samples.chunks(BATCH_SERIES_MAX) {
                let named: Vec<_> = part.iter().filter_map(|(id, _)| Some((*id, fresh.remove(id)?))).collect();
                let dict = if named.is_empty() { Vec::new() } else { dict::encode(&named)? };
                let columns = part.iter().map(|(series, value)| Column { series: *series, values: vec![Some(*value)] });
                let block = MetricBlock { timestamps: vec![at], columns: columns.collect() };
                let body = Body::Block(block.encode()?);
                batches.push(Batch { epoch: self.epoch, from: self.next, to: self.next, dict, body });
                self.next = Seq(self.next.0 + 1);
            }
        }
        Ok(batches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::MemoryLedger;
    use crate::intake::core::{Verdict, take_in};
    use crate::intake::fixture::node;
    use skerry_model::StreamKind;

    #[test]
    fn the_store_takes_what_is_made() {
        let mut own = Own::new(Epoch(5));
        let mut ledger = MemoryLedger::default();
        let labels: Vec<Labels> =
            (0..60_000).map(|n| Labels::new([("__name__", "x".to_owned()), ("n", n.to_string())]).unwrap()).collect();
        let mut take = |own: &mut Own, rows: Vec<(&Labels, UnixMillis, f64)>| {
            let batches = own.batches(rows).unwrap();
            let verdicts = batches.iter().map(|batch| {
                take_in(&mut ledger, &node("a"), StreamKind::Metrics, batch, UnixMillis(0)).unwrap().verdict
            });
            let records = verdicts.map(|verdict| match verdict {
                Verdict::Stored { records, .. } => records,
                other => panic!("{other:?}"),
            });
            records.collect::<Vec<_>>()
        };
        let all = labels.iter().map(|labels| (labels, UnixMillis(1), 1.0)).collect();
        assert_eq!(take(&mut own, all), [50_000, 10_000]);
        // Two moments, and a series that came twice at one of them.
        let some = vec![
            (&labels[7], UnixMillis(3), 1.0),
            (&labels[7], UnixMillis(2), 1.0),
            (&labels[7], UnixMillis(2), 5.0),
            (&labels[9], UnixMillis(2), f64::from_bits(0x7ff0_0000_0000_0002)),
        ];
        assert_eq!(take(&mut own, some), [2, 1]);
        assert_eq!(own.series(), 60_000);
        assert!(take(&mut own, Vec::new()).is_empty());
    }
}
