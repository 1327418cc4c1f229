//! Log inputs: tails files and the logs of containers, through rotation, restarts and back-pressure. The journal, the
//! kernel and what listens are in [`inputs`]; what any of them does with a record is in `intake`.
//!
//! One task looks at all files every quarter of a second, reads what is new in large reads, and hands it on in
//! batches: records, the positions that cover exactly these records, and what had to be given up. The store commits
//! the three together, so that after a crash reading goes on behind the last stored record.
//!
//! ```text
//! scan (globs, containers) -> trail (a path and its rotated generations) -> generation (one file)
//!   -> window (the one read buffer) -> frame (lines) -> record (entries of containers, levels) -> batch
//! ```
//!
//! Invariants:
//! - A record is handed on once. A position stands behind the last complete record; the begin of an unfinished one is
//!   read again when there is more of it.
//! - A file is told by device, inode, time of birth and the content before the position. When the content is another,
//!   the file is a new generation, read from its begin.
//! - What cannot be read any more stands in the losses. What cannot be told apart is read twice rather than not.
//! - When the receiver is slow the files wait. Memory does not grow with the size or number of backlogs.
//!
//! Where reading begins without a stored position: in files that are there when an input runs for the first time
//! (or with changed globs) as `start` says; later files from their begin, with their rotated generations. Rotated
//! files that gzip or zstd compressed before they were read are read as they are; others' are given up, with an entry. A
//! damaged stored position makes its file begin anew: lines come twice, and the ledger says so.

mod config;
mod content;
mod cri;
mod dockerjson;
mod file;
mod frame;
mod generation;
mod identity;
pub mod inputs;
mod intake;
mod level;
mod pods;
mod position;
mod record;
mod scan;
mod shared;
mod stats;
mod tailer;
mod task;
#[cfg(test)]
mod tests;
mod trail;
mod window;

pub use config::{Config, ContainerInput, FileInput, Format, REFERENCE, Start};
pub use stats::{Counter, LogStats};
pub use task::{LogInputs, TailError};

/// The name of the container input: the label `source` of its records.
const CONTAINERS: &str = "containers";
