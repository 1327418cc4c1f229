//! A receiver of webhooks that keeps what it is told, and when.

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A webhook that came.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Since the recorder began.
    pub at: Duration,
    /// Path without its slash: the receiver by which it was sent.
    pub path: String,
    /// Status that it was answered.
    pub answered: u16,
    /// Body.
    pub body: Value,
}

#[derive(Debug)]
struct Held {
    webhooks: Vec<Webhook>,
    /// How many requests to a path are still to be refused, and how.
    refusals: BTreeMap<String, (u16, usize)>,
}

/// The receiver. It listens until the test's process ends.
#[derive(Debug, Clone)]
pub struct Recorder {
    address: SocketAddr,
    began: Instant,
    held: Arc<Mutex<Held>>,
}

impl Recorder {
    /// Listens on a free port of loopback.
    ///
    /// # Errors
    /// The system's.
    pub fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let held = Arc::new(Mutex::new(Held { webhooks: Vec::new(), refusals: BTreeMap::new() }));
        let recorder = Self { address: listener.local_addr()?, began: Instant::now(), held };
        let own = recorder.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let own = own.clone();
                // One that breaks off costs its connection alone.
                std::thread::spawn(move || own.serve(&stream));
            }
        });
        Ok(recorder)
    }

    /// Where it listens, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers the next `count` requests to a path with `status`.
    pub fn refuse(&self, path: &str, status: u16, count: usize) {
        self.held().refusals.insert(path.to_owned(), (status, count));
    }

    /// What came so far.
    #[must_use]
    pub fn webhooks(&self) -> Vec<Webhook> {
        self.held().webhooks.clone()
    }

    /// Time since it began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let path = line.split(' ').nth(1)?.trim_start_matches('/').to_owned();
        let mut length = 0;
        loop {
            line.clear();
            reader.read_line(&mut line).ok()?;
            if line.trim_end().is_empty() {
                break;
            }
            let (name, value) = line.trim_end().split_once(':')?;
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let at = self.began.elapsed();
        let answered = {
            let mut held = self.held();
            let answered = match held.refusals.get_mut(&path) {
                Some((status, count)) if *count > 0 => {
                    *count -= 1;
                    *status
                }
                _ => 200,
            };
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            held.webhooks.push(Webhook { at, path, answered, body });
            answered
        };
        let head = format!("HTTP/1.1 {answered} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let mut stream = stream;
        stream.write_all(head.as_bytes()).ok()
    }
}
