//! The way from the API, the console and the metrics to the task that owns the manager.

use skerry_alerting::api::Response;
use tokio::sync::{mpsc, oneshot};

/// Requests that wait; further ones are told to come again.
const QUEUE_MAX: usize = 64;

/// A request.
pub struct Asked {
    /// HTTP's word for it.
    pub method: String,
    /// The path below `/api/v2`.
    pub path: String,
    /// What stands behind `?`.
    pub query: String,
    /// The body.
    pub body: Vec<u8>,
}

pub(super) enum Request {
    Api { asked: Asked, reply: oneshot::Sender<Response> },
    Metrics { reply: oneshot::Sender<String> },
}

/// Asks the task that owns the manager; cheap to clone.
#[derive(Debug, Clone)]
pub struct Alerts(mpsc::Sender<Request>);

impl Alerts {
    /// The handle, and what the task listens on.
    #[must_use]
    pub(super) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (requests, received) = mpsc::channel(QUEUE_MAX);
        (Self(requests), received)
    }

    /// The answer of Alertmanager's API; what it changed is durable. `None` while the server stops, or where too many
    /// wait.
    pub async fn ask(&self, asked: Asked) -> Option<Response> {
        let (reply, answer) = oneshot::channel();
        self.0.try_send(Request::Api { asked, reply }).ok()?;
        answer.await.ok()
    }

    /// As [`Self::ask`], of something that is read.
    pub async fn get(&self, path: &str, query: &str) -> Option<Response> {
        let (method, path, query) = ("GET".into(), path.to_owned(), query.to_owned());
        self.ask(Asked { method, path, query, body: Vec::new() }).await
    }

    /// Prometheus text of how routing fares; empty while the server stops.
    pub async fn exposition(&self) -> String {
        let (reply, text) = oneshot::channel();
        match self.0.try_send(Request::Metrics { reply }) {
            Ok(()) => text.await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }
}
