//! Samples that rules read, in memory: what the selectors of all rules need and no more.

use skerry_model::{Labels, UnixMillis};
use skerry_promql::{Matcher, Selected, Source, SourceError};

/// What one selector of a rule reads.
#[derive(Debug, Clone)]
pub struct Need {
    /// Its conditions.
    pub matchers: Vec<Matcher>,
    /// How far behind the rule's time it looks, in milliseconds: range or lookback, offsets and the query offset in sum.
    pub back_ms: i64,
}

/// How a window fares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Series that are kept.
    pub series: usize,
    /// Samples that are kept.
    pub samples: usize,
    /// Memory, in bytes, about.
    pub bytes: usize,
    /// Needs that did not fit; their selectors are answered from behind.
    pub left_out: usize,
}

/// Samples in memory, by what rules need.
#[derive(Debug, Default)]
pub struct Window {
    stats: Stats,
}

impl Window {
    /// An empty window. It answers from memory what lies behind `now`, and more once it is seeded.
    #[must_use]
    pub fn new(_needs: &[Need], _bytes_max: usize, _now: UnixMillis) -> Self {
        Self::default()
    }

    /// Takes other needs, after a reload; samples that are still needed stay.
    pub fn set_needs(&mut self, _needs: &[Need], _now: UnixMillis) {}

    /// Takes what was measured at a moment, stale markers too; a moment may come again with other series, and late.
    pub fn push<'a>(&mut self, _at: UnixMillis, _rows: impl IntoIterator<Item = (&'a Labels, f64)>) {}

    /// Lets go of what is too old for every rule by `now`, and of series that are gone; before each evaluation.
    pub fn trim(&mut self, _now: UnixMillis) {}

    /// Fills the window with what a store has, so that it need not be asked again.
    ///
    /// # Errors
    /// The store's; what was read until then is kept, and the store will be asked again.
    pub fn seed(&mut self, _behind: &dyn Source, _now: UnixMillis) -> Result<(), SourceError> {
        Ok(())
    }

    /// How it fares.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats.clone()
    }
}

/// A window before a store: what the window covers comes from it, all else from behind.
#[derive(Clone, Copy)]
pub struct WindowSource<'a> {
    /// What is asked first.
    pub window: &'a Window,
    /// What is asked where the window does not reach.
    pub behind: &'a dyn Source,
}

impl Source for WindowSource<'_> {
    fn select(
        &self,
        matchers: &[Matcher],
        from: UnixMillis,
        to: UnixMillis,
        samples_max: u64,
    ) -> Result<Vec<Selected>, SourceError> {
        self.behind.select(matchers, from, to, samples_max)
    }
}
