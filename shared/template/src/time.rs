//! Times and durations as Go writes them: `2006-01-02 15:04:05` and its like, `1h30m0s`.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fmt::{self, Write};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Parts of a layout that begin with a character, longer ones before those they begin with.
fn parts(first: char) -> &'static [&'static str] {
    match first {
        '0' => &["002", "01", "02", "03", "04", "05", "06"],
        '1' => &["15", "1"],
        '2' => &["2006", "2"],
        '3' => &["3"],
        '4' => &["4"],
        '5' => &["5"],
        'J' => &["January", "Jan"],
        'M' => &["Monday", "Mon", "MST"],
        'Z' => &["Z07:00:00", "Z070000", "Z07:00", "Z0700", "Z07"],
        '-' => &["-07:00:00", "-070000", "-07:00", "-0700", "-07"],
        'P' => &["PM"],
        'p' => &["pm"],
        '_' => &["__2", "_2006", "_2"],
        '.' => &[".0", ".9"],
        ',' => &[",0", ",9"],
        _ => &[],
    }
}

/// A moment, and the zone that it is written in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Time {
    /// When.
    pub at: Timestamp,
    /// Where.
    pub zone: TimeZone,
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format("2006-01-02 15:04:05.999999999 -0700 MST"))
    }
}

impl Time {
    /// In UTC, of nanoseconds since 1970.
    #[must_use]
    pub fn of_nanos(nanos: i64) -> Self {
        // Every 64-bit count of nanoseconds is within the calendar.
        let at = Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::UNIX_EPOCH);
        Self { at, zone: TimeZone::UTC }
    }

    /// In UTC, of milliseconds since 1970; `None` beyond the year 9999.
    #[must_use]
    pub fn of_millis(millis: i64) -> Option<Self> {
        Some(Self { at: Timestamp::from_millisecond(millis).ok()?, zone: TimeZone::UTC })
    }

    /// Nanoseconds since 1970, saturating.
    #[must_use]
    pub fn nanos(&self) -> i64 {
        let nanos = self.at.as_nanosecond();
        i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
    }

    /// By a layout of Go's: the parts of `Mon Jan 2 15:04:05 MST 2006` stand for those of the time.
    #[must_use]
    pub fn format(&self, layout: &str) -> String {
        let info = self.zone.to_offset_info(self.at);
        let offset = info.offset().seconds();
        let zone = info.abbreviation();
        let at = info.offset().to_datetime(self.at);
        let hour12 = match at.hour() % 12 {
            0 => 12,
            hour => hour,
        };
        let month = MONTHS[usize::from(at.month().unsigned_abs().clamp(1, 12)) - 1];
        let day = DAYS[usize::from(at.weekday().to_sunday_zero_offset().unsigned_abs()) % 7];
        let mut out = String::new();
        let mut rest = layout;
        while let Some(first) = rest.chars().next() {
            let is = |part: &&&str| rest.starts_with(**part) && stands(part, rest);
            let Some(part) = parts(first).iter().find(is) else {
                out.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            };
            let mut length = part.len();
            // Writing to a string does not fail.
            let _ = match *part {
                "2006" => write!(out, "{:04}", at.year()),
                "_2006" => write!(out, "_{:04}", at.year()),
                "06" => write!(out, "{:02}", at.year().rem_euclid(100)),
                "January" => write!(out, "{month}"),
                "Jan" => write!(out, "{}", &month[..3]),
                "Monday" => write!(out, "{day}"),
                "Mon" => write!(out, "{}", &day[..3]),
                "MST" => write!(out, "{zone}"),
                "01" => write!(out, "{:02}", at.month()),
                "1" => write!(out, "{}", at.month()),
                "02" => write!(out, "{:02}", at.day()),
                "_2" => write!(out, "{:2}", at.day()),
                "002" => write!(out, "{:03}", at.day_of_year()),
                "__2" => write!(out, "{:3}", at.day_of_year()),
                "2" => write!(out, "{}", at.day()),
                "15" => write!(out, "{:02}", at.hour()),
                "03" => write!(out, "{hour12:02}"),
                "3" => write!(out, "{hour12}"),
                "04" => write!(out, "{:02}", at.minute()),
                "4" => write!(out, "{}", at.minute()),
                "05" => write!(out, "{:02}", at.second()),
                "5" => write!(out, "{}", at.second()),
                "PM" => write!(out, "{}", if at.hour() < 12 { "AM" } else { "PM" }),
                "pm" => write!(out, "{}", if at.hour() < 12 { "am" } else { "pm" }),
                ".0" | ",0" | ".9" | ",9" => {
                    let wanted = digits(rest);
                    length = 1 + wanted;
                    let all = format!("{:09}", at.subsec_nanosecond());
                    let shown = &all[..wanted.min(9)];
                    let shown = if part.ends_with('9') { shown.trim_end_matches('0') } else { shown };
                    if shown.is_empty() { Ok(()) } else { write!(out, "{first}{shown}") }
                }
                zone => {
                    out.push_str(&offset_text(zone, offset));
                    Ok(())
                }
            };
            rest = &rest[length..];
        }
        out
    }
}

/// Whether the part at the start of `rest` is one there: names are not part of longer words, fractions end their digits.
fn stands(part: &str, rest: &str) -> bool {
    let behind = &rest[part.len()..];
    match part {
        "Jan" | "Mon" => !behind.starts_with(|c: char| c.is_ascii_lowercase()),
        ".0" | ",0" | ".9" | ",9" => !rest[1 + digits(rest)..].starts_with(|c: char| c.is_ascii_digit()),
        _ => true,
    }
}

/// How many zeros or nines follow the point at the start.
fn digits(rest: &str) -> usize {
    let bytes = &rest.as_bytes()[1..];
    bytes.iter().take_while(|byte| **byte == bytes[0]).count()
}

/// `+01:00` and its like.
fn offset_text(part: &str, seconds: i32) -> String {
    if part.starts_with('Z') && seconds == 0 {
        return "Z".into();
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let size = seconds.unsigned_abs();
    let (hours, minutes, seconds) = (size / 3600, size / 60 % 60, size % 60);
    match &part[1..] {
        "07:00:00" => format!("{sign}{hours:02}:{minutes:02}:{seconds:02}"),
        "070000" => format!("{sign}{hours:02}{minutes:02}{seconds:02}"),
        "07:00" => format!("{sign}{hours:02}:{minutes:02}"),
        "0700" => format!("{sign}{hours:02}{minutes:02}"),
        _ => format!("{sign}{hours:02}"),
    }
}

/// Name of a month, from 1.
pub(crate) fn month_name(month: i8) -> &'static str {
    MONTHS[usize::from(month.unsigned_abs().clamp(1, 12)) - 1]
}

/// Name of a day of the week, Sunday is 0.
pub(crate) fn day_name(day: i8) -> &'static str {
    DAYS[usize::from(day.unsigned_abs()) % 7]
}

/// A duration of nanoseconds as Go writes it: `0s`, `1.5ms`, `1h30m0s`.
#[must_use]
pub fn duration_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let size = nanos.unsigned_abs();
    // Whole and fraction of a unit.
    let of = |unit: u64, digits: usize| {
        let fraction = format!("{:0digits$}", size % unit);
        let fraction = fraction.trim_end_matches('0');
        let whole = size / unit;
        if fraction.is_empty() { whole.to_string() } else { format!("{whole}.{fraction}") }
    };
    match size {
        0 => "0s".into(),
        1..1_000 => format!("{sign}{size}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", of(1_000, 3)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", of(1_000_000, 6)),
        _ => {
            let fraction = format!("{:09}", size % 1_000_000_000);
            let fraction = fraction.trim_end_matches('0');
            let all = size / 1_000_000_000;
            let point = if fraction.is_empty() { "" } else { "." };
            let seconds = format!("{}{point}{fraction}s", all % 60);
            match (all / 3600, all / 60 % 60) {
                (0, 0) => format!("{sign}{seconds}"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_gos() {
        let at = Time::of_nanos(1_700_000_000_123_000_000);
        for (layout, text) in [
            ("2006-01-02T15:04:05.000Z07:00", "2023-11-14T22:13:20.123Z"),
            ("2006-01-02 15:04:05.999999999 -0700 MST", "2023-11-14 22:13:20.123 +0000 UTC"),
            ("Mon Jan _2 3:4:5 PM 06", "Tue Nov 14 10:13:20 PM 23"),
            ("Monday, 02-January-06 002 __2 pm", "Tuesday, 14-November-23 318 318 pm"),
            ("Janet Month 1/2/2006 -07 Z07 -07:00 _2006", "Janet Month 11/14/2023 +00 Z +00:00 _2023"),
            ("05.00 05,9 .01", "20.12 20,1 .11"),
            ("é", "é"),
        ] {
            assert_eq!(at.format(layout), text, "{layout}");
        }
        let zone = TimeZone::fixed(jiff::tz::offset(-5));
        let there = Time { at: at.at, zone };
        assert_eq!(there.format("15:04 -0700 Z07:00"), "17:13 -0500 -05:00");
        assert_eq!(Time::of_nanos(0).to_string(), "1970-01-01 00:00:00 +0000 UTC");
    }

    #[test]
    fn durations_are_gos() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (100_000_000, "100ms"),
            (1_500_000_000, "1.5s"),
            (60_000_000_000, "1m0s"),
            (1_800_000_000_000, "30m0s"),
            (-5_400_000_000_000, "-1h30m0s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(duration_text(nanos), text);
        }
    }
}
