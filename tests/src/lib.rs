//! What tests share: the deterministic simulation, a fleet on loopback, and a link that can be cut.

pub mod proxy;
pub mod sim;
pub mod site;
