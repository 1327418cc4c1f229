//! What of a batch is taken: decided here, without I/O, and carried out by whoever holds the ledger.
//!
//! The store runs this inside its transactions and the simulation over [`MemoryLedger`]; [`crate::ingest`] brings the
//! batches. So it depends on neither.

mod content;
pub mod core;
#[cfg(test)]
pub(crate) mod fixture;
mod memory;
#[cfg(test)]
mod tests;

pub use memory::MemoryLedger;
