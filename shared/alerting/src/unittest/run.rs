//! Runs tests.

use super::compare::{
    alert_lines, alert_list, difference, expected_lines, found_lines, same_samples, sample_list, span_text,
};
use super::file::{AlertCase, ExprCase, Test, TestFile};
use super::memory::{Memory, Stored};
use crate::Now;
use crate::rules::{Engine, GroupStatus, RuleFile, Settings, Stage, State};
use skerry_model::{Labels, Mono, UnixMillis};
use skerry_promql::{Limits, Query, QueryError, Source, Span, Value};
use std::error::Error;
use std::fmt;
use std::time::Duration;

/// Alerts and series of a test's rules: far more than a place has, since it is the rules that are tested here.
const RULE_SERIES_MAX: usize = 200_000;

/// How tests are run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether failures show what differs instead of both sides in full.
    pub diff: bool,
    /// Only tests with a name that one of these finds something in; none is all.
    pub run: Vec<regex::Regex>,
}

/// What was not as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Name of the test, may be empty.
    pub test: String,
    /// What, as promtool writes it.
    pub text: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.test.is_empty() {
            writeln!(f, "    name: {},", self.test)?;
        }
        write!(f, "    {}", self.text)
    }
}

impl TestFile {
    /// How many tests these options leave; where there are none, rule files need not even be read.
    #[must_use]
    pub fn selected(&self, options: &Options) -> usize {
        self.tests.iter().filter(|test| is_wanted(test, options)).count()
    }

    /// Runs the tests over these rule files, each with its name. Everything that is not as expected, in the order of the
    /// tests; empty where all pass.
    #[must_use]
    pub fn run(&self, rules: &[(String, RuleFile)], options: &Options) -> Vec<Failure> {
        let mut failures = Vec::new();
        for test in self.tests.iter().filter(|test| is_wanted(test, options)) {
            let texts = Runner::new(self, test, rules, options).run();
            failures.extend(texts.into_iter().map(|text| Failure { test: test.name.clone(), text }));
        }
        failures
    }
}

fn is_wanted(test: &Test, options: &Options) -> bool {
    options.run.is_empty() || options.run.iter().any(|pattern| pattern.is_match(&test.name))
}

/// One test on its way.
struct Runner<'a> {
    file: &'a TestFile,
    test: &'a Test,
    options: &'a Options,
    limits: Limits,
    memory: Memory,
    engine: Engine,
    /// Groups in the order in which they are evaluated.
    order: Vec<usize>,
    failures: Vec<String>,
}

impl<'a> Runner<'a> {
    fn new(file: &'a TestFile, test: &'a Test, rules: &[(String, RuleFile)], options: &'a Options) -> Self {
        let interval = Duration::from_millis(file.interval_ms.unsigned_abs());
        let mut settings = Settings {
            external_labels: test.external_labels.clone(),
            external_url: test.external_url.clone(),
            interval: Duration::from_millis(test.step_ms.unsigned_abs()),
            restore: false,
            ..Settings::default()
        };
        settings.limits.query.subquery_step = interval;
        settings.limits.rule_alerts_max = RULE_SERIES_MAX;
        settings.limits.alerts_max = RULE_SERIES_MAX;
        settings.limits.rule_series_max = RULE_SERIES_MAX;
        let limits = settings.limits.query;
        let engine = Engine::new(rules.to_vec(), settings, None, Now { wall: test.start, mono: Mono(0) });
        let place = |name: &str| file.order.iter().position(|named| named == name).unwrap_or(0);
        let groups = engine.groups();
        let mut order: Vec<usize> = (0..groups.len()).collect();
        order.sort_by_key(|index| place(&groups[*index].name));
        Self { file, test, options, limits, memory: Memory::new(test), engine, order, failures: Vec::new() }
    }

    fn run(mut self) -> Vec<String> {
        let (step, end) = (self.file.interval_ms, self.test.end_ms());
        let mut cases: Vec<&AlertCase> = self.test.alerts.iter().collect();
        cases.sort_by_key(|case| case.at_ms);
        let mut cases = cases.into_iter().peekable();
        let mut passed = 0;
        while passed <= end {
            let at = UnixMillis(self.test.start.0.saturating_add(passed));
            self.memory.show(at);
            if !self.evaluate(at, passed) {
                return self.failures;
            }
            // An expectation between two steps is met by the earlier one.
            if cases.peek().is_some_and(|case| case.at_ms < passed.saturating_add(step)) {
                let groups = self.engine.groups();
                while let Some(case) = cases.next_if(|case| case.at_ms < passed.saturating_add(step)) {
                    self.alerts(case, &groups);
                }
            }
            passed = passed.saturating_add(step);
        }
        for case in &self.test.exprs {
            self.expr(case);
        }
        self.failures
    }

    /// Evaluates every group; whether all rules could be.
    fn evaluate(&mut self, at: UnixMillis, passed: i64) -> bool {
        let mono = Mono(u64::try_from(passed).unwrap_or(0));
        let before = self.failures.len();
        for index in &self.order {
            let Some(turn) = self.engine.turn(*index, at) else { continue };
            let round = self.engine.evaluate(turn, &self.memory, Now { wall: at, mono });
            let time = span_text(passed);
            for (labels, sample) in round.samples {
                let rule =
                    if labels.metric().starts_with("ALERTS") { labels.value("alertname") } else { labels.metric() };
                let rule = rule.to_owned();
                if let Err(error) = self.memory.write(labels, sample) {
                    self.failures.push(format!("rule: {rule}, time: {time}, err: {error}"));
                }
            }
            // A template that failed is no failure: its alert says so.
            for error in round.errors.iter().filter(|error| error.stage == Stage::Evaluation) {
                self.failures.push(format!("rule: {}, time: {time}, err: {}", error.rule, error.text));
            }
        }
        self.failures.len() == before
    }

    /// Compares what fires.
    fn alerts(&mut self, case: &AlertCase, groups: &[GroupStatus]) {
        let rules = groups.iter().flat_map(|group| &group.rules).filter(|rule| *rule.name == *case.name);
        let alerts = rules.filter_map(|rule| rule.alerting.as_ref()).flat_map(|alerting| &alerting.alerts);
        let firing = alerts.filter(|alert| alert.state == State::Firing);
        let mut found: Vec<(Labels, Labels)> =
            firing.map(|alert| (alert.labels.clone(), alert.annotations.clone())).collect();
        found.sort();
        if found == case.expected {
            return;
        }
        let (expected, found) = (alert_lines(&case.expected), alert_lines(&found));
        let head = format!("alertname: {}, time: {}", case.name, span_text(case.at_ms));
        self.failures.push(if self.options.diff {
            format!("{head}, diff:{}", difference(&expected, &found))
        } else {
            format!("{head}, \n        exp:{}, \n        got:{}", alert_list(&expected), alert_list(&found))
        });
    }

    /// Compares what an expression gives.
    fn expr(&mut self, case: &ExprCase) {
        let head = format!("expr: {:?}, time: {}", case.expr, span_text(case.at_ms));
        let mut found = match self.value(case) {
            Ok(found) => found,
            Err(error) => return self.failures.push(format!("{head}, err: {error}")),
        };
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        if same_samples(&case.expected, &found, self.file.fuzzy) {
            return;
        }
        let (expected, found) = (expected_lines(&case.expected), found_lines(&found));
        self.failures.push(if self.options.diff {
            format!("{head}, diff:{}", difference(&expected, &found))
        } else {
            format!("{head},\n        exp: {}\n        got: {}", sample_list(&expected), sample_list(&found))
        });
    }

    fn value(&self, case: &ExprCase) -> Result<Vec<(Labels, Stored)>, String> {
        let at = UnixMillis(self.test.start.0.saturating_add(case.at_ms));
        let query = Query::parse(&case.expr).map_err(|error| with_cause(&error))?;
        if let Ok(matchers) = query.matchers()
            && self.memory.has_histogram(&matchers)
        {
            let lookback = i64::try_from(self.limits.lookback.as_millis()).unwrap_or(i64::MAX);
            return Ok(self.memory.instant(&matchers, at, lookback));
        }
        let source: &dyn Source = &self.memory;
        let answer = query.evaluate(source, Span::instant(at), self.limits).map_err(|error| with_cause(&error))?;
        match answer.value {
            Value::Vector(series) => {
                let only = |series: skerry_promql::Series| {
                    let value = series.points.first().map(|point| Stored::Number(point.value));
                    value.map(|value| (series.labels, value))
                };
                Ok(series.into_iter().filter_map(only).collect())
            }
            Value::Scalar(points) => {
                Ok(points.iter().map(|point| (Labels::default(), Stored::Number(point.value))).collect())
            }
            Value::String(_) | Value::Matrix(_) => Err("the result is neither a vector nor a scalar".into()),
        }
    }
}

/// An error and why, on one line.
fn with_cause(error: &QueryError) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}
