//! The node's store: one SQLite file, one thread that writes it.
//!
//! Scrapes, log records and events come in; batches with numbers go out until the fleet acknowledges them; what is
//! acknowledged stays as local history while there is room. A scrape is one number, a block of log records is one, a
//! committed list of events is one. Numbers begin at 1 in each epoch and have no gaps.
//!
//! - [`Writer`] is the store without thread and clock; it holds all decisions, most of them made by the pure modules
//!   `commit` (when), `retention` (what goes), `streams` (where everything is), `head`, `series` and `ledger`.
//! - [`Store`] is the handle that the agent uses, over bounded channels to the writer's thread.
//!
//! Invariants:
//! - Log records are committed in one transaction with the positions of the inputs they came from, so that after a
//!   crash each line is stored exactly once.
//! - Log blocks and events are sent after their commit only. Scrapes may be sent before; therefore samples begin a
//!   new epoch after an unclean stop, and a number never stands for two contents.
//! - What is not kept is booked in the same transaction: in the ledger, which also goes out as an event, and, where
//!   numbers are concerned, as gone, so that the fleet does not wait for them.
//! - A log record that ship policies keep here is committed with those that are shipped; see [`lanes`].
//! - Memory is bounded: waiting scrapes by 3 MiB; the queue of log inputs by 1 MiB in all, whatever their number (a
//!   larger one waits alone); log records in blocks as [`logbuf`] says; other queues by their length, SQLite's cache by
//!   512 KiB, the index by 72 bytes a block.
//!
//! What the disk refuses: the oldest data is evicted and the commit tried again. If that does not help, scrapes and
//! events wait in memory up to their bounds and are then dropped into the ledger, newest first; log inputs are made to
//! wait, since their files keep the lines. It is tried again after 5 s, and then ever more rarely, down to once a minute.
//! Events that wait, with the state that belongs to them, also lie where room was set aside: see [`held`].

mod age;
mod blocks;
mod commit;
mod config;
mod draft;
mod handle;
mod head;
mod held;
mod kept;
mod lanes;
mod ledger;
mod load;
mod logbuf;
mod open;
mod peek;
mod read;
mod retention;
mod schema;
mod search;
mod series;
mod shell;
mod ship;
mod stats;
mod streams;
mod transact;
mod wear;
mod writer;

#[cfg(test)]
mod tests;

pub use config::{Config, Policy, REFERENCE, Retention};
pub use handle::{Closed, CommitError, Opened, StateError, Store, open};
pub use head::Pace;
pub use kept::{Beside, ReleaseError};
pub use lanes::{LogBudget, LogPolicy, LogRule, Tag};
pub use load::{LoadError, LoadRequest};
pub use open::{OpenError, Restored};
pub use peek::peek;
pub use read::{ReadError, SeriesQuery};
pub use search::LogSource;
pub use ship::{Held, OnAlert, Rule, ShipPolicy};
pub use skerry_model::Now;
pub use stats::Stats;
pub use streams::Tip;
pub use transact::Change;
pub use writer::{WriteError, Writer};
