//! Tells receivers of alerts: the centre's shell around [`skerry_alerting::notify`].
//!
//! ```text
//! Shell::tell ─ render ─> Delivery ┬ http: requests
//!                                  └ talk: SMTP, MQTT and syslog over TCP or TLS; datagrams ─> Outcome
//! ```
//!
//! What is said and what an answer means is decided there; here are sockets. Programs are not run and files not written
//! at the centre: configs that want it are refused before, and a delivery that comes all the same fails.
//!
//! Invariants:
//! - A try ends within its limit, whatever the receiver does, and reads at most a few KiB of what it says.
//! - At most [`TRIES_MAX`] tries are under way; others wait for their turn, within their own limit.
//! - One log line when a receiver begins to fail or works again, none for each try.

mod http;
mod talk;
#[cfg(test)]
mod tests;
mod tls;

use skerry_alerting::Now;
use skerry_alerting::notify::{Change, Counts, Data, Delivery, Integration, Ledger, Outcome, Templates, Wire, render};
use std::io::Read;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// Tries at once.
pub const TRIES_MAX: usize = 64;
/// Longest file with a secret.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Tells receivers; shared by all who have something to tell.
#[derive(Debug)]
pub struct Shell {
    slots: Semaphore,
    ledger: Mutex<Ledger>,
}

impl Default for Shell {
    fn default() -> Self {
        Self { slots: Semaphore::new(TRIES_MAX), ledger: Mutex::default() }
    }
}

impl Shell {
    /// That nobody has used yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
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
        let late = || Outcome::retry(format!("no answer within {} s", limit.as_secs_f64()));
        let Ok(slot) = timeout_at(until, self.slots.acquire()).await else {
            return Outcome::retry("too many receivers are being told");
        };
        // The semaphore is never closed.
        let Ok(_slot) = slot else { return late() };
        let sent = async {
            match delivery.wire {
                Wire::Http(requests) => http::send(delivery.kind, requests, until).await,
                Wire::Talk(talk) => talk::talk(talk).await,
                Wire::Datagram(to, message) => talk::datagram(to, &message).await,
                Wire::Exec(_) | Wire::File(_) => {
                    Outcome::failed("the centre runs no programs and writes no files for alerts")
                }
            }
        };
        timeout_at(until, sent).await.unwrap_or_else(|_| late())
    }

    /// Counts by kind, of those that were tried since the start.
    pub fn counts(&self) -> Vec<(&'static str, Counts)> {
        self.ledger().counts().collect()
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
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
