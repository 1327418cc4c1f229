//! Live views: log lines straight from memory to whoever watches, while somebody watches.
//!
//! This path is apart from the durable one: nothing here is stored, acknowledged or sent again. A watcher that is
//! slower than the logs misses lines and is told how many; the durable path carries them all the same.
//!
//! Invariants: at most [`VIEWS_MAX`] views; a view that is not asked for again ends by itself.

use skerry_logql::Query;
use skerry_lokiapi::{Live, Member};
use skerry_model::{Mono, NodeId};
use skerry_wire::{Answer, AnswerPart, Ask, AskKind, LiveLine};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// Most views at a time.
const VIEWS_MAX: usize = 8;
/// Longest time for which a view is open without being asked for again.
const VIEW_SECS_MAX: u32 = 300;
/// Most lines in one answer.
const LINES_MAX: usize = 200;

/// The open views.
#[derive(Debug, Default)]
pub(crate) struct LiveView {
    views: BTreeMap<u64, View>,
    lines: Option<broadcast::Receiver<Arc<Vec<LiveLine>>>>,
    ready: Vec<Answer>,
}

#[derive(Debug)]
struct View {
    until: Mono,
    /// Which lines it wants; without it all.
    wanted: Option<Live>,
}

impl LiveView {
    /// Opens, prolongs or ends a view. `node` is this node's name at the centre.
    pub(crate) fn ask(&mut self, ask: &Ask, node: &NodeId, source: &broadcast::Sender<Arc<Vec<LiveLine>>>, now: Mono) {
        match &ask.kind {
            AskKind::FollowLogs { for_secs, query, signed } => {
                self.expire(now);
                let until = now + Duration::from_secs(u64::from((*for_secs).min(VIEW_SECS_MAX)));
                if let Some(view) = self.views.get_mut(&ask.id) {
                    view.until = until;
                    return;
                }
                let wanted = match query.as_deref().map(Query::parse) {
                    None => Ok(None),
                    Some(Ok(Query::Log(query))) => Ok(Some(Live::new(query, Some(Member::new(node, signed))))),
                    // The centre parses it too, so it is of a later version than this.
                    Some(_) => Err(()),
                };
                match wanted {
                    Ok(wanted) if self.views.len() < VIEWS_MAX => {
                        drop(self.views.insert(ask.id, View { until, wanted }))
                    }
                    _ => {
                        self.ready.push(Answer { id: ask.id, part: AnswerPart::End });
                        return;
                    }
                }
                if self.lines.is_none() {
                    self.lines = Some(source.subscribe());
                }
            }
            AskKind::Query(_) => {}
            AskKind::Stop => {
                self.views.remove(&ask.id);
                self.expire(now);
            }
        }
    }

    /// Ends all views, as when the link goes down.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The next part of an answer; waits for ever while nobody watches. Cancel-safe.
    pub(crate) async fn next(&mut self, now: Mono) -> Answer {
        loop {
            if let Some(answer) = self.ready.pop() {
                return answer;
            }
            self.expire(now);
            let Some(lines) = &mut self.lines else {
                std::future::pending::<()>().await;
                continue;
            };
            let (lines, skipped) = match lines.recv().await {
                Ok(lines) => (lines, 0),
                Err(broadcast::error::RecvError::Lagged(batches)) => (Arc::default(), batches),
                Err(broadcast::error::RecvError::Closed) => {
                    self.clear();
                    continue;
                }
            };
            for (id, view) in &mut self.views {
                let wanted: Vec<LiveLine> = match &mut view.wanted {
                    None => lines.to_vec(),
                    Some(live) => live.apply(&lines).into_iter().map(|(place, _)| lines[place].clone()).collect(),
                };
                for part in wanted.chunks(LINES_MAX) {
                    self.ready.push(Answer { id: *id, part: AnswerPart::Lines { lines: part.to_vec(), skipped: 0 } });
                }
                if skipped > 0 {
                    self.ready.push(Answer { id: *id, part: AnswerPart::Lines { lines: Vec::new(), skipped } });
                }
            }
            self.ready.reverse();
        }
    }

    fn expire(&mut self, now: Mono) {
        self.views.retain(|_, view| view.until > now);
        if self.views.is_empty() {
            self.lines = None;
        }
    }
}
