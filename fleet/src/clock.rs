//! The one place of the fleet that reads the clock. Everything else is given a [`WallClock`] or a value.

use skerry_model::UnixMillis;
use std::sync::Arc;

/// Wall time, from the server's one clock.
pub type WallClock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// The machine's wall clock.
#[must_use]
pub fn system() -> WallClock {
    Arc::new(|| {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        UnixMillis(now.tv_sec * 1000 + now.tv_nsec / 1_000_000)
    })
}

/// A moment for people: UTC to the second, as `2026-05-01 12:00:00`.
#[must_use]
pub fn utc(at: UnixMillis) -> String {
    match jiff::Timestamp::from_millisecond(at.0) {
        Ok(moment) => moment.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => format!("{} ms", at.0),
    }
}

/// How long ago something was, in the one unit that says most: `5s`, `12m`, `3h`, `4d`.
#[must_use]
pub fn ago(now: UnixMillis, then: UnixMillis) -> String {
    let secs = now.since(then).as_secs();
    match secs {
        0..120 => format!("{secs}s"),
        120..7_200 => format!("{}m", secs / 60),
        7_200..172_800 => format!("{}h", secs / 3_600),
        _ => format!("{}d", secs / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_short() {
        assert_eq!(utc(UnixMillis(1_800_000_000_123)), "2027-01-15 08:00:00");
        assert_eq!(utc(UnixMillis(i64::MAX)), format!("{} ms", i64::MAX));
        let now = UnixMillis(1_000_000_000);
        for (secs, text) in [(0, "0s"), (119, "119s"), (120, "2m"), (7_200, "2h"), (172_800, "2d")] {
            assert_eq!(ago(now, UnixMillis(now.0 - secs * 1000)), text);
        }
    }
}
