//! The task over a real store: who is told of what, and how often, over crashes.

use super::*;
use crate::control::ControlError;
use crate::intake::fixture::{self, node};
use crate::node_labels::NodeLabels;
use crate::rules::Fired;
use crate::store::{self, Store};
use skerry_alerting::Now;
use skerry_alerting::notify::{Data, Integration, Outcome};
use skerry_alerting::rules::{Change, State};
use skerry_model::{Alert, Labels, NodeId, StreamKind, UnixMillis};
use skerry_wire::{AlertEvent, Event, EventKind};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const NOW: i64 = 1_800_000_000_000;

const ROUTING: &str = "
route: {receiver: pager, group_by: ['...'], group_wait: 10ms, group_interval: 50ms, repeat_interval: 4h}
receivers:
- name: pager
  webhook_configs: [{url: 'http://127.0.0.1:9/', send_resolved: true}]
";

/// Notes who is told of what.
#[derive(Clone)]
struct Pager(mpsc::Sender<String>);

impl Tell for Pager {
    async fn tell(&self, _: &Integration, data: &Data, _: Duration, _: Now) -> Outcome {
        for alert in &data.alerts {
            let state = if alert.is_firing { "firing" } else { "resolved" };
            let (name, site) = (alert.labels.value("alertname"), alert.labels.value("site"));
            self.0.send(format!("{state} {name} {}@{site}", alert.labels.value("node"))).await.unwrap();
        }
        Outcome::Sent
    }
}

/// Every node stands in the lab.
struct InTheLab;

impl Signed for InTheLab {
    async fn labels_of(&self, _: &NodeId) -> Result<BTreeMap<String, String>, ControlError> {
        Ok(BTreeMap::from([("site".to_owned(), "lab".to_owned())]))
    }
}

/// A server's alerts on a store in a folder that outlives it.
struct Centre {
    store: Store,
    handle: Alerts,
    fired: mpsc::Sender<Fired>,
    told: mpsc::Receiver<String>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Centre {
    fn start(folder: &Path) -> Self {
        let (store, _) = store::open(&folder.join("data.db"), store::Config::default()).unwrap();
        let (fired, rounds) = mpsc::channel(4);
        let (pager, told) = mpsc::channel(100);
        let file = folder.join("am.yml");
        // Time goes on from one run to the next.
        let start = UnixMillis(if file.exists() { NOW + 60_000 } else { NOW });
        std::fs::write(&file, ROUTING).unwrap();
        let section = skerry_yaml::read("{config_file: am.yml, settle: 0s}").unwrap().value;
        let config = config::check(&section, folder, &mut |key: &str, problem: &str| panic!("{key}: {problem}"));
        let began = Instant::now();
        let wall = Arc::new(move || start + began.elapsed());
        let url = "http://fleet".to_owned();
        let (task, handle) = AlertsTask::new(config.unwrap(), url, store.clone(), InTheLab, wall, Pager(pager), rounds);
        let stop = CancellationToken::new();
        let task = tokio::spawn(task.run(stop.clone()));
        Self { store, handle, fired, told, stop, task }
    }

    async fn hear(&self, number: u64, alert: AlertEvent) {
        let events = vec![Event { at: alert.starts_at, kind: EventKind::Alert(alert) }];
        let batch = fixture::events(1, number, &events);
        self.store.ingest(&node("a"), StreamKind::Events, batch, UnixMillis(NOW)).await.unwrap();
    }

    /// What the pager is told next.
    async fn told(&mut self) -> String {
        let told = tokio::time::timeout(Duration::from_secs(60), self.told.recv()).await;
        told.expect("somebody is told").expect("the task works")
    }

    /// Asserts that the pager is told nothing of all that came before this: a later alert is the next it hears of.
    async fn nothing_more(&mut self, number: u64) {
        let name = format!("Marker{number}");
        self.hear(number, event(&name, None)).await;
        assert_eq!(self.told().await, format!("firing {name} a@lab"));
    }

    async fn history(&self) -> Vec<HistoryView> {
        let query = HistoryQuery { limit: 100, ..HistoryQuery::default() };
        history::read(&self.store, &NodeLabels::default(), query).await.unwrap().alerts
    }

    /// The one episode of that name.
    async fn of(&self, name: &str) -> HistoryView {
        let mut all = self.history().await;
        all.retain(|row| row.name == name);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    /// Returns once the history meets a condition: what the task does comes a moment after what it tells.
    async fn until(&self, enough: impl Fn(&[HistoryView]) -> bool) {
        let looked = async {
            while !enough(&self.history().await) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), looked).await.expect("the history comes to that");
    }

    /// Ends it as a kill does: nothing is written any more.
    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
        self.store.close().await;
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
        self.store.close().await;
    }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::new(pairs.iter().copied()).unwrap()
}

fn event(name: &str, ends: Option<i64>) -> AlertEvent {
    AlertEvent {
        labels: labels(&[("alertname", name)]),
        annotations: labels(&[("summary", "it is hot")]),
        starts_at: UnixMillis(NOW - 5_000),
        ends_at: ends.map(UnixMillis),
        value: "91".into(),
        told: Vec::new(),
        is_history: false,
    }
}

#[tokio::test]
async fn an_alert_of_a_node_pages_once_over_a_crash_and_ends_when_the_node_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut centre = Centre::start(folder.path());
    centre.hear(1, event("Hot", None)).await;
    assert_eq!(centre.told().await, "firing Hot a@lab");
    centre.nothing_more(2).await;
    assert_eq!(centre.of("Hot").await.told, ["pager"]);
    centre.kill().await;
    // It is still there, and nobody is told again.
    let mut centre = Centre::start(folder.path());
    centre.nothing_more(3).await;
    let alerts = centre.handle.get("/alerts", "").await.unwrap();
    let alerts: Vec<v2::RoutedAlert> = serde_json::from_slice(&alerts.body).unwrap();
    assert!(alerts.iter().any(|alert| alert.labels["alertname"] == "Hot"));
    centre.hear(4, event("Hot", Some(NOW))).await;
    assert_eq!(centre.told().await, "resolved Hot a@lab");
    assert_eq!(centre.of("Hot").await.ends_ms, Some(NOW));
    centre.end().await;
}

#[tokio::test]
async fn an_end_that_came_while_the_server_was_down_is_taken_in() {
    let folder = tempfile::tempdir().unwrap();
    let mut centre = Centre::start(folder.path());
    centre.hear(1, event("Hot", None)).await;
    assert_eq!(centre.told().await, "firing Hot a@lab");
    centre.until(|all| all[0].told == ["pager"]).await;
    // Taken in by the store, and killed before anybody acted on it.
    centre.task.abort();
    centre.hear(2, event("Hot", Some(NOW))).await;
    centre.kill().await;
    let mut centre = Centre::start(folder.path());
    assert_eq!(centre.told().await, "resolved Hot a@lab");
    centre.end().await;
}

#[tokio::test]
async fn history_and_what_the_node_told_by_itself_page_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let mut centre = Centre::start(folder.path());
    centre.hear(1, AlertEvent { is_history: true, ..event("Full", Some(NOW)) }).await;
    centre.hear(2, AlertEvent { told: vec!["pager".into()], ..event("Hot", None) }).await;
    centre.nothing_more(3).await;
    let (hot, full) = (centre.of("Hot").await, centre.of("Full").await);
    assert_eq!((hot.offline, hot.told_by_node.len(), full.offline), (false, 1, true));
    assert_eq!(full.labels["site"], "lab");
    centre.end().await;
}

#[tokio::test]
async fn rules_of_the_fleet_are_routed_and_a_revoked_node_s_alerts_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut centre = Centre::start(folder.path());
    let of_rule = |ends_at: i64| Alert {
        labels: labels(&[("alertname", "NodeGone"), ("node", "b")]),
        annotations: Labels::default(),
        starts_at: UnixMillis(NOW),
        ends_at: UnixMillis(ends_at),
        is_timeout: false,
        generator_url: String::new(),
        updated_at: UnixMillis(NOW),
    };
    let change = |was, is| Change {
        alert: of_rule(NOW + 1000),
        value: 1.0,
        rule: "NodeGone".into(),
        was,
        is,
        is_restored: false,
    };
    let alerts = vec![of_rule(NOW + 3_600_000)];
    let fired = Fired { alerts, changes: vec![change(State::Inactive, State::Firing)], ..Fired::default() };
    centre.fired.send(fired).await.unwrap();
    assert_eq!(centre.told().await, "firing NodeGone b@");
    centre.hear(1, event("Hot", None)).await;
    assert_eq!(centre.told().await, "firing Hot a@lab");
    centre.fired.send(Fired { revoked: vec![node("a")], ..Fired::default() }).await.unwrap();
    assert_eq!(centre.told().await, "resolved Hot a@lab");
    centre.kill().await;
    // What fired before the restart and fires no more has an end in the history.
    let mut centre = Centre::start(folder.path());
    centre.fired.send(Fired { firing: Some(Vec::new()), ..Fired::default() }).await.unwrap();
    centre.until(|all| all.len() == 2 && all.iter().all(|row| row.ends_ms.is_some())).await;
    centre.nothing_more(2).await;
    centre.end().await;
}

#[tokio::test]
async fn a_silence_is_durable_when_it_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let centre = Centre::start(folder.path());
    let silence = v2::SilenceView {
        id: String::new(),
        matchers: vec![v2::MatcherView {
            name: "alertname".into(),
            value: "Hot".into(),
            is_regex: false,
            is_equal: true,
        }],
        starts_at: v2::rfc3339(UnixMillis(NOW)),
        ends_at: v2::rfc3339(UnixMillis(NOW + 86_400_000)),
        created_by: "me".into(),
        comment: "work".into(),
        status: None,
    };
    let asked = Asked {
        method: "POST".into(),
        path: "/silences".into(),
        query: String::new(),
        body: serde_json::to_vec(&silence).unwrap(),
    };
    let answer = centre.handle.ask(asked).await.unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    centre.kill().await;
    let mut centre = Centre::start(folder.path());
    centre.hear(1, event("Hot", None)).await;
    centre.nothing_more(2).await;
    assert!(centre.handle.exposition().await.contains("skerry_fleet_node_alerts_open 2\n"));
    centre.end().await;
}
