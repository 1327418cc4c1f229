//! Where samples come from.

use crate::matcher::Matcher;
use skerry_model::{Labels, Sample, UnixMillis};
use std::error::Error;

/// The samples of one series within the asked range, by rising time, each moment once.
#[derive(Debug, Clone, PartialEq)]
pub struct Selected {
    /// Its labels, with `__name__`.
    pub labels: Labels,
    /// Its samples; a stale marker ends the series until the next sample.
    pub samples: Vec<Sample>,
}

/// Why samples cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SourceError(pub Box<dyn Error + Send + Sync>);

/// The cause of a [`SourceError`] that is the query's own fault: it asks for more than may be read. Says how much that is
/// and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TooMuch(pub String);

/// A source of samples.
pub trait Source {
    /// Every series that meets all of `matchers` and has samples in `from..=to`, each label set once, sorted by labels.
    /// Stops with an error, best a [`TooMuch`], once it has found more than `samples_max` samples.
    ///
    /// # Errors
    /// [`SourceError`] where samples cannot be read.
    fn select(
        &self,
        matchers: &[Matcher],
        from: UnixMillis,
        to: UnixMillis,
        samples_max: u64,
    ) -> Result<Vec<Selected>, SourceError>;

    /// As [`Self::select`] for one who needs no more than each series' newest sample: a source that has it at hand may
    /// leave out the others.
    ///
    /// # Errors
    /// As [`Self::select`].
    fn newest(
        &self,
        matchers: &[Matcher],
        from: UnixMillis,
        to: UnixMillis,
        samples_max: u64,
    ) -> Result<Vec<Selected>, SourceError> {
        self.select(matchers, from, to, samples_max)
    }
}
