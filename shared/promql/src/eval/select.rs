//! Selectors: the samples that an expression begins with.

use super::column::{Column, merged};
use super::{Evaluator, Steps};
use crate::error::QueryError;
use crate::matcher::Matcher;
use crate::parse::ast::{At, Expr, Kind, Selector, Shift};
use crate::source::Selected;
use crate::value::{Point, Series};
use skerry_model::{Labels, UnixMillis, is_stale};
use std::time::Duration;

/// What of a sample a selector gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Take {
    /// Its value.
    Value,
    /// Its time, in seconds.
    Time,
}

/// When a selector looks, at each step.
#[derive(Debug, Clone, Copy)]
pub(super) struct When {
    /// By `@`.
    fixed: Option<i64>,
    offset: i64,
}

impl When {
    pub(super) fn at(self, steps: &Steps, step: usize) -> i64 {
        self.fixed.unwrap_or_else(|| steps.at(step)).saturating_sub(self.offset)
    }

    /// This selector's time inside a subquery that looks at `outer`.
    pub(super) fn within(self, outer: Self) -> Self {
        match self.fixed {
            Some(_) => self,
            None => Self { fixed: outer.fixed, offset: outer.offset.saturating_add(self.offset) },
        }
    }

    fn bounds(self, steps: &Steps) -> (i64, i64) {
        (self.at(steps, 0), self.at(steps, steps.count.saturating_sub(1)))
    }
}

/// A series of a range vector: all samples that any step's window needs.
pub(super) struct RangeSeries {
    pub(super) labels: Labels,
    pub(super) drop_name: bool,
    pub(super) times: Vec<i64>,
    pub(super) values: Vec<f64>,
}

/// A range vector.
pub(super) struct RangeVector {
    pub(super) series: Vec<RangeSeries>,
    pub(super) when: When,
    /// Length of each window, in milliseconds.
    pub(super) range: i64,
}

/// The samples of one series in one step's window.
pub(super) struct Window<'a> {
    pub(super) times: &'a [i64],
    pub(super) values: &'a [f64],
    /// The window is `(start, end]`.
    pub(super) start: i64,
    pub(super) end: i64,
    /// The step's own time.
    pub(super) now: i64,
}

impl RangeVector {
    /// Calls `each` with every step's window of a series.
    pub(super) fn windows(&self, series: &RangeSeries, steps: &Steps, mut each: impl FnMut(usize, Window<'_>)) {
        let (mut low, mut high) = (0, 0);
        for step in 0..steps.count {
            let end = self.when.at(steps, step);
            let start = end.saturating_sub(self.range);
            // Ends never go back, so neither do the borders.
            while high < series.times.len() && series.times[high] <= end {
                high += 1;
            }
            while low < high && series.times[low] <= start {
                low += 1;
            }
            let (times, values) = (&series.times[low..high], &series.values[low..high]);
            each(step, Window { times, values, start, end, now: steps.at(step) });
        }
    }
}

impl Evaluator<'_> {
    /// The newest sample of each series at each step.
    pub(super) fn instant(
        &mut self,
        selector: &Selector,
        steps: &Steps,
        take: Take,
    ) -> Result<Vec<Column>, QueryError> {
        let when = self.when(selector.shift);
        self.newest(&selector.matchers, when, steps, take)
    }

    /// As [`Self::instant`], for conditions that are no selector's.
    pub(super) fn newest(
        &mut self,
        matchers: &[Matcher],
        when: When,
        steps: &Steps,
        take: Take,
    ) -> Result<Vec<Column>, QueryError> {
        let lookback = millis(self.limits.lookback);
        let (first, last) = when.bounds(steps);
        let from = first.saturating_sub(lookback).saturating_add(1);
        // At one moment the samples before the newest are of no use.
        let found =
            if first == last { self.fetch_newest(matchers, from, last)? } else { self.fetch(matchers, from, last)? };
        let mut columns = Vec::with_capacity(found.len());
        for Selected { labels, samples } in found {
            self.charge(steps.count)?;
            let mut column = Column::new(labels, steps.count);
            let mut next = 0;
            for (step, value) in column.values.iter_mut().enumerate() {
                let at = when.at(steps, step);
                while next < samples.len() && samples[next].at.0 <= at {
                    next += 1;
                }
                let Some(newest) = next.checked_sub(1).map(|before| samples[before]) else { continue };
                if newest.at.0 > at.saturating_sub(lookback) && !is_stale(newest.value) {
                    *value = match take {
                        Take::Value => newest.value,
                        Take::Time => newest.at.as_secs_f64(),
                    };
                }
            }
            columns.push(column);
        }
        Ok(columns)
    }

    /// A range vector, from a selector or a subquery.
    pub(super) fn range(&mut self, expr: &Expr, steps: &Steps) -> Result<RangeVector, QueryError> {
        match &*expr.bare().kind {
            Kind::Matrix(selector, range) => {
                let (when, range) = (self.when(selector.shift), *range);
                let (first, last) = when.bounds(steps);
                let found = self.fetch(&selector.matchers, first.saturating_sub(range).saturating_add(1), last)?;
                let series = found.into_iter().map(|Selected { labels, samples }| {
                    let fresh = samples.iter().filter(|sample| !is_stale(sample.value));
                    let (times, values) = fresh.map(|sample| (sample.at.0, sample.value)).unzip();
                    RangeSeries { labels, drop_name: false, times, values }
                });
                Ok(RangeVector { series: series.collect(), when, range })
            }
            Kind::Subquery(subquery) => {
                let (when, range) = (self.when(subquery.shift), subquery.range_ms);
                let step = subquery.step_ms.unwrap_or_else(|| millis(self.limits.subquery_step)).max(1);
                let (first, last) = when.bounds(steps);
                // Steps are aligned to multiples of the step, whatever the outer query's are.
                let border = first.saturating_sub(range);
                let mut start = border.div_euclid(step).saturating_mul(step);
                while start <= border {
                    start = start.saturating_add(step);
                }
                let count =
                    if last < start { 0 } else { usize::try_from((last - start) / step).unwrap_or(usize::MAX) + 1 };
                self.charge(count)?;
                let inner = Steps { start, step, count };
                let columns = merged(self.vector(&subquery.expr, &inner)?)?;
                let mut series = Vec::with_capacity(columns.len());
                for column in columns {
                    let present = column.values.iter().enumerate().filter(|(_, value)| !is_stale(**value));
                    let (times, values) = present.map(|(step, value)| (inner.at(step), *value)).unzip();
                    series.push(RangeSeries { labels: column.labels, drop_name: column.drop_name, times, values });
                }
                Ok(RangeVector { series, when, range })
            }
            _ => Err(QueryError::Parse("a range vector is expected".into())),
        }
    }

    /// The samples of a range vector themselves, at the last step.
    pub(super) fn raw(&mut self, expr: &Expr, steps: &Steps) -> Result<Vec<Series>, QueryError> {
        let vector = self.range(expr, steps)?;
        let mut all = Vec::new();
        for series in &vector.series {
            let mut points = Vec::new();
            vector.windows(series, steps, |_, window| {
                let pairs = window.times.iter().zip(window.values);
                points = pairs.map(|(at, value)| Point { at: UnixMillis(*at), value: *value }).collect();
            });
            if !points.is_empty() {
                all.push(Series { labels: series.labels.clone(), points });
            }
        }
        Ok(all)
    }

    pub(super) fn fetch(&mut self, matchers: &[Matcher], from: i64, to: i64) -> Result<Vec<Selected>, QueryError> {
        let left = self.limits.values_max.saturating_sub(self.used);
        let found = self.source.select(matchers, UnixMillis(from), UnixMillis(to), left)?;
        self.charge(found.iter().map(|series| series.samples.len()).sum())?;
        Ok(found)
    }

    fn fetch_newest(&mut self, matchers: &[Matcher], from: i64, to: i64) -> Result<Vec<Selected>, QueryError> {
        let left = self.limits.values_max.saturating_sub(self.used);
        let found = self.source.newest(matchers, UnixMillis(from), UnixMillis(to), left)?;
        self.charge(found.iter().map(|series| series.samples.len()).sum())?;
        Ok(found)
    }

    pub(super) fn when(&self, shift: Shift) -> When {
        let fixed = shift.at.map(|at| match at {
            At::Start => self.span.start,
            At::End => self.span.end,
            At::Time(at) => at,
        });
        When { fixed, offset: shift.offset.unwrap_or(0) }
    }
}

/// Whole milliseconds.
pub(super) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
