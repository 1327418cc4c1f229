//! To no replicas and back: activation, cooldown, what cannot be read there.

use super::*;

fn keys(metrics: &str, more: &str) -> String {
    format!("minReplicas: 0\nmaxReplicas: 20\nmetrics: [{metrics}]\n{more}")
}

#[test]
fn a_target_is_started_above_its_threshold_only() {
    let queue = format!("{}, activationThreshold: 5}}", QUEUE.trim_end_matches('}').to_owned() + "}}");
    for (metric, total, desired) in [
        (QUEUE, 0, 0),
        (QUEUE, 1, 1),
        (QUEUE, 10, 1),
        (QUEUE, 35, 4),
        (QUEUE, 900, 4),
        (QUEUE, -3, 0),
        (&queue, 5, 0),
        (&queue, 6, 1),
        (&queue, 25, 3),
        (WHOLE, 1, 1),
        (WHOLE, 25, 3),
    ] {
        let mut world = World::new(0, &keys(metric, ""));
        let decision = world.decide(&vec![value(total)]);
        assert_eq!(decision.desired, desired, "{metric} {total}: {decision:?}");
        assert_eq!(reasons(&decision)[1], "ValidMetricFound");
    }
}

#[test]
fn neither_windows_nor_percentages_keep_it_off() {
    let percent = "behavior: {scaleUp: {stabilizationWindowSeconds: 300, policies: [{type: Percent, value: 100, periodSeconds: 15}]}}";
    let mut world = World::new(0, &keys(QUEUE, percent));
    assert_eq!([(); 3].map(|()| world.round(&vec![value(90)])), [1, 1, 1]);
    let mut world = World::new(0, &keys(QUEUE, "behavior: {scaleUp: {selectPolicy: Disabled}}"));
    assert_eq!(world.round(&vec![value(90)]), 0, "who forbids to grow means it");
}

#[test]
fn it_is_stopped_when_nothing_was_active_for_the_cooldown() {
    let window = "behavior: {scaleDown: {stabilizationWindowSeconds: 0}}\ncooldownSeconds: 60";
    let mut world = World::new(0, &keys(QUEUE, window));
    assert_eq!(world.round(&vec![value(25)]), 3);
    assert_eq!([(); 5].map(|()| world.round(&vec![value(0)])), [1, 1, 1, 0, 0], "60 s after it was active last");
    // From any number at once, whatever windows and rates say.
    let slow = "behavior: {scaleDown: {policies: [{type: Pods, value: 1, periodSeconds: 1800}]}}\ncooldownSeconds: 60";
    let mut world = World::new(8, &keys(QUEUE, slow));
    assert_eq!(world.round(&vec![value(80)]), 8);
    assert_eq!([(); 4].map(|()| world.round(&vec![value(0)])), [8, 8, 8, 0]);
    let still = "behavior: {scaleDown: {selectPolicy: Disabled}}\ncooldownSeconds: 60";
    let mut world = World::new(8, &keys(QUEUE, still));
    assert_eq!([(); 9].map(|()| world.round(&vec![value(0)])), [8; 9], "who forbids to shrink means it");
}

#[test]
fn below_a_target_and_still_active_one_replica_is_kept() {
    let queue = "{type: External, external: {metric: {name: queue}, target: {averageValue: 1000}}}";
    let mut world =
        World::new(3, &keys(queue, "behavior: {scaleDown: {stabilizationWindowSeconds: 0}}\ncooldownSeconds: 30"));
    assert_eq!([(); 5].map(|()| world.round(&vec![value(1)])), [1; 5]);
}

#[test]
fn what_was_never_seen_active_waits_a_cooldown_too() {
    let mut world =
        World::new(3, &keys(QUEUE, "behavior: {scaleDown: {stabilizationWindowSeconds: 0}}\ncooldownSeconds: 30"));
    assert_eq!([(); 4].map(|()| world.round(&vec![value(0)])), [1, 1, 0, 0]);
}

#[test]
fn errors_neither_start_nor_stop_it() {
    let two = format!("{QUEUE}, {WHOLE}");
    let window = "behavior: {scaleDown: {stabilizationWindowSeconds: 0}}\ncooldownSeconds: 15";
    let mut world = World::new(2, &keys(&two, window));
    for _ in 0..9 {
        assert_eq!(world.round(&vec![value(0), failed()]), 2);
    }
    let mut world = World::new(0, &keys(&two, window));
    assert_eq!(world.round(&vec![value(0), failed()]), 0);
    assert_eq!(world.round(&vec![failed(), failed()]), 0);
    assert_eq!(world.round(&vec![value(1), failed()]), 1, "what can be read starts it");
}

#[test]
fn metrics_of_replicas_say_nothing_where_there_are_none() {
    let mut world = World::new(0, &keys(&format!("{CPU}, {QUEUE}"), ""));
    let decision = world.decide(&vec![failed(), value(0)]);
    assert_eq!((decision.desired, reasons(&decision)[1].as_str()), (0, "ValidMetricFound"));
    assert!(decision.proposals[0].note.contains("no replicas"));
    assert_eq!(world.decide(&vec![failed(), value(25)]).desired, 3);
}

#[test]
fn triggers_start_and_stop_it() {
    let cron = "triggers: [{type: cron, timezone: UTC, start: 0 6 * * *, end: 0 20 * * *, desiredReplicas: 4}]\ncooldownSeconds: 30";
    let mut world = World::new(0, &keys("", cron));
    assert_eq!(world.round(&vec![]), 0);
    world.floors = vec![floor(3)];
    assert_eq!([(); 2].map(|()| world.round(&vec![])), [3, 3]);
    world.floors = vec![floor(0)];
    assert_eq!([(); 3].map(|()| world.round(&vec![])), [3, 0, 0]);
}

#[test]
fn a_fallback_starts_it() {
    let with = "fallback: {failureThreshold: 1, replicas: 2}";
    let mut world = World::new(0, &keys(QUEUE, with));
    assert_eq!([(); 3].map(|()| world.round(&vec![failed()])), [0, 2, 2]);
}

#[test]
fn who_wants_one_at_least_is_left_switched_off() {
    let mut world = World::new(0, &format!("minReplicas: 1\nmaxReplicas: 9\nmetrics: [{QUEUE}]"));
    world.floors = vec![floor(5)];
    let decision = world.decide(&vec![value(900)]);
    assert_eq!((decision.desired, reasons(&decision)[1].as_str()), (0, "!ScalingDisabled"));
}

/// Instances of units are not there after a boot, and nobody has switched them off.
#[test]
fn units_that_a_boot_took_away_are_started_again() {
    let mut world = World::new(0, &format!("minReplicas: 2\nmaxReplicas: 9\nmetrics: [{QUEUE}]"));
    world.policy.target.kind = crate::target::TargetKind::SystemdUnit;
    let decision = world.decide(&vec![failed()]);
    assert_eq!((decision.current, decision.desired), (0, 2), "{}", decision.reason);
    assert_eq!([(); 3].map(|()| world.round(&vec![value(50)])), [2, 5, 5]);
    world.policy.is_paused = true;
    world.has(0);
    assert_eq!(world.round(&vec![value(900)]), 0, "who wants it off says paused");
}
