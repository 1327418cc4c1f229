//! Edge queries: expressions that nodes evaluate themselves, over what they keep, and the centre merges.
//!
//! [`core`] decides whom to ask next and what to make of the answers; [`EdgeQueries`] carries that out over
//! [`crate::ingest::Asks`]; [`selector`] says which nodes are meant.
//!
//! Invariants:
//! - Every node that was meant has a [`core::Fate`] in the end: it answered, or it did not and why.
//! - A node's result counts whole or not at all.
//! - Memory is bounded per query, by bytes and by items, and so are queries and questions at a time. No query lasts
//!   longer than its time-out.

pub mod core;
pub mod selector;
mod task;

pub use task::{EdgeQueries, Gathered, TooBusy};
