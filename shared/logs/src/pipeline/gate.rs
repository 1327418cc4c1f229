//! Stages that let records through or not: `sample` and `rate_limit`.

use super::reader::{Faults, Reader};
use super::work::{FieldName, Work, field};
use serde_json::Value;
use skerry_model::Mono;
use std::collections::HashMap;

/// Most values of `by` that have a bucket of their own; the rest share one.
const KEYS_MAX: usize = 1000;
const KEY_BYTES_MAX: usize = 128;
/// Time between two looks for buckets that are full again and need not be remembered.
const SWEEP_MS: u64 = 1000;

/// Lets one record of so many through: the first, and then whenever the sum of the rate passes a whole number.
#[derive(Debug)]
pub(super) struct Sample {
    /// Millionths of the records that go through.
    rate: u64,
    sum: u64,
}

const WHOLE: u64 = 1_000_000;

impl Sample {
    /// Reads `{every: N}` or `{rate: 0.1}`.
    pub(super) fn read(value: &Value, key: &str, faults: &mut Faults) -> Option<Self> {
        let mut reader = Reader::new(value, key, faults)?;
        let every = reader.whole("every", 1, 1_000_000, faults);
        let rate = reader.number("rate", 0.0, 1.0, faults);
        let (has_every, has_rate) = (reader.has("every"), reader.has("rate"));
        reader.finish(faults);
        if has_every == has_rate {
            faults.push((key.to_owned(), "one of `every: 10` and `rate: 0.1` is expected".to_owned()));
        }
        // Rounded up, so that one of three lets every third through and not the fourth.
        let rate =
            every.map(|every| WHOLE.div_ceil(every)).or(rate.map(|rate| ((rate * WHOLE as f64).round() as u64).max(1)));
        Some(Self { rate: rate?, sum: WHOLE })
    }

    /// Whether the next record goes through.
    pub(super) fn passes(&mut self) -> bool {
        let passes = self.sum >= WHOLE;
        self.sum = self.sum - if passes { WHOLE } else { 0 } + self.rate;
        passes
    }
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    filled: Mono,
}

/// Lets so many records a second through, and a burst at once.
#[derive(Debug)]
pub(super) struct RateLimit {
    per_ms: f64,
    burst: f64,
    by: Option<FieldName>,
    shared: Option<Bucket>,
    buckets: HashMap<String, Bucket>,
    swept: Mono,
}

impl RateLimit {
    /// Reads `{rate: 100, burst: 200, by: user}`.
    pub(super) fn read(value: &Value, key: &str, faults: &mut Faults) -> Option<Self> {
        let mut reader = Reader::new(value, key, faults)?;
        let rate = reader.number("rate", 0.0, 1e9, faults);
        let burst = reader.whole("burst", 1, 1_000_000_000, faults);
        let by = field(&mut reader, "by", faults);
        if !reader.has("rate") {
            reader.fault("rate", "is missing: records per second are expected", faults);
        }
        reader.finish(faults);
        let rate = rate?;
        let burst = burst.map_or(rate.max(1.0), |burst| burst as f64);
        Some(Self { per_ms: rate / 1000.0, burst, by, shared: None, buckets: HashMap::new(), swept: Mono::default() })
    }

    /// Whether the record goes through.
    pub(super) fn passes(&mut self, work: &Work<'_>, now: Mono) -> bool {
        let value = self.by.as_ref().and_then(|by| work.value(by));
        let fresh = Bucket { tokens: self.burst, filled: now };
        let (per_ms, burst) = (self.per_ms, self.burst);
        let bucket = match value.as_deref() {
            Some(value) => {
                let value = &value[..value.floor_char_boundary(KEY_BYTES_MAX)];
                if self.buckets.len() >= KEYS_MAX
                    && !self.buckets.contains_key(value)
                    && now.0 >= self.swept.0 + SWEEP_MS
                {
                    self.swept = now;
                    self.buckets.retain(|_, bucket| bucket.level(now, per_ms, burst) < burst);
                }
                if self.buckets.contains_key(value) || self.buckets.len() < KEYS_MAX {
                    self.buckets.entry(value.to_owned()).or_insert(fresh)
                } else {
                    self.shared.get_or_insert(fresh)
                }
            }
            None => self.shared.get_or_insert(fresh),
        };
        bucket.tokens = bucket.level(now, per_ms, burst);
        bucket.filled = now;
        let passes = bucket.tokens >= 1.0;
        if passes {
            bucket.tokens -= 1.0;
        }
        passes
    }
}

impl Bucket {
    fn level(&self, now: Mono, per_ms: f64, burst: f64) -> f64 {
        (self.tokens + now.0.saturating_sub(self.filled.0) as f64 * per_ms).min(burst)
    }
}
