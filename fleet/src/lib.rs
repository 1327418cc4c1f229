//! The Skerry fleet server and the admin CLI.

pub mod api;
pub mod cli;
pub mod console;
pub mod enrol;
pub mod ingest;
pub mod mqtt;
pub mod pki;
pub mod store;
