//! What a round of 100 policies costs: triggers, forecast, decision and guard, with what was read in memory.

use crate::bench::process::own_cpu;
use crate::bench::{Limit, Report, median};
use anyhow::ensure;
use skerry_model::{Labels, Mono, Now, UnixMillis};
use skerry_scaling::guard::{Guard, NodeState, Resources, Settings, Want};
use skerry_scaling::hpa::{Controller, Reading, Readings, State, decide};
use skerry_scaling::policy::ScalingPolicy;
use skerry_scaling::target::{Observed, Pod, PodContainer, PodMetric, Ready};
use skerry_scaling::trigger::{Floor, Forecast, Zones};
use std::time::Duration;

const POLICIES: usize = 100;
/// Replicas of each, at first.
const REPLICAS: usize = 4;
const SYNC_MS: i64 = 15_000;
const BEGIN: UnixMillis = UnixMillis(1_767_571_200_000);
const MIB: u64 = 1 << 20;

/// Two metrics, three triggers in a zone of the database, a forecast.
const SPEC: &str = "
minReplicas: 1
maxReplicas: 20
priority: PRIORITY
metrics:
- {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}
- {type: External, external: {metric: {name: 'sum(rate(jobs_total[2m]))'}, target: {type: AverageValue, averageValue: 50}}}
triggers:
- {type: cron, metadata: {timezone: Europe/Berlin, start: 0 8 * * 1-5, end: 0 18 * * 1-5, desiredReplicas: '2'}}
- {type: calendar, timezone: Europe/Berlin, dates: ['12-20:12-24', 2026-11-27], times: [{start_time: '09:00', end_time: '20:00'}], desiredReplicas: 3}
- {type: schedule, timezone: Europe/Berlin, leadSeconds: 300, peaks: [{at: 0 9 * * 1-5, lasts: 2h, desiredReplicas: 3}]}
forecast: {season: 1d, timezone: Europe/Berlin, minHistory: 1h}
";

struct One {
    policy: ScalingPolicy,
    state: State,
    forecast: Forecast,
    replicas: u32,
}

/// Measures; `rounds` are a measurement, of which the median of five is taken.
pub(super) fn run(rounds: u32, report: &mut Report) -> anyhow::Result<()> {
    let mut node = Node::new()?;
    // The first rounds fill windows and profiles.
    node.rounds(rounds)?;
    let mut measured = Vec::new();
    for _ in 0..5 {
        measured.push(node.rounds(rounds)?.as_secs_f64() * 1000.0 / f64::from(rounds));
    }
    let most = measured.iter().copied().fold(0.0, f64::max);
    report.figure("policies", POLICIES as f64);
    report.limited("round_cpu_ms", median(&mut measured), Limit::Max(5.0));
    report.figure("round_cpu_ms_most", most);
    report.figure("round_changes_percent", f64::from(node.changes) * 100.0 / f64::from(node.decided));
    Ok(())
}

struct Node {
    policies: Vec<One>,
    guard: Guard,
    zones: Zones,
    round: i64,
    changes: u32,
    decided: u32,
}

impl Node {
    fn new() -> anyhow::Result<Self> {
        let one = |n: usize| {
            let spec = format!("scaleTargetRef: {{kind: Container, name: web-{n}}}{SPEC}");
            let policy = ScalingPolicy::parse(&format!("web-{n}"), &spec.replace("PRIORITY", &(n % 5).to_string()));
            let policy = policy.map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
            Ok(One { policy, state: State::default(), forecast: Forecast::default(), replicas: REPLICAS as u32 })
        };
        Ok(Self {
            policies: (0..POLICIES).map(one).collect::<anyhow::Result<_>>()?,
            guard: Guard::new(Settings::default()),
            zones: Zones::new(Box::new(|name| std::fs::read(format!("/usr/share/zoneinfo/{name}")).ok())),
            round: 0,
            changes: 0,
            decided: 0,
        })
    }

    /// Rounds as the agent makes them, without what reads and acts; the CPU they took.
    fn rounds(&mut self, count: u32) -> anyhow::Result<Duration> {
        let mut spent = Duration::ZERO;
        for _ in 0..count {
            self.round += 1;
            let elapsed_ms = self.round * SYNC_MS;
            let now = Now { wall: UnixMillis(BEGIN.0 + elapsed_ms), mono: Mono(elapsed_ms.unsigned_abs()) };
            let scene = |(n, one): (usize, &One)| scene(n, one.replicas, self.round, now.wall);
            let scenes: Vec<(Observed, Readings)> = self.policies.iter().enumerate().map(scene).collect();
            let began = own_cpu();
            let mut wants = Vec::with_capacity(POLICIES);
            for (one, (observed, readings)) in self.policies.iter_mut().zip(&scenes) {
                let season = one.policy.triggers.forecast();
                let mut floors: Vec<Floor> = one.policy.triggers.floors(now, &self.zones);
                floors.extend(season.and_then(|season| one.forecast.floor(season, now, &self.zones)));
                let usual = Controller::default();
                let window = one.forecast.stabilization(season, now, usual.downscale_stabilization);
                let controller = Controller { downscale_stabilization: window, ..usual };
                let decision = decide(&one.policy, &controller, &mut one.state, observed, readings, &floors, now);
                let demand = decision.proposals.iter().filter_map(|proposal| proposal.demand_milli).max();
                ensure!(demand.is_some(), "{}", decision.explain());
                if let (Some(season), Some(demand)) = (season, demand) {
                    one.forecast.note(season, now, demand, &self.zones);
                }
                wants.push(Want {
                    policy: one.policy.name.clone(),
                    priority: one.policy.priority,
                    current: decision.current,
                    desired: decision.desired,
                    min: one.policy.min_replicas,
                    request: Resources { cpu_milli: 100, memory_bytes: 16 * MIB },
                });
            }
            let all = Resources { cpu_milli: 64_000, memory_bytes: 16_384 * MIB };
            let state = NodeState { allocatable: Some(all), used: Some(Resources::default()), ..NodeState::default() };
            for (one, grant) in self.policies.iter_mut().zip(self.guard.room(now, &state, &wants)) {
                self.decided += 1;
                if grant.replicas != one.replicas {
                    self.changes += 1;
                    one.state.scaled(one.replicas, grant.replicas, &one.policy, now);
                    one.replicas = grant.replicas;
                }
            }
            spent += own_cpu() - began;
        }
        Ok(spent)
    }
}

/// A target and what was read of it: load goes up and down in an hour, each policy at another time.
fn scene(n: usize, replicas: u32, round: i64, now: UnixMillis) -> (Observed, Readings) {
    let phase = (round as f64 / 240.0 + n as f64 / POLICIES as f64) * std::f64::consts::TAU;
    let load = 300.0 + 200.0 * phase.sin();
    let each = (load / f64::from(replicas.max(1))).min(100.0) as i64;
    let name = |replica: u32| format!("web-{n}-{replica}");
    let pod = |replica: u32| Pod {
        name: name(replica),
        started_at: Some(UnixMillis(now.0 - 3_600_000)),
        ready: Some(Ready { is_ready: true, since: UnixMillis(now.0 - 3_590_000) }),
        containers: vec![PodContainer {
            name: "web".into(),
            cpu_request_milli: Some(100),
            memory_request: Some(16 * MIB),
            ..PodContainer::default()
        }],
        labels: Labels::default(),
        ..Pod::default()
    };
    let metric = PodMetric { milli: each, at: now, window: Duration::from_secs(30) };
    let per = (0..replicas).map(|replica| ((name(replica), "web".to_owned()), metric)).collect();
    let observed =
        Observed { spec_replicas: replicas, status_replicas: replicas, pods: (0..replicas).map(pod).collect() };
    (observed, vec![Ok(Reading::Pods { per }), Ok(Reading::Value { milli: (load * 500.0) as i64 })])
}
