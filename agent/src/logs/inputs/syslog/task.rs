//! The async shell of the syslog inputs.

use super::QUEUE_BYTES_MAX;
use crate::logs::inputs::config::{Listen, Syslog};
use crate::logs::inputs::listen::{Conn, Listener, serve_all};
use crate::logs::inputs::source::{Draft, GATHER, LAST_READS, LAST_WAIT, Source, StoreEnded};
use crate::logs::inputs::stats::Count;
use crate::logs::intake::Batch;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use skerry_logs::wire::syslog::{Dialect, Framer, Message, Next};
use skerry_model::{LossReason, OutputStream};
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// Rights of the unix socket: as `/dev/log`, every program may write.
const MODE: u32 = 0o666;
/// Longest datagram.
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// Bytes of one read of a stream.
const READ_BYTES: usize = 16 << 10;
/// Datagrams taken in one turn before the others of the task have theirs.
const TURN: usize = 256;
/// Time between two looks at what the kernel dropped.
const DROPS_EVERY: Duration = Duration::from_secs(10);
/// Longest time that a message may take to become whole.
const PARTIAL_MAX: Duration = Duration::from_secs(300);

/// Serves one input until `stop`.
///
/// # Errors
/// [`StoreEnded`].
pub(in crate::logs::inputs) async fn run(
    config: Syslog,
    source: Source,
    stop: CancellationToken,
) -> Result<(), StoreEnded> {
    let Some(listener) = Listener::open(&config.listen, MODE, &source, &stop).await else { return Ok(()) };
    let outcome = match listener {
        Listener::Udp(_) | Listener::Datagram(_) => {
            Datagrams::new(listener, Maker::new(source, config.dialect)).run(&stop).await
        }
        Listener::Tcp(_) | Listener::Stream(_) => {
            let maker = Maker::new(source, config.dialect);
            let serve = |conn, peer| Stream { conn, peer, maker: maker.clone() }.run(stop.clone());
            serve_all(&listener, &maker.source, &stop, serve).await
        }
    };
    if let Listen::UnixDatagram(path) | Listen::UnixStream(path) = &config.listen {
        // The next run makes it anew; where it is gone already, so much the better.
        let _ = std::fs::remove_file(path);
    }
    outcome
}

/// Makes records of messages; cheap to clone.
#[derive(Clone)]
struct Maker {
    source: Source,
    dialect: Dialect,
    /// The machine's zone: messages of RFC 3164 name none, and most come from this machine or from its place.
    zone: TimeZone,
}

impl Maker {
    fn new(source: Source, dialect: Dialect) -> Self {
        let local = std::fs::read("/etc/localtime").ok().and_then(|data| TimeZone::tzif("local", &data).ok());
        Self { source, dialect, zone: local.unwrap_or(TimeZone::UTC) }
    }

    /// Makes a record of a message. `peer`: who sent it, for messages that do not name their machine.
    fn record(&self, bytes: &[u8], peer: &str, is_cut: bool, batch: &mut Batch) {
        let message = Message::parse(bytes, self.dialect);
        if message.text.is_empty() && !message.is_valid {
            return;
        }
        if !message.is_valid {
            self.source.stats.add(Count::Invalid, 1);
        }
        let word = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let host = if message.host.is_empty() { peer.to_owned() } else { word(message.host) };
        let facility = message.facility.unwrap_or_default().to_owned();
        let labels = vec![("host", host), ("app", word(message.app)), ("facility", facility)];
        let (level, at, line) = (message.level(), message.at, message.text.to_vec());
        let mut fields = message.params;
        fields.retain(|(name, _)| name != "pid" && name != "msgid");
        fields.extend([("pid".to_owned(), word(message.pid)), ("msgid".to_owned(), word(message.id))]);
        let now = self.source.clock.wall();
        let offset_s = || Timestamp::from_millisecond(now.0).map_or(0, |now| self.zone.to_offset(now).seconds());
        let draft = Draft {
            at: at.map(|at| at.resolve(now, offset_s())),
            labels,
            output: OutputStream::None,
            level,
            fields,
            line,
            is_cut: is_cut || message.is_cut,
        };
        self.source.take(draft, batch);
    }
}

/// A socket of datagrams and what came and was not handed on.
struct Datagrams {
    listener: Listener,
    maker: Maker,
    queue: VecDeque<(Box<[u8]>, Option<IpAddr>)>,
    bytes: usize,
    /// Datagrams that had no room, to be told with the next batch.
    dropped: u64,
    /// What the kernel said last.
    kernel_dropped: u64,
    look_at: Instant,
}

impl Datagrams {
    fn new(listener: Listener, maker: Maker) -> Self {
        let kernel_dropped = listener.kernel_drops();
        let look_at = Instant::now();
        Self { listener, maker, queue: VecDeque::new(), bytes: 0, dropped: 0, kernel_dropped, look_at }
    }

    async fn run(mut self, stop: &CancellationToken) -> Result<(), StoreEnded> {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        // When the oldest datagram has waited long enough for company.
        let mut due: Option<Instant> = None;
        let mut batch = Batch::default();
        loop {
            let is_due = due.is_some_and(|at| at <= Instant::now()) || self.bytes >= QUEUE_BYTES_MAX / 4;
            let source = self.maker.source.clone();
            tokio::select! {
                () = stop.cancelled() => break,
                readable = self.listener.readable() => {
                    if let Err(error) = readable.and_then(|()| self.receive(&mut buffer)) {
                        tracing::debug!(%error, source = &*source.name, "a syslog datagram could not be read");
                    }
                    if due.is_none() && !self.queue.is_empty() {
                        due = Some(Instant::now() + GATHER);
                    }
                }
                room = source.room(), if is_due => {
                    self.fill(&mut batch);
                    let room = room?;
                    if batch.is_empty() { drop(room) } else { room.send(source.input(&mut batch, Vec::new(), None)) }
                    due = (!self.queue.is_empty()).then(Instant::now);
                }
                () = tokio::time::sleep_until(due.unwrap_or(self.look_at + DROPS_EVERY)), if !is_due => {
                    if due.is_none() {
                        self.look();
                        due = (self.dropped > 0).then(Instant::now);
                    }
                }
            }
        }
        // What came before the end was sent, as far as the sender knows. The kernel is asked once more each time.
        for _ in 0..LAST_READS {
            let readable = timeout(LAST_WAIT, self.listener.readable()).await;
            if !matches!(readable, Ok(Ok(()))) || self.receive(&mut buffer).is_err() {
                break;
            }
        }
        self.look();
        while !self.queue.is_empty() || self.dropped > 0 {
            self.fill(&mut batch);
            self.maker.source.send(&mut batch, Vec::new()).await?;
        }
        Ok(())
    }

    /// Takes what is there into the queue.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        for _ in 0..TURN {
            let (read, peer) = match self.listener.try_datagram(buffer) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            self.bytes += read;
            self.queue.push_back((buffer[..read].into(), peer));
            while self.bytes > QUEUE_BYTES_MAX
                && let Some((oldest, _)) = self.queue.pop_front()
            {
                self.bytes -= oldest.len();
                self.dropped += 1;
            }
        }
        Ok(())
    }

    /// Asks the kernel what it dropped.
    fn look(&mut self) {
        self.look_at = Instant::now();
        let now = self.listener.kernel_drops();
        self.dropped += now.saturating_sub(self.kernel_dropped);
        self.kernel_dropped = now;
    }

    /// Makes records of the oldest datagrams, and tells of those that are lost.
    fn fill(&mut self, batch: &mut Batch) {
        if self.look_at.elapsed() >= DROPS_EVERY {
            self.look();
        }
        if self.dropped > 0 {
            let source = &self.maker.source;
            if source.stats.value(Count::Dropped) == 0 {
                tracing::warn!(
                    source = &*source.name,
                    "syslog datagrams come faster than they are stored; those lost stand in the ledger"
                );
            }
            source.stats.add(Count::Dropped, self.dropped);
            source.lose(LossReason::Overload, Some(std::mem::take(&mut self.dropped)), batch);
        }
        while !batch.is_full()
            && let Some((bytes, peer)) = self.queue.pop_front()
        {
            self.bytes -= bytes.len();
            let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
            self.maker.record(&bytes, &peer, false, batch);
        }
    }
}

/// A connection.
struct Stream {
    conn: Conn,
    peer: String,
    maker: Maker,
}

impl Stream {
    async fn run(self, stop: CancellationToken) -> Result<(), StoreEnded> {
        let (mut framer, mut buffer, mut batch) = (Framer::default(), Vec::new(), Batch::default());
        let source = &self.maker.source;
        let mut due: Option<Instant> = None;
        let mut partial_since = Instant::now();
        let mut reads_left = LAST_READS;
        let why = loop {
            if !stop.is_cancelled() {
                let wake = due.unwrap_or(partial_since + PARTIAL_MAX);
                tokio::select! {
                    readable = self.conn.readable() => if let Err(error) = readable { break Some(error.to_string()) },
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep_until(wake), if due.is_some() || !buffer.is_empty() => {
                        if due.take().is_none() {
                            break Some(format!("a message did not become whole within {} s", PARTIAL_MAX.as_secs()));
                        }
                        source.send(&mut batch, Vec::new()).await?;
                        continue;
                    }
                }
            } else if reads_left == 0 {
                break None;
            } else {
                // What came before the end was sent, as far as the sender knows.
                reads_left -= 1;
                match timeout(LAST_WAIT, self.conn.readable()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => break Some(error.to_string()),
                    Err(_) => break None,
                }
            }
            let had = buffer.len();
            match self.conn.try_read(&mut buffer, READ_BYTES) {
                Ok(0) => break None,
                Ok(_) if had == 0 => partial_since = Instant::now(),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => break Some(error.to_string()),
            }
            let mut used = 0;
            let fault = loop {
                match framer.next(&buffer[used..], source.line_bytes_max) {
                    Err(fault) => break Some(fault.to_string()),
                    Ok(Next::More) => break None,
                    Ok(Next::Skip(skipped)) => used += skipped,
                    Ok(Next::Message { from, to, used: end, is_cut }) => {
                        self.maker.record(&buffer[used + from..used + to], &self.peer, is_cut, &mut batch);
                        used += end;
                        if batch.is_full() {
                            source.send(&mut batch, Vec::new()).await?;
                        }
                    }
                }
            };
            if used > 0 {
                buffer.drain(..used);
                partial_since = Instant::now();
            }
            if buffer.is_empty() {
                buffer = Vec::new();
            }
            if fault.is_some() {
                break fault;
            }
            if due.is_none() && !batch.is_empty() {
                due = Some(Instant::now() + GATHER);
            }
        };
        match why {
            None => self.maker.record(framer.rest(&buffer), &self.peer, false, &mut batch),
            Some(why) => {
                source.stats.add(Count::Faults, 1);
                tracing::warn!(source = &*source.name, peer = self.peer, why, "a syslog connection was closed");
                if !buffer.is_empty() {
                    source.lose(LossReason::Parse, Some(1), &mut batch);
                }
            }
        }
        source.send(&mut batch, Vec::new()).await
    }
}
