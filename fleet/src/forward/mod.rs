//! Log records of all nodes out to other stores: Loki, Elasticsearch and OpenSearch, OpenTelemetry collectors, syslog
//! receivers, files.
//!
//! ```text
//! store's queue of log blocks ── window ── records that the target wants ── batch ── request ─> target
//!        ^ losses, place <────────────────────── fates of its records ──────────────────┘
//! ```
//!
//! Each target has a task. A target that fails, refuses the credentials or is not there is tried again for ever; what it
//! misses meanwhile lies in the store, as long as retention keeps it. What a target refuses for what it holds is looked
//! for by halving the request, dropped, and booked in its node's ledger.
//!
//! Invariants:
//! - A target's place moves on only once everything before it was taken, or refused and booked; both in one commit.
//! - A record bears the same name (`_id`), the same time to the nanosecond and the same line each time it is sent, so that
//!   stores which tell records apart hold it once.
//! - One batch per target is in memory, beside one window of packed blocks and one block unpacked.

pub mod config;
mod core;
mod elastic;
mod file;
mod http;
mod loki;
mod otlp;
mod record;
mod stats;
mod syslog;
mod task;

#[cfg(test)]
mod fixture;

pub use config::Target;
pub use stats::{ForwardView, Forwards};
pub use task::{ForwardTask, OpenForwardError};
