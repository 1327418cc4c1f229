//! How long to wait before the next try.

use skerry_model::UnixMillis;
use std::time::Duration;

/// Longest pause that a target may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// The pause that a `Retry-After` asks for, up to a bound; `None` where it can be read as neither.
pub(crate) fn pause_asked(text: &str, now: UnixMillis) -> Option<Duration> {
    let text = text.trim();
    let pause = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(text).ok()?;
            UnixMillis(date.timestamp().as_millisecond()).since(now)
        }
    };
    Some(pause.min(RETRY_AFTER_MAX))
}

/// Pauses between tries: doubling from the shortest to the longest, with jitter so that many senders that lost the
/// same target do not come back at once.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
    random: u64,
}

impl Backoff {
    pub(crate) fn new(min: Duration, max: Duration, seed: u64) -> Self {
        Self { min, max, next: min, random: seed | 1 }
    }

    /// How long to wait after a failure, at least `after`.
    pub(crate) fn pause(&mut self, after: Option<Duration>) -> Duration {
        // Xorshift: good enough to spread tries.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let share = 0.5 + (self.random >> 12) as f64 / (1u64 << 52) as f64 / 2.0;
        let pause = self.next.mul_f64(share);
        self.next = self.next.saturating_mul(2).min(self.max);
        after.map_or(pause, |after| after + self.min.mul_f64(share)).max(pause)
    }

    /// After a success the next failure begins anew.
    pub(crate) fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pauses_stay_between_their_bounds(seed in any::<u64>(), failures in 1usize..40) {
            let (min, max) = (Duration::from_millis(30), Duration::from_secs(5));
            let mut backoff = Backoff::new(min, max, seed);
            for nth in 0..failures {
                let full = (min * 2u32.saturating_pow(u32::try_from(nth).unwrap())).min(max);
                let pause = backoff.pause(None);
                prop_assert!(pause >= full / 2 && pause <= full, "{:?} at {}", pause, nth);
            }
            prop_assert!(backoff.pause(Some(Duration::from_secs(60))) >= Duration::from_secs(60));
            backoff.reset();
            prop_assert!(backoff.pause(None) <= min);
        }
    }
}
