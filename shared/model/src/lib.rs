//! Values that both ends of Skerry speak of: node ids, labels, samples, log records, time and sizes.
//!
//! Every other crate stands on this one and it stands on nothing but serde.
//!
//! Invariants:
//! - No I/O, no clock, no randomness: time arrives as a value.
//! - A value that exists is valid. Constructors parse; nothing re-checks a [`NodeId`] or [`Labels`] later.
//! - Every type that peers fill has a bound on its size, stated where it is parsed.

mod alert;
mod container;
mod id;
mod labels;
mod log;
mod loss;
mod quantity;
mod sample;
mod time;

pub use alert::{Alert, Fingerprint, InvalidFingerprint};
pub use container::{ContainerAddress, ContainerInfo, ContainerNetwork, ContainerPort};
pub use id::{Epoch, InvalidNodeId, InvalidStreamName, NodeId, Seq, SeriesId, StreamKind, StreamName};
pub use labels::{InvalidLabels, LABEL_BYTES_MAX, LABELS_MAX, Labels, LabelsBuilder};
pub use log::{Level, LogRecord, OutputStream, RecordRef, stream_labels};
pub use loss::{LossEntry, LossReason};
pub use quantity::{Bytes, InvalidQuantity, Span};
pub use sample::{Meta, MetricKind, MetricMeta, Observation, STALE_NAN_BITS, Sample, Scrape, is_stale, stale_nan};
pub use time::{Mono, Now, TimeRange, UnixMillis};
