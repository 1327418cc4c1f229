//! Times as Go's layouts write them: `2006-01-02 15:04:05` and its like, in UTC.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fmt::Write;

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

/// Parts of a layout, longer ones before those they begin with.
const PARTS: [&str; 24] = [
    "2006", "January", "Jan", "Monday", "Mon", "MST", "Z07:00", "-07:00", "-0700", "01", "02", "03", "04", "05", "06",
    "15", "PM", "pm", "_2", "002", "1", "2", "3", "4",
];

/// A time, in nanoseconds since 1970, by a layout; empty where it is out of the calendar.
pub(super) fn date(layout: &str, nanos: i64) -> String {
    let Ok(at) = Timestamp::from_nanosecond(i128::from(nanos)) else { return String::new() };
    let at = TimeZone::UTC.to_datetime(at);
    let hour12 = match at.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let month = MONTHS[usize::from(at.month().unsigned_abs().clamp(1, 12)) - 1];
    let day = DAYS[usize::from(at.weekday().to_sunday_zero_offset().unsigned_abs()) % 7];
    let mut out = String::new();
    let mut rest = layout;
    while let Some(first) = rest.chars().next() {
        // A fraction follows the seconds: .000 or .999.
        if matches!(first, '.' | ',') && out.ends_with(|c: char| c.is_ascii_digit()) {
            let zeros = rest[1..].bytes().take_while(|b| *b == b'0').count();
            let nines = rest[1..].bytes().take_while(|b| *b == b'9').count();
            let length = zeros.max(nines).min(9);
            if length > 0 {
                let digits = format!("{:09}", at.subsec_nanosecond());
                let digits = if zeros > 0 { &digits[..length] } else { digits[..length].trim_end_matches('0') };
                if !digits.is_empty() {
                    out.push(first);
                    out.push_str(digits);
                }
                rest = &rest[1 + zeros.max(nines)..];
                continue;
            }
        }
        let Some(part) = PARTS.into_iter().find(|part| rest.starts_with(part)) else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        // Writing to a string does not fail.
        let _ = match part {
            "2006" => write!(out, "{:04}", at.year()),
            "06" => write!(out, "{:02}", at.year().rem_euclid(100)),
            "January" => write!(out, "{month}"),
            "Jan" => write!(out, "{}", &month[..3]),
            "Monday" => write!(out, "{day}"),
            "Mon" => write!(out, "{}", &day[..3]),
            "MST" => write!(out, "UTC"),
            "Z07:00" => write!(out, "Z"),
            "-07:00" => write!(out, "+00:00"),
            "-0700" => write!(out, "+0000"),
            "01" => write!(out, "{:02}", at.month()),
            "1" => write!(out, "{}", at.month()),
            "02" => write!(out, "{:02}", at.day()),
            "_2" => write!(out, "{:2}", at.day()),
            "002" => write!(out, "{:03}", at.day_of_year()),
            "2" => write!(out, "{}", at.day()),
            "15" => write!(out, "{:02}", at.hour()),
            "03" => write!(out, "{hour12:02}"),
            "3" => write!(out, "{hour12}"),
            "04" => write!(out, "{:02}", at.minute()),
            "4" => write!(out, "{}", at.minute()),
            "05" => write!(out, "{:02}", at.second()),
            "PM" => write!(out, "{}", if at.hour() < 12 { "AM" } else { "PM" }),
            _ => write!(out, "{}", if at.hour() < 12 { "am" } else { "pm" }),
        };
        rest = &rest[part.len()..];
    }
    out
}
