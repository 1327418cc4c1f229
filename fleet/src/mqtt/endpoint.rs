//! The endpoint's listeners: accept, prove by TLS, hand over to [`Service`].

use super::admission::Admission;
use super::hub::{Limits, Service};
use super::message::{Downlink, Inbound};
use super::stats::{Refusal, Stats};
use super::tls::{EndpointTls, TlsError, identity, refusal, server_config};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Pause after accept failed, which it does while the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long connections may take to end at shutdown.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Where the endpoint listens, and its limits.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// For MQTT over TLS. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// For MQTT over WebSocket over TLS at `/mqtt`, where wanted.
    pub websocket: Option<SocketAddr>,
    /// What it keeps to.
    pub limits: Limits,
}

/// Why the endpoint cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// An address cannot be listened on.
    #[error("cannot listen for MQTT on {address}; is the port taken by another process, or below 1024 without root?")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS for MQTT")]
    Tls(#[from] TlsError),
}

/// The fleet's own MQTT endpoint.
pub struct Endpoint {
    plain: TcpListener,
    websocket: Option<TcpListener>,
    acceptor: TlsAcceptor,
    service: Service,
    limits: Limits,
}

impl Endpoint {
    /// Listens; connections are accepted once [`Self::run`] runs. `inbound` is told what happens, see
    /// [`Service::new`].
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn bind(
        config: EndpointConfig,
        tls: EndpointTls,
        admission: Admission,
        inbound: mpsc::Sender<Inbound>,
    ) -> Result<Self, BindError> {
        let acceptor = TlsAcceptor::from(server_config(&tls, &admission)?);
        let plain = listen(config.listen).await?;
        let websocket = match config.websocket {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let service = Service::new(config.limits.clone(), admission, inbound);
        Ok(Self { plain, websocket, acceptor, service, limits: config.limits })
    }

    /// Where it listens for MQTT.
    ///
    /// # Errors
    /// The system's, where the socket has no address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.plain.local_addr()
    }

    /// Where it listens for WebSocket, if it does.
    #[must_use]
    pub fn websocket_addr(&self) -> Option<SocketAddr> {
        self.websocket.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// The service behind the listeners, for streams that come in elsewhere.
    #[must_use]
    pub fn service(&self) -> Service {
        self.service.clone()
    }

    /// The way to the nodes.
    #[must_use]
    pub fn downlink(&self) -> Downlink {
        self.service.downlink()
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        self.service.stats()
    }

    /// Serves until `stop`, then ends all connections and returns within five seconds.
    pub async fn run(self, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        let gate = Gate {
            handshakes: Arc::new(Semaphore::new(self.limits.handshakes_max)),
            connections: Arc::new(Semaphore::new(self.limits.connections_max)),
        };
        loop {
            let (accepted, framing) = tokio::select! {
                () = stop.cancelled() => break,
                // Ended tasks are taken out as they come, or the set would grow for ever.
                Some(_) = tasks.join_next() => continue,
                accepted = self.plain.accept() => (accepted, Framing::Plain),
                accepted = accept(self.websocket.as_ref()) => (accepted, Framing::WebSocket),
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(handshake) = gate.handshakes.clone().try_acquire_owned() else {
                self.service.0.stats.refuse(Refusal::Busy);
                continue;
            };
            let newcomer = Newcomer {
                stream,
                peer,
                framing,
                acceptor: self.acceptor.clone(),
                service: self.service.clone(),
                gate: gate.clone(),
                stop: stop.child_token(),
            };
            tasks.spawn(newcomer.serve(handshake));
        }
        let drained = timeout(DRAIN_MAX, async { while tasks.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!(connections = tasks.len(), "connections did not end in time and are dropped");
            tasks.shutdown().await;
        }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError::Listen { address, source })
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// How MQTT stands in the TLS stream.
#[derive(Debug, Clone, Copy)]
enum Framing {
    Plain,
    WebSocket,
}

/// How many may be inside.
#[derive(Clone)]
struct Gate {
    handshakes: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

/// A connection that has proved nothing yet.
struct Newcomer {
    stream: TcpStream,
    peer: SocketAddr,
    framing: Framing,
    acceptor: TlsAcceptor,
    service: Service,
    gate: Gate,
    stop: CancellationToken,
}

impl Newcomer {
    async fn serve(self, handshake: OwnedSemaphorePermit) {
        let stop = self.stop.clone();
        let refuse = |why: Refusal, error: String| {
            self.service.0.stats.refuse(why);
            match why {
                // Somebody holds a certificate, so an operator may have to act.
                Refusal::BadCertificate | Refusal::Revoked | Refusal::BadName => {
                    tracing::info!(peer = %self.peer, reason = why.as_str(), error, "connection refused");
                }
                // What any scanner on the network causes is counted, not told each time.
                _ => tracing::debug!(peer = %self.peer, reason = why.as_str(), error, "connection refused"),
            }
        };
        // Small packets both ways: waiting to fill a segment would only add to the delay.
        let _ = self.stream.set_nodelay(true);
        let limit = self.service.0.config.handshake_timeout;
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = timeout(limit, self.acceptor.accept(self.stream)) => accepted,
        };
        let stream = match accepted {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return refuse(refusal(&error), error.to_string()),
            Err(_) => return refuse(Refusal::Handshake, "the TLS handshake took too long".into()),
        };
        let who = match identity(stream.get_ref().1, self.peer) {
            Ok(who) => who,
            Err(error) => return refuse(Refusal::BadName, error.to_string()),
        };
        let Ok(_place) = self.gate.connections.try_acquire() else {
            return refuse(Refusal::Busy, "too many connections".into());
        };
        drop(handshake);
        match self.framing {
            Framing::Plain => self.service.serve_stream(stream, who, &stop).await,
            Framing::WebSocket => self.service.serve_websocket(stream, who, &stop).await,
        }
    }
}
