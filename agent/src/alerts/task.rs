//! The async shell of alerts: whoever raises them, receivers, the store, and the local API.

use super::desk::Desk;
use super::stats::AlertStats;
use super::teller::{Tellers, Told};
use crate::board::Board;
use crate::clock::Clock;
use crate::data::{AlertsRequest, Raised};
use crate::store::{Closed, Store};
use skerry_alerting::Now;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Longest sleep: how late a link that returned is noticed while something waits for it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Longest sleep where nothing waits.
const SLEEP_MAX: Duration = Duration::from_secs(15);
/// How long notices that are under way may take when the agent stops.
const DRAIN: Duration = Duration::from_secs(5);
/// Most messages that are taken before anybody is told.
const AT_ONCE: usize = 64;

/// Why alerts ended by themselves.
#[derive(Debug, thiserror::Error)]
pub enum AlertsError {
    /// Nothing can be kept any more.
    #[error("the store keeps no more state")]
    Store(#[from] Closed),
}

/// The task's ends.
pub struct AlertsTask {
    /// The decisions.
    pub desk: Desk,
    /// Whoever tells receivers.
    pub tellers: Tellers,
    /// Alerts of rules.
    pub raised: mpsc::Receiver<Raised>,
    /// Requests of Alertmanager's API.
    pub requests: mpsc::Receiver<AlertsRequest>,
    /// Whether the fleet is reached.
    pub link_up: Box<dyn Fn() -> bool + Send>,
    /// Where state and events go.
    pub store: Store,
    /// Where it is put up that a receiver cannot be told.
    pub board: Board,
    /// Counters.
    pub stats: Arc<AlertStats>,
    /// Clocks.
    pub clock: Clock,
}

impl AlertsTask {
    /// Serves until `stop`; then waits a little for what is under way.
    ///
    /// # Errors
    /// [`AlertsError`].
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), AlertsError> {
        self.desk.begin(self.now());
        loop {
            let (now, is_up) = (self.now(), (self.link_up)());
            for notice in self.desk.turn(is_up, now) {
                self.tellers.tell(notice, self.desk.config(), now);
            }
            self.save().await?;
            self.desk.answer();
            self.stats.note(&self.desk, now);
            let wait = self.desk.next(now).unwrap_or(SLEEP_MAX).min(self.longest());
            tokio::select! {
                () = stop.cancelled() => break,
                Some(raised) = self.raised.recv() => self.take(raised),
                Some(request) = self.requests.recv() => self.desk.ask(request, self.now()),
                Some(told) = self.tellers.next() => self.done(told),
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.requests.close();
        // Rules have ended before: what they said last is still here.
        while let Ok(raised) = self.raised.try_recv() {
            self.take(raised);
        }
        let deadline = self.clock.mono() + DRAIN;
        while let Some(told) = self.tellers.next_by(deadline.since(self.clock.mono())).await {
            self.done(told);
        }
        self.save().await?;
        self.desk.leave();
        Ok(())
    }

    fn longest(&self) -> Duration {
        if self.desk.waits_for_link() { LOOK_EVERY } else { SLEEP_MAX }
    }

    /// Stores what changed.
    async fn save(&mut self) -> Result<(), Closed> {
        let mut changes: Vec<_> = self.desk.changes().into_iter().collect();
        let told = self.desk.report().take();
        changes.extend(told.changes);
        if !changes.is_empty() {
            self.store.keep(changes, told.events).await?;
        }
        if let Some(loss) = self.desk.loss() {
            self.store.record_loss(loss).await?;
        }
        Ok(())
    }

    fn take(&mut self, raised: Raised) {
        // As the link is now: the last turn may be long ago, and what begins without one is told otherwise.
        let (is_up, now) = ((self.link_up)(), self.now());
        self.desk.report().link(is_up, now);
        self.desk.take(raised, self.now());
        for _ in 1..AT_ONCE {
            let Ok(raised) = self.raised.try_recv() else { return };
            self.desk.take(raised, self.now());
        }
    }

    fn done(&mut self, told: Told) {
        self.tellers.note(&told, &self.board);
        self.desk.done(told.id, told.outcome, self.now());
    }

    fn now(&self) -> Now {
        Now { wall: self.clock.wall(), mono: self.clock.mono() }
    }
}
