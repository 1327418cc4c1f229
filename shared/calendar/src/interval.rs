//! Time intervals in the notation of alertmanager.yml.
//!
//! Fields of an interval hold all together, entries of a field and intervals of a name each by itself. Times of day are
//! half-open and do not reach over midnight; days, months and years are ranges with both ends.

use crate::zone::{ReadZone, zone};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;
use skerry_model::UnixMillis;
use skerry_yaml::Faults;
use skerry_yaml::values::{Checks, Mapping};
use std::ops::RangeInclusive;

/// Sunday first, as the numbers of days are.
const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
/// January is 1.
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// One interval. An empty field always holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TimeInterval {
    /// Minutes of the day: the first, and the one behind the last.
    times: Vec<(i64, i64)>,
    /// Days of the week, Sunday being 0.
    weekdays: Vec<RangeInclusive<i64>>,
    /// Days of the month from 1; from -1 counted from its end.
    days_of_month: Vec<(i64, i64)>,
    months: Vec<RangeInclusive<i64>>,
    years: Vec<RangeInclusive<i64>>,
    /// UTC where none is named.
    zone: Option<TimeZone>,
}

impl TimeInterval {
    /// Reads one interval, a mapping with the keys of `time_intervals` in alertmanager.yml.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str, zones: ReadZone<'_>) -> Result<Self, Faults> {
        let failed = |faults| Faults { file: String::new(), faults };
        let document = skerry_yaml::values::read(text).map_err(|fault| failed(vec![fault]))?;
        let mut checks = Checks::new(&document.places);
        let interval = Self::read(&document.value, "", zones, &mut checks);
        let faults = checks.into_faults();
        if faults.is_empty() { Ok(interval) } else { Err(failed(faults)) }
    }

    /// Reads a list of intervals.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn parse_list(text: &str, zones: ReadZone<'_>) -> Result<Vec<Self>, Faults> {
        let failed = |faults| Faults { file: String::new(), faults };
        let document = skerry_yaml::values::read(text).map_err(|fault| failed(vec![fault]))?;
        let mut checks = Checks::new(&document.places);
        let items = skerry_yaml::values::items(&document.value, "", &mut checks);
        let list = items.into_iter().map(|(key, value)| Self::read(value, &key, zones, &mut checks)).collect();
        let faults = checks.into_faults();
        if faults.is_empty() { Ok(list) } else { Err(failed(faults)) }
    }

    /// Reads the interval at `key`.
    pub fn read(value: &Value, key: &str, zones: ReadZone<'_>, checks: &mut Checks<'_>) -> Self {
        let mut node = Mapping::new(Some(value), key, checks);
        let mut interval = Self::take(&mut node, checks);
        interval.zone = node.text("location", checks).and_then(|name| match zone(&name, zones) {
            Ok(zone) => Some(zone),
            Err(problem) => {
                checks.fault(&node.at("location"), problem);
                None
            }
        });
        node.finish(checks);
        interval
    }

    /// Takes the keys of an interval but for its zone out of a mapping that has others too.
    pub fn take(node: &mut Mapping<'_>, checks: &mut Checks<'_>) -> Self {
        let mut times = Vec::new();
        for (key, value) in node.items("times", checks) {
            let mut node = Mapping::new(Some(value), &key, checks);
            let (start, end) = (node.text("start_time", checks), node.text("end_time", checks));
            node.finish(checks);
            match time_range(start.as_deref(), end.as_deref()) {
                Ok(range) => times.push(range),
                Err(problem) => checks.fault(&key, problem),
            }
        }
        let weekdays = ranges(node, "weekdays", weekday_range, checks);
        let days = ranges(node, "days_of_month", day_range, checks);
        let months = ranges(node, "months", month_range, checks);
        let years = ranges(node, "years", year_range, checks);
        let days_of_month = days.into_iter().map(RangeInclusive::into_inner).collect();
        Self { times, weekdays, days_of_month, months, years, zone: None }
    }

    /// Whether a moment lies in it.
    #[must_use]
    pub fn contains(&self, at: UnixMillis) -> bool {
        let Ok(at) = Timestamp::from_millisecond(at.0) else { return false };
        self.contains_local(self.zone.as_ref().unwrap_or(&TimeZone::UTC).to_datetime(at))
    }

    /// Whether a local time lies in it, whatever its zone.
    #[must_use]
    pub fn contains_local(&self, at: DateTime) -> bool {
        let minute = i64::from(at.hour()) * 60 + i64::from(at.minute());
        let weekday = i64::from(at.weekday().to_sunday_zero_offset());
        let within = |ranges: &[RangeInclusive<i64>], value: i64| {
            ranges.is_empty() || ranges.iter().any(|range| range.contains(&value))
        };
        (self.times.is_empty() || self.times.iter().any(|(start, end)| (*start..*end).contains(&minute)))
            && within(&self.weekdays, weekday)
            && self.is_day(at)
            && within(&self.months, i64::from(at.month()))
            && within(&self.years, i64::from(at.year()))
    }

    fn is_day(&self, at: DateTime) -> bool {
        let days = i64::from(at.days_in_month());
        let from_start = |day: i64| if day < 0 { days + day + 1 } else { day };
        self.days_of_month.is_empty()
            || self.days_of_month.iter().any(|(begin, end)| {
                // One that begins behind the month's end does not reach into it.
                from_start(*begin) <= days && (from_start(*begin)..=from_start(*end)).contains(&i64::from(at.day()))
            })
    }
}

/// The ranges of a list of texts, of which one may be a number.
fn ranges(
    node: &mut Mapping<'_>,
    key: &str,
    read: fn(&str) -> Result<RangeInclusive<i64>, String>,
    checks: &mut Checks<'_>,
) -> Vec<RangeInclusive<i64>> {
    let mut found = Vec::new();
    for (at, word) in node.words(key, checks).into_iter().enumerate() {
        match read(&word.to_lowercase()) {
            Ok(range) => found.push(range),
            Err(problem) => checks.fault(&format!("{}[{at}]", node.at(key)), problem),
        }
    }
    found
}

/// `begin:end`, or one value for both.
fn range(text: &str, member: fn(&str) -> Result<i64, String>) -> Result<(i64, i64), String> {
    let Some((begin, end)) = text.split_once(':') else {
        let value = member(text)?;
        return Ok((value, value));
    };
    if end.contains(':') {
        return Err(format!("couldn't parse range {text}, invalid format"));
    }
    Ok((member(begin)?, member(end)?))
}

fn number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
}

fn weekday_range(text: &str) -> Result<RangeInclusive<i64>, String> {
    let (begin, end) = range(text, |word| named(word, &WEEKDAYS, 0).ok_or(format!("{word} is not a valid weekday")))?;
    if begin > end { Err("start day cannot be before end day".to_owned()) } else { Ok(begin..=end) }
}

fn month_range(text: &str) -> Result<RangeInclusive<i64>, String> {
    let member = |word: &str| {
        named(word, &MONTHS, 1).or_else(|| word.parse().ok()).ok_or(format!("{word} is not a valid month"))
    };
    let (begin, end) = range(text, member)?;
    if begin > end {
        let name = |month: i64| usize::try_from(month - 1).ok().and_then(|at| MONTHS.get(at)).copied().unwrap_or("");
        return Err(format!("end month {} is before start month {}", name(end), name(begin)));
    }
    Ok(begin..=end)
}

fn year_range(text: &str) -> Result<RangeInclusive<i64>, String> {
    let (begin, end) = range(text, number)?;
    if begin > end { Err(format!("end year {end} is before start year {begin}")) } else { Ok(begin..=end) }
}

/// Days of the month: from 1 to 31, or from -31 to -1.
fn day_range(text: &str) -> Result<RangeInclusive<i64>, String> {
    let (begin, end) = range(text, number)?;
    for day in [begin, end] {
        if day == 0 || !(-31..=31).contains(&day) {
            return Err(format!("{day} is not a valid day of the month: out of range"));
        }
    }
    if begin < 0 && end > 0 {
        return Err("end day must be negative if start day is negative".to_owned());
    }
    // In the shortest month: what is empty there may be empty in a longer one too.
    let at_least = |day: i64| if day < 0 { 28 + day } else { day };
    if at_least(begin) > at_least(end) {
        return Err(format!("end day {end} is always before start day {begin}"));
    }
    Ok(RangeInclusive::new(begin, end))
}

fn named(word: &str, names: &[&str], first: i64) -> Option<i64> {
    let at = names.iter().position(|name| *name == word)?;
    i64::try_from(at).ok().map(|at| at + first)
}

fn time_range(start: Option<&str>, end: Option<&str>) -> Result<(i64, i64), String> {
    let (Some(start), Some(end)) = (start.filter(|t| !t.is_empty()), end.filter(|t| !t.is_empty())) else {
        return Err("both start and end times must be provided".to_owned());
    };
    let (start, end) = (minute(start)?, minute(end)?);
    if start >= end {
        return Err("start time cannot be equal or greater than end time".to_owned());
    }
    Ok((start, end))
}

/// Minutes since midnight of `HH:MM`, at most 24:00.
fn minute(text: &str) -> Result<i64, String> {
    let digits = |a: u8, b: u8| {
        (a.is_ascii_digit() && b.is_ascii_digit()).then(|| i64::from(a - b'0') * 10 + i64::from(b - b'0'))
    };
    let parsed = match text.as_bytes() {
        [a, b, b':', c, d] => digits(*a, *b).zip(digits(*c, *d)),
        _ => None,
    };
    match parsed {
        Some((hours @ 0..=23, minutes @ 0..=59)) => Ok(hours * 60 + minutes),
        Some((24, 0)) => Ok(24 * 60),
        _ => Err(format!("couldn't parse timestamp {text}, invalid format")),
    }
}
