//! Lines of values with separators between them, as RFC 4180 has them.

use super::{Coding, Emit, ParseError, Value, as_text};

/// Most columns.
pub const COLUMNS_MAX: usize = 256;

/// Tells each column by its name; a name that is empty is left out. A value in quotes may hold separators and, doubled, quotes.
///
/// # Errors
/// [`ParseError`] if the line has not as many values as there are columns, or a quote without an end.
pub fn csv(line: &[u8], separator: u8, columns: &[String], emit: Emit<'_>) -> Result<(), ParseError> {
    let text = as_text(line);
    let (text, bytes) = (&*text, text.as_bytes());
    let mut at = 0;
    for (index, column) in columns.iter().enumerate() {
        let value = if bytes.get(at) == Some(&b'"') { quoted(text, &mut at)? } else { bare(text, &mut at, separator) };
        if !column.is_empty() {
            emit(column, value);
        }
        let last = index + 1 == columns.len();
        match bytes.get(at) {
            Some(b) if *b == separator && !last => at += 1,
            None if last => return Ok(()),
            _ if last => return Err(ParseError::Unexpected { at, expected: "the end behind the last column" }),
            _ => return Err(ParseError::Unexpected { at, expected: "a separator" }),
        }
    }
    Err(ParseError::NoMatch)
}

fn bare<'a>(text: &'a str, at: &mut usize, separator: u8) -> Value<'a> {
    let rest = &text[*at..];
    let len = memchr::memchr(separator, rest.as_bytes()).unwrap_or(rest.len());
    *at += len;
    Value::plain(&rest[..len])
}

fn quoted<'a>(text: &'a str, at: &mut usize) -> Result<Value<'a>, ParseError> {
    let (bytes, start, mut coding) = (text.as_bytes(), *at + 1, Coding::Plain);
    let mut end = start;
    loop {
        let Some(found) = memchr::memchr(b'"', bytes.get(end..).unwrap_or_default()) else {
            return Err(ParseError::Unexpected { at: *at, expected: "a text with an end" });
        };
        end += found;
        if bytes.get(end + 1) != Some(&b'"') {
            *at = end + 1;
            return Ok(Value::coded(&text[start..end], coding));
        }
        coding = Coding::Doubled;
        end += 2;
    }
}
