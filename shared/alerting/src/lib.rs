//! Alerting as decisions: rules make alerts, routing groups and holds them back, notices say who is told what.
//!
//! ```text
//! rules ── samples ─> the store           window: samples that rules read, in memory
//!   └──── alerts ──> manager ── notices ─> notify ── deliveries ─> a thin shell ─ outcome ─> manager
//!                      └ api: Alertmanager's API v2
//! unittest: promtool's rule tests over `rules`
//! ```
//!
//! Node and centre run the same code. Files that people own today work as they are: Prometheus rule files, promtool's
//! tests, alertmanager.yml.
//!
//! Invariants:
//! - Nothing here does I/O or reads a clock: time comes in as [`Now`], and what is to be sent goes out as a value.
//! - Nothing panics on what a file, a peer or a template says, and everything that they make has a bound.

pub mod api;
pub mod expand;
pub mod manager;
pub mod notify;
pub mod rules;
pub mod unittest;
pub mod window;

pub use skerry_model::Now;
