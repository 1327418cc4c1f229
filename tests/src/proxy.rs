//! A TCP proxy that can be cut: what a test puts between a node and its fleet.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// The proxy; it ends with its last handle's runtime.
#[derive(Debug, Clone)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    target: SocketAddr,
    is_open: bool,
    /// Ends every connection that stands.
    cut: CancellationToken,
    connections: u64,
}

impl Proxy {
    /// Listens on a free port of loopback and forwards to `target`.
    ///
    /// # Panics
    /// If loopback cannot be listened on.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback can be listened on");
        let address = listener.local_addr().expect("a bound listener has an address");
        let state = State { target, is_open: true, cut: CancellationToken::new(), connections: 0 };
        let proxy = Self { address, state: Arc::new(Mutex::new(state)) };
        tokio::spawn(proxy.clone().accept(listener));
        proxy
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections forwarded so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.with(|state| state.connections)
    }

    /// Ends every connection, in the middle of whatever goes over it, and takes new ones.
    pub fn cut(&self) {
        self.with(|state| std::mem::take(&mut state.cut).cancel());
    }

    /// Ends every connection and takes no new one until [`Self::open`].
    pub fn close(&self) {
        self.with(|state| state.is_open = false);
        self.cut();
    }

    /// Takes connections again, to this target.
    pub fn open(&self, target: SocketAddr) {
        self.with(|state| {
            state.is_open = true;
            state.target = target;
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn accept(self, listener: TcpListener) {
        loop {
            // A connection that ended before it was taken may come as an error, which must not end the link for good.
            let Ok((mut near, _)) = listener.accept().await else {
                tokio::task::yield_now().await;
                continue;
            };
            let (target, cut) = self.with(|state| (state.is_open.then_some(state.target), state.cut.clone()));
            let Some(target) = target else { continue };
            self.with(|state| state.connections += 1);
            tokio::spawn(async move {
                let forward = async {
                    let mut far = TcpStream::connect(target).await?;
                    tokio::io::copy_bidirectional(&mut near, &mut far).await
                };
                tokio::select! {
                    _ = forward => {}
                    () = cut.cancelled() => {}
                }
            });
        }
    }
}
