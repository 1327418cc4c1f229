//! Time intervals: when routes are silent, or when they are not.

pub use skerry_calendar::{ReadZone, TimeInterval};

#[cfg(test)]
mod tests;
