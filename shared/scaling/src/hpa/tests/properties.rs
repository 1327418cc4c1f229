//! What holds in every round, whatever is read.

use super::*;
use proptest::prelude::*;

fn readings() -> impl Strategy<Value = Readings> {
    let milli = prop_oneof![8 => -50i64..5000, 1 => Just(i64::MAX), 1 => Just(i64::MIN)];
    let pods = prop::collection::vec(milli.clone(), 0..12);
    let one = |of: BoxedStrategy<Reading>| prop_oneof![6 => of.prop_map(Ok), 1 => Just(failed())];
    let cpu = one(pods.clone().prop_map(|milli| of_pods(&milli).unwrap()).boxed());
    let each = one(pods.prop_map(|milli| per_pod(&milli).unwrap()).boxed());
    let total = one(milli.prop_map(|milli| Reading::Value { milli: milli.saturating_mul(100) }).boxed());
    (cpu, each, total).prop_map(|(cpu, each, total)| vec![cpu, each, total])
}

fn world(min: u32, max: u32, behavior: &str) -> World {
    let pods = "{type: Pods, pods: {metric: {name: x}, target: {averageValue: 500m}}}";
    World::new(
        min.max(1),
        &format!("minReplicas: {min}\nmaxReplicas: {max}\nmetrics: [{CPU}, {pods}, {QUEUE}]\n{behavior}"),
    )
}

const BEHAVIORS: [&str; 4] = [
    "cooldownSeconds: 30",
    "behavior: {scaleDown: {stabilizationWindowSeconds: 0}}",
    "behavior: {scaleUp: {stabilizationWindowSeconds: 60, policies: [{type: Pods, value: 2, periodSeconds: 60}]}, scaleDown: {stabilizationWindowSeconds: 30, selectPolicy: Min, policies: [{type: Percent, value: 30, periodSeconds: 60}, {type: Pods, value: 2, periodSeconds: 30}]}}",
    "behavior: {scaleUp: {selectPolicy: Disabled}, scaleDown: {selectPolicy: Disabled}}",
];

proptest! {
    #[test]
    fn rounds_keep_their_promises(
        rounds in prop::collection::vec((readings(), 1u64..40, any::<bool>(), 0u32..15), 1..40),
        min in 0u32..4, span in 0u32..12, behavior in 0usize..4,
    ) {
        let max = (min + span).max(1);
        let mut world = world(min, max, BEHAVIORS[behavior]);
        for (readings, seconds, obeys, floor_of) in rounds {
            world.pass(seconds);
            world.floors = if floor_of > 10 { vec![floor(floor_of)] } else { Vec::new() };
            let decision = world.decide(&readings);
            let (current, desired) = (decision.current, decision.desired);
            // Bounds, but for what is switched off.
            prop_assert!(desired <= max);
            prop_assert!(desired >= min || current == 0);
            let errors = decision.proposals.iter().filter(|one| one.replicas.is_err()).count();
            let within = (min..=max).contains(&current);
            // What could not be read never takes replicas away.
            if errors > 0 && within {
                let asked = decision.proposals.iter().filter_map(|one| one.replicas.clone().ok()).max();
                prop_assert!(desired >= current || asked >= Some(current), "{decision:?}");
            }
            // No change beyond what is asked for.
            if within && desired > current {
                prop_assert!(current == 0 || decision.recommended.is_some_and(|asked| desired <= asked), "{decision:?}");
            }
            if within && desired < current {
                prop_assert!(decision.recommended.is_some_and(|asked| desired >= asked || desired == 0), "{decision:?}");
            }
            if behavior == 3 && within {
                prop_assert_eq!(desired, current);
            }
            let kinds = decision.conditions.clone().map(|condition| condition.kind as usize);
            prop_assert_eq!(kinds, [0, 1, 2]);
            prop_assert!(decision.explain().lines().count() >= 4);
            // A rehearsal changes nothing and comes to the same end.
            let bytes = world.state.to_bytes();
            prop_assert!(bytes.len() <= STATE_BYTES_MAX);
            prop_assert_eq!(State::from_bytes(&bytes).unwrap().to_bytes(), bytes);
            if obeys && desired != current {
                world.state.scaled(current, desired, &world.policy, world.now);
                world.has(desired);
            }
        }
    }

    #[test]
    fn whoever_asks_twice_gets_the_same(readings in readings(), replicas in 0u32..12) {
        let mut world = world(1, 10, BEHAVIORS[0]);
        world.has(replicas);
        let mut other = world.state.clone();
        let World { policy, controller, observed, floors, now, .. } = &world;
        let first = decide(policy, controller, &mut other, observed, &readings, floors, *now);
        prop_assert_eq!(world.decide(&readings), first);
    }

    #[test]
    fn a_steady_load_comes_to_rest(load in 0i64..300, replicas in 1u32..30) {
        let mut world = World::new(replicas, &format!("minReplicas: 1\nmaxReplicas: 30\nmetrics: [{QUEUE}]"));
        let rounds: Vec<u32> = (0..40).map(|_| world.round(&vec![value(load)])).collect();
        let rest = rounds[39];
        prop_assert!(rounds[25..].iter().all(|replicas| *replicas == rest), "{rounds:?}");
        let changes = rounds.windows(2).filter(|pair| pair[0] != pair[1]).count();
        prop_assert!(changes <= 6, "{rounds:?}");
        let exact = (load as f64 / 10.0).ceil().clamp(1.0, 30.0);
        prop_assert!((f64::from(rest) - exact).abs() <= 0.12 * exact + 1.0, "{rounds:?} {exact}");
    }
}
