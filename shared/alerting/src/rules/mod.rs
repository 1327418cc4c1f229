//! Prometheus's rules: files, groups, states of alerts.
//!
//! ```text
//! text ── RuleFile ── Engine ── due ──> Turn ── evaluate ──> Round: samples, alerts, changes, errors
//! ```
//!
//! A [`RuleFile`] is read and checked once; an [`Engine`] holds the groups of all files with the state of their alerts.
//! It names the moments at which groups are due, and evaluates one group at one moment over any source of samples.
//!
//! Invariants:
//! - A rule's time is its group's slot and never the moment at which somebody came to evaluate it: slots that were missed
//!   are counted and left out, never caught up.
//! - A rule that fails changes nothing: states, series and what was sent stay as they were. The one exception is
//!   Prometheus's own, a group's `limit`, which takes the rule's alerts with it.
//! - Everything has a bound ([`Limits`]): alerts, series, the length of errors.

mod engine;
mod file;
mod pack;
mod round;
mod settings;
#[cfg(test)]
pub(crate) mod testkit;
mod texts;

pub use crate::window::Need;
pub use engine::Engine;
pub use file::{GroupSpec, Kind, Reading, RuleFile, RuleSpec};
pub use pack::{FLEET_PACKS, PACKS, pack};
pub use round::{Change, Round, RuleError, Stage, Turn};
pub use settings::{Limits, Settings};
pub use skerry_promapi::{
    ActiveAlert, AlertState as State, Alerting as AlertingStatus, Rule as RuleStatus, RuleGroup as GroupStatus,
    RuleHealth as Health,
};
