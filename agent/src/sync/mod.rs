//! Sync with the fleet: what to send ([`outbox`]), over what ([`link`]), and the task between the two ([`task`]).
//!
//! The store owns the data, the outbox owns the order, the link owns the socket. Whatever ends, starts or repeats, the
//! fleet's own word on what it has committed is the only thing that releases anything.

mod config;
pub mod link;
mod live;
pub mod outbox;
pub mod task;

pub use config::{Config, REFERENCE};
