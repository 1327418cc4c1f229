//! Logs at the node: draining a backlog, a steady load, idling, size at rest and search.
//!
//! The agent runs as users run it: the program, its config file, its own database on disk. The lines are those of
//! [`corpus`], as Docker's json-file driver writes them. A drain begins with the process and ends when it has stopped in
//! order, which is when every line is committed; the database is then asked for the count. Each drain has one processor to
//! itself, the last one, and what goes on there beside it counts against it: so lines per second of processor time stand
//! beside lines per second.
//!
//! Beside it, in the same run: the program named by `--peer-bin`, taken for Fluent Bit, or else Debian's rsyslog where it
//! is installed. Both parse the same file's JSON, keep their position, and buffer on disk.

mod agent;
mod corpus;
mod drain;
mod peer;
mod search;
mod steady;
mod stored;

use super::{Limit, Report, median};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How much is measured.
#[derive(Debug, Clone)]
pub struct Extent {
    /// Bytes of the log that is drained.
    pub drain_bytes: u64,
    /// How often it is drained; the median counts.
    pub drains: usize,
    /// How long the steady load lasts, and the idling.
    pub steady: Duration,
    /// Bytes of lines that are searched.
    pub search_bytes: u64,
}

impl Extent {
    /// What is quoted.
    #[must_use]
    pub const fn full() -> Self {
        Self { drain_bytes: 500_000_000, drains: 3, steady: Duration::from_secs(120), search_bytes: 1_000_000_000 }
    }

    /// For trying it out.
    #[must_use]
    pub const fn short() -> Self {
        Self { drain_bytes: 100_000_000, drains: 1, steady: Duration::from_secs(20), search_bytes: 100_000_000 }
    }
}

/// Runs it. `agent` is the program; where it is not given it is built with this program's profile.
///
/// # Errors
/// If a program cannot be started, or lines are missing.
pub fn run(extent: &Extent, agent: Option<PathBuf>, peer: Option<&Path>, say: &dyn Fn(&str)) -> anyhow::Result<Report> {
    let scratch = tempfile::Builder::new().prefix("skerry-bench-").tempdir()?;
    let agent = match agent {
        Some(agent) => agent,
        None => crate::lab::Binaries::build()?.path("skerry-agent"),
    };
    let mut report = Report::default();
    let stored = stored::run(extent, scratch.path(), &mut report, say)?;
    search::run(&stored, scratch.path(), &mut report, say)?;
    drain::run(extent, &agent, peer, scratch.path(), &mut report, say)?;
    steady::run(extent, &agent, scratch.path(), &mut report, say)?;
    Ok(report)
}

/// What a piece of work gave, and how many seconds it took.
fn timed<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, f64)> {
    #[expect(clippy::disallowed_methods, reason = "the benchmark's own clock")]
    let began = Instant::now();
    let value = work()?;
    Ok((value, began.elapsed().as_secs_f64()))
}
