//! Obeying signed documents: verify, try out, keep or go back.
//!
//! What comes down from the fleet is only bytes until every check of `skerry_seal` holds: signatures by enough admin
//! keys, this fleet, this node, an assigned stream, a revision above the floor, in time. Then the content is read as
//! the features will read it, and stored, with the raised floor, in one transaction. The agent starts anew with it, on
//! trial: unless its own checks pass within [`TRIAL`], it goes back by itself to what ran before and says why.
//!
//! - [`Adoption`] decides, without I/O: documents in, changes to store and events to tell out.
//! - [`AdoptTask`] stores, tells, watches the trial.
//!
//! Invariants:
//! - The floor rises with the adoption and never falls: not when the trial fails, and not when the database is lost,
//!   since a copy lies beside the keys. The mend of a bad config is the next version.
//! - Reaching the fleet counts in a trial only if the link was up when the config came.
//! - A config that brings the agent down is given up after [`STARTS_MAX`] starts.

mod core;
mod stored;
mod task;
#[cfg(test)]
mod tests;

pub use self::core::{Adoption, Outcome, STARTS_MAX};
pub use stored::{PREFIX, Stored};
pub use task::{AdoptTask, Ended, TRIAL};
