//! Reads systemd's journal: starts `journalctl` in its export format, and goes on behind the last stored entry.
//!
//! The program is used and not the files: their format has grown with every release (three compressions, keyed hashes,
//! compact files), while the export format is promised to stay. Its memory, 8 MiB resident with systemd 252, most of it
//! mapped files of the journal, comes on top of the agent's.
//!
//! It is asked to begin *at* the stored cursor, and the entry that is known already is left out here. So it shows when
//! that entry is gone because the journal was vacuumed or wiped: the ledger then tells the time between the two, and
//! how many entries where the journal's own numbers tell. Clocks play no part: a cursor names a number in a file.
//!
//! Invariants:
//! - A batch's position is the cursor of its last entry.
//! - The program never outlives its task; when it ends by itself it is started again, less and less often.

mod place;
mod task;
#[cfg(test)]
mod tests;

pub(super) use task::run;

/// Key of the position of an input.
pub(super) fn key(name: &str) -> String {
    format!("journal/{name}")
}
