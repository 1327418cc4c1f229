use super::*;
use proptest::prelude::*;
use skerry_model::UnixMillis;

const MIB: u64 = 1 << 20;

fn at(seconds: u64) -> Now {
    Now { wall: UnixMillis(0), mono: Mono(seconds * 1000) }
}

/// A policy whose replicas ask for so many MiB.
fn want(policy: &str, priority: i32, current: u32, desired: u32, mib: u64) -> Want {
    let request = Resources { cpu_milli: 0, memory_bytes: mib * MIB };
    Want { policy: policy.into(), priority, current, desired, min: 1.min(current), request }
}

/// A node of 1,000 MiB of which replicas may use 900.
fn node(used_mib: u64) -> NodeState {
    let memory = |mib: u64| Some(Resources { cpu_milli: 4000, memory_bytes: mib * MIB });
    NodeState { allocatable: memory(1000), used: memory(used_mib), ..NodeState::default() }
}

/// Replicas, pending and given up of each.
fn replicas(grants: &[Grant]) -> Vec<(u32, u32, u32)> {
    grants.iter().map(|grant| (grant.replicas, grant.pending, grant.given_up)).collect()
}

#[test]
fn a_round_grants_what_fits() {
    type Case = (&'static str, u64, Vec<Want>, Vec<(u32, u32, u32)>, &'static str);
    let cases: Vec<Case> = vec![
        ("what fits grows", 300, vec![want("a", 0, 1, 4, 100)], vec![(4, 0, 0)], ""),
        (
            "only what fits",
            300,
            vec![want("a", 0, 1, 9, 100)],
            vec![(7, 2, 0)],
            "memory: a replica asks for 100 MiB, 0 MiB are left of 900 MiB",
        ),
        (
            "requests count though little is used",
            100,
            vec![want("a", 0, 8, 9, 110)],
            vec![(8, 1, 0)],
            "20 MiB are left",
        ),
        ("fewer are always granted", 950, vec![want("a", 0, 5, 2, 100)], vec![(2, 0, 0)], ""),
        (
            "what ends is not free yet",
            850,
            vec![want("a", 0, 5, 2, 100), want("b", 0, 1, 3, 100)],
            vec![(2, 0, 0), (1, 2, 0)],
            "50 MiB are left",
        ),
        ("an unknown request fits until the node is full", 880, vec![want("a", 0, 1, 50, 0)], vec![(50, 0, 0)], ""),
        ("but not then", 920, vec![want("a", 0, 1, 2, 0)], vec![(1, 1, 0)], "92 % of memory, at most 90 %"),
        (
            "equals take turns",
            500,
            vec![want("a", 0, 1, 9, 100), want("b", 0, 1, 9, 100)],
            vec![(3, 6, 0), (3, 6, 0)],
            "memory",
        ),
        (
            "the higher comes first",
            500,
            vec![want("a", 0, 0, 9, 100), want("b", 1, 1, 4, 100)],
            vec![(1, 8, 0), (4, 0, 0)],
            "memory",
        ),
        (
            "the lowest gives up for a higher one, and what is free is kept for it",
            850,
            vec![want("low", -1, 3, 3, 100), want("mid", 0, 2, 3, 10), want("high", 5, 1, 2, 100)],
            vec![(2, 1, 1), (2, 1, 0), (1, 1, 0)],
            "gave up 1 for high of priority 5",
        ),
        (
            "no more than its least",
            850,
            vec![want("low", -1, 1, 1, 300), want("high", 5, 1, 2, 100)],
            vec![(1, 0, 0), (1, 1, 0)],
            "memory",
        ),
        (
            "not for an equal",
            850,
            vec![want("a", 0, 3, 3, 100), want("b", 0, 1, 2, 100)],
            vec![(3, 0, 0), (1, 1, 0)],
            "memory",
        ),
        (
            "not where it would not do",
            850,
            vec![want("low", -1, 3, 3, 100), want("high", 5, 0, 2, 500)],
            vec![(3, 0, 0), (0, 2, 0)],
            "memory",
        ),
        (
            "what is left goes to lower ones where the higher cannot use it",
            850,
            vec![want("low", -1, 3, 4, 40), want("high", 5, 0, 2, 500)],
            vec![(4, 0, 0), (0, 2, 0)],
            "memory",
        ),
        (
            "a small one gets its replica back where a large one's makes it needless",
            890,
            vec![want("tiny", 0, 5, 5, 10), want("large", 1, 2, 2, 300), want("high", 5, 0, 1, 300)],
            vec![(5, 0, 0), (1, 1, 1), (0, 1, 0)],
            "gave up 1",
        ),
        (
            "nobody gives up while enough is ending",
            890,
            vec![want("ends", 0, 5, 2, 100), want("low", -1, 3, 3, 100), want("high", 5, 0, 1, 100)],
            vec![(2, 0, 0), (3, 0, 0), (0, 1, 0)],
            "memory",
        ),
    ];
    for (case, used, wants, expected, why) in cases {
        let grants = Guard::new(Settings::default()).room(at(1000), &node(used), &wants);
        assert_eq!(replicas(&grants), expected, "{case}");
        let said: Vec<&str> = grants.iter().map(|grant| grant.why.as_str()).collect();
        assert!(said.iter().any(|said| said.contains(why)), "{case}: {said:?}");
        for grant in &grants {
            assert_eq!(grant.why.is_empty(), grant.pending == 0, "{case}: {grant:?}");
        }
    }
}

#[test]
fn cores_are_counted_by_requests() {
    let mut wants = [want("a", 0, 2, 9, 0)];
    wants[0].request.cpu_milli = 500;
    let grants = Guard::new(Settings::default()).room(at(0), &node(100), &wants);
    assert_eq!(replicas(&grants), [(8, 1, 0)]);
    assert_eq!(grants[0].why, "cpu: a replica asks for 500m, 0m are left of 4000m");
    let unknown = Guard::new(Settings::default()).room(at(0), &NodeState::default(), &wants);
    assert_eq!(replicas(&unknown), [(9, 0, 0)], "what is not known does not limit");
    let off = Settings { enabled: false, ..Settings::default() };
    assert_eq!(replicas(&Guard::new(off).room(at(0), &node(100), &wants)), [(9, 0, 0)]);
}

#[test]
fn heat_and_power_stop_growth_until_they_are_well_over() {
    let sensors = |celsius: f64, throttled: bool, battery: Option<f64>, watts: f64| NodeState {
        temperature_celsius: Some(celsius),
        is_throttled: throttled,
        is_on_battery: battery.is_some(),
        battery_ratio: battery.or(Some(0.1)),
        power_watts: Some(watts),
        ..node(100)
    };
    let fine = || sensors(60.0, false, None, 5.0);
    type Case = (&'static str, Vec<(u64, NodeState, &'static str)>);
    let cases: Vec<Case> = vec![
        (
            "heat ends five degrees below where it began",
            vec![
                (0, sensors(79.9, false, None, 5.0), ""),
                (15, sensors(80.0, false, None, 5.0), "80 °C, at most 80 °C"),
                (30, sensors(76.0, false, None, 5.0), "76 °C"),
                (45, sensors(74.9, false, None, 5.0), ""),
                (60, sensors(79.0, false, None, 5.0), ""),
            ],
        ),
        (
            "throttling counts for a minute",
            vec![
                (0, sensors(60.0, true, None, 5.0), "slows itself down"),
                (45, fine(), "slows itself down"),
                (60, fine(), ""),
            ],
        ),
        (
            "a low battery counts while it is used",
            vec![
                (0, fine(), ""),
                (15, sensors(60.0, false, Some(0.21), 5.0), ""),
                (30, sensors(60.0, false, Some(0.2), 5.0), "battery 20 %, at least 20 %"),
                (45, sensors(60.0, false, Some(0.24), 5.0), "battery 24 %"),
                (60, sensors(60.0, false, Some(0.26), 5.0), ""),
                (75, sensors(60.0, false, Some(0.1), 5.0), "battery 10 %"),
                (90, fine(), ""),
            ],
        ),
        (
            "power",
            vec![
                (0, sensors(60.0, false, None, 15.0), "15.0 W, at most 15.0 W"),
                (15, sensors(60.0, false, None, 14.5), "14.5 W"),
                (30, sensors(60.0, false, None, 14.0), ""),
            ],
        ),
        (
            "a sensor that is gone does not limit",
            vec![
                (0, sensors(90.0, false, None, 5.0), "90 °C"),
                (15, NodeState { temperature_celsius: None, ..fine() }, ""),
                (30, sensors(f64::NAN, false, Some(f64::NAN), f64::NAN), ""),
            ],
        ),
    ];
    for (case, steps) in cases {
        let mut guard = Guard::new(Settings { power_max_watts: Some(15.0), ..Settings::default() });
        for (seconds, node, why) in steps {
            let grants = guard.room(at(seconds), &node, &[want("a", 0, 1, 2, 10)]);
            assert_eq!(grants[0].replicas, if why.is_empty() { 2 } else { 1 }, "{case} at {seconds}");
            assert!(grants[0].why.contains(why), "{case} at {seconds}: {}", grants[0].why);
            assert_eq!(guard.pressure().is_some(), !why.is_empty(), "{case} at {seconds}");
        }
    }
}

#[test]
fn where_heat_stays_the_lowest_give_up_for_higher_ones_only() {
    let hot = NodeState { temperature_celsius: Some(85.0), ..node(100) };
    let cool = NodeState { temperature_celsius: Some(50.0), ..node(100) };
    let mut guard = Guard::new(Settings::default());
    let (mut low, mut mid) = (8, 3);
    let mut seen = Vec::new();
    for seconds in (0..900).step_by(15) {
        let node = if seconds < 390 { hot } else { cool };
        let wants = [want("low", 0, low, 8, 10), want("mid", 1, mid, 3, 10), want("high", 2, 2, 2, 10)];
        let grants = guard.room(at(seconds), &node, &wants);
        if (grants[0].replicas, grants[1].replicas) != (low, mid) {
            (low, mid) = (grants[0].replicas, grants[1].replicas);
            seen.push((seconds, low, mid));
        }
        assert_eq!(grants[2].replicas, 2, "the highest stays");
    }
    // A minute of heat, then a quarter each minute, down to the least; back five minutes after it is cool.
    let expected = [(60, 6, 3), (120, 4, 3), (180, 3, 3), (240, 2, 3), (300, 1, 3), (360, 1, 2), (675, 8, 3)];
    assert_eq!(seen, expected);
    let mut alone = Guard::new(Settings::default());
    for seconds in (0..600).step_by(15) {
        let wants = [want("a", 0, 8, 8, 10), want("b", 0, 3, 3, 10)];
        let grants = alone.room(at(seconds), &hot, &wants);
        assert_eq!(replicas(&grants), [(8, 0, 0), (3, 0, 0)], "equals give nothing up");
    }
}

/// Rounds of 15 s on a node where all that is granted happens at once, and shows in use after `lag` rounds. `desired` gives
/// what the policies want by round. The replicas of all policies by round.
fn play(
    guard: &mut Guard,
    mut wants: Vec<Want>,
    base_mib: u64,
    lag: usize,
    rounds: usize,
    desired: impl Fn(usize, usize) -> u32,
) -> Vec<Vec<u32>> {
    let mut past: Vec<Vec<u32>> = vec![wants.iter().map(|want| want.current).collect()];
    for round in 0..rounds {
        let shown = &past[past.len().saturating_sub(1 + lag)];
        let used: u64 =
            wants.iter().zip(shown).map(|(want, shown)| want.request.memory_bytes * u64::from(*shown)).sum();
        for (place, want) in wants.iter_mut().enumerate() {
            want.desired = desired(round, place);
        }
        let grants = guard.room(at(round as u64 * 15), &node(base_mib + used / MIB), &wants);
        for (want, grant) in wants.iter_mut().zip(&grants) {
            want.current = grant.replicas;
        }
        past.push(wants.iter().map(|want| want.current).collect());
    }
    past
}

/// How often a policy's replicas changed.
fn changes(past: &[Vec<u32>], place: usize) -> usize {
    past.windows(2).filter(|two| two[0][place] != two[1][place]).count()
}

#[test]
fn a_higher_priority_that_goes_up_and_down_does_not_make_a_lower_one_thrash() {
    for lag in [0, 2] {
        let wants = vec![want("low", 0, 4, 4, 100), want("high", 5, 1, 1, 100)];
        // 300 MiB are the system's, so 600 are left for six replicas.
        let past = play(&mut Guard::new(Settings::default()), wants, 300, lag, 240, |round, place| match place {
            0 => 4,
            // Three more for two minutes of every four, for half an hour.
            _ if round < 120 && round % 16 >= 8 => 4,
            _ => 1,
        });
        let highest = past.iter().map(|now| now[1]).max();
        assert_eq!(highest, Some(4), "the higher gets all it wants");
        assert!(past.iter().all(|now| now[0] + now[1] <= 6), "the node is never too full");
        assert_eq!(past.last().map(Vec::as_slice), Some(&[4, 1][..]), "the lower gets back what it had");
        assert!(changes(&past, 0) <= 5, "{} changes of the lower: {past:?}", changes(&past, 0));
    }
}

#[test]
fn what_is_pending_is_timed() {
    let mut guard = Guard::new(Settings::default());
    for (seconds, desired, expected) in [(0, 2, 0), (15, 2, 15), (30, 1, 0), (45, 2, 0), (60, 2, 15)] {
        let grants = guard.room(at(seconds), &node(880), &[want("a", 0, 1, desired, 100)]);
        assert_eq!(grants[0].pending_for, Duration::from_secs(expected), "{seconds}");
    }
    guard.room(at(75), &node(880), &[]);
    assert!(guard.policies.is_empty(), "nothing is kept of policies that are gone");
}

#[test]
fn what_was_given_up_stays_so_over_a_restart() {
    let wants = |low: u32| [want("low", 0, low, 3, 100), want("high", 5, 1, 1, 100)];
    let mut guard = Guard::new(Settings::default());
    let asks = [want("low", 0, 3, 3, 100), want("high", 5, 1, 2, 100)];
    assert_eq!(guard.room(at(0), &node(850), &asks)[0].given_up, 1);
    let bytes = guard.to_bytes(at(100));
    let mut again = Guard::new(Settings::default());
    again.restore(&bytes, at(7));
    assert_eq!(again.room(at(7), &node(100), &wants(2))[0].replicas, 2);
    assert_eq!(again.room(at(206), &node(100), &wants(2))[0].replicas, 2);
    assert_eq!(again.room(at(207), &node(100), &wants(2))[0].replicas, 3);
    for end in 0..bytes.len() {
        Guard::new(Settings::default()).restore(&bytes[..end], at(0));
    }
}

#[test]
fn settings_out_of_range_are_named() {
    assert_eq!(Settings::default().faults(), []);
    let settings = Settings {
        memory_max_ratio: 1.5,
        cpu_max_ratio: f64::NAN,
        temperature_max_celsius: 0.0,
        battery_min_ratio: -0.1,
        power_max_watts: Some(0.0),
        ..Settings::default()
    };
    let faults = settings.faults();
    assert_eq!(faults.len(), 5);
    assert_eq!(faults[0], ("guard.memory_max_ratio".into(), "0.1 to 1 is expected".into()));
    for (key, _) in &faults {
        assert!(REFERENCE.iter().any(|(name, ..)| name == key), "{key}");
    }
}

fn some_wants() -> impl Strategy<Value = Vec<Want>> {
    let want = (0..3i32, 0..6u32, 0..12u32, 0..3u32, prop_oneof![Just(0u64), 1..300u64], 0..1500u64);
    proptest::collection::vec(want, 1..7).prop_map(|wants| {
        let make = |(at, (priority, current, desired, min, mib, cpu)): (usize, (i32, u32, u32, u32, u64, u64))| Want {
            policy: format!("p{at}"),
            min,
            request: Resources { cpu_milli: cpu, memory_bytes: mib * MIB },
            ..want_of(priority, current, desired)
        };
        wants.into_iter().enumerate().map(make).collect()
    })
}

fn want_of(priority: i32, current: u32, desired: u32) -> Want {
    want("", priority, current, desired, 0)
}

proptest! {
    #[test]
    fn no_round_breaks_the_rules(wants in some_wants(), used in 0..1100u64, celsius in 40.0..95.0f64, seconds in 100..400u64) {
        let node = NodeState { temperature_celsius: Some(celsius), ..node(used) };
        let mut guard = Guard::new(Settings::default());
        for now in [at(0), at(seconds)] {
            let grants = guard.room(now, &node, &wants);
            let (mut grown, mut asked) = (Resources::default(), Resources::default());
            for (want, grant) in wants.iter().zip(&grants) {
                prop_assert!(grant.replicas <= want.desired);
                prop_assert_eq!(grant.pending, want.desired - grant.replicas);
                prop_assert!(want.desired < want.current || grant.replicas >= want.current.min(want.min));
                asked = asked.plus(want.request.times(want.current));
                grown = grown.plus(want.request.times(grant.replicas.saturating_sub(want.current)));
                let is_grown = grant.replicas > want.current;
                prop_assert!(!is_grown || guard.pressure().is_none(), "nothing grows where it is hot");
                if grant.given_up > 0 {
                    prop_assert!(grant.replicas >= want.min);
                    let waits = |(other, granted): (&Want, &Grant)| other.priority > want.priority && (granted.pending > 0 || other.current > 0);
                    prop_assert!(wants.iter().zip(&grants).any(waits), "somebody higher needs it");
                }
            }
            if grown != Resources::default() {
                prop_assert!(grown.memory_bytes == 0 || (asked.memory_bytes.max(used * MIB) + grown.memory_bytes) <= 900 * MIB);
                prop_assert!(grown.cpu_milli == 0 || asked.cpu_milli + grown.cpu_milli <= 4000);
            }
        }
    }

    #[test]
    fn what_is_wanted_all_the_time_comes_to_rest(wants in some_wants(), base in 0..500u64, lag in 0..3usize) {
        let desired: Vec<u32> = wants.iter().map(|want| want.desired).collect();
        let past = play(&mut Guard::new(Settings::default()), wants, base, lag, 240, |_, place| desired[place]);
        let rest = &past[past.len() - 60..];
        prop_assert!(rest.windows(2).all(|two| two[0] == two[1]), "{rest:?}");
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut guard = Guard::new(Settings::default());
        guard.restore(&[&[VERSION][..], &bytes].concat(), at(0));
        guard.room(at(0), &node(0), &[want("a", 0, 1, 2, 1)]);
    }
}
