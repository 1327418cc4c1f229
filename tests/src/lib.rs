//! What tests share: the deterministic simulation, a fleet on loopback, real processes, and a link that can be cut.

pub mod bench;
pub mod lab;
pub mod promqltest;
pub mod proxy;
pub mod sim;
pub mod site;
