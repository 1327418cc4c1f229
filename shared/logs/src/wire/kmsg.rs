//! The kernel's messages as `/dev/kmsg` gives them: one record to a read.
//! <https://www.kernel.org/doc/Documentation/ABI/testing/dev-kmsg>
//!
//! ```text
//! 6,1234,5678901,-;text with \x0a escapes
//!  SUBSYSTEM=pci
//!  DEVICE=+pci:0000:00:1f.2
//! ```
//! Priority and facility, number, microseconds since the kernel began, flags; then the text, and properties of the
//! device, each in a line of its own that begins with a blank.

use super::event::push_field;
use super::syslog;
use skerry_model::Level;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its severity.
    pub level: Level,
    /// Facility's name: `kern`, or that of a program that wrote to the device.
    pub facility: Option<&'static str>,
    /// Rises by one with each record since the kernel began.
    pub seq: u64,
    /// When it was written, in microseconds since the kernel began, time asleep left out.
    pub micros: u64,
    /// The text.
    pub line: Vec<u8>,
    /// Properties of the device it is about.
    pub fields: Vec<(String, String)>,
}

impl Record {
    /// Takes a record apart; `None` if it is none.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let semicolon = memchr::memchr(b';', bytes)?;
        let mut parts = std::str::from_utf8(&bytes[..semicolon]).ok()?.split(',');
        let mut number = || parts.next()?.parse::<u64>().ok();
        let (priority, seq, micros) = (number()?, number()?, number()?);
        let mut lines = bytes[semicolon + 1..].split(|byte| *byte == b'\n');
        let line = unescaped(lines.next()?);
        let mut fields = Vec::new();
        for property in lines.filter_map(|line| line.strip_prefix(b" ")) {
            let property = unescaped(property);
            if let Some((name, value)) = String::from_utf8_lossy(&property).split_once('=') {
                push_field(&mut fields, super::event::field_name("", name), value.to_owned());
            }
        }
        let severity = u8::try_from(priority & 7).unwrap_or(7);
        Some(Self {
            level: syslog::level(severity),
            facility: syslog::facility(priority >> 3),
            seq,
            micros,
            line,
            fields,
        })
    }
}

/// The text with `\xNN` as the byte it stands for.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let digit = |at: usize| rest.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (rest.get(at + 1), digit(at + 2), digit(at + 3)) {
            (Some(b'x'), Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                rest = &rest[at + 4..];
            }
            _ => {
                out.push(b'\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_record_has_a_text_and_properties() {
        let record =
            Record::parse(b"30,339,5140900,-;NET: a\\x0ab \\\\ \\x\n SUBSYSTEM=pci\n DEVICE=+pci:0000\n").unwrap();
        assert_eq!(
            (record.level, record.facility, record.seq, record.micros),
            (Level::Info, Some("daemon"), 339, 5_140_900)
        );
        assert_eq!(record.line, b"NET: a\nb \\\\ \\x");
        assert_eq!(record.fields, [("SUBSYSTEM".into(), "pci".into()), ("DEVICE".to_owned(), "+pci:0000".to_owned())]);
        assert_eq!(Record::parse(b"4,1,2,c,caller=T1;x").unwrap().level, Level::Warn);
        assert_eq!(Record::parse(b"x,1,2;y"), None);
        assert_eq!(Record::parse(b"no record"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _refused_or_read = Record::parse(&bytes);
            let record = Record::parse(&[b"6,1,2,-;", &bytes[..]].concat()).unwrap();
            prop_assert!(record.line.len() <= bytes.len());
        }
    }
}
