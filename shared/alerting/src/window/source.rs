//! Answers from memory, and from behind where memory does not reach.

use super::Window;
use super::needs::Known;
use skerry_model::{Labels, UnixMillis};
use skerry_promql::{Matcher, Selected, Source, SourceError, TooMuch};
use std::borrow::Cow;
use std::fmt;

/// A window before a store: what the window covers comes from it, all else from behind.
#[derive(Clone, Copy)]
pub struct WindowSource<'a> {
    /// What is asked first.
    pub window: &'a Window,
    /// What is asked where the window does not reach.
    pub behind: &'a dyn Source,
}

impl fmt::Debug for WindowSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowSource").field("window", self.window).finish_non_exhaustive()
    }
}

impl Window {
    /// The need that these conditions are, if all of its samples from `from` on are here.
    fn covering(&self, matchers: &[Matcher], from: UnixMillis) -> Option<&Known> {
        let need = &self.needs.all[self.needs.find(matchers)? as usize];
        let is_covered = need.left_out.is_none() && from > need.since && from.0 > self.horizon(need.back_ms);
        is_covered.then_some(need)
    }

    /// The series of a need, sorted by labels.
    fn sorted<'a>(&self, need: &'a Known) -> Cow<'a, [u32]> {
        if need.sorted == need.series.len() {
            return Cow::Borrowed(&need.series);
        }
        // Somebody pushed new series and did not trim: right, and slow.
        let mut series = need.series.clone();
        series.sort_by(|a, b| self.labels(*a).cmp(&self.labels(*b)));
        Cow::Owned(series)
    }

    fn labels(&self, number: u32) -> Option<&Labels> {
        self.series[number as usize].as_ref().map(|series| &series.labels)
    }

    /// What a need's series have in a range; `None` where not all of it is here.
    fn read(&self, matchers: &[Matcher], asked: Asked) -> Option<Result<Vec<Selected>, SourceError>> {
        let need = self.covering(matchers, asked.from)?;
        let numbers = self.sorted(need);
        let mut found = Vec::with_capacity(numbers.len());
        let (mut samples_found, mut lane_before, mut rows) = (0, u32::MAX, (0, 0));
        for series in numbers.iter().filter_map(|number| self.series[*number as usize].as_ref()) {
            let Some(lane) = self.lanes.get(series.lane as usize) else { continue };
            if series.lane != lane_before {
                (lane_before, rows) = (series.lane, lane.rows(asked.from.0, asked.to.0));
            }
            let samples = match asked.what {
                What::All => series.read(lane, rows.0, rows.1),
                What::Newest => series.newest(lane, rows.0, rows.1).into_iter().collect(),
            };
            if samples.is_empty() {
                continue;
            }
            samples_found += samples.len() as u64;
            if samples_found > asked.samples_max {
                let max = asked.samples_max;
                let text = format!("more than {max} samples; ask for a shorter range or for fewer series");
                return Some(Err(SourceError(Box::new(TooMuch(text)))));
            }
            found.push(Selected { labels: series.labels.clone(), samples });
        }
        Some(Ok(found))
    }
}

/// What is asked of a need.
#[derive(Clone, Copy)]
struct Asked {
    from: UnixMillis,
    to: UnixMillis,
    samples_max: u64,
    what: What,
}

/// Which samples.
#[derive(Clone, Copy)]
enum What {
    All,
    Newest,
}

impl Source for WindowSource<'_> {
    fn select(
        &self,
        matchers: &[Matcher],
        from: UnixMillis,
        to: UnixMillis,
        samples_max: u64,
    ) -> Result<Vec<Selected>, SourceError> {
        let here = self.window.read(matchers, Asked { from, to, samples_max, what: What::All });
        here.unwrap_or_else(|| self.behind.select(matchers, from, to, samples_max))
    }

    fn newest(
        &self,
        matchers: &[Matcher],
        from: UnixMillis,
        to: UnixMillis,
        samples_max: u64,
    ) -> Result<Vec<Selected>, SourceError> {
        let here = self.window.read(matchers, Asked { from, to, samples_max, what: What::Newest });
        here.unwrap_or_else(|| self.behind.newest(matchers, from, to, samples_max))
    }
}
