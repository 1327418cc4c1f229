//! What of an event's map becomes the line of a record, and what its fields.
//!
//! Docker's fluentd driver writes `{log, source, container_id, container_name}` and, for lines above 16 KiB, which part
//! of a line it is. Others write their text as `log`, `message`, `msg` or `MESSAGE`; where none is there, the whole map as
//! JSON is the line. The rest becomes fields; maps within maps are taken apart, their keys joined with `_`.
//!
//! Invariants:
//! - At most [`FIELDS_MAX`] fields, with names of [`NAME_BYTES_MAX`] and values of [`VALUE_BYTES_MAX`]; what does not fit
//!   is said in [`Event::is_cut`].
//! - Recursion is as deep as [`super::msgpack::DEPTH_MAX`], which the scan before has checked.

use super::msgpack::{Fault, Reader, Value};
use skerry_model::OutputStream;
use std::fmt::Write;

/// Most fields of one event.
pub const FIELDS_MAX: usize = 32;
/// Longest name of a field.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest value of a field.
pub const VALUE_BYTES_MAX: usize = 1024;
/// Keys whose text is the line, by preference.
const LINES: [&[u8]; 4] = [b"log", b"message", b"msg", b"MESSAGE"];

/// Which part of a line of Docker's an event carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The same for all parts of one line.
    pub id: String,
    /// From 1.
    pub ordinal: u64,
    /// No further part follows.
    pub is_last: bool,
}

/// An event as parts of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The text, without its line end.
    pub line: Vec<u8>,
    /// Which output of a program it came from, where the map says.
    pub output: OutputStream,
    /// What the map calls its severity, in its own word.
    pub level: Option<String>,
    /// Container's full id and its name without a leading slash, where Docker's driver says.
    pub container: Option<(String, String)>,
    /// Set where the line goes on in another event.
    pub part: Option<Part>,
    /// The rest; names are letters, digits and `_`, none stands twice.
    pub fields: Vec<(String, String)>,
    /// Something of the map did not fit into the fields.
    pub is_cut: bool,
}

impl Event {
    /// Takes a record apart, which must be a whole MessagePack value.
    ///
    /// # Errors
    /// [`Fault`] if it is no map with texts as keys.
    pub fn parse(record: &[u8]) -> Result<Self, Fault> {
        let mut reader = Reader::new(record);
        let pairs = reader.map()?;
        let body = reader;
        // First which key is the line, then everything else: a map has no order to rely on.
        let (mut line, mut rank, mut is_docker) = (None, LINES.len(), false);
        for _ in 0..pairs {
            let key = reader.bytes()?;
            let mut value = Reader::new(reader.skip()?);
            let found = LINES[..rank].iter().position(|name| *name == key);
            if let (Some(at), Value::Text(text) | Value::Binary(text)) = (found, value.value()?) {
                (line, rank) = (Some(text), at);
            }
            is_docker |= key == b"container_id";
        }
        is_docker &= rank == 0;
        let mut event = Self {
            line: Vec::new(),
            output: OutputStream::None,
            level: None,
            container: None,
            part: None,
            fields: Vec::new(),
            is_cut: false,
        };
        match line {
            Some(text) => without_end(text).clone_into(&mut event.line),
            None => {
                json(&mut Reader::new(record), &mut event.line)?;
                event.read_known(body, pairs, false)?;
                return Ok(event);
            }
        }
        event.read_known(body, pairs, is_docker)?;
        let mut reader = body;
        for _ in 0..pairs {
            let key = reader.bytes()?;
            let value = reader.skip()?;
            let is_known = key == LINES[rank] || (is_docker && is_docker_key(key));
            if !is_known {
                event.add("", key, &mut Reader::new(value), 0)?;
            }
        }
        Ok(event)
    }

    /// Reads what has a place of its own.
    fn read_known(&mut self, mut reader: Reader<'_>, pairs: u64, is_docker: bool) -> Result<(), Fault> {
        let (mut id, mut name) = (None, None);
        let mut part = Part { id: String::new(), ordinal: 0, is_last: false };
        let mut is_part = false;
        for _ in 0..pairs {
            let key = reader.bytes()?;
            let value = Reader::new(reader.skip()?).value()?;
            let Some(text) = value.bytes() else { continue };
            let word = || String::from_utf8_lossy(&text[..text.len().min(256)]).into_owned();
            match key {
                b"source" if is_docker => self.output = output(text),
                b"stream" if !is_docker && self.output == OutputStream::None => self.output = output(text),
                b"container_id" if is_docker => id = Some(word()),
                b"container_name" if is_docker => name = Some(word().trim_start_matches('/').to_owned()),
                b"partial_message" if is_docker => is_part = text == b"true",
                b"partial_id" if is_docker => part.id = word(),
                b"partial_ordinal" if is_docker => part.ordinal = word().parse().unwrap_or(0),
                b"partial_last" if is_docker => part.is_last = text == b"true",
                b"level" | b"severity" | b"log_level" | b"loglevel" if self.level.is_none() => {
                    self.level = Some(word())
                }
                _ => {}
            }
        }
        self.container = id.map(|id| (id, name.unwrap_or_default()));
        self.part = (is_part && !part.id.is_empty()).then_some(part);
        Ok(())
    }

    /// Adds a value as a field, or what is in it as several.
    fn add(&mut self, prefix: &str, key: &[u8], reader: &mut Reader<'_>, depth: usize) -> Result<(), Fault> {
        let name = field_name(prefix, &String::from_utf8_lossy(&key[..key.len().min(NAME_BYTES_MAX)]));
        let start = *reader;
        let value = match reader.value()? {
            Value::Map(pairs) if depth < 3 => {
                for _ in 0..pairs {
                    if self.fields.len() >= FIELDS_MAX {
                        self.is_cut = true;
                        return Ok(());
                    }
                    let key = reader.skip()?;
                    match Reader::new(key).value()?.bytes() {
                        Some(key) => self.add(&name, key, reader, depth + 1)?,
                        None => drop(reader.skip()?),
                    }
                }
                return Ok(());
            }
            Value::Nil => return Ok(()),
            Value::Text(text) | Value::Binary(text) => String::from_utf8_lossy(text).into_owned(),
            _ => {
                let mut text = Vec::new();
                *reader = start;
                json(reader, &mut text)?;
                String::from_utf8_lossy(&text).into_owned()
            }
        };
        self.is_cut |= !push_field(&mut self.fields, name, value);
        Ok(())
    }
}

/// Adds a field, cut to its bound; `false` if not all of it fit in. Empty ones and repeated names are left out.
pub fn push_field(fields: &mut Vec<(String, String)>, name: String, mut value: String) -> bool {
    if name.is_empty() || value.is_empty() {
        return true;
    }
    if fields.len() >= FIELDS_MAX || fields.iter().any(|(known, _)| *known == name) {
        return false;
    }
    let fits = value.len() <= VALUE_BYTES_MAX;
    value.truncate(value.floor_char_boundary(VALUE_BYTES_MAX));
    fields.push((name, value));
    fits
}

/// A name as labels take it: what may not stand in one becomes `_`, and one comes before a digit at its begin.
#[must_use]
pub fn field_name(prefix: &str, key: &str) -> String {
    let mut name = String::with_capacity(prefix.len() + key.len() + 1);
    let parts = prefix.chars().chain((!prefix.is_empty()).then_some('_')).chain(key.chars());
    for c in parts {
        if name.is_empty() && c.is_ascii_digit() {
            name.push('_');
        }
        name.push(if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' });
        if name.len() >= NAME_BYTES_MAX {
            break;
        }
    }
    name
}

fn output(word: &[u8]) -> OutputStream {
    match word {
        b"stdout" => OutputStream::Stdout,
        b"stderr" => OutputStream::Stderr,
        _ => OutputStream::None,
    }
}

fn is_docker_key(key: &[u8]) -> bool {
    matches!(key, b"source" | b"container_id" | b"container_name") || key.starts_with(b"partial_")
}

/// A line without its end.
fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Writes a value as JSON. Bytes that are no UTF-8 become U+FFFD, keys that are no texts their own JSON as text.
fn json(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    match reader.value()? {
        Value::Nil => out.extend(b"null"),
        Value::Bool(value) => out.extend(if value { &b"true"[..] } else { b"false" }),
        Value::Int(number) => out.extend(number.to_string().bytes()),
        Value::Large(number) => out.extend(number.to_string().bytes()),
        Value::Float(number) if number.is_finite() => out.extend(number.to_string().bytes()),
        Value::Float(_) => out.extend(b"null"),
        Value::Text(text) | Value::Binary(text) | Value::Extension(_, text) => {
            quote(&String::from_utf8_lossy(text), out)
        }
        Value::Array(count) => {
            out.push(b'[');
            for at in 0..count {
                if at > 0 {
                    out.push(b',');
                }
                json(reader, out)?;
            }
            out.push(b']');
        }
        Value::Map(pairs) => {
            out.push(b'{');
            for at in 0..pairs {
                if at > 0 {
                    out.push(b',');
                }
                let key = reader.skip()?;
                match Reader::new(key).value()?.bytes() {
                    Some(text) => quote(&String::from_utf8_lossy(text), out),
                    None => {
                        let mut text = Vec::new();
                        json(&mut Reader::new(key), &mut text)?;
                        quote(&String::from_utf8_lossy(&text), out);
                    }
                }
                out.push(b':');
                json(reader, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' => out.extend(b"\\\""),
            '\\' => out.extend(b"\\\\"),
            '\n' => out.extend(b"\\n"),
            '\r' => out.extend(b"\\r"),
            '\t' => out.extend(b"\\t"),
            c if c < ' ' => {
                let mut escaped = String::new();
                // Writing to a string cannot fail.
                let _infallible = write!(escaped, "\\u{:04x}", u32::from(c));
                out.extend(escaped.bytes());
            }
            c => out.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::msgpack::{put_bool, put_map, put_text};
    use proptest::prelude::*;

    /// A map of texts.
    fn map(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        put_map(&mut out, u8::try_from(pairs.len()).unwrap());
        for (key, value) in pairs {
            put_text(&mut out, key.as_bytes());
            put_text(&mut out, value.as_bytes());
        }
        out
    }

    #[test]
    fn an_event_of_dockers_driver() {
        let id = "0123456789abcdef0123";
        let event = Event::parse(&map(&[
            ("container_name", "/web-1"),
            ("source", "stderr"),
            ("log", "oh no\r"),
            ("container_id", id),
            ("com.example/site", "north"),
        ]))
        .unwrap();
        assert_eq!(event.line, b"oh no");
        assert_eq!(event.output, OutputStream::Stderr);
        assert_eq!(event.container, Some((id.into(), "web-1".into())));
        assert_eq!(event.fields, [("com_example_site".to_owned(), "north".to_owned())]);
        assert_eq!(event.part, None);
        let part = Event::parse(&map(&[
            ("container_id", id),
            ("log", "x"),
            ("partial_message", "true"),
            ("partial_id", "abc"),
            ("partial_ordinal", "2"),
            ("partial_last", "false"),
        ]));
        assert_eq!(part.unwrap().part, Some(Part { id: "abc".into(), ordinal: 2, is_last: false }));
    }

    #[test]
    fn other_maps_give_their_text_and_fields() {
        let mut record = Vec::new();
        put_map(&mut record, 5);
        put_text(&mut record, b"msg");
        put_text(&mut record, b"hello");
        put_text(&mut record, b"severity");
        put_text(&mut record, b"WARN");
        put_text(&mut record, b"kubernetes");
        record.extend(map(&[("pod_name", "web"), ("namespace", "prod")]));
        put_text(&mut record, b"0done");
        put_bool(&mut record, true);
        put_text(&mut record, b"ids");
        record.extend([0x92, 1, 0xff]);
        let event = Event::parse(&record).unwrap();
        assert_eq!(event.line, b"hello");
        assert_eq!(event.level.as_deref(), Some("WARN"));
        let fields: Vec<(&str, &str)> = event.fields.iter().map(|(n, v)| (&**n, &**v)).collect();
        let expected = [
            ("severity", "WARN"),
            ("kubernetes_pod_name", "web"),
            ("kubernetes_namespace", "prod"),
            ("_0done", "true"),
            ("ids", "[1,-1]"),
        ];
        assert_eq!(fields, expected);
        assert!(!event.is_cut);
    }

    #[test]
    fn a_map_without_text_becomes_json() {
        let event = Event::parse(&map(&[("a\"b", "c\n\u{1}"), ("level", "error")])).unwrap();
        assert_eq!(event.line, br#"{"a\"b":"c\n\u0001","level":"error"}"#);
        assert_eq!(event.level.as_deref(), Some("error"));
        assert!(event.fields.is_empty());
        let odd = [0x82, 1, 0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0, 0x90, 0x81, 0xc0, 0xa1, 0xff];
        assert!(Event::parse(&odd).is_err(), "keys of an event are texts");
        let inner = [&[0x81, 0xa1, b'x'], &odd[..]].concat();
        let beside = [&[0x82, 0xa3], &b"log"[..], &[0xa1, b'a', 0xa1, b'x'], &odd[..]].concat();
        assert_eq!(Event::parse(&beside).unwrap().fields, []);
        assert_eq!(Event::parse(&inner).unwrap().line, "{\"x\":{\"1\":1.5,\"[]\":{\"null\":\"\u{fffd}\"}}}".as_bytes());
    }

    #[test]
    fn fields_are_bounded_and_what_is_left_out_is_said() {
        let long = "x".repeat(2000);
        let event = Event::parse(&map(&[("log", "a"), ("long", &long)])).unwrap();
        assert_eq!((event.fields[0].1.len(), event.is_cut), (VALUE_BYTES_MAX, true));
        let mut many = vec![0xde, 0, 50];
        for n in 0..50 {
            put_text(&mut many, if n == 0 { "log".to_owned() } else { format!("k{n}") }.as_bytes());
            put_text(&mut many, b"v");
        }
        let event = Event::parse(&many).unwrap();
        assert_eq!((event.fields.len(), event.is_cut), (FIELDS_MAX, true));
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(Some(length)) = crate::wire::msgpack::Scanner::default().scan(&bytes, 300) {
                let _refused_or_valid = Event::parse(&bytes[..length]);
            }
            let inner = [&[0x81, 0xa1, b'x'], &bytes[..]].concat();
            if let Ok(Some(length)) = crate::wire::msgpack::Scanner::default().scan(&inner, 300) {
                let event = Event::parse(&inner[..length]).unwrap();
                prop_assert!(event.fields.len() <= FIELDS_MAX);
            }
        }
    }
}
