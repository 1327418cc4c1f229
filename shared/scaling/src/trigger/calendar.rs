//! Days and times of a calendar: dates, ranges of dates, days that come each year, and what time intervals can say.

use jiff::civil::{Date, DateTime};
use skerry_calendar::TimeInterval;
use skerry_yaml::values::{Checks, Mapping};

/// Most entries of `dates`.
const DATES_MAX: usize = 400;
/// What says when it is on.
const KEYS: [&str; 6] = ["dates", "times", "weekdays", "days_of_month", "months", "years"];

/// When a calendar trigger is on; local times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Calendar {
    /// One of them holds; all days where there is none.
    dates: Vec<Dates>,
    /// Holds too.
    interval: TimeInterval,
}

/// Days with both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dates {
    /// Once.
    Once(Date, Date),
    /// Each year, as months and days; over the end of the year where the first is behind the last.
    Yearly((i8, i8), (i8, i8)),
}

impl Calendar {
    /// Takes its keys out of a trigger.
    pub(super) fn read(node: &mut Mapping<'_>, checks: &mut Checks<'_>) -> Self {
        let mut dates = Vec::new();
        let words = node.words("dates", checks);
        if words.len() > DATES_MAX {
            checks.fault(&node.at("dates"), format!("at most {DATES_MAX} dates are taken"));
        }
        for (at, word) in words.iter().take(DATES_MAX).enumerate() {
            match read(word) {
                Some(range) => dates.push(range),
                None => checks.fault(
                    &format!("{}[{at}]", node.at("dates")),
                    "a date such as 2026-12-24, one of each year such as 12-24, or two with a colon between is expected",
                ),
            }
        }
        let interval = TimeInterval::take(node, checks);
        let is_given = |key: &&str| {
            let list = node.take(key);
            list.is_some_and(|list| list.as_array().is_none_or(|list| !list.is_empty()))
        };
        if !KEYS.iter().any(is_given) {
            checks.fault(node.key(), format!("one of {} is expected: without them it is always on", KEYS.join(", ")));
        }
        Self { dates, interval }
    }

    /// Whether it is on at a local time.
    pub(super) fn contains(&self, at: DateTime) -> bool {
        let is_day = self.dates.is_empty() || self.dates.iter().any(|dates| dates.contains(at.date()));
        is_day && self.interval.contains_local(at)
    }
}

impl Dates {
    fn contains(self, date: Date) -> bool {
        match self {
            Self::Once(first, last) => (first..=last).contains(&date),
            Self::Yearly(first, last) => {
                let day = (date.month(), date.day());
                if first <= last { (first..=last).contains(&day) } else { day >= first || day <= last }
            }
        }
    }
}

/// `FIRST:LAST`, or one date for both.
fn read(text: &str) -> Option<Dates> {
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    if let (Some(first), Some(last)) = (once(first), once(last)) {
        return (first <= last).then_some(Dates::Once(first, last));
    }
    Some(Dates::Yearly(yearly(first)?, yearly(last)?))
}

/// `YYYY-MM-DD`.
fn once(text: &str) -> Option<Date> {
    let (year, day) = text.split_at_checked(4)?;
    let (month, day) = month_and_day(day.strip_prefix('-')?)?;
    let is_year = year.bytes().all(|byte| byte.is_ascii_digit());
    is_year.then(|| Date::new(year.parse().ok()?, month, day).ok())?
}

/// `MM-DD`; the leap day is one.
fn yearly(text: &str) -> Option<(i8, i8)> {
    let (month, day) = month_and_day(text)?;
    Date::new(2028, month, day).ok().map(|_| (month, day))
}

fn month_and_day(text: &str) -> Option<(i8, i8)> {
    let two = |a: u8, b: u8| (a.is_ascii_digit() && b.is_ascii_digit()).then(|| ((a - b'0') * 10 + (b - b'0')) as i8);
    match text.as_bytes() {
        [a, b, b'-', c, d] => two(*a, *b).zip(two(*c, *d)),
        _ => None,
    }
}
