//! The Skerry agent: collects, keeps and ships what a node measures and logs, and obeys signed configs alone.

pub mod api;
pub mod clock;
pub mod collect;
pub mod config;
pub mod containers;
pub mod data;
pub mod logs;
pub mod store;
pub mod sync;
