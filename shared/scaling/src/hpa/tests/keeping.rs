//! What outlives a process, and clocks that are set.

use super::*;
use crate::hpa::rates::{CHANGES_MAX, Change, Changes};
use crate::hpa::windows::{RECOMMENDATIONS_MAX, Recommendation};

const KEYS: &str = "minReplicas: 1\nmaxReplicas: 100\nmetrics: [{type: External, external: {metric: {name: queue}, target: {averageValue: 10}}}]";

/// As a new process has it: the state is read, and the monotonic clock begins anew.
fn restart(world: &mut World, away: u64, wall_is_off_by: i64) {
    let bytes = world.state.to_bytes();
    assert!(bytes.len() <= STATE_BYTES_MAX);
    world.state = State::from_bytes(&bytes).unwrap();
    world.now.mono = Mono(1000);
    world.now.wall = UnixMillis(world.now.wall.0 + away as i64 * 1000 + wall_is_off_by);
}

#[test]
fn a_restart_forgets_no_window() {
    let mut world = World::new(2, KEYS);
    assert_eq!([(); 4].map(|()| world.round(&vec![value(200)])), [6, 12, 20, 20]);
    for _ in 0..10 {
        world.round(&vec![value(10)]);
    }
    restart(&mut world, 60, 0);
    // 150 s before and 60 s away: 90 s are left.
    assert_eq!([(); 6].map(|()| world.round(&vec![value(10)])), [20, 20, 20, 20, 20, 1]);
}

#[test]
fn a_restart_forgets_no_rate() {
    let slow = "behavior: {scaleUp: {policies: [{type: Pods, value: 3, periodSeconds: 300}]}}";
    let mut world = World::new(2, &format!("{KEYS}\n{slow}"));
    assert_eq!(world.round(&vec![value(500)]), 5);
    restart(&mut world, 30, 0);
    let rounds: Vec<u32> = (0..19).map(|_| world.round(&vec![value(500)])).collect();
    assert_eq!((rounds[16], rounds[17]), (5, 8));
}

#[test]
fn what_nothing_is_known_of_counts_as_recommended() {
    let mut world = World::new(20, KEYS);
    let rounds: Vec<u32> = (0..22).map(|_| world.round(&vec![value(10)])).collect();
    assert_eq!(rounds.iter().filter(|replicas| **replicas == 20).count(), 20, "300 s from the first look");
    // The same after a long absence.
    world.has(20);
    restart(&mut world, 86_400, 0);
    assert_eq!(world.round(&vec![value(10)]), 20);
}

#[test]
fn a_clock_that_is_set_changes_no_window() {
    for step in [-86_400_000i64, 86_400_000, 3_000, -7_000] {
        let mut world = World::new(2, KEYS);
        for _ in 0..4 {
            world.round(&vec![value(200)]);
        }
        for _ in 0..10 {
            world.round(&vec![value(10)]);
        }
        world.now.wall.0 += step;
        assert_eq!([(); 10].map(|()| world.round(&vec![value(10)])), [20, 20, 20, 20, 20, 20, 20, 20, 20, 1], "{step}");
    }
}

#[test]
fn a_process_that_begins_with_a_wrong_clock_waits_at_most_a_window() {
    let mut world = World::new(2, KEYS);
    for _ in 0..4 {
        world.round(&vec![value(200)]);
    }
    restart(&mut world, 0, -1_000_000_000_000);
    let rounds: Vec<u32> = (0..21).map(|_| world.round(&vec![value(10)])).collect();
    assert_eq!((rounds[19], rounds[20]), (20, 1));
}

#[test]
fn bytes_that_are_no_state_are_refused() {
    let mut world = World::new(2, KEYS);
    for _ in 0..30 {
        world.round(&vec![value(200), failed()]);
    }
    let bytes = world.state.to_bytes();
    for end in 0..bytes.len() {
        assert_eq!(State::from_bytes(&bytes[..end]), Err(InvalidState), "{end}");
    }
    let more = [&bytes[..], &[0]].concat();
    let newer = [&[9], &bytes[1..]].concat();
    let long = [&[1u8][..], &[0xff; 9], &[1]].concat();
    for bytes in [more, newer, long, vec![1, 0xff, 0xff, 3]] {
        assert_eq!(State::from_bytes(&bytes), Err(InvalidState));
    }
    let read = State::from_bytes(&bytes).unwrap();
    assert_eq!(read.to_bytes(), bytes);
}

#[test]
fn the_fullest_state_fits() {
    let mut world = World::new(2, KEYS);
    let wild = [UnixMillis(i64::MIN), UnixMillis(i64::MAX)];
    let at = |n: usize| wild[n % 2];
    world.state.recommendations =
        (0..RECOMMENDATIONS_MAX).map(|n| Recommendation { replicas: u32::MAX, at: at(n) }).collect();
    let all = || (0..CHANGES_MAX).map(|n| Change { by: u32::MAX, at: at(n) }).collect();
    world.state.changes = Changes { up: all(), down: all() };
    world.state.failures = vec![u32::MAX; crate::policy::METRICS_MAX];
    world.state.active_at = Some(at(1));
    let bytes = world.state.to_bytes();
    assert!(bytes.len() <= STATE_BYTES_MAX, "{}", bytes.len());
    assert_eq!(State::from_bytes(&bytes).unwrap().to_bytes(), bytes);
    world.state = State::from_bytes(&bytes).unwrap();
    world.round(&vec![value(10)]);
}
