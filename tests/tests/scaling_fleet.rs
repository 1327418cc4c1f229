//! Scaling of a node as the centre sees it, through real processes: a program is the target, its load a file.

use anyhow::{Context, ensure};
use serde_json::Value;
use skerry_tests::lab::{Binaries, Lab, Node, wait_for};
use skerry_tests::proxy::Proxy;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const NODE: &str = "pi-9";

/// A fleet, and a node behind a link that can be cut, which scales a program by a value that a test sets.
struct Rig {
    lab: Lab,
    node: Node,
    proxy: Proxy,
    /// Where the target keeps how many it is.
    count: PathBuf,
    values: PathBuf,
    _runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

/// A policy over the program `hook`, of ten units of load a replica.
fn policy(hook: &str, name: &str, max: u32) -> String {
    format!(
        "apiVersion: skerry.io/v1\nkind: ScalingPolicy\nmetadata: {{name: {name}}}\nspec:\n  scaleTargetRef: {{kind: Exec, \
         name: '{hook}'}}\n  minReplicas: 1\n  maxReplicas: {max}\n  metrics:\n  - type: External\n    external:\n      metric: \
         {{name: site_load}}\n      target: {{type: AverageValue, averageValue: 10}}\n  behavior:\n    scaleDown: \
         {{stabilizationWindowSeconds: 0}}\n"
    )
}

impl Rig {
    fn start() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Runtime::new()?;
        let proxy = runtime.block_on(Proxy::start(SocketAddr::from(([127, 0, 0, 1], 1))));
        let folder = tempfile::tempdir()?;
        let mut lab = Lab::init(Binaries::build()?, folder.path())?;
        proxy.open(SocketAddr::from(([127, 0, 0, 1], lab.mqtt)));
        lab.edit_config(&format!("public: 127.0.0.1:{}", lab.mqtt), &format!("public: {}", proxy.address()))?;
        lab.start_server()?;
        let (hook, count, values) =
            (folder.path().join("hook"), folder.path().join("count"), folder.path().join("values"));
        std::fs::create_dir(&values)?;
        std::fs::write(&count, "1")?;
        let script = "#!/bin/sh\ncd \"${0%/*}\"\ncase $1 in\nget) echo \"{\\\"replicas\\\": $(cat count)}\";;\nset) echo \"$2\" > \
                      new && mv new count;;\nesac\n";
        std::fs::write(&hook, script)?;
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755))?;
        let hook = hook.display().to_string();
        let mut node = lab.agent(NODE, &format!("exec_allow: ['{hook}']\n"))?;
        lab.join(&mut node, "edge")?;
        lab.cli(&["assign", NODE, "--group", "edge", "--label", "site=lab", "--yes"])?;
        let spec = format!(
            "  collect:\n    interval: 1s\n    textfile_directory: '{}'\n  store:\n    write_budget: 0B\n  sync:\n    \
             reconnect_min: 100ms\n    reconnect_max: 1s\n    ack_timeout: 3s\n  scaling: {{sync_period: 1s, guard: {{enabled: false}}}}\n---\n{}",
            values.display(),
            policy(&hook, "web", 8)
        );
        let rig = Self { lab, node, proxy, count, values, _runtime: runtime, _folder: folder };
        rig.load(10)?;
        rig.lab.apply("group/edge", &spec)?;
        rig.lab.wait_config(NODE, "group/edge", 1)?;
        Ok(rig)
    }

    fn load(&self, load: u32) -> anyhow::Result<()> {
        std::fs::write(self.values.join("new"), format!("site_load {load}\n"))?;
        Ok(std::fs::rename(self.values.join("new"), self.values.join("site.prom"))?)
    }

    /// Sets the load and waits until the target has so many replicas.
    fn scaled(&self, load: u32, replicas: &str) -> anyhow::Result<()> {
        self.load(load)?;
        wait_for("the target to be scaled", || {
            let found = std::fs::read_to_string(&self.count)?;
            ensure!(found.trim() == replicas, "{found} replicas");
            Ok(())
        })
    }

    /// What was decided, oldest first, as `FROM->TO REASON`.
    fn history(&self) -> anyhow::Result<Vec<String>> {
        let list = self.lab.api("/scaling/history?policy=web")?;
        let rows = list["decisions"].as_array().context("decisions")?;
        let row =
            |row: &Value| format!("{}->{} {}", row["from"], row["to"], row["reason"].as_str().unwrap_or_default());
        Ok(rows.iter().rev().map(row).collect())
    }

    fn wait_history(&self, expected: &[&str]) -> anyhow::Result<()> {
        wait_for("the history", || {
            let found = self.history()?;
            ensure!(found == expected, "{found:?}");
            Ok(())
        })
        .with_context(|| self.lab.told_of(&self.node))
    }

    fn close_link(&self) -> anyhow::Result<()> {
        self.proxy.close();
        wait_for("the centre to notice", || {
            ensure!(self.lab.node(NODE)?["reach"] == "gone", "still connected");
            Ok(())
        })
    }

    fn open_link(&self) {
        self.proxy.open(SocketAddr::from(([127, 0, 0, 1], self.lab.mqtt)));
    }

    /// What the CLI says as JSON.
    fn json(&self, args: &[&str]) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.lab.cli(&[args, &["-o", "json"]].concat())?)?)
    }
}

#[test]
fn decisions_reach_the_centre_once_and_policies_are_explained() -> anyhow::Result<()> {
    let mut rig = Rig::start()?;
    rig.scaled(35, "4")?;
    rig.wait_history(&["1->4 SuccessfulRescale"])?;

    // The node is asked: what stands there, and what it would do now.
    let list = wait_for("the node's own word", || {
        let list = rig.json(&["scale", "list"])?;
        ensure!(list["items"][0]["current"] == 4 && list["items"][0]["live"] == true, "{list}");
        Ok(list)
    })?;
    let (item, hook) = (&list["items"][0], rig.count.with_file_name("hook").display().to_string());
    assert_eq!((item["live"].as_bool(), item["policy"].as_str()), (Some(true), Some("web")), "{list}");
    assert_eq!(item["target"], format!("Exec/{hook}"), "{list}");
    let table = rig.lab.cli(&["scale", "list", "-l", "site=lab"])?;
    assert!(table.starts_with("NODE") && table.contains("now"), "{table}");
    let explained = rig.lab.cli(&["scale", "explain", "web"])?;
    assert!(explained.contains("site_load") && explained.contains('4'), "{explained}");
    let missing = rig.lab.cli_output(&["scale", "explain", "none", "--node", NODE])?;
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");

    // A file is checked on the spot, and tried out on the node, which does nothing.
    let file = rig.lab.folder.join("new.yaml");
    let file = file.to_str().context("its name")?;
    std::fs::write(file, policy(&hook, "narrow", 2))?;
    let told = rig.lab.cli(&["scale", "explain", file])?;
    assert!(told.contains("policy narrow scales Exec/") && told.contains("from 1 to 2 replicas by 1 metric"), "{told}");
    let tried = rig.json(&["scale", "explain", file, "--node", NODE])?;
    assert_eq!((tried[0]["policy"].clone(), tried[0]["desired"].clone()), ("narrow".into(), 2.into()), "{tried}");
    std::fs::write(file, policy(&hook, "narrow", 0))?;
    let refused = rig.lab.cli_output(&["scale", "explain", file, "--node", NODE])?;
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && told.contains("new.yaml:7: spec.maxReplicas: "), "{told}");
    let signed = format!(
        "apiVersion: skerry.io/v1\nkind: NodeConfig\nmetadata: {{name: group/edge}}\nspec: {{collect: {{}}}}\n---\n{}",
        policy(&hook, "narrow", 0)
    );
    std::fs::write(file, signed)?;
    let refused = rig.lab.cli_output(&["apply", "-f", file])?;
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && told.contains("new.yaml:12: spec.maxReplicas: "), "{told}");
    assert_eq!(std::fs::read_to_string(&rig.count)?.trim(), "4");

    // Without a link the node goes on, over its own end and the server's; each decision is told once.
    rig.close_link()?;
    rig.scaled(5, "1")?;
    rig.node.kill();
    rig.node.start()?;
    rig.scaled(25, "3")?;
    rig.lab.kill_server();
    rig.lab.start_server()?;
    rig.open_link();
    rig.wait_history(&["1->4 SuccessfulRescale", "4->1 SuccessfulRescale", "1->3 SuccessfulRescale"])?;
    rig.scaled(75, "8")?;
    let all = ["1->4 SuccessfulRescale", "4->1 SuccessfulRescale", "1->3 SuccessfulRescale"];
    wait_for("the last decision", || {
        let found = rig.history()?;
        ensure!(found.len() > all.len() && found.last().is_some_and(|last| last.contains("->8 ")), "{found:?}");
        Ok(())
    })?;
    assert_eq!(rig.history()?[..all.len()], all);
    let told = rig.lab.cli(&["scale", "history", "web", "--node", NODE])?;
    assert_eq!(told.lines().count(), rig.history()?.len() + 1, "{told}");
    Ok(())
}

#[test]
fn of_a_silent_node_it_is_said_how_it_stood_and_when() -> anyhow::Result<()> {
    let mut rig = Rig::start()?;
    rig.scaled(35, "4")?;
    rig.wait_history(&["1->4 SuccessfulRescale"])?;
    wait_for("its series", || {
        let list = rig.json(&["scale", "list", "--at", "centre"])?;
        ensure!(list["items"][0]["current"] == 4 && list["items"][0]["live"] == false, "{list}");
        Ok(())
    })?;
    rig.node.stop()?;
    wait_for("the centre to notice", || {
        ensure!(rig.lab.node(NODE)?["reach"] == "gone", "still connected");
        Ok(())
    })?;
    let listed = rig.lab.cli_output(&["scale", "list"])?;
    let (table, told) = (String::from_utf8_lossy(&listed.stdout), String::from_utf8_lossy(&listed.stderr));
    assert!(table.contains("web") && table.contains(" ago"), "{table}");
    assert!(told.contains("node pi-9: it is not connected; how it stood last is shown"), "{told}");
    let explained = rig.lab.cli(&["scale", "explain", "web"])?;
    assert!(explained.starts_with("node pi-9 does not answer (it is not connected); this is what is known, from "));
    assert!(explained.contains("replicas 4, least 1, most 8") && explained.contains("1 to 4 replicas"), "{explained}");
    let unknown = rig.lab.cli_output(&["scale", "explain", "other", "--node", NODE])?;
    assert_eq!(unknown.status.code(), Some(1));
    let capacity = rig.json(&["capacity"])?;
    assert_eq!(
        (capacity["sites"][0]["site"].clone(), capacity["nodes"][0]["policies"].clone()),
        ("lab".into(), 1.into())
    );
    let cores = capacity["sites"][0]["allocatable"]["cpu_milli"].as_u64().unwrap_or_default();
    assert!(cores >= 500, "{capacity}");
    let table = rig.lab.cli(&["capacity", "--by", "node", "--nodes"])?;
    assert!(table.contains("CPU REQUESTED") && table.matches(NODE).count() >= 2, "{table}");
    Ok(())
}
