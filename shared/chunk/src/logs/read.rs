//! Reads blocks: the directory at once, the body when it is asked for.

use super::bloom::{self, Bloom};
use super::{KIND, LogBlock, OUTPUT_SHIFT};
use crate::bytes::Cursor;
use crate::frame::{self, Unpacker};
use crate::{DecodeError, Limits};
use skerry_model::{LABELS_MAX, Labels, Level, LogRecord, OutputStream, RecordRef, TimeRange, UnixMillis};
use std::ops::ControlFlow;

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

/// An opened block: its directory is read and checked. Its body is checked and decompressed when records are asked for.
#[derive(Debug)]
pub struct LogReader<'a> {
    bytes: &'a [u8],
    info: LogInfo,
    label_sets: Vec<Labels>,
    bloom: Bloom<'a>,
    body: Cursor<'a>,
    limits: Limits,
}

impl LogBlock {
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
/// [`DecodeError`] where the directory is damaged or a limit is exceeded.
pub fn info(bytes: &[u8], limits: &Limits) -> Result<LogInfo, DecodeError> {
    Ok(LogReader::open(bytes, limits)?.info())
}

impl<'a> LogReader<'a> {
    /// Opens a block and reads its directory. The bytes may end behind the directory: then all but the records can be
    /// asked for.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] where the directory is not whole; others where the bytes are no sound block or exceed
    /// `limits`.
    pub fn open(bytes: &'a [u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut cursor = frame::begin(KIND, bytes)?;
        let records = cursor.count("number of records", limits.records_max)?;
        let line_bytes = cursor.varint()?;
        let (from, to) = (UnixMillis(cursor.zigzag()?), UnixMillis(cursor.zigzag()?));
        let range = (records > 0).then_some(TimeRange { from, to });
        let info = LogInfo { records, line_bytes, range, level_mask: cursor.byte()? };
        let sets = cursor.count("number of label sets", records)?;
        let label_sets = (0..sets).map(|_| label_set(&mut cursor)).collect::<Result<_, _>>()?;
        let filter = cursor.count("length of the filter", bloom::BYTES_MAX)?;
        let bloom = Bloom::read(cursor.take(filter)?).ok_or(DecodeError::Invalid("filter"))?;
        frame::check_header(bytes, &mut cursor)?;
        Ok(Self { bytes, info, label_sets, bloom, body: cursor, limits: *limits })
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
        self.search(unpacker, &[], wanted, &mut each)
    }

    /// As [`visit`](Self::visit), but only records whose line holds each of these texts, byte for byte. The other records
    /// cost nothing but their decompression, and a block whose filter rules a text out not even that.
    ///
    /// # Errors
    /// As [`visit`](Self::visit). Where no record has the texts, only what that took was checked.
    pub fn search(
        &self,
        unpacker: &mut Unpacker,
        texts: &[&[u8]],
        wanted: impl Fn(usize) -> bool,
        mut each: impl FnMut(usize, RecordRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), DecodeError> {
        let wanted: Vec<bool> = (0..self.label_sets.len()).map(wanted).collect();
        if !wanted.contains(&true) && self.info.records > 0 || !texts.iter().all(|text| self.may_contain_text(text)) {
            return Ok(());
        }
        let raw = frame::checked_body(self.bytes, self.body, self.limits.raw_bytes_max, unpacker)?;
        let count = self.info.records;
        // A record takes five bytes at least, so a count cannot make these larger than the body.
        let line_bytes = usize::try_from(self.info.line_bytes).ok().filter(|bytes| *bytes <= raw.len());
        let line_bytes = line_bytes.filter(|_| count <= raw.len()).ok_or(DecodeError::Invalid("number of records"))?;
        Body { raw, count, label_sets: &self.label_sets, line_bytes }.visit(&wanted, Texts::new(texts), &mut each)
    }
}

/// Texts that a line must all hold.
pub(super) struct Texts<'a> {
    /// The longest: it is looked for in all lines at once.
    first: memchr::memmem::Finder<'a>,
    others: Vec<memchr::memmem::Finder<'a>>,
}

impl<'a> Texts<'a> {
    /// `None` where every line holds them.
    fn new(texts: &[&'a [u8]]) -> Option<Self> {
        let mut texts: Vec<&[u8]> = texts.iter().copied().filter(|text| !text.is_empty()).collect();
        texts.sort_unstable_by_key(|text| std::cmp::Reverse(text.len()));
        let mut finders = texts.into_iter().map(memchr::memmem::Finder::new);
        Some(Self { first: finders.next()?, others: finders.collect() })
    }
}

/// A body in memory.
pub(super) struct Body<'a> {
    pub(super) raw: &'a [u8],
    pub(super) count: usize,
    pub(super) label_sets: &'a [Labels],
    /// Bytes of the lines, which are the body's last.
    pub(super) line_bytes: usize,
}

/// Number of a label set that nobody wants.
const NONE: usize = usize::MAX;

impl Body<'_> {
    pub(super) fn visit(
        &self,
        wanted: &[bool],
        texts: Option<Texts<'_>>,
        each: &mut impl FnMut(usize, RecordRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), DecodeError> {
        let (columns, lines) = self.raw.split_at(self.raw.len() - self.line_bytes);
        // Where the next line that may hold the texts goes on at the earliest.
        let mut hit = 0;
        if let Some(texts) = &texts {
            match texts.first.find(lines) {
                Some(at) => hit = at,
                None => return Ok(()),
            }
        }
        let mut cursor = Cursor::new(columns, "records");
        let count = self.count;
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
            lengths.push(cursor.count("line length", lines.len())?);
        }
        let fields = FieldColumns::read(&mut cursor, count, self.raw.len())?;
        if cursor.remaining() > 0 {
            return Err(DecodeError::Invalid("records length"));
        }
        let mut lines_left = Cursor::new(lines, "lines");
        let (mut next_field, mut next_value) = (0, 0);
        let none = Labels::default();
        for at in 0..count {
            let begin = lines.len() - lines_left.remaining();
            let line = lines_left.take(lengths[at])?;
            let has = fields.counts.get(at).copied().unwrap_or(0);
            let (first, value_at) = (next_field, next_value);
            if has > 0 {
                next_field += has;
                next_value += fields.lengths[first..next_field].iter().sum::<usize>();
            }
            let Some(labels) = self.label_sets.get(sets[at]) else { continue };
            if let Some(texts) = &texts {
                let end = begin + line.len();
                if hit < begin {
                    // The lines between were not wanted. What is found may be a hit across two lines.
                    hit = match texts.first.find(&lines[begin..]) {
                        Some(found) => begin + found,
                        None => return Ok(()),
                    };
                }
                // One that begins here and ends in the next line is no hit, and none can begin behind it in this line.
                if hit + texts.first.needle().len() > end {
                    continue;
                }
                if !texts.others.iter().all(|text| text.find(line).is_some()) {
                    continue;
                }
            }
            let (level, output) = kind_of(kinds[at])?;
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
        if lines_left.remaining() > 0 { Err(DecodeError::Invalid("records length")) } else { Ok(()) }
    }
}

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
