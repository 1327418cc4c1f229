//! What is scraped and how that goes, for whoever shows it.

use super::discovery::{Found, Wanted};
use skerry_model::{Labels, MetricMeta, UnixMillis};
use skerry_promapi::{Health, Target, Targets};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Handle to what is shown; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct State(Arc<Mutex<Shown>>);

#[derive(Debug, Default)]
struct Shown {
    active: Vec<Arc<Status>>,
    dropped: Vec<(String, Labels)>,
    dropped_counts: BTreeMap<String, usize>,
}

/// One target's.
#[derive(Debug)]
pub(super) struct Status(Mutex<Entries>);

#[derive(Debug)]
struct Entries {
    target: Target,
    /// Why it is not scraped, though it is a target.
    refused: Option<String>,
    metadata: Vec<MetricMeta>,
}

impl State {
    /// The targets in the order of the config.
    #[must_use]
    pub fn targets(&self) -> Targets {
        let shown = self.lock();
        Targets {
            active: shown.active.iter().map(|status| status.lock().target.clone()).collect(),
            dropped: shown.dropped.clone(),
            dropped_counts: shown.dropped_counts.clone(),
        }
    }

    /// What targets say about their metrics; one that many targets have stands once.
    #[must_use]
    pub fn metadata(&self) -> Vec<MetricMeta> {
        let active = self.lock().active.clone();
        let mut all: std::collections::HashSet<MetricMeta> = std::collections::HashSet::new();
        for status in active {
            all.extend(status.lock().metadata.iter().cloned());
        }
        all.into_iter().collect()
    }

    pub(super) fn show(&self, active: Vec<Arc<Status>>, found: Found) {
        let Found { dropped, dropped_counts, .. } = found;
        *self.lock() = Shown { active, dropped, dropped_counts };
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Status {
    pub(super) fn new(wanted: &Wanted) -> Self {
        let skerry_scrape::target::Target { discovered, labels, url, interval, timeout } = wanted.target.clone();
        let target = Target {
            pool: wanted.pool.job.name.clone(),
            discovered,
            labels,
            url,
            health: Health::Unknown,
            last_error: String::new(),
            last_scrape: None,
            last_took: Duration::ZERO,
            interval,
            timeout,
        };
        Self(Mutex::new(Entries { target, refused: wanted.refused.clone(), metadata: Vec::new() }))
    }

    /// Discovery sees the same target with other words around it.
    pub(super) fn update(&self, wanted: &Wanted) {
        let mut entries = self.lock();
        entries.target.discovered = wanted.target.discovered.clone();
        entries.refused.clone_from(&wanted.refused);
    }

    pub(super) fn refused(&self) -> Option<String> {
        self.lock().refused.clone()
    }

    /// A scrape has ended.
    pub(super) fn scraped(&self, at: UnixMillis, took: Duration, error: Option<String>) {
        let mut entries = self.lock();
        entries.target.health = if error.is_some() { Health::Down } else { Health::Up };
        entries.target.last_error = error.unwrap_or_default();
        (entries.target.last_scrape, entries.target.last_took) = (Some(at), took);
    }

    pub(super) fn told(&self, metadata: Vec<MetricMeta>) {
        self.lock().metadata = metadata;
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
