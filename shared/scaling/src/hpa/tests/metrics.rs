//! What one metric asks for, beyond the cases of Kubernetes's own suites.

use super::*;
use crate::hpa::pods::{ready_count, sums};
use crate::hpa::replicas::{Asked, Scene, Tolerances, average_of_pods, average_value, utilization, value};
use crate::policy::Resource;
use crate::target::Phase;

const TOLERANCE: Tolerances = Tolerances { up: 0.1, down: 0.1 };

fn scene<'a>(observed: &'a Observed, controller: &'a Controller, tolerances: Tolerances) -> Scene<'a> {
    Scene { observed, controller, tolerances, now: BEGIN }
}

/// The CPU of replicas, in percent of a core, against a target in percent. Letters say what each replica is: `r`eady,
/// `u`nready and never was ready, `s`tarted a moment ago, started by a clock that was `a`head, `p`ending, `f`ailed, `d`eleting; `-` for the metric: none.
fn cpu(kinds: &str, usage: &[Option<i64>], percent: u32) -> Result<Asked, String> {
    let pods = kinds.chars().enumerate().map(|(n, kind)| {
        let mut pod = pod(n as u32);
        let started = pod.started_at.unwrap();
        match kind {
            'u' => pod.ready = Some(Ready { is_ready: false, since: started }),
            's' => {
                let started = UnixMillis(BEGIN.0 - 10_000);
                (pod.started_at, pod.ready) = (Some(started), Some(Ready { is_ready: true, since: started }));
            }
            'a' => {
                let started = UnixMillis(BEGIN.0 + 365 * 86_400_000);
                (pod.started_at, pod.ready) = (Some(started), Some(Ready { is_ready: true, since: started }));
            }
            'p' => pod.phase = Phase::Pending,
            'f' => pod.phase = Phase::Failed,
            'd' => pod.is_deleting = true,
            _ => {}
        }
        pod
    });
    let pods: Vec<Pod> = pods.collect();
    let count = pods.len() as u32;
    let observed = Observed { spec_replicas: count, status_replicas: count, pods };
    let measured =
        usage.iter().enumerate().filter_map(|(n, usage)| Some((format!("p{n}"), metric(usage.as_ref()? * 10))));
    let controller = Controller::default();
    utilization(scene(&observed, &controller, TOLERANCE), &measured.collect(), Resource::Cpu, None, percent)
}

#[test]
fn replicas_that_are_not_counted_speak_against_change() {
    for (kinds, usage, target, replicas, why) in [
        ("rrrr", vec![Some(100), Some(100), Some(100), Some(100)], 50, 8, "all counted"),
        ("rrrr", vec![Some(100), None, None, None], 50, 4, "100/400 would be half: a turn of direction"),
        ("rrrr", vec![Some(100), Some(100), Some(100), None], 50, 6, "300/400 of 50 is 1.5 of four"),
        ("rrrr", vec![Some(10), None, None, None], 50, 4, "three at 100 % would need more: a turn of direction"),
        ("rrrr", vec![Some(10), Some(10), Some(10), None], 50, 3, "130/400 is 32 %: 0.64 of four"),
        ("rrrr", vec![Some(10), Some(10), Some(10), None], 200, 2, "above 100 % the target stands in: 230/400 is 57 %"),
        ("rrrr", vec![Some(50), None, None, None], 50, 4, "at the target exactly, missing ones say nothing"),
        ("ruuu", vec![Some(200), Some(90), Some(90), Some(90)], 50, 4, "unready ones count as idle when growing"),
        ("ruuu", vec![Some(20), Some(90), Some(90), Some(90)], 50, 1, "and are left out when shrinking"),
        ("rrss", vec![Some(100), Some(100), Some(900), Some(900)], 50, 4, "starting ones count as idle: 200/400"),
        ("aaaa", vec![Some(100), Some(100), Some(100), Some(100)], 50, 8, "a year ahead is no reason to wait a year"),
        ("rrpp", vec![Some(120), Some(120), None, None], 50, 5, "pending ones count as idle: 60 % of four"),
        ("rrpp", vec![Some(10), Some(10), None, None], 50, 1, "pending ones are left out"),
        ("rrfd", vec![Some(100), Some(100), Some(1), Some(1)], 50, 4, "failed and deleting ones are no part of it"),
        ("rrrr", vec![Some(54), Some(54), Some(54), Some(54)], 50, 4, "1.08 is within tolerance"),
        ("rrrr", vec![Some(55), Some(55), Some(55), Some(55)], 50, 4, "1.1 is, too"),
        ("rrrr", vec![Some(56), Some(56), Some(56), Some(56)], 50, 5, "1.12 is not"),
        ("rrrr", vec![Some(45), Some(45), Some(45), Some(45)], 50, 4, "0.9 is"),
        ("rrrr", vec![Some(44), Some(44), Some(44), Some(44)], 50, 4, "0.88 of four is 3.52"),
        ("rrrr", vec![Some(37), Some(37), Some(37), Some(37)], 50, 3, "0.74 of four is 2.96"),
        ("rrrr", vec![Some(0), Some(0), Some(0), Some(0)], 50, 0, "idle"),
    ] {
        let asked = cpu(kinds, &usage, target).unwrap_or_else(|error| panic!("{why}: {error}"));
        assert_eq!(asked.replicas, replicas, "{kinds} {usage:?}: {why}: {asked:?}");
    }
}

#[test]
fn nothing_to_measure_is_an_error() {
    for (kinds, usage, told) in [
        ("rr", vec![None, None], "no metrics returned from resource metrics API"),
        ("uu", vec![Some(10), Some(10)], "did not receive metrics for targeted pods (pods might be unready)"),
        ("", vec![Some(10)], "no pods returned by selector"),
        ("d", vec![Some(10)], "did not receive metrics"),
        ("r", vec![None, Some(3)], "no metrics returned matched known pods"),
    ] {
        let error = cpu(kinds, &usage, 50).unwrap_err();
        assert!(error.contains(told), "{kinds}: {error}");
    }
}

#[test]
fn a_container_without_request_is_named() {
    let mut observed = Observed { spec_replicas: 2, status_replicas: 2, pods: vec![pod(0), pod(1)] };
    observed.pods[1].containers[0].cpu_request_milli = None;
    let controller = Controller::default();
    let metrics: PodMetrics = [("p0".to_owned(), metric(100))].into();
    let scene = scene(&observed, &controller, TOLERANCE);
    let error = utilization(scene, &metrics, Resource::Cpu, None, 50).unwrap_err();
    assert_eq!(error, "missing request for cpu in container c of p1");
    assert!(utilization(scene, &metrics, Resource::Memory, None, 50).is_ok(), "memory is asked for");
    let error = utilization(scene, &metrics, Resource::Cpu, Some("other"), 50).unwrap_err();
    assert_eq!(error, "container other not found in p0");
    let average = average_of_pods(scene, &metrics, Some(Resource::Cpu), 50).unwrap();
    assert_eq!(average.milli, 100, "an average needs no request");
}

#[test]
fn one_container_of_several() {
    let two = PodContainer { name: "side".into(), cpu_request_milli: Some(100), ..PodContainer::default() };
    let mut pods = vec![pod(0), pod(1)];
    pods.iter_mut().for_each(|pod| pod.containers.push(two.clone()));
    let per = [("p0", "c", 500), ("p0", "side", 50), ("p1", "c", 700)];
    let per: BTreeMap<(String, String), PodMetric> =
        per.into_iter().map(|(pod, name, milli)| ((pod.to_owned(), name.to_owned()), metric(milli))).collect();
    let milli = |container| -> Vec<i64> { sums(&per, &pods, container).values().map(|metric| metric.milli).collect() };
    assert_eq!(milli(None), [550], "p1 is measured in part: it is not measured");
    assert_eq!(milli(Some("c")), [500, 700]);
    assert_eq!(milli(Some("side")), [50]);
}

#[test]
fn averages_are_cut_and_missing_ones_count_as_the_target() {
    let controller = Controller::default();
    for (usage, target, current, replicas, milli) in [
        (vec![10, 11], 7, 2, 3, 10),
        (vec![1, 1], 10, 4, 2, 1),
        (vec![30, 30], 10, 4, 6, 30),
        (vec![10, 10], 10, 4, 4, 10),
        (vec![-5, -5], 10, 2, 0, -5),
    ] {
        let pods = (0..current).map(pod).collect();
        let observed = Observed { spec_replicas: current, status_replicas: current, pods };
        let metrics = usage.iter().enumerate().map(|(n, milli)| (format!("p{n}"), metric(*milli))).collect();
        let asked = average_of_pods(scene(&observed, &controller, TOLERANCE), &metrics, None, target).unwrap();
        assert_eq!((asked.replicas, asked.milli), (replicas, milli), "{usage:?} {target} {current}");
    }
}

#[test]
fn one_number_for_all_replicas() {
    let controller = Controller::default();
    let observed = |spec, status, pods| Observed { spec_replicas: spec, status_replicas: status, pods };
    let of = |count: u32| (0..count).map(pod).collect::<Vec<_>>();
    for (seen, milli, target, replicas, why) in [
        (observed(0, 0, vec![]), 500, 1000, 1, "at nothing, rounded up"),
        (observed(0, 0, vec![]), 1000, 1000, 1, "no tolerance there"),
        (observed(0, 0, vec![]), 1001, 1000, 2, "no tolerance there"),
        (observed(0, 0, vec![]), 0, 1000, 0, "nothing is nothing"),
        (observed(3, 3, of(3)), 1100, 1000, 3, "within tolerance: what is wanted there"),
        (observed(5, 3, of(3)), 1000, 1000, 5, "spec, not status"),
        (observed(3, 3, of(3)), 2000, 1000, 6, "twice the ready ones"),
        (observed(5, 3, of(3)), 2000, 1000, 6, "twice the ready ones"),
        (observed(4, 4, vec![]), 2000, 1000, 8, "a runtime that tells of no single ones"),
    ] {
        assert_eq!(value(scene(&seen, &controller, TOLERANCE), milli, target).unwrap().replicas, replicas, "{why}");
    }
    let seen = observed(4, 0, vec![]);
    assert!(value(scene(&seen, &controller, TOLERANCE), 2000, 1000).is_err(), "no replica to count");
    assert_eq!(value(scene(&seen, &controller, TOLERANCE), 1000, 1000).unwrap().replicas, 4, "none has to be counted");
}

#[test]
fn one_number_for_each_replica() {
    let controller = Controller::default();
    for (spec, status, total, target, replicas, milli) in [
        (0, 0, 0, 10, 0, 0),
        (0, 0, 25, 10, 3, 0),
        (3, 3, 33, 10, 3, 11),
        (3, 3, 34, 10, 4, 12),
        (5, 3, 30, 10, 5, 10),
        (5, 3, 60, 10, 6, 20),
        (3, 3, 0, 10, 0, 0),
        (3, 3, -10, 10, 0, -3),
    ] {
        let observed = Observed { spec_replicas: spec, status_replicas: status, pods: vec![] };
        let asked = average_value(scene(&observed, &controller, TOLERANCE), total, target);
        assert_eq!((asked.replicas, asked.milli), (replicas, milli), "{spec} {status} {total}");
    }
}

#[test]
fn each_direction_has_its_tolerance() {
    let controller = Controller::default();
    let observed = Observed { spec_replicas: 10, status_replicas: 10, pods: (0..10).map(pod).collect() };
    for (up, down, milli, replicas) in [
        (0.0, 0.5, 1001, 11),
        (0.0, 0.5, 1000, 10),
        (0.0, 0.5, 500, 10),
        (0.0, 0.5, 499, 5),
        (0.5, 0.0, 1500, 10),
        (0.5, 0.0, 1501, 16),
        (0.5, 0.0, 999, 10),
        (0.5, 0.0, 899, 9),
    ] {
        let asked = value(scene(&observed, &controller, Tolerances { up, down }), milli, 1000).unwrap();
        assert_eq!(asked.replicas, replicas, "{up} {down} {milli}");
    }
}

#[test]
fn ready_replicas_run_and_say_so() {
    let mut pods: Vec<Pod> = (0..4).map(pod).collect();
    pods[1].ready = None;
    pods[2].phase = Phase::Pending;
    pods[3].ready = Some(Ready { is_ready: false, since: BEGIN });
    assert_eq!(ready_count(&pods, 9), Ok(1));
    assert_eq!(ready_count(&[], 9), Ok(9));
    assert!(ready_count(&[], 0).is_err());
}

#[test]
fn huge_numbers_neither_panic_nor_wrap() {
    let controller = Controller::default();
    let observed = Observed { spec_replicas: 2, status_replicas: 2, pods: vec![pod(0), pod(1)] };
    for milli in [i64::MAX, i64::MIN, 0, 1] {
        let metrics: PodMetrics = [("p0".into(), metric(milli)), ("p1".into(), metric(milli))].into();
        let scene = scene(&observed, &controller, TOLERANCE);
        let all = [
            utilization(scene, &metrics, Resource::Cpu, None, 1).unwrap(),
            average_of_pods(scene, &metrics, None, 1).unwrap(),
            value(scene, milli, 1).unwrap(),
            average_value(scene, milli, 1),
        ];
        for asked in all {
            assert!(asked.replicas <= i32::MAX as u32, "{asked:?}");
            assert!(milli > 1 || asked.replicas <= 2, "{asked:?}");
        }
    }
}
