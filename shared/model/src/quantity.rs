//! Sizes and time spans as people write them in config files.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Why a text is no size or time span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuantity {
    /// Not a size.
    #[error("{0:?} is not a size: a whole number with B, KiB, MiB, GiB, kB, MB or GB is expected, such as 20MiB")]
    Size(String),
    /// Not a time span.
    #[error("{0:?} is not a time span: whole numbers with ms, s, m, h, d or w are expected, such as 15s or 1h30m")]
    Span(String),
}

/// A size in bytes. Text form: `20MiB`, `500kB`, `4096B`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(pub u64);

const SIZE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl Bytes {
    /// `n` times 2^20 bytes.
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }
    /// `n` times 2^10 bytes.
    #[must_use]
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }
}

impl FromStr for Bytes {
    type Err = InvalidQuantity;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || InvalidQuantity::Size(text.chars().take(40).collect());
        let trimmed = text.trim();
        let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = trimmed.split_at(digits);
        let factor = SIZE_UNITS.iter().find(|(name, _)| *name == unit.trim_start()).ok_or_else(fail)?.1;
        number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).map(Self).ok_or_else(fail)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = SIZE_UNITS
            .iter()
            .filter(|(name, _)| name.ends_with("iB"))
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor))
            .unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl TryFrom<String> for Bytes {
    type Error = InvalidQuantity;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        bytes.to_string()
    }
}

/// A span of time in whole milliseconds. Text form as in Prometheus: `15s`, `1h30m`, `250ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

const SPAN_UNITS: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Span {
    /// `n` seconds.
    #[must_use]
    pub const fn secs(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }
    /// `n` milliseconds.
    #[must_use]
    pub const fn millis(n: u64) -> Self {
        Self(Duration::from_millis(n))
    }
}

impl FromStr for Span {
    type Err = InvalidQuantity;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || InvalidQuantity::Span(text.chars().take(40).collect());
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(fail());
        }
        let (mut total_ms, mut last_factor) = (0u64, u64::MAX);
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at(digits);
            let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (unit, tail) = tail.split_at(letters);
            let factor = SPAN_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(fail)?.1;
            let number: u64 = number.parse().map_err(|_| fail())?;
            if factor >= last_factor {
                return Err(fail());
            }
            last_factor = factor;
            total_ms = number.checked_mul(factor).and_then(|ms| total_ms.checked_add(ms)).ok_or_else(fail)?;
            rest = tail;
        }
        Ok(Self(Duration::from_millis(total_ms)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, factor) in SPAN_UNITS {
            if left >= factor {
                write!(f, "{}{unit}", left / factor)?;
                left %= factor;
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Span {
    type Error = InvalidQuantity;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_name_their_units() {
        assert_eq!("20MiB".parse(), Ok(Bytes::mib(20)));
        assert_eq!("500 kB".parse(), Ok(Bytes(500_000)));
        for bad in ["", "20", "MiB", "20mb", "-1B", "1.5MiB", "99999999999GiB"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn spans_go_from_large_to_small() {
        assert_eq!("1h30m".parse(), Ok(Span::secs(5400)));
        assert_eq!("250ms".parse(), Ok(Span::millis(250)));
        for bad in ["", "15", "s", "30m1h", "1s1s", "15 s", "1.5s", "99999999999999w"] {
            assert!(bad.parse::<Span>().is_err(), "{bad:?} was taken");
        }
    }

    proptest! {
        #[test]
        fn text_forms_read_back(bytes in 0u64..1 << 50, ms in 0u64..1 << 40) {
            prop_assert_eq!(Bytes(bytes).to_string().parse(), Ok(Bytes(bytes)));
            prop_assert_eq!(Span::millis(ms).to_string().parse(), Ok(Span::millis(ms)));
        }
    }
}
