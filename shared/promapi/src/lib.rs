//! Prometheus's HTTP API for queries (`/api/v1/query` and its neighbours), without the HTTP: parameters in, status and
//! JSON out. Node and centre answer with this very code, so that Grafana and every other client finds the same API at
//! both.
//!
//! Invariants:
//! - Every answer is `{"status":"success","data":…}` or `{"status":"error","errorType":…,"error":…}`.
//! - Parameters are checked before anything is read, and what a query may touch is the caller's to bound.

mod about;
mod asked;
pub mod edge;
mod member;
mod params;
mod rules;
mod write;

pub use about::{Health, Runtime, Target, Targets, config_text};
pub use asked::{Found, evaluate};
pub use member::{Member, with_node, with_signed};
pub use params::Params;
pub use rules::{ActiveAlert, AlertState, Alerting, Rule, RuleGroup, RuleHealth};
pub use write::{labels as labels_json, series_list as series_json, text as text_json, time as seconds_json};

use params::Bad;
use skerry_model::{Labels, MetricMeta, UnixMillis};
use skerry_promql::{Limits, Matcher, QueryError, Series, Source, SourceError, Value};
use skerry_wire::Question;

/// A source that can also say which series there are.
pub trait Catalog: Source {
    /// Label sets of the series that meet all of `matchers` and may have samples in `from..=to`, in any order.
    /// More than `series_max` are an error, best a [`skerry_promql::TooMuch`].
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

    /// Groups of rules with their alerts, in the order of their files; none by default.
    fn rules(&self) -> Vec<RuleGroup> {
        Vec::new()
    }
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
    /// `rules`
    Rules,
    /// `alerts`
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

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// `errorType`.
    pub kind: &'static str,
    /// `error`.
    pub text: String,
}

impl From<Bad> for Refusal {
    fn from(Bad { parameter, problem }: Bad) -> Self {
        Self { status: 400, kind: "bad_data", text: format!("invalid parameter \"{parameter}\": {problem}") }
    }
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        let kind = error.error_type();
        let (status, text) = match (&error, kind) {
            (QueryError::Source(source), "execution") => (422, source.0.to_string()),
            (QueryError::Source(source), kind) => (500, format!("{kind}: {}", source.0)),
            (_, "bad_data") => (400, format!("invalid parameter \"query\": {error}")),
            _ => (422, error.to_string()),
        };
        Self { status, kind, text }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Bad(bad) => bad.into(),
            Failure::Query(error) => error.into(),
        }
    }
}

impl From<Refusal> for Response {
    fn from(Refusal { status, kind, text }: Refusal) -> Self {
        let body = serde_json::json!({"status": "error", "errorType": kind, "error": text});
        Self { status, body: body.to_string() }
    }
}

/// The question that a request asks of the data; `None` where it asks for something else.
///
/// # Errors
/// [`Refusal`] where a parameter cannot be used.
pub fn question(endpoint: &Endpoint, params: &Params) -> Result<Option<Question>, Refusal> {
    asked::question(endpoint, params).map_err(Refusal::from)
}

/// Answers a request. Blocks while the source does.
#[must_use]
pub fn answer(endpoint: &Endpoint, params: &Params, source: &dyn Catalog, now: UnixMillis, limits: Limits) -> Response {
    match (Request { params, source, now, limits }).body(endpoint) {
        Ok(body) => Response { status: 200, body },
        Err(failure) => Refusal::from(failure).into(),
    }
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
    fn body(&self, endpoint: &Endpoint) -> Result<String, Failure> {
        if let Some(question) = asked::question(endpoint, self.params)? {
            let limit = self.params.limit()?;
            let mut found = evaluate(&question, self.source, self.now, self.limits)?;
            // Of a range a number is a series without labels, also where the range is one step.
            if let (Question::Range { .. }, Found::Answer { answer, .. }) = (&question, &mut found)
                && let Value::Scalar(points) = &mut answer.value
            {
                let only = Series { labels: Labels::default(), points: std::mem::take(points) };
                answer.value = Value::Matrix(vec![only]);
            }
            return Ok(write::found(&found, limit));
        }
        match endpoint {
            Endpoint::FormatQuery => self.format_query(),
            Endpoint::Exemplars => self.exemplars(),
            Endpoint::Metadata => self.metadata(),
            Endpoint::Targets => self.targets(),
            Endpoint::ScrapePools => Ok(about::scrape_pools(&self.source.targets()?)),
            Endpoint::Alerts => Ok(rules::alerts(&self.source.rules())),
            Endpoint::Alertmanagers => {
                Ok(write::success("{\"activeAlertmanagers\":[],\"droppedAlertmanagers\":[]}", &[], &[]))
            }
            Endpoint::BuildInfo => Ok(build_info()),
            Endpoint::Config => Ok(about::config(&self.source.runtime())),
            Endpoint::Flags => Ok(about::flags(&self.source.runtime())),
            Endpoint::RuntimeInfo => Ok(about::runtime_info(&self.source.runtime(), self.now)),
            Endpoint::Tsdb => self.tsdb(),
            // The others are questions and were answered above.
            _ => self.rules(),
        }
    }

    fn exemplars(&self) -> Result<String, Failure> {
        asked::query(self.params)?;
        Ok(write::success("[]", &[], &[]))
    }

    fn metadata(&self) -> Result<String, Failure> {
        Ok(about::metadata(self.params, &self.source.metadata()?)?)
    }

    fn rules(&self) -> Result<String, Failure> {
        Ok(rules::rules(self.params, self.source.rules())?)
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
        let query = asked::query(self.params)?;
        Ok(write::success(&write::text(&query.prettify()), &[], &[]))
    }
}

#[cfg(test)]
mod tests;
