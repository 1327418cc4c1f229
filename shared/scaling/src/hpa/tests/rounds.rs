//! Whole rounds: which of several metrics counts, windows, bounds, conditions and their reasons.

use super::*;

fn keys(metrics: &str, more: &str) -> String {
    format!("minReplicas: 2\nmaxReplicas: 20\nmetrics: [{metrics}]\n{more}")
}

#[test]
fn the_largest_proposal_counts_and_errors_forbid_to_shrink() {
    let two = format!("{QUEUE}, {WHOLE}");
    for (current, queue, load, desired, active) in [
        (4, value(60), value(10), 6, "ValidMetricFound"),
        (4, value(10), value(15), 6, "ValidMetricFound"),
        (4, failed(), value(15), 6, "ValidMetricFound"),
        (4, value(60), failed(), 6, "ValidMetricFound"),
        (4, value(40), failed(), 4, "ValidMetricFound"),
        (4, value(10), failed(), 4, "!FailedGetExternalMetric"),
        (4, failed(), value(2), 4, "!FailedGetExternalMetric"),
        (4, failed(), failed(), 4, "!FailedGetExternalMetric"),
    ] {
        let mut world = World::new(current, &keys(&two, "behavior: {scaleDown: {stabilizationWindowSeconds: 0}}"));
        let decision = world.decide(&vec![queue.clone(), load.clone()]);
        assert_eq!((decision.desired, reasons(&decision)[1].as_str()), (desired, active), "{queue:?} {load:?}");
        let errors = decision.proposals.iter().filter(|one| one.replicas.is_err()).count();
        assert_eq!(errors, usize::from(queue.is_err()) + usize::from(load.is_err()));
    }
}

#[test]
fn each_type_of_metric_has_its_reason() {
    for (metric, reason) in [
        (CPU, "!FailedGetResourceMetric"),
        (
            "{type: ContainerResource, containerResource: {name: cpu, container: c, target: {averageUtilization: 50}}}",
            "!FailedGetContainerResourceMetric",
        ),
        ("{type: Pods, pods: {metric: {name: x}, target: {averageValue: 1}}}", "!FailedGetPodsMetric"),
        (
            "{type: Object, object: {metric: {name: x}, describedObject: {kind: A, name: b}, target: {value: 1}}}",
            "!FailedGetObjectMetric",
        ),
        (QUEUE, "!FailedGetExternalMetric"),
    ] {
        let mut world = World::new(3, &keys(metric, ""));
        for readings in
            [vec![failed()], vec![], vec![if reason.contains("Resource") { value(1) } else { of_pods(&[1]) }]]
        {
            let decision = world.decide(&readings);
            assert_eq!(reasons(&decision), ["SucceededGetScale", reason, "?NotComputed"], "{readings:?}");
            assert_eq!((decision.desired, decision.recommended), (3, None));
        }
        assert!(world.state.recommendations.len() == 1, "what was not computed is not remembered: {:?}", world.state);
    }
}

#[test]
fn conditions_say_what_decided() {
    let slow = "behavior: {scaleUp: {policies: [{type: Pods, value: 1, periodSeconds: 60}]}, \
                scaleDown: {stabilizationWindowSeconds: 0, policies: [{type: Pods, value: 1, periodSeconds: 60}]}}";
    let wait = "behavior: {scaleUp: {stabilizationWindowSeconds: 300}}";
    for (current, queue, more, desired, expected, reason) in [
        (4, 40, "", 4, ["ReadyForNewScale", "ValidMetricFound", "!DesiredWithinRange"], "as many as are needed"),
        (4, 60, "", 6, ["ReadyForNewScale", "ValidMetricFound", "!DesiredWithinRange"], "External queue above target"),
        (4, 10, "", 4, ["ScaleDownStabilized", "ValidMetricFound", "!DesiredWithinRange"], "a window holds it"),
        (4, 60, wait, 4, ["ScaleUpStabilized", "ValidMetricFound", "!DesiredWithinRange"], "a window holds it"),
        (4, 60, slow, 5, ["ReadyForNewScale", "ValidMetricFound", "ScaleUpLimit"], "External queue above target"),
        (4, 10, slow, 3, ["ReadyForNewScale", "ValidMetricFound", "ScaleDownLimit"], "all metrics below target"),
        (3, 0, slow, 2, ["ReadyForNewScale", "ValidMetricFound", "TooFewReplicas"], "all metrics below target"),
        (19, 900, slow, 20, ["ReadyForNewScale", "ValidMetricFound", "TooManyReplicas"], "External queue above target"),
        (20, 900, "", 20, ["ReadyForNewScale", "ValidMetricFound", "TooManyReplicas"], "a rate or bound holds it"),
        (
            25,
            900,
            "",
            20,
            ["SucceededGetScale", "ValidMetricFound", "TooManyReplicas"],
            "more replicas than maxReplicas",
        ),
        (
            25,
            0,
            slow,
            20,
            ["SucceededGetScale", "ValidMetricFound", "TooManyReplicas"],
            "more replicas than maxReplicas",
        ),
        (1, 0, slow, 2, ["SucceededGetScale", "ValidMetricFound", "TooFewReplicas"], "fewer replicas than minReplicas"),
        (0, 90, "", 0, ["SucceededGetScale", "!ScalingDisabled", "?NotComputed"], "0 replicas are wanted"),
        (4, 60, "paused: true", 4, ["SucceededGetScale", "!Paused", "?NotComputed"], "paused"),
    ] {
        let mut world = World::new(current, &keys(QUEUE, more));
        let decision = world.decide(&vec![value(queue)]);
        assert_eq!(decision.desired, desired, "{current} {queue} {more}: {decision:?}");
        assert_eq!(reasons(&decision), expected, "{current} {queue} {more}");
        assert!(decision.reason.starts_with(reason), "{current} {queue} {more}: {}", decision.reason);
        assert!(decision.conditions.iter().all(|condition| !condition.message.is_empty()));
    }
}

#[test]
fn bounds_hold_at_once_also_without_metrics() {
    for (current, desired) in [(1, 2), (30, 20)] {
        let mut world = World::new(
            current,
            &keys(QUEUE, "behavior: {scaleUp: {selectPolicy: Disabled}, scaleDown: {selectPolicy: Disabled}}"),
        );
        let decision = world.decide(&vec![failed()]);
        assert_eq!((decision.desired, reasons(&decision)[1].as_str()), (desired, "!FailedGetExternalMetric"));
    }
}

#[test]
fn disabled_directions_stand_still() {
    let mut world = World::new(4, &keys(QUEUE, "behavior: {scaleUp: {selectPolicy: Disabled}}"));
    let decision = world.decide(&vec![value(90)]);
    assert_eq!((decision.desired, reasons(&decision)[2].as_str()), (4, "ScaleUpLimit"));
    let down = "behavior: {scaleDown: {selectPolicy: Disabled, stabilizationWindowSeconds: 0}}";
    let mut world = World::new(4, &keys(QUEUE, down));
    let decision = world.decide(&vec![value(0)]);
    assert_eq!((decision.desired, reasons(&decision)[2].as_str()), (4, "ScaleDownLimit"));
    assert_eq!(world.decide(&vec![value(90)]).desired, 8, "the other direction is free");
}

#[test]
fn growing_by_default_is_four_or_twice_in_15_seconds_and_shrinking_waits_300() {
    let mut world = World::new(
        2,
        "minReplicas: 1\nmaxReplicas: 100\nmetrics: [{type: External, external: {metric: {name: queue}, target: {averageValue: 10}}}]",
    );
    let busy = vec![value(500)];
    assert_eq!([(); 5].map(|()| world.round(&busy)), [6, 12, 24, 48, 48]);
    let calm = vec![value(10)];
    let rounds: Vec<u32> = (0..20).map(|_| world.round(&calm)).collect();
    assert_eq!(rounds[..19], [48; 19], "the last busy round counts for 300 s");
    assert_eq!(rounds[19], 1);
}

#[test]
fn within_a_period_rates_count_what_was_scaled() {
    let slow = "behavior: {scaleUp: {policies: [{type: Pods, value: 3, periodSeconds: 60}]}}";
    let mut world = World::new(2, &keys(QUEUE, slow));
    let busy = vec![value(500)];
    let rounds: Vec<u32> = (0..10).map(|_| world.round(&busy)).collect();
    assert_eq!(rounds, [5, 5, 5, 5, 8, 8, 8, 8, 11, 11]);
    // What the target did not do does not count.
    let mut world = World::new(2, &keys(QUEUE, slow));
    for _ in 0..4 {
        world.pass(15);
        assert_eq!(world.decide(&busy).desired, 5);
    }
}

#[test]
fn triggers_ask_as_metrics_do() {
    let cron = "triggers: [{type: cron, timezone: UTC, start: 0 6 * * *, end: 0 20 * * *, desiredReplicas: 4}]";
    let down = "behavior: {scaleDown: {stabilizationWindowSeconds: 0}}";
    for (floors, queue, desired, reason) in [
        (vec![], value(40), 4, "as many"),
        (vec![floor(6)], value(40), 6, "a trigger asks for more"),
        (vec![floor(3)], value(60), 6, "External queue above target"),
        (vec![floor(3), floor(7)], value(60), 7, "a trigger asks for more"),
        (vec![floor(99)], value(60), 8, "a trigger asks for more"),
        (vec![floor(3)], value(0), 3, "all metrics below"),
        (vec![floor(6)], failed(), 6, "a trigger asks for more"),
        (vec![floor(3)], failed(), 4, "metrics cannot be read"),
    ] {
        let mut world = World::new(4, &keys(QUEUE, &format!("{down}\n{cron}")));
        world.floors = floors;
        let decision = world.decide(&vec![queue]);
        assert_eq!(decision.desired, desired, "{decision:?}");
        assert!(decision.reason.starts_with(reason), "{}", decision.reason);
    }
    // Triggers alone: the least where none is on.
    let alone = format!("minReplicas: 2\nmaxReplicas: 20\n{down}\n{cron}");
    let mut world = World::new(4, &alone);
    assert!(world.policy.metrics.is_empty());
    for floors in [vec![], vec![floor(0)], vec![floor(1)]] {
        world.floors = floors;
        let decision = world.decide(&vec![]);
        assert_eq!((decision.desired, reasons(&decision)[2].as_str()), (2, "!DesiredWithinRange"));
    }
    world.floors = vec![floor(5)];
    let decision = world.decide(&vec![]);
    assert_eq!((decision.desired, decision.proposals[0].note.as_str()), (5, "cron: in the day"));
}

#[test]
fn fallback_stands_in_after_so_many_failures() {
    let with = "fallback: {failureThreshold: 3, replicas: 6}\nbehavior: {scaleDown: {stabilizationWindowSeconds: 0}}";
    let mut world = World::new(4, &keys(&format!("{QUEUE}, {WHOLE}"), with));
    let readings = vec![failed(), value(1)];
    assert_eq!([(); 5].map(|()| world.round(&readings)), [4, 4, 4, 6, 6]);
    let decision = world.decide(&readings);
    assert!(decision.proposals[0].note.starts_with("fallback after 6 failures"), "{decision:?}");
    assert_eq!(reasons(&decision)[1], "ValidMetricFound");
    // A success begins anew.
    assert_eq!(world.round(&vec![value(60), value(1)]), 6);
    assert_eq!([(); 4].map(|()| world.round(&readings)), [6, 6, 6, 6]);
    // What has a whole value for a target has none.
    let mut world = World::new(4, &keys(&format!("{QUEUE}, {WHOLE}"), with));
    assert_eq!([(); 6].map(|()| world.round(&vec![value(10), failed()])), [4; 6]);
}

#[test]
fn demand_is_told_before_tolerance_windows_and_rounding() {
    let mut world = World::new(4, &keys(&format!("{CPU}, {QUEUE}, {WHOLE}"), "paused: true"));
    let decision = world.decide(&vec![of_pods(&[510, 510, 510, 510]), value(33), value(11)]);
    let demands: Vec<Option<u64>> = decision.proposals.iter().map(|one| one.demand_milli).collect();
    assert_eq!(demands, [Some(4080), Some(3300), Some(4400)]);
    let replicas: Vec<u32> = decision.proposals.iter().filter_map(|one| one.replicas.clone().ok()).collect();
    assert_eq!(replicas, [4, 4, 4]);
}

#[test]
fn an_explanation_shows_inputs_proposals_and_what_decided() {
    let slow = "behavior: {scaleUp: {policies: [{type: Pods, value: 1, periodSeconds: 60}]}}";
    let mut world = World::new(4, &keys(&format!("{CPU}, {QUEUE}, {WHOLE}"), slow));
    world.floors = vec![floor(3)];
    let text = world.decide(&vec![of_pods(&[900, 900, 900]), value(41), failed()]).explain();
    assert_eq!(
        text,
        "4 -> 5 replicas: Resource cpu above target\n  \
         Resource cpu: 90%, target 50% -> 6 (1 not measured)\n  \
         External queue: 10250m on average, target 10 on average -> 4 (within tolerance)\n  \
         External load failed: no answer\n  \
         trigger -> 3 (cron: in the day)\n  \
         largest 6, ScaleUpLimit makes it 5\n  \
         AbleToScale=True ReadyForNewScale: no window holds the number back\n  \
         ScalingActive=True ValidMetricFound: the largest number comes from Resource cpu\n  \
         ScalingLimited=True ScaleUpLimit: the rates of scaleUp let no more be added now"
    );
}

#[test]
fn what_a_forecast_chose_is_corrected_once() {
    let used = |replicas: u32, milli: i64| vec![of_pods(&vec![milli; replicas as usize])];
    // 8 % above the target is no reason for a change, but where the number came from a forecast.
    for (replicas, asked, is_guess, expected) in [(11, 0, false, 11), (3, 11, false, 11), (3, 11, true, 12)] {
        let mut world = World::new(replicas, &format!("maxReplicas: 40\nmetrics: [{CPU}]"));
        world.floors = vec![Floor { is_guess, ..floor(asked) }];
        while world.round(&used(world.observed.spec_replicas, 300)) < 11 {
            assert!(world.now.wall < BEGIN + Duration::from_secs(120));
        }
        assert_eq!(world.round(&used(11, 540)), expected);
        // From then on tolerance is as ever.
        assert_eq!(world.round(&used(expected, 540)), expected);
    }
    // Who says a tolerance means it.
    let keys = format!("maxReplicas: 40\nmetrics: [{CPU}]\nbehavior: {{scaleUp: {{tolerance: 0.1}}}}");
    let mut world = World::new(3, &keys);
    world.floors = vec![Floor { is_guess: true, ..floor(11) }];
    while world.round(&used(world.observed.spec_replicas, 300)) < 11 {}
    assert_eq!(world.round(&used(11, 540)), 11);
}
