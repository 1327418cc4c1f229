//! Numbers for people: prefixes, durations, percentages, times; as Prometheus rounds and words them.

use skerry_template::{Time, Value, float_general, parsed_float};

/// Above one, by thousands.
const LARGE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
/// Above one, by 1024.
const BINARY: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
/// Below one, by thousands.
const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

/// A value as a number: numbers are, texts are read, durations are seconds.
///
/// # Errors
/// Go's words for a text that is no number, and for values of other types.
pub(crate) fn number(value: &Value) -> Result<f64, String> {
    #[expect(clippy::cast_precision_loss, reason = "as Go converts")]
    match value {
        Value::Float(number) => Ok(*number),
        Value::Int(whole) => Ok(*whole as f64),
        Value::Text(text) => parsed_float(text),
        Value::Duration(nanos) => Ok((nanos / 1_000_000_000) as f64 + (nanos % 1_000_000_000) as f64 / 1e9),
        other => Err(format!("can't convert {} to float", other.type_name())),
    }
}

/// Four significant digits.
pub(crate) fn four(number: f64) -> String {
    float_general(number, Some(4))
}

/// Divides by `step` as long as there are that many and a prefix is left.
fn divided(mut number: f64, step: f64, prefixes: [&'static str; 8]) -> String {
    let mut shown = "";
    for prefix in prefixes {
        if number.abs() < step {
            break;
        }
        (shown, number) = (prefix, number / step);
    }
    four(number) + shown
}

/// Multiplies by a thousand until there is one.
fn multiplied(mut number: f64) -> String {
    let mut shown = "";
    for prefix in SMALL {
        if number.abs() >= 1.0 {
            break;
        }
        (shown, number) = (prefix, number * 1000.0);
    }
    four(number) + shown
}

/// `humanize`: 1.235M, 120m.
pub(crate) fn metric(number: f64) -> String {
    match number {
        n if n == 0.0 || !n.is_finite() => four(n),
        n if n.abs() >= 1.0 => divided(n, 1000.0, LARGE),
        n => multiplied(n),
    }
}

/// `humanize1024`: 1.177Mi.
pub(crate) fn binary(number: f64) -> String {
    if number.abs() <= 1.0 || !number.is_finite() { four(number) } else { divided(number, 1024.0, BINARY) }
}

/// `humanizeDuration` of seconds: `1d 1h 0m 0s`, `1.234s`, `100us`.
pub(crate) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return four(seconds);
    }
    if seconds == 0.0 {
        return four(seconds) + "s";
    }
    if seconds.abs() < 1.0 {
        return multiplied(seconds) + "s";
    }
    let (sign, size) = if seconds < 0.0 { ("-", -seconds) } else { ("", seconds) };
    let whole = truncated(size);
    let (days, hours, minutes) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60);
    let rest = whole % 60;
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", four(size)),
        (0, 0, minutes) => format!("{sign}{minutes}m {rest}s"),
        (0, hours, minutes) => format!("{sign}{hours}h {minutes}m {rest}s"),
        (days, hours, minutes) => format!("{sign}{days}d {hours}h {minutes}m {rest}s"),
    }
}

/// `humanizePercentage`: 12.35%.
pub(crate) fn percentage(ratio: f64) -> String {
    four(ratio * 100.0) + "%"
}

/// A time of seconds since 1970, cut to milliseconds; `None` for what is no number.
///
/// # Errors
/// If nanoseconds of it do not fit in 64 bits.
pub(crate) fn time(seconds: f64) -> Result<Option<Time>, String> {
    if !seconds.is_finite() {
        return Ok(None);
    }
    let nanos = seconds * 1e9;
    #[expect(clippy::cast_precision_loss, reason = "the bounds as Go compares them")]
    if nanos > i64::MAX as f64 || nanos < i64::MIN as f64 {
        let shown = skerry_template::float_text(seconds);
        return Err(format!("{shown} cannot be represented as a nanoseconds timestamp since it overflows int64"));
    }
    Ok(Time::of_millis(truncated(nanos) / 1_000_000))
}

/// As Go converts on the processors that Prometheus runs on: what does not fit becomes the least number.
pub(crate) fn truncated(number: f64) -> i64 {
    // 2^63 is exact in a float.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    #[expect(clippy::cast_possible_truncation, reason = "within the bounds")]
    if (-LIMIT..LIMIT).contains(&number) { number as i64 } else { i64::MIN }
}
