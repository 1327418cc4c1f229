//! LogQL, the query language of Loki: parsing, and evaluation over a [`Source`] of log records.
//!
//! A query is a selector of streams and a pipeline that filters their lines, takes labels out of them and writes them anew
//! ([`LogQuery`]); or numbers made of such lines, with PromQL's aggregations and operators around them ([`MetricQuery`],
//! which hands that part to skerry-promql).
//!
//! Sans-IO: a source gives blocks and reads them; the engine decides which, in which order, and when it has enough.
//!
//! Invariants:
//! - No query and no line makes it panic, recurse without bound or take more than linear time in a line.
//! - Lines of a metric query are never kept; what is kept counts against [`Limits`], past which the query ends with an
//!   error and not with the process.

mod answer;
mod ast;
mod engine;
mod error;
mod ip;
mod parse;
mod pattern;
mod print;
mod query;
mod run;
mod source;
mod template;
mod units;

pub use answer::{
    Budget, Direction, Entry, FlatStream, Limits, LogAnswer, LogRequest, MetricAnswer, Pairs, Statistics, Stream,
    all_labels, range_of_nanos,
};
pub use engine::{Tail, Tailed, run_log, run_metric};
pub use error::{ParseError, QueryError};
pub use query::{LogQuery, MetricQuery, Query, parse_selector};
pub use source::{Block, Selection, Source};
