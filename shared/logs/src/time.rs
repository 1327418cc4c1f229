//! Reads the times that stand in lines.
//!
//! A time without a year gets the year that brings it nearest to now, and one that a zone has twice, when its clocks are
//! set back, is the one nearer to now. A leap second is the second before it.
//!
//! A zone is an object by the time it comes here: files of time zones are read by the program that has files.

use jiff::civil::DateTime;
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::{Offset, TimeZone};
use skerry_model::UnixMillis;

/// Longest text of a time that is read, and longest format.
const TEXT_BYTES_MAX: usize = 128;
const ACCESS: &str = "%d/%b/%Y:%H:%M:%S %z";

/// Gives the TZif data (RFC 9636) of a zone by its name in the time zone database; `local` is the machine's own. `None`: not
/// known here.
pub type ReadZone<'a> = &'a dyn Fn(&str) -> Option<Vec<u8>>;

/// How times are written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Format {
    /// By their looks: RFC 3339, a number by its size, syslog's, an access log's.
    Auto,
    Rfc3339,
    /// A number: how many milliseconds so many of its units are.
    Unix((u32, u32)),
    Syslog,
    Strptime(String),
}

/// Reads times of one format.
#[derive(Debug, Clone)]
pub struct TimeReader {
    format: Format,
    zone: TimeZone,
}

impl TimeReader {
    /// Reads `auto`, `rfc3339`, `unix`, `unix_ms`, `unix_us`, `unix_ns`, `syslog`, or times of a format with `%` as
    /// `strptime` has them, with Fluent Bit's `%L` for fractions.
    ///
    /// # Errors
    /// What is wrong and what was expected.
    pub fn new(format: &str, zone: TimeZone) -> Result<Self, String> {
        let format = match format {
            "auto" => Format::Auto,
            "rfc3339" => Format::Rfc3339,
            "unix" => Format::Unix((1000, 1)),
            "unix_ms" => Format::Unix((1, 1)),
            "unix_us" => Format::Unix((1, 1000)),
            "unix_ns" => Format::Unix((1, 1_000_000)),
            "syslog" => Format::Syslog,
            _ if format.len() > TEXT_BYTES_MAX => return Err(format!("is longer than {TEXT_BYTES_MAX} bytes")),
            _ if format.contains('%') => Format::Strptime(check(format)?),
            _ => {
                return Err(format!(
                    "{format:?} is no format of times: auto, rfc3339, unix, unix_ms, unix_us, unix_ns, syslog or one with \
                     %Y, %m, %d, … is expected"
                ));
            }
        };
        Ok(Self { format, zone })
    }

    /// The moment that a text says; `None` where it is no time of this format.
    #[must_use]
    pub fn read(&self, text: &str, now: UnixMillis) -> Option<UnixMillis> {
        let text = text.trim();
        if text.is_empty() || text.len() > TEXT_BYTES_MAX {
            return None;
        }
        match &self.format {
            Format::Auto => self.auto(text, now),
            Format::Rfc3339 => self.rfc3339(text.as_bytes(), now),
            Format::Unix(ratio) => unix(text, *ratio),
            Format::Syslog => self.rfc3339(text.as_bytes(), now).or_else(|| self.syslog(text.as_bytes(), now)),
            Format::Strptime(format) => self.strptime(format, text, now),
        }
    }

    fn auto(&self, text: &str, now: UnixMillis) -> Option<UnixMillis> {
        let bytes = text.as_bytes();
        match bytes {
            [_, _, _, _, b'-', ..] => self.rfc3339(bytes, now),
            [_, _, b'/', ..] => self.strptime(ACCESS, text, now),
            [b'A'..=b'Z', ..] => self.syslog(bytes, now),
            // Seconds have ten digits from 2001 to 2286, and each smaller unit three more.
            _ => match bytes.iter().take_while(|b| b.is_ascii_digit()).count() {
                9..=10 => unix(text, (1000, 1)),
                12..=13 => unix(text, (1, 1)),
                15..=16 => unix(text, (1, 1000)),
                18..=19 => unix(text, (1, 1_000_000)),
                _ => None,
            },
        }
    }

    /// `2026-11-20T22:18:00.123456789Z`, with an offset, or without one; a blank for the `T`, a comma for the point.
    fn rfc3339(&self, text: &[u8], now: UnixMillis) -> Option<UnixMillis> {
        let digits = |from: usize, to: usize| number(text.get(from..to)?);
        let is = |at: usize, allowed: &[u8]| text.get(at).is_some_and(|b| allowed.contains(b));
        if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":")) {
            return None;
        }
        let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
        let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
        let mut at = 19;
        let mut millis = 0;
        if is(at, b".,") {
            let len = text[at + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
            if len == 0 {
                return None;
            }
            millis = (0..3).fold(0, |sum, i| sum * 10 + if i < len { i64::from(text[at + 1 + i] - b'0') } else { 0 });
            at += 1 + len;
        }
        if is(at, b" ") {
            at += 1;
        }
        let civil = civil(year, month, day, hour, minute, second)?;
        let seconds = match text.get(at..)? {
            [] => self.place(civil, now)?,
            [b'Z' | b'z'] => second_of(civil, Offset::UTC)?,
            [sign @ (b'+' | b'-'), rest @ ..] => {
                let (hours, minutes) = match rest {
                    [a, b, b':', c, d] | [a, b, c, d] => (number(&[*a, *b])?, number(&[*c, *d])?),
                    [a, b] => (number(&[*a, *b])?, 0),
                    _ => return None,
                };
                let total = i32::try_from(hours * 3600 + minutes * 60).ok()?;
                second_of(civil, Offset::from_seconds(if *sign == b'-' { -total } else { total }).ok()?)?
            }
            _ => return None,
        };
        Some(UnixMillis(seconds * 1000 + millis))
    }

    /// `Nov 20 22:18:00`, RFC 3164 section 4.1.2.
    fn syslog(&self, text: &[u8], now: UnixMillis) -> Option<UnixMillis> {
        const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
        let month = MONTHS.chunks(3).position(|name| text.starts_with(name))?;
        let day = number(text.get(4..6)?.trim_ascii_start())?;
        let (hour, minute, second) = (number(text.get(7..9)?)?, number(text.get(10..12)?)?, number(text.get(13..15)?)?);
        let month = i64::try_from(month + 1).ok()?;
        self.nearest_year(now, |year| civil(year, month, day, hour, minute, second)).map(|s| UnixMillis(s * 1000))
    }

    fn strptime(&self, format: &str, text: &str, now: UnixMillis) -> Option<UnixMillis> {
        let mut parsed = BrokenDownTime::parse(format, text).ok()?;
        if let Ok(moment) = parsed.to_timestamp() {
            return Some(UnixMillis(moment.as_millisecond()));
        }
        let offset = parsed.offset();
        let millis = i64::from(parsed.subsec_nanosecond().unwrap_or(0)) / 1_000_000;
        let seconds = if parsed.year().is_some() || parsed.to_datetime().is_ok() {
            let civil = parsed.to_datetime().ok()?;
            match offset {
                Some(offset) => second_of(civil, offset)?,
                None => self.place(civil, now)?,
            }
        } else {
            self.nearest_year(now, |year| {
                parsed.set_year(Some(i16::try_from(year).ok()?)).ok()?;
                parsed.to_datetime().ok()
            })?
        };
        Some(UnixMillis(seconds * 1000 + millis))
    }

    /// The second that a clock in the zone showed so; the one nearer to now where it did twice.
    fn place(&self, civil: DateTime, now: UnixMillis) -> Option<i64> {
        let found = self.zone.to_ambiguous_timestamp(civil);
        if !found.is_ambiguous() {
            return found.compatible().ok().map(|moment| moment.as_second());
        }
        let (earlier, later) = (found.earlier().ok()?.as_second(), found.later().ok()?.as_second());
        let far = |second: i64| second.abs_diff(now.0.div_euclid(1000));
        Some(if far(earlier) <= far(later) { earlier } else { later })
    }

    fn nearest_year(&self, now: UnixMillis, mut of: impl FnMut(i64) -> Option<DateTime>) -> Option<i64> {
        let today = Offset::UTC.to_datetime(jiff::Timestamp::from_millisecond(now.0).ok()?);
        let year = i64::from(today.year());
        let near = (year - 1..=year + 1).filter_map(|year| self.place(of(year)?, now));
        near.min_by_key(|second| second.abs_diff(now.0.div_euclid(1000)))
    }
}

/// The zone of that name: `UTC`, an offset as `+02:00`, a name of the time zone database, or a rule of POSIX's `TZ` as
/// `CET-1CEST,M3.5.0,M10.5.0/3`, which needs no database.
///
/// # Errors
/// What is wrong and what was expected.
pub fn zone(name: &str, read: ReadZone<'_>) -> Result<TimeZone, String> {
    let short = name.len() <= 64;
    if matches!(name, "UTC" | "utc" | "Z") {
        return Ok(TimeZone::UTC);
    }
    if let [sign @ (b'+' | b'-'), a, b, b':', c, d] = name.as_bytes()
        && let (Some(hours @ 0..=23), Some(minutes @ 0..=59)) = (number(&[*a, *b]), number(&[*c, *d]))
        && let Ok(total) = i32::try_from(hours * 3600 + minutes * 60)
        && let Ok(offset) = Offset::from_seconds(if *sign == b'-' { -total } else { total })
    {
        return Ok(TimeZone::fixed(offset));
    }
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'/' | b'+' | b'-'));
    if short
        && plain
        && name.split('/').all(|part| !part.is_empty())
        && let Some(data) = read(name)
    {
        return TimeZone::tzif(name, &data).map_err(|error| format!("the file of zone {name} is damaged: {error}"));
    }
    if short
        && name.contains(|c: char| c.is_ascii_digit())
        && let Ok(zone) = TimeZone::posix(name)
    {
        return Ok(zone);
    }
    let shown: String = name.chars().take(64).collect();
    Err(format!(
        "{shown:?} is no time zone known here: UTC, an offset as +02:00, a name as Europe/Berlin (where the machine has the time \
         zone database) or a rule as CET-1CEST,M3.5.0,M10.5.0/3 is expected"
    ))
}

/// A format that formats and reads back; Fluent Bit's `%L` is jiff's `%f`.
fn check(format: &str) -> Result<String, String> {
    let format = format.replace(".%L", "%.f").replace("%L", "%f");
    let moment = jiff::Timestamp::from_second(1_700_000_000).map_err(|error| error.to_string())?;
    let sample = strtime::format(&format, &moment.to_zoned(TimeZone::UTC));
    let sample = sample.map_err(|error| format!("is no format of times: {error}"))?;
    let parsed = BrokenDownTime::parse(&format, &sample).map_err(|error| format!("cannot be read back: {error}"))?;
    let dated = parsed.to_timestamp().is_ok()
        || parsed.to_date().is_ok()
        || (parsed.month().is_some() && parsed.day().is_some());
    if dated { Ok(format) } else { Err("says no day: %d and %m, or %s, are expected in it".to_owned()) }
}

fn number(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0i64, |sum, b| b.is_ascii_digit().then(|| sum * 10 + i64::from(b - b'0')))
}

fn civil(year: i64, month: i64, day: i64, hour: i64, minute: i64, second: i64) -> Option<DateTime> {
    let small = |number: i64| i8::try_from(number).ok();
    let second = if second == 60 { 59 } else { second };
    let year = i16::try_from(year).ok()?;
    DateTime::new(year, small(month)?, small(day)?, small(hour)?, small(minute)?, small(second)?, 0).ok()
}

fn second_of(civil: DateTime, offset: Offset) -> Option<i64> {
    offset.to_timestamp(civil).ok().map(|moment| moment.as_second())
}

fn unix(text: &str, (times, by): (u32, u32)) -> Option<UnixMillis> {
    if let Some(whole) = number(text.as_bytes()).filter(|_| text.len() <= 18) {
        return whole.checked_mul(i64::from(times)).map(|ms| UnixMillis(ms / i64::from(by)));
    }
    let millis = text.parse::<f64>().ok()? * f64::from(times) / f64::from(by);
    // Beyond what a date can be, and what is no number.
    (millis.abs() < 1e15).then_some(UnixMillis(millis.round() as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-11-20T22:18:00Z.
    const NOW: UnixMillis = UnixMillis(1_795_213_080_000);
    const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

    fn read(format: &str, place: &str, text: &str, now: UnixMillis) -> Option<String> {
        let zone = zone(place, &|_| None).unwrap();
        let found = TimeReader::new(format, zone).unwrap().read(text, now)?;
        Some(format!("{:.3}", jiff::Timestamp::from_millisecond(found.0).unwrap()))
    }

    #[test]
    fn formats() {
        for (format, zone, text, expected) in [
            ("rfc3339", "UTC", "2026-11-20T22:18:00.1239Z", "2026-11-20T22:18:00.123Z"),
            ("rfc3339", "UTC", "2026-11-20T22:18:00+01:00", "2026-11-20T21:18:00.000Z"),
            ("rfc3339", "UTC", "2026-11-20 22:18:00,5 -0130", "2026-11-20T23:48:00.500Z"),
            ("rfc3339", BERLIN, "2026-07-20 22:18:00", "2026-07-20T20:18:00.000Z"),
            ("rfc3339", "-05:00", "2026-07-20T22:18:00", "2026-07-21T03:18:00.000Z"),
            ("rfc3339", "UTC", "2016-12-31T23:59:60Z", "2016-12-31T23:59:59.000Z"),
            ("unix", "UTC", "1795213080", "2026-11-20T22:18:00.000Z"),
            ("unix", "UTC", "1795213080.1234", "2026-11-20T22:18:00.123Z"),
            ("unix", "UTC", "1.79521308e9", "2026-11-20T22:18:00.000Z"),
            ("unix_ms", "UTC", "1795213080123", "2026-11-20T22:18:00.123Z"),
            ("unix_us", "UTC", "1795213080123456", "2026-11-20T22:18:00.123Z"),
            ("unix_ns", "UTC", "1795213080123456789", "2026-11-20T22:18:00.123Z"),
            ("syslog", "UTC", "Nov 20 22:18:00", "2026-11-20T22:18:00.000Z"),
            ("syslog", "UTC", "Nov  2 22:18:00", "2026-11-02T22:18:00.000Z"),
            ("syslog", BERLIN, "Nov 20 22:18:00", "2026-11-20T21:18:00.000Z"),
            ("syslog", BERLIN, "2026-11-20T22:18:00.5Z", "2026-11-20T22:18:00.500Z"),
            ("%Y-%m-%dT%H:%M:%S.%L", "UTC", "2026-11-20T22:18:00.123", "2026-11-20T22:18:00.123Z"),
            ("%d/%b/%Y:%H:%M:%S %z", "UTC", "20/Nov/2026:22:18:00 +0100", "2026-11-20T21:18:00.000Z"),
            ("%d.%m.%Y %H:%M", BERLIN, "20.11.2026 22:18", "2026-11-20T21:18:00.000Z"),
            ("%b %d %H:%M:%S", "UTC", "Jan 01 00:00:00", "2027-01-01T00:00:00.000Z"),
            ("%s", "UTC", "1795213080", "2026-11-20T22:18:00.000Z"),
            ("auto", "UTC", "2026-11-20T22:18:00Z", "2026-11-20T22:18:00.000Z"),
            ("auto", "UTC", "20/Nov/2026:22:18:00 +0100", "2026-11-20T21:18:00.000Z"),
            ("auto", "UTC", "Nov 20 22:18:00", "2026-11-20T22:18:00.000Z"),
            ("auto", "UTC", "1795213080", "2026-11-20T22:18:00.000Z"),
            ("auto", "UTC", "1795213080.5", "2026-11-20T22:18:00.500Z"),
            ("auto", "UTC", "1795213080123", "2026-11-20T22:18:00.123Z"),
            ("auto", "UTC", "1795213080123456789", "2026-11-20T22:18:00.123Z"),
        ] {
            assert_eq!(read(format, zone, text, NOW).as_deref(), Some(expected), "{format} {text}");
        }
        for (format, text) in [
            ("rfc3339", "2026-13-20T22:18:00Z"),
            ("rfc3339", "2026-02-30T22:18:00Z"),
            ("rfc3339", "2026-11-20T22:18:00."),
            ("rfc3339", "2026-11-20T22:18:00+1"),
            ("unix", "NaN"),
            ("unix", "1e300"),
            ("unix", "yesterday"),
            ("syslog", "Nov 31 00:00:00"),
            ("auto", "12"),
            ("auto", ""),
        ] {
            assert_eq!(read(format, "UTC", text, NOW), None, "{format} {text}");
        }
    }

    #[test]
    fn a_year_that_is_not_told_is_the_nearest() {
        let new_year = UnixMillis(1_798_761_600_000); // 2027-01-01T00:00:00Z
        assert_eq!(read("syslog", "UTC", "Dec 31 23:59:59", new_year).unwrap(), "2026-12-31T23:59:59.000Z");
        let before = UnixMillis(new_year.0 - 1000);
        assert_eq!(read("syslog", "UTC", "Jan  1 00:00:01", before).unwrap(), "2027-01-01T00:00:01.000Z");
        assert_eq!(read("syslog", "UTC", "Feb 29 12:00:00", NOW), None, "neither year has that day");
        let leap = UnixMillis(1_709_200_000_000); // 2024-02-29
        assert_eq!(read("syslog", "UTC", "Feb 29 12:00:00", leap).unwrap(), "2024-02-29T12:00:00.000Z");
    }

    #[test]
    fn an_hour_that_comes_twice_is_the_nearer_one() {
        // Clocks in Berlin went back from 3:00 to 2:00 on 2026-10-25, at 01:00Z.
        for (now, expected) in
            [("2026-10-25T00:30:05Z", "2026-10-25T00:30:00.000Z"), ("2026-10-25T01:30:05Z", "2026-10-25T01:30:00.000Z")]
        {
            let now = UnixMillis(now.parse::<jiff::Timestamp>().unwrap().as_millisecond());
            assert_eq!(read("syslog", BERLIN, "Oct 25 02:30:00", now).unwrap(), expected);
        }
    }

    #[test]
    fn zones_and_formats_that_are_none() {
        for bad in [
            "",
            "Mars/Olympus",
            "../etc/passwd",
            "/etc/localtime",
            "+25:00",
            "CEST",
            "Europe//Berlin",
            &"x".repeat(200),
        ] {
            let fault = zone(bad, &|_| None).unwrap_err();
            assert!(fault.contains("Europe/Berlin"), "{fault}");
        }
        assert!(zone("X/Y", &|_| Some(b"rubbish".to_vec())).unwrap_err().contains("damaged"));
        let asked = std::cell::RefCell::new(Vec::new());
        let _ = zone("../x", &|name| {
            asked.borrow_mut().push(name.to_owned());
            None
        });
        assert!(asked.borrow().is_empty(), "no path leaves the database");
        for bad in ["iso", "", "%Q%Q%", "%H:%M", "%", "%Y", &"%Y".repeat(100)] {
            assert!(TimeReader::new(bad, TimeZone::UTC).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_zone_of_the_database() {
        let Ok(data) = std::fs::read("/usr/share/zoneinfo/Europe/Berlin") else {
            println!("skipped: this machine has no time zone database");
            return;
        };
        let zone = zone("Europe/Berlin", &|_| Some(data.clone())).unwrap();
        let reader = TimeReader::new("rfc3339", zone).unwrap();
        assert_eq!(reader.read("2026-07-20 22:18:00", NOW), read_at("2026-07-20T20:18:00Z"));
    }

    fn read_at(text: &str) -> Option<UnixMillis> {
        Some(UnixMillis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond()))
    }

    proptest! {
        #[test]
        fn agrees_with_jiff(seconds in -62_000_000_000i64..250_000_000_000, millis in 0i64..1000) {
            let stamp = jiff::Timestamp::from_millisecond(seconds * 1000 + millis).unwrap();
            let reader = TimeReader::new("rfc3339", TimeZone::UTC).unwrap();
            prop_assert_eq!(reader.read(&format!("{stamp:.3}"), NOW), Some(UnixMillis(seconds * 1000 + millis)));
        }

        #[test]
        fn nothing_panics(text in "[0-9A-Za-z:.,+% /é-]{0,40}", any in any::<String>(), now in any::<i64>(), cut in 0usize..40) {
            for format in ["auto", "rfc3339", "unix", "unix_ns", "syslog", "%b %d %H:%M:%S", "%Y-%m-%d %z"] {
                let reader = TimeReader::new(format, TimeZone::UTC).unwrap();
                for text in [&text, &any, &"2026-11-20T22:18:00.123456+01:00"[..cut.min(32)], &"Nov 20 22:18:00"[..cut.min(15)]] {
                    let _ = reader.read(text, UnixMillis(now));
                }
            }
            let _ = (TimeReader::new(&any, TimeZone::UTC), zone(&any, &|_| None), zone(&text, &|_| None));
        }
    }
}
