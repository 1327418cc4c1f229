//! Loki's HTTP API for queries (`/loki/api/v1/query` and its neighbours), without the HTTP: parameters in, status and
//! JSON out. Node and centre answer with this very code, so that Grafana's Loki data source, `logcli` and every other
//! client find the same API at both.
//!
//! Invariants:
//! - An answer is JSON as Loki 3 writes it; an error is plain text with Loki's status.
//! - Parameters are checked before anything is read, and what a query may touch is the caller's to bound.
//! - What nodes find for the centre is written by the same code as what the centre finds itself.

mod asked;
mod live;
mod member;
mod params;
pub mod scan;
mod tail;
mod write;

#[cfg(test)]
mod tests;

pub use asked::{Found, find};
pub use live::Live;
pub use member::Member;
pub use scan::Directory;
pub use tail::{Seen, TailEntry, TailRequest, tail_message, tail_request};
pub use write::Encoding;

use params::{bad, bounds, duration, limit, millis};
use skerry_logql::{Budget, ParseError, Source, Statistics, parse_selector};
use skerry_model::{TimeRange, UnixMillis};
use skerry_promapi::Params;
use skerry_promql::{Answer, Matcher, Value};
use skerry_wire::Question;
use std::collections::BTreeSet;
use std::time::Duration;
use write::Form;

/// A source that can also say how much it holds, from the directories of its blocks alone.
pub trait Catalog: Source {
    /// What there is in the blocks that may hold records of the range whose streams meet the matchers.
    ///
    /// # Errors
    /// Where the store cannot be read.
    fn directory(&self, matchers: &[Matcher], range: TimeRange) -> Result<Directory, Self::Error>;
}

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
    /// `index/stats`
    IndexStats,
    /// `index/volume`
    Volume,
    /// `format_query`
    FormatQuery,
    /// `status/buildinfo`
    BuildInfo,
}

/// Every path below `/loki/api/v1/` that needs nothing of the path itself; `label/NAME/values` is
/// [`Endpoint::LabelValues`]. Each takes GET, and POST with a form, which clients use for long queries.
pub const ROUTES: [(&str, Endpoint); 9] = [
    ("query", Endpoint::Query),
    ("query_range", Endpoint::QueryRange),
    ("series", Endpoint::Series),
    ("labels", Endpoint::Labels),
    ("label", Endpoint::Labels),
    ("index/stats", Endpoint::IndexStats),
    ("index/volume", Endpoint::Volume),
    ("format_query", Endpoint::FormatQuery),
    ("status/buildinfo", Endpoint::BuildInfo),
];

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// JSON where the status is 200, else plain text.
    pub body: String,
}

impl Response {
    /// Media type of the body.
    #[must_use]
    pub const fn media_type(&self) -> &'static str {
        if self.status == 200 { "application/json; charset=UTF-8" } else { "text/plain; charset=utf-8" }
    }
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// For people.
    pub text: String,
}

impl From<ParseError> for Refusal {
    fn from(error: ParseError) -> Self {
        bad(error.to_string())
    }
}

impl From<Refusal> for Response {
    fn from(Refusal { status, text }: Refusal) -> Self {
        Self { status, body: text + "\n" }
    }
}

impl From<skerry_promapi::Refusal> for Refusal {
    fn from(skerry_promapi::Refusal { status, text, .. }: skerry_promapi::Refusal) -> Self {
        Self { status, text }
    }
}

impl From<Refusal> for skerry_promapi::Refusal {
    fn from(Refusal { status, text }: Refusal) -> Self {
        let kind = match status {
            400 => "bad_data",
            504 => "timeout",
            _ => "internal",
        };
        Self { status, kind, text }
    }
}

/// What a request is, and what it may cost.
pub struct Run<'a> {
    /// What is asked for.
    pub endpoint: &'a Endpoint,
    /// With these parameters.
    pub params: &'a Params,
    /// In which form entries are to be written.
    pub encoding: Encoding,
    /// The time.
    pub now: UnixMillis,
    /// How long it takes by now.
    pub elapsed: &'a dyn Fn() -> Duration,
}

/// The question that a request asks of the data; `None` where it asks for something else.
///
/// # Errors
/// [`Refusal`] where a parameter cannot be used.
pub fn question(endpoint: &Endpoint, params: &Params, now: UnixMillis) -> Result<Option<Question>, Refusal> {
    asked::question(endpoint, params, now)
}

/// Answers a request. Blocks while the source does.
#[must_use]
pub fn answer<S: Catalog>(run: &Run<'_>, source: &S, budget: Budget<'_>) -> Response
where
    S::Error: std::error::Error,
{
    match run.body(source, budget) {
        Ok(body) => Response { status: 200, body },
        Err(refused) => refused.into(),
    }
}

/// Writes what nodes found, with what the reader should know and, as JSON, how it went with each node. Loki's clients
/// look past fields that they do not know.
#[must_use]
pub fn answer_of_nodes(run: &Run<'_>, found: Found, warnings: &[String], nodes: &serde_json::Value) -> Response {
    match run.written(found, &Statistics::default()) {
        Ok(mut body) => {
            body.pop();
            if !warnings.is_empty() {
                body.push_str(&format!(",\"warnings\":{}", serde_json::Value::from(warnings.to_vec())));
            }
            body.push_str(&format!(",\"nodes\":{nodes}}}"));
            Response { status: 200, body }
        }
        Err(refused) => refused.into(),
    }
}

impl Run<'_> {
    fn body<S: Catalog>(&self, source: &S, budget: Budget<'_>) -> Result<String, Refusal>
    where
        S::Error: std::error::Error,
    {
        if let Some(question) = asked::question(self.endpoint, self.params, self.now)? {
            let (found, statistics) = find(&question, source, budget)?;
            return self.written(found, &statistics);
        }
        match self.endpoint {
            Endpoint::IndexStats => self.index_stats(source),
            Endpoint::FormatQuery => {
                Ok(write::success(&skerry_promapi::text_json(&asked::query(self.params)?.format())))
            }
            // The others are questions and were answered above.
            _ => Ok(build_info()),
        }
    }

    fn written(&self, found: Found, statistics: &Statistics) -> Result<String, Refusal> {
        match (self.endpoint, found) {
            (Endpoint::Labels, Found::Streams(sets)) => {
                let names: BTreeSet<&str> = sets.iter().flat_map(|set| set.iter().map(|(name, _)| name)).collect();
                Ok(write::texts(names.into_iter()))
            }
            (Endpoint::LabelValues(name), Found::Streams(sets)) => {
                let values: BTreeSet<&str> = sets.iter().map(|set| set.value(name)).filter(|v| !v.is_empty()).collect();
                Ok(write::texts(values.into_iter()))
            }
            (endpoint, mut found) => {
                if *endpoint == Endpoint::Volume {
                    largest(&mut found, limit(self.params)?);
                }
                let form = Form {
                    encoding: self.encoding,
                    interval: duration(self.params, "interval")?.unwrap_or_default(),
                    is_range: *endpoint == Endpoint::QueryRange,
                };
                Ok(write::result(found, &form, statistics, (self.elapsed)()))
            }
        }
    }

    /// From the directories of blocks: an upper bound, as what Loki says is.
    fn index_stats<S: Catalog>(&self, source: &S) -> Result<String, Refusal>
    where
        S::Error: std::error::Error,
    {
        let (start, end) = bounds(self.params, self.now, Duration::from_secs(6 * 3600))?;
        let matchers = parse_selector(self.params.first("query").unwrap_or_default())?;
        let range = TimeRange { from: millis(start), to: millis(end) };
        let failed = |error: S::Error| Refusal { status: 500, text: format!("log records cannot be read: {error}") };
        let Directory { streams, blocks, records, line_bytes } = source.directory(&matchers, range).map_err(failed)?;
        Ok(format!("{{\"streams\":{streams},\"chunks\":{blocks},\"entries\":{records},\"bytes\":{line_bytes}}}"))
    }
}

/// Leaves the series with the largest values, largest first.
fn largest(found: &mut Found, limit: usize) {
    if let Found::Metric(Answer { value: Value::Vector(all), .. }) = found {
        let value = |series: &skerry_promql::Series| series.points.first().map_or(0.0, |point| point.value);
        all.sort_by(|a, b| value(b).total_cmp(&value(a)).then_with(|| a.labels.cmp(&b.labels)));
        all.truncate(limit);
    }
}

/// What Grafana looks at to know which features it may use.
fn build_info() -> String {
    let revision = env!("CARGO_PKG_VERSION");
    serde_json::json!({
        "version": "3.0.0", "revision": revision, "branch": "skerry", "buildUser": "", "buildDate": "", "goVersion": ""
    })
    .to_string()
}
