//! A look at the agent's state before the store is open: which signed config runs decides how the store is opened.

use super::held;
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeMap;
use std::path::Path;

/// Keys of the state that begin with `prefix`, with their values, also of what a full disk has not taken yet. Nothing where there is no database or where it
/// cannot be read: opening it will tell why, and what it holds is then set aside.
#[must_use]
pub fn peek(path: &Path, prefix: &str) -> Vec<(String, Vec<u8>)> {
    let read = || -> rusqlite::Result<Vec<(String, Vec<u8>)>> {
        // Read-write, because what a crash left in the write-ahead log has to be taken in first.
        let db =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        let mut statement = db.prepare("SELECT k, v FROM state WHERE substr(k, 1, length(?1)) = ?1 ORDER BY k")?;
        let rows = statement.query_map([prefix], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
        let mut state = rows.collect::<rusqlite::Result<BTreeMap<_, _>>>()?;
        for (key, value) in held::waiting(path, &db)?.into_iter().filter(|(key, _)| key.starts_with(prefix)) {
            match value {
                Some(value) => drop(state.insert(key, value)),
                None => drop(state.remove(&key)),
            }
        }
        Ok(state.into_iter().collect())
    };
    if !path.exists() {
        return Vec::new();
    }
    read().unwrap_or_else(|error| {
        tracing::warn!(%error, path = %path.display(), "the state could not be read before opening the store");
        Vec::new()
    })
}
