//! Takes syslog messages: datagrams over UDP and unix sockets, streams over TCP and unix sockets.
//!
//! A stream waits while the store has no room, and its sender with it. Senders of datagrams cannot wait (or, at a unix
//! socket, would stop every program of the machine with them), so datagrams wait in a queue of [`QUEUE_BYTES_MAX`]; the
//! oldest go when it is full, counted and in the loss ledger, as what the kernel dropped before.
//!
//! Invariants:
//! - Every message becomes a record; what is not understood is its text.
//! - A connection holds at most a message and a read; `CONNECTIONS_MAX` (64) are served at a time.

mod task;
#[cfg(test)]
mod tests;

pub(super) use task::run;

/// Bytes of datagrams that wait in memory.
pub(super) const QUEUE_BYTES_MAX: usize = 1 << 20;
