//! Push: metrics of programs that bring them, for those that cannot be asked.
//!
//! ```text
//! StatsD: UDP, unix datagrams ─> aggregator ─┐
//! Pushgateway's HTTP on loopback ─> groups ──┴─ each interval ─> store
//! ```
//!
//! StatsD's series are named as statsd_exporter names them without a mapping; groups are given out as Pushgateway's own
//! `/metrics` would: the last value again at each interval, until the group is deleted.
//!
//! Invariants: series, groups, bodies and names are bounded; each line that is not taken is counted by its reason and
//! stands in the loss ledger; nothing that a program sends makes the agent fail.

mod config;
mod gateway;
mod stats;
mod statsd;
mod task;
#[cfg(test)]
mod tests;

pub use config::{Config, REFERENCE, Statsd, Timers};
pub use gateway::{Changes, Gate, PREFIX, Path, Refusal, Verb};
pub use stats::PushStats;
pub use statsd::{Aggregator, DropReason};
pub use task::{PushError, PushTask};
