//! The fleet's data: what the nodes sent, in one SQLite file with one writer thread.
//!
//! The writer gathers what waits for it, decides on each batch with [`crate::intake::core`] inside one transaction,
//! commits (write-ahead log, synchronous FULL), and only then answers. Readers have connections of their own and see
//! whole commits. Blocks are kept as the nodes encoded them until [`compact`] puts them together by time; labels are kept
//! once, see [`index`], so that a series' epochs read as one.
//!
//! Invariants:
//! - A block and the numbers it covers are committed together or not at all.
//! - What is answered is durable.
//! - Retention drops blocks, never the knowledge that their numbers were held: nothing comes in twice because it was
//!   dropped here.
//! - Every table a node can fill has a bound.

mod alerts;
#[cfg(test)]
mod alerts_tests;
mod arrived;
mod compact;
mod config;
mod contact;
mod counts;
mod error;
mod events;
mod forwarding;
mod handle;
mod index;
mod ledger;
mod logs;
mod outgoing;
mod own;
mod queue;
mod ranges;
mod retention;
mod schema;
mod search;
mod seen;
mod senders;
mod series;
mod stats;
mod told;
mod writer;

#[cfg(test)]
mod forwarding_tests;
#[cfg(test)]
mod outgoing_tests;
#[cfg(test)]
mod tests;

pub use alerts::{AlertChange, AlertQuery, AlertRow};
pub use compact::Compacted;

pub use arrived::{Arrived, ArrivedBlock};
pub use config::Config;
pub use contact::{ContactRow, Contacts};
pub use counts::{Counts, Usage};
pub use error::{CompactError, OpenError, ReadError, StoreError};
pub use events::{EventRow, LossRow, QuarantineRow, event_kind};
pub use forwarding::{FoundBlock, LogWindow, Place, Start, WaitingBlock, not_forwarded};
pub use handle::{Store, WriterHandle, open};
pub use logs::{LogPosition, LogQuery, LogRow, LogRows};
pub use outgoing::{OutgoingBlock, Window, WindowMax, unsent};
pub use own::{OWN, is_own, shown};
pub use retention::Retained;
pub use search::LogSource;
pub use seen::SeenNode;
pub use senders::SenderState;
pub use series::{NewestOf, SAMPLES_MAX, Select, Selected, SeriesData};
pub use skerry_promql::{InvalidMatcher, MatchOp, Matcher};
pub use stats::StoreStats;
pub use told::{Told, ToldKind, ToldPlace, ToldQuery};
