//! The Skerry fleet server and the admin CLI.

pub mod ingest;
pub mod mqtt;
pub mod pki;
pub mod store;
