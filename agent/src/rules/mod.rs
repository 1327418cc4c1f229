//! Prometheus's rules on the node: they go on with the link down, and whoever stands beside the node is told at once.
//!
//! ```text
//! everything that goes into the store ─> Memory ─┐
//! slots ─> RulesTask ─ evaluate over ────────────┴─ and the store behind it
//!            ├─ alerts, first of all ─> whoever tells people
//!            └─ results, ALERTS, ALERTS_FOR_STATE ─> store ─> fleet, as any series
//! ```
//!
//! All decisions are `skerry_alerting::rules`'.
//!
//! Invariants:
//! - State of alerts goes on over reloads in memory ([`Rules`] lasts longer than a run) and over restarts by
//!   `ALERTS_FOR_STATE` in the store, which is committed soon after an alert changed.
//! - A rule that fails is told of once per change, counted, and stands on the board while it fails.
//! - Whoever hands samples to the store never waits for an evaluation.

mod config;
mod engine;
mod memory;
mod sources;
mod stats;
mod task;
#[cfg(test)]
mod tests;

pub use config::{AsIs, Config, REFERENCE, Text, below};
pub use engine::Rules;
pub use memory::Memory;
pub use sources::{Sources, read as read_text};
pub use stats::{GroupStats, RuleStats};
pub use task::{RulesError, RulesTask};
#[cfg(test)]
pub(crate) use tests::Nothing;
