//! The static agent for ARM does the main job once, under emulation: it joins, obeys a signed config, measures, tails a
//! file, and its data is read back at the centre.
//!
//! `tests/run aarch64` builds it and names it in `SKERRY_AARCH64_AGENT`; without that there is nothing to test here.

use anyhow::{Context, ensure};
use skerry_tests::lab::{Binaries, Lab, wait_for};

#[test]
fn the_static_agent_does_the_main_job_under_emulation() -> anyhow::Result<()> {
    let Some(binary) = std::env::var_os("SKERRY_AARCH64_AGENT") else {
        eprintln!("SKIPPED: SKERRY_AARCH64_AGENT names no agent; `tests/run aarch64` makes one");
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let mut lab = Lab::init(Binaries::build()?, folder.path())?;
    lab.start_server()?;
    let log = folder.path().join("app.log");
    std::fs::write(&log, (1..=500).map(|n| format!("line {n}\n")).collect::<String>())?;
    let sections = format!(
        "collect:\n  interval: 1s\nstore:\n  log_interval: 1s\nlogs:\n  files:\n    - name: app\n      paths: ['{}']\n",
        log.display()
    );
    let mut node = lab.agent("arm-1", &sections)?;
    node.binary = binary.into();
    node.wrapper = vec!["qemu-aarch64-static".to_owned()];
    lab.join(&mut node, "edge")?;
    lab.apply("group/edge", "  collect:\n    interval: 2s\n")?;
    lab.wait_config("arm-1", "group/edge", 1)?;
    let records = wait_for("the lines", || {
        let list = lab.api("/nodes/arm-1/logs?limit=1000")?;
        let records = list["records"].as_array().context("records")?.clone();
        ensure!(records.len() >= 500, "{} of 500 lines", records.len());
        Ok(records)
    })?;
    let lines: Vec<&str> = records.iter().filter_map(|record| record["line"].as_str()).collect();
    assert_eq!(lines, (1..=500).map(|n| format!("line {n}")).collect::<Vec<_>>());
    wait_for("a metric", || {
        let answer = lab.api("/query?query=node_memory_MemTotal_bytes")?;
        ensure!(answer["data"]["result"][0]["metric"]["node"] == "arm-1", "{answer}");
        Ok(())
    })?;
    node.kill();
    node.start()?;
    wait_for("it to be back after power loss", || {
        ensure!(node.status()?["fleet"]["connected"] == true, "not connected");
        Ok(())
    })?;
    node.stop()?;
    lab.stop_server()
}
