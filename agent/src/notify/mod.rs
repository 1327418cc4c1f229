//! Tells receivers of alerts: the node's shell around [`skerry_alerting::notify`].
//!
//! ```text
//! Shell::tell ─ render ─> Delivery ┬ http: requests, by the agent's client
//!                                  ├ talk: SMTP, MQTT and syslog over TCP or TLS; datagrams
//!                                  ├ exec: programs
//!                                  └ file: lamps and pins ─> Outcome
//! ```
//!
//! What is said and what an answer means is decided there; here are sockets, processes and files.
//!
//! Invariants:
//! - A try ends within its limit, whatever the receiver does, and reads at most a few KiB of what it says.
//! - At most [`TRIES_MAX`] tries are under way; others wait for their turn, within their own limit.
//! - When a program has ended or its time is up, nothing that it began lives on: see [`crate::program`].
//! - One log line when a receiver begins to fail or works again, none for each try.

mod exec;
mod file;
mod http;
mod talk;
#[cfg(test)]
mod tests;

use crate::http::SystemRoots;
use skerry_alerting::Now;
use skerry_alerting::notify::{Change, Counts, Data, Delivery, Integration, Ledger, Outcome, Templates, Wire, render};
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// Tries at once.
pub const TRIES_MAX: usize = 16;
/// Longest file with a secret.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Tells receivers; shared by all who have something to tell.
#[derive(Debug)]
pub struct Shell {
    system: SystemRoots,
    slots: Semaphore,
    /// Apart, because a write to a file that hangs cannot be called off.
    writes: Arc<Semaphore>,
    ledger: Mutex<Ledger>,
}

impl Shell {
    /// That trusts the machine's certificates where a receiver names none.
    #[must_use]
    pub fn new(system: &SystemRoots) -> Self {
        Self {
            system: system.clone(),
            slots: Semaphore::new(TRIES_MAX),
            writes: Arc::new(Semaphore::new(file::WRITES_MAX)),
            ledger: Mutex::default(),
        }
    }

    /// One try to tell `integration` of `data`, within `limit`.
    pub async fn tell(
        &self,
        integration: &Integration,
        data: &Data,
        templates: &Templates,
        now: Now,
        limit: Duration,
    ) -> Outcome {
        let (kind, place) = (integration.kind(), integration.place.as_str());
        let outcome = match render(integration, data, templates, &read_secret, now) {
            Ok(delivery) => {
                if let Some(error) = delivery.problems.first() {
                    self.ledger().note_template_error(kind);
                    tracing::warn!(
                        receiver = data.receiver,
                        kind,
                        place,
                        error,
                        "a template failed; the notice goes out"
                    );
                }
                self.deliver(delivery, limit).await
            }
            Err(error) => error.into(),
        };
        let change = self.ledger().note(kind, place, &outcome);
        match change {
            Some(Change::Fails(error)) => {
                tracing::warn!(receiver = data.receiver, kind, place, error, "a receiver cannot be told");
            }
            Some(Change::Works) => tracing::info!(receiver = data.receiver, kind, place, "a receiver is told again"),
            None => {}
        }
        outcome
    }

    /// Carries a delivery out, within `limit`.
    pub async fn deliver(&self, delivery: Delivery, limit: Duration) -> Outcome {
        let limit = delivery.timeout.map_or(limit, |timeout| timeout.min(limit));
        let until = Instant::now() + limit;
        let is_exec = matches!(delivery.wire, Wire::Exec(_));
        let late = || Outcome::retry(format!("no answer within {} s", limit.as_secs_f64()));
        let Ok(slot) = timeout_at(until, self.slots.acquire()).await else {
            return Outcome::retry("too many receivers are being told");
        };
        // The semaphore is never closed.
        let Ok(_slot) = slot else { return late() };
        let sent = async {
            match delivery.wire {
                Wire::Http(requests) => http::send(delivery.kind, requests, &self.system, until).await,
                Wire::Talk(talk) => talk::talk(talk, &self.system, until).await,
                Wire::Datagram(to, message) => talk::datagram(to, &message).await,
                Wire::File(file) if self.ledger().holds(&file) => file::write(file, &self.writes).await,
                Wire::File(_) => Outcome::Sent,
                Wire::Exec(exec) => exec::run(exec, until).await,
            }
        };
        // A program has an end of its own, so that what it leaves behind is seen to.
        let patience = if is_exec { until + crate::program::GRACE } else { until };
        timeout_at(patience, sent).await.unwrap_or_else(|_| late())
    }

    /// Counts by kind, of those that were tried since the start.
    pub fn counts(&self) -> Vec<(&'static str, Counts)> {
        self.ledger().counts().collect()
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A small text file.
fn read_secret(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    file.take(SECRET_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}
