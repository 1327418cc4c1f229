//! Where reading the journal goes on.

use crate::logs::inputs::config::Journal;
use skerry_logs::wire::journal::{CURSOR_BYTES_MAX, sequence};
use skerry_model::UnixMillis;

/// The last entry that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) cursor: String,
    /// When the journal took that entry.
    pub(super) at: UnixMillis,
    /// What was read by then: another choice of units shows other entries, and the last one may not be among them.
    pub(super) selection: u32,
}

impl Place {
    /// The stored form: version, selection, time and cursor, each in its line.
    pub(super) fn encode(&self) -> Vec<u8> {
        format!("1\n{}\n{}\n{}", self.selection, self.at.0, self.cursor).into_bytes()
    }

    /// Reads it; `None` where it is damaged.
    pub(super) fn decode(state: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(state).ok()?.split('\n');
        if lines.next()? != "1" {
            return None;
        }
        let (selection, at, cursor) = (lines.next()?.parse().ok()?, lines.next()?.parse().ok()?, lines.next()?);
        // It becomes an argument of a program.
        let good = (1..=CURSOR_BYTES_MAX).contains(&cursor.len())
            && cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'=' | b';' | b'-' | b'_'));
        (good && lines.next().is_none()).then(|| Self { cursor: cursor.to_owned(), at: UnixMillis(at), selection })
    }

    /// How many entries lie between this one and a later one; `None` where it cannot be known.
    pub(super) fn entries_before(&self, cursor: &str) -> Option<u64> {
        let ((file, last), (other, next)) = (sequence(&self.cursor)?, sequence(cursor)?);
        (file == other).then(|| next.checked_sub(last + 1)).flatten()
    }
}

/// Tells one choice of entries from another.
pub(super) fn selection(config: &Journal) -> u32 {
    crc32fast::hash(format!("{:?}{:?}{:?}", config.units, config.matches, config.priority).as_bytes())
}
