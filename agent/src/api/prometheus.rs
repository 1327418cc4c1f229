//! Prometheus's HTTP API over what this node keeps.
//!
//! One query at a time: the node's memory is for its work, and a second asker waits.

use crate::clock::Clock;
use crate::store::{ReadError, SeriesQuery, Store};
use crate::vitals::Vitals;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, get, on};
use skerry_model::{Labels, MetricMeta, Sample, TimeRange, UnixMillis};
use skerry_promapi::{Catalog, Endpoint, Params, ROUTES, Runtime, Targets, answer};
use skerry_promql::{Limits, Matcher, Selected, Source, SourceError};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// Samples and values that one query may touch: about 4 MB in all.
const VALUES_MAX: u64 = 250_000;
/// Longest form of a request.
const FORM_BYTES_MAX: usize = 64 * 1024;

/// What the handlers work with.
#[derive(Clone)]
struct Queries {
    store: Store,
    clock: Clock,
    turn: Arc<Semaphore>,
    vitals: Vitals,
    about: Arc<About>,
}

/// What is told of the config that runs.
#[derive(Debug)]
pub struct About {
    /// The config without secrets.
    pub config: String,
    /// How long and how much is kept.
    pub retention: String,
    /// When this run began.
    pub started: UnixMillis,
}

/// Its routes.
pub(super) fn router(store: Store, vitals: Vitals, about: About) -> Router {
    let (clock, turn) = (vitals.clock.clone(), Arc::new(Semaphore::new(1)));
    let queries = Queries { store, clock, turn, vitals, about: Arc::new(about) };
    let fixed = ROUTES
        .into_iter()
        .fold(Router::new(), |router, (path, endpoint)| router.route(&format!("/api/v1/{path}"), at(endpoint)));
    fixed
        .route("/api/v1/label/{name}/values", get(label_values))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .with_state(queries)
}

fn at(endpoint: Endpoint) -> MethodRouter<Queries> {
    let handler = move |State(queries): State<Queries>, RawQuery(query): RawQuery, form: Bytes| async move {
        queries.respond(endpoint, query, &form).await
    };
    on(MethodFilter::GET.or(MethodFilter::POST), handler)
}

async fn label_values(State(queries): State<Queries>, Path(name): Path<String>, RawQuery(query): RawQuery) -> Response {
    queries.respond(Endpoint::LabelValues(name), query, &[]).await
}

impl Queries {
    async fn respond(self, endpoint: Endpoint, query: Option<String>, form: &[u8]) -> Response {
        let params = Params::decode(query.unwrap_or_default().as_bytes(), form);
        // Never closed while the router lives.
        let _turn = self.turn.clone().acquire_owned().await;
        let source = Kept { store: self.store, runtime: Handle::current(), vitals: self.vitals, about: self.about };
        let now = self.clock.wall();
        let limits = Limits { values_max: VALUES_MAX, ..Limits::default() };
        let work = move || answer(&endpoint, &params, &source, now, limits);
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => {
                let status = StatusCode::from_u16(done.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                (status, [(header::CONTENT_TYPE, "application/json")], done.body).into_response()
            }
            Err(error) => {
                tracing::error!(%error, "a query ended badly");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

/// What the node keeps, as the evaluator sees it. Its calls block, on a thread that may.
struct Kept {
    store: Store,
    runtime: Handle,
    vitals: Vitals,
    about: Arc<About>,
}

fn failed(error: ReadError) -> SourceError {
    SourceError(Box::new(error))
}

impl Source for Kept {
    fn select(
        &self,
        matchers: &[Matcher],
        from: UnixMillis,
        to: UnixMillis,
        samples_max: u64,
    ) -> Result<Vec<Selected>, SourceError> {
        let samples_max = usize::try_from(samples_max).unwrap_or(usize::MAX);
        let query = SeriesQuery { matchers: matchers.to_vec(), range: TimeRange { from, to }, samples_max };
        let found = self.runtime.block_on(self.store.read_series(query)).map_err(failed)?;
        Ok(found.into_iter().map(|(labels, samples)| Selected { labels, samples: in_order(samples) }).collect())
    }
}

impl Catalog for Kept {
    fn series(
        &self,
        matchers: &[Matcher],
        _: UnixMillis,
        _: UnixMillis,
        series_max: usize,
    ) -> Result<Vec<Labels>, SourceError> {
        let mut found = self.runtime.block_on(self.store.label_sets(matchers.to_vec())).map_err(failed)?;
        found.truncate(series_max);
        Ok(found)
    }

    fn metadata(&self) -> Result<Vec<MetricMeta>, SourceError> {
        let observations = self.vitals.latest.borrow().clone();
        let mut metas: Vec<MetricMeta> = Vec::new();
        for observation in observations.iter() {
            // A metric's observations are adjacent.
            if metas.last().is_none_or(|last| last.name != observation.meta.name) {
                metas.push((*observation.meta).clone());
            }
        }
        metas.extend(self.vitals.targets.metadata());
        Ok(metas)
    }

    fn targets(&self) -> Result<Targets, SourceError> {
        Ok(self.vitals.targets.targets())
    }

    fn runtime(&self) -> Runtime {
        let stats = self.vitals.store.borrow();
        Runtime {
            started: self.about.started,
            config: self.about.config.clone(),
            flags: BTreeMap::new(),
            retention: self.about.retention.clone(),
            corrupt_blocks: stats.corrupt_blocks,
            blocks: stats.metric_blocks,
            kept: stats.metric_range.map(|range| (range.from, range.to)),
        }
    }
}

/// Samples by rising time, each moment once. They were stored in the order they were taken, in which a clock that was
/// set back stands twice at some moments: the later sample counts.
fn in_order(mut samples: Vec<Sample>) -> Vec<Sample> {
    let is_rising = samples.windows(2).all(|pair| pair[0].at < pair[1].at);
    if !is_rising {
        samples.sort_by_key(|sample| sample.at);
        samples.reverse();
        samples.dedup_by_key(|sample| sample.at);
        samples.reverse();
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_set_back_leaves_each_moment_once() {
        let sample = |at: i64, value: f64| Sample { at: UnixMillis(at), value };
        let taken = vec![sample(1, 1.0), sample(3, 2.0), sample(2, 3.0), sample(3, 4.0)];
        assert_eq!(in_order(taken), [sample(1, 1.0), sample(2, 3.0), sample(3, 4.0)]);
    }
}
