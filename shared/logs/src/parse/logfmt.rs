//! logfmt: `level=info msg="a text" took=3ms`.

use super::{Coding, Emit, ParseError, Value, as_text, field_name};
use memchr::memchr2;

/// What came of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Logfmt {
    /// How many names with `=` behind them it has.
    pub pairs: usize,
    /// The first thing in it that is no logfmt; reading went on behind it. Loki's `--strict` stops there.
    pub fault: Option<ParseError>,
}

/// Tells every name and value; a name alone has an empty value, as Loki's `--keep-empty` shows it.
///
/// A value without quotes may have `=` and `"` in it, as many programs write URLs; Loki leaves such pairs out. They are told
/// here and noted as the fault.
pub fn logfmt(line: &[u8], emit: Emit<'_>) -> Logfmt {
    let text = as_text(line);
    let (text, bytes) = (&*text, text.as_bytes());
    let (mut at, mut found) = (0, Logfmt::default());
    while at < bytes.len() {
        if bytes[at] <= b' ' {
            at += 1;
            continue;
        }
        let start = at;
        while at < bytes.len() && bytes[at] > b' ' && bytes[at] != b'=' && bytes[at] != b'"' {
            at += 1;
        }
        let name = &text[start..at];
        if name.is_empty() || bytes.get(at) == Some(&b'"') {
            found.fault.get_or_insert(ParseError::Unexpected { at, expected: "a name" });
            at = if bytes[at] == b'"' { closing(bytes, at).map_or(bytes.len(), |end| end + 1) } else { at + 1 };
            continue;
        }
        let mut value = Value::plain("");
        if bytes.get(at) == Some(&b'=') {
            found.pairs += 1;
            at += 1;
            let from = at;
            if bytes.get(at) == Some(&b'"') {
                let Some(end) = closing(bytes, at) else {
                    found.fault.get_or_insert(ParseError::Unexpected { at, expected: "a text with an end" });
                    return found;
                };
                let inner = &text[from + 1..end];
                value = if inner.contains('\\') { Value::coded(inner, Coding::Escaped) } else { Value::plain(inner) };
                at = end + 1;
            } else {
                while at < bytes.len() && bytes[at] > b' ' {
                    if matches!(bytes[at], b'=' | b'"') {
                        found
                            .fault
                            .get_or_insert(ParseError::Unexpected { at, expected: "a value without '=' and '\"'" });
                    }
                    at += 1;
                }
                value = Value::plain(&text[from..at]);
            }
        }
        if name.len() <= super::NAME_BYTES_MAX {
            emit(&field_name(name), value);
        } else {
            found.fault.get_or_insert(ParseError::NameTooLong);
        }
    }
    found
}

/// The quote that closes the one at `at`.
fn closing(bytes: &[u8], mut at: usize) -> Option<usize> {
    at += 1;
    loop {
        at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}
