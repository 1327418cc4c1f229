//! Spans of time as systemd (`1min 30.5s`) and Kubernetes (`1m30.5s`) write them.

use std::time::Duration;

/// Units, with their nanoseconds.
const UNITS: [(&str, f64); 12] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("min", 60e9),
    ("h", 3600e9),
    ("d", 86_400e9),
    ("w", 604_800e9),
    ("month", 2_629_800e9),
    ("y", 31_557_600e9),
];
/// Longest text that is read.
const TEXT_BYTES_MAX: usize = 64;

/// Reads one; `None` for `infinity` and for what is none.
pub(super) fn read(text: &str) -> Option<Duration> {
    if text.len() > TEXT_BYTES_MAX || text.is_empty() {
        return None;
    }
    let (mut rest, mut nanos) = (text.trim(), 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(digits);
        let end = behind.find(|c: char| c.is_ascii_digit() || c == ' ').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        nanos += number.parse::<f64>().ok()? * factor;
        rest = behind.trim_start();
    }
    Duration::try_from_secs_f64(nanos / 1e9).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read() {
        for (text, millis) in [
            ("500ms", 500),
            ("1s", 1000),
            ("1.500000s", 1500),
            ("1min 30.5s", 90_500),
            ("1m0.5s", 60_500),
            ("1h2m3s", 3_723_000),
            ("2us", 0),
            ("1d", 86_400_000),
        ] {
            assert_eq!(read(text).map(|span| span.as_millis()), Some(millis), "{text}");
        }
        for text in
            ["", "infinity", "1", "s", "1 s", "-1s", "1..2s", "1x", "1e99y", "99999999999999999999y", &"1s".repeat(99)]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
