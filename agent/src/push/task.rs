//! The async shell of push: sockets, requests of the local HTTP, and the store.

use super::config::Config;
use super::gateway::{Gate, Path, Refusal, Verb};
use super::stats::PushStats;
use super::statsd::{Aggregator, DropReason};
use crate::board::Board;
use crate::clock::Clock;
use crate::data::PushRequest;
use crate::stale::Present;
use crate::store::{Closed, CommitError, Pace, Store};
use skerry_model::{LossEntry, LossReason, Scrape, StreamKind, TimeRange, UnixMillis};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UdpSocket, UnixDatagram};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Longest datagram.
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// Time between two writes of changed groups. Each costs flash, and a program may push each second.
const KEEP_EVERY: Duration = Duration::from_secs(60);
/// Time between two attempts to listen.
const LISTEN_EVERY: Duration = Duration::from_secs(30);
/// Source of the problem on the board, and of losses.
const SOURCE: &str = "statsd";

/// Why push ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// Nobody takes the samples.
    #[error("the store takes no more samples")]
    Store(#[from] Closed),
}

/// The task's ends.
pub struct PushTask {
    /// Settings.
    pub config: Config,
    /// State that an earlier run kept: keys that begin with [`super::PREFIX`].
    pub state: Vec<(String, Vec<u8>)>,
    /// Pushes of the local HTTP; it answers by itself where the gateway is off.
    pub requests: mpsc::Receiver<PushRequest>,
    /// Where samples and groups go.
    pub store: Store,
    /// Where it is put up that nothing can be heard.
    pub board: Board,
    /// Counters.
    pub stats: Arc<PushStats>,
    /// Clocks.
    pub clock: Clock,
}

/// What listens.
#[derive(Default)]
struct Ears {
    udp: Option<UdpSocket>,
    unix: Option<UnixDatagram>,
}

/// What a run works with.
struct Run {
    held: Aggregator,
    gate: Gate,
    present: Present,
    since: UnixMillis,
    store: Store,
    stats: Arc<PushStats>,
    clock: Clock,
}

impl PushTask {
    /// Takes what is pushed until `stop`; then stores what came.
    ///
    /// # Errors
    /// [`PushError`].
    pub async fn run(self, stop: CancellationToken) -> Result<(), PushError> {
        let Self { config, state, mut requests, store, board, stats, clock } = self;
        let wants_ears = config.statsd.listen.is_some() || config.statsd.socket.is_some();
        if !wants_ears && !config.gateway {
            stop.cancelled().await;
            return Ok(());
        }
        // Without the gateway its groups stay as they are, for the day it is opened again.
        let state = if config.gateway { state } else { Vec::new() };
        let (gate, unread) = Gate::restore(config.gateway_series_max as usize, &state);
        for key in unread {
            tracing::warn!(key, "a pushed group that was kept cannot be read; it is left out");
        }
        let (held, since) = (Aggregator::new(&config.statsd), clock.wall());
        let mut run = Run { held, gate, present: Present::default(), since, store, stats, clock };
        let mut ears = Ears::default();
        let mut every = tokio::time::interval(config.interval.0);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut keep = tokio::time::interval(KEEP_EVERY);
        keep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut listen = tokio::time::interval(LISTEN_EVERY);
        let (mut udp_buffer, mut unix_buffer) = (Vec::new(), Vec::new());
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = listen.tick(), if wants_ears => ears.open(&config, &board),
                read = hear_udp(&ears.udp, &mut udp_buffer) => match read {
                    Ok(read) => run.feed(&udp_buffer[..read]),
                    Err(error) => tracing::debug!(%error, "a datagram of StatsD could not be read"),
                },
                read = hear_unix(&ears.unix, &mut unix_buffer) => match read {
                    Ok(read) => run.feed(&unix_buffer[..read]),
                    Err(error) => tracing::debug!(%error, "a datagram of StatsD could not be read"),
                },
                Some(request) = requests.recv() => run.answer(request),
                _ = every.tick() => run.flush().await?,
                _ = keep.tick() => run.keep().await?,
            }
        }
        run.flush().await?;
        run.keep().await?;
        if let Some(path) = config.statsd.socket.as_ref().filter(|_| ears.unix.is_some()) {
            // The next run makes it anew; where it is gone already, so much the better.
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    }
}

impl Ears {
    /// Opens what is not open yet.
    fn open(&mut self, config: &Config, board: &Board) {
        let mut problem = None;
        if let Some(address) = config.statsd.listen.filter(|_| self.udp.is_none()) {
            let opened = std::net::UdpSocket::bind(address).and_then(|socket| {
                socket.set_nonblocking(true)?;
                UdpSocket::from_std(socket)
            });
            match opened {
                Ok(socket) => self.udp = Some(socket),
                Err(error) => problem = Some(format!("cannot listen at {address}: {error}; is another StatsD there?")),
            }
        }
        if let Some(path) = config.statsd.socket.as_ref().filter(|_| self.unix.is_none()) {
            match bind_unix(path) {
                Ok(socket) => self.unix = Some(socket),
                Err(error) => {
                    problem = Some(format!("cannot listen at {}: {error}; may this user write there?", path.display()))
                }
            }
        }
        match problem {
            Some(problem) => {
                tracing::warn!(problem, "StatsD is not heard");
                board.problem(SOURCE, &problem);
            }
            None => board.solved(SOURCE),
        }
    }
}

/// A socket in the place of one that an earlier run left; nothing else is removed.
fn bind_unix(path: &std::path::Path) -> std::io::Result<UnixDatagram> {
    use std::os::unix::fs::FileTypeExt;
    if std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    UnixDatagram::bind(path)
}

/// The next datagram; waits for ever where nothing listens. The buffer is made when it is first needed.
async fn hear_udp(socket: &Option<UdpSocket>, buffer: &mut Vec<u8>) -> std::io::Result<usize> {
    let Some(socket) = socket else { return std::future::pending().await };
    buffer.resize(DATAGRAM_BYTES_MAX, 0);
    socket.recv(buffer).await
}

async fn hear_unix(socket: &Option<UnixDatagram>, buffer: &mut Vec<u8>) -> std::io::Result<usize> {
    let Some(socket) = socket else { return std::future::pending().await };
    buffer.resize(DATAGRAM_BYTES_MAX, 0);
    socket.recv(buffer).await
}

impl Run {
    fn feed(&mut self, packet: &[u8]) {
        let taken = self.held.feed(packet, self.clock.mono());
        self.stats.packets.add(1);
        self.stats.lines.add(taken);
    }

    fn answer(&mut self, request: PushRequest) {
        let PushRequest { verb, path, body, reply } = request;
        let verb = match verb {
            "PUT" => Some(Verb::Replace),
            "POST" => Some(Verb::Update),
            "DELETE" => Some(Verb::Delete),
            _ => None,
        };
        let outcome = match verb {
            None => Err(Refusal("PUT, POST or DELETE is expected".into())),
            Some(verb) => Path::parse(&path).and_then(|path| self.gate.push(verb, &path, &body, self.clock.wall())),
        };
        match &outcome {
            Ok(()) => self.stats.pushes.add(1),
            Err(_) => self.stats.refused.add(1),
        }
        self.stats.groups.set(self.gate.len());
        // Whoever asked may have gone.
        let _ = reply.send(outcome.map_err(|refusal| refusal.0));
    }

    async fn flush(&mut self) -> Result<(), Closed> {
        let at = self.clock.wall();
        let mut values = self.held.flush(self.clock.mono());
        values.extend(self.gate.series());
        // A program may push what another sends; the first counts.
        let mut seen = std::collections::HashSet::with_capacity(values.len());
        values.retain(|(labels, _)| seen.insert(labels.clone()));
        drop(seen);
        self.stats.series.set(self.held.len());
        self.stats.groups.set(self.gate.len());
        let mut scrape = Scrape { at, values };
        self.present.follow(&mut scrape);
        if !scrape.values.is_empty() {
            self.store.append_scrape(scrape, Pace::Between).await?;
        }
        for (reason, count) in self.held.dropped() {
            let counter = DropReason::ALL.iter().position(|known| *known == reason).map(|at| &self.stats.dropped[at]);
            if let Some(counter) = counter {
                counter.add(count);
            }
            let entry = LossEntry {
                stream: StreamKind::Metrics,
                reason: loss(reason),
                count: Some(count),
                range: TimeRange { from: self.since.min(at), to: at },
                source: SOURCE.into(),
            };
            self.store.record_loss(entry).await?;
        }
        self.since = at;
        Ok(())
    }

    async fn keep(&mut self) -> Result<(), Closed> {
        let (changes, large) = self.gate.keep();
        for group in large {
            tracing::warn!(%group, "a pushed group is too large to survive a restart");
        }
        if changes.is_empty() {
            return Ok(());
        }
        match self.store.put_state(changes.clone(), Vec::new()).await {
            Ok(()) => Ok(()),
            Err(CommitError::Closed(closed)) => Err(closed),
            Err(CommitError::Write(error)) => {
                tracing::debug!(%error, "pushed groups are not kept yet; it is tried again");
                self.gate.keep_again(&changes);
                Ok(())
            }
        }
    }
}

const fn loss(reason: DropReason) -> LossReason {
    match reason {
        DropReason::Malformed | DropReason::Unsupported | DropReason::Conflict => LossReason::Parse,
        DropReason::Oversize => LossReason::Oversize,
        DropReason::SeriesLimit => LossReason::SeriesLimit,
    }
}
