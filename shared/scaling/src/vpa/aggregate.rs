//! What containers of one kind have used, and what one of them has told so far.
//!
//! CPU counts sample by sample. Of memory only the peak of each day counts, because too little of it ends a container,
//! while too little CPU only slows it down. A container that was killed for want of memory needed more than it had: a
//! peak above it stands for that.

use super::histogram::{Histogram, Options};
use super::update::Gave;
use skerry_model::UnixMillis;
use std::time::Duration;

/// Half-life of samples.
const HALF_LIFE: Duration = Duration::from_secs(86_400);
/// Time of which the peak of memory counts.
pub(super) const WINDOW_MS: i64 = 86_400_000;
/// Weight of a sample of CPU.
const CPU_WEIGHT: f64 = 0.1;
/// What a container lacked at least that was killed for want of memory: bytes, and a part of what it had.
const OOM_BYTES_MIN: u64 = 100 << 20;
const OOM_RATIO: f64 = 1.2;

/// What containers of one kind have used.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// Cores.
    pub cpu: Histogram,
    /// Bytes: a peak a day of each container.
    pub memory: Histogram,
    /// The first and the last sample of CPU; `None` before the first.
    pub sampled: Option<(UnixMillis, UnixMillis)>,
    /// How many samples of CPU were taken.
    pub samples: u64,
}

/// One container while it lives. Moments are those at which measuring began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Instance {
    pub(super) cpu_at: Option<UnixMillis>,
    pub(super) memory_at: Option<UnixMillis>,
    /// End of the day of which the peak is, exclusively.
    pub(super) window_end: Option<UnixMillis>,
    pub(super) memory_peak: u64,
    /// Peak that stands for want of memory.
    pub(super) oom_peak: u64,
    /// The last kill for want of memory that counted.
    pub(super) killed_at: Option<UnixMillis>,
    /// What it was given while it ran, instead of what it was begun with.
    pub given: Option<Gave>,
}

/// A kill for want of memory that is more than a day older than the newest sample of memory; it does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the kill for want of memory is too old to count")]
pub struct OldOom;

/// Several tell of the same kill: within this time after one that counted it is that one.
const SAME_KILL_MS: i64 = 60_000;

impl Default for Aggregate {
    fn default() -> Self {
        Self {
            cpu: Histogram::decaying(Options::cpu(), HALF_LIFE),
            memory: Histogram::decaying(Options::memory(), HALF_LIFE),
            sampled: None,
            samples: 0,
        }
    }
}

impl Aggregate {
    /// Takes the mean use of CPU of a container, in cores, over a time that began at `at`. Says whether it counts: one
    /// that is not newer than the one before does not.
    pub fn add_cpu(&mut self, of: &mut Instance, cores: f64, at: UnixMillis) -> bool {
        if !(cores >= 0.0 && cores.is_finite()) || of.cpu_at.is_some_and(|last| at <= last) {
            return false;
        }
        of.cpu_at = Some(at);
        self.cpu.add(cores, CPU_WEIGHT, at);
        let (first, last) = self.sampled.unwrap_or((at, at));
        self.sampled = Some((first.min(at), last.max(at)));
        self.samples = self.samples.saturating_add(1);
        true
    }

    /// Takes the memory that a container uses, in bytes. Says whether it counts: one that is older than the one before
    /// does not.
    pub fn add_memory(&mut self, of: &mut Instance, bytes: u64, at: UnixMillis) -> bool {
        if of.memory_at.is_some_and(|last| at < last) {
            return false;
        }
        self.add_peak(of, bytes, at, false);
        true
    }

    /// Takes in that a container was killed for want of memory, and what it had been given, in bytes; zero where nothing
    /// is known of that.
    ///
    /// # Errors
    /// [`OldOom`].
    pub fn add_oom(&mut self, of: &mut Instance, requested: u64, at: UnixMillis) -> Result<(), OldOom> {
        if of.memory_at.is_some_and(|last| at.0 < last.0.saturating_sub(WINDOW_MS)) {
            return Err(OldOom);
        }
        // Not above the peak of an earlier kill: several in a row would drive each other up.
        let had = requested.max(of.memory_peak);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut to the range by the cast")]
        let scaled = (had as f64 * OOM_RATIO) as u64;
        self.add_peak(of, scaled.max(had.saturating_add(OOM_BYTES_MIN)), at, true);
        Ok(())
    }

    fn add_peak(&mut self, of: &mut Instance, bytes: u64, at: UnixMillis, is_oom: bool) {
        of.memory_at = Some(at);
        let end = of.window_end.unwrap_or(at);
        of.window_end = Some(end);
        let before = of.memory_peak.max(of.oom_peak);
        if at < end {
            if before == 0 || bytes <= before {
                return;
            }
            self.memory.subtract(before as f64, 1.0, end);
        } else {
            let past = at.0.saturating_sub(end.0);
            of.window_end = Some(UnixMillis(end.0.saturating_add((past - past % WINDOW_MS).saturating_add(WINDOW_MS))));
            (of.memory_peak, of.oom_peak) = (0, 0);
        }
        self.memory.add(bytes as f64, 1.0, of.window_end.unwrap_or(at));
        *(if is_oom { &mut of.oom_peak } else { &mut of.memory_peak }) = bytes;
    }

    /// Takes all that another holds.
    pub fn merge(&mut self, other: &Self) {
        self.cpu.merge(&other.cpu);
        self.memory.merge(&other.memory);
        self.samples = self.samples.saturating_add(other.samples);
        self.sampled = match (self.sampled, other.sampled) {
            (Some((first, last)), Some((others_first, others_last))) => {
                Some((first.min(others_first), last.max(others_last)))
            }
            (own, others) => own.or(others),
        };
    }

    /// Acts as if all samples had been taken so much later, or earlier: the clock was wrong.
    pub fn shift(&mut self, by_ms: i64) {
        self.cpu.shift(by_ms);
        self.memory.shift(by_ms);
        self.sampled = self.sampled.map(|(first, last)| (shifted(first, by_ms), shifted(last, by_ms)));
    }

    /// When the last sample of CPU was taken.
    #[must_use]
    pub fn last_at(&self) -> Option<UnixMillis> {
        self.sampled.map(|(_, last)| last)
    }
}

impl Instance {
    /// Whether a kill for want of memory is another one than those that counted; from then on it is one of them.
    pub fn is_killed_anew(&mut self, at: UnixMillis) -> bool {
        let is_new = self.killed_at.is_none_or(|last| at.0.saturating_sub(last.0) >= SAME_KILL_MS);
        if is_new {
            self.killed_at = Some(at);
        }
        is_new
    }

    /// As [`Aggregate::shift`].
    pub fn shift(&mut self, by_ms: i64) {
        for at in [&mut self.cpu_at, &mut self.memory_at, &mut self.window_end, &mut self.killed_at] {
            *at = at.map(|at| shifted(at, by_ms));
        }
        if let Some(given) = &mut self.given {
            given.at = shifted(given.at, by_ms);
        }
    }
}

fn shifted(at: UnixMillis, by_ms: i64) -> UnixMillis {
    UnixMillis(at.0.saturating_add(by_ms))
}
