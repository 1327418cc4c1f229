//! Alerts of this node.
//!
//! - [`report`] decides what the centre is told of alerts, and when.

pub mod report;
#[cfg(test)]
mod report_tests;
