//! Block encodings of samples ([`metrics`]), log records ([`logs`]) and series dictionaries ([`dict`]).
//!
//! A block is written once on the node, stored, sent and kept at the centre as the same bytes: compressing happens once.
//! Each block stands alone: it can be decoded without any other block.
//!
//! # Frame
//! All three kinds share one frame:
//!
//! ```text
//! magic    2 bytes   "SM" metrics, "SL" logs, "SD" dictionary
//! version  1 byte    of the kind: 2 for metrics and logs, 1 for dictionaries
//! header   varints   of the kind, readable without decompressing
//! raw_len  varint    length of the body before compression
//! body     bytes     one zstd frame
//! crc      4 bytes   CRC-32 (IEEE) of everything before it, little-endian
//! ```
//!
//! `varint` is LEB128 of an unsigned 64-bit number; `zigzag` is a varint of `(n << 1) ^ (n >> 63)`.
//!
//! Invariants:
//! - Every value comes back exactly: all 2^64 bit patterns of a sample, every byte of a line.
//! - Decoding is bounded by [`Limits`] before anything is allocated; hostile bytes give an error, never a panic.
//! - Any single flipped bit is found by the CRC.

mod bytes;
pub mod dict;
mod error;
mod frame;
pub mod logs;
pub mod metrics;

pub use error::{DecodeError, EncodeError};
pub use frame::Unpacker;
pub use logs::{LogBlock, LogBuilder, LogInfo, LogReader};
pub use metrics::{Column, MetricBlock, MetricInfo, MetricReader};

/// What a reader takes. The defaults are generous at the centre; a node may ask for less.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most bytes of a body after decompression.
    pub raw_bytes_max: usize,
    /// Most scrapes in a metric block.
    pub rows_max: usize,
    /// Most series in a metric block or dictionary.
    pub series_max: usize,
    /// Most cells (rows times series) of a metric block decoded as a whole: constant series cost no bytes per row, so
    /// the body's length alone does not bound them.
    pub cells_max: usize,
    /// Most records in a log block.
    pub records_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            raw_bytes_max: 32 << 20,
            rows_max: 4096,
            series_max: 100_000,
            cells_max: 4_000_000,
            records_max: 1_000_000,
        }
    }
}
