//! Rules over the whole fleet: evaluated here, over the newest samples of every node.
//!
//! ```text
//! store ── blocks that came in ── feed ──> window ─┐
//! control, liveness ── roster ── node series ──────┴─> engine ── samples ── own ──> store
//!                                                        └───── alerts ──> alerts (routing)
//! ```
//!
//! What rules read is kept in memory as it comes in; the store stands behind for what lies further back. Results,
//! `ALERTS`, `ALERTS_FOR_STATE` and what the fleet knows of each node are series of the fleet itself, stored like a
//! node's and seen by every query.
//!
//! Invariants:
//! - A rule's samples are durable before its alerts are routed.
//! - Blocks of a node that was offline go to their own times: what is newest stays newest.
//! - A rule that fails says so once, and changes nothing.

pub mod config;
mod contact;
mod feed;
pub mod nodes;
mod own;
mod roster;
mod task;
#[cfg(test)]
mod tests;
mod view;
mod work;

pub use config::Config;
pub use task::{Fired, RulesTask};
pub use view::RulesView;
