//! Test files: text in, checked tests out.

use serde::{Deserialize, Deserializer};
use skerry_model::{Labels, Span, UnixMillis};
use skerry_promql::notation::{self, Histogram, Line};
use skerry_yaml::{Fault, Faults, Places};
use std::collections::BTreeMap;
use std::time::Duration;

/// Time between two evaluations of a file that names none, as in promtool.
const INTERVAL_MS: i64 = 60_000;
/// Most input values of a file, all series together.
const VALUES_MAX: usize = 10_000_000;
/// Most evaluations of a test; at 15 s this is almost five years.
const STEPS_MAX: i64 = 10_000_000;

/// A test file that has been checked.
#[derive(Debug, Clone)]
pub struct TestFile {
    /// Patterns of rule files, relative to the test file's folder.
    pub rule_files: Vec<String>,
    pub(super) interval_ms: i64,
    /// Names of groups; those before are evaluated before those behind, and what is not named first of all.
    pub(super) order: Vec<String>,
    /// Whether values may differ in their last bit.
    pub(super) fuzzy: bool,
    pub(super) tests: Vec<Test>,
}

/// One test.
#[derive(Debug, Clone)]
pub(super) struct Test {
    /// May be empty.
    pub(super) name: String,
    /// Time between two input values.
    pub(super) step_ms: i64,
    pub(super) start: UnixMillis,
    pub(super) input: Vec<Line>,
    pub(super) alerts: Vec<AlertCase>,
    pub(super) exprs: Vec<ExprCase>,
    pub(super) external_labels: Labels,
    pub(super) external_url: String,
}

/// What fires at a time.
#[derive(Debug, Clone)]
pub(super) struct AlertCase {
    /// After the start.
    pub(super) at_ms: i64,
    pub(super) name: String,
    /// Labels, `alertname` among them, and annotations; sorted.
    pub(super) expected: Vec<(Labels, Labels)>,
}

/// What an expression gives at a time.
#[derive(Debug, Clone)]
pub(super) struct ExprCase {
    pub(super) expr: String,
    /// After the start.
    pub(super) at_ms: i64,
    pub(super) expected: Vec<(Labels, Expected)>,
}

/// A value of an expression.
#[derive(Debug, Clone)]
pub(super) enum Expected {
    Number(f64),
    Histogram(Box<Histogram>),
}

impl Test {
    /// The latest time that anything is expected at.
    pub(super) fn end_ms(&self) -> i64 {
        let alerts = self.alerts.iter().map(|case| case.at_ms);
        alerts.chain(self.exprs.iter().map(|case| case.at_ms)).max().unwrap_or(0)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default, deserialize_with = "nullable")]
    rule_files: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    evaluation_interval: String,
    #[serde(default, deserialize_with = "nullable")]
    group_eval_order: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    fuzzy_compare: bool,
    #[serde(default, deserialize_with = "nullable")]
    tests: Vec<RawTest>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTest {
    #[serde(default, deserialize_with = "nullable")]
    name: String,
    #[serde(default, deserialize_with = "nullable")]
    interval: String,
    #[serde(default)]
    start_timestamp: Option<Stamp>,
    #[serde(default, deserialize_with = "nullable")]
    input_series: Vec<RawSeries>,
    #[serde(default, deserialize_with = "nullable")]
    alert_rule_test: Vec<RawAlertCase>,
    #[serde(default, deserialize_with = "nullable")]
    promql_expr_test: Vec<RawExprCase>,
    #[serde(default, deserialize_with = "nullable")]
    external_labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "nullable")]
    external_url: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSeries {
    #[serde(default, deserialize_with = "nullable")]
    series: String,
    #[serde(default, deserialize_with = "nullable")]
    values: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAlertCase {
    #[serde(default, deserialize_with = "nullable")]
    eval_time: String,
    #[serde(default, deserialize_with = "nullable")]
    alertname: String,
    #[serde(default, deserialize_with = "nullable")]
    exp_alerts: Vec<RawAlert>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAlert {
    #[serde(default, deserialize_with = "nullable")]
    exp_labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "nullable")]
    exp_annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExprCase {
    #[serde(default, deserialize_with = "nullable")]
    expr: String,
    #[serde(default, deserialize_with = "nullable")]
    eval_time: String,
    #[serde(default, deserialize_with = "nullable")]
    exp_samples: Vec<RawSample>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSample {
    #[serde(default, deserialize_with = "nullable")]
    labels: String,
    #[serde(default, deserialize_with = "nullable")]
    value: f64,
    #[serde(default, deserialize_with = "nullable")]
    histogram: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Stamp {
    Seconds(f64),
    Text(String),
}

/// A key without a value is as good as no key.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl TestFile {
    /// Reads a test file.
    ///
    /// # Errors
    /// Every fault, with its line.
    pub fn parse(file: &str, text: &str) -> Result<Self, Faults> {
        let document = skerry_yaml::read::<RawFile>(text)
            .map_err(|fault| Faults { file: file.to_owned(), faults: vec![fault] })?;
        let mut checks = Checks { places: &document.places, faults: Vec::new(), values: 0 };
        let checked = checks.file(document.value);
        if checks.faults.is_empty() {
            Ok(checked)
        } else {
            Err(Faults { file: file.to_owned(), faults: checks.faults })
        }
    }
}

/// Checks a file and collects what is wrong with it.
struct Checks<'a> {
    places: &'a Places,
    faults: Vec<Fault>,
    values: usize,
}

impl Checks<'_> {
    fn fault(&mut self, key: &str, problem: String) {
        self.faults.push(Fault { line: self.places.line(key), key: key.to_owned(), problem });
    }

    /// What a check gave, or something in its place and a fault.
    fn take<T: Default>(&mut self, key: &str, result: Result<T, String>) -> T {
        result.unwrap_or_else(|problem| {
            self.fault(key, problem);
            T::default()
        })
    }

    fn file(&mut self, raw: RawFile) -> TestFile {
        let interval_ms = match self.take("evaluation_interval", span_ms(&raw.evaluation_interval)) {
            0 => INTERVAL_MS,
            interval => interval,
        };
        for (n, name) in raw.group_eval_order.iter().enumerate() {
            if raw.group_eval_order[..n].contains(name) {
                self.fault(&format!("group_eval_order[{n}]"), format!("group {name:?} stands twice"));
            }
        }
        let tests = raw.tests.into_iter().enumerate();
        let tests = tests.map(|(n, test)| self.test(&format!("tests[{n}]"), test, interval_ms)).collect();
        TestFile {
            rule_files: raw.rule_files,
            interval_ms,
            order: raw.group_eval_order,
            fuzzy: raw.fuzzy_compare,
            tests,
        }
    }

    fn test(&mut self, key: &str, raw: RawTest, interval_ms: i64) -> Test {
        let step_ms = match self.take(&format!("{key}.interval"), span_ms(&raw.interval)) {
            0 => interval_ms,
            step => step,
        };
        let start = raw.start_timestamp.map_or(Ok(UnixMillis(0)), |stamp| moment(&stamp));
        let start = start.unwrap_or_else(|problem| {
            self.fault(&format!("{key}.start_timestamp"), problem);
            UnixMillis(0)
        });
        let mut input = Vec::with_capacity(raw.input_series.len());
        for (n, series) in raw.input_series.iter().enumerate() {
            let key = format!("{key}.input_series[{n}]");
            let labels = self.take(&format!("{key}.series"), series_labels(&series.series));
            let slots = self.take(&format!("{key}.values"), notation::slots(&series.values));
            self.values = self.values.saturating_add(slots.len());
            if self.values > VALUES_MAX {
                self.fault(&key, format!("the file has more than {VALUES_MAX} input values"));
                break;
            }
            input.push(Line { labels, slots });
        }
        let alerts = raw.alert_rule_test.into_iter().enumerate();
        let alerts = alerts.map(|(n, case)| self.alerts(&format!("{key}.alert_rule_test[{n}]"), case)).collect();
        let exprs = raw.promql_expr_test.into_iter().enumerate();
        let exprs = exprs.map(|(n, case)| self.expr(&format!("{key}.promql_expr_test[{n}]"), case)).collect();
        let external_labels = self.take(&format!("{key}.external_labels"), label_set(&raw.external_labels));
        let (name, external_url) = (raw.name, raw.external_url);
        let test = Test { name, step_ms, start, input, alerts, exprs, external_labels, external_url };
        if test.end_ms() / interval_ms > STEPS_MAX {
            self.fault(key, format!("more than {STEPS_MAX} evaluations lie between its start and its last eval_time"));
        }
        test
    }

    fn alerts(&mut self, key: &str, raw: RawAlertCase) -> AlertCase {
        if raw.alertname.is_empty() {
            self.fault(key, "alertname is missing".into());
        }
        let mut expected = Vec::with_capacity(raw.exp_alerts.len());
        for (n, mut alert) in raw.exp_alerts.into_iter().enumerate() {
            let key = format!("{key}.exp_alerts[{n}]");
            alert.exp_labels.insert("alertname".into(), raw.alertname.clone());
            let labels = self.take(&format!("{key}.exp_labels"), label_set(&alert.exp_labels));
            expected.push((labels, self.take(&format!("{key}.exp_annotations"), label_set(&alert.exp_annotations))));
        }
        expected.sort();
        let at_ms = self.take(&format!("{key}.eval_time"), span_ms(&raw.eval_time));
        AlertCase { at_ms, name: raw.alertname, expected }
    }

    fn expr(&mut self, key: &str, raw: RawExprCase) -> ExprCase {
        let mut expected = Vec::with_capacity(raw.exp_samples.len());
        for (n, sample) in raw.exp_samples.into_iter().enumerate() {
            let key = format!("{key}.exp_samples[{n}]");
            let labels = self.take(&format!("{key}.labels"), notation::labels(&sample.labels));
            let value = match histogram(&sample.histogram) {
                Ok(None) => Expected::Number(sample.value),
                Ok(Some(histogram)) => Expected::Histogram(Box::new(histogram)),
                Err(problem) => {
                    self.fault(&format!("{key}.histogram"), problem);
                    continue;
                }
            };
            expected.push((labels, value));
        }
        // Two of the same labels keep their order: then there is one too many anyway.
        expected.sort_by(|(a, _), (b, _)| a.cmp(b));
        ExprCase { at_ms: self.take(&format!("{key}.eval_time"), span_ms(&raw.eval_time)), expr: raw.expr, expected }
    }
}

fn series_labels(text: &str) -> Result<Labels, String> {
    let labels = notation::labels(text)?;
    if text.trim().is_empty() { Err("a series is missing".into()) } else { Ok(labels) }
}

fn label_set(pairs: &BTreeMap<String, String>) -> Result<Labels, String> {
    Labels::new(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))).map_err(|error| error.to_string())
}

/// `{{…}}`, or nothing.
fn histogram(text: &str) -> Result<Option<Histogram>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let inner = text.strip_prefix("{{").and_then(|text| text.strip_suffix("}}"));
    inner.ok_or("{{…}} is expected").map_err(str::to_owned).and_then(Histogram::parse).map(Some)
}

/// A span of time in milliseconds; nothing and `0` are none. Years have 365 days.
fn span_ms(text: &str) -> Result<i64, String> {
    let text = text.trim();
    if text.is_empty() || text == "0" {
        return Ok(0);
    }
    let problem = || format!("{text:?} is no span of time, such as 1h30m");
    let (years, rest) = match text.split_once('y') {
        Some((years, rest)) => (years.parse::<u64>().map_err(|_| problem())?, rest),
        None => (0, text),
    };
    let rest = match rest {
        "" => Duration::ZERO,
        rest => rest.parse::<Span>().map_err(|_| problem())?.0,
    };
    let years = years.checked_mul(365 * 86_400).map(Duration::from_secs).ok_or_else(problem)?;
    years.checked_add(rest).and_then(|span| i64::try_from(span.as_millis()).ok()).ok_or_else(problem)
}

/// Unix seconds, or RFC 3339.
fn moment(stamp: &Stamp) -> Result<UnixMillis, String> {
    let seconds = match stamp {
        Stamp::Seconds(seconds) => *seconds,
        Stamp::Text(text) => match text.parse::<f64>() {
            Ok(seconds) => seconds,
            Err(_) => {
                let at = text.parse::<jiff::Timestamp>();
                return at.map(|at| UnixMillis(at.as_millisecond())).map_err(|_| {
                    format!("{text:?} is neither Unix seconds nor RFC 3339, such as 2024-01-01T00:00:00Z")
                });
            }
        },
    };
    // Far beyond what any calendar has, and far within what milliseconds hold.
    if !(-1e11..=1e11).contains(&seconds) {
        return Err(format!("{seconds} seconds are out of range"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked above")]
    Ok(UnixMillis((seconds * 1000.0).round() as i64))
}
