//! Formats in which programs and machines hand log records to the agent. Pure: bytes in, parts out.

pub mod event;
pub mod forward;
pub mod journal;
pub mod kmsg;
pub mod msgpack;
pub mod syslog;
