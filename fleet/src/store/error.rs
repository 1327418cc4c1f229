//! What can go wrong with the store.

use std::path::PathBuf;

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file or its folder cannot be used.
    #[error("open data file {}: {source}; check that the folder exists and this user may write there", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        source: rusqlite::Error,
    },
    /// The file is no sound database.
    #[error(
        "data file {} is damaged: {detail}; move it aside to begin anew (what nodes still hold, they send again) or restore a backup",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The file was written by a newer version.
    #[error("data file {} has format {found}, this version knows up to {known}; run the version that wrote it", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Format of the file.
        found: i64,
        /// Newest known format.
        known: i64,
    },
    /// The file was written before the first release.
    #[error(
        "data file {} has format {found}, this version reads {oldest} and later; move it aside to begin anew",
        path.display()
    )]
    TooOld {
        /// The file.
        path: PathBuf,
        /// Format of the file.
        found: i64,
        /// Oldest format that is read.
        oldest: i64,
    },
    /// The writer thread could not be started.
    #[error("start the data file's writer thread")]
    Thread {
        /// Why.
        source: std::io::Error,
    },
}

/// Why something was not committed. Nothing of it is durable.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// SQLite could not commit: disk full, I/O error, damaged file.
    #[error("commit to the data file: {cause}")]
    Commit {
        /// SQLite's words.
        cause: String,
    },
    /// The store was closed.
    #[error("the data file is closed")]
    Closed,
}

/// Why blocks were not put together. They stay as they were.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// They could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What was made of them could not be written.
    #[error(transparent)]
    Write(#[from] StoreError),
}

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The query would bring more than the server can hold.
    #[error("more than {limit} {what}; ask for a shorter time or fewer series")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// Most that is answered.
        limit: u64,
    },
    /// SQLite could not read.
    #[error("read the data file")]
    Database {
        /// Why.
        #[from]
        source: rusqlite::Error,
    },
    /// The reader ended without an answer: it panicked or the server stops.
    #[error("the reader of the data file ended without an answer")]
    Aborted,
}
