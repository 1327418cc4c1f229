//! Times of the day, the week and the year as people write them, and the time zones they hold in.
//!
//! Routes of alerts are silent by them, and policies scale by them, in one notation.

mod interval;
mod zone;

pub use interval::TimeInterval;
pub use zone::{ReadZone, zone};
