//! Takes lines apart into fields: plain functions that call back with names and values, shared by the stages and by
//! LogQL's parsers.
//!
//! Names and what becomes of them follow Loki's parsers: nested names are joined with `_`, characters that no label may
//! have become `_`, arrays are left out. Each occurrence of a name is told, in the line's order; Loki keeps the first.
//!
//! Invariants:
//! - Nothing here panics on any byte, or takes more than linear time: names are bounded, nesting is.
//! - A value is decoded only when it is asked for; a field that nobody wants costs no allocation.
//! - What stands before a fault has been told when the fault is returned.
//!
//! Bytes that are no UTF-8 arrive as U+FFFD; Loki puts a space there.

mod access;
mod container;
mod csv;
mod json;
mod jsonpath;
mod logfmt;
mod name;
mod pattern;
mod regexp;
mod syslog;

pub use access::access;
pub use container::{cri, docker};
pub use csv::{COLUMNS_MAX, csv};
pub use json::{Packed, json, json_strict, unpack};
pub use jsonpath::{JsonPath, json_at};
pub use logfmt::{Logfmt, logfmt};
pub use name::field_name;
pub use pattern::Pattern;
pub use regexp::{EXPRESSION_BYTES_MAX, Regexp, compile};
pub use syslog::{Severity, syslog};

use std::borrow::Cow;
use zeroize::Zeroize;

/// Longest name that is told, nested names joined.
pub const NAME_BYTES_MAX: usize = 512;
/// Deepest nesting that is read.
pub const DEPTH_MAX: usize = 64;

/// Takes a name and its value.
pub type Emit<'a> = &'a mut dyn FnMut(&str, Value<'_>);

/// Why a line could not be read, or not to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Byte `at` is not what the format has there.
    #[error("not {expected} at byte {at}")]
    Unexpected {
        /// Offset in bytes.
        at: usize,
        /// What is expected there.
        expected: &'static str,
    },
    /// Objects stand in objects, deeper than [`DEPTH_MAX`].
    #[error("nested deeper than {DEPTH_MAX}")]
    TooDeep,
    /// A name is longer than [`NAME_BYTES_MAX`].
    #[error("a name is longer than {NAME_BYTES_MAX} bytes")]
    NameTooLong,
    /// The line does not match the expression.
    #[error("the line does not match")]
    NoMatch,
}

/// A value as it stands in the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    raw: &'a str,
    coding: Coding,
}

/// How a value is written in its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Plain,
    /// As it stands, without quotes: a number or boolean of JSON.
    Bare,
    /// With escapes as in JSON strings.
    Escaped,
    /// With quotes doubled, as in CSV.
    Doubled,
}

impl<'a> Value<'a> {
    /// A value that stands as it is.
    #[must_use]
    pub const fn plain(raw: &'a str) -> Self {
        Self { raw, coding: Coding::Plain }
    }

    const fn coded(raw: &'a str, coding: Coding) -> Self {
        Self { raw, coding }
    }

    /// Whether it is a number or boolean of JSON, and no text.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.coding == Coding::Bare
    }

    /// The value. Allocates only where escapes are taken out.
    #[must_use]
    pub fn text(&self) -> Cow<'a, str> {
        if matches!(self.coding, Coding::Plain | Coding::Bare) {
            return Cow::Borrowed(self.raw);
        }
        let mut out = String::with_capacity(self.raw.len());
        self.append_to(&mut out);
        Cow::Owned(out)
    }

    /// Most bytes that the value has.
    #[must_use]
    pub const fn text_len_max(&self) -> usize {
        self.raw.len()
    }

    /// Appends the value, which is never longer than it is in the line.
    pub fn append_to(&self, out: &mut String) {
        match self.coding {
            Coding::Plain | Coding::Bare => out.push_str(self.raw),
            Coding::Escaped => unescape(self.raw, out),
            Coding::Doubled => {
                let mut rest = self.raw;
                while let Some(at) = rest.find("\"\"") {
                    out.push_str(&rest[..=at]);
                    rest = &rest[at + 2..];
                }
                out.push_str(rest);
            }
        }
    }
}

/// A line as text. What was copied is overwritten when it is no longer needed, since it may hold secrets that a later stage
/// takes out of the line.
#[derive(Debug, Default)]
pub(crate) struct Text<'a>(Cow<'a, str>);

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl std::ops::Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Drop for Text<'_> {
    fn drop(&mut self) {
        if let Cow::Owned(text) = &mut self.0 {
            text.zeroize();
        }
    }
}

/// A line as text; copied only where it is no UTF-8, with U+FFFD for each wrong stretch.
pub(crate) fn as_text(line: &[u8]) -> Text<'_> {
    if let Ok(text) = std::str::from_utf8(line) {
        return Text(Cow::Borrowed(text));
    }
    let parts = || line.utf8_chunks().map(|part| (part.valid(), !part.invalid().is_empty()));
    let mut text = String::with_capacity(parts().map(|(valid, wrong)| valid.len() + if wrong { 3 } else { 0 }).sum());
    for (valid, wrong) in parts() {
        text.push_str(valid);
        if wrong {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    Text(Cow::Owned(text))
}

/// Takes the escapes of JSON, and of the other formats here, out. What is no escape stays as it is; half a surrogate pair becomes U+FFFD.
fn unescape(mut rest: &str, out: &mut String) {
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let Some(code) = rest.as_bytes().get(at + 1) else {
            out.push('\\');
            return;
        };
        let plain = match code {
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'"' | b'\\' | b'/' | b'\'' | b']' => char::from(*code),
            b'u' => {
                let (c, read) = unicode(&rest[at + 2..]);
                match c {
                    Some(c) => out.push(c),
                    None => out.push_str("\\u"),
                }
                rest = &rest[at + 2 + read..];
                continue;
            }
            _ => {
                out.push('\\');
                rest = &rest[at + 1..];
                continue;
            }
        };
        out.push(plain);
        rest = &rest[at + 2..];
    }
    out.push_str(rest);
}

/// The character behind `\u`, with the second half of a surrogate pair, and how many bytes it took. `None`: no digits.
fn unicode(text: &str) -> (Option<char>, usize) {
    let hex = |text: &[u8]| {
        let four = text.get(..4)?;
        four.iter().try_fold(0u32, |sum, b| char::from(*b).to_digit(16).map(|digit| sum * 16 + digit))
    };
    let bytes = text.as_bytes();
    let Some(first) = hex(bytes) else { return (None, 0) };
    if (0xd800..0xdc00).contains(&first)
        && let Some(second) = bytes[4..].strip_prefix(b"\\u").and_then(hex)
        && (0xdc00..0xe000).contains(&second)
    {
        let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (Some(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)), 10);
    }
    (Some(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER)), 4)
}

#[cfg(test)]
mod tests;
