//! The database file: tables, pragmas, and what its errors mean.
//!
//! Blocks of all streams share one table in order of arrival, so that a commit touches few pages. Columns stand
//! before the body: reading them costs one page, whatever the body's length.

use super::config::Config;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::path::Path;

/// Version of the tables, in `user_version`.
pub(super) const VERSION: i64 = 1;

const TABLES: &str = "
    CREATE TABLE block (
        id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, epoch INTEGER NOT NULL, first INTEGER NOT NULL,
        rows INTEGER NOT NULL, records INTEGER NOT NULL, t0 INTEGER NOT NULL, t1 INTEGER NOT NULL, high INTEGER,
        crc INTEGER NOT NULL, bytes INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
    CREATE TABLE stream (
        kind INTEGER NOT NULL, epoch INTEGER NOT NULL, current INTEGER NOT NULL, core BLOB NOT NULL,
        PRIMARY KEY (kind, epoch)) STRICT, WITHOUT ROWID;
    CREATE TABLE series (id INTEGER PRIMARY KEY, last INTEGER, labels BLOB NOT NULL) STRICT;
    CREATE TABLE position (k TEXT PRIMARY KEY, v BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE state (k TEXT PRIMARY KEY, v BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE own (k TEXT PRIMARY KEY, v BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE loss (
        stream TEXT NOT NULL, reason TEXT NOT NULL, source TEXT NOT NULL, count INTEGER, t0 INTEGER NOT NULL,
        t1 INTEGER NOT NULL, PRIMARY KEY (stream, reason, source)) STRICT, WITHOUT ROWID;
";

/// Page size in bytes. A commit changes a handful of pages around its blocks, twice each (log and file). Measured
/// with synchronous FULL, bytes written per commit by the kernel's account, for bodies of 8,000 and 35,000 bytes:
/// pages of 4096 bytes 37.0 and 95.7 kB, of 2048 bytes 29.1 and 83.8 kB, of 1024 bytes 25.1 and 80.2 kB. A rollback
/// journal in place of the log writes a third more for small bodies and a sixth less for large ones.
pub(super) const PAGE_BYTES: u64 = 1024;
/// Pages in the log at which it is written back: 800 KiB.
const CHECKPOINT_PAGES: u64 = 800;

/// Opens the file for the writer. Creates it where there is none.
pub(super) fn open(path: &Path, config: &Config) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.execute_batch(&format!(
        "PRAGMA page_size = {PAGE_BYTES};
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};
         PRAGMA journal_size_limit = 2097152;
         PRAGMA cache_size = -512;
         PRAGMA mmap_size = 0;
         PRAGMA temp_store = MEMORY;
         PRAGMA secure_delete = OFF;
         PRAGMA busy_timeout = 5000;
         PRAGMA max_page_count = {};
         PRAGMA soft_heap_limit = 3145728;",
        config.max_bytes.0 / PAGE_BYTES
    ))?;
    Ok(db)
}

/// Opens the file for a reader, which must not wait for the writer nor disturb it.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.execute_batch("PRAGMA cache_size = -256; PRAGMA mmap_size = 0; PRAGMA busy_timeout = 5000;")?;
    Ok(db)
}

/// Version of the tables in the file; 0 in a new one.
pub(super) fn version(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Makes the tables of a new file.
pub(super) fn create(db: &mut Connection) -> rusqlite::Result<()> {
    let tx = db.transaction()?;
    tx.execute_batch(TABLES)?;
    tx.pragma_update(None, "user_version", VERSION)?;
    tx.commit()
}

/// Reads every page once. `false` where the file's structure is damaged.
pub(super) fn is_sound(db: &Connection) -> rusqlite::Result<bool> {
    db.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0)).map(|verdict| verdict == "ok")
}

/// Whether an error says that the file is no database or is damaged.
pub(super) fn is_corrupt(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
        || matches!(
            error,
            rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::FromSqlConversionFailure(..)
        )
}

/// Whether an error says that there is no room: the cap of the database or the file system. Other failed writes are
/// not taken for that, since evicting would then cost data and cure nothing.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    /// The log's index could not grow: how a full file system shows when a log is begun.
    const IOERR_SHMSIZE: i32 = 4874;
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        || error.sqlite_error().is_some_and(|error| error.extended_code == IOERR_SHMSIZE)
}
