//! Prometheus's HTTP API for queries (`/api/v1/query` and its neighbours), without the HTTP: parameters in, status and
//! JSON out. Node and centre answer with this very code, so that Grafana and every other client finds the same API at
//! both.
//!
//! Invariants:
//! - Every answer is `{"status":"success","data":…}` or `{"status":"error","errorType":…,"error":…}`.
//! - Parameters are checked before anything is read, and what a query may touch is the caller's to bound.

mod about;
mod params;
mod write;

pub use about::{Health, Runtime, Target, Targets, config_text};
pub use params::Params;

use params::Bad;
use skerry_model::{Labels, MetricMeta, UnixMillis};
use skerry_promql::{Limits, Matcher, Query, QueryError, Source, SourceError, Span};
use std::collections::BTreeSet;

/// A source that can also say which series there are.
pub trait Catalog: Source {
    /// Label sets of the series that meet all of `matchers` and may have samples in `from..=to`; at most `series_max`,
    /// in any order.
    ///
    /// # Errors
    /// [`SourceError`] where they cannot be read.
    fn series(
        &self,
        matchers: &[Matcher],
        from: UnixMillis,
        to: UnixMillis,
        series_max: usize,
    ) -> Result<Vec<Labels>, SourceError>;

    /// What is known about metrics, in any order.
    ///
    /// # Errors
    /// [`SourceError`] where it cannot be read.
    fn metadata(&self) -> Result<Vec<MetricMeta>, SourceError>;

    /// What is scraped.
    ///
    /// # Errors
    /// [`SourceError`] where it cannot be read.
    fn targets(&self) -> Result<Targets, SourceError>;

    /// The running program.
    fn runtime(&self) -> Runtime;
}

/// Most series that are listed, or looked through for labels.
const SERIES_MAX: usize = 50_000;
/// Lists go this far back where nothing is asked.
const LIST_RANGE_MS: i64 = 12 * 3_600_000;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `query`
    Query,
    /// `query_range`
    QueryRange,
    /// `series`
    Series,
    /// `labels`
    Labels,
    /// `label/NAME/values`
    LabelValues(String),
    /// `format_query`
    FormatQuery,
    /// `query_exemplars`: none are kept.
    Exemplars,
    /// `metadata`
    Metadata,
    /// `targets`
    Targets,
    /// `scrape_pools`
    ScrapePools,
    /// `rules`: there are none yet.
    Rules,
    /// `alerts`: there are none yet.
    Alerts,
    /// `alertmanagers`: alerts are routed here, so there are none.
    Alertmanagers,
    /// `status/buildinfo`
    BuildInfo,
    /// `status/config`
    Config,
    /// `status/flags`
    Flags,
    /// `status/runtimeinfo`
    RuntimeInfo,
    /// `status/tsdb`
    Tsdb,
}

/// Every path below `/api/v1/` that needs nothing of the path itself; `label/NAME/values` is [`Endpoint::LabelValues`].
/// Each takes GET, and POST with a form, which clients use for long expressions.
pub const ROUTES: [(&str, Endpoint); 17] = [
    ("query", Endpoint::Query),
    ("query_range", Endpoint::QueryRange),
    ("series", Endpoint::Series),
    ("labels", Endpoint::Labels),
    ("format_query", Endpoint::FormatQuery),
    ("query_exemplars", Endpoint::Exemplars),
    ("metadata", Endpoint::Metadata),
    ("targets", Endpoint::Targets),
    ("scrape_pools", Endpoint::ScrapePools),
    ("rules", Endpoint::Rules),
    ("alerts", Endpoint::Alerts),
    ("alertmanagers", Endpoint::Alertmanagers),
    ("status/buildinfo", Endpoint::BuildInfo),
    ("status/config", Endpoint::Config),
    ("status/flags", Endpoint::Flags),
    ("status/runtimeinfo", Endpoint::RuntimeInfo),
    ("status/tsdb", Endpoint::Tsdb),
];

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// JSON.
    pub body: String,
}

enum Failure {
    Bad(Bad),
    Query(QueryError),
}

impl From<Bad> for Failure {
    fn from(bad: Bad) -> Self {
        Self::Bad(bad)
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        Self::Query(error)
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self::Query(error.into())
    }
}

/// Answers a request. Blocks while the source does.
#[must_use]
pub fn answer(endpoint: &Endpoint, params: &Params, source: &dyn Catalog, now: UnixMillis, limits: Limits) -> Response {
    let request = Request { params, source, now, limits };
    let body = match endpoint {
        Endpoint::Query => request.query(),
        Endpoint::QueryRange => request.query_range(),
        Endpoint::Series => request.series(),
        Endpoint::Labels => request.labels(),
        Endpoint::LabelValues(name) => request.label_values(name),
        Endpoint::FormatQuery => request.format_query(),
        Endpoint::Exemplars => request.exemplars(),
        Endpoint::Metadata => request.metadata(),
        Endpoint::Targets => request.targets(),
        Endpoint::ScrapePools => source.targets().map(|targets| about::scrape_pools(&targets)).map_err(Failure::from),
        Endpoint::Rules => request.rules(),
        Endpoint::Alerts => Ok(write::success("{\"alerts\":[]}", &[], &[])),
        Endpoint::Alertmanagers => {
            Ok(write::success("{\"activeAlertmanagers\":[],\"droppedAlertmanagers\":[]}", &[], &[]))
        }
        Endpoint::BuildInfo => Ok(build_info()),
        Endpoint::Config => Ok(about::config(&source.runtime())),
        Endpoint::Flags => Ok(about::flags(&source.runtime())),
        Endpoint::RuntimeInfo => Ok(about::runtime_info(&source.runtime(), now)),
        Endpoint::Tsdb => request.tsdb(),
    };
    match body {
        Ok(body) => Response { status: 200, body },
        Err(Failure::Bad(Bad { parameter, problem })) => {
            failure(400, "bad_data", &format!("invalid parameter \"{parameter}\": {problem}"))
        }
        Err(Failure::Query(error)) => {
            let (status, text) = match (&error, error.error_type()) {
                (QueryError::Source(source), kind) => (500, format!("{kind}: {}", source.0)),
                (_, "bad_data") => (400, format!("invalid parameter \"query\": {error}")),
                _ => (422, error.to_string()),
            };
            failure(status, error.error_type(), &text)
        }
    }
}

fn failure(status: u16, kind: &str, text: &str) -> Response {
    let body = serde_json::json!({"status": "error", "errorType": kind, "error": text});
    Response { status, body: body.to_string() }
}

/// What Grafana looks at to know which features it may use.
fn build_info() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let data = serde_json::json!({"version": "3.0.0", "application": "skerry", "revision": version});
    write::success(&data.to_string(), &[], &[])
}

struct Request<'a> {
    params: &'a Params,
    source: &'a dyn Catalog,
    now: UnixMillis,
    limits: Limits,
}

impl Request<'_> {
    fn limits(&self) -> Result<Limits, Bad> {
        let lookback = self.params.duration("lookback_delta")?.unwrap_or(self.limits.lookback);
        Ok(Limits { lookback, ..self.limits })
    }

    /// The query; one that is absent reads as an empty one does.
    fn parsed(&self) -> Result<Query, Failure> {
        // What a query may touch is bounded, and so is its time; the parameter is checked for clients' sake.
        self.params.duration("timeout")?;
        Ok(Query::parse(self.params.first("query").unwrap_or_default())?)
    }

    fn query(&self) -> Result<String, Failure> {
        let query = self.parsed()?;
        let at = self.params.time("time")?.unwrap_or(self.now);
        let answer = query.evaluate(self.source, Span::instant(at), self.limits()?)?;
        Ok(write::answer(&answer, at, self.params.limit()?))
    }

    fn query_range(&self) -> Result<String, Failure> {
        let query = self.parsed()?;
        let missing = |parameter| Bad { parameter, problem: "it is required".into() };
        let start = self.params.time("start")?.ok_or_else(|| missing("start"))?;
        let end = self.params.time("end")?.ok_or_else(|| missing("end"))?;
        let step = self.params.duration("step")?.ok_or_else(|| missing("step"))?;
        if end < start {
            return Err(Bad { parameter: "end", problem: "end timestamp must not be before start time".into() }.into());
        }
        let answer = query.evaluate(self.source, Span::range(start, end, step)?, self.limits()?)?;
        Ok(write::answer(&answer, end, self.params.limit()?))
    }

    /// The series that any `match[]` means; all of them where none is asked for and that is allowed.
    fn found(&self, needs_match: bool) -> Result<BTreeSet<Labels>, Failure> {
        let to = self.params.time("end")?.unwrap_or(self.now);
        let from = self.params.time("start")?.unwrap_or(UnixMillis(to.0.saturating_sub(LIST_RANGE_MS)));
        let selectors: Vec<&str> = self.params.all("match[]").collect();
        if selectors.is_empty() {
            if needs_match {
                return Err(Bad { parameter: "match[]", problem: "no match[] parameter provided".into() }.into());
            }
            return Ok(self.source.series(&[], from, to, SERIES_MAX)?.into_iter().collect());
        }
        let mut found = BTreeSet::new();
        for selector in selectors {
            let matchers = Query::parse(selector).and_then(|query| query.matchers());
            let matchers = matchers.map_err(|error| Bad { parameter: "match[]", problem: error.to_string() })?;
            found.extend(self.source.series(&matchers, from, to, SERIES_MAX)?);
        }
        Ok(found)
    }

    fn series(&self) -> Result<String, Failure> {
        let found = self.found(true)?;
        let limit = self.params.limit()?.unwrap_or(usize::MAX);
        let items = found.iter().take(limit).map(write::labels);
        Ok(self.listed(items.collect(), found.len()))
    }

    fn labels(&self) -> Result<String, Failure> {
        let found = self.found(false)?;
        let names: BTreeSet<&str> = found.iter().flat_map(|labels| labels.iter().map(|(name, _)| name)).collect();
        self.texts(names)
    }

    fn label_values(&self, name: &str) -> Result<String, Failure> {
        let found = self.found(false)?;
        let values: BTreeSet<&str> = found.iter().map(|labels| labels.value(name)).filter(|v| !v.is_empty()).collect();
        self.texts(values)
    }

    fn texts(&self, texts: BTreeSet<&str>) -> Result<String, Failure> {
        let limit = self.params.limit()?.unwrap_or(usize::MAX);
        let items: Vec<String> = texts.iter().take(limit).map(|text| write::text(text)).collect();
        Ok(self.listed(items, texts.len()))
    }

    fn listed(&self, items: Vec<String>, of: usize) -> String {
        let warnings: &[&str] = if items.len() < of { &["results truncated due to limit"] } else { &[] };
        write::success(&format!("[{}]", items.join(",")), warnings, &[])
    }

    fn exemplars(&self) -> Result<String, Failure> {
        self.parsed()?;
        Ok(write::success("[]", &[], &[]))
    }

    fn metadata(&self) -> Result<String, Failure> {
        Ok(about::metadata(self.params, &self.source.metadata()?)?)
    }

    fn rules(&self) -> Result<String, Failure> {
        let kind = self.params.first("type").unwrap_or_default().to_lowercase();
        if !["", "alert", "record"].contains(&&*kind) {
            return Err(Bad { parameter: "type", problem: format!("not supported value {kind:?}") }.into());
        }
        Ok(write::success("{\"groups\":[]}", &[], &[]))
    }

    fn targets(&self) -> Result<String, Failure> {
        Ok(about::targets(self.params, &self.source.targets()?)?)
    }

    fn tsdb(&self) -> Result<String, Failure> {
        let series =
            self.source.series(&[], UnixMillis(self.now.0.saturating_sub(LIST_RANGE_MS)), self.now, SERIES_MAX)?;
        about::tsdb(self.params, &self.source.runtime(), &series)
    }

    fn format_query(&self) -> Result<String, Failure> {
        let query = self.parsed()?;
        Ok(write::success(&write::text(&query.prettify()), &[], &[]))
    }
}

#[cfg(test)]
mod tests;
