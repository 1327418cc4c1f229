//! LogQL, the query language of Loki: parsing, and evaluation over a [`Source`] of log records.
//!
//! Sans-IO: a source gives blocks and reads them; the engine decides which, in which order, and when it has enough.

mod answer;
mod error;
mod source;

pub use answer::{
    Budget, Direction, Entry, FlatStream, Limits, LogAnswer, LogRequest, MetricAnswer, Pairs, Statistics, Stream,
    all_labels, range_of_nanos,
};
pub use error::{ParseError, QueryError};
pub use source::{Block, Selection, Source};
