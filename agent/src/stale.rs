//! Series that end: Prometheus's staleness.
//!
//! A source that no longer gives a series says so with a stale marker, or queries would show its last value for the
//! whole of the lookback. Collectors, probes and scraped targets each follow their own series.

use skerry_model::{Labels, Scrape, stale_nan};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// The series that a source gave last, each with the round in which it did.
///
/// Sources make the label sets of each round anew. What is known already is handed on as the set that is known, so that
/// one copy of it lives, here and wherever series are kept, however long the source runs.
#[derive(Debug, Default)]
pub struct Present {
    round: u32,
    series: HashMap<Labels, u32>,
}

impl Present {
    /// Notes what the source gives now, and adds a stale marker for each series that it gave before and not now.
    pub fn follow(&mut self, scrape: &mut Scrape) {
        self.round = self.round.wrapping_add(1);
        for (labels, _) in &mut scrape.values {
            match self.series.entry(labels.clone()) {
                Entry::Occupied(mut known) => {
                    *labels = known.key().clone();
                    known.insert(self.round);
                }
                Entry::Vacant(new) => _ = new.insert(self.round),
            }
        }
        self.series.retain(|labels, seen| {
            let is_there = *seen == self.round;
            if !is_there {
                scrape.values.push((labels.clone(), stale_nan()));
            }
            is_there
        });
        // Room for what a source gave once is not held for ever.
        if self.series.capacity() / 4 > self.series.len() {
            self.series.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_model::{LabelsBuilder, UnixMillis, is_stale};

    #[test]
    fn a_series_ends_once() {
        let series = |name| (LabelsBuilder::metric(name).build(), 1.0);
        let mut present = Present::default();
        let mut follow = |names: &[&'static str]| {
            let mut scrape = Scrape { at: UnixMillis(1), values: names.iter().map(|name| series(name)).collect() };
            present.follow(&mut scrape);
            let ended = scrape.values.into_iter().filter(|(_, value)| is_stale(*value));
            ended.map(|(labels, _)| labels.metric().to_owned()).collect::<Vec<String>>()
        };
        assert_eq!(follow(&["a", "b"]), [""; 0]);
        assert_eq!(follow(&["b"]), ["a"]);
        assert_eq!(follow(&["b"]), [""; 0]);
        assert_eq!(follow(&["a"]), ["b"]);
    }

    #[test]
    fn a_series_that_stays_keeps_one_label_set() {
        let mut present = Present::default();
        let mut follow = || {
            let labels = LabelsBuilder::metric("a").label("device", "sda").build();
            let mut scrape = Scrape { at: UnixMillis(1), values: vec![(labels, 1.0)] };
            present.follow(&mut scrape);
            scrape.values.remove(0).0
        };
        let first = follow();
        assert!((0..3).all(|_| follow().is_same(&first)));
    }
}
