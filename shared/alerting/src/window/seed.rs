//! Filling a window with what a store has.

use super::Window;
use super::trim::AHEAD_MAX_MS;
use skerry_model::{Labels, UnixMillis};
use skerry_promql::{Source, SourceError};
use std::collections::BTreeMap;

/// What is read at once: a series after the other, while lanes want a moment after the other.
const SLICE_MS: i64 = 300_000;
/// Most samples that are read at once for one need.
const SAMPLES_MAX: u64 = 1_000_000;

impl Window {
    /// Fills the window with what a store has, so that it need not be asked again. What is pushed meanwhile may come
    /// twice.
    ///
    /// # Errors
    /// The store's; what was read until then is kept, and the store will be asked again.
    pub fn seed(&mut self, behind: &dyn Source, now: UnixMillis) -> Result<(), SourceError> {
        let reach = |back_ms: i64| now.0.saturating_sub(back_ms);
        let oldest = self.needs.all.iter().map(|need| reach(need.back_ms)).min();
        let mut from = oldest.unwrap_or(now.0);
        while from <= now.0 {
            let to = from.saturating_add(SLICE_MS - 1);
            // The last one takes what leading clocks stamped.
            let to = if to < now.0 { to } else { now.0.saturating_add(AHEAD_MAX_MS) };
            let mut rows: BTreeMap<i64, Vec<(Labels, f64)>> = BTreeMap::new();
            for need in self.needs.all.iter().filter(|need| need.left_out.is_none() && reach(need.back_ms) <= to) {
                let from = UnixMillis(from.max(reach(need.back_ms)));
                for series in behind.select(&need.matchers, from, UnixMillis(to), SAMPLES_MAX)? {
                    for sample in series.samples {
                        rows.entry(sample.at.0).or_default().push((series.labels.clone(), sample.value));
                    }
                }
            }
            for (at, rows) in rows {
                self.push(UnixMillis(at), rows.iter().map(|(labels, value)| (labels, *value)));
            }
            from = to.saturating_add(1);
        }
        for need in self.needs.all.iter_mut().filter(|need| need.left_out.is_none()) {
            need.since = need.since.min(UnixMillis(reach(need.back_ms).saturating_sub(1)));
        }
        Ok(())
    }
}
