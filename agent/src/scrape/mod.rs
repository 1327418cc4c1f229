//! Scraping: fetches expositions from targets as Prometheus does, with Prometheus's own config.
//!
//! ```text
//! config, prometheus.yml ─┐
//! files, containers ──────┴─> discovery ─> targets ─> one loop each ─> store
//!                                              └─> state ─> /api/v1/targets, /targets, `skerry-agent targets`
//! ```
//!
//! What happens to what was fetched is decided in `skerry_scrape`; this is the shell around it. A loop fetches, feeds the
//! body to the parser as it comes, and hands the store what the round makes of it. No body is ever held whole.
//!
//! Invariants:
//! - A target that hangs, streams for ever or sends nonsense costs its own scrape: its time, its bytes and its series are
//!   bounded, and so are those of all targets together.
//! - Whatever a scrape brought and was not stored is in the loss ledger; a target that is not reached stands there with
//!   the time it was not.

mod config;
mod containers;
mod discovery;
mod files;
mod pool;
mod state;
mod target;
mod task;
#[cfg(test)]
mod tests;

pub use config::{
    Config, DockerSd, FileSd, Global, JobConfig, Jobs, Prometheus, REFERENCE, Size, StaticGroup, read_file,
};
pub use state::State;
pub use task::ScrapeTask;
