//! Prometheus remote write, versions 1.0 and 2.0: the bodies of its requests, without the HTTP.
//!
//! A body is one snappy block (not the framed format) around one protobuf message: `prometheus.WriteRequest` in 1.0,
//! `io.prometheus.write.v2.Request` in 2.0. Only series with their labels and float samples are read and written;
//! exemplars and native histograms are counted, metadata is passed over.
//!
//! Sources: the specifications "Prometheus Remote-Write 1.0" and "2.0", and the snappy format description.
//!
//! Invariants:
//! - Nothing a peer sends makes these functions panic or allocate beyond [`Limits`]: lengths are checked before memory
//!   is taken, and series are handed on one by one in buffers that are used again.
//! - Values keep their bits, so stale markers go through as they are.

mod error;
mod message;
pub mod protobuf;
mod snappy;
mod v1;
mod v2;

pub use error::DecodeError;
pub use message::{Incoming, Limits, Protocol, Series, Totals, read, write};
pub use snappy::{pack, unpack};
