//! Quantiles of what was seen in the last minutes, in bounded memory.
//!
//! Values are counted in bins whose bounds grow by 2 % each, so a quantile is right to 1 % of its value (the DDSketch of
//! Masson, Rim and Lee, 2019). Two sketches take turns, five minutes each: what is told is of the last five to ten.

use skerry_model::Mono;
use std::time::Duration;

/// How much a bin is wider than the one before.
const GROWTH: f64 = 1.02;
/// Most bins; beyond them the two lowest become one, since it is the high quantiles that people look at.
const BINS_MAX: usize = 512;
/// How long each of the two counts.
const TURN: Duration = Duration::from_secs(300);
/// Values up to this, and negative ones, share one bin.
const LEAST: f64 = 1e-9;

#[derive(Debug, Clone, Default)]
struct Sketch {
    /// Numbers of bins and what they hold, by rising number.
    bins: Vec<(i16, f64)>,
    count: f64,
}

impl Sketch {
    fn add(&mut self, value: f64, weight: f64) {
        let bin = if value <= LEAST { i16::MIN } else { (value.ln() / GROWTH.ln()).ceil() as i16 };
        self.count += weight;
        match self.bins.binary_search_by_key(&bin, |(bin, _)| *bin) {
            Ok(at) => self.bins[at].1 += weight,
            Err(at) => {
                self.bins.insert(at, (bin, weight));
                if self.bins.len() > BINS_MAX {
                    let (_, lowest) = self.bins.remove(0);
                    self.bins[0].1 += lowest;
                }
            }
        }
    }
}

/// Two sketches that take turns.
#[derive(Debug, Clone)]
pub(super) struct Window {
    now: Sketch,
    before: Sketch,
    since: Mono,
}

impl Window {
    pub(super) fn new(now: Mono) -> Self {
        Self { now: Sketch::default(), before: Sketch::default(), since: now }
    }

    pub(super) fn add(&mut self, value: f64, weight: f64, now: Mono) {
        self.turn(now);
        self.now.add(value, weight);
    }

    /// Value below which this share of what was seen lies; NaN where nothing was seen.
    pub(super) fn quantile(&mut self, share: f64, now: Mono) -> f64 {
        self.turn(now);
        let wanted = share * (self.now.count + self.before.count);
        let (mut left, mut right) = (self.now.bins.iter().peekable(), self.before.bins.iter().peekable());
        let (mut seen, mut last) = (0.0, f64::NAN);
        loop {
            let next = match (left.peek(), right.peek()) {
                (Some((a, _)), Some((b, _))) if a <= b => left.next(),
                (Some(_), None) => left.next(),
                _ => right.next(),
            };
            let Some((bin, count)) = next else { return last };
            seen += count;
            // The middle of the bin, as far from both its ends in proportion.
            last = if *bin == i16::MIN { 0.0 } else { GROWTH.powi(i32::from(*bin)) * 2.0 / (1.0 + GROWTH) };
            if seen >= wanted {
                return last;
            }
        }
    }

    fn turn(&mut self, now: Mono) {
        let passed = now.since(self.since);
        if passed < TURN {
            return;
        }
        let ended = std::mem::take(&mut self.now);
        self.before = if passed < TURN * 2 { ended } else { Sketch::default() };
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_one_percent() {
        let mut window = Window::new(Mono(0));
        for n in 1..=10_000 {
            window.add(f64::from(n) / 1000.0, 1.0, Mono(0));
        }
        for (share, expected) in [(0.5, 5.0), (0.9, 9.0), (0.99, 9.9)] {
            let told = window.quantile(share, Mono(0));
            assert!((told - expected).abs() <= expected * 0.011, "{share}: {told}");
        }
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let mut window = Window::new(Mono(0));
        window.add(1.0, 1.0, Mono(0));
        assert!(window.quantile(0.5, Mono(299_000)) > 0.9);
        window.add(100.0, 1.0, Mono(310_000));
        assert!(window.quantile(0.1, Mono(310_000)) < 1.1, "the turn before counts too");
        assert!(window.quantile(0.1, Mono(620_000)) > 90.0);
        assert!(window.quantile(0.5, Mono(2_000_000)).is_nan());
    }

    #[test]
    fn memory_is_bounded_whatever_is_added() {
        let mut window = Window::new(Mono(0));
        for n in -300..300 {
            for step in 0..20 {
                window.add((1.0 + f64::from(step) / 20.0) * 10_f64.powi(n), 1.0, Mono(0));
            }
        }
        window.add(-5.0, 1.0, Mono(0));
        window.add(f64::MAX, 1.0, Mono(0));
        assert!(window.now.bins.len() <= BINS_MAX);
    }
}
