//! The store's handle: commands for the writer thread, queries on reader connections.

use super::alerts::{self, AlertChange, AlertQuery, AlertRow};
use super::arrived::{self, Arrived};
use super::compact::Compacted;
use super::compact::step::{self, Look, Progress};
use super::config::Config;
use super::contact::{self, ContactRow, Contacts};
use super::counts::{self, Counts, Usage};
use super::error::{CompactError, OpenError, ReadError, StoreError};
use super::events::{self, EventRow, LossRow, QuarantineRow};
use super::forwarding::{self, LogWindow, Place, Start};
use super::logs::{self, LogQuery, LogRows};
use super::outgoing::{self, Change, Window, WindowMax};
use super::retention::{Retained, Tidied};
use super::schema;
use super::search::LogSource;
use super::seen::{self, SeenNode};
use super::senders::{self, SenderState};
use super::series::{self, NewestOf, Select, Selected};
use super::stats::StoreStats;
use super::told::{self, Told, ToldQuery};
use super::writer::{Command, Writer};
use crate::intake::core::Outcome;
use rusqlite::Connection;
use skerry_model::{Epoch, Labels, NodeId, Sample, SeriesId, StreamKind, UnixMillis};
use skerry_promql::Matcher;
use skerry_wire::{Ack, Batch, Hello, StatusReport};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

/// Commands that wait for the writer. When full, senders wait: the nodes' outboxes hold what does not fit.
const QUEUE_MAX: usize = 1024;
/// Queries that run at the same time; further ones wait.
const READERS_MAX: usize = 4;
/// Searches of logs among them: they may take long, and everything else goes on beside them.
const SEARCHES_MAX: usize = 2;

/// The data of the fleet; cheap to clone.
#[derive(Clone)]
pub struct Store {
    commands: mpsc::Sender<Command>,
    readers: Arc<Readers>,
    stats: Arc<StoreStats>,
    arrivals: watch::Receiver<u64>,
    compaction: Arc<Mutex<Progress>>,
}

/// The writer thread, which ends after [`Store::close`] or with the last [`Store`].
#[derive(Debug)]
pub struct WriterHandle(JoinHandle<()>);

impl WriterHandle {
    /// Waits for the thread's end. Blocks.
    pub fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("data file's writer thread panicked");
        }
    }
}

struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    searches: Arc<Semaphore>,
}

/// Opens the data file, creating it where there is none, and starts its writer thread.
///
/// # Errors
/// [`OpenError`] if the file cannot be used, is damaged, or was written by a newer version.
pub fn open(path: &Path, config: Config) -> Result<(Store, WriterHandle), OpenError> {
    let connection = schema::open_writer(path)?;
    let (commands, receiver) = mpsc::channel(QUEUE_MAX);
    let stats = Arc::new(StoreStats::default());
    let (arrivals, arrived) = watch::channel(0);
    let (stats_in, tidied) = (stats.clone(), Tidied::default());
    let writer = Writer { connection, config, commands: receiver, stats: stats_in, tidied, arrivals };
    let thread = std::thread::Builder::new()
        .name("fleet-data".into())
        .spawn(move || writer.run())
        .map_err(|source| OpenError::Thread { source })?;
    let readers = Readers {
        path: path.to_owned(),
        idle: Mutex::new(Vec::new()),
        permits: Arc::new(Semaphore::new(READERS_MAX)),
        searches: Arc::new(Semaphore::new(SEARCHES_MAX)),
    };
    let store = Store { commands, readers: Arc::new(readers), stats, arrivals: arrived, compaction: Arc::default() };
    Ok((store, WriterHandle(thread)))
}

impl Store {
    /// Queues a batch. The receiver gets the outcome once it is durable, in the order of the calls. Waits while the
    /// writer's queue is full.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn submit(
        &self,
        node: &NodeId,
        stream: StreamKind,
        batch: Batch,
        received: UnixMillis,
    ) -> Result<oneshot::Receiver<Result<Outcome, StoreError>>, StoreError> {
        let (reply, outcome) = oneshot::channel();
        let command = Command::Batch { node: node.clone(), stream, batch: Box::new(batch), received, reply };
        self.send(command).await.map(|()| outcome)
    }

    /// Takes a batch in and waits until it is durable.
    ///
    /// # Errors
    /// [`StoreError`]; nothing of the batch is durable then.
    pub async fn ingest(
        &self,
        node: &NodeId,
        stream: StreamKind,
        batch: Batch,
        received: UnixMillis,
    ) -> Result<Outcome, StoreError> {
        self.submit(node, stream, batch, received).await?.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Notes a hello, closes the epochs it does not name, and returns what is held of those it names, in its order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn greet(&self, node: &NodeId, hello: &Hello, at: UnixMillis) -> Result<Vec<Ack>, StoreError> {
        let (reply, acks) = oneshot::channel();
        self.send(Command::Hello { node: node.clone(), hello: Box::new(hello.clone()), at, reply }).await?;
        acks.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Notes that a node was heard, with its report where it sent one. Committed with what comes next; a failure is
    /// only logged, since the next report replaces this one.
    pub async fn note_seen(&self, node: &NodeId, status: Option<StatusReport>, at: UnixMillis) {
        let command = Command::Seen { node: node.clone(), status: status.map(Box::new), at };
        // Closed: the server stops, and nobody will ask.
        let _ = self.send(command).await;
    }

    /// Says which remote-write targets there are. A new one begins with what comes in from now on; one that is not
    /// named is forgotten.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_targets(&self, targets: Vec<String>) -> Result<(), StoreError> {
        self.change(Change::Targets(targets)).await
    }

    /// The next blocks that a target is to be sent, in the order in which they came in; empty where it has them all.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn window(&self, target: &str, max: WindowMax) -> Result<Window, ReadError> {
        let target = target.to_owned();
        self.read(move |connection| outgoing::window(connection, &target, max)).await
    }

    /// Notes that a target is now sent everything up to `through` in requests of at most `samples_max` samples, so
    /// that after a crash the very same requests are made again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begin_window(&self, target: &str, through: i64, samples_max: u64) -> Result<(), StoreError> {
        self.change(Change::Begin { target: target.to_owned(), through, samples_max }).await
    }

    /// Notes that a target has everything up to `through`, less what it refused for good.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn finish_window(
        &self,
        target: &str,
        through: i64,
        losses: Vec<(NodeId, LossRow)>,
    ) -> Result<(), StoreError> {
        self.change(Change::Finish { target: target.to_owned(), through, losses }).await
    }

    /// Books losses of nodes, those of one cause within a minute in one entry.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn book_losses(&self, losses: Vec<(NodeId, LossRow)>) -> Result<(), StoreError> {
        self.change(Change::Losses(losses)).await
    }

    /// Closes all epochs of a sender's samples but `kept`: nothing more comes in under them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn close_epochs_but(&self, sender: &NodeId, kept: Epoch) -> Result<(), StoreError> {
        self.change(Change::CloseEpochsBut { node: sender.clone(), kept }).await
    }

    async fn change(&self, change: Change) -> Result<(), StoreError> {
        let (reply, done) = oneshot::channel();
        self.send(Command::Remote { change, reply }).await?;
        done.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Says which forward targets there are. A new one begins where it says; one that is not named is forgotten.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_forward_targets(&self, targets: Vec<(String, Start)>) -> Result<(), StoreError> {
        self.forward(forwarding::Change::Targets(targets)).await
    }

    /// The next blocks that a forward target is to be sent, behind number `after` of the queue where that is given, in
    /// the order in which they came in: as many as hold `bytes_max`, one at least; empty where it has them all.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn log_window(&self, target: &str, after: Option<i64>, bytes_max: usize) -> Result<LogWindow, ReadError> {
        let target = target.to_owned();
        self.read(move |connection| forwarding::window(connection, &target, after, bytes_max)).await
    }

    /// Notes what a forward target has, less what it refused for good, and the sender's own state where it changed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn advance(
        &self,
        target: &str,
        place: Place,
        state: Option<String>,
        losses: Vec<(NodeId, LossRow)>,
    ) -> Result<(), StoreError> {
        self.forward(forwarding::Change::Advance { target: target.to_owned(), place, state, losses }).await
    }

    async fn forward(&self, change: forwarding::Change) -> Result<(), StoreError> {
        let (reply, done) = oneshot::channel();
        self.send(Command::Forward { change, reply }).await?;
        done.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Makes changes to alerts and to what their routing saves, all or none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn change_alerts(&self, changes: Vec<AlertChange>, now: UnixMillis) -> Result<(), StoreError> {
        let (reply, done) = oneshot::channel();
        self.send(Command::Alerts { changes, now, reply }).await?;
        done.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Alerts that changed after number `after`, in the order of their changes, at most `limit`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn alerts_changed(&self, after: i64, limit: u32) -> Result<Vec<AlertRow>, ReadError> {
        self.read(move |connection| alerts::changed(connection, after, limit)).await
    }

    /// Episodes of alerts, newest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn alerts(&self, query: AlertQuery) -> Result<Vec<AlertRow>, ReadError> {
        self.read(move |connection| alerts::rows(connection, &query)).await
    }

    /// What the routing of alerts saved, by key.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn alert_state(&self) -> Result<Vec<(String, Vec<u8>)>, ReadError> {
        self.read(alerts::saved).await
    }

    /// Notes that the server runs at `alive`, and what was learnt of when nodes are heard.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_contacts(&self, alive: UnixMillis, rows: Vec<ContactRow>) -> Result<(), StoreError> {
        let (reply, done) = oneshot::channel();
        self.send(Command::Contacts { alive, rows, reply }).await?;
        done.await.unwrap_or(Err(StoreError::Closed))
    }

    /// What was learnt of when nodes are heard, and when this server ran last.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn contacts(&self) -> Result<Contacts, ReadError> {
        self.read(contact::all).await
    }

    /// Blocks of samples that came in after number `after`, as many as hold about `bytes_max`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn arrived(&self, after: i64, bytes_max: usize) -> Result<Arrived, ReadError> {
        self.read(move |connection| arrived::after(connection, after, bytes_max)).await
    }

    /// Series of a stream with ids above `after`, by rising id, with the labels that the node gave them.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn stream_series(
        &self,
        stream: i64,
        after: Option<SeriesId>,
    ) -> Result<Vec<(SeriesId, Labels)>, ReadError> {
        self.read(move |connection| arrived::series(connection, stream, after)).await
    }

    /// Changes with every commit that brought something of a node.
    #[must_use]
    pub fn arrivals(&self) -> watch::Receiver<u64> {
        self.arrivals.clone()
    }

    /// Labels of series, by the number of their stream and their id; absent where they are not held.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn series_labels(&self, wanted: Vec<(i64, SeriesId)>) -> Result<Vec<Option<Labels>>, ReadError> {
        self.read(move |connection| outgoing::labels(connection, &wanted)).await
    }

    /// Where the samples of a remote-write sender stand.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn sender_state(&self, sender: &NodeId, now: UnixMillis) -> Result<Option<SenderState>, ReadError> {
        let sender = sender.clone();
        self.read(move |connection| senders::state(connection, &sender, now)).await
    }

    /// Drops what is too old or too much by `now`. To be called about every minute.
    ///
    /// # Errors
    /// [`StoreError`]; what was dropped before the failure stays dropped.
    pub async fn retain(&self, now: UnixMillis) -> Result<Retained, StoreError> {
        let (reply, retained) = oneshot::channel();
        self.send(Command::Retain { now, reply }).await?;
        retained.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Takes one step of putting blocks together that are over by `now`; there may be more to do where it worked. To
    /// be called until it does not, about every minute.
    ///
    /// # Errors
    /// [`CompactError`]; the blocks are as they were.
    pub async fn compact(&self, now: UnixMillis) -> Result<Compacted, CompactError> {
        loop {
            let progress = self.compaction.clone();
            let look = move |connection: &Connection| {
                // A step that panicked has left nothing in it that could be wrong.
                let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
                step::prepare(connection, &mut progress, now)
            };
            match self.read(look).await? {
                Look::Further => {}
                Look::Done => return Ok(Compacted::default()),
                Look::Work(swap) => {
                    let (reply, done) = oneshot::channel();
                    self.send(Command::Swap { swap, reply }).await?;
                    return Ok(done.await.unwrap_or(Err(StoreError::Closed))?);
                }
            }
        }
    }

    /// Commits what is queued, folds the write-ahead log into the file and ends the writer. Later calls fail.
    pub async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.send(Command::Close { reply }).await.is_ok() {
            // Without an answer the writer is gone already.
            let _ = closed.await;
        }
    }

    /// What the writer has done since it started.
    #[must_use]
    pub fn stats(&self) -> &StoreStats {
        &self.stats
    }

    /// Series and their samples.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn select(&self, query: Select) -> Result<Selected, ReadError> {
        self.read(move |connection| series::select(connection, &query)).await
    }

    /// Label sets of the series that meet `matchers`, with the label `node`, whenever they had samples.
    ///
    /// # Errors
    /// [`ReadError`]; where there are more than `limit`, too.
    pub async fn label_sets(&self, matchers: Vec<Matcher>, limit: usize) -> Result<Vec<(NodeId, Labels)>, ReadError> {
        self.read(move |connection| series::label_sets(connection, &matchers, limit)).await
    }

    /// The newest value of every series that a node measured within five minutes of its newest block, at most `limit`,
    /// sorted by labels. What bears a time beyond `now` counts only where there is nothing else.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn newest(
        &self,
        node: &NodeId,
        now: UnixMillis,
        limit: usize,
    ) -> Result<Vec<(Labels, Sample)>, ReadError> {
        let node = node.clone();
        self.read(move |connection| series::newest(connection, &node, now, limit)).await
    }

    /// The newest log records that meet a query, oldest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn logs(&self, query: LogQuery) -> Result<LogRows, ReadError> {
        self.read(move |connection| logs::logs(connection, &query)).await
    }

    /// Lets `work` query the logs of all nodes. `signed` says what the admins signed for a node.
    ///
    /// # Errors
    /// [`ReadError`], where `work` cannot even begin.
    pub async fn search<T: Send + 'static>(
        &self,
        signed: impl Fn(&NodeId) -> Labels + Send + 'static,
        work: impl FnOnce(&LogSource<'_>) -> T + Send + 'static,
    ) -> Result<T, ReadError> {
        let turn = self.readers.searches.clone().acquire_owned().await.map_err(|_| ReadError::Aborted)?;
        let search = move |connection: &Connection| {
            // Whoever asked may go away; the turn lasts until the work is done all the same.
            let _turn = turn;
            LogSource::new(connection, signed).map(|source| work(&source))
        };
        self.read(search).await
    }

    /// The newest `limit` events of a node, or of all nodes, newest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn events(&self, node: Option<&NodeId>, limit: u32) -> Result<Vec<EventRow>, ReadError> {
        let node = node.cloned();
        self.read(move |connection| events::newest(connection, node.as_ref(), limit)).await
    }

    /// What nodes told of their scaling or of their workloads, newest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn told(&self, query: ToldQuery) -> Result<Told, ReadError> {
        self.read(move |connection| told::newest(connection, &query)).await
    }

    /// The newest samples of these metrics of these nodes, each within five minutes of what its node measured last; see
    /// [`Self::newest`]. Nodes that never sent one are left out.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn newest_named(
        &self,
        nodes: Vec<NodeId>,
        metrics: Vec<String>,
        now: UnixMillis,
    ) -> Result<Vec<NewestOf>, ReadError> {
        self.read(move |connection| series::newest_named(connection, &nodes, &metrics, now)).await
    }

    /// The newest `limit` entries of a node's loss ledger, newest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn losses(&self, node: &NodeId, limit: u32) -> Result<Vec<LossRow>, ReadError> {
        let node = node.clone();
        self.read(move |connection| events::losses(connection, &node, limit)).await
    }

    /// The newest `limit` quarantined batches, newest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn quarantine(&self, limit: u32) -> Result<Vec<QuarantineRow>, ReadError> {
        self.read(move |connection| events::quarantine(connection, limit)).await
    }

    /// What each node ever sent.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn counts(&self) -> Result<BTreeMap<NodeId, Counts>, ReadError> {
        self.read(|connection| counts::all(connection).map_err(Into::into)).await
    }

    /// Rows and bytes of content: blocks of samples, and of log records.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn usage(&self) -> Result<(Usage, Usage), ReadError> {
        self.read(|connection| {
            let (blocks, chunks) =
                (counts::usage(connection, "metric_block")?, counts::usage(connection, "metric_chunk")?);
            let metrics = Usage { rows: blocks.rows + chunks.rows, bytes: blocks.bytes + chunks.bytes };
            Ok((metrics, counts::usage(connection, "log_block")?))
        })
        .await
    }

    /// Last words of every node that was ever heard.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn seen(&self) -> Result<Vec<SeenNode>, ReadError> {
        self.read(seen::all).await
    }

    async fn send(&self, command: Command) -> Result<(), StoreError> {
        self.commands.send(command).await.map_err(|_| StoreError::Closed)
    }

    /// Runs a query on a reader of its own, off the async threads.
    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let permit = self.readers.permits.clone().acquire_owned().await.map_err(|_| ReadError::Aborted)?;
        let readers = self.readers.clone();
        let work = move || {
            let _permit = permit;
            let idle = readers.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match idle {
                Some(connection) => connection,
                None => schema::open_reader(&readers.path)?,
            };
            // One read transaction, so that the parts of a query see the same commit. A query leaves nothing else
            // behind, so its connection serves the next one.
            let snapshot = connection.unchecked_transaction()?;
            let answer = query(&snapshot);
            drop(snapshot);
            readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            answer
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| ReadError::Aborted)?
    }
}
