//! What is done to log records between their source and the store.
//!
//! ```text
//! lines -> multiline -> records -> pipeline (parse, route, drop, modify, redact, count) -> store
//! ```
//!
//! Everything here is sans-IO: records, regular expressions and moments come in, records, losses and metrics go out.
//!
//! Invariants:
//! - A record that goes in comes out, or stands in the losses with a reason.
//! - Nothing here panics on any byte, takes more than linear time in a line, or keeps more than its stated bound.

pub mod multiline;
pub mod parse;
pub mod pipeline;
mod redact;
mod siphash;
pub mod time;
pub mod wire;
