//! The loss ledger: what was not kept, and why.

use crate::{StreamKind, TimeRange};
use serde::{Deserialize, Serialize};

/// Why records are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossReason {
    /// The stream's byte budget was full and its policy drops the oldest.
    Retention,
    /// The agent stopped without a chance to write what was in memory.
    Crash,
    /// The disk or the database's own cap was full.
    DiskFull,
    /// A stored block failed its checksum or could not be decoded.
    Corrupt,
    /// A record exceeded a limit (line length, label bytes).
    Oversize,
    /// More series than the limit allows.
    SeriesLimit,
    /// A queue in memory was full and its source cannot wait.
    Overload,
    /// A source vanished, was truncated or was rotated away before it was read to its end.
    SourceGone,
    /// The database itself could not be opened and a new one was begun.
    DatabaseReplaced,
    /// A collector failed and took no measurement.
    CollectorFailed,
    /// A record could not be parsed.
    Parse,
    /// A sample was older than the newest of its series, or had its time and another value.
    OutOfOrder,
    /// A sample's time was too far in the future.
    OutOfBounds,
    /// What a source gave at once exceeded a limit of its config (samples, labels, bytes).
    Limit,
    /// The store that they were passed on to refused them.
    Refused,
    /// A rule of the config says that such records are not kept.
    Filtered,
    /// A rule keeps only one record of so many.
    Sampled,
    /// A rule allows only so many records in a time.
    RateLimited,
    /// Equal to the record before; a later record says how many there were.
    Repeated,
    /// Part of a record was taken out or made unreadable as secret. The record itself is kept.
    Redacted,
}

impl LossReason {
    /// Every reason.
    pub const ALL: [Self; 20] = [
        Self::Retention,
        Self::Crash,
        Self::DiskFull,
        Self::Corrupt,
        Self::Oversize,
        Self::SeriesLimit,
        Self::Overload,
        Self::SourceGone,
        Self::DatabaseReplaced,
        Self::CollectorFailed,
        Self::Parse,
        Self::OutOfOrder,
        Self::OutOfBounds,
        Self::Limit,
        Self::Refused,
        Self::Filtered,
        Self::Sampled,
        Self::RateLimited,
        Self::Repeated,
        Self::Redacted,
    ];

    /// Lower-case name, as it stands in labels and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::Crash => "crash",
            Self::DiskFull => "disk_full",
            Self::Corrupt => "corrupt",
            Self::Oversize => "oversize",
            Self::SeriesLimit => "series_limit",
            Self::Overload => "overload",
            Self::SourceGone => "source_gone",
            Self::DatabaseReplaced => "database_replaced",
            Self::CollectorFailed => "collector_failed",
            Self::Parse => "parse",
            Self::OutOfOrder => "out_of_order",
            Self::OutOfBounds => "out_of_bounds",
            Self::Limit => "limit",
            Self::Refused => "refused",
            Self::Filtered => "filtered",
            Self::Sampled => "sampled",
            Self::RateLimited => "rate_limited",
            Self::Repeated => "repeated",
            Self::Redacted => "redacted",
        }
    }

    /// The reason of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// One line of the loss ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossEntry {
    /// Which stream the records belonged to.
    pub stream: StreamKind,
    /// Why they are missing.
    pub reason: LossReason,
    /// How many: samples for metrics, lines for logs, events for events. `None` where nobody can know.
    pub count: Option<u64>,
    /// When they were taken, as far as known.
    pub range: TimeRange,
    /// What they came from (a file, a collector, a table); `""` where it is the whole stream. At most 256 bytes.
    pub source: String,
}
