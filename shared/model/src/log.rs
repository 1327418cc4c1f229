//! Log records.

use crate::{Labels, UnixMillis};
use serde::{Deserialize, Serialize};

/// Severity of a record, in the order of urgency; `Unknown` where nothing tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Level {
    /// Nothing in the record tells its severity.
    Unknown = 0,
    /// Finest detail.
    Trace = 1,
    /// For developers.
    Debug = 2,
    /// Normal running.
    Info = 3,
    /// Something is odd.
    Warn = 4,
    /// Something failed.
    Error = 5,
    /// The program or node cannot go on.
    Fatal = 6,
}

impl Level {
    /// Every level, by rising number.
    pub const ALL: [Self; 7] =
        [Self::Unknown, Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal];

    /// The level of that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The level that a program names in its own words (`warning`, `ERR`, `critical`, …), in any case.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        const WORDS: [(&str, Level); 18] = [
            ("trace", Level::Trace),
            ("debug", Level::Debug),
            ("dbg", Level::Debug),
            ("info", Level::Info),
            ("information", Level::Info),
            ("notice", Level::Info),
            ("inf", Level::Info),
            ("warn", Level::Warn),
            ("warning", Level::Warn),
            ("wrn", Level::Warn),
            ("error", Level::Error),
            ("err", Level::Error),
            ("severe", Level::Error),
            ("fatal", Level::Fatal),
            ("crit", Level::Fatal),
            ("critical", Level::Fatal),
            ("alert", Level::Fatal),
            ("panic", Level::Fatal),
        ];
        WORDS.iter().find(|(w, _)| w.eq_ignore_ascii_case(word)).map(|(_, level)| *level)
    }

    /// Lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }
}

/// Which output of a program a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum OutputStream {
    /// Not known, as with plain files.
    None = 0,
    /// Standard output.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
}

/// One log record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// When the program wrote it, where the format tells; else when it was read.
    pub at: UnixMillis,
    /// What names its source: `source` (the input's name in the config), `filename`, `container`, …
    pub labels: Labels,
    /// Which output it came from.
    pub output: OutputStream,
    /// Severity.
    pub level: Level,
    /// The text without its line end. Bytes, because programs write what they like; need not be UTF-8.
    pub line: Vec<u8>,
}
