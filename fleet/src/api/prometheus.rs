//! Prometheus's HTTP API over the whole fleet. Every series has the label `node` and the labels that the admins signed
//! for its node; a label that the series has itself wins over those.
//!
//! With `node` or `node_selector` the nodes answer themselves, from what they keep.

use super::{ApiError, Fleet};
use crate::node_labels::NodeLabels;
use crate::store::{ReadError, Select, Store};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, get, on};
use skerry_model::{Labels, MetricMeta, Sample, UnixMillis, is_stale};
use skerry_promapi::{Catalog, Endpoint, Health, Params, ROUTES, Runtime, Target, Targets, answer, edge, question};
use skerry_promql::{Limits, Matcher, Selected, Source, SourceError, TooMuch, matches_all};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// Samples and values that one query may touch: about 400 MB at the very most.
const VALUES_MAX: u64 = 20_000_000;
/// How far back a target was scraped that is still one.
const LOOKBACK_MS: i64 = 300_000;

/// Its routes.
pub(super) fn router() -> Router<Fleet> {
    let fixed = ROUTES
        .into_iter()
        .fold(Router::new(), |router, (path, endpoint)| router.route(&format!("/{path}"), at(endpoint)));
    fixed.route("/label/{name}/values", get(label_values))
}

fn at(endpoint: Endpoint) -> MethodRouter<Fleet> {
    let handler = move |State(fleet): State<Fleet>, RawQuery(query): RawQuery, body: Bytes| async move {
        respond(&fleet, endpoint, query, &body).await
    };
    on(MethodFilter::GET.or(MethodFilter::POST), handler)
}

async fn label_values(
    State(fleet): State<Fleet>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    respond(&fleet, Endpoint::LabelValues(name), query, &[]).await
}

async fn respond(fleet: &Fleet, endpoint: Endpoint, query: Option<String>, form: &[u8]) -> Result<Response, ApiError> {
    let params = Params::decode(query.unwrap_or_default().as_bytes(), form);
    match edge::Wanted::of(&params) {
        Ok(None) => {}
        Ok(Some(wanted)) => return super::edge::respond(fleet, question(&endpoint, &params), wanted).await,
        Err(refused) => return Ok(json(refused.into())),
    }
    let nodes = NodeLabels::read(&fleet.delivery).await?;
    let now = (fleet.wall)();
    let about = fleet.runtime.clone();
    let source = FleetSource { store: fleet.store.clone(), runtime: Handle::current(), nodes, about, now };
    let limits = Limits { values_max: VALUES_MAX, ..Limits::default() };
    let work = move || answer(&endpoint, &params, &source, now, limits);
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::internal(&error))?;
    if done.status >= 400 {
        fleet.requests.refuse("query");
    }
    Ok(json(done))
}

/// An answer as HTTP has it.
pub(super) fn json(done: skerry_promapi::Response) -> Response {
    let status = StatusCode::from_u16(done.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "application/json")], done.body).into_response()
}

/// The fleet's data as the evaluator sees it. Its calls block, on a thread that may.
struct FleetSource {
    store: Store,
    runtime: Handle,
    nodes: NodeLabels,
    about: Arc<Runtime>,
    now: UnixMillis,
}

impl FleetSource {
    /// Newest samples of a metric whose series have not ended, by their labels without its name.
    fn newest(&self, metric: &str) -> Result<BTreeMap<Labels, Vec<Sample>>, SourceError> {
        let from = UnixMillis(self.now.0.saturating_sub(LOOKBACK_MS));
        let found = self.select(&[Matcher::equal("__name__", metric)], from, self.now, VALUES_MAX)?;
        let alive = found.into_iter().filter(|series| series.samples.last().is_some_and(|last| !is_stale(last.value)));
        Ok(alive.filter_map(|series| Some((series.labels.with("__name__", "").ok()?, series.samples))).collect())
    }

    /// The matchers that the store can judge, and those that need the nodes' labels.
    fn divided(&self, matchers: &[Matcher]) -> (Vec<Matcher>, Vec<Matcher>) {
        let signed = self.nodes.names();
        matchers.iter().cloned().partition(|matcher| !signed.contains(matcher.label()))
    }
}

fn failed(error: ReadError) -> SourceError {
    match error {
        ReadError::TooLarge { .. } => SourceError(Box::new(TooMuch(error.to_string()))),
        other => SourceError(Box::new(other)),
    }
}

impl Source for FleetSource {
    fn select(
        &self,
        matchers: &[Matcher],
        from: UnixMillis,
        to: UnixMillis,
        samples_max: u64,
    ) -> Result<Vec<Selected>, SourceError> {
        let (matchers, later) = self.divided(matchers);
        let found =
            self.runtime.block_on(self.store.select(Select { matchers, from, to, samples_max })).map_err(failed)?;
        if found.damaged_blocks > 0 {
            tracing::warn!(blocks = found.damaged_blocks, "a query left out damaged blocks");
        }
        let mut selected: Vec<Selected> = found
            .series
            .into_iter()
            .map(|series| Selected {
                labels: self.nodes.applied(&series.node, &series.labels),
                samples: series.samples,
            })
            .filter(|series| matches_all(&later, &series.labels))
            .collect();
        selected.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(selected)
    }
}

impl Catalog for FleetSource {
    fn series(
        &self,
        matchers: &[Matcher],
        _: UnixMillis,
        _: UnixMillis,
        series_max: usize,
    ) -> Result<Vec<Labels>, SourceError> {
        let (matchers, later) = self.divided(matchers);
        let found = self.runtime.block_on(self.store.label_sets(matchers, series_max)).map_err(failed)?;
        let labelled = found.into_iter().map(|(node, labels)| self.nodes.applied(&node, &labels));
        Ok(labelled.filter(|labels| matches_all(&later, labels)).collect())
    }

    /// Nodes do not tell the types of their metrics yet.
    fn metadata(&self) -> Result<Vec<MetricMeta>, SourceError> {
        Ok(Vec::new())
    }

    /// What the nodes scrape, as far as their series `up` tell: the centre scrapes nothing itself. Addresses and errors
    /// are known to the nodes alone.
    fn targets(&self) -> Result<Targets, SourceError> {
        let took = self.newest("scrape_duration_seconds")?;
        let target = |(labels, samples): (Labels, Vec<Sample>)| {
            let (before, last) = (samples.iter().rev().nth(1), samples.last());
            let seconds = took.get(&labels).and_then(|took| took.last()).map_or(0.0, |sample| sample.value);
            let interval = last.zip(before).map_or(0, |(last, before)| last.at.0.abs_diff(before.at.0));
            Target {
                pool: labels.value("job").to_owned(),
                discovered: Labels::default(),
                url: String::new(),
                health: if last.is_some_and(|last| last.value > 0.0) { Health::Up } else { Health::Down },
                last_error: String::new(),
                last_scrape: last.map(|last| last.at),
                last_took: Duration::try_from_secs_f64(seconds).unwrap_or_default(),
                interval: Duration::from_millis(interval),
                timeout: Duration::ZERO,
                labels,
            }
        };
        Ok(Targets { active: self.newest("up")?.into_iter().map(target).collect(), ..Targets::default() })
    }

    fn runtime(&self) -> Runtime {
        (*self.about).clone()
    }
}
