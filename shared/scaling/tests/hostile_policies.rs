//! Policies and kept states, damaged in whatever way: they are refused or taken, and nothing panics; what is taken keeps
//! its bounds whatever is measured.
//!
//! Each input is a sound one with pieces cut out, put in and doubled, so that damage reaches behind the first checks.

use proptest::collection::vec;
use proptest::prelude::*;
use skerry_damage::{cuts, damaged};
use skerry_model::{Mono, UnixMillis};
use skerry_scaling::Now;
use skerry_scaling::hpa::{Controller, Reading, Readings, State, decide};
use skerry_scaling::policy::{METRICS_MAX, REPLICAS_MAX, ScalingPolicy, Source};
use skerry_scaling::target::{Observed, Pod, PodContainer, PodMetric, Ready};
use skerry_scaling::trigger::Floor;
use std::time::Duration;

const POLICY: &str = r#"
scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web, namespace: shop}
minReplicas: 0
maxReplicas: 20
metrics:
  - type: Resource
    resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}
  - {type: ContainerResource, containerResource: {name: memory, container: c, target: {averageValue: 200Mi}}}
  - {type: Pods, pods: {metric: {name: packets-per-second}, target: {averageValue: 1k}}}
  - type: Object
    object:
      metric: {name: requests_total, selector: {matchLabels: {verb: GET}}}
      describedObject: {apiVersion: networking.k8s.io/v1, kind: Ingress, name: main-route}
      target: {type: Value, value: 10k}
  - type: External
    external:
      metric:
        name: queue
        selector: {matchExpressions: [{key: zone, operator: In, values: [a.b, c]}, {key: app/x, operator: Exists}]}
      target: {type: AverageValue, averageValue: 30}
    activationThreshold: 2500m
  - {type: External, external: {metric: {name: 'sum(rate(x{a=~"b|c"}[2m])) / 3'}, target: {value: 0.5}}}
behavior:
  scaleUp:
    stabilizationWindowSeconds: 60
    selectPolicy: Min
    policies: [{type: Pods, value: 2, periodSeconds: 30}, {type: Percent, value: 10, periodSeconds: 1800}]
    tolerance: 0.05
  scaleDown: {selectPolicy: Disabled, tolerance: 20m}
cooldownSeconds: 60
fallback: {failureThreshold: 0, replicas: 6}
triggers: [{type: cron, timezone: UTC, start: 0 6 * * *, end: 0 20 * * *, desiredReplicas: 4}]
priority: -5
paused: false
"#;

fn at(seconds: u64) -> Now {
    let span = Duration::from_secs(seconds);
    Now { wall: UnixMillis(1_767_225_600_000) + span, mono: Mono(0) + span }
}

fn observed(replicas: u32) -> Observed {
    let since = UnixMillis(1_767_000_000_000);
    let container = PodContainer {
        name: "c".into(),
        cpu_request_milli: Some(500),
        memory_request: Some(1 << 20),
        ..PodContainer::default()
    };
    let pod = |n| Pod {
        name: format!("p{n}"),
        started_at: Some(since),
        ready: Some(Ready { is_ready: true, since }),
        containers: vec![container.clone()],
        ..Pod::default()
    };
    let pods = (0..replicas.min(50)).map(pod).collect();
    Observed { spec_replicas: replicas, status_replicas: replicas, pods }
}

/// What is measured where each metric has this value.
fn readings(policy: &ScalingPolicy, milli: i64, replicas: u32) -> Readings {
    let one = PodMetric { milli, at: at(0).wall, window: Duration::from_secs(30) };
    let names = || (0..replicas.min(50)).map(|n| format!("p{n}"));
    let of = |source: &Source| match source {
        Source::Resource(_) | Source::ContainerResource { .. } => {
            Reading::Pods { per: names().map(|name| ((name, "c".to_owned()), one)).collect() }
        }
        Source::Pods(_) => Reading::PerPod(names().map(|name| (name, one)).collect()),
        Source::Object { .. } | Source::External(_) => Reading::Value { milli },
    };
    policy.metrics.iter().map(|metric| Ok(of(&metric.source))).collect()
}

#[test]
fn what_is_damaged_below_is_sound() {
    let policy = ScalingPolicy::parse("shop/web", POLICY).expect("a sound policy");
    assert_eq!(policy.metrics.len(), 6);
    assert!(!policy.triggers.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn policies_are_refused_or_taken(cuts in cuts(), name in ".{0,20}", milli in any::<i64>(), replicas in 0u32..30) {
        let text = String::from_utf8_lossy(&damaged(POLICY.as_bytes(), &cuts)).into_owned();
        let policy = match ScalingPolicy::parse(&name, &text) {
            Ok(policy) => policy,
            Err(faults) => {
                prop_assert!(!faults.is_empty());
                // A fault at the end may name the line behind the last break.
                let lines = skerry_yaml::lines(&text).count() as u64 + 1;
                for fault in faults {
                    prop_assert!(fault.key.starts_with("spec"), "{fault}");
                    prop_assert!(fault.line.is_none_or(|line| (1..=lines).contains(&line)), "{fault} of {lines}");
                }
                return Ok(());
            }
        };
        prop_assert!(policy.min_replicas <= policy.max_replicas && policy.max_replicas <= REPLICAS_MAX);
        prop_assert!(policy.max_replicas > 0 && policy.metrics.len() <= METRICS_MAX);
        for rules in [&policy.behavior.up, &policy.behavior.down] {
            prop_assert!(!rules.rates.is_empty());
        }
        let (mut state, observed) = (State::default(), observed(replicas));
        let floors = [Floor { replicas: 3, why: String::new(), is_guess: true }];
        for (second, milli) in [milli, 0, i64::MAX, 1000].into_iter().enumerate() {
            let readings = readings(&policy, milli, replicas);
            let now = at(second as u64 * 100);
            let decision = decide(&policy, &Controller::default(), &mut state, &observed, &readings, &floors, now);
            let is_switched_off = replicas == 0 || policy.is_paused || !policy.scales_replicas();
            let bounds = policy.min_replicas..=policy.max_replicas;
            prop_assert!(is_switched_off || bounds.contains(&decision.desired), "{decision:?}");
            state.scaled(decision.current, decision.desired, &policy, now);
        }
    }

    #[test]
    fn kept_states_are_refused_or_taken(cuts in cuts(), bytes in vec(any::<u8>(), 0..200), milli in 0i64..100_000) {
        let policy = ScalingPolicy::parse("shop/web", POLICY).expect("a sound policy");
        let (mut state, observed) = (State::default(), observed(4));
        for second in 0..20 {
            let now = at(second * 15);
            let readings = readings(&policy, milli * second.cast_signed(), 4);
            decide(&policy, &Controller::default(), &mut state, &observed, &readings, &[], now);
            state.scaled(4, 5 + second as u32, &policy, now);
        }
        for bytes in [damaged(&state.to_bytes(), &cuts), bytes] {
            if let Ok(mut state) = State::from_bytes(&bytes) {
                let readings = readings(&policy, milli, 4);
                decide(&policy, &Controller::default(), &mut state, &observed, &readings, &[], at(400));
                prop_assert!(State::from_bytes(&state.to_bytes()).is_ok());
            }
        }
    }
}
