//! Who is told here and what the centre hears, over restarts, in virtual time.

use super::config::{Config, SilenceText};
use super::desk::{Desk, Kept, Setup};
use super::routing::Routing;
use super::silences::Silences;
use super::task::AlertsTask;
use super::teller::Tellers;
use crate::board::Board;
use crate::clock::Clock;
use crate::data::{AlertsRequest, Raised};
use crate::rules::Text;
use crate::store;
use skerry_alerting::Now;
use skerry_alerting::manager::Notice;
use skerry_alerting::notify::Outcome;
use skerry_model::{Alert, Labels, Mono, StreamKind, UnixMillis};
use skerry_wire::{AlertEvent, EventKind};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

const ROUTING: &str = "\
route:
  receiver: office
  group_by: [alertname]
  group_wait: 0s
  group_interval: 1m
  repeat_interval: 4h
  routes:
    - {receiver: site, continue: true}
    - {receiver: lamp, matchers: [severity=critical], continue: true}
    - {receiver: office}
receivers:
  - {name: office, webhook_configs: [{url: 'http://office.example/'}]}
  - {name: site, local: true, webhook_configs: [{url: 'http://127.0.0.1:1/'}]}
  - {name: lamp, mqtt_configs: [{broker: 'mqtt://127.0.0.1:1883', topic: alarm}]}
";

fn now(at: i64) -> Now {
    Now { wall: UnixMillis(1_800_000_000_000 + at * 1000), mono: Mono(u64::try_from(at).unwrap() * 1000 + 5_000) }
}

fn alert(name: &str, from: i64, to: i64) -> Alert {
    Alert {
        labels: Labels::new([("alertname", name), ("severity", "critical")]).unwrap(),
        annotations: Labels::default(),
        starts_at: now(from).wall,
        ends_at: now(to).wall,
        is_timeout: false,
        generator_url: String::new(),
        updated_at: now(from).wall,
    }
}

/// A node whose memory a crash takes, and whose disk it leaves.
struct Node {
    desk: Desk,
    routing: Routing,
    has_fleet: bool,
    is_up: bool,
    disk: BTreeMap<String, Vec<u8>>,
    silences: Vec<SilenceText>,
    /// `receiver: firing A` or `receiver: resolved A`.
    told: Vec<String>,
    events: Vec<AlertEvent>,
}

impl Node {
    fn new(has_fleet: bool) -> Self {
        Self::with(has_fleet, ROUTING)
    }

    fn with(has_fleet: bool, text: &str) -> Self {
        let mut config = Config::default();
        assert_eq!(config.take_text(Text { name: "am.yml".into(), text: text.into() }, "config"), []);
        let (routing, faults) = Routing::read(&config, &[]);
        assert_eq!(faults, []);
        let desk = desk(&routing, has_fleet, &BTreeMap::new(), &[], 0);
        let mut node = Self {
            desk,
            routing,
            has_fleet,
            is_up: false,
            disk: BTreeMap::new(),
            silences: Vec::new(),
            told: Vec::new(),
            events: Vec::new(),
        };
        node.turn(0);
        node
    }

    fn restart(&mut self, at: i64) {
        self.desk = desk(&self.routing, self.has_fleet, &self.disk, &self.silences, at);
        self.desk.begin(now(at));
        self.turn(at);
    }

    fn fires(&mut self, name: &str, from: i64, at: i64) {
        let fires = alert(name, from, at + 240);
        let values = BTreeMap::from([(fires.fingerprint(), "7".to_owned())]);
        self.desk.take(Raised { alerts: vec![fires], values }, now(at));
        self.turn(at);
    }

    fn ends(&mut self, name: &str, from: i64, at: i64) {
        self.desk.take(Raised { alerts: vec![alert(name, from, at)], values: BTreeMap::new() }, now(at));
        self.turn(at);
    }

    fn turn(&mut self, at: i64) {
        for Notice { id, receiver, data, .. } in self.desk.turn(self.is_up, now(at)) {
            for alert in &data.alerts {
                let state = if alert.is_firing { "firing" } else { "resolved" };
                self.told.push(format!("{receiver}: {state} {}", alert.labels.value("alertname")));
            }
            self.desk.done(id, Outcome::Sent, now(at));
        }
        self.save();
    }

    fn save(&mut self) {
        let mut changes: Vec<_> = self.desk.changes().into_iter().collect();
        let outcome = self.desk.report().take();
        changes.extend(outcome.changes);
        for (key, value) in changes {
            assert!(key.starts_with(super::PREFIX), "{key}");
            match value {
                Some(value) => drop(self.disk.insert(key, value)),
                None => drop(self.disk.remove(&key)),
            }
        }
        self.events.extend(outcome.events.into_iter().map(|event| match event.kind {
            EventKind::Alert(event) => event,
            other => panic!("{other:?}"),
        }));
        self.desk.answer();
    }

    /// Lets time pass in steps of a group's interval.
    fn pass(&mut self, from: i64, to: i64) {
        for at in (from..=to).step_by(15) {
            self.turn(at);
        }
    }

    fn ask(&mut self, method: &'static str, path: &str, body: &str, at: i64) -> (u16, String) {
        let (reply, mut answer) = oneshot::channel();
        let body = body.to_owned().into();
        self.desk.ask(AlertsRequest { method, path: path.into(), query: String::new(), body, reply }, now(at));
        assert!(answer.try_recv().is_err(), "it is answered once it is stored");
        self.turn(at);
        let (status, body) = answer.try_recv().unwrap();
        (status, String::from_utf8(body).unwrap())
    }

    fn told(&mut self) -> Vec<String> {
        let mut told = std::mem::take(&mut self.told);
        told.sort();
        told
    }
}

fn desk(
    routing: &Routing,
    has_fleet: bool,
    disk: &BTreeMap<String, Vec<u8>>,
    silences: &[SilenceText],
    at: i64,
) -> Desk {
    let stored: Vec<(String, Vec<u8>)> = disk.clone().into_iter().collect();
    let setup = Setup {
        kept: Kept::default(),
        routing: routing.clone(),
        has_fleet,
        interval: Some(Duration::from_secs(15)),
        external_url: String::new(),
        // Another at each start, as in the agent: ids of silences come of it.
        seed: u64::try_from(at).unwrap() + 1,
        silences: Silences::new(silences.to_vec(), &stored),
        stored,
    };
    Desk::new(setup, now(at))
}

#[test]
fn what_is_local_is_told_here_and_the_rest_is_the_centres() {
    let mut node = Node::new(true);
    node.fires("A", 10, 10);
    assert_eq!(node.told(), ["lamp: firing A", "site: firing A"], "at once");
    assert_eq!(node.events, [], "the link is down");
    node.is_up = true;
    node.turn(20);
    assert_eq!(node.events.len(), 1);
    assert_eq!((node.events[0].told.join(","), node.events[0].value.as_str()), ("lamp,site".into(), "7"));
    node.ends("A", 10, 100);
    node.pass(100, 200);
    assert_eq!(node.told(), ["lamp: resolved A", "site: resolved A"]);
    assert_eq!(node.events.len(), 2);
}

#[test]
fn a_node_that_stands_alone_tells_everybody() {
    let mut node = Node::new(false);
    node.fires("A", 10, 10);
    assert_eq!(node.told(), ["lamp: firing A", "office: firing A", "site: firing A"]);
}

#[test]
fn nobody_is_told_twice_after_a_crash_and_the_end_is_told_once() {
    let mut node = Node::new(true);
    node.is_up = true;
    node.fires("A", 10, 10);
    assert_eq!(node.told().len(), 2);
    for at in [30, 60, 400] {
        node.restart(at);
        assert_eq!(node.told(), [""; 0]);
        node.fires("A", 10, at + 5);
        node.pass(at + 6, at + 100);
        assert_eq!(node.told(), [""; 0], "after the restart at {at}");
    }
    node.ends("A", 10, 520);
    node.pass(520, 600);
    assert_eq!(node.told(), ["lamp: resolved A", "site: resolved A"]);
    let ends: Vec<bool> = node.events.iter().map(|event| event.ends_at.is_some()).collect();
    assert_eq!(ends, [false, true]);
}

#[test]
fn an_alert_that_ended_while_the_agent_was_down_ends_once_the_grace_is_over() {
    let mut node = Node::new(true);
    node.is_up = true;
    node.fires("A", 10, 10);
    node.told();
    node.restart(100);
    node.pass(100, 360);
    assert_eq!(node.told(), [""; 0], "the rules may still say that it fires");
    node.pass(360, 700);
    assert_eq!(node.told(), ["lamp: resolved A", "site: resolved A"]);
    assert_eq!(node.events.len(), 2);
}

#[test]
fn silences_survive_and_those_of_the_config_come_and_go_with_it() {
    let mut node = Node::new(false);
    let body = r#"{"matchers":[{"name":"alertname","value":"A","isRegex":false}],"startsAt":"2027-01-15T08:00:00Z",
        "endsAt":"2027-02-15T08:00:00Z","createdBy":"me","comment":"c"}"#;
    let (status, answer) = node.ask("POST", "/silences", body, 5);
    assert_eq!(status, 200, "{answer}");
    node.silences = vec![SilenceText { name: "b".into(), body: body.replace("\"A\"", "\"B\"") }];
    node.restart(10);
    node.fires("A", 20, 20);
    node.fires("B", 20, 20);
    assert_eq!(node.told(), [""; 0]);
    let (_, list) = node.ask("GET", "/silences", "", 25);
    assert_eq!(list.matches("\"active\"").count(), 2, "{list}");
    node.restart(30);
    let (_, list) = node.ask("GET", "/silences", "", 35);
    assert_eq!(list.matches("\"active\"").count(), 2, "set once: {list}");
    node.silences.clear();
    node.restart(40);
    node.fires("B", 20, 45);
    node.pass(45, 200);
    assert_eq!(node.told(), ["lamp: firing B", "office: firing B", "site: firing B"]);
}

#[test]
fn alerts_that_programs_post_are_alerts_of_the_node() {
    let mut node = Node::new(true);
    node.is_up = true;
    let (status, answer) = node.ask("POST", "/alerts", r#"[{"labels":{"alertname":"P"}}]"#, 10);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(node.told(), ["site: firing P"]);
    assert_eq!(node.events.len(), 1);
    node.pass(15, 290);
    assert_eq!(node.events.len(), 1, "until it times out");
    node.pass(300, 400);
    assert_eq!(node.told(), ["site: resolved P"]);
    assert_eq!((node.events.len(), node.events[1].is_history), (2, false));
    node.ask("POST", "/alerts", r#"[{"labels":{"alertname":"Q"}}]"#, 500);
    let ended = r#"[{"labels":{"alertname":"Q"},"endsAt":"2027-01-15T08:08:30Z"}]"#;
    node.ask("POST", "/alerts", ended, 520);
    assert_eq!(node.events.len(), 4, "its end is heard of at once");
}

#[tokio::test]
async fn what_begins_when_the_link_has_just_gone_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, _hand) = Clock::manual(now(0).wall);
    let path = folder.path().join("agent.db");
    let store = store::open(&path, store::Config::default(), clock.clone(), || 1).unwrap().store;
    let (routing, _) = Routing::read(&Config::default(), &[]);
    let (raised_in, raised) = mpsc::channel(1);
    let (_requests_in, requests) = mpsc::channel(1);
    let (looks, is_up) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
    let (seen, up) = (looks.clone(), is_up.clone());
    let task = AlertsTask {
        desk: desk(&routing, true, &BTreeMap::new(), &[], 0),
        tellers: Tellers::new(Arc::new(|_, _, _| Box::pin(async { Outcome::Sent })), Vec::new()),
        raised,
        requests,
        link_up: Box::new(move || {
            seen.fetch_add(1, Ordering::Relaxed);
            up.load(Ordering::Relaxed)
        }),
        store: store.clone(),
        board: Board::default(),
        stats: Arc::default(),
        clock,
    };
    let stop = CancellationToken::new();
    let task = tokio::spawn(task.run(stop.clone()));
    while looks.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    // It sleeps now, for nothing waits; the next turn would notice.
    is_up.store(false, Ordering::Relaxed);
    let events = || store.tips().borrow().iter().find(|tip| tip.stream == StreamKind::Events).unwrap().next;
    let before = events();
    raised_in.send(Raised { alerts: vec![alert("A", 0, 240)], values: BTreeMap::new() }).await.unwrap();
    stop.cancel();
    task.await.unwrap().unwrap();
    store.flush().await.unwrap();
    assert_eq!(events(), before, "the centre is told when it is reached again");
    assert_eq!(store::peek(&path, super::report::PREFIX).len(), 1);
}
