//! What node and fleet say to each other over MQTT, and how it is written.
//!
//! A node speaks below `skerry/v1/{node}/up` and listens below `skerry/v1/{node}/down`; each last topic level has
//! one message type. Messages are CBOR maps with text keys. The same bytes travel through the fleet's own endpoint,
//! an external broker, or a file on a stick.
//!
//! Invariants:
//! - [`codec`] is the only place in Skerry that calls `serde_cbor`. That crate is no longer maintained, so it reads
//!   nothing that has not passed the strict preflight, and a successor is a change to one file.
//! - Data is acknowledged by [`Ack`] alone. A PUBACK only moves the transport's own window.
//! - A number ([`skerry_model::Seq`]) of an epoch never stands for two different contents.
//! - Sealed documents (configs, trust) are carried as opaque bytes: nothing here looks inside them.

mod ack;
pub mod codec;
mod decision;
mod message;
mod query;
mod topic;

pub use ack::SeqSet;
pub use decision::{ScalingEvent, WorkloadEvent};
pub use message::{
    Ack, Acks, AlertEvent, Answer, AnswerPart, Ask, AskId, AskKind, Backlog, Batch, Body, ConfigState, Event,
    EventKind, Gone, Hello, HostFacts, LiveLine, PROTOCOL_VERSION, Status, StatusReport, StreamTip, Trust,
};
pub use query::{
    ASK_BYTES_MAX, ASKS_LOGS_VERSION, ASKS_SCALING_VERSION, ASKS_VERSION, Done, InvalidPoints, LogEntry,
    PIECE_BYTES_MAX, POINT_BYTES, Packed, Piece, Points, QueryAsk, Question, ResultKind, SCALING_TEXT_BYTES_MAX,
    ScalingAsk, Scope, SeriesPart, StreamPart, Unpackable,
};
pub use topic::{DownLeaf, InvalidTopic, Topic, UpLeaf};

/// Largest MQTT payload either side takes, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Longest line in a live view, in bytes; what is longer is cut.
pub const LIVE_LINE_BYTES_MAX: usize = 4096;
/// Most events in one batch.
pub const EVENTS_MAX: usize = 1024;
/// Most receivers that one [`AlertEvent`] names.
pub const TOLD_MAX: usize = 16;
/// Longest message of a [`ScalingEvent`] or [`WorkloadEvent`], in bytes.
pub const EVENT_TEXT_BYTES_MAX: usize = 4096;
/// Most selective ranges in one [`Ack`].
pub const ACK_RANGES_MAX: usize = 64;
