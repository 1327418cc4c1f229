//! Scaling on the node: policies decide how many replicas run, with the link down too.
//!
//! ```text
//! every sync_period, each policy by itself:
//!   actuator ─ observe ─> readings (memory of rules, store) ─> hpa, triggers ─> guard ─> intent ─> actuator ─ scale
//!                                                                                  │                    │
//!                                    conditions, metrics, board <──────────────────┴──── state + event ─┴─> store
//! ```
//!
//! All decisions are `skerry_scaling`'s; runtimes are reached through [`crate::actuate`].
//!
//! Invariants:
//! - What is about to be done is on the disk before it is done, and the event that tells of it is written in the
//!   transaction that takes this note away. So after a crash the target is looked at, the same action is finished, and
//!   the centre's history has each decision once.
//! - A target that hangs is waited for by nobody but its own policy: see `turns` for the bound.
//! - At most [`POLICIES_MAX`] policies; two policies on one target do nothing.

mod config;
mod engine;
mod files;
mod handle;
mod hands;
mod metrics;
mod node;
mod note;
mod readings;
mod seat;
mod series;
mod task;
#[cfg(test)]
mod task_tests;
#[cfg(test)]
mod tests;
mod turns;
mod view;

pub use config::{Config, REFERENCE};
pub use files::{Manifests, documents};
pub use handle::{Question, Scaling};
pub use hands::Actuators;
pub use task::{ScaleError, ScaleTask};

/// Before every key of this feature's state.
pub const PREFIX: &str = "scaling/";
/// Most policies of a node.
pub const POLICIES_MAX: usize = 256;

/// What policies read, for whoever keeps samples in memory. `collected_every`: time between two collections.
#[must_use]
pub fn needs(config: &Config, collected_every: std::time::Duration) -> Vec<skerry_alerting::window::Need> {
    readings::needs(&config.policies, collected_every)
}
