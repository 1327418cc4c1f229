//! PromQL as Prometheus 3 evaluates it, over any [`Source`] of float samples.
//!
//! A [`Query`] is parsed once and evaluated over the steps of a [`Span`]: one step for an instant query, many for a range
//! query. Every expression is evaluated for all steps at once, series by series, so that labels are looked at once per
//! series and not once per step: a vector is a list of columns, a column a label set with one value per step.
//!
//! Ranges and lookback are open on the left, as in Prometheus 3. A metric's name that a function drops is kept until the
//! end and dropped there, so that `label_replace` can still see it (Prometheus's delayed name removal). Native histograms
//! are not known: there are none in a source of floats. Only [`notation`], in which tests write series, reads them.
//!
//! Invariants:
//! - Nothing here does I/O, reads a clock or recurses deeper than [`DEPTH_MAX`].
//! - All samples that are looked at and all values that are made count against [`Limits::values_max`]; past it the query
//!   ends with an error and not with the process.
//! - No query text and no sample makes it panic.

mod annotations;
mod error;
mod eval;
mod kahan;
mod matcher;
pub mod notation;
mod parse;
mod query;
mod reads;
mod source;
mod value;

pub use annotations::Annotations;
pub use error::QueryError;
pub use matcher::{InvalidMatcher, MatchOp, Matcher, matches_all};
pub use parse::{quoted, unquoted};
pub use query::{DEPTH_MAX, Limits, QUERY_BYTES_MAX, Query, Shape, Span};
pub use reads::Read;
pub use source::{Selected, Source, SourceError, TooMuch};
pub use value::{Answer, Point, Series, Value, number_text};
