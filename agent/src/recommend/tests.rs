use super::*;
use skerry_model::{Labels, Mono, Now, Scrape, UnixMillis};
use skerry_scaling::target::TargetKind;
use skerry_scaling::vpa::{Amounts, Bounds, Gave, Settings};

const START: i64 = 1_800_000_000_000;
const MINUTE: i64 = 60_000;
const DAY: i64 = 86_400_000;

fn id(n: usize) -> String {
    format!("{n:064x}")
}

/// Series of a container at a moment: cores used since the start, memory in MiB.
struct Container {
    id: String,
    labels: Vec<(&'static str, &'static str)>,
    cores: f64,
    mib: u64,
}

impl Container {
    fn named(n: usize, name: &'static str) -> Self {
        Self { id: id(n), labels: vec![("name", name), ("image", "web:1")], cores: 0.2, mib: 100 }
    }

    fn series(&self, metric: &str, more: &[(&str, &str)]) -> Labels {
        let path = format!("/system.slice/docker-{}.scope", self.id);
        let own = [("__name__", metric), ("id", path.as_str())];
        Labels::new(own.iter().chain(&self.labels).chain(more).copied()).unwrap()
    }

    fn values(&self, passed_ms: i64) -> Vec<(Labels, f64)> {
        let seconds = passed_ms as f64 / 1000.0 * self.cores;
        vec![
            (self.series("container_cpu_usage_seconds_total", &[("cpu", "total")]), seconds),
            (self.series("container_memory_working_set_bytes", &[]), (self.mib << 20) as f64),
            (self.series("container_oom_events_total", &[]), 0.0),
            (self.series("container_threads", &[]), 3.0),
        ]
    }
}

fn now(passed_ms: i64) -> Now {
    Now { wall: UnixMillis(START + passed_ms), mono: Mono(1_000_000 + passed_ms.unsigned_abs()) }
}

/// A round each 15 s.
fn run(recommender: &Recommender, containers: &[Container], range: std::ops::Range<i64>) {
    for at in range.step_by(15_000) {
        let values = containers.iter().flat_map(|container| container.values(at)).collect();
        recommender.push(&Scrape { at: UnixMillis(START + at), values }, now(at));
    }
}

fn policy(kind: TargetKind, name: &str, mode: UpdateMode, bounds: Bounds) -> Policy {
    let target = TargetRef { kind, name: name.into(), scope: String::new() };
    let one = skerry_scaling::vpa::ContainerPolicy { bounds, ..Default::default() };
    let vertical = Vertical { update_mode: mode, containers: vec![one] };
    Policy { name: "sizes".into(), target, vertical, is_scaled: false }
}

#[test]
fn what_containers_use_is_recommended() {
    let recommender = Recommender::default();
    run(&recommender, &[Container::named(1, "web"), Container::named(2, "db")], 0..DAY);
    let found = recommender.recommendations();
    let names: Vec<(String, &str, usize)> =
        found.iter().map(|one| (one.target.to_string(), one.container.as_str(), one.live)).collect();
    assert_eq!(names, [("Container/db".to_owned(), "db", 1), ("Container/web".to_owned(), "web", 1)]);
    let Recommended { amounts, samples, mode, .. } = &found[0];
    assert!((1430..=1440).contains(samples), "one a minute: {samples}");
    assert_eq!(*mode, UpdateMode::Off);
    // 0.2 cores and 15 %, up to the end of its bucket; memory is below what is given at least.
    assert!((230..=256).contains(&amounts.target.cpu_milli), "{amounts:?}");
    assert_eq!(amounts.target.memory, 250 << 20);
    assert!(amounts.lower.cpu_milli < amounts.target.cpu_milli && amounts.upper.cpu_milli > amounts.target.cpu_milli);
    let metrics = recommender.observations();
    let text: Vec<String> = metrics.iter().map(|one| format!("{} {}", one.labels, one.value)).collect();
    let wanted = format!(
        "kube_verticalpodautoscaler_status_recommendation_containerrecommendations_target{{container=\"web\",resource=\"memory\",target_kind=\"Container\",target_name=\"web\",unit=\"byte\",verticalpodautoscaler=\"web\"}} {}",
        250 << 20
    );
    assert!(text.contains(&wanted), "{text:#?}");
    assert_eq!(text.len(), 2 * 8 + 3);
    let distinct: std::collections::BTreeSet<String> = metrics.iter().map(|one| one.labels.to_string()).collect();
    assert_eq!(distinct.len(), metrics.len());
    let json = recommender.to_json();
    assert_eq!((&json[1]["target"], &json[1]["memory"]["target"]), (&"Container/web".into(), &(250u64 << 20).into()));
}

#[test]
fn a_restart_forgets_nothing() {
    let (first, containers) = (Recommender::default(), [Container::named(1, "web")]);
    run(&first, &containers, 0..DAY);
    let changes = first.changes(now(DAY));
    assert_eq!(changes.len(), 1);
    assert_eq!(first.changes(now(DAY)), [], "once");
    let stored: Vec<(String, Vec<u8>)> =
        changes.into_iter().map(|(key, value)| (key, value.expect("nothing is deleted"))).collect();
    assert!(stored[0].0.starts_with(PREFIX) && stored[0].1.len() < 300, "{} bytes", stored[0].1.len());
    let second = Recommender::new(Vec::new(), Settings::default(), &stored, now(DAY));
    let before = first.recommendations();
    let mut after = second.recommendations();
    after[0].live = before[0].live;
    assert_eq!(after, before);
    // The peak of the day is not counted again, and samples go on.
    run(&first, &containers, DAY..DAY + 10 * MINUTE);
    run(&second, &containers, DAY..DAY + 10 * MINUTE);
    assert_eq!(second.recommendations()[0].amounts.target, first.recommendations()[0].amounts.target);
    assert!(second.recommendations()[0].samples > before[0].samples + 7);
    // Damaged, foreign and long forgotten ones are deleted.
    let mut damaged = stored.clone();
    damaged[0].1.truncate(40);
    damaged.push((format!("{PREFIX}other"), stored[0].1.clone()));
    for (stored, at) in [(damaged, DAY), (stored, 20 * DAY)] {
        let none = Recommender::new(Vec::new(), Settings::default(), &stored, now(at));
        let deleted = none.changes(now(at));
        assert!(deleted.iter().filter(|(_, value)| value.is_none()).count() == stored.len(), "{deleted:?}");
    }
}

#[test]
fn replicas_and_restarted_containers_are_counted_together() {
    let recommender = Recommender::default();
    let service = |n, cores| Container {
        labels: vec![("name", "web"), ("container_label_skerry_io_service", "web")],
        cores,
        ..Container::named(n, "web")
    };
    run(&recommender, &[service(1, 0.1), service(2, 0.4)], 0..DAY / 2);
    let found = recommender.recommendations();
    assert_eq!((found.len(), found[0].live), (1, 2));
    assert!(found[0].amounts.target.cpu_milli > 400, "{found:?}");
    // A counter that begins anew is no use of CPU.
    let later = Container { cores: 0.1, ..service(1, 0.1) };
    let values = later.values(0);
    recommender.push(&Scrape { at: UnixMillis(START + DAY / 2), values }, now(DAY / 2));
    assert_eq!(recommender.recommendations()[0].amounts.target, found[0].amounts.target);
}

#[test]
fn the_runtimes_word_may_come_late() {
    let recommender = Recommender::default();
    let nameless = Container { labels: Vec::new(), ..Container::named(1, "web") };
    run(&recommender, &[nameless], 0..10 * MINUTE);
    let found = recommender.recommendations();
    assert_eq!(found[0].target.name, id(1)[..12]);
    run(&recommender, &[Container::named(1, "web")], 10 * MINUTE..20 * MINUTE);
    let named = recommender.recommendations();
    assert_eq!((named.len(), named[0].target.name.as_str()), (1, "web"));
    assert!(named[0].samples > found[0].samples + 8, "what was learnt goes along");
    // Another image under the same name is something else.
    let other = Container { labels: vec![("name", "web"), ("image", "other:1")], ..Container::named(2, "web") };
    run(&recommender, &[other], 20 * MINUTE..24 * MINUTE);
    assert!(recommender.recommendations()[0].samples < 5);
}

#[test]
fn want_of_memory_counts() {
    for is_by_runtime in [false, true] {
        let (recommender, web) = (Recommender::default(), Container { mib: 400, ..Container::named(1, "web") });
        run(&recommender, std::slice::from_ref(&web), 0..5 * MINUTE);
        let before = recommender.recommendations()[0].amounts.target.memory;
        let mut values = vec![(web.series("container_spec_memory_limit_bytes", &[]), (500u64 << 20) as f64)];
        if is_by_runtime {
            let killed = [("__name__", "container_oom_killed"), ("container_id", web.id.as_str()), ("name", "web")];
            values.push((Labels::new(killed).unwrap(), 1.0));
        } else {
            values.push((web.series("container_oom_events_total", &[]), 1.0));
        }
        for _ in 0..3 {
            let at = 5 * MINUTE;
            recommender.push(&Scrape { at: UnixMillis(START + at), values: values.clone() }, now(at));
        }
        let after = recommender.recommendations()[0].amounts.target.memory;
        // What it was given and a fifth, and 15 %; several kills drive nothing up.
        let expected = (600u64 << 20) as f64 * 1.15;
        assert!((expected..expected * 1.08).contains(&(after as f64)), "{before} {after}");
    }
}

/// Rounds of a container that is started again every 24 s, with a counter of its own each time.
fn crash(recommender: &Recommender, of: &Container, range: std::ops::Range<i64>) {
    for at in range.step_by(3_000) {
        let (began, ran) = (at - at % 24_000, at % 24_000);
        let started = (START + began) as f64 / 1000.0;
        let mut values = of.values(ran);
        values.push((of.series("container_start_time_seconds", &[]), started));
        values.push((of.series("container_spec_memory_limit_bytes", &[]), (500u64 << 20) as f64));
        recommender.push(&Scrape { at: UnixMillis(START + at), values }, now(at));
    }
}

#[test]
fn a_crash_loop_is_measured_and_answered() {
    let recommender = Recommender::new(
        vec![policy(TargetKind::Container, "web", UpdateMode::Auto, Bounds::default())],
        Settings::default(),
        &[],
        now(0),
    );
    let web = Container { cores: 0.5, mib: 400, ..Container::named(1, "web") };
    crash(&recommender, &web, 0..10 * MINUTE);
    let before = recommender.recommendations().remove(0);
    assert!((9..=10).contains(&before.samples), "{}", before.samples);
    // 0.5 cores, 15 %, and up to the end of the bucket; a start costs what is used until the first look at it.
    assert!((500..=650).contains(&before.amounts.target.cpu_milli), "{before:?}");
    assert!(!recommender.candidates()[0].early_oom);

    // Neither the cgroup's counter nor the container's state lives long enough to tell of it.
    let killed = UnixMillis(START + 10 * MINUTE - 5_000);
    recommender.lacked_memory(&id(1), killed);
    recommender.lacked_memory(&id(7), killed);
    let after = recommender.recommendations().remove(0);
    assert!(after.amounts.target.memory as f64 >= 600.0 * 1.15 * 1_048_576.0, "{after:?}");
    assert!(recommender.candidates()[0].early_oom);

    // It is told once more to the next run, when a higher limit is set already: then it is the same kill.
    let asks = after.amounts.target;
    let gave = Gave { asks, limits: asks, at: UnixMillis(killed.0 + 4_000), is_told: true };
    recommender.gave(&id(1), Some(gave));
    let stored: Vec<_> =
        recommender.change_of(&id(1)).into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let second = Recommender::new(Vec::new(), Settings::default(), &stored, now(10 * MINUTE));
    let larger = Container { mib: 400, ..Container::named(1, "web") };
    let mut values = larger.values(1000);
    values.push((larger.series("container_spec_memory_limit_bytes", &[]), asks.memory as f64));
    let at = 10 * MINUTE + 2_000;
    second.push(&Scrape { at: UnixMillis(START + at), values: values.clone() }, now(at));
    second.lacked_memory(&id(1), killed);
    assert_eq!(second.recommendations()[0].amounts.target.memory, asks.memory);
    // Another one from before that limit does not count by it, and one from after does.
    second.lacked_memory(&id(1), UnixMillis(START + 30 * MINUTE));
    assert!(second.recommendations()[0].amounts.target.memory > asks.memory);
}

#[test]
fn a_kill_before_the_runtimes_word_counts_once_it_has_come() {
    let policies = vec![policy(TargetKind::Container, "web", UpdateMode::Auto, Bounds::default())];
    let recommender = Recommender::new(policies, Settings::default(), &[], now(0));
    let web = Container { mib: 15, ..Container::named(1, "web") };
    let nameless = Container { labels: Vec::new(), ..Container::named(1, "web") };
    let look = |of: &Container, at: i64| {
        let mut values = of.values(at);
        values.push((of.series("container_start_time_seconds", &[]), START as f64 / 1000.0));
        values.push((of.series("container_spec_memory_limit_bytes", &[]), (500u64 << 20) as f64));
        recommender.push(&Scrape { at: UnixMillis(START + at), values }, now(at));
    };
    look(&nameless, 0);
    // It is killed again and again, as it is started again, and before anybody says what it is called.
    for at in [300, 600, 1200] {
        recommender.lacked_memory(&id(1), UnixMillis(START + at));
    }
    (2..130).for_each(|at| look(&web, at * 1000));
    let candidate = recommender.candidates().remove(0);
    let expected = 600.0 * 1.15 * 1_048_576.0;
    let target = candidate.recommended.target.memory as f64;
    assert!((expected..expected * 1.08).contains(&target) && candidate.early_oom, "{candidate:?}");
}

#[test]
fn a_counter_that_begins_anew_tells_of_a_kill() {
    for (counts, kills) in [
        ([0.0, 0.0, 0.0], 0),
        ([1.0, 1.0, 1.0], 1),
        ([2.0, 0.0, 0.0], 1),
        ([2.0, 0.0, 1.0], 2),
        ([2.0, 1.0, 1.0], 2),
        ([1.0, 2.0, 3.0], 3),
    ] {
        let (recommender, web) = (Recommender::default(), Container { mib: 400, ..Container::named(1, "web") });
        run(&recommender, std::slice::from_ref(&web), 0..5 * MINUTE);
        let mut found = 0;
        for (n, count) in (0..).zip(counts) {
            let at = (5 + 2 * n) * MINUTE;
            let _ = recommender.changes(now(at));
            let values = vec![(web.series("container_oom_events_total", &[]), count)];
            recommender.push(&Scrape { at: UnixMillis(START + at), values }, now(at));
            // A kill alone is to be written now.
            found += recommender.changes(now(at)).len();
        }
        assert_eq!(found, kills, "{counts:?}");
    }
}

#[test]
fn nobody_is_recommended_more_than_the_node_has() {
    let bounds = Bounds { memory_min: Some(64 << 30), ..Bounds::default() };
    let recommender = Recommender::new(
        vec![policy(TargetKind::Container, "web", UpdateMode::Auto, bounds)],
        Settings::default(),
        &[],
        now(0),
    );
    let web = Container { cores: 3.5, mib: 4000, ..Container::named(1, "web") };
    let node =
        |name: &str, more: &[(&str, &str)]| Labels::new([("__name__", name)].iter().chain(more).copied()).unwrap();
    for at in (0..10 * MINUTE).step_by(15_000) {
        let mut values = web.values(at);
        values.push((node("node_memory_MemTotal_bytes", &[]), (2u64 << 30) as f64));
        // What is scraped is of another machine.
        values.push((node("node_memory_MemTotal_bytes", &[("instance", "other:9100")]), 1.0));
        for cpu in ["0", "1"] {
            values.push((node("node_cpu_seconds_total", &[("cpu", cpu), ("mode", "idle")]), 5.0));
            values.push((node("node_cpu_seconds_total", &[("cpu", cpu), ("mode", "user")]), 5.0));
        }
        recommender.push(&Scrape { at: UnixMillis(START + at), values }, now(at));
    }
    let amounts = recommender.recommendations()[0].amounts;
    let all = Amounts { cpu_milli: 2000, memory: 2 << 30 };
    assert_eq!((amounts.target, amounts.upper), (all, all));
    assert!(amounts.uncapped.cpu_milli > 3500 && amounts.uncapped.memory > 4000 << 20, "{amounts:?}");
    let target = TargetRef { kind: TargetKind::Container, name: "web".into(), scope: String::new() };
    assert_eq!(recommender.initial(&target, "web").unwrap().memory, Some(2 << 30));
}

#[test]
fn a_clock_that_is_set_loses_nothing() {
    let web = || [Container::named(1, "web")];
    let years = 10 * 365 * DAY;
    for jump in [years, -years] {
        let recommender = Recommender::default();
        run(&recommender, &web(), 0..6 * 60 * MINUTE);
        let before = recommender.recommendations();
        let six = 6 * 60 * MINUTE;
        for at in (six..six + 10 * MINUTE).step_by(15_000) {
            let wall = UnixMillis(START + at + jump);
            let values = web().iter().flat_map(|container| container.values(at)).collect();
            recommender.push(&Scrape { at: wall, values }, Now { wall, ..now(at) });
        }
        let after = recommender.recommendations();
        assert!(after[0].samples >= before[0].samples + 9, "{jump}: samples go on");
        assert_eq!(after[0].amounts.target, before[0].amounts.target, "{jump}");
        // Written with a clock that was ahead.
        let at = Now { wall: UnixMillis(START + six + 10 * MINUTE + jump), ..now(six) };
        let stored: Vec<_> =
            recommender.changes(at).into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        if jump > 0 {
            let restored = Recommender::new(Vec::new(), Settings::default(), &stored, now(six));
            run(&restored, &web(), six..six + 5 * MINUTE);
            assert!(restored.recommendations()[0].samples > after[0].samples, "samples count at once");
        }
    }
}

#[test]
fn policies_bound_and_apply() {
    let bounds = Bounds { cpu_max: Some(150), memory_min: Some(1 << 30), ..Bounds::default() };
    let of = |mode| {
        let recommender = Recommender::new(
            vec![policy(TargetKind::Container, "web", mode, bounds)],
            Settings::default(),
            &[],
            now(0),
        );
        run(&recommender, &[Container::named(1, "web"), Container::named(2, "db")], 0..DAY);
        recommender
    };
    let target = |name: &str| TargetRef { kind: TargetKind::Container, name: name.into(), scope: String::new() };
    let recommender = of(UpdateMode::Off);
    let found = recommender.recommendations();
    let web = found.iter().find(|one| one.container == "web").unwrap();
    assert_eq!((web.amounts.target.cpu_milli, web.amounts.target.memory), (150, 1 << 30));
    assert!(web.amounts.uncapped.cpu_milli > 200 && web.policy.as_deref() == Some("sizes"));
    assert_eq!(recommender.initial(&target("web"), "web"), None);
    assert!(recommender.candidates().is_empty());

    let recommender = of(UpdateMode::Initial);
    let given = recommender.initial(&target("web"), "web").unwrap();
    assert_eq!((given.cpu_milli, given.memory), (Some(150), Some(1 << 30)));
    assert_eq!(recommender.initial(&target("db"), "db"), None, "no policy");
    assert!(recommender.candidates().is_empty());

    let recommender = of(UpdateMode::Auto);
    let candidates = recommender.candidates();
    assert_eq!((candidates.len(), candidates[0].id.as_str()), (1, id(1).as_str()));
    let amounts = Amounts { cpu_milli: 150, memory: 1 << 30 };
    let gave = Gave { asks: amounts, limits: Amounts::default(), at: UnixMillis(START), is_told: true };
    let _ = recommender.changes(now(DAY));
    recommender.gave(&id(1), Some(gave));
    assert_eq!(recommender.candidates()[0].given, Some(gave));
    assert_eq!((recommender.given(&id(1)), recommender.given(&id(2))), (Some(amounts), None));
    let changes = recommender.change_of(&id(1));
    assert_eq!(recommender.changes(now(DAY)), [], "that alone is written");
    let stored: Vec<_> = changes.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let restored = Recommender::new(
        vec![policy(TargetKind::Container, "web", UpdateMode::Auto, bounds)],
        Settings::default(),
        &stored,
        now(DAY),
    );
    assert_eq!(restored.candidates()[0].given, Some(gave), "over a restart too");
    // And while it stands still: its limits are the new ones when it runs again, and its labels the old ones.
    run(&recommender, &[Container::named(2, "db")], DAY..DAY + 40 * MINUTE);
    assert_eq!(recommender.given(&id(1)), Some(amounts));
    assert!(recommender.candidates().is_empty());
    run(&recommender, &[Container::named(2, "db")], DAY + 40 * MINUTE..9 * DAY);
    assert_eq!(recommender.given(&id(1)), None, "for a week");
}

#[test]
fn memory_is_bounded() {
    let recommender = Recommender::default();
    let names: Vec<&'static str> = (0..400).map(|n| &*Box::leak(format!("c{n}").into_boxed_str())).collect();
    let containers: Vec<Container> = names.iter().enumerate().map(|(n, name)| Container::named(n, name)).collect();
    run(&recommender, &containers, 0..3 * MINUTE);
    assert_eq!(recommender.recommendations().len(), core::SUBJECTS_MAX);
    assert!(recommender.observations().len() <= 64 * 8 + 3);
    // Those that have ended make room.
    run(&recommender, &containers[..1], 3 * MINUTE..30 * MINUTE);
    run(&recommender, &containers[300..], 30 * MINUTE..33 * MINUTE);
    let found = recommender.recommendations();
    assert_eq!(found.len(), core::SUBJECTS_MAX);
    assert_eq!(found.iter().filter(|one| one.live > 0).count(), 100);
    let stored = recommender.changes(now(33 * MINUTE));
    let bytes: usize = stored.iter().filter_map(|(_, value)| value.as_ref()).map(Vec::len).sum();
    assert!(bytes < 256 * 200, "{bytes}");
}

#[test]
fn odd_samples_do_no_harm() {
    let recommender = Recommender::default();
    let web = Container::named(1, "web");
    for (n, value) in
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e300, 0.0].into_iter().cycle().take(60).enumerate()
    {
        let at = UnixMillis(if n % 7 == 0 {
            i64::MIN
        } else if n % 11 == 0 {
            i64::MAX
        } else {
            START + n as i64 * MINUTE
        });
        let metrics = [
            "container_cpu_usage_seconds_total",
            "container_memory_working_set_bytes",
            "container_oom_events_total",
            "container_start_time_seconds",
            "container_spec_memory_limit_bytes",
        ];
        let values = metrics.iter().map(|metric| (web.series(metric, &[]), value)).collect();
        recommender.push(&Scrape { at, values }, Now { wall: at, mono: Mono(n as u64) });
    }
    let _ = (recommender.recommendations(), recommender.changes(now(0)));
}
