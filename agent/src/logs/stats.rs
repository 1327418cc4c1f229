//! Counters of the log inputs, for the agent's own metrics.

use skerry_logs::pipeline::{Counts, Pipeline};
use skerry_model::Observation;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::intake;

/// Most problems that are kept in words; all are counted.
const PROBLEMS_MAX: usize = 64;

/// What the log inputs did since the agent began. Shared; read at any time.
#[derive(Debug, Default)]
pub struct LogStats {
    /// Records read.
    pub lines: Counter,
    /// Bytes of records read, without line ends.
    pub bytes: Counter,
    /// Lines that were not in their file's format and were kept raw.
    pub parse_failures: Counter,
    /// Lines that were cut at `line_bytes_max`.
    pub oversize: Counter,
    /// Records of several lines that reached a bound and went on in another record.
    pub multiline_splits: Counter,
    /// Files that were rotated by rename.
    pub rotations: Counter,
    /// Files that were truncated or rewritten in place.
    pub truncations: Counter,
    /// Files that went away before they were read to their end, as far as known.
    pub lost_files: Counter,
    /// Failed attempts to look at, open or read a file or folder.
    pub read_errors: Counter,
    /// Files held open now.
    pub files_open: Counter,
    /// Files that wait because `files_max` are open.
    pub files_waiting: Counter,
    /// Files that cannot be read now.
    pub files_unreadable: Counter,
    problems: Mutex<BTreeMap<PathBuf, String>>,
    pipelines: Mutex<Vec<Arc<Mutex<Pipeline>>>>,
}

impl LogStats {
    /// What cannot be read now, why, and what to do about it; at most 64, by path.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        self.table().values().cloned().collect()
    }

    /// What stages made of records, with its values now: a label set stands once, observations of a metric are adjacent.
    #[must_use]
    pub fn observations(&self) -> Vec<Observation> {
        intake::observations(self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).iter())
    }

    /// What happened in stages to records that were kept nevertheless.
    #[must_use]
    pub fn stage_counts(&self) -> Counts {
        intake::counts(self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).iter())
    }

    pub(super) fn add_pipeline(&self, pipeline: Arc<Mutex<Pipeline>>) {
        self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).push(pipeline);
    }

    pub(super) fn problem(&self, path: &Path, problem: String) {
        let mut table = self.table();
        if table.len() < PROBLEMS_MAX || table.contains_key(path) {
            table.insert(path.to_owned(), problem);
        }
    }

    pub(super) fn solved(&self, path: &Path) {
        self.table().remove(path);
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<PathBuf, String>> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number that many may read while one adds.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Its value now.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }
}
