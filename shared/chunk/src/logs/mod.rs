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
//!          names varint, then each as length and bytes   names of fields
//!          per record   fields   varint                  how many it has
//!          per field    name     varint                  index of its name
//!          per field    length   varint                  bytes of its value
//!          values of fields, one after the other
//!          lines, one after the other
//! ```
//! The bloom filter holds every distinct token (see [`bloom`]) of the lines.

pub mod bloom;

use crate::bytes::{Cursor, put_bytes, put_varint, put_zigzag};
use crate::frame::{self, Kind, Unpacker};
use crate::{DecodeError, EncodeError, Limits};
use bloom::Bloom;
use skerry_model::{LABELS_MAX, Labels, Level, LogRecord, OutputStream, RecordRef, TimeRange, UnixMillis};
use std::collections::HashMap;
use std::ops::ControlFlow;

const KIND: Kind = Kind { magic: *b"SL", name: "log", version: 2 };
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
        let fields = self.fields();
        let columns = numbers.len() + times.len() + kinds.len() + lengths.len() + fields.len();
        let mut raw = Vec::with_capacity(columns + line_bytes);
        for stream in [&numbers, &times, &kinds, &lengths, &fields] {
            raw.extend_from_slice(stream);
        }
        for record in &self.records {
            raw.extend_from_slice(&record.line);
        }
        frame::seal(KIND, &header, &raw, level)
    }

    /// The fields of all records, as they stand in the body.
    fn fields(&self) -> Vec<u8> {
        let mut names: HashMap<&str, u64> = HashMap::new();
        let (mut table, mut counts) = (Vec::new(), Vec::with_capacity(self.records.len()));
        let (mut numbers, mut lengths, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for record in &self.records {
            put_varint(&mut counts, record.fields.len() as u64);
            for (name, value) in record.fields.iter() {
                let next = names.len() as u64;
                let number = *names.entry(name).or_insert_with(|| {
                    put_bytes(&mut table, name.as_bytes());
                    next
                });
                put_varint(&mut numbers, number);
                put_varint(&mut lengths, value.len() as u64);
                values.extend_from_slice(value.as_bytes());
            }
        }
        let mut out = Vec::with_capacity(table.len() + counts.len() + numbers.len() + lengths.len() + values.len() + 4);
        put_varint(&mut out, names.len() as u64);
        for part in [&table, &counts, &numbers, &lengths, &values] {
            out.extend_from_slice(part);
        }
        out
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

    /// Whether a line may hold this text. `false` is certain. Only tokens inside the text can tell: its first and its last
    /// may be parts of longer ones in the line.
    #[must_use]
    pub fn may_contain_text(&self, text: &[u8]) -> bool {
        let mut parts = text.split(|byte| !bloom::is_token(*byte)).skip(1).peekable();
        while let Some(part) = parts.next() {
            // The filter itself passes what is too short or too long for a token.
            if parts.peek().is_some() && !self.bloom.might_contain(part) {
                return false;
            }
        }
        true
    }

    /// Decompresses and reads all records.
    ///
    /// # Errors
    /// [`DecodeError`] where the body is damaged or exceeds the limits.
    pub fn records(&self) -> Result<Vec<LogRecord>, DecodeError> {
        let mut records = Vec::with_capacity(self.info.records.min(4096));
        self.visit(
            &mut Unpacker::new(),
            |_| true,
            |_, record| {
                records.push(record.to_record());
                ControlFlow::Continue(())
            },
        )?;
        Ok(records)
    }

    /// Decompresses, and hands on the records whose label set `wanted` takes by its number in
    /// [`label_sets`](Self::label_sets), with their places in the block, until told to stop.
    ///
    /// # Errors
    /// [`DecodeError`] where the body is damaged or exceeds the limits; the records before the damage were handed on.
    pub fn visit(
        &self,
        unpacker: &mut Unpacker,
        wanted: impl Fn(usize) -> bool,
        mut each: impl FnMut(usize, RecordRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), DecodeError> {
        let raw = frame::body(self.body, self.limits.raw_bytes_max, unpacker)?;
        let mut cursor = Cursor::new(&raw, "records");
        let count = self.info.records;
        // A record takes five bytes at least, so a count cannot make these larger than the body.
        if count > raw.len() {
            return Err(DecodeError::Invalid("number of records"));
        }
        let wanted: Vec<bool> = (0..self.label_sets.len()).map(wanted).collect();
        let mut sets = Vec::with_capacity(count);
        for _ in 0..count {
            let number = cursor.count("label set", self.label_sets.len())?;
            let is_wanted = *wanted.get(number).ok_or(DecodeError::Invalid("label set"))?;
            sets.push(if is_wanted { number } else { NONE });
        }
        let mut times = Vec::with_capacity(count);
        let mut previous = 0i64;
        for _ in 0..count {
            previous = previous.wrapping_add(cursor.zigzag()?);
            times.push(UnixMillis(previous));
        }
        let kinds = cursor.take(count)?;
        let mut lengths = Vec::with_capacity(count);
        for _ in 0..count {
            lengths.push(cursor.count("line length", raw.len())?);
        }
        let fields = FieldColumns::read(&mut cursor, count, raw.len())?;
        let (mut next_field, mut next_value) = (0, 0);
        let none = Labels::default();
        for at in 0..count {
            let (level, output) = kind_of(kinds[at])?;
            let line = cursor.take(lengths[at])?;
            let has = fields.counts.get(at).copied().unwrap_or(0);
            let (first, value_at) = (next_field, next_value);
            next_field += has;
            next_value += fields.lengths[first..next_field].iter().sum::<usize>();
            let Some(labels) = self.label_sets.get(sets[at]) else { continue };
            let own;
            let record_fields = if has == 0 {
                &none
            } else {
                own = fields.of(first..next_field, value_at)?;
                &own
            };
            let record = RecordRef { at: times[at], labels, output, level, fields: record_fields, line };
            if each(at, record).is_break() {
                return Ok(());
            }
        }
        if cursor.remaining() > 0 { Err(DecodeError::Invalid("records length")) } else { Ok(()) }
    }
}

/// Number of a label set that nobody wants.
const NONE: usize = usize::MAX;

/// The columns of all fields of a block.
struct FieldColumns<'a> {
    names: Vec<&'a str>,
    /// Fields of each record; empty where no record has any.
    counts: Vec<usize>,
    numbers: Vec<usize>,
    lengths: Vec<usize>,
    values: &'a [u8],
}

impl<'a> FieldColumns<'a> {
    fn read(cursor: &mut Cursor<'a>, records: usize, raw_bytes: usize) -> Result<Self, DecodeError> {
        let names = cursor.count("number of field names", raw_bytes)?;
        let names = (0..names).map(|_| cursor.text()).collect::<Result<Vec<_>, _>>()?;
        let mut counts = Vec::new();
        if names.is_empty() {
            // One zero for each record.
            cursor.skip_varints(records)?;
        } else {
            for _ in 0..records {
                counts.push(cursor.count("number of fields", LABELS_MAX)?);
            }
        }
        let total: usize = counts.iter().sum();
        let mut column = |what| (0..total).map(|_| cursor.count(what, raw_bytes)).collect::<Result<Vec<_>, _>>();
        let (numbers, lengths) = (column("field name")?, column("field length")?);
        let bytes = lengths.iter().try_fold(0usize, |sum, len| sum.checked_add(*len));
        let values = cursor.take(bytes.ok_or(DecodeError::Invalid("field lengths"))?)?;
        Ok(Self { names, counts, numbers, lengths, values })
    }

    /// Some fields that follow each other, whose values begin at `at`.
    fn of(&self, range: std::ops::Range<usize>, mut at: usize) -> Result<Labels, DecodeError> {
        let invalid = || DecodeError::Invalid("fields");
        let mut pairs = Vec::with_capacity(range.len());
        for field in range {
            let name = *self.names.get(self.numbers[field]).ok_or_else(invalid)?;
            let value = self.values.get(at..at + self.lengths[field]).ok_or_else(invalid)?;
            at += self.lengths[field];
            pairs.push((name, std::str::from_utf8(value).map_err(|_| invalid())?));
        }
        Labels::new(pairs).map_err(|_| invalid())
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
        LogRecord {
            at: UnixMillis(at),
            labels,
            output: OutputStream::Stderr,
            level: Level::Warn,
            fields: Labels::default(),
            line: line.to_vec(),
        }
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
        block.records[7].fields = Labels::new([("trace", "a1"), ("pid", "7")]).unwrap();
        block.records[90].fields = Labels::new([("pid", "ü")]).unwrap();
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
    fn a_text_is_ruled_out_by_the_tokens_inside_it_alone() {
        let bytes = service_like(1000).encode(3).unwrap();
        let reader = LogReader::open(&bytes, &Limits::default()).unwrap();
        let line = String::from_utf8(reader.records().unwrap()[7].line.clone()).unwrap();
        for (from, to) in (0..line.len()).flat_map(|from| (from..=line.len()).map(move |to| (from, to))) {
            assert!(reader.may_contain_text(&line.as_bytes()[from..to]), "{:?}", &line[from..to]);
        }
        assert!(reader.may_contain_text(b"needle"), "it may be a part of a token");
        assert!(reader.may_contain_text(b"needle needle"));
        assert!(!reader.may_contain_text(b" needle42 "));
        assert!(!reader.may_contain_text(b"x needle42 completed"));
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
