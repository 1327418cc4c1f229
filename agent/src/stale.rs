//! Series that end: Prometheus's staleness.
//!
//! A source that no longer gives a series says so with a stale marker, or queries would show its last value for the
//! whole of the lookback. Collectors, probes and scraped targets each follow their own series.

use skerry_model::{Labels, Scrape, stale_nan};
use std::collections::HashSet;

/// The series that a source gave last.
#[derive(Debug, Default)]
pub struct Present(HashSet<Labels>);

impl Present {
    /// Notes what the source gives now, and adds a stale marker for each series that it gave before and not now.
    pub fn follow(&mut self, scrape: &mut Scrape) {
        let now: HashSet<Labels> = scrape.values.iter().map(|(labels, _)| labels.clone()).collect();
        scrape.values.extend(self.0.difference(&now).map(|labels| (labels.clone(), stale_nan())));
        self.0 = now;
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
}
