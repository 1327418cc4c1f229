//! From parameters to a checked [`Question`], and from that to what is found. The centre's questions to nodes take the
//! same way as a node's own, with MQTT in the middle.

use crate::params::{bad, bounds, is_forward, limit, millis, nanos, step, time};
use crate::{Endpoint, Refusal};
use skerry_logql::{
    Budget, Direction, Entry, LogAnswer, LogRequest, Query, QueryError, Source, Statistics, Stream, parse_selector,
    range_of_nanos, run_log, run_metric,
};
use skerry_model::{Labels, TimeRange, UnixMillis};
use skerry_promapi::Params;
use skerry_promapi::edge::Merge;
use skerry_promql::{Annotations, Answer, Series, Span, Value};
use skerry_wire::{LogEntry, Question, StreamPart};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Most selectors in one question.
const MATCHES_MAX: usize = 64;
/// Lists go this far back where nothing is asked, and queries.
const LIST_SPAN: Duration = Duration::from_secs(6 * 3600);
const QUERY_SPAN: Duration = Duration::from_secs(3600);
/// Moments of a range query.
const STEPS_MAX: i128 = 11_000;

/// What a question found.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// Records, by stream.
    Logs(Vec<Stream>),
    /// Numbers: at one moment or at many.
    Metric(Answer),
    /// Label sets of streams.
    Streams(BTreeSet<Labels>),
}

fn millis_of(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn query(params: &Params) -> Result<Query, Refusal> {
    Ok(Query::parse(params.first("query").unwrap_or_default())?)
}

/// The question that a request asks of the data, checked as far as that goes without them; `None` where it asks for
/// something else.
pub(crate) fn question(endpoint: &Endpoint, params: &Params, now: UnixMillis) -> Result<Option<Question>, Refusal> {
    let text = || params.first("query").unwrap_or_default().to_owned();
    Ok(Some(match endpoint {
        Endpoint::Query => {
            limit(params)?;
            is_forward(params)?;
            let at = millis(time(params, "time")?.unwrap_or(nanos(now)));
            if let Query::Log(_) = query(params)? {
                return Err(bad(
                    "log queries are not supported as an instant query type, please change your query to a range query type",
                ));
            }
            Question::LogMetric { query: text(), start: at, end: at, step_ms: 0 }
        }
        Endpoint::QueryRange => {
            let (start, end) = bounds(params, now, QUERY_SPAN)?;
            if end <= start {
                return Err(bad("end timestamp must not be before or equal to start time"));
            }
            let (step, forward, limit) = (step(params, start, end)?, is_forward(params)?, limit(params)?);
            match query(params)? {
                Query::Log(_) => {
                    let (start, end) = inclusive(start, end);
                    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
                    Question::Logs { query: text(), start, end, limit, forward }
                }
                Query::Metric(_) => {
                    let moments = (end - start) / i128::try_from(step.as_nanos()).unwrap_or(i128::MAX).max(1);
                    if moments > STEPS_MAX {
                        return Err(bad(
                            "exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step parameter",
                        ));
                    }
                    let step_ms = millis_of(step).max(1);
                    Question::LogMetric { query: text(), start: millis(start), end: millis(end), step_ms }
                }
            }
        }
        Endpoint::Series => streams(params, now, params.all("match[]").chain(params.all("match")))?,
        Endpoint::Labels | Endpoint::LabelValues(_) => streams(params, now, params.all("query"))?,
        Endpoint::Volume => volume(params, now)?,
        _ => return Ok(None),
    }))
}

/// The milliseconds of `[start, end)`; an empty range where there is none.
fn inclusive(start: i128, end: i128) -> (UnixMillis, UnixMillis) {
    range_of_nanos(start, end).map_or((UnixMillis(1), UnixMillis(0)), |range| (range.from, range.to))
}

fn streams<'a>(
    params: &Params,
    now: UnixMillis,
    selectors: impl Iterator<Item = &'a str>,
) -> Result<Question, Refusal> {
    let (start, end) = bounds(params, now, LIST_SPAN)?;
    // Clients write an empty selector where they mean everything.
    let is_all = |text: &&str| matches!(text.replace(char::is_whitespace, "").as_str(), "" | "{}");
    let matches: Vec<String> = selectors.filter(|text| !is_all(text)).map(str::to_owned).collect();
    if matches.len() > MATCHES_MAX {
        return Err(bad(format!("{} selectors, at most {MATCHES_MAX} are taken", matches.len())));
    }
    for selector in &matches {
        parse_selector(selector)?;
    }
    Ok(Question::LogStreams { matches, start: millis(start), end: millis(end) })
}

/// Bytes of lines by stream: what Loki's index tells is counted here.
fn volume(params: &Params, now: UnixMillis) -> Result<Question, Refusal> {
    let (start, end) = bounds(params, now, LIST_SPAN)?;
    let selector = params.first("query").unwrap_or_default();
    let matchers = parse_selector(selector)?;
    let named =
        params.first("targetLabels").unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    let mut names: BTreeSet<&str> = named.collect();
    if names.is_empty() {
        names = matchers.iter().map(skerry_promql::Matcher::label).collect();
    }
    let names: Vec<&str> = names.into_iter().collect();
    let millis_span = millis_of(millis(end).since(millis(start))).max(1);
    let query = format!("sum by ({}) (bytes_over_time({selector}[{millis_span}ms]))", names.join(", "));
    Query::parse(&query)?;
    Ok(Question::LogMetric { query, start: millis(end), end: millis(end), step_ms: 0 })
}

/// Answers a question. Blocks while the source does.
///
/// # Errors
/// [`Refusal`].
pub fn find<S: Source>(question: &Question, source: &S, budget: Budget<'_>) -> Result<(Found, Statistics), Refusal>
where
    S::Error: std::error::Error,
{
    match question {
        Question::Logs { query, start, end, limit, forward } => {
            let Query::Log(query) = Query::parse(query)? else {
                return Err(bad("the query makes numbers, where log records are asked for"));
            };
            if end < start {
                return Ok((Found::Logs(Vec::new()), Statistics::default()));
            }
            let request = LogRequest {
                range: TimeRange { from: *start, to: *end },
                limit: usize::try_from(*limit).unwrap_or(usize::MAX),
                direction: if *forward { Direction::Forward } else { Direction::Backward },
            };
            let LogAnswer { streams, statistics } = run_log(&query, source, request, budget).map_err(failed)?;
            Ok((Found::Logs(streams), statistics))
        }
        Question::LogMetric { query, start, end, step_ms } => {
            let Query::Metric(query) = Query::parse(query)? else {
                return Err(bad("the query finds log records, where numbers are asked for"));
            };
            let span = match step_ms {
                0 => Span::instant(*start),
                step => {
                    Span::range(*start, *end, Duration::from_millis(*step)).map_err(|error| bad(error.to_string()))?
                }
            };
            let answer = run_metric(&query, source, span, budget).map_err(failed)?;
            Ok((Found::Metric(answer.answer), answer.statistics))
        }
        Question::LogStreams { matches, start, end } => {
            let range = TimeRange { from: *start, to: *end };
            let list =
                |matchers: &[_]| source.streams(matchers, range).map_err(|error| failed(QueryError::Source(error)));
            let mut found: BTreeSet<Labels> = BTreeSet::new();
            for selector in matches {
                found.extend(list(&parse_selector(selector)?)?);
            }
            if matches.is_empty() {
                found.extend(list(&[])?);
            }
            Ok((Found::Streams(found), Statistics::default()))
        }
        _ => Err(bad("a question about metrics among those about logs")),
    }
}

fn failed<E: std::error::Error>(error: QueryError<E>) -> Refusal {
    let status = match &error {
        QueryError::Stopped => 504,
        error if error.is_of_query() => 400,
        _ => 500,
    };
    let text = match error {
        QueryError::Source(cause) => format!("log records cannot be read: {cause}"),
        error => error.to_string(),
    };
    Refusal { status, text }
}

impl Found {
    /// In the form in which a node sends it. Numbers alone become a series without labels.
    #[must_use]
    pub fn into_sent(self, question: &Question) -> skerry_promapi::Found {
        match self {
            Self::Logs(streams) => skerry_promapi::Found::Logs(streams.into_iter().map(part).collect()),
            Self::Streams(sets) => skerry_promapi::Found::Series(sets),
            Self::Metric(Answer { value, annotations }) => {
                let (is_instant, at) = match question {
                    Question::LogMetric { step_ms, end, .. } => (*step_ms == 0, *end),
                    _ => (true, UnixMillis(0)),
                };
                let value = match value {
                    Value::Scalar(points) => {
                        let all = vec![Series { labels: Labels::default(), points }];
                        if is_instant { Value::Vector(all) } else { Value::Matrix(all) }
                    }
                    value => value,
                };
                skerry_promapi::Found::Answer { answer: Answer { value, annotations }, at }
            }
        }
    }

    /// What nodes sent, as one. Of records the first ones in the order of the question, as many as it asks for.
    #[must_use]
    pub fn of_nodes(question: &Question, merge: Merge) -> Self {
        let (series, sets, parts) = merge.into_parts();
        match question {
            Question::Logs { limit, forward, .. } => {
                Self::Logs(together(parts, usize::try_from(*limit).unwrap_or(usize::MAX), *forward))
            }
            Question::LogStreams { .. } => Self::Streams(sets),
            Question::LogMetric { step_ms, .. } => {
                let value = if *step_ms == 0 { Value::Vector(series) } else { Value::Matrix(series) };
                Self::Metric(Answer { value, annotations: Annotations::default() })
            }
            _ => Self::Streams(BTreeSet::new()),
        }
    }
}

fn part(stream: Stream) -> StreamPart {
    let entry = |Entry { at, line, metadata, parsed }| LogEntry { at, line, metadata, parsed };
    StreamPart { labels: stream.labels, entries: stream.entries.into_iter().map(entry).collect() }
}

fn together(parts: Vec<StreamPart>, limit: usize, forward: bool) -> Vec<Stream> {
    // A node's records of one moment are in order already, and the sort keeps that.
    let mut all: Vec<(Labels, LogEntry)> = Vec::new();
    for part in parts {
        all.extend(part.entries.into_iter().map(|entry| (part.labels.clone(), entry)));
    }
    if forward {
        all.sort_by_key(|(_, entry)| entry.at);
    } else {
        all.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.at));
    }
    all.truncate(limit);
    let mut streams: BTreeMap<Labels, Vec<Entry>> = BTreeMap::new();
    for (labels, LogEntry { at, line, metadata, parsed }) in all {
        streams.entry(labels).or_default().push(Entry { at, line, metadata, parsed });
    }
    streams.into_iter().map(|(labels, entries)| Stream { labels, entries }).collect()
}
