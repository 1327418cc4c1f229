//! How Go's `fmt.Print` writes values.

use crate::number::float_text;
use crate::value::Value;

/// Deepest nesting of lists and maps that is written.
const DEPTH_MAX: usize = 32;
/// From which length on nothing more is written: a list that holds another twice, and so on, is soon longer than any
/// memory.
pub(crate) const BYTES_MAX: usize = 1 << 21;

/// Writes a value behind `out` as `%v` does.
pub(crate) fn value(value_: &Value, out: &mut String, depth: usize) {
    if depth > DEPTH_MAX || out.len() > BYTES_MAX {
        out.push('…');
        return;
    }
    match value_ {
        Value::Nil => out.push_str("<nil>"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(whole) => out.push_str(&whole.to_string()),
        Value::Float(number) => out.push_str(&float_text(*number)),
        Value::Text(text) | Value::Html(text) => out.push_str(text),
        Value::Time(_) | Value::Duration(_) => out.push_str(&value_.moment_text().unwrap_or_default()),
        Value::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                value(item, out, depth + 1);
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push_str("map[");
            for (at, (key, item)) in map.iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                out.extend([key, ":"]);
                value(item, out, depth + 1);
            }
            out.push(']');
        }
        Value::Object(object) => match (object.text(), object.plain()) {
            (Some(text), _) => out.push_str(&text),
            (None, Some(plain)) => value(&plain, out, depth + 1),
            (None, None) => out.extend(["{", object.type_name(), "}"]),
        },
    }
}

/// Values as `fmt.Sprint` writes them: a blank between two of which neither is a text.
#[must_use]
pub fn print(args: &[Value]) -> String {
    let mut out = String::new();
    let mut was_text = true;
    for arg in args {
        let is_text = matches!(arg, Value::Text(_) | Value::Html(_));
        if !is_text && !was_text {
            out.push(' ');
        }
        value(arg, &mut out, 0);
        was_text = is_text;
    }
    out
}

/// Values as `fmt.Sprintln` writes them.
pub(crate) fn print_line(args: &[Value]) -> String {
    let mut out = String::new();
    for (at, arg) in args.iter().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        value(arg, &mut out, 0);
    }
    out.push('\n');
    out
}

/// A text in double quotes, as `strconv.Quote` writes it.
#[must_use]
pub fn quoted(text: &str) -> String {
    quoted_by(text, '"', false)
}

/// In those quotes; with `is_ascii`, everything beyond ASCII is escaped.
pub(crate) fn quoted_by(text: &str, quote: char, is_ascii: bool) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            ' '..='~' => out.push(c),
            c if c.is_ascii() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if !is_ascii && is_shown(c) => out.push(c),
            c if u32::from(c) < 0x1_0000 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push(quote);
    out
}

/// Whether a character beyond ASCII leaves something to see: not controls, blanks other than the plain one, marks of
/// direction and of byte order, and private ones.
fn is_shown(c: char) -> bool {
    !(c.is_control()
        || c.is_whitespace()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}')
        || c >= '\u{e0000}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Map;

    #[test]
    fn values_are_written_as_go_writes_them() {
        let list = Value::from(vec![Value::Int(1), Value::from("a"), Value::Nil]);
        let map = Value::from(Map::of_texts([("b", "2"), ("a", "1")].into_iter()));
        let all = [Value::Int(1), Value::Float(2.5), Value::from("x"), Value::from("y"), Value::Bool(true), list, map];
        assert_eq!(print(&all), "1 2.5xytrue [1 a <nil>] map[a:1 b:2]");
        assert_eq!(print_line(&all[..3]), "1 2.5 x\n");
        assert_eq!(quoted("a\"\\\n\u{1}é\u{a0}"), r#""a\"\\\n\x01é\u00a0""#);
    }
}
