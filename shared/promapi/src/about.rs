//! What the API tells about the program itself: metadata, targets, status. The data come from the caller, the forms
//! are Prometheus's.

use crate::Failure;
use crate::params::{Bad, Params};
use crate::write::success;
use serde_json::{Map, Value, json};
use skerry_model::{Labels, MetricMeta, UnixMillis};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How the last scrape of a target went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// There was none yet.
    Unknown,
    /// Well.
    Up,
    /// It failed.
    Down,
}

/// A target that is scraped.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The job's name in the config.
    pub pool: String,
    /// Labels before relabelling.
    pub discovered: Labels,
    /// Labels that its series carry.
    pub labels: Labels,
    /// What is fetched.
    pub url: String,
    /// How the last scrape went.
    pub health: Health,
    /// Why it failed; `""` where it did not.
    pub last_error: String,
    /// When it began.
    pub last_scrape: Option<UnixMillis>,
    /// How long it took.
    pub last_took: Duration,
    /// Time between two scrapes.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
}

/// What is scraped, and what relabelling left out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Targets {
    /// Targets in the order of the config.
    pub active: Vec<Target>,
    /// Job and labels of targets that relabelling dropped; a bounded number of them.
    pub dropped: Vec<(String, Labels)>,
    /// How many were dropped, by job.
    pub dropped_counts: BTreeMap<String, usize>,
}

/// The running program.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Runtime {
    /// When it began.
    pub started: UnixMillis,
    /// The config that runs, without secrets, as YAML.
    pub config: String,
    /// Settings of the command line, by name.
    pub flags: BTreeMap<String, String>,
    /// How long and how much is kept, for people, such as `30d or 512MiB`.
    pub retention: String,
    /// Blocks that could not be read since the start.
    pub corrupt_blocks: u64,
    /// Blocks that are kept.
    pub blocks: u64,
    /// Time of the oldest and of the newest kept sample, as far as known.
    pub kept: Option<(UnixMillis, UnixMillis)>,
}

pub(crate) fn rfc3339(at: Option<UnixMillis>) -> String {
    let at = at.and_then(|at| jiff::Timestamp::from_millisecond(at.0).ok());
    at.map_or_else(|| "0001-01-01T00:00:00Z".into(), |at| at.to_string())
}

fn object(labels: &Labels) -> Value {
    Value::Object(labels.iter().map(|(name, value)| (name.to_owned(), value.into())).collect())
}

/// Seconds as `1m30s`, as in configs.
fn span(span: Duration) -> String {
    skerry_model::Span(span).to_string()
}

/// `metadata`: types, helps and units by metric; each metric once for each thing that is said of it.
pub(crate) fn metadata(params: &Params, all: &[MetricMeta]) -> Result<String, Bad> {
    let per_metric = params.count("limit_per_metric")?.unwrap_or(usize::MAX);
    let metrics = params.limit()?.unwrap_or(usize::MAX);
    let wanted = params.first("metric");
    let mut by_name: BTreeMap<&str, BTreeSet<(&str, &str, &str)>> = BTreeMap::new();
    for meta in all.iter().filter(|meta| wanted.is_none_or(|name| name == meta.name)) {
        by_name.entry(&meta.name).or_default().insert((meta.kind.as_str(), &meta.help, &meta.unit));
    }
    let mut data = Map::new();
    for (name, said) in by_name.into_iter().take(metrics) {
        let said = said.into_iter().take(per_metric);
        let said = said.map(|(kind, help, unit)| json!({"type": kind, "help": help, "unit": unit}));
        data.insert(name.to_owned(), said.collect());
    }
    Ok(success(&Value::Object(data).to_string(), &[], &[]))
}

/// `targets`.
pub(crate) fn targets(params: &Params, targets: &Targets) -> Result<String, Bad> {
    let state = params.first("state").filter(|state| !state.is_empty()).unwrap_or("any");
    if !["any", "active", "dropped"].contains(&state) {
        let problem = format!("{state:?} is no state of targets: active, dropped or any is expected");
        return Err(Bad { parameter: "state", problem });
    }
    let pool = params.first("scrapePool").filter(|pool| !pool.is_empty());
    let in_pool = |name: &str| pool.is_none_or(|pool| pool == name);
    let active = targets.active.iter().filter(|target| state != "dropped" && in_pool(&target.pool)).map(|target| {
        json!({
            "discoveredLabels": object(&target.discovered),
            "labels": object(&target.labels),
            "scrapePool": target.pool,
            "scrapeUrl": target.url,
            "globalUrl": target.url,
            "lastError": target.last_error,
            "lastScrape": rfc3339(target.last_scrape),
            "lastScrapeDuration": target.last_took.as_secs_f64(),
            "health": match target.health { Health::Unknown => "unknown", Health::Up => "up", Health::Down => "down" },
            "scrapeInterval": span(target.interval),
            "scrapeTimeout": span(target.timeout),
        })
    });
    let dropped = targets.dropped.iter().filter(|(name, _)| state != "active" && in_pool(name));
    let dropped = dropped.map(|(pool, labels)| json!({"discoveredLabels": object(labels), "scrapePool": pool}));
    let data = json!({
        "activeTargets": active.collect::<Vec<_>>(),
        "droppedTargets": dropped.collect::<Vec<_>>(),
        "droppedTargetCounts": targets.dropped_counts,
    });
    Ok(success(&data.to_string(), &[], &[]))
}

/// `scrape_pools`: the jobs' names.
pub(crate) fn scrape_pools(targets: &Targets) -> String {
    let active = targets.active.iter().map(|target| target.pool.as_str());
    let names: BTreeSet<&str> = active.chain(targets.dropped_counts.keys().map(String::as_str)).collect();
    success(&json!({"scrapePools": names}).to_string(), &[], &[])
}

/// `status/config`
pub(crate) fn config(runtime: &Runtime) -> String {
    success(&json!({"yaml": runtime.config}).to_string(), &[], &[])
}

/// `status/flags`
pub(crate) fn flags(runtime: &Runtime) -> String {
    success(&json!(runtime.flags).to_string(), &[], &[])
}

/// `status/runtimeinfo`: the fields of Prometheus's that mean something here.
pub(crate) fn runtime_info(runtime: &Runtime, now: UnixMillis) -> String {
    let data = json!({
        "startTime": rfc3339(Some(runtime.started)),
        "serverTime": rfc3339(Some(now)),
        "CWD": "",
        "reloadConfigSuccess": true,
        "lastConfigTime": rfc3339(Some(runtime.started)),
        "corruptionCount": runtime.corrupt_blocks,
        "storageRetention": runtime.retention,
    });
    success(&data.to_string(), &[], &[])
}

/// `status/tsdb`: which metrics and labels have most series. The lists hold ten entries, or `limit`.
pub(crate) fn tsdb(params: &Params, runtime: &Runtime, series: &[Labels]) -> Result<String, Failure> {
    let limit = params.limit()?.unwrap_or(10).min(10_000);
    let mut by_metric: BTreeMap<&str, u64> = BTreeMap::new();
    let mut by_pair: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for labels in series {
        *by_metric.entry(labels.metric()).or_default() += 1;
        for pair in labels.iter() {
            *by_pair.entry(pair).or_default() += 1;
        }
    }
    let (mut values, mut bytes): (BTreeMap<&str, u64>, BTreeMap<&str, u64>) = (BTreeMap::new(), BTreeMap::new());
    for ((name, value), count) in &by_pair {
        *values.entry(name).or_default() += 1;
        *bytes.entry(name).or_default() += (name.len() + value.len()) as u64 * count;
    }
    let pairs: BTreeMap<String, u64> =
        by_pair.iter().map(|((name, value), n)| (format!("{name}={value}"), *n)).collect();
    let (from, to) = runtime.kept.unwrap_or_default();
    let data = json!({
        "headStats": {
            "numSeries": series.len(),
            "numLabelPairs": by_pair.len(),
            "chunkCount": runtime.blocks,
            "minTime": from.0,
            "maxTime": to.0,
        },
        "seriesCountByMetricName": largest(by_metric.into_iter().map(|(n, c)| (n.to_owned(), c)), limit),
        "labelValueCountByLabelName": largest(values.into_iter().map(|(n, c)| (n.to_owned(), c)), limit),
        "memoryInBytesByLabelName": largest(bytes.into_iter().map(|(n, c)| (n.to_owned(), c)), limit),
        "seriesCountByLabelValuePair": largest(pairs.into_iter(), limit),
    });
    Ok(success(&data.to_string(), &[], &[]))
}

fn largest(counts: impl Iterator<Item = (String, u64)>, limit: usize) -> Vec<Value> {
    let mut counts: Vec<(String, u64)> = counts.collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts.truncate(limit);
    counts.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
}

/// Settings whose values are nobody's business, wherever they stand in a config.
const SECRETS: [&str; 11] = [
    "password",
    "shared_key",
    "credentials",
    "bearer_token",
    "authorization",
    "secret",
    "secret_key",
    "client_secret",
    "api_token_sha256",
    "token",
    "key",
];

/// A config as `status/config` shows it: as JSON, which every YAML reader takes, with `<secret>` for secrets, as
/// Prometheus writes it.
#[must_use]
pub fn config_text(mut config: Value) -> String {
    hide(&mut config);
    format!("{config:#}\n")
}

fn hide(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    // What a header is for is not known here.
                    Value::Object(headers) if name == "headers" => {
                        headers.values_mut().for_each(|value| *value = "<secret>".into());
                    }
                    Value::String(text) if SECRETS.contains(&&*name.to_lowercase()) => *text = "<secret>".into(),
                    other => hide(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        _ => {}
    }
}
