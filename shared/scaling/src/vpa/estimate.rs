//! From what was used to what should be asked for.
//!
//! The order is percentile, margin, confidence, least resources, bounds of the policy, what the node has. Each step is a function of its own,
//! and amounts are whole numbers after each, as upstream's are.

use super::aggregate::Aggregate;
use std::time::Duration;

/// Largest amount.
const AMOUNT_MAX: f64 = 1e14;
/// Half a day's worth of samples is as good as half a day of samples, at one a minute.
const DAY: Duration = Duration::from_secs(86_400);

/// An amount of each resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amounts {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Bytes.
    pub memory: u64,
}

/// What a container should ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recommendation {
    /// What it should ask for.
    pub target: Amounts,
    /// Who asks for less should be changed.
    pub lower: Amounts,
    /// Who asks for more should be changed.
    pub upper: Amounts,
    /// The target without the policy's bounds.
    pub uncapped: Amounts,
}

/// How recommendations are made; the defaults are the recommender's flags.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Share of the samples that the target is not below; 0.9.
    pub target: f64,
    /// The same of the lower bound; 0.5.
    pub lower: f64,
    /// The same of the upper bound; 0.95.
    pub upper: f64,
    /// What is added, as a part; 0.15.
    pub margin: f64,
    /// Least that all containers of a replica together get; 25 thousandths of a core and 250 MiB.
    pub least: Amounts,
    /// Most that a container gets, whatever its policy says: what the node has. All there may be where that is not known.
    pub most: Amounts,
}

/// Least and most of each resource, where a policy says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// Least CPU, in thousandths of a core.
    pub cpu_min: Option<u64>,
    /// Most CPU, in thousandths of a core.
    pub cpu_max: Option<u64>,
    /// Least memory, in bytes.
    pub memory_min: Option<u64>,
    /// Most memory, in bytes.
    pub memory_max: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        let least = Amounts { cpu_milli: 25, memory: 250 << 20 };
        let most = Amounts { cpu_milli: u64::MAX, memory: u64::MAX };
        Self { target: 0.9, lower: 0.5, upper: 0.95, margin: 0.15, least, most }
    }
}

impl Amounts {
    fn each(self, change: impl Fn(u64) -> u64) -> Self {
        Self { cpu_milli: change(self.cpu_milli), memory: change(self.memory) }
    }
}

impl Bounds {
    /// Brings amounts within; the upper bounds win.
    #[must_use]
    pub fn hold(&self, amounts: Amounts) -> Amounts {
        let within =
            |amount: u64, min: Option<u64>, max: Option<u64>| amount.max(min.unwrap_or(0)).min(max.unwrap_or(u64::MAX));
        Amounts {
            cpu_milli: within(amounts.cpu_milli, self.cpu_min, self.cpu_max),
            memory: within(amounts.memory, self.memory_min, self.memory_max),
        }
    }
}

/// What one of `containers` containers of a replica should ask for; `None` before the first sample of CPU.
#[must_use]
pub fn recommend(used: &Aggregate, containers: u32, settings: &Settings, bounds: &Bounds) -> Option<Recommendation> {
    if used.samples == 0 {
        return None;
    }
    let share = 1.0 / f64::from(containers.max(1));
    let least = settings.least.each(|amount| scaled(amount, share));
    let of = |percent: f64| with_margin(percentile(used, percent), settings.margin);
    let confidence = confidence(used, DAY);
    let target = at_least(of(settings.target), least);
    let lower = at_least(with_confidence(of(settings.lower), 0.001, -2.0, confidence), least);
    let upper = at_least(with_confidence(of(settings.upper), 1.0, 1.0, confidence), least);
    let most =
        Bounds { cpu_max: Some(settings.most.cpu_milli), memory_max: Some(settings.most.memory), ..Bounds::default() };
    let held = |amounts| most.hold(bounds.hold(amounts));
    Some(Recommendation { target: held(target), lower: held(lower), upper: held(upper), uncapped: target })
}

/// What a share of the samples is not above.
#[must_use]
pub fn percentile(used: &Aggregate, share: f64) -> Amounts {
    Amounts { cpu_milli: amount(used.cpu.percentile(share) * 1000.0), memory: amount(used.memory.percentile(share)) }
}

/// With a part of it added.
#[must_use]
pub fn with_margin(amounts: Amounts, margin: f64) -> Amounts {
    amounts.each(|own| own.saturating_add(scaled(own, margin)))
}

/// How much is known, in intervals: how long samples were taken, or how many at one a minute, whichever is less.
#[must_use]
pub fn confidence(used: &Aggregate, interval: Duration) -> f64 {
    let lifespan_ms = used.sampled.map_or(0, |(first, last)| last.0.saturating_sub(first.0));
    let lifespan = lifespan_ms as f64 / 1000.0 / interval.as_secs_f64();
    lifespan.min(used.samples as f64 / (interval.as_secs_f64() / 60.0))
}

/// Times `(1 + multiplier / confidence) ^ exponent`: the further from one the less is known.
#[must_use]
pub fn with_confidence(amounts: Amounts, multiplier: f64, exponent: f64, confidence: f64) -> Amounts {
    let factor = (1.0 + multiplier / confidence).powf(exponent);
    amounts.each(|own| scaled(own, factor))
}

/// Not below these.
#[must_use]
pub fn at_least(amounts: Amounts, least: Amounts) -> Amounts {
    Amounts { cpu_milli: amounts.cpu_milli.max(least.cpu_milli), memory: amounts.memory.max(least.memory) }
}

fn scaled(own: u64, factor: f64) -> u64 {
    amount(own as f64 * factor)
}

/// Whole, not below zero, and not above what is possible.
fn amount(number: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut to the range by min and the cast")]
    let whole = number.min(AMOUNT_MAX) as u64;
    whole
}
