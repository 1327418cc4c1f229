//! Samples of all nodes out to other stores.
//!
//! Each target has a task that reads the store's queue window by window, cuts it into requests and sends them until
//! they are taken. A target that fails is tried again for ever; what it misses meanwhile lies in the store, as long as
//! retention keeps it. A request that the target refuses for what it holds is dropped and booked in its node's ledger.

mod core;
mod lane;
mod stats;
mod task;

pub use stats::{TargetView, Targets};
pub use task::{OpenTargetError, SendTask};
