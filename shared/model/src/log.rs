//! Log records.

use crate::{InvalidLabels, Labels, UnixMillis};
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
    /// What is known of this one record beside its text, as a request's id or a process's number; Loki calls it structured
    /// metadata. Apart from the labels, because it names no stream and may differ in every record.
    pub fields: Labels,
    /// The text without its line end. Bytes, because programs write what they like; need not be UTF-8.
    pub line: Vec<u8>,
}

impl LogRecord {
    /// The record as a reader of a block sees it.
    #[must_use]
    pub fn as_ref(&self) -> RecordRef<'_> {
        RecordRef {
            at: self.at,
            labels: &self.labels,
            output: self.output,
            level: self.level,
            fields: &self.fields,
            line: &self.line,
        }
    }
}

/// A record in somebody else's memory: what a search looks at without taking it out of its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// As [`LogRecord::at`].
    pub at: UnixMillis,
    /// As [`LogRecord::labels`]. Records of one block that have the same set refer to the same one.
    pub labels: &'a Labels,
    /// As [`LogRecord::output`].
    pub output: OutputStream,
    /// As [`LogRecord::level`].
    pub level: Level,
    /// As [`LogRecord::fields`].
    pub fields: &'a Labels,
    /// As [`LogRecord::line`].
    pub line: &'a [u8],
}

impl RecordRef<'_> {
    /// A record of its own.
    #[must_use]
    pub fn to_record(self) -> LogRecord {
        LogRecord {
            at: self.at,
            labels: self.labels.clone(),
            output: self.output,
            level: self.level,
            fields: self.fields.clone(),
            line: self.line.to_vec(),
        }
    }
}

/// The labels by which a record is queried: those of its source, `stream` (stdout, stderr) where its output is known, and
/// `level` where its severity is. Labels of the source that have these names already stay as they are.
///
/// These are the labels that Promtail and its kind give a container's lines, so that selectors people have work here.
///
/// # Errors
/// [`InvalidLabels`] if the set is too large with them.
pub fn stream_labels(labels: &Labels, output: OutputStream, level: Level) -> Result<Labels, InvalidLabels> {
    let stream = match output {
        OutputStream::None => "",
        OutputStream::Stdout => "stdout",
        OutputStream::Stderr => "stderr",
    };
    let level = if level == Level::Unknown { "" } else { level.as_str() };
    let told = [("stream", stream), ("level", level)].into_iter().filter(|(name, _)| labels.value(name).is_empty());
    Labels::new(labels.iter().chain(told))
}
