//! The Skerry fleet server and the admin CLI.
//!
//! ```text
//!   nodes ── mqtt ── ingest ── store (what nodes sent)
//!              ^        |
//!              └ delivery ── control (nodes, tokens, signed documents), trust
//!                               ^
//!   browser, cli ── http ── api, console, enrol
//! ```
//!
//! `wiring` alone knows everybody; the CLI speaks to the public API and to nothing else.

pub mod alerts;
pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod control;
pub mod delivery;
pub mod edge;
pub mod enrol;
pub mod forward;
pub mod http;
pub mod ingest;
pub mod intake;
pub mod mqtt;
pub mod node_labels;
pub mod notify;
pub mod outgoing;
pub mod pki;
pub mod quantity;
pub mod remote;
pub mod rules;
pub mod scaling;
pub mod source;
pub mod store;
#[cfg(test)]
mod testkit;
pub mod trust;
pub mod wiring;
