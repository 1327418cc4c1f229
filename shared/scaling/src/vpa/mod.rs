//! How much CPU and memory containers should ask for, as Kubernetes's VerticalPodAutoscaler recommends.
//!
//! ```text
//! samples ─> Instance (order, peaks of a day, OOM) ─> Aggregate (two decaying histograms) ─┐
//! Vertical: `vertical` of a policy ────────────────────────────────────────────────────────┴─> Recommendation ─> due
//! ```
//!
//! An [`Aggregate`] is what all containers of one kind have used, an [`Instance`] one of these containers while it lives.
//! Both are written down by [`Aggregate::to_bytes`], so that a restart goes on where the run before was.
//!
//! Invariants:
//! - Histograms hold buckets that have weight alone: at most 400 of 10 bytes.
//! - A recommendation is a function of aggregate, number of containers and policy: no clock, no memory of its own.
//! - Nothing that a metric, a file or stored bytes say makes anything here panic or grow.

mod aggregate;
mod estimate;
mod histogram;
mod saved;
mod update;
mod vertical;
mod window;

pub use aggregate::{Aggregate, Instance, OldOom};
pub use estimate::{
    Amounts, Bounds, Recommendation, Settings, at_least, confidence, percentile, recommend, with_confidence,
    with_margin,
};
pub use histogram::{Checkpoint, Histogram, InvalidCheckpoint, Options};
pub use saved::{InvalidBytes, Saved};
pub use update::{Due, Gave, Given, Requests, Size, due};
pub use vertical::{ContainerMode, ContainerPolicy, ControlledValues, Resource, UpdateMode, Vertical};
pub use window::Windows;
