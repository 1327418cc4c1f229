//! promtool's unit tests of rules.
//!
//! ```text
//! test file ─ TestFile::parse ─> tests ─┐
//! rule files (the caller reads them) ───┴─ TestFile::run ─> failures: expected and got
//! ```
//!
//! Each test has series and rules of its own. From its start to its latest expectation, step by step of the evaluation
//! interval, what the series have by then is shown and every group is evaluated once, whatever its own interval; results
//! become series. Firing alerts are compared at the last step before or at their time, expressions at the end.
//!
//! Native histograms are known to the notation of series and not to PromQL: a selector and nothing else shows them, any
//! other expression that reads one fails and says so.
//!
//! Invariants:
//! - Nothing here reads files: [`run_file`] and [`resolve`] do it through whoever can.
//! - Steps, values and texts have bounds, and no file makes it panic.

mod compare;
mod file;
mod glob;
mod memory;
mod run;
#[cfg(test)]
mod tests;
mod whole;

pub use file::TestFile;
pub use glob::resolve;
pub use run::{Failure, Options};
pub use whole::{Files, Verdict, run_file};
