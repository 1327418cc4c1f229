//! Which blocks are put together next. Pure.

use skerry_model::UnixMillis;

/// Length of the first windows.
pub(super) const WINDOW_MS: i64 = 2 * 3_600_000;
/// Length of the second.
pub(super) const DAY_MS: i64 = 86_400_000;
/// How long a window has to be over, by the fleet's clock, and quiet. Batches are minutes late where a link is bad.
const QUIET_MS: i64 = 10 * 60_000;
/// How long a day has to be over: its last window is put together by then.
const DAY_QUIET_MS: i64 = 60 * 60_000;
/// Blocks of one window at which quiet is not waited for: a long backlog that comes in slowly.
const CROWD: usize = 512;
/// Most samples that go into one step.
pub(super) const SAMPLES_MAX: u64 = 1 << 20;

/// A step from one kind of blocks to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Blocks as they came become chunks of two hours.
    Blocks,
    /// Chunks of two hours become chunks of a day.
    Chunks,
}

impl Stage {
    pub(super) const fn window_ms(self) -> i64 {
        match self {
            Self::Blocks => WINDOW_MS,
            Self::Chunks => DAY_MS,
        }
    }

    const fn quiet_ms(self) -> i64 {
        match self {
            Self::Blocks => QUIET_MS,
            Self::Chunks => DAY_QUIET_MS,
        }
    }

    /// Blocks that end before this are in windows that are over.
    pub(super) const fn over_before(self, now: UnixMillis) -> i64 {
        now.0.saturating_sub(self.quiet_ms()).div_euclid(self.window_ms()).saturating_mul(self.window_ms())
    }
}

/// A block that may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) id: i64,
    /// Its latest time.
    pub(super) t1: i64,
    pub(super) samples: u64,
    /// When it came in.
    pub(super) received: i64,
    /// Lowest label set; zero for blocks.
    pub(super) s0: u32,
}

/// Those to be put together now, by id; none where everything has to wait. The lowest window goes first that is quiet,
/// or has become a crowd. Where a window has more samples than one step takes, blocks go by time and chunks by label
/// sets, so that the result is as long as can be.
pub(super) fn plan(stage: Stage, mut candidates: Vec<Candidate>, now: UnixMillis) -> Vec<i64> {
    let window = |candidate: &Candidate| candidate.t1.div_euclid(stage.window_ms());
    candidates.sort_by_key(|candidate| (window(candidate), candidate.s0, candidate.t1, candidate.id));
    let over = stage.over_before(now);
    for group in candidates.chunk_by(|a, b| window(a) == window(b)) {
        let newest = group.iter().map(|candidate| candidate.received).max().unwrap_or(0);
        let is_quiet = newest <= now.0.saturating_sub(stage.quiet_ms());
        if group[0].t1 >= over || !(is_quiet || group.len() >= CROWD) {
            continue;
        }
        let mut samples = 0u64;
        let taken = group.iter().take_while(|candidate| {
            let fits = samples == 0 || samples.saturating_add(candidate.samples) <= SAMPLES_MAX;
            samples = samples.saturating_add(candidate.samples);
            fits
        });
        return taken.map(|candidate| candidate.id).collect();
    }
    Vec::new()
}
