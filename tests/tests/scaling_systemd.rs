//! The agent as a process over a real systemd in namespaces: template units follow the load and a known peak, the agent is
//! killed at work, units are stopped by hand, killed, masked, and cannot start. The link to the centre is cut meanwhile.
//! Skipped, and said so, where no systemd can be started.

use anyhow::{Context, ensure};
use skerry_tests::lab::wait_for;
use skerry_tests::scaled::{Scaled, Setup};
use skerry_tests::systemd::RealSystemd;

/// Takes a while to end.
const WORKER: &str = "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sh -c 'trap \"sleep 4; exit 0\" TERM; while :; do \
                      sleep 0.1; done'\nCPUQuota=20%\nMemoryMax=64M\n";
/// Ends badly by itself.
const SICK: &str = "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/false\n";

/// A policy over a template.
fn policy(name: &str, metric: &str) -> String {
    format!(
        "apiVersion: skerry.io/v1\nkind: ScalingPolicy\nmetadata: {{name: {name}}}\nspec:\n  scaleTargetRef: {{kind: SystemdUnit, \
         name: {name}}}\n  minReplicas: 1\n  maxReplicas: 5\n  metrics:\n  - type: External\n    external:\n      metric: {{name: \
         {metric}}}\n      target: {{type: AverageValue, averageValue: 10}}\n  behavior:\n    scaleUp: {{policies: [{{type: Pods, \
         value: 20, periodSeconds: 15}}]}}\n    scaleDown: {{stabilizationWindowSeconds: 0}}\n"
    )
}

/// Numbers of the instances of a template in a state.
fn instances(systemd: &RealSystemd, name: &str, state: &str) -> anyhow::Result<Vec<u32>> {
    let (state, pattern) = (format!("--state={state}"), format!("{name}@*"));
    let said = systemd.systemctl(&["list-units", "--all", "--plain", "--no-legend", &state, &pattern])?;
    let number = |line: &str| line.split_once('@')?.1.split_once('.')?.0.parse().ok();
    let mut found: Vec<u32> = said.lines().filter_map(number).collect();
    found.sort_unstable();
    Ok(found)
}

#[test]
fn template_units_follow_whatever_is_done_to_them() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let units =
        [("w@.service", WORKER), ("sick@.service", SICK), ("masked@.service", WORKER), ("other@.service", WORKER)];
    let Some(systemd) = RealSystemd::start(&folder.path().join("real"), &units)? else {
        eprintln!("skipped: no systemd can be started in namespaces here");
        return Ok(());
    };
    systemd.systemctl(&["start", "other@1.service", "w@blue.service"])?;
    systemd.systemctl(&["mask", "--runtime", "masked@2.service"])?;
    let texts = [
        policy("w", "site_load"),
        policy("sick", "site_sick"),
        policy("masked", "site_masked"),
        policy("none", "site_load"),
    ];
    let policies =
        [("w.yaml", texts[0].as_str()), ("sick.yaml", &texts[1]), ("masked.yaml", &texts[2]), ("none.yaml", &texts[3])];
    let search = Some(format!("{}:/usr/bin:/bin", systemd.search()));
    let setup = Setup { name: "pi-12", policies: &policies, search, ..Setup::default() };
    std::fs::create_dir(folder.path().join("values"))?;
    let loads = "site_load 30\nsite_sick 20\nsite_masked 20\n";
    std::fs::write(folder.path().join("values/site.prom"), loads)?;
    let mut node = Scaled::start(folder.path(), &setup)?;
    let wait = |name: &str, state: &str, expected: &[u32]| {
        wait_for("the instances", || {
            let found = instances(&systemd, name, state)?;
            ensure!(found == expected, "{name} {state}: {found:?}, wanted {expected:?}");
            Ok(())
        })
    };
    // None runs after a boot: as many as the load wants.
    wait("w", "active", &[1, 2, 3]).with_context(|| node.log())?;
    node.wait_replicas("w", 3)?;
    node.cut();
    let first = systemd.systemctl(&["show", "--property=MainPID", "w@1.service"])?;

    // Units that cannot start, and a template that is not there.
    wait("sick", "failed", &[1, 2]).with_context(|| node.log())?;
    let message = node.wait_reason("masked", "FailedUpdateScale")?;
    assert!(message.contains("masked"), "{message}");
    let message = node.wait_reason("none", "FailedGetScale")?;
    assert!(message.contains("knows no template none@.service"), "{message}");

    // Killed as soon as it has begun to stop some; the next run finds the rest done.
    let load = |load: f64| node.set(&[("site_load", load), ("site_sick", 20.0), ("site_masked", 20.0)]);
    load(10.0)?;
    wait_for("a stop", || {
        ensure!(!instances(&systemd, "w", "deactivating")?.is_empty(), "not yet");
        Ok(())
    })
    .with_context(|| node.log())?;
    node.node.kill();
    node.node.start()?;
    wait("w", "active", &[1]).with_context(|| node.log())?;

    // Up again; one is stopped by hand and one is killed: the load wants both back.
    let load = |load: f64| node.set(&[("site_load", load), ("site_sick", 20.0), ("site_masked", 20.0)]);
    load(40.0)?;
    wait("w", "active", &[1, 2, 3, 4]).with_context(|| node.log())?;
    systemd.systemctl(&["stop", "w@3.service"])?;
    wait("w", "active", &[1, 2, 3, 4]).with_context(|| node.log())?;
    systemd.systemctl(&["kill", "--signal=KILL", "w@2.service"])?;
    wait("w", "failed", &[2])?;
    load(50.0)?;
    wait("w", "active", &[1, 2, 3, 4, 5]).with_context(|| node.log())?;
    let explained = node.agent(&["scale", "explain", "w"])?;
    assert!(explained.contains("5 -> 5 replicas") && explained.contains("ReadyForNewScale"), "{explained}");
    load(20.0)?;
    wait("w", "active", &[1, 2]).with_context(|| node.log())?;
    assert_eq!(systemd.systemctl(&["show", "--property=MainPID", "w@1.service"])?, first, "it ran all the time");
    for unit in ["other@1.service", "w@blue.service"] {
        assert_eq!(systemd.systemctl(&["is-active", unit])?.trim(), "active", "{unit}");
    }
    let list = node.agent(&["scale", "list"])?;
    assert!(
        list.contains("SystemdUnit/w") && list.contains("FailedUpdateScale") && list.contains("FailedGetScale"),
        "{list}"
    );
    node.mend();
    // The first steps after a start depend on what was measured when it first looked, or was kept of the run before.
    let last = ["3->4", "4->5", "5->2"].map(|step| format!("{step} SuccessfulRescale"));
    wait_for("the centre's history", || {
        let told = node.history("w", false)?;
        ensure!(told.ends_with(&last), "{told:?}");
        let stops = told.iter().filter(|row| row.starts_with("3->1 ")).count();
        ensure!(stops == 1, "what the kill cut off is told once: {told:?}");
        Ok(())
    })?;
    node.node.stop()
}
