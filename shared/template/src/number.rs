//! Numbers as Go writes and reads them.

/// `%v` of a float: the shortest digits that read back, with an exponent below 1e-4 and from 1e6 on.
#[must_use]
pub fn float_text(number: f64) -> String {
    // Rust's shortest digits are Go's; only exponents are written differently.
    if number.abs() >= 1e-4 && number.abs() < 1e6 { number.to_string() } else { float_general(number, None) }
}

/// `%g`, or `%.4g` with a precision: significant digits without trailing zeros.
#[must_use]
pub fn float_general(number: f64, precision: Option<usize>) -> String {
    if let Some(text) = special(number) {
        return text.into();
    }
    if number == 0.0 {
        return if number.is_sign_negative() { "-0" } else { "0" }.into();
    }
    let text = match precision {
        None => format!("{number:e}"),
        Some(digits) => format!("{number:.*e}", digits.max(1) - 1),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |mantissa| ("-", mantissa));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_end_matches('0');
    let digits = if digits.is_empty() { "0" } else { digits };
    let held = i64::try_from(digits.len()).unwrap_or(i64::MAX);
    // From which exponent on it is written as one.
    let from = match precision.map(|digits| i64::try_from(digits.max(1)).unwrap_or(i64::MAX)) {
        None => 6,
        Some(wanted) if wanted > held && held > exponent => held,
        Some(wanted) => wanted,
    };
    let mut out = String::from(sign);
    if exponent < -4 || exponent >= from {
        out.push_str(&digits[..1]);
        if digits.len() > 1 {
            out.push('.');
            out.push_str(&digits[1..]);
        }
        out.push_str(&exponent_text(exponent));
    } else if exponent < 0 {
        out.push_str("0.");
        (1..-exponent).for_each(|_| out.push('0'));
        out.push_str(digits);
    } else {
        // Between 0 and 20 or the precision, which printf bounds.
        let whole = usize::try_from(exponent + 1).unwrap_or(1);
        if digits.len() <= whole {
            out.push_str(digits);
            (digits.len()..whole).for_each(|_| out.push('0'));
        } else {
            out.extend([&digits[..whole], ".", &digits[whole..]]);
        }
    }
    out
}

/// `%e`, with that many digits behind the point.
pub(crate) fn float_exponent(number: f64, precision: usize) -> String {
    if let Some(text) = special(number) {
        return text.into();
    }
    let text = format!("{number:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{mantissa}{}", exponent_text(exponent.parse().unwrap_or(0)))
}

/// `%f`, with that many digits behind the point.
pub(crate) fn float_fixed(number: f64, precision: usize) -> String {
    special(number).map_or_else(|| format!("{number:.precision$}"), str::to_owned)
}

fn exponent_text(exponent: i64) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("e{sign}{:02}", exponent.unsigned_abs())
}

/// What is no number, and infinity.
fn special(number: f64) -> Option<&'static str> {
    match number {
        n if n.is_nan() => Some("NaN"),
        f64::INFINITY => Some("+Inf"),
        f64::NEG_INFINITY => Some("-Inf"),
        _ => None,
    }
}

/// A number that a text spells, as Go's `strconv.ParseFloat` reads it.
///
/// # Errors
/// Go's words for a text that is none, or too large.
pub fn parsed_float(text: &str) -> Result<f64, String> {
    let fault = |what: &str| format!("strconv.ParseFloat: parsing {}: {what}", crate::print::quoted(text));
    let number = literal(text).ok_or_else(|| fault("invalid syntax"))?;
    let is_spelt = text.trim_start_matches(['+', '-']).starts_with(['i', 'I']);
    if number.is_infinite() && !is_spelt { Err(fault("value out of range")) } else { Ok(number) }
}

/// A float as Go spells it: decimal, hexadecimal with a power of two, infinity or nan; `_` may part digits.
pub(crate) fn literal(text: &str) -> Option<f64> {
    let plain = without_bars(text)?;
    let (is_negative, digits) = match plain.strip_prefix(['-', '+']) {
        Some(digits) => (plain.starts_with('-'), digits),
        None => (false, &*plain),
    };
    let size = match digits.get(..2) {
        Some("0x" | "0X") => hexadecimal(&digits[2..])?,
        // Rust reads a second sign here, and a sign before nan; Go reads neither.
        _ if digits.starts_with(['-', '+']) => return None,
        _ if digits.len() != plain.len() && digits.starts_with(['n', 'N']) => return None,
        _ => digits.parse().ok()?,
    };
    Some(if is_negative { -size } else { size })
}

/// Digits without the bars that part them; `None` where a bar parts none.
pub(crate) fn without_bars(text: &str) -> Option<std::borrow::Cow<'_, str>> {
    if !text.contains('_') {
        return Some(text.into());
    }
    let bytes = text.as_bytes();
    // A prefix counts as a digit: 0x_1.
    let parts = |at: usize| {
        let before = at.checked_sub(1).map_or(0, |at| bytes[at]);
        let behind = bytes.get(at + 1).copied().unwrap_or(0);
        (before.is_ascii_hexdigit() || matches!(before, b'x' | b'X' | b'o' | b'O')) && behind.is_ascii_hexdigit()
    };
    let all = bytes.iter().enumerate().all(|(at, byte)| *byte != b'_' || parts(at));
    all.then(|| text.replace('_', "").into())
}

/// `1.8p-3` behind `0x`.
fn hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, power) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut size = 0.0;
    for digit in whole.chars().chain(fraction.chars()) {
        size = size * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let places = i32::try_from(fraction.len()).ok()?.checked_mul(4)?;
    let power = power.parse::<i32>().ok()?.checked_sub(places)?;
    let has_digits = !(whole.is_empty() && fraction.is_empty());
    // In two steps: the power alone may be below the least float where the whole is not.
    has_digits.then(|| size * 2f64.powi(power / 2) * 2f64.powi(power - power / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_go_writes_them() {
        for (number, shortest, four) in [
            (0.0, "0", "0"),
            (-0.0, "-0", "-0"),
            (1.0, "1", "1"),
            (100_000.0, "100000", "1e+05"),
            (123_456.0, "123456", "1.235e+05"),
            (1_000_000.0, "1e+06", "1e+06"),
            (1_234_567.0, "1.234567e+06", "1.235e+06"),
            (1e20, "1e+20", "1e+20"),
            (1e100, "1e+100", "1e+100"),
            (0.0001, "0.0001", "0.0001"),
            (0.000_012_3, "1.23e-05", "1.23e-05"),
            (-12.345, "-12.345", "-12.35"),
            (1000.0, "1000", "1000"),
            (9999.9, "9999.9", "1e+04"),
            (0.1 + 0.2, "0.30000000000000004", "0.3"),
            (f64::NAN, "NaN", "NaN"),
            (f64::INFINITY, "+Inf", "+Inf"),
            (f64::NEG_INFINITY, "-Inf", "-Inf"),
        ] {
            assert_eq!((float_text(number), float_general(number, Some(4))), (shortest.into(), four.into()));
        }
        assert_eq!(float_general(1_234_567.0, Some(20)), "1234567");
        assert_eq!((float_exponent(12.5, 2), float_fixed(-0.125, 1)), ("1.25e+01".into(), "-0.1".into()));
    }

    #[test]
    fn floats_are_read_as_go_reads_them() {
        for (text, number) in [
            ("1", 1.0),
            ("0x1p-2", 0.25),
            ("-0x1.8p1", -3.0),
            ("1_000", 1000.0),
            (".5", 0.5),
            ("1.", 1.0),
            ("-1e3", -1000.0),
            ("+Inf", f64::INFINITY),
        ] {
            assert_eq!(parsed_float(text), Ok(number));
        }
        assert!(parsed_float("NaN").is_ok_and(f64::is_nan));
        for (text, told) in [
            ("one", "strconv.ParseFloat: parsing \"one\": invalid syntax"),
            ("", "strconv.ParseFloat: parsing \"\": invalid syntax"),
            (" 1", "strconv.ParseFloat: parsing \" 1\": invalid syntax"),
            ("+nan", "strconv.ParseFloat: parsing \"+nan\": invalid syntax"),
            ("--1", "strconv.ParseFloat: parsing \"--1\": invalid syntax"),
            ("0x10", "strconv.ParseFloat: parsing \"0x10\": invalid syntax"),
            ("1__0", "strconv.ParseFloat: parsing \"1__0\": invalid syntax"),
            ("1e999", "strconv.ParseFloat: parsing \"1e999\": value out of range"),
        ] {
            assert_eq!(parsed_float(text), Err(told.into()));
        }
    }
}
