//! Metric queries: range aggregations become columns, and PromQL does the rest.

use super::cells::{Cells, Fold, Windows};
use super::scan::{Halt, Scan, Streams};
use super::series::SeriesMap;
use crate::answer::{Budget, MetricAnswer};
use crate::ast::{RangeExpr, RangeOp, Unit, Unwrap};
use crate::error::QueryError;
use crate::parse::PLACEHOLDER;
use crate::query::MetricQuery;
use crate::run::{ERROR, Kind, Run, Work, all_pass, errors, needles};
use crate::source::{Selection, Source};
use skerry_model::{Labels, Sample, TimeRange, UnixMillis};
use skerry_promql::{MatchOp, Matcher, Selected, SourceError, Span};
use std::cell::RefCell;
use std::time::Duration;

/// Values that PromQL may touch for each one that it is given.
const VALUES_PER_VALUE: u64 = 16;

/// The numbers that a query gives at the moments of a span.
///
/// # Errors
/// [`QueryError`]: where a limit is passed, the caller says stop, lines have an error, numbers do not go together, or
/// records cannot be read.
pub fn run_metric<S: Source + ?Sized>(
    query: &MetricQuery,
    source: &S,
    span: Span,
    budget: Budget<'_>,
) -> Result<MetricAnswer, QueryError<S::Error>> {
    let mut scan = Scan::new(budget);
    let mut columns = Vec::new();
    let mut left = budget.limits.values_max;
    for range in &query.metric.ranges {
        columns.push(RefCell::new(column(range, source, span, &mut scan, &mut left)?));
    }
    // Values stand at the steps, so a selector looks nowhere but there.
    let lookback = Duration::from_millis(1);
    let values_max = budget.limits.values_max.saturating_mul(VALUES_PER_VALUE);
    let limits = skerry_promql::Limits { lookback, values_max, ..skerry_promql::Limits::default() };
    let answer = query.metric.rest.evaluate(&Columns(columns), span, limits).map_err(QueryError::Metric)?;
    Ok(MetricAnswer { answer, statistics: scan.statistics })
}

/// What range aggregations came to, by their numbers. Each is asked for once.
struct Columns(Vec<RefCell<Vec<Selected>>>);

impl skerry_promql::Source for Columns {
    fn select(&self, matchers: &[Matcher], _: UnixMillis, _: UnixMillis, _: u64) -> Result<Vec<Selected>, SourceError> {
        let number = matchers.iter().find(|matcher| matcher.label() == PLACEHOLDER);
        let column = number.and_then(|matcher| matcher.value().parse().ok()).and_then(|at: usize| self.0.get(at));
        Ok(column.map(RefCell::take).unwrap_or_default())
    }
}

/// Values of each series, as a function needs them.
enum Values {
    /// Put together as they come.
    Cells(Fold, Vec<Cells>),
    /// All of them, with their times.
    Samples(Vec<Vec<Sample>>),
}

/// What one range aggregation comes to: its values at the steps, or its samples where PromQL's function is applied to them.
fn column<S: Source + ?Sized>(
    range: &RangeExpr,
    source: &S,
    span: Span,
    scan: &mut Scan<'_>,
    values_left: &mut u64,
) -> Result<Vec<Selected>, QueryError<S::Error>> {
    let windows = Windows {
        start: span.start().0,
        step: span.step_ms(),
        count: span.steps(),
        range: range.range_ms,
        offset: range.offset_ms,
    };
    let (from, to) = windows.bounds();
    let selection = Selection {
        matchers: range.log.matchers.clone(),
        range: TimeRange { from: UnixMillis(from), to: UnixMillis(to) },
        needles: needles(&range.log),
    };
    let blocks = source.blocks(&selection).map_err(QueryError::Source)?;
    scan.statistics.blocks_offered += blocks.len() as u64;
    let mut map = SeriesMap::new(range, scan.budget.limits.series_max);
    let mut run = Run::new(&range.log, map.wanted().map(|wanted| with_unwrap(wanted, range.unwrap.as_ref())));
    let mut streams = Streams::default();
    let mut values = match Fold::of(range.op) {
        Some(fold) => Values::Cells(fold, Vec::new()),
        None => Values::Samples(Vec::new()),
    };
    let most = scan.budget.limits.values_max;
    // Older blocks first, so that values come by rising time.
    for block in blocks.into_iter().rev() {
        scan.read(source, block, &selection, &mut streams, &mut |statistics, stream, labels, record| {
            let Some(steps) = windows.steps(record.at.0) else { return Ok(()) };
            if !run.passes(labels, record) {
                return Ok(());
            }
            let value = match (&range.unwrap, range.op) {
                (Some(unwrap), _) => match unwrapped(unwrap, &mut run.work) {
                    Some(value) => value,
                    None => return Ok(()),
                },
                #[expect(clippy::cast_precision_loss, reason = "a line's length")]
                (None, RangeOp::Bytes | RangeOp::BytesRate) => run.line(record).len() as f64,
                (None, _) => 1.0,
            };
            if let Some(error) = run.work.error() {
                return Err(failed(error, &run.work));
            }
            statistics.lines_kept += 1;
            let series = if range.op == RangeOp::Absent { 0 } else { map.number(stream, &run.work)? };
            let is_new = match &mut values {
                Values::Cells(fold, all) => {
                    if all.len() <= series {
                        all.resize_with(series + 1, Cells::default);
                    }
                    all[series].add(*fold, steps, record.at.0, value)
                }
                Values::Samples(all) => {
                    if all.len() <= series {
                        all.resize_with(series + 1, Vec::new);
                    }
                    all[series].push(Sample { at: record.at, value });
                    true
                }
            };
            *values_left = values_left.checked_sub(u64::from(is_new)).ok_or_else(|| too_many(most))?;
            Ok(())
        })?;
    }
    let mut selected = match values {
        Values::Cells(fold, all) => {
            let all = if range.op == RangeOp::Absent {
                absent(range, &windows, fold, &all)
            } else {
                folded(range, &windows, fold, &all, map.labels)
            };
            let made = all.iter().map(|series| series.samples.len() as u64).sum();
            *values_left = values_left.checked_sub(made).ok_or_else(|| too_many(most).into_error())?;
            all
        }
        Values::Samples(all) => {
            let shifted = |samples: Vec<Sample>| {
                let mut samples: Vec<Sample> = samples
                    .into_iter()
                    .map(|sample| Sample { at: UnixMillis(sample.at.0.saturating_add(range.offset_ms)), ..sample })
                    .collect();
                samples.sort_by_key(|sample| sample.at);
                samples
            };
            map.labels
                .into_iter()
                .zip(all)
                .map(|(labels, samples)| Selected { labels, samples: shifted(samples) })
                .collect()
        }
    };
    selected.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(selected)
}

fn too_many(most: u64) -> Halt {
    Halt::Limit(format!(
        "the query needs more than {most} values at a time. Consider a longer step, a shorter time range, or fewer series"
    ))
}

/// Names that are looked at behind the pipeline.
fn with_unwrap(mut wanted: Vec<String>, unwrap: Option<&Unwrap>) -> Vec<String> {
    if let Some(unwrap) = unwrap {
        wanted.push(unwrap.label.clone());
        unwrap.filters.iter().for_each(|filter| filter.names(&mut |name| wanted.push(name.to_owned())));
    }
    wanted
}

/// The number of a line; `None` where it has none or is filtered out. One that cannot be read is an error of the line.
fn unwrapped(unwrap: &Unwrap, work: &mut Work) -> Option<f64> {
    let text = work.value(&unwrap.label);
    if text.is_empty() {
        return None;
    }
    let value = match unwrap.unit.read(text) {
        // Durations are told in seconds.
        Ok(nanos) if unwrap.unit == Unit::Duration => nanos / 1e9,
        Ok(value) => value,
        Err(details) => {
            work.fail(errors::SAMPLE, details);
            0.0
        }
    };
    all_pass(&unwrap.filters, work).then_some(value)
}

/// What Loki says when a line of a metric query has an error.
fn failed(error: &str, work: &Work) -> Halt {
    let pairs = work.pairs().filter(|(_, _, kind)| *kind == Kind::Parsed).map(|(name, value, _)| (name, value));
    let all = [(ERROR, error)].into_iter().chain(work.base_left()).chain(pairs);
    let shown: Vec<String> = all
        .take(20)
        .map(|(name, value)| format!("{name}={}", skerry_promql::quoted(&value.chars().take(80).collect::<String>())))
        .collect();
    Halt::Pipeline(format!(
        "pipeline error: '{error}' for series: '{{{}}}'.\nUse a label filter to intentionally skip this error. (e.g | \
         __error__!=\"{error}\").\nTo skip all potential errors you can match empty errors.(e.g __error__=\"\")\nThe label \
         filter can also be specified after unwrap. (e.g | unwrap latency | __error__=\"\" )\n",
        shown.join(", ")
    ))
}

/// Series with their values at the steps.
fn folded(range: &RangeExpr, windows: &Windows, fold: Fold, all: &[Cells], labels: Vec<Labels>) -> Vec<Selected> {
    #[expect(clippy::cast_precision_loss, reason = "exact to 2^53 ms")]
    let seconds = range.range_ms as f64 / 1000.0;
    let finish = |value: f64| match range.op {
        RangeOp::Rate | RangeOp::BytesRate => value / seconds,
        RangeOp::Stddev => value.sqrt(),
        _ => value,
    };
    let series = labels.into_iter().zip(all).map(|(labels, cells)| {
        let mut samples = Vec::new();
        cells.each(fold, windows.count, |step, value| {
            samples.push(Sample { at: UnixMillis(windows.at(step)), value: finish(value) });
        });
        Selected { labels, samples }
    });
    series.collect()
}

/// One where there is no line; its labels are those that the selector demands.
fn absent(range: &RangeExpr, windows: &Windows, fold: Fold, all: &[Cells]) -> Vec<Selected> {
    let mut is_there = vec![false; windows.count];
    for cells in all {
        cells.each(fold, windows.count, |step, _| is_there[step] = true);
    }
    let steps = is_there.iter().enumerate().filter(|(_, is_there)| !**is_there);
    let samples = steps.map(|(step, _)| Sample { at: UnixMillis(windows.at(step)), value: 1.0 }).collect();
    let matchers = &range.log.matchers;
    let once = |label: &str| matchers.iter().filter(|matcher| matcher.label() == label).count() == 1;
    let demanded = matchers.iter().filter(|matcher| matcher.op() == MatchOp::Equal && once(matcher.label()));
    let labels = Labels::new(demanded.map(|matcher| (matcher.label(), matcher.value()))).unwrap_or_default();
    vec![Selected { labels, samples }]
}
