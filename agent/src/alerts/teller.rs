//! Notices under way, and how receivers fare.

use crate::board::Board;
use skerry_alerting::Now;
use skerry_alerting::manager::{Config, Notice, NoticeId};
use skerry_alerting::notify::{Data, Integration, Outcome, Site};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Most receivers whose failures are remembered.
const FAILING_MAX: usize = 100;

/// Tells one integration, within a time.
pub type Tell =
    Arc<dyn Fn(Arc<Integration>, Data, Duration) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync>;

/// What became of a notice.
pub(super) struct Told {
    pub(super) id: NoticeId,
    pub(super) outcome: Outcome,
    receiver: Arc<str>,
    kind: &'static str,
    alerts: usize,
    is_firing: bool,
    /// It was not even tried.
    is_refused: bool,
}

/// Notices under way.
pub struct Tellers {
    tell: Tell,
    allow: Vec<PathBuf>,
    under_way: JoinSet<Told>,
    /// What was said last, by receiver and kind.
    failing: BTreeMap<String, String>,
}

impl Tellers {
    /// `allow`: programs that may be run.
    #[must_use]
    pub fn new(tell: Tell, allow: Vec<PathBuf>) -> Self {
        Self { tell, allow, under_way: JoinSet::new(), failing: BTreeMap::new() }
    }

    /// Begins to tell. How many are under way is bounded by whoever makes notices.
    pub(super) fn tell(&mut self, notice: Notice, config: Arc<Config>, now: Now) {
        let Notice { id, receiver, index, data, deadline, .. } = notice;
        let integration = config.receiver(&receiver).and_then(|found| found.integrations.get(index)).cloned();
        let (alerts, is_firing) = (data.alerts.len(), data.is_firing());
        let kind = integration.as_ref().map_or("none", Integration::kind);
        let refused = match &integration {
            None => Some("the config has no such receiver any more".to_owned()),
            Some(integration) => {
                integration.faults(Site::Node { allow: &self.allow }).into_iter().next().map(|(_, problem)| problem)
            }
        };
        let work = match (refused, integration) {
            (None, Some(integration)) => Ok((self.tell)(Arc::new(integration), data, deadline.since(now.mono))),
            (refused, _) => Err(Outcome::failed(refused.unwrap_or_default())),
        };
        self.under_way.spawn(async move {
            let is_refused = work.is_err();
            let outcome = match work {
                Ok(work) => work.await,
                Err(refused) => refused,
            };
            Told { id, outcome, receiver, kind, alerts, is_firing, is_refused }
        });
    }

    /// The next that ended; waits for ever where none is under way. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Told> {
        loop {
            match self.under_way.join_next().await {
                None => return std::future::pending().await,
                Some(Ok(told)) => return Some(told),
                // Its notice counts as failed by its deadline.
                Some(Err(error)) => tracing::error!(%error, "a notice ended badly"),
            }
        }
    }

    /// The next that ends within this time; nothing where none is under way.
    pub(super) async fn next_by(&mut self, within: Duration) -> Option<Told> {
        if self.under_way.is_empty() {
            return None;
        }
        tokio::time::timeout(within, self.next()).await.ok().flatten()
    }

    /// Puts up or takes down the receiver's problem. Whoever tells receivers logs how they fare; what was not tried is
    /// logged here.
    pub(super) fn note(&mut self, told: &Told, board: &Board) {
        let Told { receiver, kind, alerts, is_firing, outcome, is_refused, .. } = told;
        let source = format!("receiver {receiver}/{kind}");
        let Some(error) = outcome.error() else {
            tracing::info!(%receiver, kind, alerts, is_firing, "told");
            if self.failing.remove(&source).is_some() {
                board.solved(&source);
            }
            return;
        };
        let known = self.failing.get(&source).map(String::as_str);
        if known == Some(error) || (known.is_none() && self.failing.len() >= FAILING_MAX) {
            return;
        }
        if *is_refused {
            tracing::warn!(%receiver, kind, error, "a receiver is not told");
        }
        board.problem(&source, error);
        self.failing.insert(source, error.to_owned());
    }
}
