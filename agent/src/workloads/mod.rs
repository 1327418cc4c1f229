//! Workloads: containers that run as declared, with the link down and after a cold boot.
//!
//! ```text
//! declared, kept in the store ─> Keeper ─> acts ─> runtime
//! runtime: list, events ─────────^   │
//! probes ────────────────────────────┘─> state and events, one transaction ─> store
//! folder of images ─> runtime
//! ```
//!
//! Invariants:
//! - The decisions are the keeper's (`skerry_scaling::workload`); here they are carried out.
//! - The runtime is not spoken to while nothing is declared and nothing was.
//! - What was decided is on the disk, or waits for it, before it is carried out.

mod archive;
mod body;
mod config;
mod handle;
mod images;
mod look;
mod metrics;
mod probe;
mod shown;
mod task;

pub use config::{Config, REFERENCE, WORKLOADS_MAX};
pub use handle::{Request, Wish, Workloads};
pub use skerry_scaling::workload::PREFIX;
pub use task::{WorkloadsError, WorkloadsTask};
