//! The agent over a service of a project of docker-compose, on a real engine: compose counts the replicas as its own, and
//! whatever its user does with them, `up` with a changed file, `stop`, `start`, `down`, is done, without the agent working
//! against it. Skipped, and said so, where there is no engine or no docker-compose.

use anyhow::{Context, ensure};
use skerry_tests::engine::Engine;
use skerry_tests::lab::wait_for;
use skerry_tests::peers::is_installed;
use skerry_tests::scaled::{Scaled, Setup};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A service whose containers end one after the other, some seconds after they are asked to, and another one.
const FILE: &str = r#"version: "2.4"
services:
  web:
    image: shop:1
    command: ["sh", "-c", "n=$$(tr -dc 1-3 </dev/urandom | head -c1); trap \"sleep $$n; exit 0\" TERM; while true; do sleep 0.1; done"]
    environment: {EDITION: first}
    volumes: ["data:/data", "/scratch"]
    mem_limit: 64m
  db:
    image: shop:1
    command: ["sh", "-c", "trap 'exit 0' TERM; while true; do sleep 0.1; done"]
volumes: {data: {}}
"#;

const POLICY: &str = "apiVersion: skerry.io/v1
kind: ScalingPolicy
metadata: {name: web}
spec:
  scaleTargetRef: {kind: ComposeService, name: web, project: shop}
  minReplicas: 1
  maxReplicas: 8
  metrics:
  - type: External
    external:
      metric: {name: site_requests}
      target: {type: AverageValue, averageValue: 10}
  behavior:
    scaleUp: {policies: [{type: Pods, value: 20, periodSeconds: 15}]}
    scaleDown: {stabilizationWindowSeconds: 0}
";

/// A project, and a node that scales its service.
struct Rig {
    engine: Engine,
    project: PathBuf,
    node: Scaled,
    _folder: tempfile::TempDir,
}

impl Rig {
    fn start() -> anyhow::Result<Option<Self>> {
        if !is_installed("docker-compose") {
            eprintln!("SKIPPED: needs the Debian package docker-compose");
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        let Some(engine) = Engine::start(&folder.path().join("docker"))? else { return Ok(None) };
        engine.image("shop:1")?;
        let project = folder.path().join("shop");
        std::fs::create_dir(&project)?;
        std::fs::write(project.join("docker-compose.yml"), FILE)?;
        engine.compose(&project, "up -d")?;
        let sections = format!("containers: {{sockets: ['{}'], interval: 1s}}\n", engine.socket().display());
        let policies = [("web.yaml", POLICY)];
        let setup = Setup { name: "shop-7", policies: &policies, sections: &sections, ..Setup::default() };
        let node = Scaled::start(folder.path(), &setup)?;
        Ok(Some(Self { engine, project, node, _folder: folder }))
    }

    fn compose(&self, line: &str) -> anyhow::Result<String> {
        self.engine.compose(&self.project, line)
    }

    fn requests(&self, rate: f64) -> anyhow::Result<()> {
        self.node.set(&[("site_requests", rate)])
    }

    /// Names of the service's containers that run.
    fn running(&self) -> anyhow::Result<BTreeSet<String>> {
        let names = self.engine.typed("ps --filter label=com.docker.compose.service=web --format {{.Names}}")?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    fn wait(&self, numbers: &[u32]) -> anyhow::Result<()> {
        self.wait_one_of(&[numbers])
    }

    fn wait_one_of(&self, numbers: &[&[u32]]) -> anyhow::Result<()> {
        let names = |numbers: &&[u32]| numbers.iter().map(|number| format!("shop_web_{number}")).collect();
        let expected: Vec<BTreeSet<String>> = numbers.iter().map(names).collect();
        wait_for("the replicas", || {
            let found = self.running()?;
            ensure!(expected.contains(&found), "{found:?} run, {expected:?} are wanted");
            Ok(())
        })
        .with_context(|| self.node.log())
    }

    /// A property of each container that runs.
    fn each(&self, format: &str) -> anyhow::Result<Vec<String>> {
        let names = self.running()?;
        let words = ["inspect", "--format", format].into_iter().chain(names.iter().map(String::as_str));
        Ok(self.engine.docker(&words.collect::<Vec<_>>())?.lines().map(str::to_owned).collect())
    }
}

#[test]
fn compose_and_its_user_are_not_worked_against() -> anyhow::Result<()> {
    let Some(mut rig) = Rig::start()? else { return Ok(()) };
    let db = rig.compose("ps -q db")?;
    rig.requests(40.0)?;
    rig.wait(&[1, 2, 3, 4])?;
    // It counts them, and speaks to each.
    assert_eq!(rig.compose("ps -q web")?.lines().count(), 4);
    let table = rig.compose("ps web")?;
    assert_eq!(table.lines().filter(|line| line.contains("shop_web_") && line.contains("Up")).count(), 4, "{table}");
    assert_eq!(rig.compose("exec -T --index=3 web echo here")?, "here");

    // A changed file: compose has one container of it, as its file says, and all that follow are as that one.
    std::fs::write(rig.project.join("docker-compose.yml"), FILE.replace("first", "second"))?;
    rig.compose("up -d")?;
    rig.wait(&[1, 2, 3, 4])?;
    let variables = rig.each("{{.Config.Env}}")?;
    assert!(variables.iter().all(|told| told.contains("EDITION=second")), "{variables:?}");
    // Compose marks its own by the container that it replaced.
    assert!(variables.iter().filter(|told| told.contains("affinity")).count() <= 1, "{variables:?}");
    let scratch = rig.each("{{range .Mounts}}{{if eq .Destination \"/scratch\"}}{{.Name}}{{end}}{{end}}")?;
    assert_eq!(scratch.iter().collect::<BTreeSet<_>>().len(), 4, "each has its own: {scratch:?}");

    // Killed at work: what it began is finished once.
    rig.node.cut();
    rig.requests(60.0)?;
    wait_for("a fifth", || {
        ensure!(rig.running()?.len() > 4, "not yet");
        Ok(())
    })?;
    rig.node.node.kill();
    rig.node.node.start()?;
    rig.wait(&[1, 2, 3, 4, 5, 6])?;
    rig.node.wait_replicas("web", 6)?;

    // Stopped as a whole, one after the other: it stays so, and nothing is wrong with that.
    rig.compose("stop")?;
    assert_eq!(rig.running()?, BTreeSet::new());
    rig.node.wait_reason("web", "ScalingDisabled")?;
    assert_eq!(rig.running()?, BTreeSet::new(), "{}", rig.node.log());
    rig.compose("start")?;
    rig.wait(&[1, 2, 3, 4, 5, 6])?;
    rig.node.wait_reason("web", "ValidMetricFound")?;

    // One alone: the load wants it back. It gets the next number where the engine holds the name of the old one still.
    rig.engine.typed("rm --force shop_web_4")?;
    rig.wait_one_of(&[&[1, 2, 3, 4, 5, 6], &[1, 2, 3, 5, 6, 7]])?;
    assert_eq!(rig.compose("ps -q db")?, db, "the other service runs on");

    // Taken down: clones, their volumes and the network go with it, and nothing comes back.
    rig.compose("down --volumes")?;
    rig.node.wait_reason("web", "FailedGetScale")?;
    assert_eq!(rig.engine.typed("ps --all --quiet")?, "");
    assert!(!rig.engine.typed("network ls --format {{.Name}}")?.contains("shop"));

    rig.node.mend();
    wait_for("the centre's history", || {
        let told = rig.node.history("web", false)?;
        let steps: Vec<&str> = told.iter().filter_map(|row| row.split(' ').next()).collect();
        let grown = steps.iter().position(|step| *step == "4->6").with_context(|| format!("no 4->6: {told:?}"))?;
        let (before, after) = steps.split_at(grown + 1);
        ensure!(before.iter().filter(|step| **step == "1->4").count() == 2, "{told:?}");
        // Compose starts one after the other: a look in between may find some of them, and start the others.
        ensure!(matches!(after, ["5->6"] | [_, "5->6"]) && after.iter().all(|step| step.ends_with("->6")), "{told:?}");
        Ok(())
    })?;
    rig.node.node.stop()
}
