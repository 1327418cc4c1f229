//! Reads entries of Docker's json-file driver: `{"log":"text\n","stream":"stdout","time":"2026-11-20T…Z"}`.
//!
//! The shape is fixed, so a focused reader decodes the text in one pass straight into the record; whatever differs
//! from the shape goes to serde_json. An entry whose text does not end in a newline is continued by the next entry
//! of the same output: the driver cuts at 16 KiB.

use super::cri;
use serde::Deserialize;
use skerry_model::{OutputStream, UnixMillis};

/// What an entry says besides its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) output: OutputStream,
    pub(super) at: UnixMillis,
}

#[derive(Deserialize)]
struct General {
    #[serde(default)]
    log: String,
    stream: Option<String>,
    time: String,
}

/// Appends the text of an entry to `text`; also of one in the CRI format ([`cri`]). `None` and `text` as it was, if the
/// line is no entry.
pub(super) fn decode(line: &[u8], text: &mut Vec<u8>) -> Option<Entry> {
    if line.first().is_some_and(u8::is_ascii_digit) {
        return cri::decode(line, text);
    }
    let before = text.len();
    if let Some(entry) = decode_fixed(line, text) {
        return Some(entry);
    }
    text.truncate(before);
    let general: General = serde_json::from_slice(line).ok()?;
    let at = parse_time(general.time.as_bytes())?;
    text.extend_from_slice(general.log.as_bytes());
    Some(Entry { output: output(general.stream.unwrap_or_default().as_bytes()), at })
}

fn output(name: &[u8]) -> OutputStream {
    match name {
        b"stdout" => OutputStream::Stdout,
        b"stderr" => OutputStream::Stderr,
        _ => OutputStream::None,
    }
}

fn decode_fixed(line: &[u8], text: &mut Vec<u8>) -> Option<Entry> {
    let rest = line.strip_prefix(br#"{"log":""#)?;
    let rest = unescape(rest, text)?.strip_prefix(br#","stream":""#)?;
    let end = memchr::memchr(b'"', rest)?;
    let output = output(&rest[..end]);
    let rest = rest[end..].strip_prefix(br#"","time":""#)?;
    let time = rest.strip_suffix(br#""}"#)?;
    Some(Entry { output, at: parse_time(time)? })
}

/// Decodes a JSON string up to its closing quote; the rest behind the quote.
fn unescape<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let at = memchr::memchr2(b'"', b'\\', rest)?;
        text.extend_from_slice(&rest[..at]);
        if rest[at] == b'"' {
            return Some(&rest[at + 1..]);
        }
        let escape = *rest.get(at + 1)?;
        rest = &rest[at + 2..];
        match escape {
            b'n' => text.push(b'\n'),
            b't' => text.push(b'\t'),
            b'r' => text.push(b'\r'),
            b'b' => text.push(8),
            b'f' => text.push(12),
            b'"' | b'\\' | b'/' => text.push(escape),
            b'u' => rest = unicode(rest, text)?,
            _ => return None,
        }
    }
}

/// Decodes the digits behind `\u`, with the second half of a surrogate pair. A half alone becomes U+FFFD.
fn unicode<'a>(digits: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    let hex = |digits: &[u8]| {
        let four = digits.get(..4)?;
        four.iter().try_fold(0u32, |sum, b| char::from(*b).to_digit(16).map(|digit| sum * 16 + digit))
    };
    let first = hex(digits)?;
    let mut rest = &digits[4..];
    let mut code = first;
    if (0xd800..0xdc00).contains(&first)
        && let Some(second) = rest.strip_prefix(br"\u").and_then(hex)
        && (0xdc00..0xe000).contains(&second)
    {
        code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        rest = &rest[6..];
    }
    let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    Some(rest)
}

/// Reads RFC 3339 time, `2026-11-20T22:18:00.123456789Z` or with an offset; cut to milliseconds.
pub(super) fn parse_time(text: &[u8]) -> Option<UnixMillis> {
    let digits = |range: std::ops::Range<usize>| {
        text.get(range)?.iter().try_fold(0i64, |sum, b| b.is_ascii_digit().then(|| sum * 10 + i64::from(b - b'0')))
    };
    let sign = |at: usize, allowed: &[u8]| text.get(at).filter(|b| allowed.contains(b)).map(|_| ());
    let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
    let (hour, minute, second) = (digits(11..13)?, digits(14..16)?, digits(17..19)?);
    sign(4, b"-")?;
    sign(7, b"-")?;
    sign(10, b"Tt ")?;
    sign(13, b":")?;
    sign(16, b":")?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut at = 19;
    let mut millis = 0;
    if text.get(at) == Some(&b'.') {
        let len = text[at + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
        if len == 0 {
            return None;
        }
        for place in 0..3 {
            millis = millis * 10 + if place < len { i64::from(text[at + 1 + place] - b'0') } else { 0 };
        }
        at += 1 + len;
    }
    let offset_minutes = match (*text.get(at)?, text.len() - at) {
        (b'Z' | b'z', 1) => 0,
        (b'+' | b'-', 6) => {
            sign(at + 3, b":")?;
            let minutes = digits(at + 1..at + 3)? * 60 + digits(at + 4..at + 6)?;
            if text[at] == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + (minute - offset_minutes) * 60 + second;
    Some(UnixMillis(seconds * 1000 + millis))
}

/// Days since 1970-01-01 in the Gregorian calendar, counted in years that begin on 1 March so that the leap day
/// is a year's last; 146,097 days make 400 years.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(line: &[u8]) -> Option<(Vec<u8>, Entry)> {
        let mut text = b"kept".to_vec();
        let entry = decode(line, &mut text);
        assert!(text.starts_with(b"kept"));
        match entry {
            Some(entry) => Some((text.split_off(4), entry)),
            None => {
                assert_eq!(text, b"kept", "a refused line must leave no text");
                None
            }
        }
    }

    #[test]
    fn reads_the_fixed_shape_and_its_variants() {
        let at = UnixMillis(1_795_213_080_123);
        for (line, text, output) in [
            (
                r#"{"log":"a\tb \u003c\"q\"\\ \u00e9\ud83d\ude00\n","stream":"stdout","time":"2026-11-20T22:18:00.123456789Z"}"#,
                "a\tb <\"q\"\\ é😀\n",
                OutputStream::Stdout,
            ),
            (r#"{"log":"x","stream":"stderr","time":"2026-11-20T23:18:00.1239+01:00"}"#, "x", OutputStream::Stderr),
            (
                r#"{"log":"x\n","stream":"stderr","attrs":{"a":"b"},"time":"2026-11-20T22:18:00.123Z"}"#,
                "x\n",
                OutputStream::Stderr,
            ),
            (r#" {"time":"2026-11-20T22:18:00.123Z", "stream":"stdout", "log":"x\n"}"#, "x\n", OutputStream::Stdout),
        ] {
            assert_eq!(read(line.as_bytes()), Some((text.as_bytes().to_vec(), Entry { output, at })), "{line}");
        }
    }

    #[test]
    fn half_a_surrogate_pair_becomes_the_replacement_character() {
        let line = br#"{"log":"\ud83d\n","stream":"stdout","time":"2026-11-20T22:18:00Z"}"#;
        assert_eq!(read(line).unwrap().0, "\u{fffd}\n".as_bytes());
    }

    #[test]
    fn refuses_what_is_no_entry() {
        for line in [
            "",
            "plain text",
            "{}",
            r#"{"log":"x"#,
            r#"{"log":"x\q","stream":"stdout","time":"2026-11-20T22:18:00Z"}"#,
            r#"{"log":"x\u12","stream":"stdout","time":"2026-11-20T22:18:00Z"}"#,
            r#"{"log":"x","stream":"stdout","time":"yesterday"}"#,
            r#"{"log":"x","stream":"stdout","time":"2026-13-20T22:18:00Z"}"#,
            r#"{"log":"x","stream":"stdout","time":"2026-11-20T22:18:00"}"#,
        ] {
            assert_eq!(read(line.as_bytes()), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_any_text(log in any::<String>()) {
            let quoted = serde_json::to_string(&log).unwrap();
            let line = format!(r#"{{"log":{quoted},"stream":"stdout","time":"2026-11-20T22:18:00Z"}}"#);
            let mut text = Vec::new();
            prop_assert!(decode_fixed(line.as_bytes(), &mut text).is_some());
            prop_assert_eq!(text, log.into_bytes());
        }

        #[test]
        fn never_panics(line in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..90) {
            read(&line);
            let good = br#"{"log":"a\u00e9\n","stream":"stdout","time":"2026-11-20T22:18:00.123456789+01:00"}"#;
            read(&good[..cut.min(good.len())]);
        }

        #[test]
        fn times_agree_with_jiff(seconds in -62_000_000_000i64..250_000_000_000, millis in 0i64..1000) {
            let stamp = jiff::Timestamp::from_millisecond(seconds * 1000 + millis).unwrap();
            prop_assert_eq!(parse_time(format!("{stamp:.3}").as_bytes()), Some(UnixMillis(seconds * 1000 + millis)));
        }
    }
}
