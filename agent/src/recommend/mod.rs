//! What CPU and memory containers should ask for: learnt from what they use, told, and given to them where a policy says so.
//!
//! ```text
//! tap of the store ─> core: whose is it, samples ─> aggregates ─> recommendations ─┬─> metrics, API, the fleet's questions
//! kills, by the runtime ──┘    each hour ─> store's state ─> next start           ├─> containers that are made anew
//!                                                                                 └─> containers that run, by the runtime
//! ```
//!
//! Every container of this node is followed, with or without a policy: a recommendation costs little and is there when
//! somebody asks for it. Containers that belong together (replicas of a service, of a workload, of a pod's owner) are
//! counted together.
//!
//! Invariants:
//! - Whoever hands a sample to the store waits for no disk and no runtime here.
//! - At most 256 kinds of containers are known, and at most 512 containers followed.
//! - What was learnt survives a kill: at most the last hour is lost.
//! - A container is changed only where its policy says so, and made anew only in a window of maintenance.
//! - What a container is given while it runs is written before the runtime is asked, so that a crash in between neither
//!   hides the change nor applies it twice.
//! - Nobody is recommended more than the node has.

mod anew;
mod core;
mod doing;
mod handle;
mod kills;
mod resize;
mod show;
mod subject;
mod task;
#[cfg(test)]
mod tests;

pub use handle::Recommender;
pub use kills::KillsTask;
pub use task::{RecommendTask, Renew};

use skerry_scaling::target::TargetRef;
use skerry_scaling::vpa::{Recommendation, UpdateMode, Vertical};

/// Keys of the agent's state that begin so are the recommender's.
pub const PREFIX: &str = "recommend/";

/// A policy that says what happens to recommendations for a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// For what.
    pub target: TargetRef,
    /// What happens.
    pub vertical: Vertical,
    /// Whether it sets the number of replicas too: then replicas that go are made again.
    pub is_scaled: bool,
}

/// What is recommended for containers of one name of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recommended {
    /// What they belong to; a container of its own is its own target.
    pub target: TargetRef,
    /// Their name in it.
    pub container: String,
    /// The policy that says what happens to it, where there is one.
    pub policy: Option<String>,
    /// What happens to it.
    pub mode: UpdateMode,
    /// What they should ask for.
    pub amounts: Recommendation,
    /// Samples of CPU that it stands on; at one a minute.
    pub samples: u64,
    /// How many of them are measured now.
    pub live: usize,
}
