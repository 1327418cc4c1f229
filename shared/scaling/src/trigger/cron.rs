//! Times in cron's five fields: minute, hour, day of the month, month, day of the week.
//!
//! Numbers, `*` or `?`, ranges `a-b`, lists, steps `*/n`, `a/n`, `a-b/n`; names of months and days (`JAN`, `MON`); Sunday is 0
//! or 7. Where both the day of the month and of the week are given, either is enough; a step makes `*` a given one, as in
//! the cron library that Kubernetes's autoscalers use.
//!
//! Times are local. A time that a clock change leaves out is at the change, one that comes twice is the first.

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span, Timestamp};
use std::fmt;

/// Longest text that is read.
const TEXT_BYTES_MAX: usize = 256;
/// Days that are looked back over: eight years lie between two leap days around 2100.
const DAYS_MAX: usize = 8 * 366 + 1;
/// From where a text is tried, a day that has all months and a leap day behind it.
const TRIED_FROM: Date = Date::constant(2028, 12, 31);

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// When something happens, as bits of its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both kinds of days are given, so that either is enough.
    is_either_day: bool,
    text: String,
}

/// A field: what it is called, its range and the names of its values, from the first.
struct Field {
    name: &'static str,
    first: u32,
    last: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", first: 0, last: 59, names: &[] },
    Field { name: "hour", first: 0, last: 23, names: &[] },
    Field { name: "day of the month", first: 1, last: 31, names: &[] },
    Field { name: "month", first: 1, last: 12, names: &MONTHS },
    Field { name: "day of the week", first: 0, last: 7, names: &WEEKDAYS },
];

impl Cron {
    /// Reads five fields.
    ///
    /// # Errors
    /// What is wrong and what was expected.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_ascii_whitespace().take(FIELDS.len() + 1).collect();
        if text.len() > TEXT_BYTES_MAX || words.len() != FIELDS.len() {
            return Err("five fields are expected: minute, hour, day of the month, month, day of the week".to_owned());
        }
        let mut sets = [(0, false); FIELDS.len()];
        for ((field, word), set) in FIELDS.iter().zip(&words).zip(&mut sets) {
            *set = field.read(word).ok_or_else(|| {
                let Field { name, first, last, .. } = field;
                format!(
                    "{word:?} is no {name}: *, numbers from {first} to {last}, ranges, lists and steps are expected"
                )
            })?;
        }
        let [(minutes, _), (hours, _), (days, any_day), (months, _), (weekdays, any_weekday)] = sets;
        let weekdays = weekdays | weekdays >> 7 & 1;
        let is_either_day = !any_day && !any_weekday;
        let cron = Self { minutes, hours, days, months, weekdays, is_either_day, text: words.join(" ") };
        if cron.days_back(TRIED_FROM).next().is_none() {
            return Err(format!("{} never comes", cron.text));
        }
        Ok(cron)
    }

    /// When it was last, not after `at`, and what local time that was by name.
    pub(super) fn latest(&self, at: Timestamp, zone: &TimeZone) -> Option<(Timestamp, DateTime)> {
        let mut from = zone.to_datetime(at);
        if let AmbiguousOffset::Fold { before, after } = zone.to_ambiguous_timestamp(from).offset()
            && zone.to_offset(at) == after
        {
            // The clock was set back already: later names than now's have been.
            let back = i64::from(before.seconds()) - i64::from(after.seconds());
            from = from.saturating_add(Span::new().seconds(back));
        }
        for date in self.days_back(from.date()) {
            let minute_max =
                if date == from.date() { i32::from(from.hour()) * 60 + i32::from(from.minute()) } else { 1440 };
            for (hour, minute) in self.times_back().filter(|(hour, minute)| hour * 60 + minute <= minute_max) {
                let (hour, minute) = (i8::try_from(hour).ok()?, i8::try_from(minute).ok()?);
                let local = date.at(hour, minute, 0, 0);
                match moment(local, zone) {
                    Some(moment) if moment <= at => return Some((moment, local)),
                    _ => {}
                }
            }
        }
        None
    }

    /// Its days up to `from`, the last first.
    fn days_back(&self, from: Date) -> impl Iterator<Item = Date> {
        let days = std::iter::successors(Some(from), |date| date.yesterday().ok()).take(DAYS_MAX);
        days.filter(|date| self.is_day(*date))
    }

    fn is_day(&self, date: Date) -> bool {
        let has = |set: u64, value: i8| set >> value & 1 == 1;
        let in_month = has(self.days, date.day());
        let in_week = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        has(self.months, date.month()) && if self.is_either_day { in_month || in_week } else { in_month && in_week }
    }

    /// Its times of the day as hours and minutes, the last first.
    fn times_back(&self) -> impl Iterator<Item = (i32, i32)> {
        let hours = (0..24).rev().filter(|hour| self.hours >> hour & 1 == 1);
        hours.flat_map(|hour| {
            (0..60).rev().filter(|minute| self.minutes >> minute & 1 == 1).map(move |minute| (hour, minute))
        })
    }
}

/// The first moment that bears a local time; of one that is left out, the change that leaves it out.
fn moment(local: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
            offset.to_timestamp(local).ok()
        }
        AmbiguousOffset::Gap { before, .. } => {
            let behind = before.to_timestamp(local).ok()?;
            let second = Timestamp::from_second(behind.as_second().saturating_add(1)).ok()?;
            zone.preceding(second).next().map(|change| change.timestamp())
        }
    }
}

impl Field {
    /// The values of a field as bits, and whether any value is one.
    fn read(&self, text: &str) -> Option<(u64, bool)> {
        let (mut set, mut any) = (0, false);
        for part in text.split(',') {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, Some(number(step).filter(|step| *step > 0)?)),
                None => (part, None),
            };
            let (first, last) = match range {
                // The seventh day is Sunday again.
                "*" | "?" => (self.first, if self.last == 7 { 6 } else { self.last }),
                _ => match range.split_once('-') {
                    Some((first, last)) => (self.value(first)?, self.value(last)?),
                    None => {
                        let first = self.value(range)?;
                        (first, if step.is_some() { self.last } else { first })
                    }
                },
            };
            any |= matches!(range, "*" | "?") && step.unwrap_or(1) == 1;
            if first > last {
                return None;
            }
            for value in (first..=last).step_by(step.unwrap_or(1) as usize) {
                set |= 1 << value;
            }
        }
        Some((set, any))
    }

    fn value(&self, text: &str) -> Option<u32> {
        let named = || {
            let at = self.names.iter().position(|name| text.eq_ignore_ascii_case(name))?;
            u32::try_from(at).ok().map(|at| at + self.first)
        };
        number(text).filter(|value| (self.first..=self.last).contains(value)).or_else(named)
    }
}

/// Of digits alone.
fn number(text: &str) -> Option<u32> {
    let is_number = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
