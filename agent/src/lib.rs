//! The Skerry agent: collects, keeps and ships what a node measures and logs, and obeys signed configs alone.

pub mod clock;
pub mod collect;
pub mod data;
pub mod logs;
pub mod store;
pub mod sync;
