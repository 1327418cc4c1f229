//! The HTTP API of Docker and Podman on its unix socket: what is asked of it and what it is told.
//!
//! ```text
//! let engine = Engine::new(Path::new("/var/run/docker.sock"));      // no I/O yet; shared by reference
//! for entry in engine.list(&[("skerry.io/service", "web")]).await? {
//!     let container = engine.inspect(&entry.id).await?;            // container.raw() is the runtime's JSON
//! }
//! ```
//!
//! Answers are walked as JSON trees and every field may be missing: versions and runtimes differ, and what is not used
//! costs no code. Podman is spoken to as Docker of an older version; where it differs, the place says so.
//!
//! Invariants:
//! - Every call ends within a time that its constant or argument names, also where the runtime hangs, and keeps a bounded
//!   part of the answer in memory.
//! - The version that is spoken is one that both sides know: see [`Engine::version`].
//! - Names go into paths escaped; a name can reach no other call than the one that was meant.

mod answer;
mod call;
mod engine;
mod events;
mod exec;
mod images;

pub use answer::{Container, Health, Image, Listed, Status, health_of, is_id, labels, time};
pub use engine::{CPU_PERIOD_US, Engine, Resources, Version};
pub use events::Event;
pub use exec::Executed;

use std::time::Duration;

/// Why a call failed. The texts are for people and name call, socket and what the runtime said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// There is no such container, image or network.
    #[error("{message}")]
    NotFound {
        /// What the runtime said.
        message: String,
    },
    /// It is in use, its name is taken, or it is being removed already.
    #[error("{message}")]
    Conflict {
        /// What the runtime said.
        message: String,
    },
    /// The runtime refused, or failed in doing it.
    #[error("{message} (HTTP status {status})")]
    Refused {
        /// HTTP status.
        status: u16,
        /// What the runtime said.
        message: String,
    },
    /// No answer in time. What was asked may be done nonetheless.
    #[error("{call} has no answer within {} s: the runtime hangs or is busy", .limit.as_secs())]
    Timeout {
        /// Method, socket and path.
        call: String,
        /// The limit.
        limit: Duration,
    },
    /// Nobody listens on the socket, this user may not write to it, or the connection broke.
    #[error("{message}")]
    Unreachable {
        /// What happened.
        message: String,
    },
    /// An answer of another form than this API has.
    #[error("{message}")]
    Malformed {
        /// What was expected.
        message: String,
    },
}

impl EngineError {
    /// Stable word for conditions and events.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "NotFound",
            Self::Conflict { .. } => "Conflict",
            Self::Refused { .. } => "Refused",
            Self::Timeout { .. } => "Timeout",
            Self::Unreachable { .. } => "Unreachable",
            Self::Malformed { .. } => "Malformed",
        }
    }
}

#[cfg(test)]
mod tests;
