//! Rounds of a target in virtual time.

mod keeping;
mod metrics;
mod properties;
mod rates;
mod rounds;
mod zero;

use super::*;
use crate::policy::ScalingPolicy;
use crate::target::{Observed, Pod, PodContainer, Ready};
use crate::trigger::Floor;
use skerry_model::{Mono, Now, UnixMillis};

/// When worlds begin.
const BEGIN: UnixMillis = UnixMillis(1_700_000_000_000);

/// A target, its policy and what is known of it.
struct World {
    policy: ScalingPolicy,
    controller: Controller,
    state: State,
    observed: Observed,
    floors: Vec<Floor>,
    now: Now,
}

impl World {
    /// With so many ready replicas `p0`, `p1` … that have run for long, each a container `c` that asks for a core and 1000
    /// bytes; a policy with these keys beside its target.
    fn new(replicas: u32, keys: &str) -> Self {
        let text = format!("scaleTargetRef: {{kind: Container, name: web}}\n{keys}");
        let policy = ScalingPolicy::parse("web", &text).unwrap_or_else(|faults| panic!("{faults:?}"));
        let now = Now { wall: BEGIN, mono: Mono(5_000_000) };
        let (state, observed, floors) = (State::default(), Observed::default(), Vec::new());
        let mut world = Self { policy, controller: Controller::default(), state, observed, floors, now };
        world.has(replicas);
        world
    }

    /// The target has so many replicas, all of them ready.
    fn has(&mut self, replicas: u32) {
        let pods = (0..replicas.min(200)).map(pod).collect();
        self.observed = Observed { spec_replicas: replicas, status_replicas: replicas, pods };
    }

    fn pass(&mut self, seconds: u64) {
        let span = Duration::from_secs(seconds);
        self.now = Now { wall: self.now.wall + span, mono: self.now.mono + span };
    }

    fn decide(&mut self, readings: &Readings) -> Decision {
        let Self { policy, controller, state, observed, floors, now } = self;
        decide(policy, controller, state, observed, readings, floors, *now)
    }

    /// A round of 15 s in which what was decided comes to pass; how many replicas there are then.
    fn round(&mut self, readings: &Readings) -> u32 {
        self.pass(15);
        let decision = self.decide(readings);
        if decision.desired != decision.current {
            self.state.scaled(decision.current, decision.desired, &self.policy, self.now);
            self.has(decision.desired);
        }
        decision.desired
    }
}

fn pod(n: u32) -> Pod {
    let started = UnixMillis(BEGIN.0 - 86_400_000);
    let container = PodContainer {
        name: "c".into(),
        cpu_request_milli: Some(1000),
        memory_request: Some(1000),
        ..PodContainer::default()
    };
    Pod {
        name: format!("p{n}"),
        started_at: Some(started),
        ready: Some(Ready { is_ready: true, since: started }),
        containers: vec![container],
        ..Pod::default()
    }
}

fn metric(milli: i64) -> PodMetric {
    PodMetric { milli, at: BEGIN, window: Duration::from_secs(30) }
}

/// A resource of replicas `p0`, `p1` …
fn of_pods(milli: &[i64]) -> Result<Reading, String> {
    let per = milli.iter().enumerate().map(|(n, milli)| ((format!("p{n}"), "c".to_owned()), metric(*milli)));
    Ok(Reading::Pods { per: per.collect() })
}

fn per_pod(milli: &[i64]) -> Result<Reading, String> {
    Ok(Reading::PerPod(milli.iter().enumerate().map(|(n, milli)| (format!("p{n}"), metric(*milli))).collect()))
}

/// A whole number of something outside.
fn value(units: i64) -> Result<Reading, String> {
    Ok(Reading::Value { milli: units * 1000 })
}

fn failed() -> Result<Reading, String> {
    Err("no answer".to_owned())
}

fn floor(replicas: u32) -> Floor {
    Floor { replicas, why: "cron: in the day".into(), is_guess: false }
}

/// Reasons of AbleToScale, ScalingActive and ScalingLimited, with `!` where the condition does not hold.
fn reasons(decision: &Decision) -> [String; 3] {
    decision.conditions.clone().map(|condition| match condition.status {
        Status::True => condition.reason.to_owned(),
        Status::False => format!("!{}", condition.reason),
        Status::Unknown => format!("?{}", condition.reason),
    })
}

const CPU: &str = "{type: Resource, resource: {name: cpu, target: {averageUtilization: 50}}}";
const QUEUE: &str = "{type: External, external: {metric: {name: queue}, target: {averageValue: 10}}}";
const WHOLE: &str = "{type: External, external: {metric: {name: load}, target: {value: 10}}}";
