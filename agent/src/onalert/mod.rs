//! The ship policy `on-alert`: samples and log records stay on the node until there is an alert, and then those around it
//! go out.
//!
//! A rule's expression is evaluated over what the node keeps, so it needs no link. While it gives anything, and for as
//! long afterwards as the rule says, what came since the last look is released; at its first moment what was before it
//! too. A run begins with a look back, so that an alert right before an end of the agent brings what came after it.

mod core;

use crate::clock::Clock;
use crate::query::Queries;
use crate::store::{Held, LoadError, OnAlert, ReadError, ReleaseError, Store};
use core::Watch;
use skerry_model::{Labels, UnixMillis};
use skerry_promapi::{Found, Refusal};
use skerry_promql::Value;
use skerry_wire::Question;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// How long after its time a log record may come.
const LATE_MS: i64 = 60_000;

/// The task's ends.
pub struct OnAlertTask {
    /// What is waited for.
    pub rules: Vec<OnAlert>,
    /// Evaluates.
    pub queries: Queries,
    /// Where the samples are.
    pub store: Store,
    /// Clocks.
    pub clock: Clock,
}

impl OnAlertTask {
    /// Looks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let Self { rules, queries, store, clock } = self;
        let mut watches: Vec<(OnAlert, Watch)> = rules
            .into_iter()
            .map(|rule| {
                // Log records have the times that their programs gave them, and wait to be read.
                let late_ms = if matches!(rule.held, Held::Records(_)) { LATE_MS } else { 0 };
                let watch = Watch::new(rule.around_ms, late_ms);
                (rule, watch)
            })
            .collect();
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = every.tick(), if !watches.is_empty() => {}
            }
            for (rule, watch) in &mut watches {
                for at in watch.moments(clock.wall()) {
                    let is_alert = is_alert(&queries, &rule.when, at).await;
                    if let Err(error) = &is_alert {
                        tracing::warn!(
                            when = rule.when,
                            error = error.text,
                            "a ship policy's expression has no answer"
                        );
                    }
                    let Some(range) = watch.look(is_alert.unwrap_or(false), at) else { continue };
                    match store.release(rule.held, range).await {
                        Ok(0) => {}
                        Ok(count) => {
                            tracing::info!(when = rule.when, count, held = ?rule.held, "what is around an alert is shipped")
                        }
                        Err(ReleaseError::Samples(ReadError::Closed) | ReleaseError::Records(LoadError::Closed)) => {
                            return;
                        }
                        Err(error) => {
                            tracing::warn!(when = rule.when, %error, "what is around an alert stays on the node")
                        }
                    }
                }
            }
        }
    }
}

async fn is_alert(queries: &Queries, when: &str, at: UnixMillis) -> Result<bool, Refusal> {
    let question = Question::Instant { expr: when.to_owned(), at: Some(at), lookback_ms: None };
    Ok(match queries.evaluate(question, Labels::default()).await? {
        Found::Answer { answer, .. } => match answer.value {
            Value::Vector(series) | Value::Matrix(series) => !series.is_empty(),
            // A number is true unless it is zero.
            Value::Scalar(points) => points.iter().any(|point| point.value != 0.0),
            Value::String(_) => false,
        },
        Found::Series(_) | Found::Texts(_) | Found::Logs(_) | Found::Documents(_) => false,
    })
}
