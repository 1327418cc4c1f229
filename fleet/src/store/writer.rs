//! The writer thread: gathers what waits, commits it in one transaction, then answers.

use super::alerts::{self, AlertChange};
use super::compact::Compacted;
use super::compact::step::Swap;
use super::config::Config;
use super::contact::{self, ContactRow};
use super::error::StoreError;
use super::forwarding;
use super::ledger::{SqlLedger, node_id};
use super::outgoing::{self, Change};
use super::retention::{self, Retained, Tidied};
use super::seen;
use super::stats::StoreStats;
use crate::intake::core::{self, Outcome};
use rusqlite::{Connection, TransactionBehavior};
use skerry_model::{NodeId, StreamKind, UnixMillis};
use skerry_wire::{Ack, Batch, Body, Hello, StatusReport};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// Most commands in one transaction.
const GROUP_MAX: usize = 256;
/// Bytes of batches at which a transaction takes no further ones.
const GROUP_BYTES: usize = 8 << 20;

/// What the writer is asked to do.
pub(super) enum Command {
    Batch {
        node: NodeId,
        stream: StreamKind,
        batch: Box<Batch>,
        received: UnixMillis,
        reply: oneshot::Sender<Result<Outcome, StoreError>>,
    },
    Hello {
        node: NodeId,
        hello: Box<Hello>,
        at: UnixMillis,
        reply: oneshot::Sender<Result<Vec<Ack>, StoreError>>,
    },
    Seen {
        node: NodeId,
        status: Option<Box<StatusReport>>,
        at: UnixMillis,
    },
    Remote {
        change: Change,
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
    Forward {
        change: forwarding::Change,
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
    Alerts {
        changes: Vec<AlertChange>,
        now: UnixMillis,
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
    Contacts {
        alive: UnixMillis,
        rows: Vec<ContactRow>,
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
    Retain {
        now: UnixMillis,
        reply: oneshot::Sender<Result<Retained, StoreError>>,
    },
    Swap {
        swap: Box<Swap>,
        reply: oneshot::Sender<Result<Compacted, StoreError>>,
    },
    Close {
        reply: oneshot::Sender<()>,
    },
}

impl Command {
    fn bytes(&self) -> usize {
        match self {
            Self::Batch { batch, .. } => match &batch.body {
                Body::Block(bytes) => bytes.len() + batch.dict.len(),
                Body::Gone(_) => 0,
            },
            _ => 0,
        }
    }

    /// Whether it has to run in transactions of its own.
    fn is_alone(&self) -> bool {
        matches!(self, Self::Retain { .. } | Self::Swap { .. } | Self::Close { .. })
    }
}

/// What a command brought, kept back until its transaction is committed.
enum Answer {
    Outcome(Outcome),
    Acks(Vec<Ack>),
    Nothing,
}

/// Owns the connection that writes.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) config: Config,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) stats: Arc<StoreStats>,
    pub(super) tidied: Tidied,
    /// Counts the commits that brought something of a node.
    pub(super) arrivals: watch::Sender<u64>,
}

impl Writer {
    /// Works until the store is closed or every handle is gone.
    pub(super) fn run(mut self) {
        let mut held: Option<Command> = None;
        loop {
            let Some(first) = held.take().or_else(|| self.commands.blocking_recv()) else { return };
            match first {
                Command::Retain { now, reply } => {
                    let _ = reply.send(self.retain(now));
                }
                Command::Swap { swap, reply } => {
                    let _ = reply.send(self.swap(&swap));
                }
                Command::Close { reply } => {
                    self.close();
                    let _ = reply.send(());
                    return;
                }
                first => {
                    let (group, next) = self.gather(first);
                    held = next;
                    self.commit(group);
                }
            }
        }
    }

    /// The command and all that wait behind it, up to the bounds or to one that runs alone.
    fn gather(&mut self, first: Command) -> (Vec<Command>, Option<Command>) {
        let mut bytes = first.bytes();
        let mut group = vec![first];
        while group.len() < GROUP_MAX && bytes < GROUP_BYTES {
            match self.commands.try_recv() {
                Ok(command) if command.is_alone() => return (group, Some(command)),
                Ok(command) => {
                    bytes += command.bytes();
                    group.push(command);
                }
                Err(_) => break,
            }
        }
        (group, None)
    }

    /// Commits a group and answers. Where a command is to blame each is tried by itself, so that one that cannot be
    /// committed does not hold up the others.
    fn commit(&mut self, group: Vec<Command>) {
        match self.transact(&group) {
            Ok(answers) => {
                if group.iter().any(|command| matches!(command, Command::Batch { .. })) {
                    self.arrivals.send_modify(|commits| *commits = commits.wrapping_add(1));
                }
                group.into_iter().zip(answers).for_each(|(command, answer)| reply(command, Ok(answer)));
            }
            Err(error) if group.len() == 1 || !blames_a_command(&error) => {
                let error = StoreError::Commit { cause: error.to_string() };
                group.into_iter().for_each(|command| reply(command, Err(error.clone())));
            }
            Err(_) => group.into_iter().for_each(|command| self.commit(vec![command])),
        }
    }

    fn transact(&mut self, group: &[Command]) -> rusqlite::Result<Vec<Answer>> {
        let start = Instant::now();
        let result = self.attempt(group);
        let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        match &result {
            Ok(_) => {
                self.stats.commits.fetch_add(1, Ordering::Relaxed);
                self.stats.commands.fetch_add(group.len() as u64, Ordering::Relaxed);
                self.stats.commit_micros.fetch_add(micros, Ordering::Relaxed);
                if self.stats.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("data file takes commits again");
                }
            }
            Err(error) => {
                self.stats.failures.fetch_add(1, Ordering::Relaxed);
                // Logged once, not per batch.
                if !self.stats.failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "data file takes no commits; nodes keep their data and send it again");
                }
            }
        }
        result
    }

    fn attempt(&mut self, group: &[Command]) -> rusqlite::Result<Vec<Answer>> {
        // Dropped without a commit it rolls back.
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let answers = group.iter().map(|command| apply(&transaction, command)).collect::<rusqlite::Result<_>>()?;
        transaction.commit()?;
        Ok(answers)
    }

    fn retain(&mut self, now: UnixMillis) -> Result<Retained, StoreError> {
        let run = retention::retain(&mut self.connection, &self.config, now, &mut self.tidied)
            .and_then(|retained| Ok((retained, retention::used_bytes(&self.connection)?)));
        let (retained, used) = run.map_err(|error| StoreError::Commit { cause: error.to_string() })?;
        self.stats.dropped_samples.fetch_add(retained.samples, Ordering::Relaxed);
        self.stats.dropped_log_lines.fetch_add(retained.log_lines, Ordering::Relaxed);
        self.stats.used_bytes.store(u64::try_from(used).unwrap_or(0), Ordering::Relaxed);
        Ok(retained)
    }

    fn swap(&mut self, swap: &Swap) -> Result<Compacted, StoreError> {
        let done = swap.apply(&mut self.connection).map_err(|error| StoreError::Commit { cause: error.to_string() })?;
        if !done {
            return Ok(Compacted { worked: true, ..Compacted::default() });
        }
        let outcome = swap.outcome();
        self.stats.compacted_blocks.fetch_add(outcome.from, Ordering::Relaxed);
        self.stats.compacted_samples.fetch_add(outcome.samples, Ordering::Relaxed);
        Ok(outcome)
    }

    /// Commits what is still queued and folds the write-ahead log into the file.
    fn close(&mut self) {
        self.commands.close();
        while let Some(command) = self.commands.blocking_recv() {
            match command {
                Command::Retain { reply, .. } => {
                    let _ = reply.send(Err(StoreError::Closed));
                }
                Command::Swap { reply, .. } => {
                    let _ = reply.send(Err(StoreError::Closed));
                }
                Command::Close { reply } => {
                    let _ = reply.send(());
                }
                command => self.commit(vec![command]),
            }
        }
        let fold = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = fold {
            tracing::warn!(%error, "data file's write-ahead log stays; the next start reads it");
        }
    }
}

fn apply(connection: &Connection, command: &Command) -> rusqlite::Result<Answer> {
    match command {
        Command::Batch { node, stream, batch, received, .. } => {
            core::take_in(&mut SqlLedger::new(connection), node, *stream, batch, *received).map(Answer::Outcome)
        }
        Command::Hello { node, hello, at, .. } => greet(connection, node, hello, *at).map(Answer::Acks),
        Command::Seen { node, status, at } => {
            let id = node_id(connection, node)?;
            seen::note(connection, id, *at, None, status.as_deref()).map(|()| Answer::Nothing)
        }
        Command::Remote { change, .. } => outgoing::apply(connection, change).map(|()| Answer::Nothing),
        Command::Forward { change, .. } => forwarding::apply(connection, change).map(|()| Answer::Nothing),
        Command::Alerts { changes, now, .. } => alerts::apply(connection, changes, *now).map(|()| Answer::Nothing),
        Command::Contacts { alive, rows, .. } => contact::note(connection, *alive, rows).map(|()| Answer::Nothing),
        Command::Retain { .. } | Command::Swap { .. } | Command::Close { .. } => Ok(Answer::Nothing),
    }
}

/// Whether another command might fare better: not if the disk, the file or another process is in the way.
fn blames_a_command(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode as Code;
    !matches!(
        error.sqlite_error_code(),
        Some(
            Code::DatabaseBusy
                | Code::DatabaseLocked
                | Code::DiskFull
                | Code::SystemIoFailure
                | Code::ReadOnly
                | Code::CannotOpen
                | Code::OutOfMemory
        )
    )
}

/// Closes the epochs that the hello does not name, and says what is held of those it names.
fn greet(connection: &Connection, node: &NodeId, hello: &Hello, at: UnixMillis) -> rusqlite::Result<Vec<Ack>> {
    let id = node_id(connection, node)?;
    seen::note(connection, id, at, Some(hello), None)?;
    let named: Vec<(StreamKind, i64)> = hello
        .streams
        .iter()
        .filter_map(|tip| i64::try_from(tip.epoch.0).ok().map(|epoch| (tip.stream, epoch)))
        .collect();
    let mut ledger = SqlLedger::new(connection);
    ledger.close_others(id, &named)?;
    core::held(&mut ledger, node, &hello.streams)
}

/// Answers one command. Whoever asked may have gone meanwhile; the commit stands all the same.
fn reply(command: Command, result: Result<Answer, StoreError>) {
    match (command, result) {
        (Command::Batch { reply, .. }, Ok(Answer::Outcome(outcome))) => drop(reply.send(Ok(outcome))),
        (Command::Batch { reply, .. }, Err(error)) => drop(reply.send(Err(error))),
        (Command::Hello { reply, .. }, Ok(Answer::Acks(acks))) => drop(reply.send(Ok(acks))),
        (Command::Hello { reply, .. }, Err(error)) => drop(reply.send(Err(error))),
        (
            Command::Remote { reply, .. }
            | Command::Forward { reply, .. }
            | Command::Alerts { reply, .. }
            | Command::Contacts { reply, .. },
            result,
        ) => drop(reply.send(result.map(drop))),
        _ => {}
    }
}
