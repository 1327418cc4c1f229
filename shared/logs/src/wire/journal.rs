//! The journal export format: <https://systemd.io/JOURNAL_EXPORT_FORMATS/>.
//!
//! An entry is a list of fields and ends with an empty line. A field is `NAME=text` and a newline; or, where its value is
//! binary or has newlines, `NAME`, a newline, its length as 64 bits little-endian, the value, and a newline.
//!
//! Invariants:
//! - What is kept of a value is bounded by the caller; the rest is passed over as it comes. A name, and so what has to
//!   come before anything is known, is at most [`NAME_BYTES_MAX`] long.

use super::event::push_field;
use super::syslog;
use skerry_model::{Level, UnixMillis};

/// Longest name of a field: the journal itself takes 64.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest cursor.
pub const CURSOR_BYTES_MAX: usize = 512;
/// Fields of the journal's own that become fields of the record.
const TRUSTED: [&str; 8] =
    ["_PID", "_UID", "_COMM", "_HOSTNAME", "_TRANSPORT", "_SYSTEMD_USER_UNIT", "_KERNEL_SUBSYSTEM", "_KERNEL_DEVICE"];
/// Fields of programs that say again what the record says.
const NOISE: [&str; 4] = ["SYSLOG_PID", "SYSLOG_TIMESTAMP", "SYSLOG_RAW", "SYSLOG_FACILITY"];

/// The stream is none of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A line has no name of a field.
    #[error("a line has no field's name of at most {NAME_BYTES_MAX} bytes")]
    Name,
    /// No newline follows a value.
    #[error("a value is longer than was said")]
    End,
}

/// What the stream has next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next<'a> {
    /// A field, and how many bytes are used up by then.
    Field {
        /// Name.
        name: &'a str,
        /// Value, or its begin.
        value: &'a [u8],
        /// Bytes to be taken off the buffer.
        used: usize,
        /// It was longer than the bound.
        is_cut: bool,
    },
    /// The entry is whole; bytes to be taken off the buffer.
    End(usize),
    /// Bytes to be taken off the buffer, with nothing in them.
    Skip(usize),
    /// Nothing before more has come.
    More,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Begin,
    /// Pass over bytes of a value, then its newline.
    Bytes(u64),
    /// Pass over a text up to its newline.
    Line,
}

/// Takes a stream apart.
#[derive(Debug, Default)]
pub struct Parser(State);

impl Parser {
    /// What is next in `buffer`, of which at most `value_bytes_max` of a value are handed on.
    ///
    /// # Errors
    /// [`Fault`]; nothing that follows can be told apart.
    pub fn next<'a>(&mut self, buffer: &'a [u8], value_bytes_max: usize) -> Result<Next<'a>, Fault> {
        match self.0 {
            State::Bytes(0) => {
                return match buffer.first() {
                    None => Ok(Next::More),
                    Some(b'\n') => {
                        self.0 = State::Begin;
                        Ok(Next::Skip(1))
                    }
                    Some(_) => Err(Fault::End),
                };
            }
            State::Bytes(left) if !buffer.is_empty() => {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                self.0 = State::Bytes(left - here as u64);
                return Ok(Next::Skip(here));
            }
            State::Line if !buffer.is_empty() => {
                let end = memchr::memchr(b'\n', buffer);
                if end.is_some() {
                    self.0 = State::Begin;
                }
                return Ok(Next::Skip(end.map_or(buffer.len(), |at| at + 1)));
            }
            _ => {}
        }
        if buffer.first() == Some(&b'\n') {
            return Ok(Next::End(1));
        }
        let Some(at) = memchr::memchr2(b'=', b'\n', &buffer[..buffer.len().min(NAME_BYTES_MAX + 1)]) else {
            return if buffer.len() > NAME_BYTES_MAX { Err(Fault::Name) } else { Ok(Next::More) };
        };
        let name = std::str::from_utf8(&buffer[..at]).ok().filter(|name| !name.is_empty()).ok_or(Fault::Name)?;
        let rest = &buffer[at + 1..];
        if buffer[at] == b'=' {
            return Ok(match memchr::memchr(b'\n', rest) {
                Some(end) => {
                    let kept = end.min(value_bytes_max);
                    Next::Field { name, value: &rest[..kept], used: at + 2 + end, is_cut: kept < end }
                }
                None if rest.len() <= value_bytes_max => Next::More,
                None => {
                    self.0 = State::Line;
                    Next::Field { name, value: &rest[..value_bytes_max], used: buffer.len(), is_cut: true }
                }
            });
        }
        let Some((length, rest)) = rest.split_first_chunk::<8>() else { return Ok(Next::More) };
        let length = u64::from_le_bytes(*length);
        let kept = usize::try_from(length).unwrap_or(usize::MAX).min(value_bytes_max);
        let Some(value) = rest.get(..kept) else { return Ok(Next::More) };
        // What is not kept, and the newline, are passed over next.
        self.0 = State::Bytes(length - kept as u64);
        Ok(Next::Field { name, value, used: at + 9 + kept, is_cut: (kept as u64) < length })
    }
}

/// An entry as parts of a record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// Where it stands in the journal.
    pub cursor: String,
    /// When the journal took it.
    pub at: Option<UnixMillis>,
    /// Its severity.
    pub level: Option<Level>,
    /// The service it came from.
    pub unit: String,
    /// Facility's name.
    pub facility: Option<&'static str>,
    /// The text.
    pub message: Vec<u8>,
    /// Some of the journal's own fields, and all of the program's as far as they fit.
    pub fields: Vec<(String, String)>,
    /// Something did not fit.
    pub is_cut: bool,
}

impl Entry {
    /// Takes a field in.
    pub fn add(&mut self, name: &str, value: &[u8], is_cut: bool) {
        let text = String::from_utf8_lossy(value);
        let number = || text.parse::<u64>().ok();
        match name {
            "__CURSOR" if value.len() <= CURSOR_BYTES_MAX => self.cursor = text.into_owned(),
            "__REALTIME_TIMESTAMP" => {
                self.at = number().and_then(|micros| i64::try_from(micros / 1000).ok()).map(UnixMillis);
            }
            "PRIORITY" => {
                self.level = number().filter(|n| *n < 8).and_then(|n| u8::try_from(n).ok()).map(syslog::level)
            }
            "_SYSTEMD_UNIT" => self.unit = text.chars().take(256).collect(),
            "MESSAGE" => {
                value.clone_into(&mut self.message);
                self.is_cut |= is_cut;
            }
            _ => {
                if name == "SYSLOG_FACILITY" {
                    self.facility = number().and_then(syslog::facility);
                }
                let is_own = name.starts_with('_');
                if (is_own && TRUSTED.contains(&name)) || (!is_own && !NOISE.contains(&name)) {
                    let fits = push_field(&mut self.fields, name.to_owned(), text.into_owned());
                    self.is_cut |= !fits || is_cut;
                }
            }
        }
    }
}

/// What a cursor says: `s=` the file's sequence, `i=` the number in it.
#[must_use]
pub fn sequence(cursor: &str) -> Option<(&str, u64)> {
    let part = |name: &str| cursor.split(';').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    Some((part("s")?, u64::from_str_radix(part("i")?, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every entry of a stream that arrives in pieces.
    fn entries(stream: &[u8], size: usize, bytes_max: usize) -> Result<Vec<Entry>, Fault> {
        let (mut parser, mut buffer, mut entry, mut found) =
            (Parser::default(), Vec::new(), Entry::default(), Vec::new());
        for piece in stream.chunks(size) {
            buffer.extend_from_slice(piece);
            loop {
                let used = match parser.next(&buffer, bytes_max)? {
                    Next::More => break,
                    Next::Skip(used) => used,
                    Next::End(used) => {
                        found.push(std::mem::take(&mut entry));
                        used
                    }
                    Next::Field { name, value, used, is_cut } => {
                        entry.add(name, value, is_cut);
                        used
                    }
                };
                buffer.drain(..used);
            }
            assert!(buffer.len() <= bytes_max + size + NAME_BYTES_MAX + 9);
        }
        Ok(found)
    }

    const STREAM: &[u8] = b"__CURSOR=s=0be7;i=1f;b=79;m=b6;t=66;x=8c\n__REALTIME_TIMESTAMP=1795262030984269\n_BOOT_ID=79\nPRIORITY=3\n_SYSTEMD_UNIT=ssh.service\nSYSLOG_FACILITY=4\nSYSLOG_IDENTIFIER=sshd\n_PID=812\nREQUEST_ID=abc\nMESSAGE\n\x07\0\0\0\0\0\0\0one\ntwo\n\n__CURSOR=s=0be7;i=20;b=79;m=b6;t=66;x=8d\nMESSAGE=three\n\n";

    #[test]
    fn entries_have_texts_and_binaries() {
        for size in [1, 2, 7, 1000] {
            let found = entries(STREAM, size, 1000).unwrap();
            assert_eq!(found.len(), 2, "{size}");
            let one = &found[0];
            assert_eq!(
                (one.message.as_slice(), one.unit.as_str(), one.facility),
                (&b"one\ntwo"[..], "ssh.service", Some("auth"))
            );
            assert_eq!(
                (one.at, one.level, one.is_cut),
                (Some(UnixMillis(1_795_262_030_984)), Some(Level::Error), false)
            );
            let fields: Vec<(&str, &str)> = one.fields.iter().map(|(n, v)| (&**n, &**v)).collect();
            assert_eq!(fields, [("SYSLOG_IDENTIFIER", "sshd"), ("_PID", "812"), ("REQUEST_ID", "abc")]);
            assert_eq!(sequence(&one.cursor), Some(("0be7", 31)));
            assert_eq!(found[1].message, b"three");
        }
    }

    #[test]
    fn values_beyond_the_bound_are_cut_and_passed_over() {
        let huge = [
            &b"COREDUMP\n\x00\x00\x10\0\0\0\0\0"[..],
            &vec![b'\n'; 1 << 20],
            b"\nMESSAGE=",
            &[b'x'; 5000],
            b"\nPRIORITY=7\n\n",
        ]
        .concat();
        for size in [100, 1 << 20] {
            let found = entries(&huge, size, 2000).unwrap();
            assert_eq!((found.len(), found[0].message.len(), found[0].level), (1, 2000, Some(Level::Debug)));
            assert!(found[0].is_cut);
        }
    }

    #[test]
    fn another_stream_is_refused() {
        assert_eq!(entries(b"Hint: You are currently not seeing messages\n", 10, 99), Ok(vec![]));
        assert_eq!(entries(&[b'x'; 300], 10, 99), Err(Fault::Name));
        assert_eq!(entries(b"=x\n", 10, 99), Err(Fault::Name));
        assert_eq!(entries(b"A\n\x01\0\0\0\0\0\0\0xy", 100, 99), Err(Fault::End));
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..400), size in 1usize..50) {
            let _refused_or_read = entries(&bytes, size, 64);
        }

        #[test]
        fn damage_is_safe(at in 0usize..300, byte: u8, size in 1usize..50) {
            let mut bytes = STREAM.to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _refused_or_read = entries(&bytes, size, 64);
        }
    }
}
