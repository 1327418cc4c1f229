//! Prometheus remote write: samples out to other stores, and in from other senders.
//!
//! ```text
//! store's queue of blocks ── window ── requests per node ── POST ─> target
//!        ^ losses, place <─────────────── verdict ────────────┘
//! POST /api/v1/write ── decode ── sender's series ── batches ─> store
//! ```
//!
//! Invariants:
//! - A target's place in the queue moves on only once everything before it was taken, or refused and booked.
//! - One request holds samples of one node: what a target refuses never costs another node's data.
//! - What a sender is answered is durable, or booked in the loss ledger with a reason.

pub mod config;
pub mod receive;
pub mod send;

pub use config::Target;
pub use receive::{ReceiveTask, Receiver};
pub use send::{SendTask, TargetView, Targets};
