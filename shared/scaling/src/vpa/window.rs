//! When containers may be made anew: `02:00-04:00`, `Sat,Sun 22:00-02:00`, in a zone's local time.

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use skerry_model::UnixMillis;

/// Most windows.
const WINDOWS_MAX: usize = 32;
const DAYS: [(&str, Weekday); 7] = [
    ("Mon", Weekday::Monday),
    ("Tue", Weekday::Tuesday),
    ("Wed", Weekday::Wednesday),
    ("Thu", Weekday::Thursday),
    ("Fri", Weekday::Friday),
    ("Sat", Weekday::Saturday),
    ("Sun", Weekday::Sunday),
];

/// Windows of maintenance; without any it is never time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Windows(Vec<Window>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Window {
    /// Days on which it begins.
    days: Vec<Weekday>,
    /// Minutes of the day. Where the end is not behind the start it is on the day after.
    start: u16,
    end: u16,
}

impl Windows {
    /// Reads windows.
    ///
    /// # Errors
    /// Every fault, with the number of its text.
    pub fn parse(texts: &[String]) -> Result<Self, Vec<(usize, String)>> {
        let (mut windows, mut faults) = (Vec::new(), Vec::new());
        if texts.len() > WINDOWS_MAX {
            faults.push((WINDOWS_MAX, format!("at most {WINDOWS_MAX} windows are expected")));
        }
        for (at, text) in texts.iter().take(WINDOWS_MAX).enumerate() {
            match window(text) {
                Some(window) => windows.push(window),
                None => faults.push((
                    at,
                    format!("{text:?} is no window: days and times such as \"Sat,Sun 02:00-04:00\" or \"02:00-04:00\" are expected"),
                )),
            }
        }
        if faults.is_empty() { Ok(Self(windows)) } else { Err(faults) }
    }

    /// Whether it is time. Local times that a change of the clock leaves out or repeats count as the clock shows them.
    #[must_use]
    pub fn hold(&self, at: UnixMillis, zone: &TimeZone) -> bool {
        let Ok(at) = jiff::Timestamp::from_millisecond(at.0) else { return false };
        let local = zone.to_datetime(at);
        let (day, before) = (local.date().weekday(), local.date().weekday().previous());
        let minute = minutes(local.time());
        self.0.iter().any(|window| {
            let Window { days, start, end } = window;
            match start < end {
                true => days.contains(&day) && (*start..*end).contains(&minute),
                false => (days.contains(&day) && minute >= *start) || (days.contains(&before) && minute < *end),
            }
        })
    }
}

fn window(text: &str) -> Option<Window> {
    let (days, times) = text.trim().rsplit_once(' ').unwrap_or(("", text.trim()));
    let day = |word: &str| DAYS.iter().find(|(name, _)| word.trim().eq_ignore_ascii_case(name)).map(|(_, day)| *day);
    let days = match days.trim() {
        "" => DAYS.iter().map(|(_, day)| *day).collect(),
        days => days.split(',').map(day).collect::<Option<Vec<_>>>()?,
    };
    let (start, end) = times.split_once('-')?;
    let (start, end) = (time(start)?, time(end)?);
    (start < 1440 && start != end).then_some(Window { days, start, end })
}

/// `HH:MM`, up to `24:00`.
fn time(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number =
        |text: &str| (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?;
    let (hours, minutes): (u16, u16) = (number(hours)?, number(minutes)?);
    (minutes < 60).then_some(hours * 60 + minutes).filter(|minute| *minute <= 1440)
}

fn minutes(time: Time) -> u16 {
    u16::from(time.hour().unsigned_abs()) * 60 + u16::from(time.minute().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_hold_on_their_days() {
        // A Saturday.
        let at = |day: i64, hour: i64, minute: i64| UnixMillis(((20_414 + day) * 1440 + hour * 60 + minute) * 60_000);
        for (text, inside, outside) in [
            ("02:00-04:00", vec![at(0, 2, 0), at(3, 3, 59)], vec![at(0, 1, 59), at(0, 4, 0)]),
            ("Sat,sun 02:00-04:00", vec![at(0, 2, 0), at(1, 3, 0)], vec![at(2, 3, 0), at(6, 3, 0)]),
            ("Sat 22:00-02:00", vec![at(0, 22, 0), at(1, 1, 59)], vec![at(1, 22, 0), at(0, 1, 0), at(1, 2, 0)]),
            ("Fri 20:00-24:00", vec![at(6, 23, 59)], vec![at(0, 0, 0), at(7, 0, 0)]),
        ] {
            let windows = Windows::parse(&[text.to_owned()]).unwrap();
            inside.iter().for_each(|at| assert!(windows.hold(*at, &TimeZone::UTC), "{text} {at:?}"));
            outside.iter().for_each(|at| assert!(!windows.hold(*at, &TimeZone::UTC), "{text} {at:?}"));
        }
        assert!(!Windows::default().hold(at(0, 2, 0), &TimeZone::UTC));
        let windows = Windows::parse(&["02:00-04:00".to_owned()]).unwrap();
        assert!(windows.hold(at(0, 0, 30), &TimeZone::fixed(jiff::tz::offset(2))));
        assert!(!windows.hold(UnixMillis(i64::MAX), &TimeZone::UTC));
    }

    #[test]
    fn texts_that_are_none_are_named() {
        let texts = [
            "",
            "02:00",
            "2:00-4:00",
            "02:00-02:00",
            "24:00-02:00",
            "02:00-24:01",
            "Xyz 02:00-04:00",
            "Sat, 02:00-04:00",
            "02:60-04:00",
        ];
        let texts: Vec<String> = texts.map(str::to_owned).to_vec();
        let faults = Windows::parse(&texts).unwrap_err();
        assert_eq!(faults.len(), texts.len(), "{faults:?}");
        assert_eq!(Windows::parse(&vec!["01:00-02:00".to_owned(); 33]).unwrap_err()[0].0, 32);
    }
}
