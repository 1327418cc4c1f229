//! Scaling and self-healing as decisions: how many replicas run, how large they are, what there is room for, and what is
//! done about containers that are sick.
//!
//! ```text
//! policy ──┬─ hpa: metrics ─> proposals ─> windows, rates, bounds ─┐
//!          ├─ trigger: cron, calendar, schedule, forecast ─────────┴─> guard: is there room ─> how many, Pending
//!          └─ vpa: usage ─> histograms ─> recommendation
//! workload: as declared, as it is ─> create, start, probe, restart after a pause, replace, undo
//! capacity: what nodes have and lack ─> which site needs one
//! ```
//!
//! The shells that read metrics and act on runtimes are elsewhere.
//!
//! Invariants:
//! - Nothing here does I/O or reads a clock: time comes in as [`Now`], and what is to be done goes out as a value.
//! - What decides over time (recommendations, scale events, histograms, pauses) can be written down and read back, so that
//!   a restart forgets nothing.
//! - Nothing panics on what a file, a runtime or a metric says, and everything has a bound.

pub mod capacity;
pub mod clash;
pub mod guard;
pub mod hpa;
pub mod policy;
pub mod quantity;
pub mod target;
pub mod trigger;
pub mod vpa;
pub mod workload;

pub use skerry_model::Now;
