//! What time it is at least, on machines whose clock may be wrong.
//!
//! Devices boot in 1970, or in the year their battery died. What is certain is a floor: the agent was built, and
//! administrators have signed documents, before now. now = max(floor + monotonic time since, plausible RTC). The
//! server's time is never asked, because a compromised server could move it.
//!
//! Invariants:
//! - The floor never falls and rises only from the build date and from `issued` of documents whose signatures
//!   held; nothing raises it by more than [`PLAUSIBLE`] past the build date, so that one mistyped year, or one
//!   stolen key, does not make every document look expired for ever.
//! - A reading that is not trusted is a time that has certainly passed.

use skerry_model::{Mono, UnixMillis};
use std::fmt;
use std::time::Duration;

const YEAR: Duration = Duration::from_secs(31_557_600);
/// How far past the floor a time may lie and still be believed.
const PLAUSIBLE: Duration = Duration::from_secs(20 * YEAR.as_secs());
/// How far an RTC may lie behind the floor and still be believed: the administrator's own clock may be ahead by
/// this much when a document is signed and adopted at once.
const SKEW_MAX: Duration = Duration::from_secs(300);
/// Drift of the monotonic clock allowed on top, as a fraction of the time since the floor was set: 1000 ppm, ten
/// times what a cheap crystal has.
const DRIFT: u32 = 1000;

/// A reading of a [`TrustedClock`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustedTime {
    /// The time where `trusted`, otherwise a time that has certainly passed.
    pub at: UnixMillis,
    /// Whether the machine's clock was believed.
    pub trusted: bool,
}

/// The floor and when it was set.
#[derive(Debug, Clone)]
pub struct TrustedClock {
    built: UnixMillis,
    floor: UnixMillis,
    set_at: Mono,
}

impl TrustedClock {
    /// Begins at the build date, or at the floor stored by an earlier run where that is later. `now` should go on
    /// while the machine sleeps (`CLOCK_BOOTTIME`).
    #[must_use]
    pub fn new(built: UnixMillis, stored: Option<UnixMillis>, now: Mono) -> Self {
        let mut clock = Self { built, floor: built, set_at: now };
        if let Some(stored) = stored {
            clock.raise(stored, now);
        }
        clock
    }

    /// Raises the floor to `issued` of a document whose signatures held. Whether it rose: then the new
    /// [`TrustedClock::floor`] is to be stored.
    pub fn raise(&mut self, issued: UnixMillis, now: Mono) -> bool {
        let certain = self.certain(now);
        if issued <= certain || issued > self.built + PLAUSIBLE {
            return false;
        }
        self.floor = issued;
        self.set_at = now;
        true
    }

    /// The floor to store.
    #[must_use]
    pub fn floor(&self) -> UnixMillis {
        self.floor
    }

    /// The time, given what the machine's clock says, if it has one.
    #[must_use]
    pub fn read(&self, now: Mono, rtc: Option<UnixMillis>) -> TrustedTime {
        let certain = self.certain(now);
        let slack = SKEW_MAX + now.since(self.set_at) / DRIFT;
        match rtc {
            Some(rtc) if rtc + slack >= certain && rtc <= certain + PLAUSIBLE => {
                TrustedTime { at: rtc.max(certain), trusted: true }
            }
            _ => TrustedTime { at: certain, trusted: false },
        }
    }

    fn certain(&self, now: Mono) -> UnixMillis {
        self.floor + now.since(self.set_at)
    }
}

/// A time for people, in seconds of UTC: `2026-01-01T00:00:00Z`.
pub(crate) struct Utc(pub(crate) UnixMillis);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.0.div_euclid(1000);
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        // Years are counted from March, so that the leap day is a year's last and month lengths follow a line:
        // 153 days for each five months. 719,468 days lie between 0000-03-01 and 1970-01-01.
        let days = days + 719_468;
        let (cycle, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (year, month) = (400 * cycle + year + month / 10, if month < 10 { month + 3 } else { month - 9 });
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILT: UnixMillis = UnixMillis(1_700_000_000_000);
    const START: Mono = Mono(5_000);

    fn clock() -> TrustedClock {
        TrustedClock::new(BUILT, None, START)
    }

    fn later(seconds: u64) -> (Mono, UnixMillis) {
        let span = Duration::from_secs(seconds);
        (START + span, BUILT + span)
    }

    #[test]
    fn without_a_clock_the_floor_runs_on_and_is_not_trusted() {
        let (now, at) = later(3_600);
        assert_eq!(clock().read(now, None), TrustedTime { at, trusted: false });
    }

    #[test]
    fn a_plausible_clock_is_believed() {
        let rtc = BUILT + YEAR;
        assert_eq!(clock().read(START, Some(rtc)), TrustedTime { at: rtc, trusted: true });
    }

    #[test]
    fn clocks_of_1970_and_of_the_far_future_are_not_believed() {
        for rtc in [UnixMillis(0), UnixMillis(-5), BUILT + PLAUSIBLE + Duration::from_millis(1), UnixMillis(i64::MAX)] {
            assert_eq!(clock().read(START, Some(rtc)), TrustedTime { at: BUILT, trusted: false }, "{rtc:?}");
        }
        assert!(clock().read(START, Some(BUILT + PLAUSIBLE)).trusted);
    }

    #[test]
    fn a_clock_slightly_behind_the_signer_is_believed_but_never_goes_below_the_floor() {
        let behind = UnixMillis(BUILT.0 - 300_000);
        assert_eq!(clock().read(START, Some(behind)), TrustedTime { at: BUILT, trusted: true });
        assert!(!clock().read(START, Some(UnixMillis(behind.0 - 1))).trusted);
        // After 10,000 s the drift allowed is 10 s more.
        let (now, at) = later(10_000);
        assert!(clock().read(now, Some(UnixMillis(at.0 - 310_000))).trusted);
        assert!(!clock().read(now, Some(UnixMillis(at.0 - 310_001))).trusted);
    }

    #[test]
    fn the_floor_rises_and_never_falls() {
        let mut clock = clock();
        assert!(!clock.raise(UnixMillis(BUILT.0 - 1), START));
        assert!(clock.raise(BUILT + YEAR, START));
        assert!(!clock.raise(BUILT + Duration::from_secs(5), START));
        assert_eq!(clock.floor(), BUILT + YEAR);
        // What has certainly passed does not raise it either: the reading would fall back.
        let (now, _) = later(100);
        assert!(!clock.raise(BUILT + YEAR + Duration::from_secs(50), now));
        assert_eq!(clock.read(now, None).at, BUILT + YEAR + Duration::from_secs(100));
    }

    #[test]
    fn an_absurd_year_does_not_move_the_floor() {
        let mut clock = clock();
        assert!(!clock.raise(BUILT + PLAUSIBLE + Duration::from_millis(1), START));
        assert_eq!(clock.floor(), BUILT);
    }

    #[test]
    fn the_floor_survives_a_restart() {
        let mut first = clock();
        first.raise(BUILT + YEAR, START);
        let again = TrustedClock::new(BUILT, Some(first.floor()), Mono(0));
        assert_eq!(again.read(Mono(0), Some(UnixMillis(0))), TrustedTime { at: BUILT + YEAR, trusted: false });
        // A newer build than the stored floor wins.
        let upgraded = TrustedClock::new(BUILT + 2 * YEAR, Some(first.floor()), Mono(0));
        assert_eq!(upgraded.floor(), BUILT + 2 * YEAR);
    }

    #[test]
    fn times_read_as_dates() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (1_767_225_600, "2026-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(Utc(UnixMillis(seconds * 1000)).to_string(), date);
        }
        // The ends of the range do not overflow.
        assert!(Utc(UnixMillis(i64::MAX)).to_string().ends_with('Z'));
        assert!(Utc(UnixMillis(i64::MIN)).to_string().ends_with('Z'));
    }
}
