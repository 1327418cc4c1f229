//! What a range comes to: the `_over_time` functions and their like.

use super::aggregate::extreme;
use super::seconds;
use super::select::Window;
use super::simple::quantile;
use crate::kahan::{Mean, Sum};

/// A function of a window without further arguments, by its PromQL name; `None` from it where it has no value.
pub(super) fn function(name: &str) -> Option<fn(&Window<'_>) -> Option<f64>> {
    Some(match name {
        "avg_over_time" => |window| {
            let mut mean = Mean::default();
            window.values.iter().for_each(|value| mean.add(*value));
            some(window, mean.value())
        },
        "sum_over_time" => |window| {
            let mut sum = Sum::default();
            window.values.iter().for_each(|value| sum.add(*value));
            some(window, sum.value())
        },
        #[expect(clippy::cast_precision_loss, reason = "a count of samples")]
        "count_over_time" => |window| some(window, window.values.len() as f64),
        "min_over_time" => |window| some(window, extreme(window.values, |value, held| value < held)),
        "max_over_time" => |window| some(window, extreme(window.values, |value, held| value > held)),
        "last_over_time" => |window| window.values.last().copied(),
        "first_over_time" => |window| window.values.first().copied(),
        "present_over_time" => |window| some(window, 1.0),
        "stddev_over_time" => |window| some(window, variance(window.values).sqrt()),
        "stdvar_over_time" => |window| some(window, variance(window.values)),
        "mad_over_time" => |window| {
            let median = quantile(0.5, &mut window.values.to_vec());
            let mut distances: Vec<f64> = window.values.iter().map(|value| (value - median).abs()).collect();
            let has_nan = window.values.iter().any(|value| value.is_nan());
            some(window, if has_nan { f64::NAN } else { quantile(0.5, &mut distances) })
        },
        "changes" => |window| {
            let differs =
                |pair: &&[f64]| pair[0].to_bits() != pair[1].to_bits() && !(pair[0].is_nan() && pair[1].is_nan());
            some(window, count(window.values.windows(2).filter(differs).filter(|pair| !is_zero_pair(pair))))
        },
        "resets" => |window| some(window, count(window.values.windows(2).filter(|pair| pair[1] < pair[0]))),
        "ts_of_first_over_time" => |window| window.times.first().map(|at| seconds(*at)),
        "ts_of_last_over_time" => |window| window.times.last().map(|at| seconds(*at)),
        "ts_of_min_over_time" => |window| time_of(window, |value, held| value <= held),
        "ts_of_max_over_time" => |window| time_of(window, |value, held| value >= held),
        _ => return None,
    })
}

/// Whether a function of a range leaves the name: what it gives is a sample of the series itself.
pub(super) fn keeps_name(name: &str) -> bool {
    matches!(name, "last_over_time" | "first_over_time")
}

fn some(window: &Window<'_>, value: f64) -> Option<f64> {
    (!window.values.is_empty()).then_some(value)
}

#[expect(clippy::cast_precision_loss, reason = "a count of samples")]
fn count<T>(items: impl Iterator<Item = T>) -> f64 {
    items.count() as f64
}

/// Zero and negative zero are no change.
fn is_zero_pair(pair: &[f64]) -> bool {
    pair[0] == 0.0 && pair[1] == 0.0
}

/// When the window's last extreme value was.
fn time_of(window: &Window<'_>, is_better: impl Fn(f64, f64) -> bool) -> Option<f64> {
    let mut held = (f64::NAN, *window.times.first()?);
    for (at, value) in window.times.iter().zip(window.values) {
        if is_better(*value, held.0) || held.0.is_nan() {
            held = (*value, *at);
        }
    }
    Some(seconds(held.1))
}

/// Variance of a population, by Welford's algorithm with compensated sums.
fn variance(values: &[f64]) -> f64 {
    let mut count = 0.0;
    let (mut mean, mut sum) = (Sum::default(), Sum::default());
    for value in values {
        count += 1.0;
        let delta = value - mean.value();
        mean.add(delta / count);
        sum.add(delta * (value - mean.value()));
    }
    sum.value() / count
}
