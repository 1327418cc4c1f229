//! The time by which the age of what is stored is judged.
//!
//! A device without a battery boots in 1970, a failing one in 2106, and a wrong time server moves the clock by years. Age
//! takes blocks away for good, so a time that lies far from where it should be by the time that has passed is not
//! believed at once, but after it has stood for a day of running. Until then age goes by what was believed before.
//! What is believed is stored, so that starts in between change nothing.

use skerry_model::Now;
use skerry_model::{Mono, UnixMillis};
use std::time::Duration;

/// What a clock may be off without doubt. Retention is in days.
const TOLERANCE: Duration = Duration::from_secs(86_400);
/// How long another time has to stand.
const DOUBT: Duration = Duration::from_secs(86_400);
/// How often it is stored at least.
const STORE_EVERY: Duration = Duration::from_secs(3600);

/// Key of what is believed.
pub(super) const KEY: &str = "age";

/// What is believed of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Age {
    believed: UnixMillis,
    /// How long the clock has said something else.
    doubted: Duration,
    at: Mono,
    stored_at: Option<Mono>,
}

impl Age {
    /// Goes on with what was stored; believes the clock where nothing was.
    pub(super) fn begin(stored: Option<&[u8]>, now: Now) -> Self {
        let read = |bytes: &[u8]| {
            let (believed, rest) = bytes.split_first_chunk()?;
            Some((
                UnixMillis(i64::from_le_bytes(*believed)),
                Duration::from_secs(u64::from_le_bytes(rest.try_into().ok()?)),
            ))
        };
        let (believed, doubted) = stored.and_then(read).unwrap_or((now.wall, Duration::ZERO));
        Self { believed, doubted: doubted.min(DOUBT), at: now.mono, stored_at: None }
    }

    /// Lets time pass.
    pub(super) fn look(&mut self, now: Now) {
        let passed = now.mono.since(self.at);
        self.at = now.mono;
        self.believed = self.believed + passed;
        let off = now.wall.since(self.believed).max(self.believed.since(now.wall));
        if off <= TOLERANCE {
            (self.believed, self.doubted) = (now.wall, Duration::ZERO);
        } else {
            self.doubted += passed;
            if self.doubted >= DOUBT {
                (self.believed, self.doubted) = (now.wall, Duration::ZERO);
            }
        }
    }

    /// The time by which ages are judged: the earlier of what is believed and what the clock says.
    pub(super) fn now(&self, wall: UnixMillis) -> UnixMillis {
        self.believed.min(wall)
    }

    /// Whether it is time to store it.
    pub(super) fn is_due(&self) -> bool {
        self.stored_at.is_none_or(|at| self.at.since(at) >= STORE_EVERY)
    }

    /// It has been stored.
    pub(super) fn stored(&mut self) {
        self.stored_at = Some(self.at);
    }

    /// As it is stored.
    pub(super) fn encode(&self) -> Vec<u8> {
        [self.believed.0.to_le_bytes(), self.doubted.as_secs().to_le_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;
    const YEAR: i64 = 365 * 24;

    /// The clock at `hours` of running, off by so many hours.
    fn now(hours: u64, off: i64) -> Now {
        let wall = (1_000_000 + hours as i64 + off) * 3_600_000;
        Now { wall: UnixMillis(wall), mono: Mono(hours * HOUR * 1000) }
    }

    /// By how many hours the judged time is off.
    fn off(age: &mut Age, hours: u64, off: i64) -> i64 {
        let now = now(hours, off);
        age.look(now);
        age.now(now.wall).0 / 3_600_000 - 1_000_000 - hours as i64
    }

    #[test]
    fn a_step_far_ahead_is_believed_after_a_day() {
        let mut age = Age::begin(None, now(0, 0));
        assert_eq!(off(&mut age, 1, 2), 2, "a small step is believed at once");
        assert_eq!(off(&mut age, 2, YEAR), 2);
        assert_eq!(off(&mut age, 20, YEAR), 2);
        assert_eq!(off(&mut age, 21, 0), 0, "it was wrong, and is mended");
        assert_eq!(off(&mut age, 22, YEAR), 0);
        assert_eq!(off(&mut age, 46, YEAR), YEAR);
    }

    #[test]
    fn a_clock_set_back_makes_nothing_older_and_its_mending_is_believed_at_once() {
        let mut age = Age::begin(None, now(0, 0));
        assert_eq!(off(&mut age, 1, -50 * YEAR), -50 * YEAR);
        assert_eq!(off(&mut age, 2, 0), 0);
    }

    #[test]
    fn starts_in_between_change_nothing() {
        let mut age = Age::begin(None, now(0, 0));
        for hours in 1..24 {
            assert_eq!(off(&mut age, hours, YEAR), 0, "{hours}");
            age = Age::begin(Some(&age.encode()), now(hours, YEAR));
        }
        assert_eq!(off(&mut age, 24, YEAR), YEAR);
        assert_eq!(Age::begin(Some(b"damaged"), now(3, 0)), Age::begin(None, now(3, 0)));
    }

    #[test]
    fn it_is_stored_once_an_hour() {
        let mut age = Age::begin(None, now(0, 0));
        assert!(age.is_due());
        age.stored();
        off(&mut age, 0, 0);
        assert!(!age.is_due());
        off(&mut age, 1, 0);
        assert!(age.is_due());
    }
}
