//! One target's memory from scrape to scrape: which series it has, what is to be stored, what has ended, what had to be
//! refused.
//!
//! A scrape is taken whole or not at all. Until it has ended well its values are held, 24 bytes for each; then they go
//! out as one [`Scrape`] for each moment. A series that a good scrape lacks ends with a stale marker, and so does every
//! series where a scrape fails or the target goes away.
//!
//! Facts: Prometheus's documentation of `scrape_config` and of staleness, and what its scraper is seen to do. One thing
//! differs: a value without a timestamp of its own is never out of order, even where this node's clock was set back.
//!
//! Invariants:
//! - Memory is bounded by `samples_max` series; those that a failed scrape brought are forgotten with it.
//! - What is not stored of a scrape is told in [`Outcome::refused`].

mod labels;
mod metadata;
mod round;
#[cfg(test)]
mod tests;

pub use round::Round;

use crate::relabel::Rule;
use metadata::Metadata;
use skerry_model::{InvalidLabels, Labels, LossReason, MetricMeta, Scrape, UnixMillis, stale_nan};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// How far a sample's own time may lie ahead, as in Prometheus.
pub const AHEAD_MS_MAX: i64 = 10 * 60_000;
/// How far it may lie back: Prometheus's head refuses what is older than half of its two hours.
pub const BEHIND_MS_MAX: i64 = 60 * 60_000;
/// Most moments that the samples of one scrape may have, this scrape's own among them.
pub const MOMENTS_MAX: usize = 256;

/// What a job does with the samples of its targets.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether a label of the target's exposition goes before the target's own of the same name.
    pub honor_labels: bool,
    /// Whether timestamps of the exposition count.
    pub honor_timestamps: bool,
    /// Whether series with timestamps end with a stale marker too.
    pub track_timestamps_staleness: bool,
    /// `metric_relabel_configs`.
    pub rules: Vec<Rule>,
    /// Most samples after relabelling.
    pub samples_max: usize,
    /// Most labels of a series; `None`: as many as a label set may have.
    pub labels_max: Option<usize>,
    /// Longest label name in bytes.
    pub label_name_bytes_max: Option<usize>,
    /// Longest label value in bytes.
    pub label_value_bytes_max: Option<usize>,
}

/// Why a scrape failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing came, or not all of it.
    #[error("{0}")]
    Fetch(String),
    /// More came than may.
    #[error("{0}")]
    Oversize(String),
    /// What came is no exposition.
    #[error(transparent)]
    Parse(#[from] crate::exposition::BadLine),
    /// Labels that no label set takes.
    #[error("the labels of {series} cannot be used: {cause}")]
    Labels {
        /// The series' begin.
        series: String,
        /// What is wrong.
        cause: InvalidLabels,
    },
    /// Relabelling took the metric's name away.
    #[error("{series} has no metric name after relabelling")]
    NoName {
        /// The series' begin.
        series: String,
    },
    /// A `sample_limit` or one of the label limits.
    #[error("{0}")]
    Limit(String),
}

impl Failure {
    /// Under which reason the samples stand in the loss ledger.
    #[must_use]
    pub const fn reason(&self) -> LossReason {
        match self {
            Self::Fetch(_) => LossReason::CollectorFailed,
            Self::Oversize(_) => LossReason::Oversize,
            Self::Parse(bad) if matches!(bad.problem, crate::exposition::Problem::TooLong) => LossReason::Oversize,
            Self::Parse(_) | Self::NoName { .. } => LossReason::Parse,
            Self::Labels { cause: InvalidLabels::TooLong(_), .. } => LossReason::Oversize,
            Self::Labels { cause: InvalidLabels::TooMany(_), .. } | Self::Limit(_) => LossReason::Limit,
            Self::Labels { .. } => LossReason::Parse,
        }
    }
}

/// How a scrape ended.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// What to store: other moments that the target told, by rising time, then this scrape's own, which holds `up`.
    pub scrapes: Vec<Scrape>,
    /// Samples of a scrape that went well which are not among them, by reason.
    pub refused: BTreeMap<LossReason, u64>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// Samples that were read.
    pub scraped: u64,
    /// Series of the target that are known now.
    pub series: usize,
}

/// The memory of one target.
#[derive(Debug)]
pub struct Rounds {
    labels: Labels,
    settings: Arc<Settings>,
    /// What is known of a text that names a series.
    texts: HashMap<Box<str>, Text>,
    series: Vec<Option<Series>>,
    free: Vec<u32>,
    by_labels: HashMap<Labels, u32>,
    /// Newest time and value of series that bring their own times.
    stamped: HashMap<u32, (i64, u64)>,
    metadata: Metadata,
    reports: [Labels; 5],
    /// Number of the scrape that is being read, from 1.
    round: u32,
    /// Number of the last scrape, if it ended well; else 0.
    good: u32,
    /// Whether there is anything that the target's end would end.
    reported: bool,
}

#[derive(Debug, Clone, Copy)]
struct Text {
    /// Index of its series; `None` where relabelling drops it.
    series: Option<u32>,
    seen: u32,
}

#[derive(Debug)]
struct Series {
    labels: Labels,
    /// Round that brought it.
    born: u32,
    /// Last round in which it was there, and where its value stands among that round's.
    seen: u32,
    slot: u32,
    /// Last round that took it for there, as far as stale markers go.
    present: u32,
    /// How many texts name it.
    texts: u32,
}

impl Rounds {
    /// Of a target whose series get these labels.
    #[must_use]
    pub fn new(labels: Labels, settings: Arc<Settings>) -> Self {
        let reports = labels::reports(&labels);
        Self {
            labels,
            settings,
            texts: HashMap::new(),
            series: Vec::new(),
            free: Vec::new(),
            by_labels: HashMap::new(),
            stamped: HashMap::new(),
            metadata: Metadata::default(),
            reports,
            round: 0,
            good: 0,
            reported: false,
        }
    }

    /// Begins a scrape at that moment. `room` is how many series the target may have, besides what its own limit says:
    /// what all targets together have left.
    pub fn begin(&mut self, at: UnixMillis, room: usize) -> Round<'_> {
        self.round = self.round.wrapping_add(1).max(1);
        self.metadata.begin(self.round);
        Round::new(self, at, room)
    }

    /// Grows whenever [`Rounds::metadata`] changes.
    #[must_use]
    pub const fn metadata_version(&self) -> u64 {
        self.metadata.version()
    }

    /// Series that are known.
    #[must_use]
    pub const fn series(&self) -> usize {
        self.series.len() - self.free.len()
    }

    /// What is known of the target's metrics.
    pub fn metadata(&self) -> impl Iterator<Item = MetricMeta> {
        self.metadata.all()
    }

    /// The target is no more: stale markers for everything that it had.
    pub fn end(self, at: UnixMillis) -> Option<Scrape> {
        let present = self.series.iter().flatten().filter(|series| series.present == self.good && self.good > 0);
        let mut values: Vec<(Labels, f64)> = present.map(|series| (series.labels.clone(), stale_nan())).collect();
        if self.reported {
            values.extend(self.reports.into_iter().map(|labels| (labels, stale_nan())));
        }
        (!values.is_empty()).then_some(Scrape { at, values })
    }

    /// Stale markers for series that the last scrape had and this one has not.
    fn end_absent(&mut self, scrape: &mut Scrape) {
        let gone = self.series.iter().flatten().filter(|series| series.present == self.good && self.good > 0);
        scrape.values.extend(gone.map(|series| (series.labels.clone(), stale_nan())));
    }

    /// Forgets the texts that `keeps` does not want, and the series that no text names any more.
    fn forget(&mut self, keeps: impl Fn(&Text, Option<&Series>) -> bool) {
        let Self { texts, series, free, by_labels, stamped, .. } = self;
        texts.retain(|_, text| {
            let Some(index) = text.series else { return keeps(text, None) };
            let Some(slot) = series.get_mut(index as usize) else { return false };
            if keeps(text, slot.as_ref()) {
                return true;
            }
            if let Some(held) = slot {
                held.texts -= 1;
                if held.texts == 0 {
                    by_labels.remove(&held.labels);
                    stamped.remove(&index);
                    *slot = None;
                    free.push(index);
                }
            }
            false
        });
    }

    fn reports(&self, values: [f64; 5]) -> impl Iterator<Item = (Labels, f64)> {
        self.reports.iter().cloned().zip(values)
    }
}
