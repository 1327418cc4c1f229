//! Tables of the control file.

use super::ControlError;
use rusqlite::Connection;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Format of the file; written to `user_version`.
const FORMAT: i64 = 1;

/// Rows of the audit table that are kept.
const AUDIT_ROWS_MAX: i64 = 100_000;

/// - `node`: who may connect. `token`: who may join; its secret is needed to check the proof of whoever does.
/// - `config`, `assignment`, `root`: envelopes as they were sealed, with the revision that stands in them.
/// - `audit`: what was changed, when, and on whose word.
const TABLES: &str = "
CREATE TABLE node(
  name TEXT PRIMARY KEY, state TEXT NOT NULL, tls_pin BLOB NOT NULL, x25519 BLOB NOT NULL, token TEXT,
  asked INTEGER NOT NULL, enrolled INTEGER, cert_not_after INTEGER) STRICT, WITHOUT ROWID;
CREATE TABLE revoked_pin(pin BLOB PRIMARY KEY, node TEXT NOT NULL, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE token(
  id TEXT PRIMARY KEY, secret BLOB NOT NULL, uses INTEGER NOT NULL, used INTEGER NOT NULL, created INTEGER NOT NULL,
  expires INTEGER NOT NULL, approval INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE config(
  stream TEXT NOT NULL, epoch INTEGER NOT NULL, version INTEGER NOT NULL, received INTEGER NOT NULL,
  hash BLOB NOT NULL, envelope BLOB NOT NULL, PRIMARY KEY(stream, epoch, version)) STRICT;
CREATE TABLE assignment(
  node TEXT NOT NULL, epoch INTEGER NOT NULL, version INTEGER NOT NULL, received INTEGER NOT NULL,
  hash BLOB NOT NULL, envelope BLOB NOT NULL, PRIMARY KEY(node, epoch, version)) STRICT;
CREATE TABLE root(version INTEGER PRIMARY KEY, received INTEGER NOT NULL, envelope BLOB NOT NULL) STRICT;
CREATE TABLE audit(id INTEGER PRIMARY KEY, at INTEGER NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL) STRICT;
";

const SETTINGS: &str = "
PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000; PRAGMA cache_size = -4096;
PRAGMA temp_store = MEMORY;
";

/// Opens the file, and creates or checks its tables.
pub(super) fn open(path: &Path) -> Result<Connection, ControlError> {
    let failed = |source| ControlError::Open { path: path.to_owned(), source };
    // Token secrets stand in it. SQLite gives its other files the same mode. Where this fails, opening says why.
    let _ = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    let mut connection = Connection::open(path).map_err(failed)?;
    connection.execute_batch(SETTINGS).map_err(failed)?;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    match found {
        0 => {
            let transaction = connection.transaction().map_err(failed)?;
            transaction.execute_batch(TABLES).map_err(failed)?;
            transaction.pragma_update(None, "user_version", FORMAT).map_err(failed)?;
            transaction.commit().map_err(failed)?;
        }
        FORMAT => {}
        found => return Err(ControlError::TooNew { path: path.to_owned(), found, known: FORMAT }),
    }
    Ok(connection)
}

/// Notes a change. The oldest rows go when there are too many.
pub(super) fn audit(connection: &Connection, at: i64, action: &str, subject: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO audit(at, action, subject) VALUES(?, ?, ?)")?
        .execute((at, action, subject))?;
    connection
        .prepare_cached("DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?")?
        .execute([AUDIT_ROWS_MAX])
        .map(drop)
}
