//! With a `systemctl` that says what each test wants.

use super::*;
use skerry_scaling::target::TargetKind;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

const AWAKE_US: u64 = 100_000_000;
const WALL: UnixMillis = UnixMillis(1_795_233_600_000);

struct Fake {
    folder: tempfile::TempDir,
    actuator: SystemdActuator,
    clock: std::sync::Arc<crate::clock::ManualClock>,
}

fn target(name: &str) -> TargetRef {
    TargetRef { kind: TargetKind::SystemdUnit, name: name.into(), scope: String::new() }
}

impl Fake {
    /// A script in place of `systemctl`; `said` is there as a file to show.
    fn new(script: &str, said: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("systemctl");
        let place = folder.path().display();
        std::fs::write(&path, format!("#!/bin/sh\ncd {place}\nprintf '%s\\n' \"$*\" >> asked\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(folder.path().join("said"), said).unwrap();
        let (clock, handle) = Clock::manual(WALL);
        handle.advance(Duration::from_micros(AWAKE_US));
        let search = format!("{place}:/usr/bin:/bin");
        Self { actuator: SystemdActuator::searching(&clock, search), folder, clock: handle }
    }

    /// One that shows `said` and notes what it is told.
    fn showing(said: &str) -> Self {
        Self::new("case $3 in show) cat said;; esac", said)
    }

    fn says(&self, said: &str) {
        std::fs::write(self.folder.path().join("said"), said).unwrap();
    }

    /// What it was told to do since the last look.
    fn told(&self) -> Vec<String> {
        let path = self.folder.path().join("asked");
        let asked = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(path);
        let told = asked.lines().filter(|line| !line.contains(" show "));
        told.map(|line| line.replace("--no-pager --no-ask-password ", "")).collect()
    }
}

fn block(id: &str, state: &str, more: &str) -> String {
    format!(
        "Id={id}\nLoadState=loaded\nActiveState={state}\nInactiveExitTimestampMonotonic=40000000\n\
         ActiveEnterTimestampMonotonic=41000000\n{more}\n"
    )
}

#[tokio::test]
async fn numbered_instances_are_the_replicas() {
    let said = [
        block("w@1.service", "active", "CPUQuotaPerSecUSec=1.5s\nMemoryMax=67108864\nMemoryHigh=1\n"),
        block("w@2.service", "activating", "CPUQuotaPerSecUSec=infinity\nMemoryMax=infinity\nMemoryHigh=1048576\n"),
        block("w@3.service", "failed", "MemoryLimit=18446744073709551615\n"),
        block("w@4.service", "deactivating", ""),
        block("w@5.service", "inactive", ""),
        block("w@blue.service", "active", ""),
        block("w@06.service", "active", ""),
        block("w@8080.service", "active", ""),
        block("other@7.service", "active", ""),
        block("w@1.service", "active", "CPUQuotaPerSecUSec=1.5s\nMemoryMax=67108864\n"),
    ];
    let fake = Fake::showing(&said.join("\n"));
    let observed = fake.actuator.observe(&target("w")).await.unwrap();
    assert_eq!((observed.spec_replicas, observed.status_replicas), (3, 3));
    let seen: Vec<_> = observed.pods.iter().map(|pod| (pod.name.as_str(), pod.phase, pod.is_deleting)).collect();
    assert_eq!(
        seen,
        [
            ("w@1.service", Phase::Running, false),
            ("w@2.service", Phase::Running, false),
            ("w@3.service", Phase::Failed, false),
            ("w@4.service", Phase::Running, true)
        ]
    );
    let [one, two, three, _] = &observed.pods[..] else { panic!() };
    assert_eq!((one.containers[0].cpu_request_milli, one.containers[0].memory_request), (Some(1500), Some(64 << 20)));
    assert_eq!((two.containers[0].cpu_request_milli, two.containers[0].memory_request), (None, Some(1 << 20)));
    assert_eq!((three.containers[0].cpu_request_milli, three.containers[0].memory_request), (None, None));
    assert_eq!(one.started_at, Some(UnixMillis(WALL.0 + 100_000 - 60_000)), "began a minute ago");
    assert_eq!(one.ready, Some(Ready { is_ready: true, since: UnixMillis(WALL.0 + 100_000 - 59_000) }));
    assert_eq!(two.ready, Some(Ready { is_ready: false, since: UnixMillis(WALL.0 + 100_000 - 60_000) }));
}

#[tokio::test]
async fn the_lowest_are_started_and_the_highest_stopped() {
    let units = |states: &[&str]| {
        let blocks = states.iter().enumerate().map(|(at, state)| block(&format!("w@{}.service", at + 1), state, ""));
        blocks.collect::<Vec<_>>().join("\n")
    };
    for (states, replicas, told) in [
        (&["inactive"][..], 2, &["start --no-block -- w@1.service w@2.service"][..]),
        (&["active", "active"], 2, &[]),
        (&["active", "inactive", "active"], 2, &[]),
        (&["active", "inactive", "active"], 3, &["start --no-block -- w@2.service"]),
        (&["active", "active", "active"], 1, &["stop --no-block -- w@3.service w@2.service"]),
        (&["active", "active"], 0, &["stop --no-block -- w@2.service w@1.service"]),
        (&["failed", "active"], 2, &["start --no-block -- w@1.service"]),
        (&["failed", "active"], 3, &["start --no-block -- w@1.service w@3.service"]),
        (&["active", "deactivating"], 2, &["start --no-block -- w@2.service"]),
        (&["activating", "active"], 1, &["stop --no-block -- w@2.service"]),
    ] {
        let fake = Fake::showing(&units(states));
        fake.actuator.scale(&target("w"), replicas).await.unwrap();
        assert_eq!(fake.told(), told, "{states:?} to {replicas}");
    }
    let fake = Fake::showing(&units(&["active"]));
    assert_eq!(fake.actuator.scale(&target("w"), 1001).await.unwrap_err().reason, "Invalid");
}

#[tokio::test]
async fn who_stops_one_is_not_worked_against() {
    let units = |third: &str| {
        let states = ["active", "active", third].into_iter().enumerate();
        let blocks = states.map(|(at, state)| block(&format!("w@{}.service", at + 1), state, ""));
        blocks.collect::<Vec<_>>().join("\n")
    };
    let fake = Fake::showing(&units("active"));
    let count = async || fake.actuator.observe(&target("w")).await.unwrap().spec_replicas;
    assert_eq!(count().await, 3);
    // By others: it is there until it is gone.
    fake.says(&units("deactivating"));
    assert_eq!(count().await, 3);
    for (replicas, told) in [(3, &[][..]), (4, &["start --no-block -- w@4.service"])] {
        fake.told();
        fake.actuator.scale(&target("w"), replicas).await.unwrap();
        assert_eq!(fake.told(), told);
    }
    fake.says(&units("inactive"));
    assert_eq!(count().await, 2);
    // By the run before, as far as can be known.
    let fake = Fake::showing(&units("deactivating"));
    assert_eq!(fake.actuator.observe(&target("w")).await.unwrap().spec_replicas, 2);
}

#[tokio::test]
async fn an_instance_that_fails_while_it_is_stopped_is_gone() {
    let fake = Fake::showing(&[block("w@1.service", "active", ""), block("w@2.service", "active", "")].join("\n"));
    fake.actuator.scale(&target("w"), 1).await.unwrap();
    // Seen before the stop begins, while it stops, and after.
    assert_eq!(fake.actuator.observe(&target("w")).await.unwrap().spec_replicas, 2);
    fake.says(&[block("w@1.service", "active", ""), block("w@2.service", "deactivating", "")].join("\n"));
    assert_eq!(fake.actuator.observe(&target("w")).await.unwrap().spec_replicas, 1);
    let failed = [block("w@1.service", "active", ""), block("w@2.service", "failed", "")].join("\n");
    fake.says(&failed);
    fake.told();
    let observed = fake.actuator.observe(&target("w")).await.unwrap();
    assert_eq!((observed.spec_replicas, observed.pods.len()), (1, 1));
    assert_eq!(fake.told(), ["reset-failed -- w@2.service"]);
    // By itself it is a replica that failed.
    assert_eq!(fake.actuator.observe(&target("w")).await.unwrap().spec_replicas, 2);
    assert_eq!(fake.told(), [""; 0]);
}

#[tokio::test]
async fn use_is_measured_between_two_calls() {
    let one = |nanos: &str, bytes: &str| {
        block("w@1.service", "active", &format!("CPUUsageNSec={nanos}\nMemoryCurrent={bytes}\n"))
    };
    let fake = Fake::showing(&one("5000000000", "1048576"));
    let usage = async || fake.actuator.usage(&target("w")).await.unwrap().unwrap();
    let key = ("w@1.service".to_owned(), "w@1.service".to_owned());
    let first = usage().await;
    assert_eq!((first.cpu.len(), first.memory[&key].milli), (0, 1_048_576_000));
    fake.clock.advance(Duration::from_secs(10));
    fake.says(&one("10000000001", "1048576"));
    let metric = usage().await.cpu[&key];
    assert_eq!((metric.milli, metric.window), (501, Duration::from_secs(10)), "rounded up");
    assert_eq!(usage().await.cpu.len(), 0, "no time went by");
    fake.clock.advance(Duration::from_secs(1));
    fake.says(&one("10000000001", "[not set]"));
    let none = usage().await;
    assert_eq!((none.cpu[&key].milli, none.memory.len()), (0, 0));
    // Another run of the unit begins at nothing.
    fake.says(&one("7", "18446744073709551615").replace("Monotonic=40000000", "Monotonic=50000000"));
    fake.clock.advance(Duration::from_secs(1));
    let none = usage().await;
    assert_eq!((none.cpu.len(), none.memory.len()), (0, 0));
    fake.says(&one("[not set]", "1"));
    assert_eq!(usage().await.cpu.len(), 0);
}

#[tokio::test]
async fn failures_have_a_reason() {
    for (script, reason, part) in [
        ("echo 'System has not been booted with systemd as init system (PID 1).' >&2; exit 1", "Unreachable", "PID 1"),
        ("echo 'Failed to start w@1.service: Access denied' >&2; exit 4", "Forbidden", "Access denied"),
        ("echo 'Unit w@1.service is masked.' >&2; exit 1", "Refused", "masked"),
        ("echo 'Failed to start w@1.service: Unit w@1.service not found.' >&2; exit 5", "NotFound", "not found"),
        ("kill -9 $$", "Refused", "signal 9"),
        ("printf 'Id=w@1.service\\nLoadState=not-found\\n'", "NotFound", "daemon-reload"),
        ("printf '\\377\\000garbage\\n\\n\\n=\\nId'", "NotFound", "daemon-reload"),
        ("", "NotFound", "daemon-reload"),
        ("exec yes Id=w@1.service", "Invalid", "too much"),
    ] {
        let error = Fake::new(script, "").actuator.observe(&target("w")).await.unwrap_err();
        assert_eq!(error.reason, reason, "{script}: {error}");
        assert!(error.message.contains(part), "{script}: {error}");
    }
    let fake = Fake::new("case $3 in show) cat said;; *) echo \"Unit $6 is masked.\" >&2; exit 1;; esac", "");
    fake.says(&block("w@1.service", "inactive", ""));
    assert_eq!(fake.actuator.scale(&target("w"), 1).await.unwrap_err().reason, "Refused");
    let nowhere = SystemdActuator::searching(&Clock::system(), "/nowhere:relative".into());
    assert_eq!(nowhere.observe(&target("w")).await.unwrap_err().reason, "Unreachable");
}

#[tokio::test]
async fn a_name_that_means_more_than_itself_is_refused() {
    let fake = Fake::showing(&block("w@1.service", "active", ""));
    for name in [
        "",
        "w@",
        "*",
        "w*",
        "[a-z]",
        "w?",
        "../w",
        "w/x",
        "-w",
        "--root=/",
        "w x",
        "w\n",
        "w.service",
        &"w".repeat(300),
    ] {
        assert_eq!(fake.actuator.observe(&target(name)).await.unwrap_err().reason, "Invalid", "{name:?}");
        assert_eq!(fake.actuator.scale(&target(name), 1).await.unwrap_err().reason, "Invalid", "{name:?}");
    }
    assert!(!fake.folder.path().join("asked").exists(), "it was not asked at all");
    let escaped = Fake::showing(&block("dev\\x2da@1.service", "active", ""));
    assert_eq!(escaped.actuator.observe(&target("dev\\x2da")).await.unwrap().spec_replicas, 1);
    let asked = std::fs::read_to_string(escaped.folder.path().join("asked")).unwrap();
    assert!(asked.trim_end().ends_with(r"-- dev\x2da@1.service dev\\x2da@*.service"), "{asked}");
}

proptest::proptest! {
    #[test]
    fn garbage_makes_nothing_panic(said in "(Id=w@[0-9]{1,12}\\.service\n|[A-Za-z]{1,20}=[0-9a-z.]{0,20}\n|\n|\\PC{0,20}){0,30}") {
        let _ = show::read(&said, "w");
    }

    /// Whatever is there: as many stay as are wanted, and nothing is both started and stopped.
    #[test]
    fn plans_come_to_the_number(
        states in proptest::collection::btree_map(1..40u32, 0..4usize, 0..30),
        replicas in 0..60u32,
    ) {
        let all = [State::Active, State::Starting, State::Stopping, State::Failed];
        let found: BTreeMap<u32, Instance> =
            states.iter().map(|(at, state)| (*at, Instance { state: all[*state], is_told: true, ..Instance::default() })).collect();
        let plan = plan(&found, replicas);
        let mut after: BTreeSet<u32> =
            found.iter().filter(|(_, it)| it.state != State::Stopping).map(|(number, _)| *number).collect();
        for number in &plan.stops {
            proptest::prop_assert!(after.remove(number));
        }
        after.extend(&plan.starts);
        proptest::prop_assert_eq!(after.len(), replicas as usize);
        proptest::prop_assert!(plan.starts.is_empty() || plan.stops.is_empty() || found.values().any(|it| it.state == State::Failed));
    }
}
