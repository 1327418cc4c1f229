//! What container runtimes write around a line.

use super::{Emit, ParseError, Value, as_text, json_strict};

/// Docker's json-file entry: tells `log` without its line end, `stream`, `time` and attributes.
///
/// # Errors
/// [`ParseError`] if the line is no such entry.
pub fn docker(line: &[u8], emit: Emit<'_>) -> Result<(), ParseError> {
    let mut log = false;
    json_strict(line, &mut |name, value| {
        if name != "log" {
            return emit(name, value);
        }
        log = true;
        emit(name, without_escape(without_escape(value, 'n'), 'r'));
    })?;
    if log { Ok(()) } else { Err(ParseError::Unexpected { at: 0, expected: "an entry with a log" }) }
}

/// CRI's line, `2026-11-20T22:18:00.123456789+00:00 stdout F text`: tells `time`, `stream`, `flags` and `log`.
///
/// # Errors
/// [`ParseError`] if the line has another form.
pub fn cri(line: &[u8], emit: Emit<'_>) -> Result<(), ParseError> {
    let text = as_text(line);
    let mut parts = text.splitn(4, ' ');
    let (Some(time), Some(stream), Some(flags)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(ParseError::Unexpected { at: text.len(), expected: "time, stream, flags and text" });
    };
    if time.len() < 20 || !time.as_bytes()[0].is_ascii_digit() || time.as_bytes()[10] != b'T' {
        return Err(ParseError::Unexpected { at: 0, expected: "a time of RFC 3339" });
    }
    if !matches!(stream, "stdout" | "stderr") {
        return Err(ParseError::Unexpected { at: time.len() + 1, expected: "stdout or stderr" });
    }
    if !matches!(flags.split(':').next(), Some("F" | "P")) {
        return Err(ParseError::Unexpected { at: time.len() + stream.len() + 2, expected: "F or P" });
    }
    for (name, value) in
        [("time", time), ("stream", stream), ("flags", flags), ("log", parts.next().unwrap_or_default())]
    {
        emit(name, Value::plain(value));
    }
    Ok(())
}

/// The value without the escape that it ends in, if it does: the backslash must not be one that is escaped itself.
fn without_escape(value: Value<'_>, letter: char) -> Value<'_> {
    let Some(rest) = value.raw.strip_suffix(letter) else { return value };
    let backslashes = rest.bytes().rev().take_while(|b| *b == b'\\').count();
    if backslashes % 2 == 1 { Value { raw: &rest[..rest.len() - 1], ..value } } else { value }
}
