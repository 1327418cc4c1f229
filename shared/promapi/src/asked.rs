//! From parameters to a checked [`Question`], and from that to what is found. The centre's questions to nodes take the
//! same way as a node's own, with MQTT in the middle.

use crate::params::{Bad, Params};
use crate::{Catalog, Endpoint, Failure, LIST_RANGE_MS, SERIES_MAX};
use skerry_model::{Labels, UnixMillis};
use skerry_promql::{Answer, Limits, Query, QueryError, Span};
use skerry_wire::{Question, Scope, StreamPart};
use std::collections::BTreeSet;
use std::time::Duration;

/// Most selectors in one question.
const MATCHES_MAX: usize = 64;

/// What a question found.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// An expression's value.
    Answer {
        /// The value.
        answer: Answer,
        /// The last moment that was asked for.
        at: UnixMillis,
    },
    /// Label sets of series.
    Series(BTreeSet<Labels>),
    /// Names or values.
    Texts(BTreeSet<String>),
    /// Log records, which Loki's API asks for.
    Logs(Vec<StreamPart>),
    /// JSON objects, which scaling is asked for.
    Documents(Vec<String>),
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The query of a request; one that is absent reads as an empty one does.
pub(crate) fn query(params: &Params) -> Result<Query, Failure> {
    // What a query may touch is bounded, and so is its time; the parameter is checked for clients' sake.
    params.duration("timeout")?;
    Ok(Query::parse(params.first("query").unwrap_or_default())?)
}

/// The question that a request asks of the data, checked as far as that goes without them; `None` where it asks for
/// something else.
pub(crate) fn question(endpoint: &Endpoint, params: &Params) -> Result<Option<Question>, Failure> {
    let expr = || query(params).map(|_| params.first("query").unwrap_or_default().to_owned());
    let lookback_ms = || Ok::<_, Bad>(params.duration("lookback_delta")?.map(millis));
    Ok(Some(match endpoint {
        Endpoint::Query => Question::Instant { expr: expr()?, at: params.time("time")?, lookback_ms: lookback_ms()? },
        Endpoint::QueryRange => {
            let expr = expr()?;
            let missing = |parameter| Bad { parameter, problem: "it is required".into() };
            let start = params.time("start")?.ok_or_else(|| missing("start"))?;
            let end = params.time("end")?.ok_or_else(|| missing("end"))?;
            let step = params.duration("step")?.ok_or_else(|| missing("step"))?;
            if end < start {
                let problem = "end timestamp must not be before start time".into();
                return Err(Bad { parameter: "end", problem }.into());
            }
            Span::range(start, end, step)?;
            Question::Range { expr, start, end, step_ms: millis(step), lookback_ms: lookback_ms()? }
        }
        Endpoint::Series => Question::Series(scope(params, true)?),
        Endpoint::Labels => Question::Labels(scope(params, false)?),
        Endpoint::LabelValues(name) => Question::LabelValues { name: name.clone(), scope: scope(params, false)? },
        _ => return Ok(None),
    }))
}

/// Which series are meant; all of them where none is asked for and that is allowed.
fn scope(params: &Params, needs_match: bool) -> Result<Scope, Bad> {
    let (to, from) = (params.time("end")?, params.time("start")?);
    let matches: Vec<String> = params.all("match[]").map(str::to_owned).collect();
    let bad = |problem| Bad { parameter: "match[]", problem };
    if needs_match && matches.is_empty() {
        return Err(bad("no match[] parameter provided".into()));
    }
    if matches.len() > MATCHES_MAX {
        return Err(bad(format!("{} selectors, at most {MATCHES_MAX} are taken", matches.len())));
    }
    for selector in &matches {
        Query::parse(selector).and_then(|query| query.matchers()).map_err(|error| bad(error.to_string()))?;
    }
    Ok(Scope { matches, from, to })
}

/// Answers a question. Blocks while the source does.
///
/// # Errors
/// [`QueryError`].
pub fn evaluate(
    question: &Question,
    source: &dyn Catalog,
    now: UnixMillis,
    limits: Limits,
) -> Result<Found, QueryError> {
    let limits = |lookback_ms: Option<u64>| Limits {
        lookback: lookback_ms.map_or(limits.lookback, Duration::from_millis),
        ..limits
    };
    Ok(match question {
        Question::Instant { expr, at, lookback_ms } => {
            let at = at.unwrap_or(now);
            let answer = Query::parse(expr)?.evaluate(source, Span::instant(at), limits(*lookback_ms))?;
            Found::Answer { answer, at }
        }
        Question::Range { expr, start, end, step_ms, lookback_ms } => {
            let query = Query::parse(expr)?;
            let span = Span::range(*start, *end, Duration::from_millis(*step_ms))?;
            Found::Answer { answer: query.evaluate(source, span, limits(*lookback_ms))?, at: *end }
        }
        Question::Series(scope) => Found::Series(series(scope, source, now)?),
        Question::Labels(scope) => {
            let found = series(scope, source, now)?;
            let names: BTreeSet<&str> = found.iter().flat_map(|labels| labels.iter().map(|(name, _)| name)).collect();
            Found::Texts(names.into_iter().map(str::to_owned).collect())
        }
        Question::LabelValues { name, scope } => {
            let found = series(scope, source, now)?;
            let values = found.iter().map(|labels| labels.value(name)).filter(|value| !value.is_empty());
            let values: BTreeSet<&str> = values.collect();
            Found::Texts(values.into_iter().map(str::to_owned).collect())
        }
        Question::Logs { .. } | Question::LogMetric { .. } | Question::LogStreams { .. } => {
            return Err(QueryError::Unsupported("a question about logs among those about metrics".into()));
        }
        Question::Scaling(_) => {
            return Err(QueryError::Unsupported("a question about scaling among those about metrics".into()));
        }
    })
}

/// The series that any selector means; all of them where there is none.
fn series(scope: &Scope, source: &dyn Catalog, now: UnixMillis) -> Result<BTreeSet<Labels>, QueryError> {
    let to = scope.to.unwrap_or(now);
    let from = scope.from.unwrap_or(UnixMillis(to.0.saturating_sub(LIST_RANGE_MS)));
    if scope.matches.is_empty() {
        return Ok(source.series(&[], from, to, SERIES_MAX)?.into_iter().collect());
    }
    let mut found = BTreeSet::new();
    for selector in scope.matches.iter().take(MATCHES_MAX) {
        let matchers = Query::parse(selector)?.matchers()?;
        found.extend(source.series(&matchers, from, to, SERIES_MAX)?);
    }
    Ok(found)
}
