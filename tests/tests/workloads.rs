//! Workloads on a real Docker engine: they are made as declared, kept, replaced and undone, over restarts of the agent and of
//! the engine. Skipped, and said so, where no engine can be started.

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use skerry_tests::alone::Alone;
use skerry_tests::engine::Engine;
use skerry_tests::lab::{Binaries, Lab, free_port, value_of, wait_for, wait_rise};
use skerry_tests::web::web;
use std::path::{Path, PathBuf};

/// An engine, an agent beside it, and a file of documents that the agent reads.
struct Rig {
    engine: Engine,
    agent: Alone,
    folder: PathBuf,
}

impl Rig {
    fn start(folder: &Path, backoff_max: &str) -> anyhow::Result<Option<Self>> {
        let Some(engine) = Engine::start(&folder.join("docker"))? else { return Ok(None) };
        std::fs::create_dir_all(folder.join("images"))?;
        engine.image("web:1")?;
        let agent = Alone::new(folder, &sections(folder, &engine, backoff_max))?;
        Ok(Some(Self { engine, agent, folder: folder.to_owned() }))
    }

    /// Writes what is declared.
    fn declare(&self, documents: &[(&str, &str)]) -> anyhow::Result<()> {
        let text: Vec<String> = documents.iter().map(|(name, spec)| document(name, spec)).collect();
        let (file, new) = (self.folder.join("workloads.yaml"), self.folder.join("workloads.new"));
        std::fs::write(&new, text.join("---\n"))?;
        Ok(std::fs::rename(new, file)?)
    }

    /// Has the agent read its files again.
    fn reload(&self) -> anyhow::Result<()> {
        let pid = self.agent.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        kill_process(pid.context("the agent runs")?, Signal::HUP).context("signal the agent")
    }

    fn workload(&self, name: &str) -> anyhow::Result<Value> {
        let text = web().get(format!("{}/api/v1/workloads", self.agent.url())).call()?.body_mut().read_to_string()?;
        let answer: Value = serde_json::from_str(&text)?;
        let found = answer["data"].as_array().into_iter().flatten().find(|one| one["workload"] == name);
        found.cloned().with_context(|| format!("no {name} in {text}"))
    }

    /// Waits until a workload is as expected.
    fn wait(&self, name: &str, expected: &[(&str, Value)]) -> anyhow::Result<Value> {
        let is_so = || {
            let workload = self.workload(name)?;
            for (pointer, value) in expected {
                ensure!(workload.pointer(pointer) == Some(value), "{pointer} is not {value}: {workload:#}");
            }
            Ok(workload)
        };
        wait_for(name, is_so).with_context(|| self.agent.log())
    }

    /// Waits until the agent has looked at the runtime so many times more and done what follows.
    fn wait_looks(&self, count: u32) -> anyhow::Result<()> {
        self.agent.wait_rise(SEEN, count.into())
    }

    /// A part of what the engine says of a container.
    fn inspect(&self, name: &str, format: &str) -> anyhow::Result<String> {
        self.engine.docker(&["inspect", "--format", format, name])
    }

    /// What changes when a container is touched.
    fn marks(&self) -> anyhow::Result<Vec<String>> {
        let ids = self.engine.typed("ps --quiet --no-trunc")?;
        let mut marks: Vec<String> = ids
            .lines()
            .map(|id| self.inspect(id, "{{.Name}} {{.Id}} {{.State.StartedAt}}"))
            .collect::<Result<_, _>>()?;
        marks.sort();
        Ok(marks)
    }
}

fn sections(folder: &Path, engine: &Engine, backoff_max: &str) -> String {
    format!(
        "containers:\n  enabled: false\nworkloads:\n  socket: {}\n  images: {}\n  interval: 1s\n  backoff_max: {backoff_max}\nscaling:\n  files: ['{}/workloads.yaml']\n",
        engine.socket().display(),
        folder.join("images").display(),
        folder.display(),
    )
}

fn document(name: &str, spec: &str) -> String {
    let spec: String = spec.trim().lines().map(|line| format!("  {line}\n")).collect();
    format!("apiVersion: skerry.io/v1\nkind: Workload\nmetadata: {{name: {name}}}\nspec:\n{spec}")
}

const SEEN: &str = "skerry_workload_looks_total{outcome=\"seen\"} ";
const FAILED: &str = "skerry_workload_looks_total{outcome=\"failed\"} ";

const SLEEPS: &str = "
networks: [none]
terminationGracePeriodSeconds: 0
containers:
- {name: app, image: 'web:1', imagePullPolicy: Never, command: [/bin/sleep, '1000000']}
";

#[test]
fn what_is_declared_runs_and_is_left_alone() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(mut rig) = Rig::start(folder.path(), "5m")? else { return Ok(()) };
    // The image comes as a file alone, and is declared by its digest.
    let id = rig.inspect("web:1", "{{.Id}}")?;
    let tar = rig.folder.join("images/web.tar");
    rig.engine.docker(&["save", "--output", &tar.display().to_string(), "web:1"])?;
    rig.engine.typed("rmi web:1")?;
    rig.engine.image("other:1")?;
    rig.engine.typed("run --detach --network=none --name other-1 other:1 /bin/sleep 1000000")?;
    std::fs::write(rig.folder.join("images/damaged.tar"), "no image")?;
    let port = free_port()?;
    let script = format!("httpd -p 127.0.0.1:{port} -h /www; sleep 1; touch /www/ready; while true; do sleep 1; done");
    let spec = format!(
        "
hostNetwork: true
terminationGracePeriodSeconds: 0
labels: {{app: shop}}
volumes:
- {{name: www, emptyDir: {{}}}}
- {{name: srv, hostPath: {{path: {srv}, type: DirectoryOrCreate}}}}
containers:
- name: app
  image: web:1@{id}
  imagePullPolicy: Never
  command: [/bin/sh, -c]
  args: ['{script}']
  env: [{{name: WHO, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}, {{name: GREETING, value: 'I am $(WHO)'}}]
  resources: {{limits: {{memory: 64Mi}}, requests: {{cpu: 100m, memory: 16Mi}}}}
  volumeMounts: [{{name: www, mountPath: /www}}, {{name: srv, mountPath: /srv, readOnly: true}}]
  startupProbe: {{tcpSocket: {{port: {port}}}, periodSeconds: 1, failureThreshold: 60}}
  readinessProbe: {{httpGet: {{path: /ready, port: {port}}}, periodSeconds: 1}}
",
        srv = rig.folder.join("srv").display(),
    );
    // A digest that is in no file: nothing else is taken for it.
    let wrong = format!(
        "{{networks: [none], containers: [{{name: app, image: 'web:1@sha256:{}', imagePullPolicy: Never}}]}}",
        "0".repeat(64)
    );
    rig.declare(&[("shop", &spec), ("wrong", &wrong)])?;
    rig.agent.start()?;
    rig.wait("shop", &[("/ready", 1.into()), ("/condition", "Available".into())])?;
    for (format, expected) in [
        ("{{.Config.Image}}", "web:1"),
        ("{{.Image}}", id.as_str()),
        ("{{.HostConfig.Memory}} {{.HostConfig.MemoryReservation}}", "67108864 16777216"),
        ("{{.HostConfig.RestartPolicy.Name}}", "no"),
        ("{{index .Config.Labels \"app\"}}/{{index .Config.Labels \"skerry.io/replica\"}}", "shop/1"),
        ("{{index .Config.Env 1}}", "GREETING=I am shop-1"),
    ] {
        assert_eq!(rig.inspect("shop-1", format)?, expected, "{format}");
    }
    assert!(rig.folder.join("srv").is_dir());
    let waiting = [("/containers/0/reason", "ErrImageNeverPull".into()), ("/ready", 0.into())];
    let wrong = rig.wait("wrong", &waiting)?;
    assert!(wrong["containers"][0]["message"].as_str().is_some_and(|text| text.contains("damaged.tar")), "{wrong}");

    // Neither a reload nor an end of the agent, in order or not, touches what runs.
    let marks = rig.marks()?;
    assert_eq!(marks.len(), 2, "{marks:?}");
    rig.reload()?;
    rig.wait_looks(3)?;
    rig.agent.stop()?;
    rig.agent.start()?;
    rig.wait("shop", &[("/ready", 1.into())])?;
    rig.agent.kill();
    rig.agent.start()?;
    rig.wait("shop", &[("/ready", 1.into()), ("/condition", "Available".into())])?;
    rig.wait_looks(3)?;
    assert_eq!(rig.marks()?, marks);

    // Removed by hand it comes back, alone.
    rig.engine.typed("rm --force shop-1")?;
    wait_for("the container", || rig.inspect("shop-1", "{{.Id}}"))?;
    rig.wait("shop", &[("/ready", 1.into())])?;
    let now = rig.marks()?;
    assert_eq!(now[0], marks[0]);
    assert_ne!(now[1], marks[1]);

    // Declared no more it ends; what carries no label of ours stays.
    rig.declare(&[(
        "wrong",
        "{networks: [none], containers: [{name: app, image: 'other:1', command: [/bin/sleep, '9']}]}",
    )])?;
    rig.reload()?;
    wait_for("the end of the workload", || {
        ensure!(rig.inspect("shop-1", "{{.Id}}").is_err(), "it is still there");
        Ok(())
    })?;
    rig.wait("wrong", &[("/ready", 1.into())])?;
    assert_eq!(rig.marks()?.iter().filter(|mark| **mark == marks[0]).count(), 1);
    // A file with faults removes nothing.
    std::fs::write(rig.folder.join("workloads.yaml"), "apiVersion: [")?;
    rig.reload()?;
    rig.wait_looks(3)?;
    assert_eq!(rig.engine.typed("ps --all --quiet --filter label=skerry.io/workload=wrong")?.lines().count(), 1);
    Ok(())
}

/// Takes connections and says nothing, as a registry behind a broken link.
fn silent() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    Ok(port)
}

#[test]
fn what_cannot_be_had_keeps_nothing_else_waiting_or_busy() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(mut rig) = Rig::start(folder.path(), "5m")? else { return Ok(()) };
    // Somebody's container has a name that is needed, and a registry hangs for four workloads.
    rig.engine.typed("run --detach --network=none --name taken-1 web:1 /bin/sleep 1000000")?;
    let port = silent()?;
    let waits = |number: u32| {
        format!("{{networks: [none], containers: [{{name: app, image: '127.0.0.1:{port}/shop/a{number}:1'}}]}}")
    };
    let waiting: Vec<(String, String)> = (0..4).map(|number| (format!("a{number}"), waits(number))).collect();
    let mut documents: Vec<(&str, &str)> = waiting.iter().map(|(name, spec)| (name.as_str(), spec.as_str())).collect();
    let two = format!("replicas: 2\n{}", SLEEPS.trim());
    documents.extend([("taken", SLEEPS), ("web", SLEEPS), ("two", two.as_str())]);
    rig.declare(&documents)?;
    rig.engine.docker(&["save", "--output", &rig.folder.join("images/web.tar").display().to_string(), "web:1"])?;
    // Each wait ends after a minute, and the registry holds on for two at least.
    rig.agent.start()?;
    rig.wait("web", &[("/ready", 1.into())])?;
    rig.wait("two", &[("/ready", 2.into())])?;
    rig.wait("taken", &[("/ready", 0.into()), ("/containers/0/reason", "FailedCreate".into())])?;
    // A file in the folder does not wait for the registry either.
    rig.engine.typed("tag web:1 late:1")?;
    rig.engine.docker(&["save", "--output", &rig.folder.join("images/late.tar").display().to_string(), "late:1"])?;
    rig.engine.typed("rmi late:1")?;
    let late = SLEEPS.replace("web:1", "late:1");
    documents.push(("late", &late));
    rig.declare(&documents)?;
    rig.reload()?;
    rig.wait("late", &[("/ready", 1.into())])?;

    // By hand one container gets the name of another, which is gone: that is told of.
    rig.agent.kill();
    rig.engine.typed("rm --force two-1")?;
    rig.engine.typed("rename two-2 two-1")?;
    rig.agent.start()?;
    rig.wait("two", &[("/ready", 1.into()), ("/containers/0/reason", "FailedCreate".into())])?;
    // Under that name it is no container of this workload, and is left until somebody takes it away.
    rig.engine.typed("rm --force two-1")?;
    rig.wait("two", &[("/ready", 2.into())])?;
    assert_eq!(rig.inspect("taken-1", "{{.State.Status}} {{len .Config.Labels}}")?, "running 0");
    // One that is frozen by hand does not serve, and nobody thaws or restarts it.
    let marks = rig.marks()?;
    rig.engine.typed("pause two-1")?;
    rig.wait("two", &[("/ready", 1.into())])?;
    rig.engine.typed("unpause two-1")?;
    rig.wait("two", &[("/ready", 2.into())])?;
    assert_eq!(rig.marks()?, marks);
    Ok(())
}

/// Waits until the container of `bad` was started again so often.
fn restarted(rig: &Rig, times: u64) -> anyhow::Result<Value> {
    wait_for("restarts", || {
        let bad = rig.workload("bad")?;
        ensure!(bad["containers"][0]["restarts"].as_u64() >= Some(times), "{bad}");
        Ok(bad)
    })
    .with_context(|| rig.agent.log())
}

#[test]
fn the_sick_are_started_again_with_pauses() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(mut rig) = Rig::start(folder.path(), "10s")? else { return Ok(()) };
    let crashes = SLEEPS.replace("/bin/sleep, '1000000'", "/bin/sh, -c, 'exit 3'");
    let lives = SLEEPS.replace("command: [/bin/sleep, '1000000']", "command: [/bin/sh, -c, 'touch /alive; sleep 100000'], livenessProbe: {exec: {command: [/bin/test, -f, /alive]}, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 2}");
    rig.declare(&[("bad", &crashes), ("good", &lives)])?;
    rig.agent.start()?;
    // The first restart comes at once, the second one after 10 s: the longest pause here.
    restarted(&rig, 2)?;
    let told = restarted(&rig, 2)?;
    assert_eq!(told["containers"][0]["reason"], "CrashLoopBackOff", "{told}");
    assert_eq!(told["containers"][0]["exit_code"], 3);
    // The agent's end in between neither shortens the pause nor forgets what was.
    let time = |rig: &Rig, of: &str| -> anyhow::Result<jiff::Timestamp> { Ok(rig.inspect("bad-1", of)?.parse()?) };
    let (id, ended) = (rig.inspect("bad-1", "{{.Id}}")?, time(&rig, "{{.State.FinishedAt}}")?);
    rig.agent.kill();
    rig.agent.start()?;
    restarted(&rig, 3)?;
    let pause = time(&rig, "{{.State.StartedAt}}")?.duration_since(ended);
    assert!(pause.as_millis() >= 10_000, "{pause:?}");
    assert_eq!(rig.inspect("bad-1", "{{.Id}}")?, id);

    rig.wait("good", &[("/ready", 1.into())])?;
    let started = rig.inspect("good-1", "{{.State.StartedAt}}")?;
    rig.engine.docker(&["exec", "good-1", "/bin/busybox", "rm", "/alive"])?;
    wait_for("the restart", || {
        ensure!(rig.inspect("good-1", "{{.State.StartedAt}}")? != started, "it runs on");
        Ok(())
    })?;
    rig.wait("good", &[("/ready", 1.into()), ("/containers/0/restarts", 1.into())])?;
    let metrics = web().get(format!("{}/metrics", rig.agent.url())).call()?.body_mut().read_to_string()?;
    assert!(metrics.contains("kube_deployment_status_replicas_ready{deployment=\"good\"} "), "{metrics}");

    // A runtime that hangs, and one that goes away, change nothing of what runs.
    let marks = rig.inspect("good-1", "{{.Id}} {{.State.StartedAt}}")?;
    rig.engine.freeze()?;
    rig.agent.wait_rise(FAILED, 1.0)?;
    rig.engine.thaw()?;
    rig.engine.down()?;
    rig.agent.wait_rise(FAILED, 2.0)?;
    rig.engine.up()?;
    rig.wait("good", &[("/ready", 1.into())])?;
    rig.wait_looks(3)?;
    assert_eq!(rig.inspect("good-1", "{{.Id}} {{.State.StartedAt}}")?, marks);
    Ok(())
}

#[test]
fn versions_roll_and_a_bad_one_is_undone() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(mut rig) = Rig::start(folder.path(), "1s")? else { return Ok(()) };
    let spec = |version: &str, probe: &str| {
        format!(
            "
replicas: 2
minReadySeconds: 1
progressDeadlineSeconds: 30
terminationGracePeriodSeconds: 0
networks: [none]
strategy: {{rollingUpdate: {{maxSurge: 1, maxUnavailable: 0}}}}
containers:
- name: app
  image: web:1
  imagePullPolicy: Never
  command: [/bin/sleep, '1000000']
  env: [{{name: VERSION, value: '{version}'}}]
  readinessProbe: {{exec: {{command: [{probe}]}}, periodSeconds: 1, timeoutSeconds: 5}}
"
        )
    };
    let versions = |rig: &Rig| -> anyhow::Result<Vec<String>> {
        let ids = rig.engine.typed("ps --quiet")?;
        ids.lines().map(|id| rig.inspect(id, "{{index .Config.Env 0}}")).collect()
    };
    rig.declare(&[("web", &spec("1", "/bin/true"))])?;
    rig.agent.start()?;
    rig.wait("web", &[("/available", 2.into()), ("/condition", "Available".into())])?;
    rig.declare(&[("web", &spec("2", "/bin/true"))])?;
    rig.reload()?;
    wait_for("version 2", || {
        let running = versions(&rig)?;
        // A container that ended between two questions is an error here, and asked for again.
        assert!((2..=3).contains(&running.len()), "{running:?}");
        ensure!(running == ["VERSION=2"; 2], "{running:?}");
        Ok(())
    })
    .with_context(|| rig.agent.log())?;
    rig.wait("web", &[("/available", 2.into()), ("/condition", "Available".into())])?;
    let marks = rig.marks()?;
    rig.declare(&[("web", &spec("3", "/bin/false"))])?;
    rig.reload()?;
    wait_for("version 3", || {
        let running = versions(&rig)?;
        ensure!(running.iter().any(|version| version == "VERSION=3"), "{running:?}");
        Ok(())
    })?;
    // Killed in the middle, the agent goes on with it.
    rig.agent.kill();
    rig.agent.start()?;
    rig.wait("web", &[("/condition", "RolledBack".into()), ("/available", 2.into())])?;
    wait_for("the end of version 3", || {
        ensure!(rig.marks()? == marks, "{:?} is not {marks:?}", rig.marks()?);
        Ok(())
    })?;
    rig.reload()?;
    rig.wait_looks(4)?;
    assert_eq!(rig.marks()?, marks);
    Ok(())
}

#[test]
fn a_cold_boot_without_a_link_starts_what_was_signed() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(mut engine) = Engine::start(&folder.path().join("docker"))? else { return Ok(()) };
    engine.image("web:1")?;
    let mut lab = Lab::init(Binaries::build()?, folder.path())?;
    lab.start_server()?;
    let sections =
        format!("containers:\n  enabled: false\nworkloads:\n  socket: {}\n  interval: 1s\n", engine.socket().display());
    let mut node = lab.agent("pi-4", &sections)?;
    lab.join(&mut node, "edge")?;
    let file = folder.path().join("edge.yaml");
    // A section replaces the node's own whole, and documents stand in it.
    let config = format!(
        "apiVersion: skerry.io/v1\nkind: NodeConfig\nmetadata: {{name: group/edge}}\nspec:\n  workloads: {{socket: {}, interval: 1s}}\n",
        engine.socket().display()
    );
    std::fs::write(&file, format!("{config}---\n{}", document("web", &format!("replicas: 2\n{}", SLEEPS.trim()))))?;
    lab.cli(&["apply", "-f", &file.display().to_string()])?;
    let running = |engine: &Engine| -> anyhow::Result<usize> { Ok(engine.typed("ps --quiet")?.lines().count()) };
    // The agent's own word: what it says it has stored.
    wait_for("the workload", || {
        let told = node.text("/api/v1/workloads")?;
        let list: Value = serde_json::from_str(&told)?;
        ensure!(list["data"][0]["ready"] == 2, "not yet: {told}: {}", std::fs::read_to_string(node.log())?);
        Ok(())
    })?;
    ensure!(running(&engine)? == 2, "two are ready");
    // Power is lost; machine, engine and agent come back, the link does not.
    lab.kill_server();
    node.kill();
    let all = engine.typed("ps --all --quiet --no-trunc")?;
    engine.docker(&[&["kill"], &all.lines().collect::<Vec<_>>()[..]].concat())?;
    engine.down()?;
    node.start()?;
    let read = |series: &str| value_of(&node.text("/metrics")?, series);
    wait_rise(FAILED, 1.0, || read(FAILED))?;
    engine.up()?;
    wait_for("the workload after a cold boot", || {
        ensure!(running(&engine)? == 2, "not yet: {}", std::fs::read_to_string(node.log())?);
        Ok(())
    })?;
    assert_eq!(engine.typed("ps --all --quiet --no-trunc")?, all);
    // The link returns: nothing is started anew, and the centre has the whole story once.
    let format = "{{.Id}} {{.State.StartedAt}}";
    let marks = || engine.docker(&[&["inspect", "--format", format], &all.lines().collect::<Vec<_>>()[..]].concat());
    let before = marks()?;
    lab.start_server()?;
    let told = |reason: &str| -> anyhow::Result<Vec<String>> {
        let list = lab.api("/nodes/pi-4/events?limit=1000")?;
        let events = list["events"].as_array().context("events")?;
        Ok(events.iter().map(Value::to_string).filter(|event| event.contains(reason)).collect())
    };
    let ended = || -> anyhow::Result<Vec<String>> {
        let all: Vec<String> =
            ["Error", "Restarting", "BackOff"].iter().map(|r| told(r)).collect::<Result<Vec<_>, _>>()?.concat();
        Ok(all.into_iter().filter(|event| event.contains("code 137")).collect())
    };
    wait_for("the events", || {
        let found = ended()?;
        ensure!(found.len() >= 2, "{found:?}");
        Ok(())
    })?;
    wait_rise(SEEN, 3.0, || read(SEEN))?;
    wait_for("all events at the centre", || {
        let waiting = read("skerry_backlog{stream=\"events\"} ")?;
        ensure!(waiting <= 0.0, "{waiting} wait");
        Ok(())
    })?;
    assert_eq!(ended()?.len(), 2, "{:?}", ended()?);
    assert_eq!(told("Created")?.len(), 2, "{:?}", told("Created")?);
    assert_eq!(marks()?, before);
    node.stop()?;
    lab.stop_server()
}
