//! The rules of conduct, as sequences of what happens and what is told of it.

use super::report::{ALERTS_MAX, PREFIX, Report, WAITING_MAX};
use skerry_alerting::Now;
use skerry_model::{Alert, Labels, LossReason, Mono, UnixMillis};
use skerry_wire::EventKind;
use std::collections::BTreeMap;
use std::time::Duration;

const GRACE: Duration = Duration::from_secs(300);

/// Second `at` of the test.
fn now(at: i64) -> Now {
    Now { wall: UnixMillis(1_000_000 + at * 1000), mono: Mono(u64::try_from(at).unwrap() * 1000) }
}

fn alert(name: &str, from: i64, to: i64) -> Alert {
    Alert {
        labels: Labels::new([("alertname", name)]).unwrap(),
        annotations: Labels::default(),
        starts_at: now(from).wall,
        ends_at: now(to).wall,
        is_timeout: false,
        generator_url: String::new(),
        updated_at: now(from).wall,
    }
}

/// A node with its state, which a crash takes back to what was stored.
struct Node {
    report: Report,
    state: BTreeMap<String, Vec<u8>>,
    /// What was stored, as `begin A`, `end A`, `history A`.
    told: Vec<String>,
}

impl Node {
    fn new() -> Self {
        Self { report: Report::new(&[], GRACE, now(0)), state: BTreeMap::new(), told: Vec::new() }
    }

    /// Stores everything, as the task does after each step.
    fn store(&mut self) -> &mut Self {
        let outcome = self.report.take();
        for (key, value) in outcome.changes {
            assert!(key.starts_with(PREFIX));
            match value {
                Some(value) => drop(self.state.insert(key, value)),
                None => drop(self.state.remove(&key)),
            }
        }
        for event in outcome.events {
            let EventKind::Alert(alert) = event.kind else { panic!("{event:?}") };
            let what = match (alert.is_history, alert.ends_at) {
                (true, Some(_)) => "history",
                (false, Some(_)) => "end",
                (false, None) => "begin",
                (true, None) => panic!("history without an end"),
            };
            self.told.push(format!("{what} {}", alert.labels.value("alertname")));
        }
        self
    }

    fn fires(&mut self, name: &str, from: i64, at: i64) -> &mut Self {
        self.report.see(&alert(name, from, at + 240), Some("1"), &["siren".to_owned()], now(at));
        self.store()
    }

    fn ends(&mut self, name: &str, from: i64, at: i64) -> &mut Self {
        self.report.see(&alert(name, from, at), Some("0"), &[], now(at));
        self.store()
    }

    fn link(&mut self, is_up: bool, at: i64) -> &mut Self {
        self.report.link(is_up, now(at));
        self.store()
    }

    fn restart(&mut self, at: i64) -> &mut Self {
        let stored: Vec<_> = self.state.clone().into_iter().collect();
        self.report = Report::new(&stored, GRACE, now(at));
        self
    }

    fn poll(&mut self, at: i64) -> &mut Self {
        self.report.poll(now(at));
        self.store()
    }

    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }
}

#[test]
fn with_a_link_begin_and_end_are_told_once_and_at_once() {
    let mut node = Node::new();
    node.link(true, 0).fires("A", 10, 10);
    assert_eq!(node.told(), ["begin A"]);
    node.fires("A", 10, 70).fires("A", 10, 130).link(false, 140).link(true, 150);
    assert_eq!(node.told(), [""; 0], "no storm at a reconnect");
    node.ends("A", 10, 190).ends("A", 10, 190).ends("A", 10, 190);
    assert_eq!(node.told(), ["end A"], "an end that is said again is one end");
    assert!(node.state.is_empty());
}

#[test]
fn without_a_link_what_ends_is_history_and_what_fires_waits() {
    let mut node = Node::new();
    node.fires("A", 10, 10).fires("B", 20, 20).ends("A", 10, 30).fires("A", 40, 40).ends("A", 40, 50);
    assert_eq!(node.told(), ["history A", "history A"]);
    assert_eq!((node.report.held(), node.state.len()), (1, 1));
    node.fires("B", 20, 80).link(true, 100);
    assert_eq!(node.told(), ["begin B"]);
    node.ends("B", 20, 120);
    assert_eq!(node.told(), ["end B"]);
}

#[test]
fn what_was_told_before_the_link_went_ends_and_begins_anew_in_order() {
    let mut node = Node::new();
    node.link(true, 0).fires("A", 10, 10).link(false, 20).ends("A", 10, 30).fires("A", 40, 40).fires("A", 40, 100);
    assert_eq!(node.told(), ["begin A", "end A"], "the second episode waits");
    node.link(true, 110);
    assert_eq!(node.told(), ["begin A"]);
    // An end that was not heard of: the alert began anew.
    node.fires("A", 200, 200);
    assert_eq!(node.told(), ["end A", "begin A"]);
}

#[test]
fn a_restart_tells_nothing_twice_and_waits_for_the_rules() {
    let mut node = Node::new();
    node.link(true, 0).fires("A", 10, 10).link(false, 15).fires("B", 20, 20).fires("C", 20, 20);
    assert_eq!(node.told(), ["begin A"]);
    node.restart(100).link(true, 110);
    assert_eq!(node.told(), [""; 0], "whether B and C still fire is not known yet");
    // Rules that were taken up again may say another begin of the same episode.
    node.fires("A", 10, 120).fires("B", 120, 120);
    assert_eq!(node.told(), ["begin B"]);
    node.fires("A", 10, 180).fires("B", 120, 180).poll(399);
    assert_eq!(node.told(), [""; 0]);
    node.poll(400);
    assert_eq!(node.told(), ["history C"], "and A and B went on until they time out themselves");
    node.restart(500).poll(900);
    assert_eq!(node.told(), ["end B", "end A"]);
}

#[test]
fn an_alert_that_nobody_says_again_ends() {
    let mut node = Node::new();
    node.link(true, 0).fires("A", 10, 10);
    assert_eq!(node.report.next(), Some(now(250).mono));
    node.poll(249);
    assert_eq!(node.told(), ["begin A"]);
    node.poll(250).fires("A", 10, 300);
    assert_eq!(node.told(), ["end A", "begin A"]);
}

#[test]
fn a_crash_between_decision_and_commit_leaves_nothing_twice_and_nothing_out() {
    let mut node = Node::new();
    node.link(true, 0);
    node.report.see(&alert("A", 10, 250), None, &[], now(10));
    node.restart(20).link(true, 20).fires("A", 10, 30);
    assert_eq!(node.told(), ["begin A"]);
    node.report.see(&alert("A", 10, 40), None, &[], now(40));
    node.report.see(&alert("A", 45, 300), None, &[], now(45));
    node.store();
    assert_eq!(node.told(), ["end A", "begin A"]);
    assert_eq!(node.state.len(), 1);
    node.restart(50).link(true, 50).fires("A", 45, 51);
    assert_eq!(node.told(), [""; 0]);
}

#[test]
fn all_is_bounded_and_what_does_not_fit_is_booked() {
    let mut node = Node::new();
    for n in 0..ALERTS_MAX + 5 {
        node.report.see(&alert(&format!("A{n}"), 10, 240), None, &[], now(10));
    }
    assert_eq!((node.report.followed(), node.report.loss().and_then(|loss| loss.count)), (ALERTS_MAX, Some(5)));
    assert_eq!(node.report.loss(), None);
    for n in 0..WAITING_MAX + 3 {
        let n = i64::try_from(n).unwrap();
        node.report.see(&alert("A1", 20 + n, 20_000), None, &[], now(20 + n));
    }
    let loss = node.report.loss().unwrap();
    assert_eq!(loss.reason, LossReason::Overload);
    let lost = usize::try_from(loss.count.unwrap()).unwrap();
    node.store();
    assert_eq!(node.told.len() + lost, WAITING_MAX + 3, "each episode that ended is told or booked");
    assert_eq!(node.state.len(), ALERTS_MAX);
}

#[test]
fn who_is_told_here_is_named() {
    let mut node = Node::new();
    node.link(true, 0);
    let told: Vec<String> = (0..40).map(|n| format!("r{n}")).collect();
    node.report.see(&alert("A", 10, 240), Some("+Inf"), &told, now(10));
    let EventKind::Alert(event) = node.report.take().events.remove(0).kind else { panic!("no alert") };
    assert_eq!((event.told.len(), event.told[3].as_str(), event.value.as_str()), (16, "r3", "+Inf"));
}
