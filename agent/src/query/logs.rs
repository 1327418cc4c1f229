//! Questions about the logs that this node keeps.

use super::Queries;
use skerry_logql::{Budget, Direction, Limits, LogQuery, LogRequest, run_log};
use skerry_lokiapi::{Encoding, Endpoint, Member, Response, Run, Seen, TailEntry, answer, find};
use skerry_model::{Labels, TimeRange};
use skerry_promapi::{Found, Params, Refusal};
use skerry_wire::Question;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What one query may use: the node's memory is for its work.
const LIMITS: Limits =
    Limits { examined_bytes_max: 4 << 30, held_bytes_max: 4 << 20, series_max: 500, values_max: 100_000 };
/// How long one query may take.
const TIME_MAX: Duration = Duration::from_secs(30);

impl Queries {
    /// Answers a request of Loki's API; `None` where that ended badly, which is logged.
    pub async fn answer_logs(&self, endpoint: Endpoint, params: Params, encoding: Encoding) -> Option<Response> {
        self.over_logs(None, move |source, budget, queries: &Self| {
            let (now, began) = (queries.vitals.clock.wall(), queries.vitals.clock.mono());
            let elapsed = || queries.vitals.clock.mono().since(began);
            let run = Run { endpoint: &endpoint, params: &params, encoding, now, elapsed: &elapsed };
            answer(&run, source, budget)
        })
        .await?
        .map_or_else(|refused| Some(refused.into()), Some)
    }

    /// Answers a question of the centre about logs, which knows this node by these labels beside its name.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) async fn evaluate_logs(&self, question: Question, signed: &Labels) -> Result<Found, Refusal> {
        let member = Member::new(&self.vitals.node, signed);
        let work = move |source: &_, budget: Budget<'_>, _: &Self| {
            find(&question, source, budget).map(|(found, _)| found.into_sent(&question))
        };
        match self.over_logs(Some(member), work).await {
            Some(found) => found.and_then(|found| found).map_err(Refusal::from),
            None => {
                let text = "the query ended badly; the agent's log has the cause".into();
                Err(Refusal { status: 500, kind: "internal", text })
            }
        }
    }

    /// The newest entries of a time, oldest first: what a live view begins with. None where they cannot be read, which
    /// is logged.
    pub async fn tail_of(&self, query: LogQuery, range: TimeRange, limit: usize) -> (Vec<TailEntry>, Seen) {
        let work = move |source: &_, budget: Budget<'_>, _: &Self| {
            run_log(&query, source, LogRequest { range, limit, direction: Direction::Backward }, budget)
        };
        let found = match self.over_logs(None, work).await {
            Some(Ok(Ok(found))) => found,
            Some(Ok(Err(error))) => {
                tracing::warn!(%error, "a live view begins without what is stored");
                return Default::default();
            }
            Some(Err(_)) | None => return Default::default(),
        };
        let mut entries: Vec<TailEntry> = Vec::new();
        for stream in found.streams {
            let entry = |entry| TailEntry { labels: stream.labels.clone(), entry };
            entries.extend(stream.entries.into_iter().rev().map(entry));
        }
        entries.sort_by_key(|entry| entry.entry.at);
        let mut seen = Seen::default();
        for entry in &entries {
            seen.add(entry);
        }
        (entries, seen)
    }

    /// Lets `work` read the logs in its turn, with a budget that ends with whoever waits for it.
    async fn over_logs<T: Send + 'static>(
        &self,
        member: Option<Member>,
        work: impl FnOnce(&crate::store::LogSource, Budget<'_>, &Self) -> T + Send + 'static,
    ) -> Option<Result<T, skerry_lokiapi::Refusal>> {
        let (gone, queries) = (CancellationToken::new(), self.clone());
        let _gone_with_us = gone.clone().drop_guard();
        self.in_turn(move |kept, _| {
            let closed = |error: crate::store::Closed| skerry_lokiapi::Refusal { status: 500, text: error.to_string() };
            let source = kept.runtime.block_on(kept.store.log_source()).map_err(closed)?;
            let source = match member {
                Some(member) => source.of_member(member),
                None => source,
            };
            let clock = &queries.vitals.clock;
            let began = clock.mono();
            let should_stop = || gone.is_cancelled() || clock.mono().since(began) > TIME_MAX;
            Ok(work(&source, Budget { limits: LIMITS, should_stop: &should_stop }, &queries))
        })
        .await
    }
}
