//! Classic histograms: series with a label `le` for the upper border of each bucket.

use super::column::{Column, absent, is_absent, without};
use super::{Evaluator, Steps};
use crate::error::QueryError;
use crate::parse::ast::Expr;
use skerry_model::Labels;
use std::collections::HashMap;

/// Differences of neighbouring buckets below this share are noise of floating point.
const TOLERANCE: f64 = 1e-12;

/// A bucket at one step: how many observations were at most `upper`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    pub(super) upper: f64,
    pub(super) count: f64,
}

/// The buckets of one histogram, by their places among the columns.
struct Histogram {
    labels: Labels,
    buckets: Vec<(f64, usize)>,
}

impl Evaluator<'_> {
    /// One value per histogram and step.
    pub(super) fn per_histogram(
        &mut self,
        arg: &Expr,
        steps: &Steps,
        mut value: impl FnMut(&mut Self, usize, Vec<Bucket>) -> Result<f64, QueryError>,
    ) -> Result<Vec<Column>, QueryError> {
        let columns = self.vector(arg, steps)?;
        let histograms = self.histograms(&columns, arg);
        self.charge(histograms.len().saturating_mul(steps.count))?;
        let mut output = Vec::with_capacity(histograms.len());
        for histogram in histograms {
            let mut result = Column { drop_name: true, ..Column::new(histogram.labels, steps.count) };
            for step in 0..steps.count {
                let present = histogram.buckets.iter().filter(|(_, place)| !is_absent(columns[*place].values[step]));
                let buckets: Vec<Bucket> = present
                    .map(|(upper, place)| Bucket { upper: *upper, count: columns[*place].values[step] })
                    .collect();
                result.values[step] = if buckets.is_empty() { absent() } else { value(self, step, buckets)? };
            }
            output.push(result);
        }
        Ok(output)
    }

    fn histograms(&mut self, columns: &[Column], arg: &Expr) -> Vec<Histogram> {
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut histograms: Vec<Histogram> = Vec::new();
        for (place, column) in columns.iter().enumerate() {
            let border = column.labels.value("le");
            let Some(upper) = border_of(border) else {
                let metric = column.labels.metric();
                let text = "bucket label \"le\" is missing or has a malformed value";
                self.warn(&format!("{text} of {border:?} for metric name {metric:?}"), arg);
                continue;
            };
            // The name goes at the end only, so that histograms of different names are never thrown together.
            let labels = without(&column.labels, &["le"]);
            let next = histograms.len();
            let at = *places.entry(labels.clone()).or_insert(next);
            if at == next {
                histograms.push(Histogram { labels, buckets: Vec::new() });
            }
            histograms[at].buckets.push((upper, place));
        }
        histograms
    }

    /// The quantile `phi` of buckets, with linear interpolation inside a bucket.
    pub(super) fn bucket_quantile(&mut self, phi: f64, buckets: Vec<Bucket>, arg: &Expr) -> f64 {
        if phi.is_nan() {
            return f64::NAN;
        }
        if phi < 0.0 {
            return f64::NEG_INFINITY;
        }
        if phi > 1.0 {
            return f64::INFINITY;
        }
        let Some(mut buckets) = ordered(buckets) else { return f64::NAN };
        if mend(&mut buckets) {
            self.remark(
                "input to histogram_quantile needed to be fixed for monotonicity (see \
                 https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)",
                arg,
            );
        }
        let last = buckets.len() - 1;
        let observations = buckets[last].count;
        if buckets.len() < 2 || observations == 0.0 {
            return f64::NAN;
        }
        let mut rank = phi * observations;
        let at = buckets[..last].iter().position(|bucket| bucket.count >= rank).unwrap_or(last);
        if at == last {
            return buckets[last - 1].upper;
        }
        if at == 0 && buckets[0].upper <= 0.0 {
            return buckets[0].upper;
        }
        let (mut start, mut count) = (0.0, buckets[at].count);
        if at > 0 {
            start = buckets[at - 1].upper;
            count -= buckets[at - 1].count;
            rank -= buckets[at - 1].count;
        }
        start + (buckets[at].upper - start) * (rank / count)
    }
}

/// The share of observations between two borders.
pub(super) fn fraction(lower: f64, upper: f64, buckets: Vec<Bucket>) -> f64 {
    let Some(buckets) = ordered(buckets) else { return f64::NAN };
    let count = buckets[buckets.len() - 1].count;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let rank_of = |border: f64| {
        let mut rank = 0.0;
        // Where all borders are above zero, observations are taken to be so too.
        let mut below = if buckets[0].upper > 0.0 { 0.0 } else { f64::NEG_INFINITY };
        for bucket in &buckets {
            if below >= border {
                return rank;
            }
            if bucket.upper > border {
                return if below.is_infinite() {
                    // Nothing can be said within a bucket that has no lower border.
                    if border.is_infinite() { rank } else { bucket.count }
                } else if bucket.upper.is_infinite() {
                    rank
                } else {
                    rank + (bucket.count - rank) * (border - below) / (bucket.upper - below)
                };
            }
            (rank, below) = (bucket.count, bucket.upper);
        }
        count
    };
    (rank_of(upper).min(count) - rank_of(lower).min(count)) / count
}

/// Buckets by rising border, one for each; `None` without a last one that takes everything.
fn ordered(mut buckets: Vec<Bucket>) -> Option<Vec<Bucket>> {
    buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
    if buckets.last()?.upper != f64::INFINITY {
        return None;
    }
    let mut joined: Vec<Bucket> = Vec::with_capacity(buckets.len());
    for bucket in buckets {
        match joined.last_mut() {
            #[expect(clippy::float_cmp, reason = "the same border written in two ways")]
            Some(last) if last.upper == bucket.upper => last.count += bucket.count,
            _ => joined.push(bucket),
        }
    }
    Some(joined)
}

/// Makes counts rise, which they must; whether any fell by more than noise.
fn mend(buckets: &mut [Bucket]) -> bool {
    let mut is_mended = false;
    let mut before = buckets[0].count;
    for bucket in buckets.iter_mut().skip(1) {
        let larger = bucket.count.abs().max(before.abs());
        #[expect(clippy::float_cmp, reason = "exactly equal needs nothing")]
        if bucket.count == before {
            continue;
        }
        if (bucket.count - before).abs() <= TOLERANCE * larger {
            bucket.count = before;
        } else if bucket.count < before {
            bucket.count = before;
            is_mended = true;
        } else {
            before = bucket.count;
        }
    }
    is_mended
}

fn border_of(text: &str) -> Option<f64> {
    let plain = text.trim_start_matches(['+', '-']);
    // Rust reads a few more words as numbers than Go does.
    let is_plain = plain.eq_ignore_ascii_case("inf") || plain.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if is_plain { text.parse().ok() } else { None }
}
