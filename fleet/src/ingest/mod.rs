//! Takes in what nodes send, exactly once.
//!
//! A batch is decided on by [`core`] within a transaction of the store, and acknowledged once that is durable.

mod content;
pub mod core;
mod memory;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

pub use memory::MemoryLedger;
