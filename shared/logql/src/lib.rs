//! LogQL, the query language of Loki: parsing, and evaluation over a [`Source`] of log records.
//!
//! Sans-IO: a source gives blocks and reads them; the engine decides which, in which order, and when it has enough.

mod source;

pub use source::{Block, Selection, Source};
