//! Questions that nodes answer: a node [cuts](parts) what it found into pieces, the centre [merges](Merge) the pieces of
//! many nodes into one answer.
//!
//! Invariants:
//! - A result that is longer than was asked for is refused before anything of it is sent.
//! - A node's result is merged whole or not at all.
//! - Every series of an answer bears the label `node` of the node that it is from, whatever that node says.

mod cut;
mod merge;
mod wanted;

#[cfg(test)]
mod tests;

pub use cut::{Parts, parts};
pub use merge::{Merge, Mismatch};
pub use wanted::Wanted;
