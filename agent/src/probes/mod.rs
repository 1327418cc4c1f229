//! Probes: how a service looks from here, asked the way its users ask.
//!
//! ```text
//! config ─> checked probe ─┬─ target, each on its own schedule ─> prober ─> findings ─> store
//!                          └─ target …                           http tcp icmp dns
//! ```
//!
//! Settings, metrics and their meaning are those of Prometheus's blackbox_exporter, so that its modules, dashboards and
//! rules carry over. Series have the labels that people give them by relabeling: `job` is the probe's name, `instance`
//! its target. What differs: HTTP/2, compressed bodies, proxies, OAuth, STARTTLS and source addresses are left out, and
//! bodies have an upper limit.
//!
//! Invariants: a probe never takes longer than its timeout, which is shorter than its interval; at most
//! [`PROBES_AT_ONCE`] run at a time; a probe that fails is a result and never an error of the agent.

mod check;
mod config;
mod dns;
mod findings;
mod http;
mod icmp;
mod stats;
mod subject;
mod target;
mod task;
mod tcp;
#[cfg(test)]
mod tests;

pub use check::{Faults, Probes};
pub use config::{Config, Dns, Http, Icmp, Probe, Prober, REFERENCE, Tcp};
pub use findings::Findings;
pub use stats::ProbeStats;
pub use task::ProbesTask;

/// Most probes that run at a time: each may hold a connection, a TLS session and a body.
pub const PROBES_AT_ONCE: usize = 16;
