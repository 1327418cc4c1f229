//! Takes what Fluentd, Fluent Bit and Docker's fluentd driver send: the forward protocol, version 1, over TCP and unix
//! sockets.
//!
//! ```text
//! connection -> handshake, where there is a key -> frames -> chunks (known?) -> events -> records -> store
//!                                                                    ack <- committed <-+
//! ```
//!
//! A sender that asks for acknowledgements gives each chunk an id, and sends it again until it is acknowledged. Here the
//! acknowledgement leaves when the chunk's records are on the disk. The ids of the last [`chunks::DONE_MAX`] chunks are
//! committed with the records, and how far a long chunk has come with each part of it: so a chunk that comes again after
//! a crash of either side goes on where it ended, and every event stands once.
//!
//! Invariants:
//! - No acknowledgement before the commit.
//! - A peer's garbage, silence in the middle of a frame or false key costs its connection, with one warning.
//! - Frames above [`SMALL_BYTES`] are held in memory by [`LARGE_MAX`] connections at a time; others wait.

pub(super) mod chunks;
mod events;
mod task;
#[cfg(test)]
mod tests;

pub(super) use task::run;

/// Bytes of an unfinished frame that every connection may hold.
const SMALL_BYTES: usize = 64 << 10;
/// Connections that may hold a longer frame at a time.
const LARGE_MAX: usize = 2;

/// Key of the chunks of an input among the stored positions.
pub(super) fn key(name: &str) -> String {
    format!("forward/{name}")
}
