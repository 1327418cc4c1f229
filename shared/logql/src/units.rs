//! Durations and sizes as people write them: in queries, and in the fields of log lines.

/// Nanoseconds of a duration as Go writes it (`1h30m`, `1.5s`, `-3ms`), and with days, weeks and years as Prometheus does;
/// `None` where it is none.
pub(crate) fn duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let (number, behind) = rest.split_at(digits);
        let letters = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(letters);
        total += number.parse::<f64>().ok()? * nanos_of(unit)?;
        rest = behind;
    }
    #[expect(clippy::cast_possible_truncation, reason = "bounded")]
    (total < 9.2e18).then_some((sign * total).round() as i64)
}

fn nanos_of(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1.0,
        "us" | "µs" | "μs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3_600e9,
        "d" => 86_400e9,
        "w" => 7.0 * 86_400e9,
        "y" => 365.0 * 86_400e9,
        _ => return None,
    })
}

/// Bytes of a size (`20KB`, `1.5 MiB`, `512`), in any case; `None` where it is none.
pub(crate) fn bytes(text: &str) -> Option<f64> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | ','))).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.replace(',', "").parse().ok()?;
    let unit = unit.trim().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let (letter, base) = match unit.strip_suffix('i') {
        Some(letter) => (letter, 1024f64),
        None => (unit, 1000f64),
    };
    let power = match letter {
        "" if base < 1024.0 => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        "e" => 6,
        _ => return None,
    };
    Some((number * base.powi(power)).trunc())
}

/// A number as Go reads it; `None` where it is none.
pub(crate) fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, nanos) in [
            ("1h30m", 5_400_000_000_000),
            ("1.5s", 1_500_000_000),
            ("-3ms", -3_000_000),
            ("5µs", 5_000),
            ("1d", 86_400_000_000_000),
            ("0", 0),
            ("1s1s", 2_000_000_000),
        ] {
            assert_eq!(duration(text), Some(nanos), "{text}");
        }
        for bad in ["", "5", "s", "1x", "1h x", "-", "1..2s", "99999999999y"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("20KB", 20e3),
            ("1.5 MiB", 1_572_864.0),
            ("512", 512.0),
            ("1b", 1.0),
            ("1,000k", 1e6),
            ("2gib", 2_147_483_648.0),
        ] {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        for bad in ["", "KB", "1x", "1i", "1ib", "1kk", "-1"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
