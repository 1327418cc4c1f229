//! What the agent is told: the local file, and signed documents that replace sections of it.
//!
//! `agent.yaml` on the node says who it is and where its data lies, and may hold any of the sections of [`Sections`]. A
//! signed NodeConfig holds the same sections, and rules, routing and silences may stand behind it. Sections replace each other
//! whole: the local file's first, then those of group streams in the order of their names, then those of the node's
//! own stream. So what runs can be read off a few short files, without merging rules.
//!
//! Invariants:
//! - Unknown keys are faults, and every fault has its file, line and key.
//! - An [`Effective`] that exists has passed the checks of all features.

mod check;
mod document;
mod effective;
mod local;
mod reference;

pub use check::{Checked, check_files};
pub use document::{API_VERSION, KIND, NodeConfig, read_document};
pub use effective::{Effective, Sections};
pub use local::{Enrol, Local, read_local};
pub use reference::reference;
