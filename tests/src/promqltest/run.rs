//! Runs a script.

use super::script::{Eval, Kind, Text, parse};
use skerry_model::{Labels, Sample, UnixMillis};
use skerry_promql::notation::{Line, Slot};
use skerry_promql::{
    Answer, Limits, Matcher, Query, QueryError, Selected, Series, Source, SourceError, Span, Value, matches_all,
};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Values that a query of a script may touch.
const VALUES_MAX: u64 = 2_000_000;
/// Relative difference that counts as none.
const TOLERANCE: f64 = 1e-6;

/// What became of an eval.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It is as expected.
    Passed,
    /// It is not, for this reason.
    Failed(String),
    /// It was not judged, for this reason.
    Skipped(String),
}

/// Outcomes of one script.
#[derive(Debug, Default)]
pub struct Report {
    /// Line, expression and outcome of each eval.
    pub evals: Vec<(usize, String, Outcome)>,
}

impl Report {
    /// How many passed, failed and were skipped.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |wanted: fn(&Outcome) -> bool| self.evals.iter().filter(|(_, _, outcome)| wanted(outcome)).count();
        (
            count(|outcome| *outcome == Outcome::Passed),
            count(|outcome| matches!(outcome, Outcome::Failed(_))),
            count(|outcome| matches!(outcome, Outcome::Skipped(_))),
        )
    }
}

/// Runs the script in a file.
///
/// # Errors
/// Where the file cannot be read or is no script.
pub fn run_file(path: &Path) -> Result<Report, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let commands = parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut memory = Memory::default();
    let mut report = Report::default();
    for command in commands {
        match command.kind {
            Kind::Clear => memory = Memory::default(),
            Kind::Load { step_ms, lines, nhcb } => lines.iter().for_each(|line| memory.load(line, step_ms, nhcb)),
            Kind::Eval(eval) => {
                memory.touched.set(false);
                let outcome = judge(&eval, &memory);
                let outcome = match outcome {
                    Outcome::Passed => Outcome::Passed,
                    _ if eval.has_histogram => Outcome::Skipped("expects a native histogram".into()),
                    _ if memory.touched.get() => Outcome::Skipped("reads a native histogram".into()),
                    other => other,
                };
                report.evals.push((command.at, eval.expr.clone(), outcome));
            }
        }
    }
    Ok(report)
}

/// Series in memory.
#[derive(Debug, Default)]
struct Memory {
    series: BTreeMap<Labels, BTreeMap<i64, f64>>,
    /// Series that have native histograms, which are not kept.
    histograms: Vec<Labels>,
    /// Whether a query asked for one of those.
    touched: Cell<bool>,
}

impl Memory {
    fn load(&mut self, line: &Line, step_ms: i64, nhcb: bool) {
        if nhcb {
            let name = line.labels.metric();
            let base = ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            let pairs = line.labels.iter().filter(|(label, _)| !matches!(*label, "le" | "__name__"));
            self.histograms.extend(Labels::new(pairs.chain([("__name__", base)])));
        }
        let mut at = 0;
        for slot in &line.slots {
            match slot {
                Slot::Nothing => {}
                Slot::Number(value) => {
                    self.series.entry(line.labels.clone()).or_default().insert(at, *value);
                }
                Slot::Histogram(_) => self.histograms.push(line.labels.clone()),
            }
            at += step_ms;
        }
    }
}

impl Source for Memory {
    fn select(
        &self,
        matchers: &[Matcher],
        from: UnixMillis,
        to: UnixMillis,
        _: u64,
    ) -> Result<Vec<Selected>, SourceError> {
        let meets = |labels: &Labels| matches_all(matchers, labels);
        if self.histograms.iter().any(meets) {
            self.touched.set(true);
        }
        let mut found = Vec::new();
        for (labels, samples) in self.series.iter().filter(|(labels, _)| meets(labels)) {
            if from > to {
                continue;
            }
            let samples = samples.range(from.0..=to.0).map(|(at, value)| Sample { at: UnixMillis(*at), value: *value });
            let samples: Vec<Sample> = samples.collect();
            if !samples.is_empty() {
                found.push(Selected { labels: labels.clone(), samples });
            }
        }
        Ok(found)
    }
}

fn judge(eval: &Eval, memory: &Memory) -> Outcome {
    let span = if eval.step_ms == 0 {
        Ok(Span::instant(UnixMillis(eval.start_ms)))
    } else {
        Span::range(
            UnixMillis(eval.start_ms),
            UnixMillis(eval.end_ms),
            Duration::from_millis(eval.step_ms.unsigned_abs()),
        )
    };
    let limits = Limits { values_max: VALUES_MAX, ..Limits::default() };
    let answer = Query::parse(&eval.expr).and_then(|query| query.evaluate(memory, span?, limits));
    let checked = match (&eval.fails, answer) {
        (Some(wanted), Err(error)) => told(wanted, &error.to_string()),
        (Some(_), Ok(answer)) => Err(format!("should fail, and gives {answer:?}")),
        (None, Err(QueryError::Unsupported(what))) => return Outcome::Failed(format!("{what} is not supported")),
        (None, Err(error)) => Err(format!("fails: {error}")),
        (None, Ok(answer)) => compare(eval, &answer).and_then(|()| again(eval, memory, limits)),
    };
    match checked {
        Ok(()) => Outcome::Passed,
        Err(reason) => Outcome::Failed(reason),
    }
}

/// An instant query once more, as part of a range query.
fn again(eval: &Eval, memory: &Memory, limits: Limits) -> Result<(), String> {
    let names_order = ["sort", "start()", "end()", "step()", "range()"].iter().any(|word| eval.expr.contains(word));
    if eval.step_ms != 0 || eval.ordered || eval.matrix.is_some() || eval.string.is_some() || names_order {
        return Ok(());
    }
    let minute = 60_000;
    let (start, end) = (UnixMillis(eval.start_ms - minute), UnixMillis(eval.start_ms + minute));
    let span = Span::range(start, end, Duration::from_secs(60)).map_err(|error| error.to_string())?;
    let query = Query::parse(&eval.expr).map_err(|error| error.to_string())?;
    let answer = match query.evaluate(memory, span, limits) {
        Ok(answer) => answer,
        // What fails at another moment says nothing of this one.
        Err(_) => return Ok(()),
    };
    let only = |series: Vec<Series>| -> Vec<Series> {
        let at_moment = |mut series: Series| {
            series.points.retain(|point| point.at.0 == eval.start_ms);
            (!series.points.is_empty()).then_some(series)
        };
        series.into_iter().filter_map(at_moment).collect()
    };
    let value = match answer.value {
        Value::Matrix(series) => Value::Vector(only(series)),
        Value::Scalar(points) => Value::Scalar(points.into_iter().filter(|p| p.at.0 == eval.start_ms).collect()),
        other => other,
    };
    values(eval, &value).map_err(|error| format!("as a range query: {error}"))
}

fn compare(eval: &Eval, answer: &Answer) -> Result<(), String> {
    let warnings: Vec<&str> = answer.annotations.warnings().collect();
    let infos: Vec<&str> = answer.annotations.infos().collect();
    for (what, wanted, found) in [("warnings", eval.warns, &warnings), ("infos", eval.infos, &infos)] {
        if wanted.is_some_and(|wanted| wanted == found.is_empty()) {
            return Err(format!("{what}: {found:?}"));
        }
    }
    for (wanted, found) in eval.warnings.iter().map(|w| (w, &warnings)).chain(eval.remarks.iter().map(|r| (r, &infos)))
    {
        if !found.iter().any(|text| told(wanted, text).is_ok()) {
            return Err(format!("{wanted:?} is not among {found:?}"));
        }
    }
    values(eval, &answer.value)
}

/// Whether a message is the expected one.
fn told(wanted: &Text, found: &str) -> Result<(), String> {
    let good = match wanted {
        Text::Any => true,
        Text::Exact(text) => text == found,
        Text::Pattern(pattern) => {
            Matcher::new("", skerry_promql::MatchOp::Regex, &format!(".*{pattern}.*")).is_ok_and(|m| m.matches(found))
        }
    };
    if good { Ok(()) } else { Err(format!("says {found:?}, not {wanted:?}")) }
}

fn values(eval: &Eval, value: &Value) -> Result<(), String> {
    match value {
        Value::String(text) => match &eval.string {
            Some(wanted) if wanted == text => Ok(()),
            wanted => Err(format!("is {text:?}, not {wanted:?}")),
        },
        Value::Scalar(points) => {
            let wanted: Vec<f64> = match (eval.scalar, eval.lines.first()) {
                (Some(scalar), _) => vec![scalar],
                (None, Some(line)) => line.slots.iter().filter_map(number_of).collect(),
                (None, None) => return Err(format!("is a scalar: {points:?}")),
            };
            let same = wanted.len() == points.len() && points.iter().zip(&wanted).all(|(p, w)| equal(p.value, *w));
            if same { Ok(()) } else { Err(format!("is {points:?}, not {wanted:?}")) }
        }
        Value::Vector(found) => {
            let wanted: Vec<(&Labels, BTreeMap<i64, f64>)> =
                eval.lines.iter().map(|line| (&line.labels, points_of(line, eval.start_ms, 1))).collect();
            if eval.ordered {
                let order: Vec<&Labels> = found.iter().map(|series| &series.labels).collect();
                let expected: Vec<&Labels> = wanted.iter().map(|(labels, _)| *labels).collect();
                if order != expected {
                    return Err(format!("order is {order:?}, not {expected:?}"));
                }
            }
            matrix(&wanted, found)
        }
        Value::Matrix(found) => {
            let (start, step) = eval.matrix.unwrap_or((eval.start_ms, eval.step_ms));
            let wanted: Vec<(&Labels, BTreeMap<i64, f64>)> =
                eval.lines.iter().map(|line| (&line.labels, points_of(line, start, step))).collect();
            matrix(&wanted, found)
        }
    }
}

fn points_of(line: &Line, start: i64, step: i64) -> BTreeMap<i64, f64> {
    let times = (0..).map(|n| start + n * step);
    times.zip(&line.slots).filter_map(|(at, slot)| number_of(slot).map(|value| (at, value))).collect()
}

fn number_of(slot: &Slot) -> Option<f64> {
    match slot {
        Slot::Number(value) => Some(*value),
        Slot::Nothing | Slot::Histogram(_) => None,
    }
}

fn matrix(wanted: &[(&Labels, BTreeMap<i64, f64>)], found: &[Series]) -> Result<(), String> {
    for series in found {
        let Some((_, points)) = wanted.iter().find(|(labels, _)| **labels == series.labels) else {
            return Err(format!("{} is not expected: {:?}", series.labels, series.points));
        };
        let mut expected = points.iter();
        for point in &series.points {
            match expected.next() {
                Some((at, value)) if *at == point.at.0 && equal(*value, point.value) => {}
                other => return Err(format!("{}: {point:?} where {other:?} is expected", series.labels)),
            }
        }
        if let Some(missing) = expected.next() {
            return Err(format!("{}: {missing:?} is missing", series.labels));
        }
    }
    let has = |labels: &Labels| found.iter().any(|series| series.labels == *labels);
    match wanted.iter().find(|(labels, points)| !points.is_empty() && !has(labels)) {
        None => Ok(()),
        Some((labels, _)) => Err(format!("{labels} is missing")),
    }
}

#[expect(clippy::float_cmp, reason = "infinities are equal to themselves alone")]
fn equal(a: f64, b: f64) -> bool {
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    if a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}
