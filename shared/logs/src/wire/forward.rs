//! The Fluentd forward protocol, version 1: <https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1>.
//!
//! A connection is a sequence of MessagePack values. Those that carry events have one of four shapes, told apart by the
//! second value:
//!
//! ```text
//! Message        [tag, time, record, option?]
//! Forward        [tag, [[time, record], …], option?]
//! PackedForward  [tag, bytes of one [time, record] after the other, option?]
//! Compressed     the same, with the bytes gzipped and {"compressed": "gzip"} in the option
//! ```
//!
//! Newer senders of Fluent Bit write `[time, metadata]` in the place of an entry's time; the metadata is passed over.

use super::msgpack::{self, Reader, Scanner, Value, put_array, put_binary, put_bool, put_map, put_text};
use flate2::bufread::MultiGzDecoder;
use skerry_model::UnixMillis;
use std::io::Read;

/// Most pairs of an option that are looked at.
const OPTIONS_MAX: u64 = 32;
/// Longest chunk id that is taken: senders write 16 to 44 bytes.
pub const CHUNK_BYTES_MAX: usize = 256;
/// Bytes that are inflated at a time.
const INFLATE_BYTES: usize = 16 << 10;

/// Why a frame is not understood.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It is no MessagePack, or of another shape.
    #[error(transparent)]
    Shape(#[from] msgpack::Fault),
    /// Entries are compressed in a way that is not known.
    #[error("entries are compressed with {0:?}: only gzip is known; choose gzip or none at the sender")]
    Compression(String),
    /// Gzipped entries are damaged.
    #[error("gzipped entries cannot be read")]
    Gzip(#[from] std::io::Error),
    /// A chunk's id is longer than [`CHUNK_BYTES_MAX`].
    #[error("a chunk id of {0} bytes, at most {CHUNK_BYTES_MAX} are taken")]
    Chunk(usize),
}

/// What an option says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options<'a> {
    /// The sender waits for an acknowledgement with this id.
    pub chunk: Option<&'a [u8]>,
    /// Entries are gzipped.
    pub is_gzip: bool,
    /// What the entries are, as Fluent Bit says: 0 logs, 1 metrics, 2 traces.
    pub signal: i64,
}

/// A frame that carries events.
#[derive(Debug)]
pub struct Frame<'a> {
    /// Names where the events come from, in the sender's own way.
    pub tag: &'a [u8],
    /// What its option says.
    pub options: Options<'a>,
    /// The events.
    pub entries: Entries<'a>,
}

impl<'a> Frame<'a> {
    /// Takes a whole value apart. `None` for nil, which senders use as a sign of life. No entry may be longer than
    /// `entry_bytes_max`.
    ///
    /// # Errors
    /// [`Fault`] if it is no frame.
    pub fn parse(bytes: &'a [u8], entry_bytes_max: usize) -> Result<Option<Self>, Fault> {
        let mut reader = Reader::new(bytes);
        let count = match reader.value()? {
            Value::Nil => return Ok(None),
            Value::Array(count @ 2..=4) => count,
            _ => return Err(msgpack::Fault::Type("nil or an array of two to four values").into()),
        };
        let tag = reader.bytes()?;
        let body = reader.rest();
        let (kind, values_used) = match reader.value()? {
            Value::Array(entries) if is_entries(body) => {
                let from = reader.rest();
                for _ in 0..entries {
                    reader.skip()?;
                }
                (Kind::Whole(&from[..from.len() - reader.rest().len()]), 2)
            }
            Value::Text(packed) | Value::Binary(packed) => (Kind::Whole(packed), 2),
            _ if count >= 3 => {
                // The one entry is what stands between tag and option, without an array around it.
                reader = Reader::new(body);
                let (time, record) = (reader.skip()?, reader.skip()?);
                (Kind::One(Some((time, record))), 3)
            }
            _ => return Err(msgpack::Fault::Type("entries, or a time and a record").into()),
        };
        let options = if count > values_used { options(&mut reader)? } else { Options::default() };
        let kind = match kind {
            Kind::Whole(packed) if options.is_gzip => Kind::Gzip {
                source: Box::new(MultiGzDecoder::new(packed)),
                held: Vec::new(),
                used: 0,
                scanner: Scanner::default(),
            },
            kind => kind,
        };
        Ok(Some(Self { tag, options, entries: Entries { kind, entry_bytes_max } }))
    }
}

/// Whether an array is one of entries, not a time with metadata: entries are arrays themselves, and so is an empty one.
fn is_entries(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    match reader.array() {
        Ok(0) => true,
        Ok(_) => matches!(reader.value(), Ok(Value::Array(_))),
        Err(_) => false,
    }
}

fn options<'a>(reader: &mut Reader<'a>) -> Result<Options<'a>, Fault> {
    let mut options = Options::default();
    let pairs = match reader.value()? {
        Value::Nil => return Ok(options),
        Value::Map(pairs @ ..=OPTIONS_MAX) => pairs,
        _ => return Err(msgpack::Fault::Type("an option").into()),
    };
    for _ in 0..pairs {
        match reader.bytes()? {
            b"chunk" => match reader.value()? {
                Value::Nil => {}
                value => {
                    let chunk = value.bytes().ok_or(msgpack::Fault::Type("a chunk id"))?;
                    if chunk.len() > CHUNK_BYTES_MAX {
                        return Err(Fault::Chunk(chunk.len()));
                    }
                    options.chunk = Some(chunk);
                }
            },
            b"compressed" => match reader.bytes()? {
                b"gzip" => options.is_gzip = true,
                b"text" => {}
                other => return Err(Fault::Compression(String::from_utf8_lossy(&other[..other.len().min(32)]).into())),
            },
            b"fluent_signal" => {
                if let Value::Int(signal) = reader.value()? {
                    options.signal = signal;
                }
            }
            // How many entries there are is seen by itself.
            _ => drop(reader.skip()?),
        }
    }
    Ok(options)
}

/// One event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry<'a> {
    /// When it happened.
    pub when: When,
    /// The record, a whole MessagePack value.
    pub record: &'a [u8],
}

#[derive(Debug)]
enum Kind<'a> {
    One(Option<(&'a [u8], &'a [u8])>),
    Whole(&'a [u8]),
    Gzip { source: Box<MultiGzDecoder<&'a [u8]>>, held: Vec<u8>, used: usize, scanner: Scanner },
}

/// The events of a frame, one after the other.
#[derive(Debug)]
pub struct Entries<'a> {
    kind: Kind<'a>,
    entry_bytes_max: usize,
}

impl Entries<'_> {
    /// The next event; `None` at the end. Gzipped ones are inflated as they are asked for, so that memory holds one at a
    /// time whatever the ratio.
    ///
    /// # Errors
    /// [`Fault`] if what comes next is no event. What came before stands.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'_>>, Fault> {
        let bytes_max = self.entry_bytes_max;
        match &mut self.kind {
            Kind::One(one) => match one.take() {
                None => Ok(None),
                Some((time, record)) => Ok(Some(Entry { when: timed(&mut Reader::new(time))?, record })),
            },
            Kind::Whole([]) => Ok(None),
            Kind::Whole(rest) => {
                let length = Scanner::default().scan(rest, bytes_max)?.ok_or(msgpack::Fault::Cut)?;
                let (entry, after) = rest.split_at(length);
                *rest = after;
                Ok(Some(parts(entry)?))
            }
            Kind::Gzip { source, held, used, scanner } => {
                held.drain(..*used);
                *used = 0;
                while *used == 0 {
                    if !held.is_empty()
                        && let Some(length) = scanner.scan(held, bytes_max)?
                    {
                        *used = length;
                        break;
                    }
                    let before = held.len();
                    held.resize(before + INFLATE_BYTES, 0);
                    let read = source.read(&mut held[before..]);
                    held.truncate(before + read.as_ref().map_or(0, |read| *read));
                    match (read?, held.is_empty()) {
                        (0, true) => return Ok(None),
                        (0, false) => return Err(msgpack::Fault::Cut.into()),
                        _ => {}
                    }
                }
                Ok(Some(parts(&held[..*used])?))
            }
        }
    }
}

/// What stands in the place of an entry's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// A time.
    At(UnixMillis),
    /// Nothing that is one.
    Unknown,
    /// Begin or end of a group: this is no event.
    Mark,
}

fn parts(entry: &[u8]) -> Result<Entry<'_>, Fault> {
    let mut reader = Reader::new(entry);
    if reader.array()? != 2 {
        return Err(msgpack::Fault::Type("an entry of time and record").into());
    }
    let when = timed(&mut reader)?;
    Ok(Entry { when, record: reader.skip()? })
}

/// A time, or `[time, metadata]`.
fn timed(reader: &mut Reader<'_>) -> Result<When, Fault> {
    Ok(match reader.value()? {
        Value::Array(2) => {
            let when = reader.value()?;
            reader.skip()?;
            match when {
                Value::Extension(0, [0xff, 0xff, 0xff, 0xfe | 0xff, ..]) | Value::Int(-2..=-1) => When::Mark,
                value => time(value).map_or(When::Unknown, When::At),
            }
        }
        Value::Array(_) | Value::Map(_) => return Err(msgpack::Fault::Type("a time").into()),
        value => time(value).map_or(When::Unknown, When::At),
    })
}

fn time(value: Value<'_>) -> Option<UnixMillis> {
    match value {
        Value::Int(seconds) => seconds.checked_mul(1000).map(UnixMillis),
        #[expect(clippy::cast_possible_truncation, reason = "casts of floats saturate")]
        Value::Float(seconds) if seconds.is_finite() => Some(UnixMillis((seconds * 1000.0) as i64)),
        Value::Extension(0, bytes) => {
            let (seconds, rest) = bytes.split_first_chunk::<4>()?;
            let nanos = i64::from(u32::from_be_bytes(*rest.first_chunk::<4>()?));
            Some(UnixMillis(i64::from(u32::from_be_bytes(*seconds)) * 1000 + nanos / 1_000_000))
        }
        _ => None,
    }
}

/// The acknowledgement of a chunk.
#[must_use]
pub fn ack(chunk: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(chunk.len() + 8);
    put_map(&mut out, 1);
    put_text(&mut out, b"ack");
    put_text(&mut out, chunk);
    out
}

/// The server's first word where a shared key is asked for.
#[must_use]
pub fn helo(nonce: &[u8; 16]) -> Vec<u8> {
    let mut out = Vec::new();
    put_array(&mut out, 2);
    put_text(&mut out, b"HELO");
    put_map(&mut out, 3);
    put_text(&mut out, b"nonce");
    put_binary(&mut out, nonce);
    put_text(&mut out, b"auth");
    put_text(&mut out, b"");
    put_text(&mut out, b"keepalive");
    put_bool(&mut out, true);
    out
}

/// The client's answer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping<'a> {
    /// What it calls itself.
    pub host: &'a [u8],
    /// Its share of what is digested.
    pub salt: &'a [u8],
    /// Hexadecimal SHA-512 of salt, host, nonce and shared key.
    pub digest: &'a [u8],
}

impl<'a> Ping<'a> {
    /// Takes a whole value apart.
    ///
    /// # Errors
    /// [`msgpack::Fault`] if it is no PING.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, msgpack::Fault> {
        let mut reader = Reader::new(bytes);
        let count = reader.array()?;
        if count != 6 || reader.bytes()? != b"PING" {
            return Err(msgpack::Fault::Type("a PING of six values"));
        }
        Ok(Self { host: reader.bytes()?, salt: reader.bytes()?, digest: reader.bytes()? })
    }
}

/// The server's last word of the handshake: its own name and digest, or why it refuses.
#[must_use]
pub fn pong(outcome: Result<(&[u8], &[u8]), &str>) -> Vec<u8> {
    let mut out = Vec::new();
    put_array(&mut out, 5);
    put_text(&mut out, b"PONG");
    put_bool(&mut out, outcome.is_ok());
    put_text(&mut out, outcome.err().unwrap_or_default().as_bytes());
    let (host, digest) = outcome.unwrap_or_default();
    put_text(&mut out, host);
    put_text(&mut out, digest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    /// `{"log": "…"}`.
    fn record(text: &str) -> Vec<u8> {
        let mut out = vec![0x81, 0xa3];
        out.extend(b"log");
        put_text(&mut out, text.as_bytes());
        out
    }

    fn entry(seconds: u8, text: &str) -> Vec<u8> {
        [&[0x92, seconds], &*record(text)].concat()
    }

    /// Every event of a frame: its milliseconds and its record.
    fn events(bytes: &[u8]) -> Result<Vec<(When, Vec<u8>)>, Fault> {
        let mut frame = Frame::parse(bytes, 1 << 20)?.expect("no sign of life");
        assert_eq!(frame.tag, b"app");
        let mut events = Vec::new();
        while let Some(entry) = frame.entries.next_entry()? {
            events.push((entry.when, entry.record.to_vec()));
        }
        Ok(events)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).and_then(|()| encoder.finish()).unwrap()
    }

    fn packed(bytes: &[u8], option: &[u8]) -> Vec<u8> {
        let head = if option.is_empty() { 0x92 } else { 0x93 };
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        [&[head, 0xa3], &b"app"[..], &[0xc6], &length, bytes, option].concat()
    }

    const COMPRESSED: &[u8] = b"\x81\xaacompressed\xa4gzip";

    #[test]
    fn the_four_shapes_carry_the_same_events() {
        let both = [entry(1, "a"), entry(2, "b")].concat();
        let expected = vec![(When::At(UnixMillis(1000)), record("a")), (When::At(UnixMillis(2000)), record("b"))];
        let forward = [&[0x92, 0xa3], &b"app"[..], &[0x92], &both].concat();
        assert_eq!(events(&forward).unwrap(), expected);
        assert_eq!(events(&packed(&both, &[])).unwrap(), expected);
        assert_eq!(events(&packed(&gzip(&both), COMPRESSED)).unwrap(), expected);
        // Senders may put several members of gzip one after the other, cut anywhere.
        let members = [gzip(&both[..3]), gzip(&both[3..])].concat();
        assert_eq!(events(&packed(&members, COMPRESSED)).unwrap(), expected);
        let message = [&[0x93, 0xa3], &b"app"[..], &[1], &record("a")].concat();
        assert_eq!(events(&message).unwrap(), expected[..1]);
        assert_eq!(events(&[&[0x92, 0xa3], &b"app"[..], &[0x90]].concat()).unwrap(), []);
    }

    #[test]
    fn times_have_many_forms() {
        let at = |time: &[u8]| {
            let bytes = [&[0x93, 0xa3], &b"app"[..], time, &record("a")].concat();
            events(&bytes).unwrap()[0].0
        };
        assert_eq!(at(&[0xd7, 0, 0, 0, 0, 2, 0, 15, 0x42, 0x40]), When::At(UnixMillis(2001)));
        assert_eq!(at(&[0xc7, 8, 0, 0, 0, 0, 2, 0, 15, 0x42, 0x40]), When::At(UnixMillis(2001)));
        assert_eq!(at(&[0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0]), When::At(UnixMillis(1500)));
        assert_eq!(at(&[0xc0]), When::Unknown);
        assert_eq!(at(&[0x92, 5, 0x80]), When::At(UnixMillis(5000)));
        assert_eq!(at(&[0x92, 0xd7, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0x80]), When::Mark);
    }

    #[test]
    fn an_option_names_the_chunk() {
        let chunk = |option: &[u8]| {
            let bytes = packed(&entry(1, "a"), option);
            let frame = Frame::parse(&bytes, 1 << 20).map(|frame| frame.expect("events"))?;
            Ok::<_, Fault>((frame.options.chunk.map(<[u8]>::to_vec), frame.options.signal))
        };
        assert_eq!(chunk(b"\x82\xa5chunk\xa2id\xa4size\x01").unwrap(), (Some(b"id".to_vec()), 0));
        assert_eq!(chunk(b"\x81\xadfluent_signal\x01").unwrap(), (None, 1));
        assert_eq!(chunk(b"\xc0").unwrap(), (None, 0));
        assert!(matches!(chunk(b"\x81\xaacompressed\xa4zstd"), Err(Fault::Compression(_))));
        let long = [&b"\x81\xa5chunk\xda\x01\x01"[..], &[b'x'; 257]].concat();
        assert!(matches!(chunk(&long), Err(Fault::Chunk(257))));
    }

    #[test]
    fn what_is_broken_within_keeps_what_came_before() {
        let mut bytes = packed(&[entry(1, "a"), vec![0x92, 1]].concat(), &[]);
        let mut frame = Frame::parse(&bytes, 1 << 20).unwrap().unwrap();
        assert!(frame.entries.next_entry().unwrap().is_some());
        assert!(frame.entries.next_entry().is_err());
        bytes = packed(b"no gzip", COMPRESSED);
        assert!(matches!(events(&bytes), Err(Fault::Gzip(_))));
        assert!(Frame::parse(&[0xc0], 9).unwrap().is_none());
        assert!(Frame::parse(b"GET / HTTP/1.1", 9).is_err());
    }

    #[test]
    fn a_bomb_costs_no_memory() {
        let zeros = vec![0; 8 << 20];
        let bytes = packed(&gzip(&[&[0x92, 1, 0xc6, 0, 0x80, 0, 0], &*zeros].concat()), COMPRESSED);
        assert!(bytes.len() < 64 << 10);
        let mut frame = Frame::parse(&bytes, 1 << 20).unwrap().unwrap();
        assert!(matches!(frame.entries.next_entry(), Err(Fault::Shape(msgpack::Fault::TooLong(_)))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for option in [&[][..], COMPRESSED] {
                if let Ok(Some(mut frame)) = Frame::parse(&packed(&bytes, option), 1000) {
                    while let Ok(Some(_)) = frame.entries.next_entry() {}
                }
            }
            if let Ok(Some(mut frame)) = Frame::parse(&bytes, 1000) {
                while let Ok(Some(_)) = frame.entries.next_entry() {}
            }
            let _refused_or_valid = Ping::parse(&bytes);
        }
    }
}
