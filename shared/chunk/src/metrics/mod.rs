//! Metric blocks: scrapes as rows, series as columns.
//!
//! Timestamps are written once for all series. Most series of a node do not change from scrape to scrape, and most of
//! the others are whole numbers or decimals with few places; so every column is written in the plainest form that gives
//! back its exact bits, and like is put next to like for the compressor.
//!
//! ```text
//! header   rows varint, series varint, samples varint,
//!          first zigzag, last zigzag        smallest and largest timestamp, in ms; 0 and 0 where rows is 0
//! body     three lengths as varints, then four streams:
//!          directory | constants | integers | floats
//!
//! directory: timestamps   first zigzag; then difference of differences, zigzag each
//!            per series   id       varint   distance to the id before (the first: to 0)
//!                         tag      1 byte   bits 0-2 form, bit 3 gaps, bits 4-7 decimal exponent e (0 to 9)
//!                         present  ceil(rows/8) bytes, lowest bit first, only with bit 3
//!                         length   varint   bytes in the stream of its form
//! forms:     0 constant decimal   constants: i zigzag
//!            1 constant bits      constants: 8 bytes little-endian
//!            2 deltas             integers: i zigzag, then differences, zigzag each
//!            3 delta of deltas    integers: i zigzag, then differences of differences, zigzag each
//!            4 bits               floats: n values of 8 bytes, each XORed with the one before, written by byte
//!                                 position: the n lowest bytes first, the n highest last
//! ```
//! A decimal value is `i / 10^e` in binary64 arithmetic, `|i| < 2^53`; it is used only where that gives the exact bits.
//! The lengths in the directory let a reader find one series without decoding the others.

mod column;
mod reader;
#[cfg(test)]
mod tests;

pub use reader::MetricReader;

use crate::bytes::{put_varint, put_zigzag};
use crate::frame::{self, Kind};
use crate::{DecodeError, EncodeError, Limits};
use skerry_model::{SeriesId, TimeRange, UnixMillis};

const KIND: Kind = Kind { magic: *b"SM", name: "metric" };
/// Level 3: higher levels saved under 2 % on node metrics at several times the work.
const LEVEL: i32 = 3;

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
            put_zigzag(&mut streams.directory, if at == 0 { timestamp.0 } else { delta.wrapping_sub(step) });
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
            put_varint(&mut streams.directory, u64::from(column.series.0 - last_id.unwrap_or(0)));
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
        frame::seal(KIND, &header, &streams.join(), LEVEL)
    }

    /// Reads a whole block.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are no sound block or exceed `limits`.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let reader = MetricReader::open(bytes, limits)?;
        let cells = reader.timestamps().len().saturating_mul(reader.series().len());
        if cells > limits.cells_max {
            let (found, limit) = (cells as u64, limits.cells_max as u64);
            return Err(DecodeError::Limit { what: "number of cells", found, limit });
        }
        let columns = reader.columns().collect::<Result<Vec<_>, _>>()?;
        Ok(Self { timestamps: reader.timestamps().to_vec(), columns })
    }
}
