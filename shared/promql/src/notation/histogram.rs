//! Native histograms in series notation: `{{schema:1 count:4 sum:5.6 buckets:[1 2 1] offset:-3}}`.
//!
//! PromQL here does not know them. They exist so that what is written in tests can be read, added up and compared.

use crate::value::number_text;
use std::fmt::{self, Write};

/// Most buckets on either side, and most custom bounds; schemas of the field rarely need more than 160.
const BUCKETS_MAX: usize = 10_000;

/// What is known of whether a histogram's counts began anew since the sample before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResetHint {
    /// Nothing.
    #[default]
    Unknown,
    /// They began anew.
    Reset,
    /// They did not.
    NotReset,
    /// They may fall: it is a gauge.
    Gauge,
}

/// A native histogram of floats.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Histogram {
    /// Resolution: bounds grow by `2^(2^-schema)`; -53 where they are listed in `custom_values`.
    pub schema: i32,
    /// How many values were observed.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
    /// How many of them lie in the bucket around zero.
    pub zero_count: f64,
    /// Where that bucket ends, on both sides.
    pub zero_threshold: f64,
    /// Buckets of values above zero.
    pub positive: Buckets,
    /// Buckets of values below zero.
    pub negative: Buckets,
    /// Upper bounds of schema -53.
    pub custom_values: Vec<f64>,
    /// Whether counts began anew.
    pub hint: ResetHint,
}

/// Buckets in a row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Buckets {
    /// Index of the first one.
    pub offset: i32,
    /// What each holds.
    pub counts: Vec<f64>,
}

impl Buckets {
    /// The same without empty buckets at both ends.
    fn trimmed(&self) -> Self {
        let is_full = |count: &f64| *count != 0.0;
        let Some(first) = self.counts.iter().position(is_full) else { return Self::default() };
        let last = self.counts.iter().rposition(is_full).unwrap_or(first);
        let offset = self.offset.saturating_add(i32::try_from(first).unwrap_or(i32::MAX));
        Self { offset, counts: self.counts[first..=last].to_vec() }
    }

    /// What the bucket with this index holds.
    fn count(&self, index: i64) -> f64 {
        let place = usize::try_from(index - i64::from(self.offset)).ok();
        place.and_then(|place| self.counts.get(place)).copied().unwrap_or(0.0)
    }

    /// Index of the first bucket and of the one behind the last.
    fn bounds(&self) -> (i64, i64) {
        let first = i64::from(self.offset);
        (first, first + i64::try_from(self.counts.len()).unwrap_or(0))
    }

    /// Indices that either side has.
    fn union(&self, other: &Self) -> (i64, i64) {
        let ((a, b), (c, d)) = (self.bounds(), other.bounds());
        match (a == b, c == d) {
            (true, _) => (c, d),
            (_, true) => (a, b),
            _ => (a.min(c), b.max(d)),
        }
    }

    /// The same at a resolution that is this many schemas lower: each merges two buckets into one.
    fn coarser(&self, levels: u32) -> Self {
        if levels == 0 || self.counts.is_empty() {
            return self.clone();
        }
        let merged = |index: i64| ((index - 1) >> levels) + 1;
        let (first, end) = self.bounds();
        let (low, high) = (merged(first), merged(end - 1));
        let mut counts = vec![0.0; usize::try_from(high - low + 1).unwrap_or(0)];
        for (index, count) in (first..end).zip(&self.counts) {
            if let Some(sum) = usize::try_from(merged(index) - low).ok().and_then(|place| counts.get_mut(place)) {
                *sum += count;
            }
        }
        Self { offset: i32::try_from(low).unwrap_or(self.offset), counts }
    }

    fn plus(&self, other: &Self, factor: f64) -> Result<Self, String> {
        let (first, end) = self.union(other);
        if end - first > i64::try_from(BUCKETS_MAX).unwrap_or(0) {
            return Err(format!("a histogram has more than {BUCKETS_MAX} buckets"));
        }
        let offset = i32::try_from(first).map_err(|_| "a histogram's offset is too large".to_owned())?;
        let counts = (first..end).map(|index| self.count(index) + factor * other.count(index)).collect();
        Ok(Self { offset, counts })
    }

    /// Whether a bucket holds less than it did in `before`.
    fn fell_since(&self, before: &Self) -> bool {
        let (first, end) = before.bounds();
        (first..end).any(|index| self.count(index) < before.count(index))
    }
}

impl Histogram {
    /// Reads what stands between `{{` and `}}`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut histogram = Self::default();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (key, after) = rest.split_once(':').ok_or_else(|| format!("{rest:?}: name:value is expected"))?;
            let after = after.trim_start();
            let (value, next) = match after.strip_prefix('[') {
                Some(list) => list.split_once(']').ok_or_else(|| format!("the list of {key:?} does not close"))?,
                None => after.split_at(after.find(char::is_whitespace).unwrap_or(after.len())),
            };
            histogram.set(key.trim(), value).map_err(|error| format!("{key}: {error}"))?;
            rest = next.trim_start();
        }
        Ok(histogram)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let whole = || value.parse::<i32>().map_err(|_| format!("{value:?} is no whole number"));
        match key {
            "schema" => self.schema = whole()?,
            "count" => self.count = super::number(value)?,
            "sum" => self.sum = super::number(value)?,
            "z_bucket" => self.zero_count = super::number(value)?,
            "z_bucket_w" => self.zero_threshold = super::number(value)?,
            "offset" => self.positive.offset = whole()?,
            "buckets" => self.positive.counts = list(value)?,
            "n_offset" => self.negative.offset = whole()?,
            "n_buckets" => self.negative.counts = list(value)?,
            "custom_values" => self.custom_values = list(value)?,
            "counter_reset_hint" => {
                self.hint = match value {
                    "unknown" => ResetHint::Unknown,
                    "reset" => ResetHint::Reset,
                    "not_reset" => ResetHint::NotReset,
                    "gauge" => ResetHint::Gauge,
                    _ => return Err(format!("{value:?} is none of unknown, reset, not_reset and gauge")),
                };
            }
            _ => return Err("a histogram has no such field".into()),
        }
        Ok(())
    }

    /// This one and `factor` times another, whose resolution may be higher.
    ///
    /// # Errors
    /// Where their buckets do not lie alike: a lower resolution, other custom bounds, another bucket around zero.
    #[expect(clippy::float_cmp, reason = "bounds are the same or they are not")]
    pub fn plus(&self, other: &Self, factor: f64) -> Result<Self, String> {
        let is_empty = other.count == 0.0 && other.positive.counts.is_empty() && other.negative.counts.is_empty();
        let finer = match other.schema.checked_sub(self.schema).map(u32::try_from) {
            Some(Ok(0)) => Some(0),
            // Of listed bounds there is no resolution.
            Some(Ok(levels)) if levels < 16 && self.schema >= -4 => Some(levels),
            _ => None,
        };
        let alike = finer.is_some()
            && self.custom_values == other.custom_values
            && (self.zero_threshold == other.zero_threshold || other.zero_count == 0.0);
        if !alike && !is_empty {
            return Err("histograms whose buckets do not lie alike cannot be added up here".into());
        }
        Ok(Self {
            schema: self.schema,
            count: self.count + factor * other.count,
            sum: self.sum + factor * other.sum,
            zero_count: self.zero_count + factor * other.zero_count,
            zero_threshold: self.zero_threshold,
            positive: self.positive.plus(&other.positive.coarser(finer.unwrap_or(0)), factor)?,
            negative: self.negative.plus(&other.negative.coarser(finer.unwrap_or(0)), factor)?,
            custom_values: self.custom_values.clone(),
            hint: self.hint,
        })
    }

    /// The hint that a database gives this sample, behind `before`: it looks at the counts, and only a gauge and a reset
    /// that was written are taken as they are.
    #[must_use]
    #[expect(clippy::float_cmp, reason = "bounds are the same or they are not")]
    pub fn hint_after(&self, before: Option<&Self>) -> ResetHint {
        if matches!(self.hint, ResetHint::Gauge | ResetHint::Reset) {
            return self.hint;
        }
        let Some(before) = before.filter(|before| before.hint != ResetHint::Gauge) else { return ResetHint::Unknown };
        let fell = self.count < before.count
            || self.zero_count < before.zero_count
            || self.zero_threshold != before.zero_threshold
            || self.schema != before.schema
            || self.custom_values != before.custom_values
            || self.positive.fell_since(&before.positive)
            || self.negative.fell_since(&before.negative);
        if fell { ResetHint::Reset } else { ResetHint::NotReset }
    }

    /// Whether both say the same: empty buckets at the ends count for nothing.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

fn list(text: &str) -> Result<Vec<f64>, String> {
    let words = text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
    let values: Vec<f64> = words.take(BUCKETS_MAX + 1).map(super::number).collect::<Result<_, _>>()?;
    if values.len() > BUCKETS_MAX { Err(format!("more than {BUCKETS_MAX} values")) } else { Ok(values) }
}

impl fmt::Display for Histogram {
    /// The notation, in one way only: trimmed, fields that say nothing left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words: Vec<String> = Vec::new();
        let mut number = |key: &str, value: f64| {
            if value != 0.0 {
                words.push(format!("{key}:{}", number_text(value)));
            }
        };
        number("schema", f64::from(self.schema));
        number("count", self.count);
        number("sum", self.sum);
        number("z_bucket", self.zero_count);
        number("z_bucket_w", self.zero_threshold);
        match self.hint {
            ResetHint::Unknown => {}
            ResetHint::Reset => words.push("counter_reset_hint:reset".into()),
            ResetHint::NotReset => words.push("counter_reset_hint:not_reset".into()),
            ResetHint::Gauge => words.push("counter_reset_hint:gauge".into()),
        }
        if !self.custom_values.is_empty() {
            words.push(format!("custom_values:{}", listed(&self.custom_values)));
        }
        for (prefix, buckets) in [("", self.positive.trimmed()), ("n_", self.negative.trimmed())] {
            if buckets.offset != 0 {
                words.push(format!("{prefix}offset:{}", buckets.offset));
            }
            if !buckets.counts.is_empty() {
                words.push(format!("{prefix}buckets:{}", listed(&buckets.counts)));
            }
        }
        write!(f, "{{{{{}}}}}", words.join(" "))
    }
}

fn listed(values: &[f64]) -> String {
    let mut out = String::from("[");
    for (at, value) in values.iter().enumerate() {
        let gap = if at == 0 { "" } else { " " };
        let _ = write!(out, "{gap}{}", number_text(*value));
    }
    out + "]"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Histogram {
        Histogram::parse(text).unwrap()
    }

    #[test]
    fn notation_goes_both_ways() {
        for (text, written) in [
            ("", "{{}}"),
            ("sum:3 count:2 buckets:[2]", "{{count:2 sum:3 buckets:[2]}}"),
            ("buckets:[0 0 1 0] offset:-1 n_buckets:[0] n_offset:4", "{{offset:1 buckets:[1]}}"),
            (
                "schema:-53 custom_values:[1 2.5] counter_reset_hint:gauge",
                "{{schema:-53 counter_reset_hint:gauge custom_values:[1 2.5]}}",
            ),
            ("sum:NaN n_buckets:[4.1 5] n_offset:-5", "{{sum:NaN n_offset:-5 n_buckets:[4.1 5]}}"),
        ] {
            assert_eq!(read(text).to_string(), written, "{text}");
        }
        for text in ["count", "count:", "count:x", "what:1", "buckets:[1", "schema:1.5", "counter_reset_hint:maybe"] {
            assert!(Histogram::parse(text).is_err(), "{text}");
        }
        assert!(Histogram::parse(&format!("buckets:[{}]", "1 ".repeat(BUCKETS_MAX + 1))).is_err());
    }

    #[test]
    fn histograms_add_up_where_their_buckets_lie_alike() {
        let sum = |a: &str, b: &str, factor| read(a).plus(&read(b), factor).map(|sum| sum.to_string());
        let (a, b) = ("count:3 sum:4 buckets:[1 2]", "count:1 sum:0.5 buckets:[1] offset:2");
        assert_eq!(sum(a, b, 1.0).unwrap(), "{{count:4 sum:4.5 buckets:[1 2 1]}}");
        assert_eq!(sum(a, a, -1.0).unwrap(), "{{}}");
        assert_eq!(sum(a, "", 1.0).unwrap(), "{{count:3 sum:4 buckets:[1 2]}}");
        assert!(sum(a, "schema:-1 count:1 buckets:[1]", 1.0).is_err());
        assert!(sum("schema:-53 custom_values:[1]", "schema:0 count:1", 1.0).is_err());
        let (low, high) =
            ("schema:-1 sum:4 count:1 buckets:[1] offset:1", "schema:0 sum:4 count:4 buckets:[2 2] offset:1");
        assert_eq!(sum(low, high, 1.0).unwrap(), "{{schema:-1 count:5 sum:8 offset:1 buckets:[5]}}");
        assert!(sum("buckets:[1] offset:-2000000000", "count:1 buckets:[1] offset:2000000000", 1.0).is_err());
    }

    #[test]
    fn hints_follow_the_counts() {
        let hint = |before: Option<&str>, text: &str| read(text).hint_after(before.map(read).as_ref());
        assert_eq!(hint(None, "count:1"), ResetHint::Unknown);
        assert_eq!(hint(Some("count:1"), "count:1"), ResetHint::NotReset);
        assert_eq!(hint(Some("count:2"), "count:1"), ResetHint::Reset);
        assert_eq!(hint(Some("count:2 buckets:[1 1]"), "count:2 buckets:[2]"), ResetHint::Reset);
        assert_eq!(hint(Some("count:2 n_buckets:[1 1]"), "count:3 n_buckets:[1 2]"), ResetHint::NotReset);
        assert_eq!(hint(Some("count:1"), "count:2 counter_reset_hint:gauge"), ResetHint::Gauge);
        assert_eq!(hint(Some("counter_reset_hint:gauge"), "count:2"), ResetHint::Unknown);
        assert_eq!(hint(Some("count:1"), "count:2 counter_reset_hint:reset"), ResetHint::Reset);
    }
}
