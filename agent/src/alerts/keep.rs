//! State and events on their way to the disk: what belongs together in one transaction, and again until it is there.

use super::desk::Desk;
use crate::store::{Closed, CommitError, Store};
use skerry_alerting::Now;
use skerry_model::Mono;
use std::collections::BTreeMap;
use std::time::Duration;

/// Time between two attempts while the disk takes nothing.
const AGAIN: Duration = Duration::from_secs(5);

/// What waits for the disk.
pub(super) struct Keep {
    store: Store,
    waiting: BTreeMap<String, Option<Vec<u8>>>,
    again: Option<Mono>,
}

impl Keep {
    pub(super) const fn new(store: Store) -> Self {
        Self { store, waiting: BTreeMap::new(), again: None }
    }

    /// Whether something could not be written yet.
    pub(super) const fn has_waiting(&self) -> bool {
        self.again.is_some()
    }

    /// Stores what changed.
    pub(super) async fn save(&mut self, desk: &mut Desk, now: Now) -> Result<(), Closed> {
        self.waiting.extend(desk.changes());
        if self.again.is_some_and(|at| now.mono < at) {
            return Ok(());
        }
        loop {
            let outcome = desk.report().take();
            let mut changes: Vec<_> = std::mem::take(&mut self.waiting).into_iter().collect();
            let own = changes.len();
            changes.extend(outcome.changes.iter().cloned());
            if changes.is_empty() {
                break;
            }
            let events = outcome.events.iter().flatten().cloned().collect();
            match self.store.put_state(changes.clone(), events).await {
                Ok(()) => self.again = None,
                Err(CommitError::Closed(closed)) => return Err(closed),
                Err(CommitError::Write(error)) => {
                    if self.again.is_none() {
                        tracing::warn!(%error, "what is known of alerts is not on the disk yet; it is tried again");
                    }
                    self.again = Some(now.mono + AGAIN);
                    changes.truncate(own);
                    self.waiting = changes.into_iter().collect();
                    desk.report().give_back(outcome, now);
                    break;
                }
            }
        }
        if let Some(loss) = desk.loss() {
            self.store.record_loss(loss).await?;
        }
        Ok(())
    }
}
