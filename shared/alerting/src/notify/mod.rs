//! Receivers: what each of them is sent.
//!
//! ```text
//! alertmanager.yml ── read ─> Integration ┐
//! alerts of a group ───────────────> Data ┼─ render ─> Delivery ── a shell ─> judge ─> Outcome
//! template files ─────────────> Templates ┘
//! ```
//!
//! [`Receiver::read`] takes receivers as alertmanager.yml has them, [`render`] makes of a notice what goes over the wire, a shell
//! (one in the agent, one at the centre) carries it there, and [`judge_http`] says what the answer means.
//!
//! Invariants:
//! - No I/O: a session of SMTP or MQTT is led by bytes, and files with secrets are read by whoever calls [`render`].
//! - A template that fails costs its own text: its error stands in its place, and the notice goes out.
//! - Nothing that is sent or kept grows without a bound.

pub mod config;
mod data;
mod delivery;
#[cfg(test)]
mod fixture;
mod json;
mod judge;
mod ledger;
pub mod mqtt;
mod render;
pub mod smtp;
mod templates;

pub use config::{Checks, Globals, Integration, KINDS, Receiver, Site};
pub use data::{AlertView, Data};
pub use delivery::{
    DatagramTo, Delivery, Dialogue, ExecDelivery, FileDelivery, HttpDelivery, Outcome, Step, Talk, Wire,
};
pub use judge::{ANSWER_BYTES_MAX, judge_http, without_paths};
pub use ledger::{Change, Counts, Ledger};
pub use render::{Files, RenderError, render};
pub use templates::{Templates, Zones};
