//! Quantities as Kubernetes writes them: `500m`, `1Gi`, `1.5`, `12e6`.

use std::fmt;
use std::str::FromStr;

/// A quantity in thousandths of its unit: cores, bytes, requests. What is finer is rounded up, what is larger than an `i64`
/// holds is cut to it, as Kubernetes does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quantity {
    /// Thousandths.
    pub milli: i64,
}

/// Why a text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no quantity: a number with one of n, u, m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei, or an exponent, is expected, such as 500m or 1.5Gi"
)]
pub struct InvalidQuantity(pub String);

const SUFFIXES: [(&str, i128, i128); 16] = [
    ("n", 1, 1_000_000_000),
    ("u", 1, 1_000_000),
    ("m", 1, 1_000),
    ("", 1, 1),
    ("k", 1_000, 1),
    ("M", 1_000_000, 1),
    ("G", 1_000_000_000, 1),
    ("T", 1_000_000_000_000, 1),
    ("P", 1_000_000_000_000_000, 1),
    ("E", 1_000_000_000_000_000_000, 1),
    ("Ki", 1 << 10, 1),
    ("Mi", 1 << 20, 1),
    ("Gi", 1 << 30, 1),
    ("Ti", 1 << 40, 1),
    ("Pi", 1 << 50, 1),
    ("Ei", 1 << 60, 1),
];

/// Longest text that is read.
const TEXT_BYTES_MAX: usize = 32;

impl Quantity {
    /// So many thousandths.
    #[must_use]
    pub const fn milli(milli: i64) -> Self {
        Self { milli }
    }

    /// In whole units, rounded up.
    #[must_use]
    pub const fn units(self) -> i64 {
        self.milli.div_euclid(1000) + (self.milli.rem_euclid(1000) > 0) as i64
    }
}

impl FromStr for Quantity {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read(text).map(Self::milli).ok_or_else(|| InvalidQuantity(text.chars().take(TEXT_BYTES_MAX).collect()))
    }
}

fn read(text: &str) -> Option<i64> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let (is_negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = unsigned.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let places = 10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let (factor, divisor) = match SUFFIXES.iter().find(|(name, ..)| *name == suffix) {
        Some((_, factor, divisor)) => (*factor, *divisor),
        None => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10i128.checked_pow(exponent.unsigned_abs())?;
            if exponent < 0 { (1, power) } else { (power, 1) }
        }
    };
    let over = digits.saturating_mul(factor).saturating_mul(1000);
    let under = places.checked_mul(divisor)?;
    let milli = over / under + i128::from(over % under > 0);
    i64::try_from(if is_negative { -milli } else { milli }).ok().or(Some(if is_negative { i64::MIN } else { i64::MAX }))
}

/// As thousandths with `m`, or as a whole number.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.milli % 1000 == 0 { write!(f, "{}", self.milli / 1000) } else { write!(f, "{}m", self.milli) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read() {
        for (text, milli) in [
            ("1", 1000),
            ("500m", 500),
            ("0.5", 500),
            (".5", 500),
            ("1.5Gi", 1_610_612_736_000),
            ("100n", 1),
            ("1k", 1_000_000),
            ("12e6", 12_000_000_000),
            ("12E-3", 12),
            ("-3", -3000),
            ("+2M", 2_000_000_000),
            ("1E", i64::MAX),
            ("5.", 5000),
        ] {
            assert_eq!(text.parse(), Ok(Quantity::milli(milli)), "{text}");
        }
        for text in ["", "m", "1KB", "1 ", "1..2", "1.2.3", "--1", "0x1", "1e", "1e99", "1mi", "١"] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }

    #[test]
    fn units_are_rounded_up() {
        for (milli, units) in [(0, 0), (1, 1), (1000, 1), (1001, 2), (-1, 0), (-1000, -1)] {
            assert_eq!(Quantity::milli(milli).units(), units, "{milli}");
        }
    }

    #[test]
    fn they_are_written() {
        assert_eq!(Quantity::milli(1500).to_string(), "1500m");
        assert_eq!(Quantity::milli(-2000).to_string(), "-2");
    }
}
