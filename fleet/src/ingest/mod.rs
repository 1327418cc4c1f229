//! Takes in what nodes send, exactly once.
//!
//! [`Ingest`] consumes what the transport delivers and gives each node a worker of its own, so that none waits for
//! another. A batch is decided on by [`crate::intake`] within a transaction of the store, and acknowledged once that is
//! durable. Who is there stands in [`Liveness`]; answers of nodes go to whoever asked through [`Asks`].
//!
//! Invariants:
//! - An acknowledgement leaves only after its commit.
//! - What cannot be read is counted by code and logged with its node; the transport goes on all the same.
//! - Every queue has a bound. A node that sends more than its queue holds is cut off by its own connection and sends
//!   again what its outbox still has; no other node notices.

mod asks;
mod counters;
mod liveness;
mod task;
mod worker;

#[cfg(test)]
mod task_tests;

pub use asks::{Answered, AskError, AskHandle, Asks, Budget, Ticket};
pub use counters::Counters;
pub use liveness::{LiveState, Liveness, NodeLive};
pub use task::{Desired, Ingest};
