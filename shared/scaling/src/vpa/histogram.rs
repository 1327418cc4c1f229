//! Histograms of usage whose old samples lose weight.
//!
//! Samples do not lose weight one by one. Newer ones weigh more instead: a sample's weight is doubled for each half-life
//! between the reference and it, and the reference moves on before that overflows.

use skerry_model::UnixMillis;
use std::time::Duration;

/// Largest weight of a bucket in a checkpoint.
const CHECKPOINT_WEIGHT_MAX: f64 = 10_000.0;
/// Half-lives after which the reference moves on: a weight has grown by 2^100 then.
const HALF_LIVES_MAX: f64 = 100.0;
/// Most buckets.
const BUCKETS_MAX: f64 = 400.0;

/// How values are put into buckets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    first: f64,
    /// How many times as wide as the one before a bucket is; 1 where all are as wide as the first.
    ratio: f64,
    count: u16,
    epsilon: f64,
}

impl Options {
    /// CPU in cores: from 0.01 to 1000, each bucket 5 % wider than the one before.
    #[must_use]
    pub fn cpu() -> Self {
        Self::exponential(1000.0, 0.01, 1.05, 1e-4).unwrap_or(Self::FALLBACK)
    }

    /// Memory in bytes: from 10 MB to 1 TB, each bucket 5 % wider than the one before.
    #[must_use]
    pub fn memory() -> Self {
        Self::exponential(1e12, 1e7, 1.05, 1e-4).unwrap_or(Self::FALLBACK)
    }

    /// One bucket; never met, since the two above are well-formed.
    const FALLBACK: Self = Self { first: 1.0, ratio: 1.0, count: 1, epsilon: 1e-4 };

    /// Buckets of one width, up to `max`, and one for all above it. Buckets lighter than `epsilon` count as empty. `None`
    /// where a number is not above zero, or where the buckets are more than 400.
    #[must_use]
    pub fn linear(max: f64, width: f64, epsilon: f64) -> Option<Self> {
        Self::checked(width, 1.0, (max / width).ceil() + 1.0, [max, width, epsilon])
    }

    /// Buckets of which each is `ratio` times as wide as the one before; the rest as above. `ratio` is above one.
    #[must_use]
    pub fn exponential(max: f64, first: f64, ratio: f64, epsilon: f64) -> Option<Self> {
        let count = ((max * (ratio - 1.0) / first + 1.0).ln() / ratio.ln()).ceil() + 1.0;
        Self::checked(first, ratio, count, [max, first, epsilon]).filter(|_| ratio > 1.0)
    }

    fn checked(first: f64, ratio: f64, count: f64, positive: [f64; 3]) -> Option<Self> {
        let is_good = positive.iter().all(|number| number.is_finite() && *number > 0.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 1..=400")]
        (is_good && (1.0..=BUCKETS_MAX).contains(&count)).then(|| Self {
            first,
            ratio,
            count: count as u16,
            epsilon: positive[2],
        })
    }

    /// How many buckets there are.
    #[must_use]
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// The bucket of a value; what is below or above all of them is in the first or last.
    #[must_use]
    pub fn find(&self, value: f64) -> u16 {
        let bucket = match value {
            value if value.is_nan() || value < self.first => 0.0,
            value if self.ratio > 1.0 => (value * (self.ratio - 1.0) / self.first + 1.0).ln() / self.ratio.ln(),
            value => value / self.first,
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut to the range by the cast")]
        let bucket = bucket as u16;
        bucket.min(self.count - 1)
    }

    /// Where a bucket begins; it ends where the next begins.
    #[must_use]
    pub fn start(&self, bucket: u16) -> f64 {
        match (bucket, self.ratio > 1.0) {
            (0, _) => 0.0,
            (_, true) => self.first * (self.ratio.powi(i32::from(bucket)) - 1.0) / (self.ratio - 1.0),
            (_, false) => self.first * f64::from(bucket),
        }
    }
}

/// A histogram. Samples with a weight that is no positive number are not taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    options: Options,
    half_life_ms: Option<i64>,
    /// When a sample has the weight that it is given; of decaying histograms that are not empty.
    reference: Option<UnixMillis>,
    total: f64,
    /// Buckets with weight, in order.
    at: Vec<u16>,
    weights: Vec<f64>,
}

/// A histogram as it is stored: weights in parts of the largest, which is 10 000. What is lighter than half a part is
/// lost.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Checkpoint {
    /// When a sample had its own weight; `None` where nothing decays.
    pub reference: Option<UnixMillis>,
    /// Weight of all samples.
    pub total: f64,
    /// Buckets and their weights.
    pub weights: Vec<(u16, u32)>,
}

/// Why a checkpoint is none of this histogram.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidCheckpoint(pub String);

impl Histogram {
    /// An empty one, in which all samples keep their weight.
    #[must_use]
    pub const fn new(options: Options) -> Self {
        Self { options, half_life_ms: None, reference: None, total: 0.0, at: Vec::new(), weights: Vec::new() }
    }

    /// An empty one, in which samples lose half of their weight in each span of `half_life`.
    #[must_use]
    pub fn decaying(options: Options, half_life: Duration) -> Self {
        let half_life_ms = i64::try_from(half_life.as_millis()).unwrap_or(i64::MAX).max(1);
        Self { half_life_ms: Some(half_life_ms), ..Self::new(options) }
    }

    /// Takes a sample.
    pub fn add(&mut self, value: f64, weight: f64, at: UnixMillis) {
        let weight = weight * self.decay(at);
        if value.is_nan() || !weight.is_finite() || weight <= 0.0 {
            return;
        }
        let bucket = self.options.find(value);
        match self.at.binary_search(&bucket) {
            Ok(place) => self.weights[place] += weight,
            Err(place) => {
                self.at.insert(place, bucket);
                self.weights.insert(place, weight);
            }
        }
        self.total += weight;
    }

    /// Takes a sample out again that was added with these numbers.
    pub fn subtract(&mut self, value: f64, weight: f64, at: UnixMillis) {
        let weight = weight * self.decay(at);
        if value.is_nan() || !weight.is_finite() || weight <= 0.0 {
            return;
        }
        let less = |from: f64| if from - weight < self.options.epsilon { 0.0 } else { from - weight };
        self.total = less(self.total);
        if let Ok(place) = self.at.binary_search(&self.options.find(value)) {
            self.weights[place] = less(self.weights[place]);
        }
        self.forget_weightless();
    }

    /// Takes all that another of the same options holds.
    pub fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        match (self.reference, other.reference) {
            (Some(own), Some(others)) if own < others => self.refer_to(others),
            (Some(own), Some(others)) if others < own => other.refer_to(own),
            (None, others) => self.reference = others,
            _ => {}
        }
        for (bucket, weight) in other.at.iter().zip(&other.weights) {
            match self.at.binary_search(bucket) {
                Ok(place) => self.weights[place] += weight,
                Err(place) => {
                    self.at.insert(place, *bucket);
                    self.weights.insert(place, *weight);
                }
            }
        }
        self.total += other.total;
    }

    /// The value that a share of the weight is not above: the end of the first bucket with which as much is reached, or
    /// the start of the last bucket of all. Zero where the histogram is empty. A share outside 0..=1 is the next within.
    #[must_use]
    pub fn percentile(&self, share: f64) -> f64 {
        let has_weight = |weight: &f64| *weight >= self.options.epsilon;
        let (Some(first), Some(last)) =
            (self.weights.iter().position(has_weight), self.weights.iter().rposition(has_weight))
        else {
            return 0.0;
        };
        let (threshold, mut sum, mut bucket) = (share * self.total, 0.0, self.at[last]);
        for place in first..last {
            sum += self.weights[place];
            if sum >= threshold {
                bucket = self.at[place];
                break;
            }
        }
        if bucket + 1 < self.options.count { self.options.start(bucket + 1) } else { self.options.start(bucket) }
    }

    /// Whether no bucket has weight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.weights.iter().all(|weight| *weight < self.options.epsilon)
    }

    /// Buckets with their weights, in order, as of the reference.
    pub fn buckets(&self) -> impl Iterator<Item = (u16, f64)> {
        self.at.iter().copied().zip(self.weights.iter().copied())
    }

    /// Weight of all samples, as of the reference.
    #[must_use]
    pub const fn total(&self) -> f64 {
        self.total
    }

    /// Acts as if all samples had been taken so much later, or earlier: the clock was wrong.
    pub fn shift(&mut self, by_ms: i64) {
        self.reference = self.reference.map(|at| UnixMillis(at.0.saturating_add(by_ms)));
    }

    /// What is stored of it.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        let most = self.weights.iter().copied().fold(0.0, f64::max);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=10000")]
        let part = |weight: f64| (weight * (CHECKPOINT_WEIGHT_MAX / most)).round() as u32;
        let weights = self.buckets().filter(|_| most >= self.options.epsilon);
        let weights = weights.map(|(bucket, weight)| (bucket, part(weight))).filter(|(_, weight)| *weight > 0);
        Checkpoint { reference: self.reference, total: self.total, weights: weights.collect() }
    }

    /// Adds what was stored; decaying histograms go on from the reference that stands there.
    ///
    /// # Errors
    /// [`InvalidCheckpoint`]: a bucket that there is not, or a total that is no weight. Nothing was changed then.
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<(), InvalidCheckpoint> {
        let Checkpoint { reference, total, weights } = checkpoint;
        if !total.is_finite() || *total < 0.0 {
            return Err(InvalidCheckpoint(format!("a total weight of {total}: a number from zero on is expected")));
        }
        if let Some((bucket, _)) = weights.iter().find(|(bucket, _)| *bucket >= self.options.count) {
            return Err(InvalidCheckpoint(format!("bucket {bucket} of {}", self.options.count)));
        }
        let sum: f64 = weights.iter().map(|(_, weight)| f64::from(*weight)).sum();
        if self.half_life_ms.is_some() {
            self.reference = *reference;
        }
        if sum <= 0.0 {
            return Ok(());
        }
        for (bucket, weight) in weights {
            let weight = f64::from(*weight) * (total / sum);
            match self.at.binary_search(bucket) {
                Ok(place) => self.weights[place] += weight,
                Err(place) => {
                    self.at.insert(place, *bucket);
                    self.weights.insert(place, weight);
                }
            }
        }
        self.total += total;
        Ok(())
    }

    /// How many times its own weight a sample has. The reference moves where that would be too much.
    fn decay(&mut self, at: UnixMillis) -> f64 {
        let Some(half_life_ms) = self.half_life_ms else { return 1.0 };
        let half_lives = |reference: UnixMillis| at.0.saturating_sub(reference.0) as f64 / half_life_ms as f64;
        match self.reference {
            Some(reference) if half_lives(reference) <= HALF_LIVES_MAX => half_lives(reference).exp2(),
            _ => {
                self.refer_to(at);
                self.reference.map_or(1.0, |reference| half_lives(reference).exp2())
            }
        }
    }

    /// Moves the reference to the whole half-life next to a moment, so that only exponents of weights change.
    fn refer_to(&mut self, at: UnixMillis) {
        let Some(half_life_ms) = self.half_life_ms else { return };
        let whole = at.0.saturating_add(half_life_ms / 2).div_euclid(half_life_ms).saturating_mul(half_life_ms);
        if let Some(before) = self.reference {
            let factor = (before.0.saturating_sub(whole) as f64 / half_life_ms as f64).round().exp2();
            self.weights.iter_mut().for_each(|weight| *weight *= factor);
            self.total *= factor;
            self.forget_weightless();
        }
        self.reference = Some(UnixMillis(whole));
    }

    /// Buckets that have lost all weight take no memory.
    fn forget_weightless(&mut self) {
        if self.weights.contains(&0.0) {
            let kept = self.buckets().filter(|(_, weight)| *weight > 0.0);
            (self.at, self.weights) = kept.unzip();
        }
    }
}
