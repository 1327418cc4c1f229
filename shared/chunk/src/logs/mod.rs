//! Log blocks: records in order of arrival, with a directory that tells what cannot be inside.
//!
//! ```text
//! header   records varint, line_bytes varint            bytes of all lines together
//!          first zigzag, last zigzag                     smallest and largest timestamp, in ms; 0 and 0 without records
//!          levels 1 byte                                 bit n: a record of level n is inside
//!          sets varint                                   label sets; each: pairs varint, then name and value as
//!                                                        length and bytes
//!          bloom length and bytes                        empty: nothing can be ruled out
//! body     per record   set      varint                  index of its label set
//!          per record   time     zigzag                  difference to the record before (the first: to 0)
//!          per record   kind     1 byte                  bits 0-3 level, bits 4-7 output
//!          per record   length   varint                  bytes of the line
//!          lines, one after the other
//! ```
//! The bloom filter holds every distinct token (see [`bloom`]) of the lines.

pub mod bloom;

use crate::bytes::{Cursor, put_bytes, put_varint, put_zigzag};
use crate::frame::{self, Kind, Unpacker};
use crate::{DecodeError, EncodeError, Limits};
use bloom::Bloom;
use skerry_model::{LABELS_MAX, Labels, Level, LogRecord, OutputStream, TimeRange, UnixMillis};
use std::collections::HashMap;

const KIND: Kind = Kind { magic: *b"SL", name: "log", version: 1 };
const OUTPUT_SHIFT: u32 = 4;

/// Log records in order of arrival.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogBlock {
    /// The records.
    pub records: Vec<LogRecord>,
}

/// What a block's directory says in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogInfo {
    /// Records.
    pub records: usize,
    /// Bytes of all lines together.
    pub line_bytes: u64,
    /// Smallest and largest timestamp; `None` for an empty block.
    pub range: Option<TimeRange>,
    /// Bit `n` says that a record of level number `n` is inside.
    pub level_mask: u8,
}

/// An opened block: its directory is read, its body is not yet decompressed.
#[derive(Debug)]
pub struct LogReader<'a> {
    info: LogInfo,
    label_sets: Vec<Labels>,
    bloom: Bloom,
    body: Cursor<'a>,
    limits: Limits,
}

impl LogBlock {
    /// Writes the block, compressed at this zstd level (1 to 19).
    ///
    /// # Errors
    /// [`EncodeError::Compression`] where the compressor fails.
    pub fn encode(&self, level: i32) -> Result<Vec<u8>, EncodeError> {
        let mut sets: HashMap<&Labels, u64> = HashMap::new();
        let mut set_bytes = Vec::new();
        let (mut numbers, mut times, mut kinds, mut lengths) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut previous, mut level_mask, mut line_bytes) = (0i64, 0u8, 0usize);
        for record in &self.records {
            let next = sets.len() as u64;
            let number = *sets.entry(&record.labels).or_insert_with(|| {
                put_varint(&mut set_bytes, record.labels.len() as u64);
                for text in record.labels.iter().flat_map(|(name, value)| [name, value]) {
                    put_bytes(&mut set_bytes, text.as_bytes());
                }
                next
            });
            put_varint(&mut numbers, number);
            put_zigzag(&mut times, record.at.0.wrapping_sub(previous));
            previous = record.at.0;
            kinds.push(record.level as u8 | (record.output as u8) << OUTPUT_SHIFT);
            level_mask |= 1 << (record.level as u8);
            put_varint(&mut lengths, record.line.len() as u64);
            line_bytes += record.line.len();
        }
        let mut header = Vec::new();
        put_varint(&mut header, self.records.len() as u64);
        put_varint(&mut header, line_bytes as u64);
        put_zigzag(&mut header, self.records.iter().map(|r| r.at.0).min().unwrap_or(0));
        put_zigzag(&mut header, self.records.iter().map(|r| r.at.0).max().unwrap_or(0));
        header.push(level_mask);
        put_varint(&mut header, sets.len() as u64);
        header.extend_from_slice(&set_bytes);
        put_bytes(&mut header, Bloom::of_lines(self.records.iter().map(|r| r.line.as_slice())).as_bytes());
        let mut raw = Vec::with_capacity(numbers.len() + times.len() + kinds.len() + lengths.len() + line_bytes);
        for stream in [&numbers, &times, &kinds, &lengths] {
            raw.extend_from_slice(stream);
        }
        for record in &self.records {
            raw.extend_from_slice(&record.line);
        }
        frame::seal(KIND, &header, &raw, level)
    }

    /// Reads a whole block.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are no sound block or exceed `limits`.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        Ok(Self { records: LogReader::open(bytes, limits)?.records()? })
    }
}

/// Reads the numbers of a block's directory.
///
/// # Errors
/// [`DecodeError`] where the frame is damaged or a limit is exceeded.
pub fn info(bytes: &[u8], limits: &Limits) -> Result<LogInfo, DecodeError> {
    Ok(header(bytes, limits)?.0)
}

fn header<'a>(bytes: &'a [u8], limits: &Limits) -> Result<(LogInfo, Cursor<'a>), DecodeError> {
    let mut cursor = frame::open(KIND, bytes)?;
    let records = cursor.count("number of records", limits.records_max)?;
    let line_bytes = cursor.varint()?;
    let (from, to) = (UnixMillis(cursor.zigzag()?), UnixMillis(cursor.zigzag()?));
    let range = (records > 0).then_some(TimeRange { from, to });
    let level_mask = cursor.byte()?;
    Ok((LogInfo { records, line_bytes, range, level_mask }, cursor))
}

impl<'a> LogReader<'a> {
    /// Opens a block and reads its directory.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are no sound block or exceed `limits`.
    pub fn open(bytes: &'a [u8], limits: &Limits) -> Result<Self, DecodeError> {
        let (info, mut cursor) = header(bytes, limits)?;
        let sets = cursor.count("number of label sets", info.records)?;
        let label_sets = (0..sets).map(|_| label_set(&mut cursor)).collect::<Result<_, _>>()?;
        let bloom = Bloom::from_bytes(cursor.bytes()?);
        Ok(Self { info, label_sets, bloom, body: cursor, limits: *limits })
    }

    /// The directory's numbers.
    #[must_use]
    pub fn info(&self) -> LogInfo {
        self.info
    }

    /// The label sets of its records, in order of first use.
    #[must_use]
    pub fn label_sets(&self) -> &[Labels] {
        &self.label_sets
    }

    /// Whether a line may hold this token. `false` is certain; `true` is wrong for about one token in fifty.
    #[must_use]
    pub fn might_contain(&self, token: &[u8]) -> bool {
        self.bloom.might_contain(token)
    }

    /// Decompresses and reads all records.
    ///
    /// # Errors
    /// [`DecodeError`] where the body is damaged or exceeds the limits.
    pub fn records(&self) -> Result<Vec<LogRecord>, DecodeError> {
        let raw = frame::body(self.body, self.limits.raw_bytes_max, &mut Unpacker::new())?;
        let mut cursor = Cursor::new(&raw, "records");
        let count = self.info.records;
        // A record takes four bytes at least, so a count cannot make these larger than the body.
        if count > raw.len() {
            return Err(DecodeError::Invalid("number of records"));
        }
        let mut sets = Vec::with_capacity(count);
        for _ in 0..count {
            let number = usize::try_from(cursor.varint()?).map_err(|_| DecodeError::Invalid("label set"))?;
            sets.push(self.label_sets.get(number).ok_or(DecodeError::Invalid("label set"))?);
        }
        let mut times = Vec::with_capacity(count);
        let mut previous = 0i64;
        for _ in 0..count {
            previous = previous.wrapping_add(cursor.zigzag()?);
            times.push(UnixMillis(previous));
        }
        let kinds = cursor.take(count)?.iter().map(|kind| kind_of(*kind)).collect::<Result<Vec<_>, _>>()?;
        let mut lengths = Vec::with_capacity(count);
        for _ in 0..count {
            lengths.push(cursor.count("line length", raw.len())?);
        }
        let mut records = Vec::with_capacity(count);
        for at in 0..count {
            let (level, output) = kinds[at];
            let line = cursor.take(lengths[at])?.to_vec();
            records.push(LogRecord { at: times[at], labels: sets[at].clone(), output, level, line });
        }
        if cursor.remaining() > 0 { Err(DecodeError::Invalid("records length")) } else { Ok(records) }
    }
}

fn label_set(cursor: &mut Cursor<'_>) -> Result<Labels, DecodeError> {
    let pairs = cursor.count("number of labels", LABELS_MAX)?;
    let pairs = (0..pairs).map(|_| Ok((cursor.text()?, cursor.text()?))).collect::<Result<Vec<_>, DecodeError>>()?;
    Labels::new(pairs).map_err(|_| DecodeError::Invalid("label set"))
}

fn kind_of(kind: u8) -> Result<(Level, OutputStream), DecodeError> {
    let level = Level::from_number(kind & 0xf).ok_or(DecodeError::Invalid("level"))?;
    let output = match kind >> OUTPUT_SHIFT {
        0 => OutputStream::None,
        1 => OutputStream::Stdout,
        2 => OutputStream::Stderr,
        _ => return Err(DecodeError::Invalid("output")),
    };
    Ok((level, output))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(at: i64, source: &str, line: &[u8]) -> LogRecord {
        let labels = Labels::new([("source", source)]).unwrap();
        LogRecord { at: UnixMillis(at), labels, output: OutputStream::Stderr, level: Level::Warn, line: line.to_vec() }
    }

    fn service_like(lines: usize) -> LogBlock {
        let line = |n: usize| {
            let (id, ms, path) = ((n * 7919) % 100_000, n * 31 % 900, ["orders", "users", "cart"][n % 3]);
            format!(
                "2026-11-20T22:{:02}:{:02}.{:03}Z INFO http.server request completed method=GET path=/api/v1/{path}/{id} status=200 duration_ms={ms} client=10.0.{}.{}",
                n / 60 % 60,
                n % 60,
                n % 1000,
                n % 16,
                n % 250
            )
        };
        LogBlock { records: (0..lines).map(|n| record(n as i64 * 10, "shop", line(n).as_bytes())).collect() }
    }

    #[test]
    fn records_read_back_byte_for_byte() {
        let mut block = service_like(100);
        block.records.push(record(-5, "odd", b"nul \0 and \xff\xfe not utf-8 \r"));
        block.records.push(record(i64::MAX, "", b""));
        let bytes = block.encode(3).unwrap();
        assert_eq!(LogBlock::decode(&bytes, &Limits::default()).unwrap(), block);
        let reader = LogReader::open(&bytes, &Limits::default()).unwrap();
        assert_eq!(reader.info().records, 102);
        assert_eq!(reader.info().level_mask, 1 << 4);
        assert_eq!(reader.info().range, Some(TimeRange { from: UnixMillis(-5), to: UnixMillis(i64::MAX) }));
        assert_eq!(reader.label_sets().len(), 3);
        let empty = LogBlock::default();
        assert_eq!(LogBlock::decode(&empty.encode(3).unwrap(), &Limits::default()).unwrap(), empty);
    }

    #[test]
    fn the_directory_rules_out_what_is_not_inside() {
        let bytes = service_like(1000).encode(3).unwrap();
        let reader = LogReader::open(&bytes, &Limits::default()).unwrap();
        for inside in ["completed", "COMPLETED", "orders", "duration_ms", "7919"] {
            assert!(reader.might_contain(inside.as_bytes()), "{inside}");
        }
        let wrong = (0..1000).filter(|n| reader.might_contain(format!("needle{n}").as_bytes())).count();
        assert!(wrong < 60, "{wrong} of 1000 tokens could not be ruled out");
    }

    #[test]
    fn typical_lines_take_little_with_the_directory() {
        let block = service_like(1000);
        let raw: usize = block.records.iter().map(|r| r.line.len()).sum();
        let bytes = block.encode(3).unwrap().len();
        assert!(bytes * 100 < raw * 15, "{bytes} bytes for {raw}");
    }

    #[test]
    fn a_flipped_bit_anywhere_is_found() {
        let bytes = service_like(5).encode(3).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(LogBlock::decode(&damaged, &Limits::default()).is_err(), "byte {at}");
        }
    }

    #[test]
    fn the_format_has_not_moved() {
        let block = LogBlock { records: vec![record(1000, "a", b"first line"), record(1001, "b", b"second")] };
        let golden = include_bytes!("../../tests/golden/logs-v1.bin");
        assert_eq!(LogBlock::decode(golden, &Limits::default()).unwrap(), block);
        assert_eq!(block.encode(3).unwrap(), golden);
    }

    proptest! {
        #[test]
        fn any_records_read_back(lines in proptest::collection::vec((any::<i64>(), "[ab]{0,2}", proptest::collection::vec(any::<u8>(), 0..40)), 0..30)) {
            let block = LogBlock { records: lines.iter().map(|(at, source, line)| record(*at, source, line)).collect() };
            let bytes = block.encode(1).unwrap();
            prop_assert_eq!(LogBlock::decode(&bytes, &Limits::default()).unwrap(), block);
        }

        #[test]
        fn random_bodies_never_panic(count in 0u64..20, head in proptest::collection::vec(any::<u8>(), 0..30), raw in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut header = Vec::new();
            put_varint(&mut header, count);
            header.extend_from_slice(&head);
            let bytes = frame::seal(KIND, &header, &raw, 1).unwrap();
            let _ = LogBlock::decode(&bytes, &Limits::default());
            let mut header = Vec::new();
            for n in [count, 0, 0, 0, 0, 1, 0, 0] {
                put_varint(&mut header, n);
            }
            let bytes = frame::seal(KIND, &header, &raw, 1).unwrap();
            let _ = LogBlock::decode(&bytes, &Limits::default());
        }
    }
}
