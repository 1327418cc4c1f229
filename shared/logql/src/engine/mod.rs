//! Queries at work over a source.

mod cells;
mod lines;
mod range;
mod scan;
mod series;
mod tail;
#[cfg(test)]
mod tests;

pub use lines::run_log;
pub use range::run_metric;
pub use tail::{Tail, Tailed};
