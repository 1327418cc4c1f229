//! Reads lines of the CRI log format, which containerd, CRI-O and Podman's k8s-file driver write:
//! `2026-11-20T22:18:00.123456789+00:00 stdout F text`.
//!
//! Podman calls that driver json-file where it speaks Docker's API (seen with 4.3.1), so only the lines tell. A line
//! tagged `P` is continued by the next one of the same output.

use super::dockerjson::{Entry, parse_time};
use skerry_model::OutputStream;

/// Whether a line begins as an entry does. Cheap for lines of other kinds.
pub(super) fn is_entry(line: &[u8]) -> bool {
    /// RFC 3339 with nanoseconds and an offset.
    const TIME_BYTES_MAX: usize = 35;
    let head = &line[..line.len().min(TIME_BYTES_MAX + 1)];
    let Some(end) = line.first().filter(|b| b.is_ascii_digit()).and_then(|_| memchr::memchr(b' ', head)) else {
        return false;
    };
    let rest = &line[end + 1..];
    let tag = rest.strip_prefix(b"stdout ").or_else(|| rest.strip_prefix(b"stderr "));
    tag.is_some_and(|tag| matches!(tag.first(), Some(b'F' | b'P')) && matches!(tag.get(1), None | Some(b' ' | b':')))
        && parse_time(&line[..end]).is_some()
}

/// Appends the text of a line to `text`, with a newline where it is whole, as entries of Docker have it. `None` and
/// `text` as it was, if the line has another form.
pub(super) fn decode(line: &[u8], text: &mut Vec<u8>) -> Option<Entry> {
    let mut parts = line.splitn(4, |b| *b == b' ');
    let (time, output, tags) = (parts.next()?, parts.next()?, parts.next()?);
    let output = match output {
        b"stdout" => OutputStream::Stdout,
        b"stderr" => OutputStream::Stderr,
        _ => return None,
    };
    // Further tags may follow behind colons; none is in use.
    let whole = match tags.split(|b| *b == b':').next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    let at = parse_time(time)?;
    text.extend_from_slice(parts.next().unwrap_or_default());
    if whole {
        text.push(b'\n');
    }
    Some(Entry { output, at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use skerry_model::UnixMillis;

    #[test]
    fn reads_whole_lines_and_pieces() {
        let at = UnixMillis(1_795_213_080_123);
        for (line, text, output) in [
            ("2026-11-20T22:18:00.123456789+00:00 stdout F a b  c ", "a b  c \n", OutputStream::Stdout),
            ("2026-11-20T22:18:00.123Z stderr P piece", "piece", OutputStream::Stderr),
            ("2026-11-20T23:18:00.123+01:00 stdout F ", "\n", OutputStream::Stdout),
            ("2026-11-20T22:18:00.123Z stdout F:x", "\n", OutputStream::Stdout),
        ] {
            let mut read = Vec::new();
            assert_eq!(decode(line.as_bytes(), &mut read), Some(Entry { output, at }), "{line}");
            assert_eq!(read, text.as_bytes());
            assert!(is_entry(line.as_bytes()));
        }
    }

    #[test]
    fn lines_that_only_look_alike_are_none() {
        for line in [
            "",
            "2026-11-20T22:18:00Z",
            "2026-11-20T22:18:00Z stdout",
            "2026-11-20T22:18:00Z stdout Fine",
            "2026-11-20T22:18:00Z stdin F x",
            "2026-11-20 22:18:00 stdout F x",
            "10 stdout F x",
        ] {
            assert!(!is_entry(line.as_bytes()), "{line}");
        }
    }

    proptest! {
        #[test]
        fn refuses_the_rest_and_leaves_no_text(line in "[0-9TZFP: .stdoue]{0,60}", cut in 0usize..40) {
            let good = b"2026-11-20T22:18:00.123456789Z stdout ";
            for line in [line.as_bytes(), &good[..cut.min(good.len())]] {
                let mut text = Vec::new();
                prop_assert!(decode(line, &mut text).is_some() || text.is_empty());
            }
        }
    }
}
