//! Alertmanager without its I/O: routes, groups, inhibition, silences, repeated notices.
//!
//! ```text
//! alerts ─ receive ─> alerts ─ routes ─> groups ─ timers ─> flush: inhibition, times, silences
//!                                                             └─> for each integration: log ─> Notice ─ a shell ─ done
//! ```
//!
//! Other than upstream: inhibition looks at every source, the first flush waits until rules were evaluated, and what an
//! integration could not be told stays owed to it, also over a restart.
//!
//! Invariants:
//! - Nobody is told twice of the same: what was told is in a log that [`Manager::take_changes`] hands out to be kept.
//! - The monotonic clock schedules and measures ages. The wall clock is compared with what people wrote (silences, time
//!   intervals) and nothing else, so that a step of it makes no storm.
//! - Everything has a bound ([`Bounds`]); what does not fit is counted.

mod alerts;
pub mod config;
mod core;
mod counts;
mod deliveries;
mod delivering;
mod flush;
mod groups;
pub mod inhibit;
pub mod interval;
pub mod matcher;
pub mod nflog;
mod options;
mod order;
mod packed;
mod random;
pub mod route;
mod saving;
mod silence;
mod status;
mod suppress;

pub use self::core::{Manager, Notice, NoticeId, Saved, Saving};
pub use crate::notify::Outcome;
pub use config::{Config, Receiver};
pub use counts::Metric;
pub use interval::{ReadZone, TimeInterval};
pub use options::{Bounds, Enabled, Options, RETENTION};
pub use route::{GroupBy, Route, Routes};
pub use silence::{Silence, SilenceError, SilenceState};
pub use status::{AlertStatus, GroupStatus};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
