//! Rules of configs, samples in memory, and the task over a real store.

use super::config::{Config, Text};
use super::engine::Rules;
use super::memory::Memory;
use super::sources::Sources;
use super::stats::RuleStats;
use super::task::RulesTask;
use crate::board::Board;
use crate::clock::Clock;
use crate::store::{self, Pace, SeriesQuery};
use skerry_alerting::Now;
use skerry_alerting::rules::{Need, Settings};
use skerry_alerting::window::WindowSource;
use skerry_model::{Labels, LabelsBuilder, Sample, Scrape, TimeRange, UnixMillis};
use skerry_promql::{MatchOp, Matcher, Selected, Source, SourceError};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const RULES: &str = "groups:\n- name: g\n  interval: 1s\n  rules:\n  - {record: twice, expr: 2 * temp}\n  - {alert: Hot, expr: twice > 100}\n";

/// A store that has nothing.
pub(crate) struct Nothing;

impl Source for Nothing {
    fn select(&self, _: &[Matcher], _: UnixMillis, _: UnixMillis, _: u64) -> Result<Vec<Selected>, SourceError> {
        Ok(Vec::new())
    }
}

/// Long after a window began, so that it has seen everything.
const LATER: i64 = 600_000;

fn temp(at: i64, value: f64) -> Scrape {
    Scrape { at: UnixMillis(at), values: vec![(LabelsBuilder::metric("temp").build(), value)] }
}

fn named(name: &str) -> Vec<Matcher> {
    vec![Matcher::new("__name__", MatchOp::Equal, name).unwrap()]
}

fn values(memory: &Memory, now: i64) -> Vec<f64> {
    let now = UnixMillis(LATER + now);
    let window = memory.window(now);
    let source = WindowSource { window: &window, behind: &Nothing };
    let found = source.select(&named("temp"), UnixMillis(now.0 - 4500), now, 100).unwrap();
    found.into_iter().flat_map(|series| series.samples).map(|sample: Sample| sample.value).collect()
}

#[test]
fn nobody_waits_for_an_evaluation_and_nothing_is_left_out() {
    let need = Need { matchers: named("temp"), back_ms: 60_000 };
    let memory = Memory::new(vec![need], UnixMillis(0));
    memory.push(&temp(LATER + 1000, 1.0));
    let window = memory.window(UnixMillis(LATER + 1500));
    memory.push(&temp(LATER + 2000, 2.0));
    memory.push(&temp(LATER + 3000, 3.0));
    drop(window);
    memory.push(&temp(LATER + 4000, 4.0));
    assert_eq!(values(&memory, 5000), [1.0, 2.0, 3.0, 4.0]);
    // What does not fit the queue is not remembered: the window begins anew, and the store answers.
    let window = memory.window(UnixMillis(LATER + 5000));
    let many = (0..30_000).map(|n| (LabelsBuilder::metric("temp").label("n", n.to_string()).build(), 1.0)).collect();
    memory.push(&Scrape { at: UnixMillis(LATER + 6000), values: many });
    memory.push(&temp(LATER + 6500, 6.0));
    drop(window);
    memory.push(&temp(LATER + 7000, 7.0));
    assert!(!values(&memory, 8000).contains(&6.0));
    assert_eq!(memory.stats().left_out, Vec::<String>::new());
}

#[test]
fn sources_are_packs_texts_and_files_and_bad_files_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in
        [("a.yml", RULES), ("b.yml", "groups: [{name: g, rules: [{alert: A, expr: '('}]}]"), ("c.txt", "")]
    {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let config = Config {
        packs: vec!["node".into(), "disk".into()],
        files: vec![format!("{}/*.yml", folder.path().display()), format!("{}/a.yml", folder.path().display())],
        texts: vec![Text { name: "here".into(), text: RULES.into() }],
        ..Config::default()
    };
    assert_eq!(config.faults(), []);
    let sources = Sources::read(&config);
    let names: Vec<&str> = sources.files.iter().map(|(name, _)| name.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["pack:node", "pack:disk", "here", "a.yml"]);
    assert_eq!(sources.faults.len(), 1);
    assert!(sources.faults[0].to_string().contains("b.yml:1: "), "{}", sources.faults[0]);
}

#[test]
fn settings_out_of_range_are_faults() {
    let config = Config {
        evaluation_interval: skerry_model::Span::secs(0),
        packs: vec!["node".into(), "node".into(), "fleet".into()],
        files: vec!["rules.yml".into()],
        external_labels: [("a".to_owned(), "b".repeat(20_000))].into(),
        external_url: "ftp://x".into(),
        ..Config::default()
    };
    let keys: BTreeSet<String> = config.faults().into_iter().map(|(key, _)| key).collect();
    for key in ["evaluation_interval", "packs[1]", "packs[2]", "files[0]", "external_labels", "external_url"] {
        assert!(keys.contains(key), "{key}: {keys:?}");
    }
}

#[tokio::test]
async fn results_go_into_the_store_and_alerts_to_whoever_tells() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let opened = store::open(&folder.path().join("agent.db"), store::Config::default(), clock.clone(), || 1).unwrap();
    let texts = vec![Text { name: "here".into(), text: RULES.into() }];
    let config = Config { evaluation_interval: skerry_model::Span::secs(1), texts, ..Config::default() };
    let (rules, now) = (Rules::default(), Now { wall: clock.wall(), mono: clock.mono() });
    // With nothing to be taken up again, alerts are written from the first evaluation on.
    let settings = Settings { restore: false, ..config.settings() };
    rules.install(Sources::read(&config).files, settings, now);
    let memory = Arc::new(Memory::new(rules.needs(), now.wall));
    let seen = memory.clone();
    let store = opened.store.with_tap(move |scrape| seen.push(scrape));
    store.append_scrape(temp(clock.wall().0, 60.0), Pace::Round).await.unwrap();
    let (alerts, mut raised) = mpsc::channel(4);
    let (board, stats, stop) = (Board::default(), Arc::new(RuleStats::default()), CancellationToken::new());
    let task = RulesTask {
        rules: rules.clone(),
        memory,
        behind: Arc::new(Nothing),
        store: store.clone(),
        alerts,
        board,
        stats: stats.clone(),
        clock: clock.clone(),
    };
    let running = tokio::spawn(task.run(stop.clone()));
    let hot = raised.recv().await.unwrap();
    let hot = hot.alerts.iter().find(|alert| alert.name() == "Hot").expect("raised in the evaluation that it fires in");
    assert_eq!(hot.labels, Labels::new([("alertname", "Hot")]).unwrap());
    stop.cancel();
    running.await.unwrap().unwrap();
    let everything = TimeRange { from: UnixMillis(0), to: UnixMillis(i64::MAX) };
    let all = vec![Matcher::new("__name__", MatchOp::NotEqual, "temp").unwrap()];
    let found = store.read_series(SeriesQuery { matchers: all, range: everything, samples_max: 1000 }).await.unwrap();
    let names: BTreeSet<&str> = found.iter().map(|(labels, _)| labels.metric()).collect();
    assert!(["ALERTS", "ALERTS_FOR_STATE", "twice"].iter().all(|name| names.contains(name)), "{names:?}");
    assert_eq!(rules.groups().len(), 1);
}
