//! Puts a node's blocks of samples together by time, so that reading a series does not unpack a day's worth of all.
//!
//! Blocks arrive as they were sent: few scrapes of all series. Once two hours are over and quiet, their blocks become
//! chunks of many scrapes of some series each; once a day is over, its chunks become longer ones of fewer series. A
//! chunk is a metric block whose series ids are the node's label sets, so that epochs no longer matter in it.
//!
//! One step takes blocks of one node and one window, merges them on a reader's thread, and hands the writer one small
//! transaction: these blocks go, these chunks come. [`plan`] says which, [`merge`] makes the chunks, [`step`] does the
//! reading and writing.
//!
//! Invariants:
//! - A sample is in a block or in a chunk, never in both and never in neither, whenever the power fails.
//! - What was held of a stream is not touched: intake decides by it, and nothing comes in twice.
//! - A step is bounded: [`plan::SAMPLES_MAX`] samples in, 16 bytes of memory each, and about as much again.
//! - What cannot be read or named stays as it came, and reads say so.

pub(super) mod merge;
pub(super) mod plan;
pub(super) mod step;
#[cfg(test)]
mod tests;

use skerry_chunk::Limits;

/// Longest time that one chunk covers: a day, and what a block that began before it reaches back.
pub(super) const CHUNK_SPAN_MAX_MS: i64 = 2 * 86_400_000;

/// What is read back of blocks and chunks. A chunk may have more rows than a block, and fewer columns.
pub(super) const LIMITS: Limits = Limits {
    raw_bytes_max: 32 << 20,
    rows_max: 1 << 20,
    series_max: 100_000,
    cells_max: 4_000_000,
    records_max: 1_000_000,
};

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Whether there was something to do; there may be more.
    pub worked: bool,
    /// Blocks and chunks that went.
    pub from: u64,
    /// Chunks that came.
    pub to: u64,
    /// Samples in them.
    pub samples: u64,
}
