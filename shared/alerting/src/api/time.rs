//! Moments as the API writes and reads them.

use jiff::Timestamp;
use skerry_model::UnixMillis;

/// RFC 3339 with milliseconds. What lies beyond the year 9999, such as the end of an alert that has none, is its end.
pub(super) fn text(at: UnixMillis) -> String {
    let at = Timestamp::from_millisecond(at.0).unwrap_or(if at.0 < 0 { Timestamp::MIN } else { Timestamp::MAX });
    format!("{at:.3}")
}

/// Of RFC 3339; Go's zero time, the first second of the year 1, is zero.
pub(super) fn parse(text: &str) -> Option<UnixMillis> {
    if text.starts_with("0001-01-01T00:00:00") {
        return Some(UnixMillis(0));
    }
    text.parse::<Timestamp>().ok().map(|at| UnixMillis(at.as_millisecond()))
}
