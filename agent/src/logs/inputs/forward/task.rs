//! The async shell of the forward inputs: connections, handshakes, acknowledgements.

use super::chunks::{ChunkId, Chunks, Known};
use super::events::{Joiner, spoilt};
use super::{LARGE_MAX, SMALL_BYTES, key};
use crate::data::PositionUpdate;
use crate::logs::inputs::config::{Forward, Listen};
use crate::logs::inputs::listen::{Conn, Listener, serve_all};
use crate::logs::inputs::source::{GATHER, LAST_READS, LAST_WAIT, Source, StoreEnded};
use crate::logs::inputs::stats::Count;
use crate::logs::intake::Batch;
use ring::digest;
use skerry_logs::wire::forward::{self, Frame, Ping};
use skerry_logs::wire::msgpack::Scanner;
use skerry_model::LossReason;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// Rights of the unix socket: its owner and group may write.
const MODE: u32 = 0o660;
/// Bytes of one read.
const READ_BYTES: usize = 32 << 10;
/// Longest PING.
const PING_BYTES_MAX: usize = 4096;
/// Longest time that a handshake, the rest of a frame, or the taking of an acknowledgement may last.
const HANDSHAKE_MAX: Duration = Duration::from_secs(15);
const PARTIAL_MAX: Duration = Duration::from_secs(60);
const WRITE_MAX: Duration = Duration::from_secs(30);
/// Chunks of one connection that wait for their commit at a time.
const WINDOW_MAX: usize = 16;
/// How long the last acknowledgements are waited for at the end.
const LAST_ACKS_MAX: Duration = Duration::from_secs(3);

/// What the connections of one input share.
struct Shared {
    source: Source,
    /// The same for records whose sender does not ask for acknowledgements.
    unasked: Source,
    chunks: Mutex<Chunks>,
    large: Arc<Semaphore>,
    shared_key: Option<String>,
    /// What the server calls itself; not the machine's name, which a sender on it uses and then refuses here.
    host: String,
    frame_bytes_max: usize,
}

/// Why a connection was closed from this side.
#[derive(Debug, thiserror::Error)]
enum Closed {
    #[error(transparent)]
    Store(#[from] StoreEnded),
    #[error("it failed: {0}")]
    Io(#[from] io::Error),
    #[error("what came is no message of the forward protocol: {0}")]
    Frame(#[from] forward::Fault),
    #[error(
        "what came is no message of the forward protocol, or one too long ({0}); for long chunks raise frame_bytes_max or lower the sender's chunk size"
    )]
    Scan(#[from] skerry_logs::wire::msgpack::Fault),
    #[error("the peer does not know the shared key")]
    Key,
    #[error("the peer did not answer the handshake within {} s", HANDSHAKE_MAX.as_secs())]
    Handshake,
    #[error("a message did not become whole within {} s", PARTIAL_MAX.as_secs())]
    Partial,
    #[error("the peer did not take its acknowledgements within {} s", WRITE_MAX.as_secs())]
    Write,
    #[error("its chunk is being taken from another connection; it may send it again")]
    Busy,
}

impl Closed {
    /// Why records may be missing that came this way. Nobody knows how many were in what cannot be read, nor whether the
    /// sender will bring them again.
    fn loss(&self) -> Option<LossReason> {
        match self {
            Self::Frame(_) | Self::Scan(_) | Self::Partial => Some(LossReason::Parse),
            Self::Store(_) | Self::Io(_) | Self::Key | Self::Handshake | Self::Write | Self::Busy => None,
        }
    }
}

/// Serves one input until `stop`. `state`: its stored chunks.
///
/// # Errors
/// [`StoreEnded`].
pub(in crate::logs::inputs) async fn run(
    config: Forward,
    source: Source,
    state: Option<Vec<u8>>,
    stop: CancellationToken,
) -> Result<(), StoreEnded> {
    let Some(listener) = Listener::open(&config.listen, MODE, &source, &stop).await else { return Ok(()) };
    let shared = Arc::new(Shared {
        unasked: source.clone().marked(),
        chunks: Mutex::new(state.map(|state| Chunks::decode(&state)).unwrap_or_default()),
        large: Arc::new(Semaphore::new(LARGE_MAX)),
        shared_key: config.shared_key,
        host: format!("skerry@{}", rustix::system::uname().nodename().to_string_lossy()),
        frame_bytes_max: config.frame_bytes_max,
        source,
    });
    serve_all(&listener, &shared.source, &stop, |conn, peer| serve(conn, peer, shared.clone(), stop.clone())).await?;
    if let Listen::UnixStream(path) = &config.listen {
        // The next run makes it anew; where it is gone already, so much the better.
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

/// Serves a connection to its end, and says why where this side ended it.
async fn serve(conn: Conn, peer: String, shared: Arc<Shared>, stop: CancellationToken) -> Result<(), StoreEnded> {
    let source = shared.source.clone();
    let mut session = Session {
        conn,
        peer,
        shared,
        buffer: Vec::new(),
        scanner: Scanner::default(),
        large: None,
        joiner: Joiner::default(),
        batch: Batch::default(),
        promised: VecDeque::new(),
    };
    let outcome = session.run(&stop).await;
    let last = session.end().await;
    match outcome.and(last) {
        Ok(()) => Ok(()),
        Err(Closed::Store(ended)) => Err(ended),
        Err(why) => {
            source.stats.add(Count::Faults, 1);
            tracing::warn!(source = &*source.name, peer = session.peer, %why, "a connection of a forward sender was closed");
            // Closed before the ledger has it: the peer is not to wait for a store that is busy.
            drop(session.conn);
            let Some(reason) = why.loss() else { return Ok(()) };
            let mut batch = Batch::default();
            source.lose(reason, None, &mut batch);
            source.send_bare(&mut batch, Vec::new()).await
        }
    }
}

/// A connection.
struct Session {
    conn: Conn,
    peer: String,
    shared: Arc<Shared>,
    /// What came and was not used.
    buffer: Vec<u8>,
    scanner: Scanner,
    large: Option<OwnedSemaphorePermit>,
    joiner: Joiner,
    /// Records of senders that do not ask for acknowledgements.
    batch: Batch,
    /// Acknowledgements that leave when their promise is kept, in this order.
    promised: VecDeque<(oneshot::Receiver<()>, Vec<u8>)>,
}

impl Session {
    async fn run(&mut self, stop: &CancellationToken) -> Result<(), Closed> {
        if self.shared.shared_key.is_some() {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                done = timeout(HANDSHAKE_MAX, self.handshake()) => done.map_err(|_| Closed::Handshake)??,
            }
        }
        let mut due: Option<Instant> = None;
        let mut partial_since = Instant::now();
        let mut reads_left = LAST_READS;
        loop {
            if !stop.is_cancelled() {
                let wake = due.unwrap_or(partial_since + PARTIAL_MAX);
                let waits = !self.buffer.is_empty() && self.promised.len() < WINDOW_MAX;
                tokio::select! {
                    readable = self.conn.readable(), if self.promised.len() < WINDOW_MAX => readable?,
                    kept = first(&mut self.promised) => {
                        self.acknowledge(kept).await?;
                        // While the window was full nothing was read, and that was not the peer's fault.
                        partial_since = Instant::now();
                        continue;
                    }
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep_until(wake), if due.is_some() || waits => {
                        if due.take().is_none() {
                            return Err(Closed::Partial);
                        }
                        self.shared.unasked.send(&mut self.batch, Vec::new()).await?;
                        continue;
                    }
                }
            } else if reads_left == 0 {
                return Ok(());
            } else {
                // What came before the end was sent, as far as the sender knows.
                reads_left -= 1;
                let Ok(readable) = timeout(LAST_WAIT, self.conn.readable()).await else { return Ok(()) };
                readable?;
            }
            if self.buffer.len() >= SMALL_BYTES && self.large.is_none() {
                let large = self.shared.large.clone();
                // The semaphore is never closed.
                self.large = timeout(PARTIAL_MAX, large.acquire_owned()).await.map_err(|_| Closed::Partial)?.ok();
            }
            let had = self.buffer.len();
            match self.conn.try_read(&mut self.buffer, READ_BYTES) {
                Ok(0) => return Ok(()),
                Ok(_) if had == 0 => partial_since = Instant::now(),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            }
            let mut used = 0;
            while let Some(length) = self.scanner.scan(&self.buffer[used..], self.shared.frame_bytes_max)? {
                // Taken out, so that the frame can be worked on while the session changes.
                let buffer = std::mem::take(&mut self.buffer);
                let done = self.frame(&buffer[used..used + length]).await;
                self.buffer = buffer;
                done?;
                used += length;
                while self.promised.len() >= WINDOW_MAX {
                    let kept = first(&mut self.promised).await;
                    self.acknowledge(kept).await?;
                }
            }
            if used > 0 {
                self.buffer.drain(..used);
                partial_since = Instant::now();
                if self.buffer.len() < SMALL_BYTES {
                    self.large = None;
                    self.buffer.shrink_to(if self.buffer.is_empty() { 0 } else { SMALL_BYTES });
                }
            }
            if due.is_none() && !self.batch.is_empty() {
                due = Some(Instant::now() + GATHER);
            }
        }
    }

    /// Hands on what came, and waits a little for what is still to be acknowledged.
    async fn end(&mut self) -> Result<(), Closed> {
        let shared = self.shared.clone();
        self.joiner.flush(|_| true, &shared.unasked, &mut self.batch);
        shared.unasked.send(&mut self.batch, Vec::new()).await?;
        let deadline = Instant::now() + LAST_ACKS_MAX;
        while !self.promised.is_empty() {
            let Ok(kept) = tokio::time::timeout_at(deadline, first(&mut self.promised)).await else { return Ok(()) };
            // The peer may have gone, and will send again.
            if self.acknowledge(kept).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Lets the peer prove that it knows the key, and proves it to the peer.
    async fn handshake(&mut self) -> Result<(), Closed> {
        let nonce: [u8; 16] = skerry_seal::random().map_err(|_| io::Error::other("no random numbers"))?;
        self.conn.write(&forward::helo(&nonce)).await?;
        let length = loop {
            if let Some(length) = self.scanner.scan(&self.buffer, PING_BYTES_MAX)? {
                break length;
            }
            self.conn.readable().await?;
            match self.conn.try_read(&mut self.buffer, PING_BYTES_MAX) {
                Ok(0) => return Err(Closed::Handshake),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error.into()),
                _ => {}
            }
        };
        let shared = self.shared.clone();
        let secret = shared.shared_key.as_deref().unwrap_or_default();
        let ping = Ping::parse(&self.buffer[..length])?;
        let expected = proof(ping.salt, ping.host, &nonce, secret);
        if !same(ping.digest, expected.as_bytes()) {
            self.conn.write(&forward::pong(Err("shared_key mismatch"))).await?;
            return Err(Closed::Key);
        }
        let own = proof(ping.salt, shared.host.as_bytes(), &nonce, secret);
        let pong = forward::pong(Ok((shared.host.as_bytes(), own.as_bytes())));
        self.conn.write(&pong).await?;
        self.buffer.drain(..length);
        Ok(())
    }

    async fn acknowledge(&mut self, (kept, ack): (bool, Vec<u8>)) -> Result<(), Closed> {
        if !kept {
            return Err(StoreEnded.into());
        }
        timeout(WRITE_MAX, self.conn.write(&ack)).await.map_err(|_| Closed::Write)??;
        self.shared.source.stats.add(Count::Acks, 1);
        Ok(())
    }

    /// Takes a whole frame.
    async fn frame(&mut self, bytes: &[u8]) -> Result<(), Closed> {
        let shared = self.shared.clone();
        let Some(mut frame) = Frame::parse(bytes, shared.frame_bytes_max)? else { return Ok(()) };
        if frame.options.signal != 0 {
            let source = &shared.source;
            tracing::debug!(
                source = &*source.name,
                signal = frame.options.signal,
                "metrics or traces came; logs alone are taken"
            );
            source.lose(LossReason::Filtered, None, &mut self.batch);
        }
        let Some(chunk) = frame.options.chunk else { return self.unasked(&mut frame).await };
        let id = ChunkId::of(chunk);
        let known = shared.chunks().begin(id);
        let taken = match known {
            Known::Busy => return Err(Closed::Busy),
            Known::Done => {
                shared.source.stats.add(Count::Duplicates, 1);
                None
            }
            Known::Part(taken) => Some(taken),
        };
        let outcome = self.chunk(&mut frame, id, taken).await;
        if taken.is_some() {
            shared.chunks().release(id);
        }
        let kept = outcome?;
        self.promised.push_back((kept, forward::ack(chunk)));
        Ok(())
    }

    /// Takes a frame whose sender does not wait for an acknowledgement.
    async fn unasked(&mut self, frame: &mut Frame<'_>) -> Result<(), Closed> {
        let shared = self.shared.clone();
        let source = &shared.unasked;
        let tag = frame.tag;
        while frame.options.signal == 0 {
            let taken = match frame.entries.next_entry() {
                Ok(None) => break,
                Ok(Some(entry)) => self
                    .joiner
                    .take(entry, tag, &self.peer, true, source, &mut self.batch)
                    .map_err(forward::Fault::from),
                Err(fault) => {
                    spoilt(&fault, &self.peer, source, &mut self.batch);
                    break;
                }
            };
            if let Err(fault) = taken {
                spoilt(&fault, &self.peer, source, &mut self.batch);
            }
            if self.batch.is_full() {
                source.send(&mut self.batch, Vec::new()).await?;
            }
        }
        Ok(())
    }

    /// Takes the events of a chunk but the first `taken`; none where there is no number, because all of them are. What
    /// comes back is kept when all are on the disk.
    async fn chunk(
        &mut self,
        frame: &mut Frame<'_>,
        id: ChunkId,
        taken: Option<u64>,
    ) -> Result<oneshot::Receiver<()>, Closed> {
        let shared = self.shared.clone();
        let source = &shared.source;
        let (tag, mut batch, mut count) = (frame.tag, Batch::default(), 0);
        while let Some(taken) = taken.filter(|_| frame.options.signal == 0) {
            let read = match frame.entries.next_entry() {
                Ok(None) => break,
                Ok(Some(_)) if count < taken => Ok(()),
                Ok(Some(entry)) => {
                    self.joiner.take(entry, tag, &self.peer, false, source, &mut batch).map_err(forward::Fault::from)
                }
                Err(fault) => {
                    // The sender would send the same again for ever: what can be read is taken, the rest is lost.
                    spoilt(&fault, &self.peer, source, &mut batch);
                    break;
                }
            };
            if let Err(fault) = read {
                spoilt(&fault, &self.peer, source, &mut batch);
            }
            count += 1;
            if batch.is_full() {
                let room = source.room().await?;
                let mut chunks = shared.chunks();
                chunks.advance(id, count);
                room.send(source.input(&mut batch, vec![shared.position(&chunks)], None));
            }
        }
        let (promise, kept) = oneshot::channel();
        let room = source.room().await?;
        let mut chunks = shared.chunks();
        if taken.is_some() {
            chunks.finish(id);
        }
        // The position goes along in any case: without anything to commit nobody would keep the promise.
        room.send(source.input(&mut batch, vec![shared.position(&chunks)], Some(promise)));
        Ok(kept)
    }
}

impl Shared {
    fn chunks(&self) -> MutexGuard<'_, Chunks> {
        // Its methods leave it whole.
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn position(&self, chunks: &Chunks) -> PositionUpdate {
        PositionUpdate { key: key(&self.source.name), state: Some(chunks.encode()) }
    }
}

/// Waits for the first promise: whether it was kept, and its acknowledgement. Cancel-safe. Waits for ever where there is
/// none.
async fn first(promised: &mut VecDeque<(oneshot::Receiver<()>, Vec<u8>)>) -> (bool, Vec<u8>) {
    let Some((promise, _)) = promised.front_mut() else { return std::future::pending().await };
    let kept = promise.await.is_ok();
    let ack = promised.pop_front().map(|(_, ack)| ack);
    (kept, ack.unwrap_or_default())
}

/// Hexadecimal SHA-512 of salt, host, nonce and key.
fn proof(salt: &[u8], host: &[u8], nonce: &[u8], key: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA512);
    for part in [salt, host, nonce, key.as_bytes()] {
        context.update(part);
    }
    let digest = context.finish();
    digest
        .as_ref()
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|n| char::from_digit(n.into(), 16))
        .collect()
}

/// Whether two texts are equal, in a time that does not depend on where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}
