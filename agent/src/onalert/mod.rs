//! The ship policy `on-alert`: samples stay on the node until there is an alert, and then those around it go out.
//!
//! A rule's expression is evaluated over what the node keeps, so it needs no link. While it gives anything, and for as
//! long afterwards as the rule says, the samples that came since the last look are released; at its first moment those
//! before it too.

mod core;

use crate::clock::Clock;
use crate::query::Queries;
use crate::store::{OnAlert, ReadError, Store};
use core::Watch;
use skerry_model::Labels;
use skerry_promapi::{Found, Refusal};
use skerry_promql::Value;
use skerry_wire::Question;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(15);

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
                let watch = Watch::new(rule.around_ms);
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
                let is_alert = is_alert(&queries, &rule.when).await;
                if let Err(error) = &is_alert {
                    tracing::warn!(when = rule.when, error = error.text, "a ship policy's expression has no answer");
                }
                let Some(range) = watch.look(is_alert.unwrap_or(false), clock.wall()) else { continue };
                match store.release(rule.rule, range).await {
                    Ok(0) => {}
                    Ok(samples) => tracing::info!(when = rule.when, samples, "samples around an alert are shipped"),
                    Err(ReadError::Closed) => return,
                    Err(error) => tracing::warn!(when = rule.when, %error, "samples around an alert stay on the node"),
                }
            }
        }
    }
}

async fn is_alert(queries: &Queries, when: &str) -> Result<bool, Refusal> {
    let question = Question::Instant { expr: when.to_owned(), at: None, lookback_ms: None };
    Ok(match queries.evaluate(question, Labels::default()).await? {
        Found::Answer { answer, .. } => match answer.value {
            Value::Vector(series) | Value::Matrix(series) => !series.is_empty(),
            // A number is true unless it is zero.
            Value::Scalar(points) => points.iter().any(|point| point.value != 0.0),
            Value::String(_) => false,
        },
        Found::Series(_) | Found::Texts(_) => false,
    })
}
