//! Makes blocks: each record goes into the columns at once, so that waiting records take little more than their text.

use super::bloom::BloomBuilder;
use super::{KIND, LogBlock, OUTPUT_SHIFT, read};
use crate::bytes::{put_bytes, put_varint, put_zigzag};
use crate::{DecodeError, EncodeError, frame};
use skerry_model::{Labels, LogRecord, RecordRef, TimeRange};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// A block in the making. Cleared, it keeps its memory for the next one.
#[derive(Debug, Clone)]
pub struct LogBuilder {
    records: usize,
    range: Option<TimeRange>,
    level_mask: u8,
    previous: i64,
    sets: Vec<Labels>,
    /// Bytes of all names and values of the label sets.
    set_bytes: usize,
    set_numbers: HashMap<Labels, usize>,
    /// Number of the set of the last record: most records have the one before's.
    last_set: usize,
    numbers: Vec<u8>,
    times: Vec<u8>,
    kinds: Vec<u8>,
    lengths: Vec<u8>,
    names: Vec<u8>,
    name_numbers: HashMap<Box<str>, u64>,
    field_counts: Vec<u8>,
    field_numbers: Vec<u8>,
    field_lengths: Vec<u8>,
    field_values: Vec<u8>,
    lines: Vec<u8>,
    bloom: BloomBuilder,
}

impl Default for LogBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl LogBuilder {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self {
            records: 0,
            range: None,
            level_mask: 0,
            previous: 0,
            sets: Vec::new(),
            set_bytes: 0,
            set_numbers: HashMap::new(),
            last_set: 0,
            numbers: Vec::new(),
            times: Vec::new(),
            kinds: Vec::new(),
            lengths: Vec::new(),
            names: Vec::new(),
            name_numbers: HashMap::new(),
            field_counts: Vec::new(),
            field_numbers: Vec::new(),
            field_lengths: Vec::new(),
            field_values: Vec::new(),
            lines: Vec::new(),
            bloom: BloomBuilder::new(),
        }
    }

    /// Adds a record.
    pub fn push(&mut self, record: RecordRef<'_>) {
        if self.sets.get(self.last_set) != Some(record.labels) {
            self.last_set = self.set_number(record.labels);
        }
        put_varint(&mut self.numbers, self.last_set as u64);
        put_zigzag(&mut self.times, record.at.0.wrapping_sub(self.previous));
        self.previous = record.at.0;
        self.kinds.push(record.level as u8 | (record.output as u8) << OUTPUT_SHIFT);
        put_varint(&mut self.lengths, record.line.len() as u64);
        put_varint(&mut self.field_counts, record.fields.len() as u64);
        for (name, value) in record.fields.iter() {
            let number = self.name_number(name);
            put_varint(&mut self.field_numbers, number);
            put_varint(&mut self.field_lengths, value.len() as u64);
            self.field_values.extend_from_slice(value.as_bytes());
        }
        self.lines.extend_from_slice(record.line);
        self.bloom.add_line(record.line);
        let at = TimeRange::at(record.at);
        self.range = Some(self.range.map_or(at, |range| range.cover(at)));
        self.level_mask |= 1 << (record.level as u8);
        self.records += 1;
    }

    fn set_number(&mut self, labels: &Labels) -> usize {
        if let Some(number) = self.set_numbers.get(labels) {
            return *number;
        }
        let number = self.sets.len();
        self.set_bytes += labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        self.sets.push(labels.clone());
        self.set_numbers.insert(labels.clone(), number);
        number
    }

    fn name_number(&mut self, name: &str) -> u64 {
        if let Some(number) = self.name_numbers.get(name) {
            return *number;
        }
        let number = self.name_numbers.len() as u64;
        put_bytes(&mut self.names, name.as_bytes());
        self.name_numbers.insert(name.into(), number);
        number
    }

    /// Records in it.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.records
    }

    /// Whether there is no record.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Bytes of the body before compression, and of the label sets: what it holds in memory, but for what hash tables add.
    #[must_use]
    pub fn raw_bytes(&self) -> usize {
        self.set_bytes + self.columns().iter().map(|column| column.len()).sum::<usize>()
    }

    /// From the smallest to the largest timestamp; `None` without records.
    #[must_use]
    pub const fn range(&self) -> Option<TimeRange> {
        self.range
    }

    /// Empties it, and keeps its memory.
    pub fn clear(&mut self) {
        (self.records, self.range, self.level_mask, self.previous, self.last_set) = (0, None, 0, 0, 0);
        self.sets.clear();
        self.set_bytes = 0;
        self.set_numbers.clear();
        self.name_numbers.clear();
        for column in [
            &mut self.numbers,
            &mut self.times,
            &mut self.kinds,
            &mut self.lengths,
            &mut self.names,
            &mut self.field_counts,
            &mut self.field_numbers,
            &mut self.field_lengths,
            &mut self.field_values,
            &mut self.lines,
        ] {
            column.clear();
        }
        self.bloom.clear();
    }

    fn columns(&self) -> [&[u8]; 10] {
        [
            &self.numbers,
            &self.times,
            &self.kinds,
            &self.lengths,
            &self.names,
            &self.field_counts,
            &self.field_numbers,
            &self.field_lengths,
            &self.field_values,
            &self.lines,
        ]
    }

    fn body(&self) -> Vec<u8> {
        let columns = self.columns();
        let mut raw = Vec::with_capacity(columns.iter().map(|column| column.len()).sum::<usize>() + 10);
        for (at, column) in columns.into_iter().enumerate() {
            if at == 4 {
                put_varint(&mut raw, self.name_numbers.len() as u64);
            }
            raw.extend_from_slice(column);
        }
        raw
    }

    /// Writes the block, compressed at this zstd level (1 to 19). The records stay until [`clear`](Self::clear).
    ///
    /// # Errors
    /// [`EncodeError::Compression`] where the compressor fails.
    pub fn encode(&self, level: i32) -> Result<Vec<u8>, EncodeError> {
        let mut header = Vec::new();
        put_varint(&mut header, self.records as u64);
        put_varint(&mut header, self.lines.len() as u64);
        let (from, to) = self.range.map_or((0, 0), |range| (range.from.0, range.to.0));
        put_zigzag(&mut header, from);
        put_zigzag(&mut header, to);
        header.push(self.level_mask);
        put_varint(&mut header, self.sets.len() as u64);
        for set in &self.sets {
            put_varint(&mut header, set.len() as u64);
            for text in set.iter().flat_map(|(name, value)| [name, value]) {
                put_bytes(&mut header, text.as_bytes());
            }
        }
        put_bytes(&mut header, &self.bloom.finish());
        let crc = frame::crc_of_header(KIND, &header);
        header.extend_from_slice(&crc.to_le_bytes());
        frame::seal(KIND, &header, &self.body(), level)
    }

    /// Hands on the records, as [`LogReader::visit`](super::LogReader::visit) does those of a finished block.
    pub fn visit(
        &self,
        wanted: impl Fn(&Labels) -> bool,
        mut each: impl FnMut(usize, RecordRef<'_>) -> ControlFlow<()>,
    ) {
        let wanted: Vec<bool> = self.sets.iter().map(wanted).collect();
        let body =
            read::Body { raw: &self.body(), count: self.records, label_sets: &self.sets, line_bytes: self.lines.len() };
        let told: Result<(), DecodeError> = body.visit(&wanted, None, &mut each);
        debug_assert_eq!(told, Ok(()), "what was written here reads back");
    }
}

impl Extend<LogRecord> for LogBuilder {
    fn extend<T: IntoIterator<Item = LogRecord>>(&mut self, records: T) {
        for record in records {
            self.push(record.as_ref());
        }
    }
}

impl LogBlock {
    /// Writes the block, compressed at this zstd level (1 to 19).
    ///
    /// # Errors
    /// [`EncodeError::Compression`] where the compressor fails.
    pub fn encode(&self, level: i32) -> Result<Vec<u8>, EncodeError> {
        let mut builder = LogBuilder::new();
        for record in &self.records {
            builder.push(record.as_ref());
        }
        builder.encode(level)
    }
}
