//! What changes over a range: rates, differences, trends.

use super::seconds;
use super::select::Window;

/// What is asked of the difference between a window's ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Per second, of a counter.
    Rate,
    /// In all, of a counter.
    Increase,
    /// In all, of a gauge.
    Delta,
}

/// The change over the whole window: that between its first and last sample, drawn out to the window's ends, but by no
/// more than about half the distance of samples where they end early, and never below zero for a counter.
pub(super) fn change(window: &Window<'_>, kind: Change) -> Option<f64> {
    let (times, values) = (window.times, window.values);
    let (first, last) = (*values.first()?, *values.last()?);
    if values.len() < 2 {
        return None;
    }
    let is_counter = kind != Change::Delta;
    let mut result = last - first;
    if is_counter {
        result += values.windows(2).filter(|pair| pair[1] < pair[0]).map(|pair| pair[0]).sum::<f64>();
    }
    let (begun, ended) = (times[0], times[times.len() - 1]);
    let mut to_start = seconds(begun - window.start);
    let mut to_end = seconds(window.end - ended);
    let sampled = seconds(ended - begun);
    #[expect(clippy::cast_precision_loss, reason = "a count of samples")]
    let average = sampled / (values.len() - 1) as f64;
    let threshold = average * 1.1;
    if to_start >= threshold {
        to_start = average / 2.0;
    }
    if is_counter && result > 0.0 && first >= 0.0 {
        to_start = to_start.min(sampled * (first / result));
    }
    if to_end >= threshold {
        to_end = average / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if kind == Change::Rate {
        factor /= seconds(window.end - window.start);
    }
    Some(result * factor)
}

/// The change between the last two samples; per second for a counter.
pub(super) fn instant_change(window: &Window<'_>, is_rate: bool) -> Option<f64> {
    let [.., before, last] = window.values else { return None };
    let [.., earlier, at] = window.times else { return None };
    // A counter that fell began anew from zero.
    let change = if is_rate && last < before { *last } else { last - before };
    let took = seconds(at - earlier);
    if took <= 0.0 {
        return None;
    }
    Some(if is_rate { change / took } else { change })
}

/// Slope and intercept of the line of least squares, with time counted from `origin`.
pub(super) fn regression(window: &Window<'_>, origin: i64) -> Option<(f64, f64)> {
    use crate::kahan::Sum;
    let first = *window.values.first()?;
    if window.values.len() < 2 {
        return None;
    }
    let (mut x, mut y, mut xy, mut xx) = (Sum::default(), Sum::default(), Sum::default(), Sum::default());
    let mut count = 0.0;
    let mut is_level = true;
    for (at, value) in window.times.iter().zip(window.values) {
        #[expect(clippy::float_cmp, reason = "a line that is exactly level")]
        {
            is_level &= *value == first;
        }
        count += 1.0;
        let moment = seconds(at - origin);
        x.add(moment);
        y.add(*value);
        xy.add(moment * value);
        xx.add(moment * moment);
    }
    if is_level {
        return Some(if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) });
    }
    let covariance = xy.value() - x.value() * y.value() / count;
    let spread = xx.value() - x.value() * x.value() / count;
    let slope = covariance / spread;
    Some((slope, y.value() / count - slope * x.value() / count))
}

/// Holt's linear smoothing: level with factor `smoothing`, trend with factor `trend`.
pub(super) fn smoothed(window: &Window<'_>, smoothing: f64, trend: f64) -> Option<f64> {
    let values = window.values;
    if values.len() < 2 {
        return None;
    }
    let (mut before, mut level, mut slope) = (0.0, values[0], values[1] - values[0]);
    for (place, value) in values.iter().enumerate().skip(1) {
        let scaled = smoothing * value;
        if place > 1 {
            slope = trend * (level - before) + (1.0 - trend) * slope;
        }
        let next = scaled + (1.0 - smoothing) * (level + slope);
        before = level;
        level = next;
    }
    Some(level)
}
