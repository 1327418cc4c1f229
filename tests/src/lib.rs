//! What tests share: the deterministic simulation of nodes, network and server.

pub mod sim;
