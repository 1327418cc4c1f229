//! The task over a real store and a real node: what the fleet knows reaches its rules, and what they make the store.

use super::*;
use crate::intake::fixture::{self, node};
use crate::store::{Matcher, Select};
use crate::testkit::Kit;
use skerry_alerting::rules::RuleFile;
use skerry_model::{Bytes, Labels, StreamKind, UnixMillis};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const RULES: &str = "
groups:
- name: g
  interval: 1s
  rules:
  - record: fleet:metric_1
    expr: metric_1 * 2
  - alert: Away
    expr: skerry_fleet_node_connected == 0
    annotations: {summary: '{{ $labels.node }} of {{ $labels.site }}'}
  - alert: Broken
    expr: metric_1 + on () group_left () {__name__=~'metric_.*'}
";

#[tokio::test]
async fn what_is_known_of_nodes_reaches_rules_and_what_they_make_the_store() {
    let kit = Kit::new().await;
    let joined = kit.joined("a").await;
    let envelope = kit.assignment(&joined, 1).await.seal(&[&kit.key("assign-1")]).unwrap();
    let trust = kit.fleet.trust.current();
    kit.fleet.control.add_assignment(envelope, &trust, crate::testkit::NOW).await.unwrap();
    let (fired, mut rounds) = mpsc::channel(100);
    let began = tokio::time::Instant::now();
    let start = fixture::at(20);
    let wall: crate::clock::WallClock = Arc::new(move || start + began.elapsed());
    let config = Config {
        files: vec![("r.yml".into(), RuleFile::parse("r.yml", RULES).unwrap().0)],
        evaluation_interval: Duration::from_secs(15),
        query_offset: Duration::ZERO,
        external_labels: Labels::new([("region", "north")]).unwrap(),
        memory: Bytes::mib(1),
    };
    let task = RulesTask {
        config,
        external_url: "http://fleet".into(),
        store: kit.fleet.store.clone(),
        delivery: kit.fleet.delivery.clone(),
        wall,
        about: Arc::default(),
        view: kit.fleet.rules.clone(),
        fired,
    };
    let stop = CancellationToken::new();
    let running = tokio::spawn(task.run(stop.clone()));
    // A block that comes in while rules run: its newest scrape is the twentieth.
    let block = fixture::metrics(1, 1, 20, None);
    kit.fleet.store.ingest(&node("a"), StreamKind::Metrics, block, UnixMillis(0)).await.unwrap();
    let mut alert = None;
    while alert.is_none() {
        let round = tokio::time::timeout(Duration::from_secs(60), rounds.recv()).await.unwrap().unwrap();
        assert!(round.firing.is_none_or(|firing| firing.iter().all(|labels| labels.value("region") == "north")));
        alert = round.alerts.into_iter().find(|alert| alert.name() == "Away");
    }
    let alert = alert.unwrap();
    assert_eq!(alert.annotations.value("summary"), "a of <b>here</b>");
    assert_eq!((alert.labels.value("region"), alert.labels.value("node")), ("north", "a"));
    let select = async |name: &str| {
        let matchers = vec![Matcher::equal("__name__", name)];
        let query = Select { matchers, from: UnixMillis(0), to: UnixMillis(i64::MAX), samples_max: 1000 };
        kit.fleet.store.select(query).await.unwrap().series
    };
    let mut recorded = select("fleet:metric_1").await;
    while recorded.is_empty() {
        rounds.recv().await.unwrap();
        recorded = select("fleet:metric_1").await;
    }
    assert_eq!(recorded[0].samples[0].value, 2.0 * fixture::value(20, skerry_model::SeriesId(1)));
    assert_eq!((recorded[0].labels.value("node"), recorded[0].labels.value("site")), ("a", "<b>here</b>"));
    // Alerts are written once state of before was taken up again, which takes two evaluations.
    let mut alerts = select("ALERTS").await;
    while alerts.is_empty() {
        rounds.recv().await.unwrap();
        alerts = select("ALERTS").await;
    }
    assert!(alerts.iter().any(|series| series.labels.value("alertname") == "Away"), "{alerts:?}");
    let text = kit.fleet.rules.exposition();
    assert!(text.contains("skerry_fleet_rules 3\n") && text.contains("skerry_fleet_rules_failing 1\n"), "{text}");
    stop.cancel();
    running.await.unwrap();
}
