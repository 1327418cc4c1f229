//! Alerts of this node: who is told here, and what the centre hears of it.
//!
//! ```text
//! rules, Alertmanager's API ─> Desk ─┬─ manager (routes, groups, silences) ─ notices ─> Tellers ─> people
//!                               │    └─ report (the rules of conduct) ─ begin, end, history ─> fleet
//!                               └─ state with its events ─> store, one transaction, over a full disk and a kill
//! ```
//!
//! The node tells receivers that are local (`local: true`, or those that reach what stands beside it) by itself and at
//! once; the others are the centre's where the node has joined a fleet. Of each alert that it knows the centre hears
//! once, and which receivers the node tells, so that nobody is told by both.
//!
//! Invariants:
//! - Telling does not wait for the disk, and what was told is on the disk as soon as it is known.
//! - Nobody is told twice after a restart: the notification log, silences and alerts are state.
//! - A change by the API is answered once it is stored.
//! - Everything is bounded: alerts, groups, notices under way, their time.

mod config;
mod desk;
#[cfg(test)]
mod desk_tests;
pub mod report;
#[cfg(test)]
mod report_tests;
mod routing;
mod silences;
mod stats;
mod task;
mod teller;

pub use config::{Config, REFERENCE, SilenceText};
pub use desk::{Desk, Kept, Setup};
pub use routing::{Routing, is_local};
pub use silences::Silences;
pub use stats::{AlertStats, Figures};
pub use task::{AlertsError, AlertsTask};
pub use teller::{Tell, Tellers};

/// Before every key of this feature's state.
pub const PREFIX: &str = "alerts/";
