//! Policies over rounds, failures and crashes, in virtual time.

use super::engine::{Engine, Looked};
use super::seat::{Act, QUIET, request};
use crate::actuate::ActuatorError;
use skerry_model::{Mono, Now, UnixMillis};
use skerry_scaling::guard::{Guard, Resources, Settings};
use skerry_scaling::hpa::{Controller, Reading};
use skerry_scaling::policy::ScalingPolicy;
use skerry_scaling::target::{Observed, Pod, PodContainer};
use skerry_scaling::trigger::Zones;
use skerry_wire::{EventKind, ScalingEvent};
use std::collections::BTreeMap;
use std::time::Duration;

const SYNC: Duration = Duration::from_secs(15);

fn policy(name: &str, target: &str) -> ScalingPolicy {
    let spec = format!(
        "scaleTargetRef: {{kind: Exec, name: {target}}}\nminReplicas: 1\nmaxReplicas: 10\nmetrics:\n- type: External\n  \
         external:\n    metric: {{name: queue}}\n    target: {{type: AverageValue, averageValue: 1}}\nbehavior:\n  \
         scaleDown: {{stabilizationWindowSeconds: 0}}\n"
    );
    ScalingPolicy::parse(name, &spec).unwrap()
}

/// A node with a disk, and targets that do as they are told, or not.
struct Rig {
    engine: Engine,
    policies: Vec<ScalingPolicy>,
    now: Now,
    disk: BTreeMap<String, Vec<u8>>,
    events: Vec<ScalingEvent>,
    /// Replicas of every target.
    replicas: u32,
    /// What the metric is; `None` while it cannot be read.
    queue: Option<i64>,
    broken: Option<&'static str>,
    hidden: bool,
}

impl Rig {
    fn new(policies: Vec<ScalingPolicy>) -> Self {
        let now = Now { wall: UnixMillis(1_700_000_000_000), mono: Mono(1_000_000) };
        let engine = engine(&policies, BTreeMap::new(), now);
        let (disk, events) = (BTreeMap::new(), Vec::new());
        Self { engine, policies, now, disk, events, replicas: 2, queue: Some(2), broken: None, hidden: false }
    }

    /// The agent is killed and started again after a while.
    fn crash(&mut self, away: Duration) {
        self.pass(away);
        self.engine = engine(&self.policies, self.disk.clone(), self.now);
        self.save();
    }

    fn pass(&mut self, span: Duration) {
        self.now = Now { wall: self.now.wall + span, mono: self.now.mono + span };
    }

    fn save(&mut self) {
        let batch = self.engine.take(false, self.now);
        for (key, value) in batch.changes {
            match value {
                Some(value) => drop(self.disk.insert(key, value)),
                None => drop(self.disk.remove(&key)),
            }
        }
        for event in batch.events {
            let EventKind::Scaling(event) = event.kind else { panic!("{event:?}") };
            self.events.push(event);
        }
    }

    /// Looks and decides; what is to be done is left to the caller.
    fn begin(&mut self) -> Vec<Act> {
        self.pass(SYNC);
        let due = self.engine.due(self.now);
        let observed = Observed { spec_replicas: self.replicas, status_replicas: self.replicas, pods: Vec::new() };
        let error = ActuatorError { reason: "Unreachable", message: "gone".into() };
        let look = || -> Looked { if self.hidden { Err(error.clone()) } else { Ok((observed.clone(), Ok(None))) } };
        let looked = due.into_iter().map(|(at, _)| (at, look())).collect();
        let (items, mut acts) = self.engine.looked(looked, self.now);
        let reading = || match self.queue {
            Some(queue) => Ok(Reading::Value { milli: queue * 1000 }),
            None => Err("gives nothing now".to_owned()),
        };
        let read = items.into_iter().map(|(at, item)| (at, item, vec![reading()])).collect();
        acts.extend(self.engine.decide(read, self.now));
        self.save();
        acts
    }

    fn act(&mut self, acts: Vec<Act>) {
        for act in acts {
            let outcome = match self.broken {
                Some(reason) => Err(ActuatorError { reason, message: "no".into() }),
                None => {
                    self.replicas = act.replicas;
                    Ok(())
                }
            };
            self.engine.done(act.seat, outcome, self.now);
        }
        self.save();
    }

    fn round(&mut self) {
        let acts = self.begin();
        self.act(acts);
    }

    fn rounds(&mut self, count: usize) {
        (0..count).for_each(|_| self.round());
    }

    /// Reasons of all events so far, with replicas.
    fn told(&self) -> Vec<(&str, u32, u32)> {
        self.events.iter().map(|event| (event.reason.as_str(), event.from, event.to)).collect()
    }

    fn condition(&self, kind: &str) -> (String, String) {
        let view = self.engine.views().remove(0).to_json();
        let condition = view["conditions"].as_array().unwrap().iter().find(|one| one["kind"] == kind).unwrap();
        let text = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
        (text("status"), text("reason"))
    }
}

fn engine(policies: &[ScalingPolicy], disk: BTreeMap<String, Vec<u8>>, now: Now) -> Engine {
    let zones = Zones::new(Box::new(|_| None));
    let stored = disk.into_iter().collect();
    Engine::new(policies.to_vec(), Controller::default(), Guard::new(Settings::default()), stored, zones, now)
}

#[test]
fn replicas_follow_and_each_decision_has_one_event() {
    let mut rig = Rig::new(vec![policy("web", "/x")]);
    rig.rounds(3);
    assert_eq!(rig.told(), []);
    rig.queue = Some(5);
    let acts = rig.begin();
    assert_eq!(acts, [Act { seat: 0, replicas: 5 }]);
    assert!(String::from_utf8_lossy(&rig.disk["scaling/n/web"]).contains("\"to\":5"), "the intent is on the disk");
    assert_eq!(rig.told(), [], "and told of once it is done");
    assert_eq!(rig.begin(), [], "it is not looked at while it is scaled");
    rig.act(acts);
    assert!(!String::from_utf8_lossy(&rig.disk["scaling/n/web"]).contains("intent"));
    rig.rounds(10);
    assert_eq!(rig.told(), [("SuccessfulRescale", 2, 5)]);
    assert!(rig.events[0].message.contains("External queue"), "{}", rig.events[0].message);
    rig.queue = Some(1);
    rig.rounds(10);
    assert_eq!(rig.told()[1..], [("SuccessfulRescale", 5, 1)]);
    assert_eq!(rig.replicas, 1);
}

#[test]
fn a_crash_neither_loses_nor_doubles_a_decision() {
    // The target after the crash: as before, half way, done.
    for (replicas, acts_after, told) in [
        (2, &[5][..], ("SuccessfulRescale", 2, 5)),
        (3, &[5], ("SuccessfulRescale", 2, 5)),
        // Somebody may have to be cleared away.
        (5, &[5], ("SuccessfulRescale", 2, 5)),
    ] {
        let mut rig = Rig::new(vec![policy("web", "/x")]);
        rig.queue = Some(5);
        let acts = rig.begin();
        assert_eq!(acts.len(), 1);
        rig.replicas = replicas;
        rig.crash(Duration::from_secs(30));
        let acts = rig.begin();
        assert_eq!(acts.iter().map(|act| act.replicas).collect::<Vec<_>>(), acts_after, "{replicas}");
        // And again, in the middle of it.
        rig.crash(Duration::from_secs(5));
        rig.rounds(5);
        assert_eq!(rig.told(), [told], "{replicas}");
        assert_eq!(rig.replicas, 5);
        rig.crash(Duration::from_secs(5));
        rig.rounds(5);
        assert_eq!(rig.told(), [told], "{replicas}");
    }
}

#[test]
fn what_was_meant_long_ago_is_not_taken_up_again() {
    for (replicas, told) in [(2, &[][..]), (4, &[("SuccessfulRescale", 2, 4)])] {
        let mut rig = Rig::new(vec![policy("web", "/x")]);
        rig.queue = Some(5);
        assert_eq!(rig.begin().len(), 1);
        (rig.replicas, rig.queue) = (replicas, Some(i64::from(replicas)));
        rig.crash(Duration::from_secs(3600));
        rig.rounds(3);
        assert_eq!((rig.told(), rig.replicas), (told.to_vec(), replicas));
    }
    // Nor what a policy no longer wants; and what is stored of policies that are gone is forgotten.
    let mut rig = Rig::new(vec![policy("web", "/x")]);
    rig.queue = Some(5);
    assert_eq!(rig.begin().len(), 1);
    rig.policies[0].max_replicas = 3;
    rig.crash(Duration::from_secs(5));
    rig.rounds(3);
    assert_eq!(rig.told(), [("SuccessfulRescale", 2, 3)]);
    rig.policies = vec![policy("other", "/y")];
    rig.crash(Duration::ZERO);
    assert!(rig.disk.keys().all(|key| !key.ends_with("/web")), "{:?}", rig.disk.keys());
}

#[test]
fn a_target_that_cannot_be_scaled_is_tried_with_pauses_and_told_of_once() {
    let mut rig = Rig::new(vec![policy("web", "/x")]);
    (rig.queue, rig.broken) = (Some(5), Some("Refused"));
    let mut attempts = 0;
    for _ in 0..40 {
        let acts = rig.begin();
        attempts += acts.len();
        rig.act(acts);
    }
    assert_eq!(rig.told(), [("FailedRescale", 2, 5)]);
    assert!((4..=8).contains(&attempts), "{attempts} attempts in ten minutes");
    assert_eq!(rig.condition("AbleToScale"), ("False".into(), "FailedUpdateScale".into()));
    assert!(rig.engine.problems(rig.now).any(|(_, problem)| problem.is_some_and(|text| text.contains("Refused"))));
    // Not again after a restart.
    rig.crash(Duration::from_secs(5));
    rig.rounds(3);
    assert_eq!(rig.told().len(), 1);
    rig.broken = None;
    rig.rounds(30);
    assert_eq!(rig.told()[1..], [("SuccessfulRescale", 2, 5)]);
    assert_eq!(rig.condition("AbleToScale").0, "True");
    assert!(rig.engine.problems(rig.now).all(|(_, problem)| problem.is_none()));
}

#[test]
fn an_action_that_was_said_to_fail_and_came_to_pass_is_told_of() {
    let mut rig = Rig::new(vec![policy("web", "/x")]);
    (rig.queue, rig.broken) = (Some(5), Some("Timeout"));
    rig.round();
    rig.replicas = 5;
    rig.rounds(5);
    assert_eq!(rig.told(), [("FailedRescale", 2, 5), ("SuccessfulRescale", 2, 5)]);
    // Over a kill too, and of one that did fail nothing more is told.
    for (replicas, told) in
        [(5, &[("FailedRescale", 2, 5), ("SuccessfulRescale", 2, 5)][..]), (2, &[("FailedRescale", 2, 5)])]
    {
        let mut rig = Rig::new(vec![policy("web", "/x")]);
        (rig.queue, rig.broken) = (Some(5), Some("Timeout"));
        rig.round();
        (rig.replicas, rig.queue) = (replicas, Some(i64::from(replicas)));
        for _ in 0..2 {
            rig.crash(Duration::from_secs(5));
            rig.rounds(5);
            assert_eq!((rig.told(), rig.replicas), (told.to_vec(), replicas));
        }
    }
}

#[test]
fn an_action_that_nobody_looks_after_any_more_is_told_of() {
    let acting = || {
        let mut rig = Rig::new(vec![policy("web", "/x")]);
        rig.queue = Some(5);
        assert_eq!(rig.begin().len(), 1);
        rig
    };
    // The policy is gone, and another has come; or it has another target, which is left alone.
    for policies in [vec![policy("other", "/x")], vec![policy("web", "/y")]] {
        let mut rig = acting();
        (rig.policies, rig.queue) = (policies, Some(2));
        for _ in 0..2 {
            rig.crash(Duration::from_secs(5));
            rig.rounds(3);
            assert_eq!((rig.told(), rig.replicas), (vec![("Interrupted", 2, 5)], 2));
        }
        let ScalingEvent { policy, target, message, .. } = &rig.events[0];
        assert_eq!((policy.as_str(), target.contains("/x")), ("web", true), "{target}");
        assert!(message.contains("External queue"), "{message}");
    }
}

#[test]
fn what_cannot_be_read_is_told_of_when_it_lasts() {
    let mut rig = Rig::new(vec![policy("web", "/x")]);
    rig.rounds(2);
    rig.queue = None;
    rig.rounds(2);
    rig.queue = Some(2);
    rig.rounds(2);
    assert_eq!(rig.told(), [], "a short gap is none");
    rig.queue = None;
    rig.rounds(20);
    assert_eq!(rig.told(), [("FailedComputeMetricsReplicas", 2, 2)]);
    assert_eq!(rig.condition("ScalingActive"), ("False".into(), "FailedGetExternalMetric".into()));
    rig.crash(Duration::from_secs(1));
    rig.rounds(20);
    assert_eq!(rig.told().len(), 1, "a restart does not tell again");
    rig.queue = Some(2);
    rig.rounds(10);
    assert_eq!(rig.told().len(), 1);
    rig.rounds(usize::try_from(QUIET.as_secs() / SYNC.as_secs()).unwrap());
    assert_eq!(rig.told()[1..], [("Recovered", 2, 2)]);
    rig.hidden = true;
    rig.rounds(20);
    assert_eq!(rig.told()[2..], [("FailedGetScale", 2, 2)]);
    assert_eq!(rig.condition("AbleToScale"), ("False".into(), "FailedGetScale".into()));
}

#[test]
fn two_policies_on_one_target_do_nothing() {
    let mut rig = Rig::new(vec![policy("a", "/x"), policy("b", "/x"), policy("c", "/y")]);
    rig.queue = Some(5);
    rig.rounds(5);
    let told: Vec<_> = rig.events.iter().map(|event| (event.policy.as_str(), event.reason.as_str())).collect();
    assert_eq!(told, [("a", "AmbiguousSelector"), ("b", "AmbiguousSelector"), ("c", "SuccessfulRescale")]);
    assert_eq!(rig.condition("ScalingActive"), ("False".into(), "AmbiguousSelector".into()));
}

#[test]
fn what_a_replica_asks_for_may_be_any_number() {
    let asks = |cpu, memory| PodContainer { cpu_request_milli: cpu, memory_request: memory, ..PodContainer::default() };
    let pod = |containers| Pod { containers, ..Pod::default() };
    let pods = vec![pod(vec![asks(Some(u64::MAX), Some(5)), asks(Some(7), None)]), pod(vec![asks(Some(9), Some(6))])];
    let observed = Observed { spec_replicas: 2, status_replicas: 2, pods };
    assert_eq!(request(&observed), Resources { cpu_milli: u64::MAX, memory_bytes: 6 });
}

#[test]
fn decisions_survive_a_restart() {
    let mut slow = policy("web", "/x");
    slow.behavior.down.window = Some(Duration::from_secs(300));
    let mut rig = Rig::new(vec![slow]);
    rig.queue = Some(8);
    rig.round();
    assert_eq!(rig.replicas, 6, "four more in a round");
    rig.rounds(8);
    assert_eq!(rig.replicas, 8);
    rig.queue = Some(1);
    rig.rounds(3);
    rig.crash(Duration::from_secs(10));
    rig.rounds(8);
    assert_eq!(rig.replicas, 8, "the window of before the crash holds");
    rig.rounds(15);
    assert_eq!(rig.replicas, 1);
}

#[test]
fn a_text_to_try_out_runs_no_program_that_no_policy_asks() {
    let rig = Rig::new(vec![policy("web", "/bin/web")]);
    let container = "scaleTargetRef: {kind: Container, name: x}\nmaxReplicas: 2\n";
    for (tried, may) in [
        (policy("web", "/bin/web"), true),
        (policy("other", "/bin/web"), true),
        (policy("web", "/bin/siren"), false),
        (ScalingPolicy::parse("c", container).unwrap(), true),
    ] {
        let target = tried.target.to_string();
        let looked = rig.engine.rehearsal_of_new(tried).may_look();
        assert_eq!(looked.is_ok(), may, "{target}");
        assert!(looked.err().is_none_or(|error| error.reason == "NotAllowed"), "{target}");
    }
}
