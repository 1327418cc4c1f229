//! What the fleet is told and decides: nodes, enrolment tokens, signed documents, and who did what. One small SQLite
//! file beside the data, with a thread of its own.
//!
//! The server holds no signing key. Documents are kept as the admins sealed them, after the same checks that a node
//! makes, so that a mistake is told to its author and not first to a thousand nodes.
//!
//! Invariants:
//! - What a call answered is durable (write-ahead log, synchronous FULL).
//! - A stored document's signatures held when it came in, and its revision is above every earlier one of its series.
//! - A token is used up in the transaction that takes in the node.
//! - Every change by an administrator leaves a row in the audit table.

mod documents;
mod nodes;
mod schema;
#[cfg(test)]
mod tests;
mod tokens;

pub use documents::{DocumentError, StoredDocument, Uploaded};
pub use nodes::{NodeRow, NodeState, Take, TakeError, Taken};
pub use tokens::{NewToken, TokenRow};

use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// Calls that wait for the thread; further callers wait.
const QUEUE_MAX: usize = 256;

/// Why the control file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It cannot be opened.
    #[error("open the control file {}; check the folder's owner and free space", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// It was written by a newer version.
    #[error("{} has format {found}, this version knows {known}; run the newer server", path.display())]
    TooNew {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
    /// A call failed.
    #[error("read or write the control file")]
    Database(#[from] rusqlite::Error),
    /// A row cannot be read: the file was changed by something else.
    #[error("the control file holds a {what} that cannot be read; restore it from a backup")]
    Damaged {
        /// What it is.
        what: &'static str,
    },
    /// The server stops.
    #[error("the control file is closed")]
    Closed,
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The control data; cheap to clone. The thread ends with the last clone.
#[derive(Clone)]
pub struct Control {
    jobs: mpsc::Sender<Job>,
}

/// The file's thread.
#[derive(Debug)]
pub struct ControlThread(JoinHandle<()>);

impl ControlThread {
    /// Waits for the thread's end. Blocks.
    pub fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("the control file's thread panicked");
        }
    }
}

impl Control {
    /// Opens the file, creating it where there is none.
    ///
    /// # Errors
    /// [`ControlError::Open`] or [`ControlError::TooNew`].
    pub fn open(path: &Path) -> Result<(Self, ControlThread), ControlError> {
        let mut connection = schema::open(path)?;
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE_MAX);
        let work = move || {
            while let Some(job) = queue.blocking_recv() {
                job(&mut connection);
            }
            if let Err(error) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
                tracing::warn!(%error, "the control file's log was not folded in; the next start does it");
            }
        };
        let thread = std::thread::Builder::new().name("fleet-control".into()).spawn(work).map_err(|error| {
            ControlError::Open { path: path.to_owned(), source: rusqlite::Error::ToSqlConversionFailure(error.into()) }
        })?;
        Ok((Self { jobs }, ControlThread(thread)))
    }

    /// Runs `work` in one transaction on the file's thread: committed if it returns `Ok`, else rolled back.
    async fn transact<T, E>(
        &self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<ControlError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let done = (|| {
                let transaction = connection.transaction().map_err(ControlError::from)?;
                let value = work(&transaction)?;
                transaction.commit().map_err(ControlError::from)?;
                Ok(value)
            })();
            // Nobody waits where a request was given up.
            let _ = reply.send(done);
        });
        self.jobs.send(job).await.map_err(|_| ControlError::Closed)?;
        answer.await.unwrap_or_else(|_| Err(ControlError::Closed.into()))
    }
}
