//! Alerts at the centre: what nodes told and what the fleet's own rules found, routed as Alertmanager routes.
//!
//! ```text
//! store ── alerts that changed ──┐
//! rules ── alerts, changes ──────┴─ sources ──> manager ── notices ──> notify ──> receivers
//! api, console, cli ── handle ───────────────────┘   └── what has to last ──> store
//! ```
//!
//! One task owns the manager. What a node tells stands in the store, in the transaction of its event, before it comes
//! here; how far it was taken in is committed together with what came of it. So after a crash nothing is missed, and
//! what was told is not told again.
//!
//! Invariants:
//! - What an answer said is durable; what the manager wants to find again is written before the next notice goes out.
//! - An alert of a node has no end until the node says so, or is no longer of the fleet.
//! - A receiver that the node told of an episode by itself is not told of it by the fleet.
//! - Of an alert that began and ended while the node was away nobody is told; it stands in the history.

pub mod config;
mod handle;
pub mod history;
mod shell;
mod sources;
mod state;
mod task;
#[cfg(test)]
mod tests;
pub mod v2;

pub use config::Config;
pub use handle::{Alerts, Asked};
pub use history::{HistoryList, HistoryQuery, HistoryView};
pub use shell::Notices;
pub use task::{AlertsTask, Signed, Tell};
