//! Access logs in the combined and common formats of nginx and Apache.

use super::{Coding, Emit, ParseError, Value, as_text};

/// Tells `remote_addr`, `ident`, `remote_user`, `time`, `request`, `method`, `path`, `protocol`, `status`, `body_bytes_sent`
/// and, where they stand, `http_referer` and `http_user_agent`. A `-` is no value and left out, and so are parts of a request that is none.
///
/// Names are nginx's. Texts in quotes keep nginx's `\x22` as it is; Apache's `\"` is taken out.
///
/// # Errors
/// [`ParseError`] if the line has another form.
pub fn access(line: &[u8], emit: Emit<'_>) -> Result<(), ParseError> {
    let text = as_text(line);
    let text = &*text;
    let mut at = 0;
    let mut word = || -> Result<&str, ParseError> {
        let rest = &text[at..];
        let len = rest.find(' ').unwrap_or(rest.len());
        if len == 0 {
            return Err(ParseError::Unexpected { at, expected: "a word" });
        }
        at = (at + len + 1).min(text.len());
        Ok(&rest[..len])
    };
    let (addr, ident, user) = (word()?, word()?, word()?);
    let rest = &text[at..];
    let end = rest.find(']').filter(|_| rest.starts_with('[')).filter(|end| *end <= 40);
    let Some(end) = end else { return Err(ParseError::Unexpected { at, expected: "a time in brackets" }) };
    let time = &rest[1..end];
    at += end + 1;
    let request = quoted(text, &mut at)?;
    let mut number = |or_dash: bool| -> Result<&str, ParseError> {
        let rest = &text[at..];
        let digits = rest.strip_prefix(' ').unwrap_or("");
        let len = digits.find(' ').unwrap_or(digits.len());
        let found = &digits[..len];
        if found.is_empty() || !(found.bytes().all(|b| b.is_ascii_digit()) || or_dash && found == "-") {
            return Err(ParseError::Unexpected { at, expected: "a number" });
        }
        at += len + 1;
        Ok(found)
    };
    let (status, bytes) = (number(false)?, number(true)?);
    let (referer, agent) = if at < text.len() {
        let referer = quoted(text, &mut at)?;
        (Some(referer), Some(quoted(text, &mut at)?))
    } else {
        (None, None)
    };
    let mut tell = |name: &str, value: Value<'_>| {
        if value.raw != "-" && !value.raw.is_empty() {
            emit(name, value);
        }
    };
    for (name, value) in [("remote_addr", addr), ("ident", ident), ("remote_user", user), ("time", time)] {
        tell(name, Value::plain(value));
    }
    tell("request", request);
    let mut parts = request.raw.splitn(3, ' ');
    if let (Some(method), Some(path), Some(protocol)) = (parts.next(), parts.next(), parts.next())
        && protocol.starts_with("HTTP/")
    {
        tell("method", Value::plain(method));
        tell("path", Value::coded(path, request.coding));
        tell("protocol", Value::plain(protocol));
    }
    tell("status", Value::plain(status));
    tell("body_bytes_sent", Value::plain(bytes));
    for (name, value) in [("http_referer", referer), ("http_user_agent", agent)] {
        if let Some(value) = value {
            tell(name, value);
        }
    }
    Ok(())
}

/// The text in quotes behind one blank.
fn quoted<'a>(text: &'a str, at: &mut usize) -> Result<Value<'a>, ParseError> {
    let rest = &text[*at..];
    let Some(inner) = rest.strip_prefix(" \"") else {
        return Err(ParseError::Unexpected { at: *at, expected: "a text in quotes" });
    };
    let (mut end, bytes, mut coding) = (0, inner.as_bytes(), Coding::Plain);
    loop {
        match memchr::memchr2(b'"', b'\\', bytes.get(end..).unwrap_or_default()) {
            Some(found) if bytes[end + found] == b'"' => {
                end += found;
                break;
            }
            Some(found) => {
                coding = Coding::Escaped;
                end += found + 2;
            }
            None => return Err(ParseError::Unexpected { at: *at, expected: "a text with an end" }),
        }
    }
    *at += end + 3;
    Ok(Value::coded(&inner[..end], coding))
}
