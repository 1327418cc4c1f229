//! The one place that reads clocks.
//!
//! Everything else receives a [`Clock`] or a value. Under test the clock is a [`ManualClock`] that only moves when
//! the test moves it.

use skerry_model::{Mono, UnixMillis};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Source of wall and monotonic time; cheap to clone.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    Manual(Arc<ManualClock>),
}

/// Time since the machine began, finely: for cores that measure how long they took.
#[must_use]
pub fn stopwatch() -> std::time::Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
    std::time::Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), nanos)
}

/// A clock that a test sets.
#[derive(Debug, Default)]
pub struct ManualClock {
    wall: AtomicI64,
    mono: AtomicU64,
}

impl Clock {
    /// The machine's clocks. Monotonic time counts through suspend (`CLOCK_BOOTTIME`), because a node that slept
    /// for a night has a night's worth of work overdue.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until its handle moves it.
    #[must_use]
    pub fn manual(wall: UnixMillis) -> (Self, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock { wall: AtomicI64::new(wall.0), mono: AtomicU64::new(0) });
        (Self(Source::Manual(clock.clone())), clock)
    }

    /// Wall time: may jump. For labels alone.
    #[must_use]
    pub fn wall(&self) -> UnixMillis {
        match &self.0 {
            Source::System => {
                let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
                UnixMillis(now.tv_sec * 1000 + now.tv_nsec / 1_000_000)
            }
            Source::Manual(clock) => UnixMillis(clock.wall.load(Ordering::SeqCst)),
        }
    }

    /// A moment of high resolution, for measuring how long something took. Always the machine's.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads clocks")]
    pub fn instant(&self) -> std::time::Instant {
        std::time::Instant::now()
    }

    /// Time since the kernel began, without what the machine slept: how the kernel stamps its messages.
    #[must_use]
    pub fn awake(&self) -> std::time::Duration {
        match &self.0 {
            Source::System => {
                let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
                let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
                std::time::Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), nanos)
            }
            Source::Manual(clock) => std::time::Duration::from_millis(clock.mono.load(Ordering::SeqCst)),
        }
    }

    /// Monotonic time since boot. For schedules.
    #[must_use]
    pub fn mono(&self) -> Mono {
        match &self.0 {
            Source::System => {
                let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
                Mono(u64::try_from(now.tv_sec * 1000 + now.tv_nsec / 1_000_000).unwrap_or(0))
            }
            Source::Manual(clock) => Mono(clock.mono.load(Ordering::SeqCst)),
        }
    }
}

impl ManualClock {
    /// Lets time pass on both clocks.
    pub fn advance(&self, span: std::time::Duration) {
        let ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        self.mono.fetch_add(ms, Ordering::SeqCst);
        self.wall.fetch_add(i64::try_from(ms).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Sets the wall clock alone, as an operator or NTP does.
    pub fn set_wall(&self, wall: UnixMillis) {
        self.wall.store(wall.0, Ordering::SeqCst);
    }
}
