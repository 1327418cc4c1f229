//! The Skerry agent: collects, keeps and ships what a node measures and logs, and obeys signed configs alone.

pub mod adopt;
pub mod api;
pub mod board;
pub mod clock;
pub mod collect;
pub mod config;
pub mod containers;
pub mod data;
pub mod enrol;
pub mod exposition;
pub mod host;
pub mod http;
pub mod identity;
pub mod logs;
pub mod onalert;
pub mod own;
pub mod probes;
pub mod push;
pub mod query;
pub mod scrape;
pub mod stale;
pub mod store;
pub mod supervise;
pub mod sync;
pub mod vitals;
pub mod wiring;
