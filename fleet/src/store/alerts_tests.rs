//! Alerts on a real file: told by nodes within the transaction of their events, and by the fleet's rules.

use super::*;
use crate::intake::fixture::{self, node};
use skerry_model::{Labels, StreamKind, UnixMillis};
use skerry_wire::{AlertEvent, Event, EventKind};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::new(pairs.iter().copied()).unwrap()
}

fn told(name: &str, starts: i64, ends: Option<i64>) -> AlertEvent {
    AlertEvent {
        labels: labels(&[("alertname", name)]),
        annotations: labels(&[("summary", "it is hot")]),
        starts_at: UnixMillis(starts),
        ends_at: ends.map(UnixMillis),
        value: "91".into(),
        told: vec!["buzzer".into()],
        is_history: false,
    }
}

struct Kit {
    store: Store,
    sent: std::cell::Cell<u64>,
    _folder: tempfile::TempDir,
}

impl Kit {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = open(&folder.path().join("data.db"), Config::default()).unwrap();
        Self { store, sent: std::cell::Cell::new(0), _folder: folder }
    }

    async fn tell(&self, alert: AlertEvent) {
        self.sent.set(self.sent.get() + 1);
        let events = vec![Event { at: alert.starts_at, kind: EventKind::Alert(alert) }];
        let batch = fixture::events(1, self.sent.get(), &events);
        // The same number twice is one event.
        for _ in 0..2 {
            self.store.ingest(&node("a"), StreamKind::Events, batch.clone(), NOW).await.unwrap();
        }
    }

    async fn open(&self) -> Vec<AlertRow> {
        self.store.alerts(AlertQuery { is_open: true, limit: 9, ..AlertQuery::default() }).await.unwrap()
    }

    async fn all(&self) -> Vec<AlertRow> {
        self.store.alerts(AlertQuery { limit: 5000, ..AlertQuery::default() }).await.unwrap()
    }
}

#[tokio::test]
async fn an_episode_is_one_row_however_often_it_is_told() {
    let kit = Kit::new();
    kit.tell(told("Hot", 1000, None)).await;
    let open = kit.open().await;
    assert_eq!(open.len(), 1);
    assert_eq!(
        (open[0].node.clone(), open[0].starts, open[0].told_by_node.clone()),
        (Some(node("a")), UnixMillis(1000), vec!["buzzer".to_owned()])
    );
    assert_eq!(open[0].labels, None);
    kit.tell(told("Hot", 1000, Some(2000))).await;
    assert!(kit.open().await.is_empty());
    let seen = kit.store.alerts_changed(open[0].changed, 10).await.unwrap();
    assert_eq!(seen.iter().map(|row| (row.id, row.ends)).collect::<Vec<_>>(), [(open[0].id, Some(UnixMillis(2000)))]);
    assert!(kit.store.alerts_changed(seen[0].changed, 10).await.unwrap().is_empty());
    // It fires anew: a second episode.
    kit.tell(told("Hot", 3000, None)).await;
    assert_eq!((kit.open().await.len(), kit.all().await.len()), (1, 2));
}

#[tokio::test]
async fn an_end_that_never_came_is_made_up_for_and_history_is_closed() {
    let kit = Kit::new();
    kit.tell(told("Hot", 1000, None)).await;
    kit.tell(told("Hot", 5000, None)).await;
    let rows = kit.all().await;
    assert_eq!(
        rows.iter().map(|row| (row.starts.0, row.ends.map(|at| at.0))).collect::<Vec<_>>(),
        [(5000, None), (1000, Some(5000))]
    );
    kit.tell(AlertEvent { is_history: true, ..told("Full", 10, Some(20)) }).await;
    let rows = kit.all().await;
    assert!(rows[0].offline && rows[0].ends == Some(UnixMillis(20)), "{:?}", rows[0]);
    let from = |at: i64| AlertQuery { from: Some(UnixMillis(at)), limit: 9, ..AlertQuery::default() };
    assert_eq!(kit.store.alerts(from(21)).await.unwrap().len(), 2);
    assert_eq!(kit.store.alerts(from(5001)).await.unwrap().len(), 1);
    let other = AlertQuery { node: Some(node("b")), limit: 9, ..AlertQuery::default() };
    assert!(kit.store.alerts(other).await.unwrap().is_empty());
}

#[tokio::test]
async fn rules_of_the_fleet_and_what_routing_saves() {
    let kit = Kit::new();
    let of_rule = labels(&[("alertname", "NodeGone"), ("node", "a")]);
    let begun = AlertChange::Begun {
        labels: of_rule.clone(),
        annotations: Labels::default(),
        value: "1".into(),
        starts: UnixMillis(7),
    };
    let save = |value: Option<&str>| AlertChange::Save { key: "k".into(), value: value.map(|v| v.as_bytes().to_vec()) };
    kit.store.change_alerts(vec![begun.clone(), begun, save(Some("v"))], NOW).await.unwrap();
    assert_eq!(kit.open().await.len(), 1);
    assert_eq!(kit.store.alert_state().await.unwrap(), [("k".to_owned(), b"v".to_vec())]);
    let pager = AlertChange::Told { labels: of_rule.clone(), receiver: "pager".into() };
    let ended = AlertChange::Ended { labels: of_rule, ends: UnixMillis(9) };
    kit.store.change_alerts(vec![pager.clone(), pager, ended, save(None)], NOW).await.unwrap();
    let row = &kit.all().await[0];
    assert_eq!((row.told.clone(), row.ends, row.node.clone()), (vec!["pager".to_owned()], Some(UnixMillis(9)), None));
    assert!(kit.store.alert_state().await.unwrap().is_empty());
    // Those of a node are told under the labels that they are routed by.
    kit.tell(told("Hot", 1000, None)).await;
    let id = kit.open().await[0].id;
    let shown = labels(&[("alertname", "Hot"), ("node", "a"), ("site", "lab")]);
    let told = AlertChange::Told { labels: shown.clone(), receiver: "pager".into() };
    let changes = vec![AlertChange::Shown { id, labels: shown.clone() }, told, AlertChange::Closed { id, ends: NOW }];
    kit.store.change_alerts(changes, NOW).await.unwrap();
    let row = &kit.all().await[0];
    assert_eq!((row.labels.clone(), row.told.clone(), row.ends), (Some(shown), vec!["pager".to_owned()], Some(NOW)));
}

#[tokio::test]
async fn what_one_node_has_open_is_bounded_and_told() {
    let kit = Kit::new();
    let events: Vec<Event> = (0..1001)
        .map(|n| Event { at: UnixMillis(n), kind: EventKind::Alert(told(&format!("A{n}"), n, None)) })
        .collect();
    kit.store.ingest(&node("a"), StreamKind::Events, fixture::events(1, 1, &events), NOW).await.unwrap();
    let open = AlertQuery { is_open: true, limit: 5000, ..AlertQuery::default() };
    assert_eq!(kit.store.alerts(open).await.unwrap().len(), 1000);
    let losses = kit.store.losses(&node("a"), 9).await.unwrap();
    assert_eq!(losses.iter().map(|loss| (loss.source.as_str(), loss.count)).collect::<Vec<_>>(), [("alerts", Some(1))]);
}

#[tokio::test]
async fn series_of_the_fleet_itself_keep_their_node() {
    use skerry_chunk::{Column, MetricBlock, dict};
    use skerry_model::{Epoch, Seq, SeriesId};
    use skerry_wire::{Batch, Body};
    let kit = Kit::new();
    let own = labels(&[("__name__", "up"), ("node", "a")]);
    let of_all = labels(&[("__name__", "up_total")]);
    let columns = vec![
        Column { series: SeriesId(1), values: vec![Some(1.0)] },
        Column { series: SeriesId(2), values: vec![Some(2.0)] },
    ];
    let body = Body::Block(MetricBlock { timestamps: vec![NOW], columns }.encode().unwrap());
    let dict = dict::encode(&[(SeriesId(1), own.clone()), (SeriesId(2), of_all.clone())]).unwrap();
    let batch = Batch { epoch: Epoch(9), from: Seq(1), to: Seq(1), dict, body };
    kit.store.ingest(&OWN.parse().unwrap(), StreamKind::Metrics, batch, NOW).await.unwrap();
    kit.store.ingest(&node("a"), StreamKind::Metrics, fixture::metrics(1, 1, 1, None), NOW).await.unwrap();
    let find = async |matchers: Vec<Matcher>| {
        let query = Select { matchers, from: NOW, to: NOW, samples_max: 100 };
        let found = kit.store.select(query).await.unwrap().series;
        found.into_iter().map(|series| series.labels).collect::<Vec<_>>()
    };
    for (matchers, found) in [
        (vec![Matcher::equal("node", "a"), Matcher::equal("__name__", "up")], vec![&own]),
        (vec![Matcher::equal("node", "a")], vec![&own]),
        (vec![Matcher::equal("__name__", "up_total")], vec![&of_all]),
        (vec![Matcher::equal("node", "")], vec![&of_all]),
        (vec![], vec![&own, &of_all]),
    ] {
        assert_eq!(find(matchers).await.iter().collect::<Vec<_>>(), found);
    }
    assert!(find(vec![Matcher::equal("node", OWN)]).await.is_empty());
}
