//! Functions of one number: mathematics, the calendar, and how numbers are written.

use std::f64::consts::PI;

/// A function of one value without further arguments, by its PromQL name.
pub(super) fn function(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => f64::exp,
        "sqrt" => f64::sqrt,
        "ln" => f64::ln,
        "log2" => f64::log2,
        "log10" => f64::log10,
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "asin" => f64::asin,
        "acos" => f64::acos,
        "atan" => f64::atan,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        "asinh" => f64::asinh,
        "acosh" => f64::acosh,
        "atanh" => f64::atanh,
        "deg" => |value| value * 180.0 / PI,
        "rad" => |value| value * PI / 180.0,
        "sgn" => sign,
        "minute" => |value| date(value, |at| f64::from(at.minute())),
        "hour" => |value| date(value, |at| f64::from(at.hour())),
        "day_of_week" => |value| date(value, |at| f64::from(at.weekday().to_sunday_zero_offset())),
        "day_of_month" => |value| date(value, |at| f64::from(at.day())),
        "day_of_year" => |value| date(value, |at| f64::from(at.day_of_year())),
        "days_in_month" => |value| date(value, |at| f64::from(at.days_in_month())),
        "month" => |value| date(value, |at| f64::from(at.month())),
        "year" => |value| date(value, |at| f64::from(at.year())),
        _ => return None,
    })
}

/// Whether a function without arguments means the time of the step.
pub(super) fn is_of_date(name: &str) -> bool {
    matches!(
        name,
        "minute" | "hour" | "day_of_week" | "day_of_month" | "day_of_year" | "days_in_month" | "month" | "year"
    )
}

fn sign(value: f64) -> f64 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        value
    }
}

/// Part of the UTC date that a number of seconds stands for.
fn date(seconds: f64, part: impl Fn(jiff::civil::DateTime) -> f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, reason = "out of range is NaN")]
    let at = jiff::Timestamp::from_second(seconds as i64);
    match at {
        Ok(at) if !seconds.is_nan() => part(jiff::tz::TimeZone::UTC.to_datetime(at)),
        _ => f64::NAN,
    }
}

/// To the nearest multiple of `nearest`, halves up.
pub(super) fn round(value: f64, nearest: f64) -> f64 {
    // Prometheus divides by the inverse, which is exact for tenths.
    let inverse = 1.0 / nearest;
    (value * inverse + 0.5).floor() / inverse
}

/// The quantile of values, which are sorted: between the two nearest, in proportion. NaN counts as the least.
pub(super) fn quantile(phi: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || phi.is_nan() {
        return f64::NAN;
    }
    if phi < 0.0 {
        return f64::NEG_INFINITY;
    }
    if phi > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|a, b| match (a.is_nan(), b.is_nan()) {
        (false, false) => a.total_cmp(b),
        (a, b) => b.cmp(&a),
    });
    #[expect(clippy::cast_precision_loss, reason = "a count of values")]
    let rank = phi * (values.len() - 1) as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the last place")]
    let low = (rank.floor() as usize).min(values.len() - 1);
    let high = (low + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[low] * (1.0 - weight) + values[high] * weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_their_neighbours() {
        assert!((quantile(0.75, &mut [4.0, 0.0, 1.0]) - 2.5).abs() < 1e-12);
        assert!((quantile(0.8, &mut [0.0, f64::NAN, 1.0]) - 0.6).abs() < 1e-12);
        assert!(quantile(0.5, &mut []).is_nan());
    }

    #[test]
    fn dates_are_utc() {
        let of = |name: &str| function(name).map(|f| f(1_136_239_445.0));
        assert_eq!(of("year"), Some(2006.0));
        assert_eq!(of("day_of_week"), Some(1.0));
        assert_eq!(of("minute"), Some(4.0));
        assert!(function("year").is_some_and(|f| f(f64::NAN).is_nan() && f(1e300).is_nan()));
    }
}
