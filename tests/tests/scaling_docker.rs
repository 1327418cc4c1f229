//! The whole of scaling on a real Docker engine: load goes up and down on real services, the agent is killed in the middle,
//! the engine is down for a while, and the link to the centre is cut all the time. Afterwards the replicas are those of
//! Kubernetes's formula, nobody else's container was touched, and the centre's history has each decision once.

use anyhow::{Context, ensure};
use serde_json::Value;
use skerry_tests::engine::Engine;
use skerry_tests::lab::{Binaries, Lab, Node, wait_for};
use skerry_tests::proxy::Proxy;
use std::net::SocketAddr;
use std::path::PathBuf;

const NODE: &str = "pi-11";
/// Ends at once when it is asked to.
const IDLE: &str = "trap 'exit 0' TERM; while true; do sleep 0.1; done";
/// Works while there is a file, as much as its limit lets it.
const BUSY: &str = "trap 'exit 0' TERM; while true; do if [ -e /load/busy ]; then n=0; while [ $n -lt 2000 ]; do n=$((n+1)); \
                    done; else sleep 0.1; fi; done";

/// A fleet, a node behind a link that can be cut, and an engine on it.
struct Rig {
    lab: Lab,
    node: Node,
    engine: Engine,
    proxy: Proxy,
    site: PathBuf,
    _runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

/// Two policies: one by requests, ten for each replica; one by CPU, as much as each asks for.
const POLICIES: &str = "---
apiVersion: skerry.io/v1
kind: ScalingPolicy
metadata: {name: web}
spec:
  scaleTargetRef: {kind: Container, name: web}
  minReplicas: 1
  maxReplicas: 8
  metrics:
  - type: External
    external:
      metric: {name: sum(site_requests_per_second)}
      target: {type: AverageValue, averageValue: 10}
  behavior:
    scaleUp: {policies: [{type: Pods, value: 10, periodSeconds: 15}]}
    scaleDown: {stabilizationWindowSeconds: 0}
---
apiVersion: skerry.io/v1
kind: ScalingPolicy
metadata: {name: press}
spec:
  scaleTargetRef: {kind: Container, name: press}
  minReplicas: 1
  maxReplicas: 3
  metrics:
  - type: Resource
    resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}
  behavior:
    scaleUp: {policies: [{type: Pods, value: 10, periodSeconds: 15}]}
    scaleDown: {stabilizationWindowSeconds: 0}
";

impl Rig {
    fn start() -> anyhow::Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let Some(engine) = Engine::start(&folder.path().join("docker"))? else { return Ok(None) };
        engine.image("site:1")?;
        let runtime = tokio::runtime::Runtime::new()?;
        let proxy = runtime.block_on(Proxy::start(SocketAddr::from(([127, 0, 0, 1], 1))));
        let mut lab = Lab::init(Binaries::build()?, folder.path())?;
        proxy.open(SocketAddr::from(([127, 0, 0, 1], lab.mqtt)));
        lab.edit_config(&format!("public: 127.0.0.1:{}", lab.mqtt), &format!("public: {}", proxy.address()))?;
        lab.start_server()?;
        let site = folder.path().join("site");
        std::fs::create_dir_all(site.join("values"))?;
        std::fs::create_dir_all(site.join("load"))?;
        let mut node = lab.agent(NODE, "")?;
        lab.join(&mut node, "edge")?;
        let rig = Self { lab, node, engine, proxy, site, _runtime: runtime, _folder: folder };
        rig.run("--name web --label skerry.io/service=web", IDLE)?;
        let load = rig.site.join("load").display().to_string();
        let press = format!(
            "--name press --label skerry.io/service=press --label skerry.io/cpu-request=100m --cpus 0.2 --volume {load}:/load"
        );
        rig.run(&press, BUSY)?;
        // Somebody else's, of a name that a clone would like to have.
        rig.run("--name web-1", IDLE)?;
        rig.requests(10)?;
        let spec = format!(
            "  collect:\n    interval: 1s\n    textfile_directory: '{}'\n  containers:\n    sockets: ['{}']\n    interval: 1s\n  \
             store:\n    write_budget: 0B\n  sync:\n    reconnect_min: 100ms\n    reconnect_max: 1s\n    ack_timeout: 3s\n  \
             scaling:\n    sync_period: 1s\n    cpu_initialization_period: 5s\n    initial_readiness_delay: 1s\n{POLICIES}",
            rig.site.join("values").display(),
            rig.engine.socket().display()
        );
        rig.lab.apply("group/edge", &spec)?;
        rig.lab.wait_config(NODE, "group/edge", 1)?;
        Ok(Some(rig))
    }

    fn run(&self, options: &str, script: &str) -> anyhow::Result<String> {
        let mut words = vec!["run", "--detach", "--network=none"];
        words.extend(options.split_whitespace());
        words.extend(["site:1", "/bin/sh", "-c", script]);
        self.engine.docker(&words)
    }

    /// Sets how many requests come in each second, over the whole site.
    fn requests(&self, rate: u32) -> anyhow::Result<()> {
        let new = self.site.join("new");
        std::fs::write(&new, format!("site_requests_per_second {rate}\n"))?;
        Ok(std::fs::rename(new, self.site.join("values/site.prom"))?)
    }

    /// Names of the running containers of a service.
    fn running(&self, service: &str) -> anyhow::Result<Vec<String>> {
        let label = format!("label=skerry.io/service={service}");
        let names = self.engine.docker(&["ps", "--filter", &label, "--format", "{{.Names}}"])?;
        let mut names: Vec<String> = names.lines().map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    fn wait_running(&self, service: &str, count: usize) -> anyhow::Result<()> {
        let mut found = Vec::new();
        for _ in 0..3 {
            let waited = wait_for("replicas", || {
                found = self.running(service)?;
                ensure!(found.len() == count, "{found:?}");
                Ok(())
            });
            if waited.is_ok() {
                return Ok(());
            }
        }
        anyhow::bail!("{service}: {count} replicas wanted, {found:?} run; {}", self.log())
    }

    /// The end of the agent's log.
    fn log(&self) -> String {
        let text = std::fs::read_to_string(self.node.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(15).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// What the centre knows of a policy's decisions, oldest first.
    fn history(&self, policy: &str) -> anyhow::Result<Vec<String>> {
        let list = self.lab.api(&format!("/scaling/history?policy={policy}"))?;
        let rows = list["decisions"].as_array().context("decisions")?;
        let row =
            |row: &Value| format!("{}->{} {}", row["from"], row["to"], row["reason"].as_str().unwrap_or_default());
        Ok(rows.iter().rev().map(row).collect())
    }

    /// Id, start and restarts of a container.
    fn fate(&self, name: &str) -> anyhow::Result<String> {
        self.engine.docker(&["inspect", "--format", "{{.Id}} {{.State.StartedAt}} {{.RestartCount}}", name])
    }
}

#[test]
fn replicas_follow_the_load_through_crashes_and_each_decision_is_told_once() -> anyhow::Result<()> {
    let Some(mut rig) = Rig::start()? else { return Ok(()) };
    let (template, bystander) = (rig.fate("web")?, rig.fate("web-1")?);
    rig.proxy.close();

    rig.requests(35)?;
    rig.wait_running("web", 4)?;

    // Killed as soon as it has begun to act.
    rig.requests(58)?;
    wait_for("a fifth replica", || {
        ensure!(rig.running("web")?.len() > 4, "not yet");
        Ok(())
    })?;
    rig.node.kill();
    rig.node.start()?;
    rig.wait_running("web", 6)?;

    // While the engine is down the wish grows smaller; its containers run on.
    rig.engine.down()?;
    rig.requests(15)?;
    std::fs::write(rig.site.join("load/busy"), "")?;
    wait_for("the agent to notice", || {
        let status = rig.node.text("/api/v1/scaling")?;
        ensure!(status.contains("FailedGetScale"), "{status}");
        Ok(())
    })?;
    rig.engine.up()?;
    rig.wait_running("web", 2)?;

    // Within the tolerance of a tenth nothing happens, however often it changes.
    for rate in [19, 21, 20, 22, 18] {
        rig.requests(rate)?;
        wait_for("a round that saw it", || {
            let told = rig.node.text("/api/v1/scaling")?;
            let all: Value = serde_json::from_str(&told)?;
            let all = all["data"].as_array().or(all.as_array()).context("policies")?.clone();
            let web = all.iter().find(|one| one["policy"] == "web").context("no policy")?.clone();
            let seen = web["metrics"][0]["current"].as_str().unwrap_or_default().to_owned();
            ensure!(seen.contains(&rate.to_string()) || seen.contains(&(rate / 2).to_string()), "{web}");
            Ok(())
        })?;
        assert_eq!(rig.running("web")?.len(), 2, "{rate} requests");
    }

    // By CPU: each replica takes twice what it asks for, until there are as many as there may be; then nothing.
    rig.wait_running("press", 3)?;
    std::fs::remove_file(rig.site.join("load/busy"))?;
    rig.wait_running("press", 1)?;

    assert_eq!(rig.fate("web")?, template, "the template runs on");
    assert_eq!(rig.fate("web-1")?, bystander, "no other container is touched");
    rig.proxy.open(SocketAddr::from(([127, 0, 0, 1], rig.lab.mqtt)));
    let expected = ["1->4 SuccessfulRescale", "4->6 SuccessfulRescale", "6->2 SuccessfulRescale"];
    wait_for("the centre's history", || {
        let told = rig.history("web")?;
        let decisions: Vec<&String> = told.iter().filter(|row| row.ends_with("SuccessfulRescale")).collect();
        ensure!(decisions == expected, "{told:?}");
        Ok(())
    })?;
    wait_for("the centre's history of the other", || {
        let press = rig.history("press")?;
        let ups = press.iter().filter(|row| row.contains("->3 SuccessfulRescale")).count();
        let last = press.iter().rfind(|row| row.ends_with("SuccessfulRescale"));
        ensure!(ups == 1 && last.is_some_and(|row| row.contains("->1 ")), "{press:?}");
        Ok(())
    })?;
    rig.node.stop()?;
    rig.lab.stop_server()
}
