//! Metric blocks: scrapes as rows, series as columns.
//!
//! Timestamps are written once for all series. Most series of a node do not change from scrape to scrape, and most of
//! the others are whole numbers or decimals with few places; so every column is written in the plainest form that gives
//! back its exact bits, and like is put next to like for the compressor.
//!
//! ```text
//! header   rows varint, series varint, samples varint,
//!          first zigzag, last zigzag        smallest and largest timestamp, in ms; 0 and 0 where rows is 0
//! body     six lengths in bytes as varints: times, ids, presence, lengths, firsts, integers; then eight streams:
//!          times | ids | tags | presence | lengths | firsts | integers | floats
//!
//! times      first zigzag; then difference of differences, zigzag each
//! ids        per series   varint   distance to the id before (the first: to 0)
//! tags       per series   1 byte   bits 0-2 form, bit 3 gaps, bits 4-7 scale
//! presence   per series with gaps   ceil(rows/8) bytes, lowest bit first: the rows that have a value
//! lengths    per series of forms 2 and 3   varint   its bytes in the stream of integers
//! firsts, integers, floats   by form, of the n values that are present:
//!            0 constant     firsts: i zigzag (0 where n is 0)
//!            1 constant     floats: 8 bytes little-endian
//!            2 deltas       firsts: i zigzag; integers: n - 1 differences, zigzag each
//!            3 delta of deltas   firsts: i zigzag; integers: n - 1 differences of differences, zigzag each, where the
//!                           difference before the first is 0
//!            4 bits         floats: n values of 8 bytes, each XORed with the one before, written by byte position: the
//!                           n lowest bytes first, the n highest last
//! ```
//! Forms 0, 2 and 3 hold integers, `|i| < 2^53`. A scale of 0 to 9 makes them values `i / 10^scale`, one of 10, 11, 12, 13
//! and 14 values `i * 2^k` with k = 9, 10, 12, 16 and 20 (sectors, kibibytes, pages), in binary64 arithmetic; a scale is
//! used only where that gives the exact bits. The lengths let a reader find one series without decoding the others.
//!
//! Version 1 had one stream for ids, tags, presence and lengths, firsts among the integers, and decimal scales alone. No
//! release wrote it. On recorded node_exporter series version 2 takes 18 % less at one scrape a block, 11 % at four, 10 %
//! at twenty.

mod column;
mod reader;
#[cfg(test)]
mod tests;

pub use reader::MetricReader;

use crate::bytes::{put_varint, put_zigzag};
use crate::frame::{self, Kind};
use crate::{DecodeError, EncodeError, Limits};
use skerry_model::{SeriesId, TimeRange, UnixMillis};

const KIND: Kind = Kind { magic: *b"SM", name: "metric", version: 2 };
/// Level 3: higher levels saved under 2 % on node metrics at several times the work.
const LEVEL: i32 = 3;
/// Bodies up to this size are few scrapes, which are sent often and packed once a minute: there 15 saves 2 % at four
/// scrapes and 4 % at one, for half a millisecond.
const SMALL_BYTES_MAX: usize = 6 << 10;
const LEVEL_SMALL: i32 = 15;

/// Scrapes and their series.
#[derive(Debug, Clone, Default)]
pub struct MetricBlock {
    /// When each scrape was taken, in order of arrival; may go backwards where the clock was set back.
    pub timestamps: Vec<UnixMillis>,
    /// Series in strictly rising order of ids.
    pub columns: Vec<Column>,
}

/// One series.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its id in the node's dictionary.
    pub series: SeriesId,
    /// One entry per timestamp; `None` where the scrape did not have the series.
    pub values: Vec<Option<f64>>,
}

/// Equality by bits, so that NaN payloads and negative zero count.
impl PartialEq for Column {
    fn eq(&self, other: &Self) -> bool {
        let bits = |c: &Self| c.values.iter().map(|v| v.map(f64::to_bits)).collect::<Vec<_>>();
        self.series == other.series && bits(self) == bits(other)
    }
}

impl PartialEq for MetricBlock {
    fn eq(&self, other: &Self) -> bool {
        self.timestamps == other.timestamps && self.columns == other.columns
    }
}

/// What a block's header says; nothing is decompressed for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricInfo {
    /// Scrapes.
    pub rows: usize,
    /// Series.
    pub series: usize,
    /// Values.
    pub samples: u64,
    /// Smallest and largest timestamp; `None` for a block without rows.
    pub range: Option<TimeRange>,
}

/// Reads the header of a block.
///
/// # Errors
/// [`DecodeError`] where the frame is damaged or a limit is exceeded.
pub fn info(bytes: &[u8], limits: &Limits) -> Result<MetricInfo, DecodeError> {
    Ok(reader::header(bytes, limits)?.0)
}

impl MetricBlock {
    /// Number of values.
    #[must_use]
    pub fn sample_count(&self) -> usize {
        self.columns.iter().map(|column| column.values.iter().flatten().count()).sum()
    }

    /// Smallest and largest timestamp.
    #[must_use]
    pub fn range(&self) -> Option<TimeRange> {
        let from = *self.timestamps.iter().min()?;
        let to = *self.timestamps.iter().max()?;
        Some(TimeRange { from, to })
    }

    /// The rows `from..to` alone; series without a value there are left out.
    ///
    /// # Panics
    /// If the range lies outside the block.
    #[must_use]
    pub fn slice(&self, from: usize, to: usize) -> Self {
        let cut = |column: &Column| Column { series: column.series, values: column.values[from..to].to_vec() };
        Self {
            timestamps: self.timestamps[from..to].to_vec(),
            columns: self.columns.iter().map(cut).filter(|c| c.values.iter().any(Option::is_some)).collect(),
        }
    }

    /// Writes the block.
    ///
    /// # Errors
    /// [`EncodeError`] where columns are ragged or out of order.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let rows = self.timestamps.len();
        let mut streams = column::Streams::default();
        let (mut previous, mut step) = (0i64, 0i64);
        for (at, timestamp) in self.timestamps.iter().enumerate() {
            let delta = timestamp.0.wrapping_sub(previous);
            put_zigzag(&mut streams.times, if at == 0 { timestamp.0 } else { delta.wrapping_sub(step) });
            step = if at == 0 { 0 } else { delta };
            previous = timestamp.0;
        }
        let mut last_id = None;
        for (at, column) in self.columns.iter().enumerate() {
            if column.values.len() != rows {
                return Err(EncodeError::Ragged { column: at, values: column.values.len(), rows });
            }
            if last_id.is_some_and(|last| last >= column.series.0) {
                return Err(EncodeError::Unsorted(at));
            }
            put_varint(&mut streams.ids, u64::from(column.series.0 - last_id.unwrap_or(0)));
            last_id = Some(column.series.0);
            streams.write(&column.values);
        }
        let mut header = Vec::new();
        for n in [rows as u64, self.columns.len() as u64, self.sample_count() as u64] {
            put_varint(&mut header, n);
        }
        let range = self.range().unwrap_or(TimeRange::at(UnixMillis(0)));
        put_zigzag(&mut header, range.from.0);
        put_zigzag(&mut header, range.to.0);
        let body = streams.join();
        let level = if body.len() <= SMALL_BYTES_MAX { LEVEL_SMALL } else { LEVEL };
        frame::seal(KIND, &header, &body, level)
    }

    /// Reads a whole block.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are no sound block or exceed `limits`.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let reader = MetricReader::open(bytes, limits)?;
        let cells = reader.timestamps().len().saturating_mul(reader.series_count());
        if cells > limits.cells_max {
            let (found, limit) = (cells as u64, limits.cells_max as u64);
            return Err(DecodeError::Limit { what: "number of cells", found, limit });
        }
        let columns = reader.columns().collect::<Result<Vec<_>, _>>()?;
        Ok(Self { timestamps: reader.timestamps().to_vec(), columns })
    }
}
