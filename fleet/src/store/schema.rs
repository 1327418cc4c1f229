//! Tables and connection settings.

use super::error::OpenError;
use super::{alerts, contact, forwarding, outgoing, told};
use rusqlite::{Connection, OpenFlags};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Format of the file; written to `user_version`.
const FORMAT: i64 = 2;

/// - `node`: names as small numbers. `stream`: one row per node, stream and epoch with what is held; its `id` rises in
///   the order in which epochs were first seen, which is the order of their contents. `t0`, `t1` bound the times of
///   what was ever stored below it.
/// - `label_text`: every label set there is, once for the whole fleet, as a JSON array of pairs: most nodes measure the
///   same. `label_pair`: which of them have a name and value. `labelset`: a node's series over all epochs; `until` is
///   set when no epoch names it any more, and it goes with the last chunk that may hold it. `series`: which of them a
///   series id of an epoch is.
/// - `metric_chunk`: what compaction made of a node's blocks; its series ids are the numbers of label sets, `s0` to `s1`.
///   `first` and `received` say when the earliest and the latest of it came in.
/// - `metric_block`, `log_block`, `event`, `gone`, `quarantine`: contents. `loss`: the ledger of what is missing.
/// - `usage`: rows and bytes that retention goes by. `counts`: what each node ever sent. `seen`: its last words.
const TABLES: &str = "
CREATE TABLE node(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE stream(
  id INTEGER PRIMARY KEY, node INTEGER NOT NULL, kind TEXT NOT NULL, epoch INTEGER NOT NULL,
  have BLOB NOT NULL, series BLOB NOT NULL, open INTEGER NOT NULL, used INTEGER NOT NULL, t0 INTEGER, t1 INTEGER,
  UNIQUE(node, kind, epoch)) STRICT;
CREATE TABLE label_text(id INTEGER PRIMARY KEY, labels TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE label_pair(
  name TEXT NOT NULL, value TEXT NOT NULL, text INTEGER NOT NULL, PRIMARY KEY(name, value, text)) STRICT, WITHOUT ROWID;
CREATE TABLE labelset(
  id INTEGER PRIMARY KEY, node INTEGER NOT NULL, text INTEGER NOT NULL, until INTEGER, UNIQUE(node, text)) STRICT;
CREATE INDEX labelset_text ON labelset(text, node);
CREATE INDEX labelset_until ON labelset(until) WHERE until IS NOT NULL;
CREATE TABLE series(
  stream INTEGER NOT NULL, sid INTEGER NOT NULL, labelset INTEGER NOT NULL,
  PRIMARY KEY(stream, sid)) STRICT, WITHOUT ROWID;
CREATE INDEX series_labelset ON series(labelset, stream, sid);
CREATE TABLE metric_block(
  id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, seq_from INTEGER NOT NULL, seq_to INTEGER NOT NULL,
  t0 INTEGER NOT NULL, t1 INTEGER NOT NULL, samples INTEGER NOT NULL, received INTEGER NOT NULL,
  data BLOB NOT NULL) STRICT;
CREATE INDEX metric_block_time ON metric_block(stream, t1, t0);
CREATE TABLE metric_chunk(
  id INTEGER PRIMARY KEY, node INTEGER NOT NULL, level INTEGER NOT NULL, s0 INTEGER NOT NULL, s1 INTEGER NOT NULL,
  t0 INTEGER NOT NULL, t1 INTEGER NOT NULL, samples INTEGER NOT NULL, first INTEGER NOT NULL,
  received INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
CREATE INDEX metric_chunk_time ON metric_chunk(node, t1, t0, s0, s1);
CREATE INDEX metric_chunk_short ON metric_chunk(node, t1) WHERE level = 1;
CREATE INDEX metric_chunk_received ON metric_chunk(received);
CREATE TABLE log_block(
  id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, seq INTEGER NOT NULL, t0 INTEGER NOT NULL, t1 INTEGER NOT NULL,
  records INTEGER NOT NULL, received INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
CREATE INDEX log_block_time ON log_block(stream, t1, t0, seq);
CREATE TABLE event(
  id INTEGER PRIMARY KEY, node INTEGER NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL, received INTEGER NOT NULL,
  data BLOB NOT NULL) STRICT;
CREATE INDEX event_node ON event(node, id);
CREATE TABLE loss(
  id INTEGER PRIMARY KEY, node INTEGER NOT NULL, stream TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER,
  t0 INTEGER NOT NULL, t1 INTEGER NOT NULL, source TEXT NOT NULL, received INTEGER NOT NULL) STRICT;
CREATE INDEX loss_node ON loss(node, id);
CREATE TABLE gone(
  id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, seq_from INTEGER NOT NULL, seq_to INTEGER NOT NULL,
  reason TEXT NOT NULL, t0 INTEGER NOT NULL, t1 INTEGER NOT NULL, received INTEGER NOT NULL) STRICT;
CREATE TABLE quarantine(
  id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, seq_from INTEGER NOT NULL, seq_to INTEGER NOT NULL,
  code TEXT NOT NULL, reason TEXT NOT NULL, received INTEGER NOT NULL, data BLOB) STRICT;
CREATE TABLE usage(kind TEXT PRIMARY KEY, rows INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE counts(
  node INTEGER PRIMARY KEY, batches INTEGER NOT NULL DEFAULT 0, samples INTEGER NOT NULL DEFAULT 0,
  log_lines INTEGER NOT NULL DEFAULT 0, log_bytes INTEGER NOT NULL DEFAULT 0, events INTEGER NOT NULL DEFAULT 0,
  losses INTEGER NOT NULL DEFAULT 0, gone INTEGER NOT NULL DEFAULT 0, quarantined INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE seen(
  node INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL, hello BLOB, status BLOB) STRICT;
";

/// Settings of every connection. A reader waits a little where the writer truncates the log.
const SETTINGS: &str = "
PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000; PRAGMA cache_size = -8192;
PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0;
";

/// Opens the file for writing, and creates or checks its tables.
pub(super) fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    let failed = |source| classify(path, source);
    // Logs may hold what is not for every user of the machine. SQLite gives its other files the same mode. Where this
    // fails, opening the file says why.
    let _ = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    let mut connection = Connection::open(path).map_err(failed)?;
    // Takes effect in a new file only, and before its first table.
    connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL").map_err(failed)?;
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
        found if found < FORMAT => return Err(OpenError::TooOld { path: path.to_owned(), found, oldest: FORMAT }),
        found => return Err(OpenError::TooNew { path: path.to_owned(), found, known: FORMAT }),
    }
    connection.execute_batch(outgoing::TABLES).map_err(failed)?;
    connection.execute_batch(forwarding::TABLES).map_err(failed)?;
    connection.execute_batch(alerts::TABLES).map_err(failed)?;
    connection.execute_batch(contact::TABLES).map_err(failed)?;
    connection.execute_batch(told::TABLES).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Opens the file for reading alone.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch("PRAGMA busy_timeout = 5000; PRAGMA cache_size = -8192; PRAGMA temp_store = MEMORY;")?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

fn classify(path: &Path, source: rusqlite::Error) -> OpenError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match source.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => {
            OpenError::Damaged { path: path.to_owned(), detail: source.to_string() }
        }
        _ => OpenError::File { path: path.to_owned(), source },
    }
}
