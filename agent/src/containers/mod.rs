//! What container runtimes say about the containers on this node: names, images, labels, where their logs are.
//!
//! Docker's HTTP API on its unix socket, which Podman speaks too. The runtimes are asked and never told anything. A
//! runtime that is not there, stops or hangs costs nothing but its containers' names.
//!
//! Invariants:
//! - At most [`CONTAINERS_MAX`] containers are known; answers, texts and waits are bounded.
//! - A container that cannot be read is left out and the others stay.

mod answer;
mod config;
mod task;
#[cfg(test)]
mod tests;

pub use config::{Config, REFERENCE};
pub use task::ContainersTask;

/// Most containers of all runtimes together.
pub const CONTAINERS_MAX: usize = 512;
