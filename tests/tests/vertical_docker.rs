//! Sizes on a real Docker engine: a container that has less than its policy lets it have gets more while it runs, and one
//! that is killed for want of memory gets enough to live. The link to the centre is cut all the time and the agent is killed
//! as soon as it has changed the first; afterwards the centre's history has each change once.
//!
//! The recommender looks once a minute, so this takes some.

use anyhow::{Context, ensure};
use serde_json::Value;
use skerry_tests::engine::Engine;
use skerry_tests::lab::{Binaries, Lab, wait_for};
use skerry_tests::proxy::Proxy;
use std::net::SocketAddr;

const NODE: &str = "pi-12";
const MIB: u64 = 1 << 20;
/// Works a little.
const IDLE: &str = "trap 'exit 0' TERM; while true; do sleep 0.5; done";
/// Holds some 20 MB of text, and more while it grows; whoever has it whole is fed.
const HUNGRY: &str = "x=$(head -c 20000000 /dev/zero | tr '\\0' x); [ ${#x} -eq 20000000 ] || exit 1; touch /fed; \
                      while true; do sleep 0.5; done";
const POLICIES: &str = "---
apiVersion: skerry.io/v1
kind: ScalingPolicy
metadata: {name: grown}
spec:
  scaleTargetRef: {kind: Container, name: grown}
  vertical:
    updateMode: Auto
    resourcePolicy: {containerPolicies: [{containerName: '*', controlledResources: [memory], minAllowed: {memory: 96Mi}, maxAllowed: {memory: 128Mi}}]}
---
apiVersion: skerry.io/v1
kind: ScalingPolicy
metadata: {name: starved}
spec:
  scaleTargetRef: {kind: Container, name: starved}
  vertical:
    updateMode: Auto
    resourcePolicy: {containerPolicies: [{containerName: '*', controlledResources: [memory], minAllowed: {memory: 1Mi}}]}
---
apiVersion: skerry.io/v1
kind: ScalingPolicy
metadata: {name: told}
spec:
  scaleTargetRef: {kind: Container, name: told}
  vertical:
    updateMode: 'Off'
    resourcePolicy: {containerPolicies: [{containerName: '*', minAllowed: {memory: 96Mi}}]}
";

fn inspect(engine: &Engine, name: &str, format: &str) -> anyhow::Result<String> {
    engine.docker(&["inspect", "--format", format, name])
}

fn limit(engine: &Engine, name: &str) -> anyhow::Result<u64> {
    Ok(inspect(engine, name, "{{.HostConfig.Memory}}")?.parse()?)
}

#[test]
fn containers_get_what_they_need_and_each_change_is_told_once() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(engine) = Engine::start(&folder.path().join("docker"))? else { return Ok(()) };
    engine.image("site:1")?;
    let runtime = tokio::runtime::Runtime::new()?;
    let proxy = runtime.block_on(Proxy::start(SocketAddr::from(([127, 0, 0, 1], 1))));
    let mut lab = Lab::init(Binaries::build()?, folder.path())?;
    proxy.open(SocketAddr::from(([127, 0, 0, 1], lab.mqtt)));
    lab.edit_config(&format!("public: 127.0.0.1:{}", lab.mqtt), &format!("public: {}", proxy.address()))?;
    lab.start_server()?;
    let mut node = lab.agent(NODE, "")?;
    lab.join(&mut node, "edge")?;
    let spec = format!(
        "  collect:\n    interval: 1s\n  containers:\n    sockets: ['{}']\n    interval: 1s\n  sync:\n    reconnect_min: 100ms\n    \
         reconnect_max: 1s\n    ack_timeout: 3s\n  scaling:\n    pod_recommendation_min_memory_mb: 1\n{POLICIES}",
        engine.socket().display()
    );
    lab.apply("group/edge", &spec)?;
    lab.wait_config(NODE, "group/edge", 1)?;
    proxy.close();
    let run = |name: &str, memory: &str, script: &str| {
        let limits = ["--memory", memory, "--memory-swap", memory];
        let options = ["run", "--detach", "--network=none", "--restart=always", "--name", name];
        engine.docker(&[&options[..], &limits[..], &["site:1", "/bin/sh", "-c", script][..]].concat())
    };
    for (name, memory, script) in
        [("grown", "64m", IDLE), ("starved", "32m", HUNGRY), ("told", "64m", IDLE), ("stranger", "64m", IDLE)]
    {
        run(name, memory, script)?;
    }
    let fate = |name: &str| inspect(&engine, name, "{{.Id}} {{.State.StartedAt}} {{.State.Pid}}");
    let (grown, others) = (fate("grown")?, [fate("told")?, fate("stranger")?]);
    // A minute for the first samples, and one until the recommender looks.
    let patient = |what: &str, name: &str, least: u64| {
        let is_so = || {
            let now = limit(&engine, name)?;
            ensure!(now >= least, "{name} has {now}");
            Ok(now)
        };
        (0..3).map(|_| wait_for(what, is_so)).find(Result::is_ok).with_context(|| {
            let log = std::fs::read_to_string(node.log()).unwrap_or_default();
            format!("{what}: {:?}; {log}", limit(&engine, name))
        })?
    };

    let given = patient("the container that has too little", "grown", 96 * MIB)?;
    ensure!((96 * MIB..=128 * MIB).contains(&given), "{given} is not between what the policy says");
    // What it had when it was killed, and 100 MB.
    let fed = patient("the container that is killed", "starved", 100_000_000)?;
    ensure!(fed < 512 * MIB, "{fed}");
    node.kill();
    node.start()?;
    wait_for("the container that was killed to live", || engine.typed("exec starved test -e /fed").map(drop))
        .with_context(|| inspect(&engine, "starved", "{{json .State}} {{.HostConfig.Memory}}").unwrap_or_default())?;
    assert_eq!(fate("grown")?, grown, "it went on while it was changed");
    assert_eq!([fate("told")?, fate("stranger")?], others, "no other container is touched");
    assert_eq!([limit(&engine, "told")?, limit(&engine, "stranger")?], [64 * MIB; 2]);

    proxy.open(SocketAddr::from(([127, 0, 0, 1], lab.mqtt)));
    let history = |policy: &str| -> anyhow::Result<Vec<Value>> {
        let list = lab.api(&format!("/scaling/history?policy={policy}"))?;
        Ok(list["decisions"].as_array().context("decisions")?.clone())
    };
    for name in ["grown", "starved"] {
        let is_told = || {
            let told = history(name)?;
            let resized: Vec<&Value> = told.iter().filter(|row| row["reason"] == "Resized").collect();
            ensure!(resized.len() == 1 && resized[0]["message"].to_string().contains(name), "{told:?}");
            Ok(())
        };
        (0..2).map(|_| wait_for("the centre's history", is_told)).find(Result::is_ok).with_context(|| {
            format!("{:?}; {}", history(name), std::fs::read_to_string(node.log()).unwrap_or_default())
        })??;
    }
    assert_eq!(history("told")?, Vec::<Value>::new());
    node.stop()?;
    lab.stop_server()
}
