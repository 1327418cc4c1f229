//! What the store has done and how full it is, for the agent's own metrics and its status page.

use super::streams::{BlockMeta, Tip};
use skerry_model::{LossReason, Mono, StreamKind, TimeRange, UnixMillis};
use skerry_wire::Backlog;
use std::path::Path;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// Figures of the store. Counters count from the start of the process.
#[derive(Debug, Clone, PartialEq)]
pub struct Stats {
    /// Size of the database file, in bytes.
    pub db_bytes: u64,
    /// Size of its write-ahead log, in bytes.
    pub wal_bytes: u64,
    /// Bytes written since the start.
    pub written_bytes: u64,
    /// Bytes written in the current day; days are counted from the start.
    pub written_today_bytes: u64,
    /// Commits.
    pub commits: u64,
    /// Commits that failed, each attempt.
    pub failed_commits: u64,
    /// Samples taken in.
    pub samples: u64,
    /// Log records taken in.
    pub log_lines: u64,
    /// Those of them that ship policies keep here.
    pub log_lines_kept: u64,
    /// Samples in committed blocks.
    pub samples_stored: u64,
    /// Bytes of committed blocks of samples.
    pub sample_bytes_stored: u64,
    /// Log records in committed blocks.
    pub log_lines_stored: u64,
    /// Bytes of committed blocks of log records.
    pub log_bytes_stored: u64,
    /// Events in committed blocks.
    pub events_stored: u64,
    /// Blocks evicted, delivered or not.
    pub evicted_blocks: u64,
    /// Bytes of them.
    pub evicted_bytes: u64,
    /// Blocks that could not be read.
    pub corrupt_blocks: u64,
    /// Records of evicted or unreadable blocks that the fleet did not have. They stand in the ledger.
    pub lost_records: u64,
    /// Committed blocks of samples.
    pub metric_blocks: u64,
    /// Time that they cover.
    pub metric_range: Option<TimeRange>,
    /// Active series.
    pub series: u64,
    /// Scrapes in memory.
    pub scrapes_waiting: u64,
    /// Log bytes in memory.
    pub log_bytes_waiting: u64,
    /// Whether log inputs are made to wait.
    pub logs_wait: bool,
    /// How many times longer commits wait because the write budget runs short; 1 to 4.
    pub commit_factor: f64,
    /// What waits for acknowledgement, per stream.
    pub backlog: Vec<Backlog>,
    /// When the last commit was.
    pub last_commit: Option<UnixMillis>,
    /// Why the last commit failed; `None` once one has succeeded again.
    pub last_error: Option<String>,
    day_began: Mono,
}

impl Stats {
    pub(crate) const fn new(now: Mono) -> Self {
        Self {
            db_bytes: 0,
            wal_bytes: 0,
            written_bytes: 0,
            written_today_bytes: 0,
            commits: 0,
            failed_commits: 0,
            samples: 0,
            log_lines: 0,
            log_lines_kept: 0,
            samples_stored: 0,
            sample_bytes_stored: 0,
            log_lines_stored: 0,
            log_bytes_stored: 0,
            events_stored: 0,
            evicted_blocks: 0,
            evicted_bytes: 0,
            corrupt_blocks: 0,
            lost_records: 0,
            metric_blocks: 0,
            metric_range: None,
            series: 0,
            scrapes_waiting: 0,
            log_bytes_waiting: 0,
            logs_wait: false,
            commit_factor: 1.0,
            backlog: Vec::new(),
            last_commit: None,
            last_error: None,
            day_began: now,
        }
    }

    /// Size of the database with its write-ahead log, in bytes.
    #[must_use]
    pub const fn file_bytes(&self) -> u64 {
        self.db_bytes + self.wal_bytes
    }

    pub(super) fn wrote(&mut self, bytes: u64, now: Mono) {
        if now.since(self.day_began) >= DAY {
            self.day_began = now;
            self.written_today_bytes = 0;
        }
        self.written_bytes += bytes;
        self.written_today_bytes += bytes;
    }

    pub(super) fn stored(&mut self, blocks: &[(StreamKind, BlockMeta)]) {
        for (kind, block) in blocks {
            let (records, bytes) = (u64::from(block.records), u64::from(block.bytes));
            match kind {
                StreamKind::Metrics => {
                    self.samples_stored += records;
                    self.sample_bytes_stored += bytes;
                }
                StreamKind::Logs => {
                    self.log_lines_stored += records;
                    self.log_bytes_stored += bytes;
                }
                StreamKind::Events => self.events_stored += records,
            }
        }
    }

    pub(super) const fn evicted(&mut self, reason: LossReason, block: &BlockMeta) {
        if matches!(reason, LossReason::Corrupt) {
            self.corrupt_blocks += 1;
        } else {
            self.evicted_blocks += 1;
            self.evicted_bytes += block.bytes as u64;
        }
    }

    pub(super) fn fill(&mut self, path: &Path, tips: &[Tip]) {
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |meta| meta.len());
        self.db_bytes = size(path);
        self.wal_bytes = size(&super::open::beside(path, "-wal"));
        self.backlog = StreamKind::ALL
            .into_iter()
            .map(|stream| {
                let ours = || tips.iter().filter(|tip| tip.stream == stream);
                Backlog {
                    stream,
                    waiting: ours().map(|tip| tip.waiting).sum(),
                    oldest: ours().filter_map(|tip| tip.oldest).min(),
                }
            })
            .collect();
    }
}
