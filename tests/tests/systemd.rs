//! The agent's systemd actuator: with a fake `systemctl`, and with a real systemd: the machine's, where that is what
//! booted it, and one in namespaces of its own. What cannot be had is skipped, and said so.

use anyhow::{Context, ensure};
use skerry_agent::actuate::{Actuator, SystemdActuator};
use skerry_agent::clock::Clock;
use skerry_scaling::target::{Observed, Phase, TargetKind, TargetRef};
use skerry_tests::systemd::{FakeSystemctl, RealSystemd};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tokio::time::Instant;

/// Long enough for any job while the machine is busy.
const AMPLE: Duration = Duration::from_secs(60);

fn target(name: &str) -> TargetRef {
    TargetRef { kind: TargetKind::SystemdUnit, name: name.into(), scope: String::new() }
}

/// Looks until it is as expected.
async fn until(
    actuator: &SystemdActuator,
    target: &TargetRef,
    is_there: impl Fn(&Observed) -> bool,
) -> anyhow::Result<Observed> {
    let end = Instant::now() + AMPLE;
    loop {
        let observed = actuator.observe(target).await?;
        if is_there(&observed) {
            return Ok(observed);
        }
        ensure!(Instant::now() < end, "{target} is still {observed:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn names(observed: &Observed) -> Vec<&str> {
    observed.pods.iter().map(|pod| pod.name.as_str()).collect()
}

fn runs(observed: &Observed, count: u32) -> bool {
    let ready = observed.pods.iter().filter(|pod| !pod.is_deleting && pod.ready.is_some_and(|ready| ready.is_ready));
    observed.spec_replicas == count && observed.pods.len() == count as usize && ready.count() == count as usize
}

#[tokio::test]
async fn instances_follow_by_a_fake_systemctl() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let fake = FakeSystemctl::new(folder.path(), &[("w", "CPUQuotaPerSecUSec=250ms\nMemoryMax=1048576\n")])?;
    let actuator = SystemdActuator::searching(&Clock::system(), fake.search());
    let target = target("w");
    assert_eq!(actuator.observe(&target).await?.spec_replicas, 0);
    fake.set("w@blue.service", "active")?;
    fake.set("w@8080.service", "active")?;
    for (replicas, names) in [
        (3, &["w@1.service", "w@2.service", "w@3.service"][..]),
        (1, &["w@1.service"]),
        (2, &["w@1.service", "w@2.service"]),
        (0, &[]),
    ] {
        actuator.scale(&target, replicas).await?;
        let units = fake.units()?;
        let ours = units
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| !["w@blue.service", "w@8080.service"].contains(name));
        assert_eq!(ours.collect::<Vec<_>>(), names, "{replicas}");
        assert_eq!(actuator.observe(&target).await?.spec_replicas, replicas);
    }
    assert_eq!(fake.units()?.len(), 2, "others are left alone");
    actuator.scale(&target, 2).await?;
    let pod = &actuator.observe(&target).await?.pods[0];
    assert_eq!((pod.containers[0].cpu_request_milli, pod.containers[0].memory_request), (Some(250), Some(1 << 20)));
    // Calls that change nothing tell nobody anything.
    let before = fake.calls().lines().filter(|call| !call.contains(" show ")).count();
    actuator.scale(&target, 2).await?;
    assert_eq!(fake.calls().lines().filter(|call| !call.contains(" show ")).count(), before);
    fake.fail("Failed to connect to bus: No such file or directory")?;
    assert_eq!(actuator.observe(&target).await.unwrap_err().reason, "Unreachable");
    fake.fail("hang")?;
    let begin = Instant::now();
    assert_eq!(actuator.scale(&target, 4).await.unwrap_err().reason, "Timeout");
    assert!(begin.elapsed() < Duration::from_secs(20));
    fake.fail("")?;
    assert_eq!(actuator.observe(&target).await?.spec_replicas, 2);
    let missing = TargetRef { name: "none".into(), ..target };
    assert_eq!(actuator.observe(&missing).await.unwrap_err().reason, "NotFound");
    Ok(())
}

const WORKER: &str = "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sh -c 'while :; do seq 100000 > /dev/null; sleep 0.2; done'\nNice=19\n\
                      CPUQuota=20%\nMemoryMax=64M\nStandardOutput=null\nStandardError=null\n";
/// Ends badly when it is told to end.
const STUBBORN: &str = "[Unit]\nDefaultDependencies=no\n[Service]\n\
                        ExecStart=/bin/sh -c 'trap \"exit 3\" TERM; while :; do sleep 0.1; done'\n";
/// Ends badly by itself.
const SICK: &str = "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/false\n";

#[tokio::test]
async fn instances_of_a_real_systemd_follow() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let units = [("w@.service", WORKER), ("s@.service", STUBBORN), ("sick@.service", SICK), ("other@.service", WORKER)];
    let Some(systemd) = RealSystemd::start(folder.path(), &units)? else {
        eprintln!("skipped: no systemd can be started in namespaces here");
        return Ok(());
    };
    let actuator = SystemdActuator::searching(&Clock::system(), systemd.search());
    let w = target("w");
    assert_eq!(actuator.observe(&w).await?.spec_replicas, 0);
    systemd.systemctl(&["start", "other@1.service", "w@blue.service"])?;
    actuator.scale(&w, 3).await?;
    let observed = until(&actuator, &w, |observed| runs(observed, 3)).await?;
    assert_eq!(names(&observed), ["w@1.service", "w@2.service", "w@3.service"]);
    let pod = &observed.pods[0];
    assert_eq!((pod.containers[0].cpu_request_milli, pod.containers[0].memory_request), (Some(200), Some(64 << 20)));
    let age = Clock::system().wall().0 - pod.started_at.context("a start")?.0;
    assert!((0..60_000).contains(&age), "started {age} ms ago");

    // They burn what they get: some CPU is seen once time has gone by.
    actuator.usage(&w).await?.context("usage")?;
    let end = Instant::now() + AMPLE;
    let cpu = loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let usage = actuator.usage(&w).await?.context("usage")?;
        if usage.cpu.len() == 3 && usage.cpu.values().all(|metric| metric.milli > 0) {
            break usage.cpu;
        }
        ensure!(Instant::now() < end, "{usage:?}");
    };
    assert!(cpu.values().all(|metric| metric.milli <= 2000), "{cpu:?}");

    // One is stopped by hand, one is killed; scaling up brings both back, and nobody else is touched.
    systemd.systemctl(&["stop", "w@2.service"])?;
    systemd.systemctl(&["kill", "--signal=KILL", "w@1.service"])?;
    let observed = until(&actuator, &w, |observed| observed.pods.iter().any(|pod| pod.phase == Phase::Failed)).await?;
    assert_eq!((observed.spec_replicas, names(&observed)), (2, vec!["w@1.service", "w@3.service"]));
    actuator.scale(&w, 3).await?;
    until(&actuator, &w, |observed| runs(observed, 3)).await?;
    actuator.scale(&w, 1).await?;
    let observed = until(&actuator, &w, |observed| runs(observed, 1)).await?;
    assert_eq!(names(&observed), ["w@1.service"]);
    actuator.scale(&w, 0).await?;
    until(&actuator, &w, |observed| runs(observed, 0)).await?;
    for unit in ["other@1.service", "w@blue.service"] {
        assert_eq!(systemd.systemctl(&["is-active", unit])?.trim(), "active");
    }

    // What fails as it is stopped is gone all the same, without being told again.
    let stubborn = target("s");
    actuator.scale(&stubborn, 2).await?;
    until(&actuator, &stubborn, |observed| runs(observed, 2)).await?;
    actuator.scale(&stubborn, 1).await?;
    until(&actuator, &stubborn, |observed| runs(observed, 1)).await?;
    assert!(!systemd.systemctl(&["list-units", "--all", "--no-legend", "s@*"])?.contains("s@2.service"));

    // What cannot run is a replica that failed, and is not started again and again.
    let sick = target("sick");
    actuator.scale(&sick, 1).await?;
    let failed = |observed: &Observed| observed.pods.iter().any(|pod| pod.phase == Phase::Failed);
    let observed = until(&actuator, &sick, failed).await?;
    assert_eq!(observed.spec_replicas, 1);
    actuator.scale(&sick, 0).await?;
    until(&actuator, &sick, |observed| runs(observed, 0)).await?;

    assert_eq!(actuator.observe(&target("none")).await.unwrap_err().reason, "NotFound");
    assert_eq!(actuator.scale(&target("none"), 1).await.unwrap_err().reason, "NotFound");
    Ok(())
}

#[tokio::test]
async fn instances_of_the_machines_own_systemd_follow() -> anyhow::Result<()> {
    if !Path::new("/run/systemd/system").exists() || !rustix::process::getuid().is_root() {
        eprintln!("skipped: systemd did not boot this machine, or this is not root");
        return Ok(());
    }
    let name = format!("skerry-test-{}", std::process::id());
    let file = format!("/run/systemd/system/{name}@.service");
    std::fs::write(&file, WORKER)?;
    let reload = || Command::new("systemctl").arg("daemon-reload").status();
    reload()?;
    let work = async {
        let (actuator, target) = (SystemdActuator::new(&Clock::system()), target(&name));
        for count in [2, 1, 0] {
            actuator.scale(&target, count).await?;
            until(&actuator, &target, |observed| runs(observed, count)).await?;
        }
        anyhow::Ok(())
    };
    let outcome = work.await;
    let _ = Command::new("systemctl").arg("stop").arg(format!("{name}@*.service")).status();
    std::fs::remove_file(&file)?;
    reload()?;
    outcome
}
