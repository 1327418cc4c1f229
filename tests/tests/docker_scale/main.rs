//! Replicas on a real Docker engine: what clones are like, who goes first, and what happens when the engine hangs, is down,
//! loses containers or images, or does half of what it was asked. Skipped, and said so, where no engine can be started.

mod calls;
mod rig;

use anyhow::{Context, ensure};
use rig::{OBEDIENT, Rig, names, service};
use serde_json::Value;
use skerry_agent::docker;
use skerry_model::UnixMillis;
use skerry_scaling::target::{Observed, Phase, TargetKind, TargetRef};
use skerry_tests::engine::Engine;
use skerry_tests::lab::wait_for;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

#[test]
fn clones_are_as_their_template_and_the_highest_number_goes_first() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(rig) = Rig::start(folder.path())? else { return Ok(()) };
    let bound = folder.path().join("bound");
    std::fs::create_dir(&bound)?;
    rig.engine.typed("network create --driver bridge front")?;
    rig.engine.typed("network create --driver bridge back")?;
    let template = rig.run(
        &format!(
            "--name shop --label skerry.io/service=web --label team=a --env A=b --network front --network-alias till \
             --volume data:/data --volume /new --mount type=bind,source={},target=/bound --memory 64m --cpus 0.5 \
             --restart on-failure:3 --stop-timeout 30 --health-cmd true --health-interval 500ms --publish 18080-18089:80",
            bound.display()
        ),
        OBEDIENT,
    )?;
    rig.engine.typed("network connect --alias depot back shop")?;
    let web = service("web");
    let alone = rig.observe(&web)?;
    assert_eq!((alone.spec_replicas, alone.status_replicas), (1, 1));

    rig.scale(&web, 3)?;
    // web-2 is somebody else's.
    assert_eq!(rig.names("")?, names(&["shop", "web-3", "web-4"]));
    let (old, new, other) = (rig.described("shop")?, rig.described("web-3")?, rig.described("web-4")?);
    for pointer in [
        "/Config/Env",
        "/Config/Cmd",
        "/Config/Entrypoint",
        "/Config/Image",
        "/Config/Healthcheck",
        "/Config/StopTimeout",
        "/Config/Volumes",
        "/Image",
        "/HostConfig/RestartPolicy",
        "/HostConfig/Memory",
        "/HostConfig/MemorySwap",
        "/HostConfig/NanoCpus",
        "/HostConfig/Binds",
        "/HostConfig/Mounts",
        "/HostConfig/PortBindings",
        "/HostConfig/NetworkMode",
        "/HostConfig/AutoRemove",
        "/HostConfig/LogConfig",
        "/HostConfig/CapDrop",
        "/HostConfig/ReadonlyPaths",
    ] {
        assert_eq!(new.pointer(pointer), old.pointer(pointer), "{pointer}");
    }
    assert_eq!(new["Config"]["Labels"]["team"], "a");
    assert_eq!(new["Config"]["Labels"]["skerry.io/service"], "web");
    assert_eq!(new["Config"]["Labels"]["skerry.io/replica"], "3");
    assert_eq!(new["Config"]["Labels"]["skerry.io/template"], template.as_str());
    assert_ne!(new["Config"]["Hostname"], old["Config"]["Hostname"]);
    for (network, alias) in [("front", "till"), ("back", "depot")] {
        let endpoint = &new["NetworkSettings"]["Networks"][network];
        let aliases: Vec<&str> =
            endpoint["Aliases"].as_array().context(network)?.iter().filter_map(Value::as_str).collect();
        assert!(aliases.contains(&alias) && aliases.contains(&"web-3") && !aliases.contains(&"shop"), "{aliases:?}");
        assert_ne!(endpoint["IPAddress"], old["NetworkSettings"]["Networks"][network]["IPAddress"]);
        assert_ne!(endpoint["IPAddress"], "");
    }
    let mount = |container: &Value, path: &str| {
        let mounts = container["Mounts"].as_array().cloned().unwrap_or_default();
        let mount = mounts.into_iter().find(|mount| mount["Destination"] == path).unwrap_or_default();
        mount["Source"].as_str().unwrap_or_default().to_owned()
    };
    for path in ["/data", "/bound"] {
        assert_eq!((mount(&new, path), mount(&other, path)), (mount(&old, path), mount(&old, path)), "{path}");
    }
    assert_eq!(
        [&old, &new, &other].map(|container| mount(container, "/new")).into_iter().collect::<BTreeSet<_>>().len(),
        3
    );
    let ports = [&old, &new, &other].map(|one| one["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"].clone());
    assert!(ports.iter().all(|port| port.as_str().is_some_and(|port| port.starts_with("1808"))), "{ports:?}");

    let seen = wait_for("health", || {
        let seen = rig.observe(&web)?;
        ensure!(seen.pods.iter().all(|pod| pod.ready.is_some_and(|ready| ready.is_ready)), "{seen:?}");
        Ok(seen)
    })?;
    assert_eq!((seen.spec_replicas, seen.status_replicas), (3, 3));
    let told: Vec<&str> = seen.pods.iter().map(|pod| pod.name.as_str()).collect();
    assert_eq!(told, ["shop", "web-3", "web-4"]);
    for pod in &seen.pods {
        let [container] = &pod.containers[..] else { panic!("{pod:?}") };
        assert_eq!((container.cpu_request_milli, container.memory_request), (Some(500), Some(64 << 20)));
        assert_eq!((container.name.as_str(), pod.phase, pod.is_deleting), ("web", Phase::Running, false));
        assert_eq!(pod.labels.value("name"), pod.name);
        let (ready, started) = (pod.ready.context("ready")?, pod.started_at.context("started")?);
        assert!(ready.since >= started && started > UnixMillis(0), "{pod:?}");
    }
    // The runtime remembers five checks; since when it was healthy must not slide with them.
    std::thread::sleep(Duration::from_secs(4));
    let later = rig.observe(&web)?;
    let since = |seen: &Observed| seen.pods.iter().map(|pod| pod.ready.map(|ready| ready.since)).collect::<Vec<_>>();
    assert_eq!(since(&later), since(&seen));
    rig.scale(&web, 3)?;
    assert_eq!(rig.fate("web-3")?, rig.fate(new["Id"].as_str().unwrap_or_default())?, "nothing was to be done");

    let before = rig.engine.typed("volume ls --quiet")?.lines().count();
    let since = rig.engine.docker(&["info", "--format", "{{.SystemTime}}"])?;
    rig.scale(&web, 1)?;
    assert_eq!(rig.names("--all")?, names(&["shop"]));
    assert_eq!(rig.engine.typed("volume ls --quiet")?.lines().count(), before - 2, "their own volumes went with them");
    let until = rig.engine.docker(&["info", "--format", "{{.SystemTime}}"])?;
    let events = [
        &["events", "--since", &since, "--until", &until][..],
        &["--filter", "event=kill", "--format", "{{.Actor.Attributes.name}} {{.Actor.Attributes.signal}}"],
    ]
    .concat();
    assert_eq!(rig.engine.docker(&events)?, "web-4 15\nweb-3 15", "in this order, and nobody was killed");
    // No replicas: the template stays, stopped.
    rig.scale(&web, 0)?;
    assert_eq!((rig.names("--all")?, rig.names("")?), (names(&["shop"]), names(&[])));
    let none = rig.observe(&web)?;
    assert_eq!((none.spec_replicas, none.status_replicas, none.pods.len()), (0, 0, 0));
    rig.scale(&web, 2)?;
    assert_eq!(rig.names("")?, names(&["shop", "web-3"]));
    assert!(rig.fate("shop")?.starts_with(&template), "the same container as before");
    rig.check_bystander()
}

#[test]
fn an_engine_that_hangs_or_is_down_or_loses_things_is_told_and_made_up_for() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(mut rig) = Rig::start(folder.path())? else { return Ok(()) };
    let web = service("web");
    let missing = rig.observe(&web).expect_err("nothing has the label");
    assert_eq!(missing.reason, "NotFound");
    assert!(missing.message.contains("skerry.io/service=web"), "{missing}");
    rig.image()?;
    rig.run("--name web --label skerry.io/service=web", OBEDIENT)?;
    rig.scale(&web, 3)?;
    let all = names(&["web", "web-3", "web-4"]);
    assert_eq!(rig.names("")?, all);

    // Frozen: the socket takes connections, and nothing comes.
    rig.engine.freeze()?;
    for outcome in [rig.observe(&web).map(drop), rig.scale(&web, 5)] {
        let error = outcome.expect_err("it hangs");
        assert_eq!(error.reason, "Timeout", "{error}");
    }
    rig.engine.thaw()?;
    assert_eq!(rig.observe(&web)?.spec_replicas, 3);
    assert_eq!(rig.names("--all")?, all);

    // Down: its containers run on, and it finds them again.
    let fates = || ["web", "web-3", "web-4"].map(|name| rig.fate(name).unwrap_or_default());
    let before = fates();
    rig.engine.down()?;
    for outcome in [rig.observe(&web).map(drop), rig.scale(&web, 1)] {
        let error = outcome.expect_err("it is down");
        assert_eq!(error.reason, "Unreachable", "{error}");
    }
    rig.engine.up()?;
    assert_eq!(rig.observe(&web)?.spec_replicas, 3);
    assert_eq!(["web", "web-3", "web-4"].map(|name| rig.fate(name).unwrap_or_default()), before);

    // Removed by hand: whoever did may be at more of them, and is left alone for a while.
    rig.engine.typed("rm --force web-3")?;
    let seen = rig.observe(&web)?;
    assert_eq!((seen.spec_replicas, seen.status_replicas), (3, 2));
    let left_alone = rig.scale(&web, 3).expect_err("not yet");
    assert!(left_alone.reason == "Conflict" && left_alone.message.contains("somebody else"), "{left_alone}");
    rig.engine.typed("stop web web-4")?;
    assert_eq!((rig.observe(&web)?.spec_replicas, rig.names("")?), (3, names(&[])));
    rig.leave_alone();
    assert_eq!((rig.observe(&web)?.spec_replicas, rig.names("")?), (0, names(&[])), "stopped as a whole");
    rig.engine.typed("start web web-4")?;
    assert_eq!(rig.observe(&web)?.spec_replicas, 2);
    rig.scale(&web, 3)?;
    assert_eq!(rig.names("")?, all, "under the number that is free");

    // The name of the image went to another one: clones are made from the template's own.
    let old = rig.described("web")?["Image"].clone();
    rig.image()?;
    rig.scale(&web, 4)?;
    assert_eq!(rig.described("web-5")?["Image"], old);
    // The image is gone for good: only where nothing that runs needs it.
    rig.scale(&web, 0)?;
    assert_eq!(rig.names("--all")?, names(&["web"]));
    rig.engine.docker(&["rmi", "--force", old.as_str().context("an image")?])?;
    let gone = rig.scale(&web, 2).expect_err("no image");
    assert!(gone.message.contains("lines:1"), "{gone}");
    // The template has its layers still.
    assert_eq!((gone.reason, rig.names("--all")?), ("Partial", names(&["web"])));
    assert_eq!(rig.scale(&web, 2).expect_err("no image").reason, "ImageMissing");
    assert_eq!(rig.observe(&web)?.spec_replicas, 1);
    rig.check_bystander()
}

#[test]
fn half_a_success_leaves_nothing_behind_and_faults_are_named() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(rig) = Rig::start(folder.path())? else { return Ok(()) };
    rig.engine.typed("network create --driver bridge front")?;
    // Two ports for three replicas.
    rig.run("--name web --label skerry.io/service=web --network front --publish 18180-18181:80", OBEDIENT)?;
    let web = service("web");
    for _ in 0..2 {
        let half = rig.scale(&web, 3).expect_err("no port is left");
        assert_eq!(rig.names("--all")?, names(&["web", "web-3"]), "{half}");
        assert!(half.message.contains("18180") || half.message.contains("port"), "{half}");
    }
    assert_eq!(rig.observe(&web)?.spec_replicas, 2);
    rig.scale(&web, 1)?;

    // One that somebody else's crash left behind, made and not started: it is started.
    rig.engine.docker(&[
        "create",
        "--name",
        "left",
        "--network=none",
        "--label",
        "skerry.io/service=left",
        "lines:1",
        "/bin/sh",
        "-c",
        OBEDIENT,
    ])?;
    let left = service("left");
    assert_eq!(rig.observe(&left)?.spec_replicas, 0);
    rig.scale(&left, 1)?;
    assert_eq!(rig.observe(&left)?.spec_replicas, 1);

    // A replica that ends by itself is started again, and then left alone for a while.
    rig.run("--name bad --label skerry.io/service=bad", "exit 3")?;
    let bad = service("bad");
    let ended = || {
        wait_for("its end", || {
            ensure!(!rig.names("")?.contains("bad"), "it runs");
            Ok(())
        })
    };
    ended()?;
    rig.scale(&bad, 1)?;
    ended()?;
    let started = rig.fate("bad")?;
    let pause = rig.scale(&bad, 1).expect_err("it ended twice");
    assert_eq!(pause.reason, "CrashLoopBackOff");
    assert!(pause.message.contains("code 3"), "{pause}");
    assert_eq!(rig.fate("bad")?, started);

    // One that does not hear: no call waits for it for long, and it goes in the end.
    rig.run(
        "--name deaf --label skerry.io/service=deaf --stop-timeout 40",
        "trap '' TERM; while true; do sleep 1; done",
    )?;
    let deaf = service("deaf");
    rig.scale(&deaf, 2)?;
    rig.scale(&deaf, 1)?;
    let seen = rig.observe(&deaf)?;
    assert_eq!((seen.spec_replicas, seen.pods.len()), (1, 2), "{seen:?}");
    assert!(seen.pods.iter().any(|pod| pod.is_deleting && pod.name == "deaf-2"), "{seen:?}");
    rig.scale(&deaf, 1)?;
    wait_for("the look that removes it", || {
        rig.observe(&deaf)?;
        ensure!(!rig.names("--all")?.contains("deaf-2"), "it is there");
        Ok(())
    })?;
    assert!(rig.names("")?.contains("deaf"));

    for (options, replicas, expected) in [
        ("--name fixed --label skerry.io/service=fixed --network front --publish 18190:80", 2, "18190:80/tcp"),
        ("--name once --label skerry.io/service=once --rm", 0, "--rm"),
        ("--name much --label skerry.io/service=much", 1000, "256"),
    ] {
        let id = rig.run(options, OBEDIENT)?;
        let name = options.split_whitespace().nth(1).context("a name")?;
        let refused = rig.scale(&service(name), replicas).expect_err(options);
        assert_eq!(refused.reason, "Invalid", "{refused}");
        assert!(refused.message.contains(expected) && refused.message.contains(name), "{refused}");
        assert!(rig.fate(name)?.starts_with(&format!("{id} running")), "{name} runs on");
    }
    rig.run("--name odd --label skerry.io/service=odd --label skerry.io/cpu-request=lots", OBEDIENT)?;
    let odd = rig.observe(&service("odd")).expect_err("no quantity");
    assert!(odd.reason == "Invalid" && odd.message.contains("lots"), "{odd}");
    // Two templates: which of them is meant, nobody knows.
    for name in ["twin-a", "twin-b"] {
        rig.run(&format!("--name {name} --label skerry.io/service=twin"), OBEDIENT)?;
    }
    let twins = rig.scale(&service("twin"), 1).expect_err("two templates");
    assert!(twins.reason == "Invalid" && twins.message.contains("twin-a, twin-b"), "{twins}");
    // With --rm a clone goes by itself, and what it asks for is what its labels say.
    rig.run("--name brief --label skerry.io/service=brief --rm --label skerry.io/cpu-request=250m --label skerry.io/memory-request=32Mi --memory 64m", OBEDIENT)?;
    let brief = service("brief");
    rig.scale(&brief, 2)?;
    let [first, _] = &rig.observe(&brief)?.pods[..] else { panic!("two replicas") };
    assert_eq!(
        (first.containers[0].cpu_request_milli, first.containers[0].memory_request),
        (Some(250), Some(32 << 20))
    );
    rig.scale(&brief, 1)?;
    wait_for("its end", || {
        ensure!(!rig.names("--all")?.contains("brief-2"), "it is there");
        Ok(())
    })?;
    rig.check_bystander()
}

/// A file in a container's folder that the engine cannot remove, until this is dropped.
struct Stuck(PathBuf);

impl Stuck {
    fn new(rig: &Rig, name: &str) -> anyhow::Result<Self> {
        let id = rig.engine.docker(&["inspect", "--format", "{{.Id}}", name])?;
        let data = rig.engine.socket().with_file_name("data");
        let mount = std::fs::read_to_string(data.join(format!("image/vfs/layerdb/mounts/{id}/mount-id")))?;
        let file = data.join("vfs/dir").join(mount.trim()).join("stuck");
        std::fs::write(&file, "")?;
        chattr("+i", &file)?;
        Ok(Self(file))
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        if let Err(error) = chattr("-i", &self.0) {
            eprintln!("{error:#}");
        }
    }
}

fn chattr(change: &str, file: &Path) -> anyhow::Result<()> {
    let done = Command::new("chattr").arg(change).arg(file).status().context("chattr")?;
    ensure!(done.success(), "chattr {change} {}", file.display());
    Ok(())
}

#[test]
fn what_a_kill_or_a_disk_left_behind_is_cleared_away() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(rig) = Rig::start(folder.path())? else { return Ok(()) };
    rig.engine.typed("network create --driver bridge front")?;
    rig.engine.typed("network create --driver bridge back")?;
    let template = rig.run("--name shop --label skerry.io/service=shop --network front --stop-timeout 1", OBEDIENT)?;
    rig.engine.typed("network connect back shop")?;
    // As a kill between two calls leaves it: made, in one of its networks, never started.
    let label =
        format!("--label skerry.io/service=shop --label skerry.io/replica=2 --label skerry.io/template={template}");
    rig.engine.typed(&format!("create --name shop-2 --network front {label} lines:1 /bin/sh -c true"))?;
    let shop = service("shop");
    rig.scale(&shop, 2)?;
    assert_eq!(rig.names("--all")?, names(&["shop", "shop-2"]));
    let made = rig.described("shop-2")?;
    let networks: Vec<&String> = made["NetworkSettings"]["Networks"].as_object().context("networks")?.keys().collect();
    assert_eq!(networks, ["back", "front"]);

    // One that cannot be removed is told of, keeps no other from coming, and goes as soon as it can.
    let Ok(stuck) = Stuck::new(&rig, "shop-2") else {
        eprintln!("SKIPPED: files cannot be made immutable here");
        return Ok(());
    };
    let failed = rig.scale(&shop, 1).expect_err("it cannot be removed");
    assert!(failed.reason == "Refused" && failed.message.contains("stuck"), "{failed}");
    assert_eq!(rig.observe(&shop)?.spec_replicas, 1);
    rig.scale(&shop, 2)?;
    assert_eq!(rig.names("")?, names(&["shop", "shop-3"]));
    assert_eq!(rig.names("--all")?, names(&["shop", "shop-2", "shop-3"]));
    drop(stuck);
    assert_eq!(rig.observe(&shop)?.spec_replicas, 2);
    assert_eq!(rig.names("--all")?, names(&["shop", "shop-3"]));
    rig.check_bystander()
}

#[test]
fn compose_services_grow_as_compose_makes_them() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(rig) = Rig::start(folder.path())? else { return Ok(()) };
    rig.engine.typed("network create --driver bridge shop_default")?;
    // As docker compose 2 labels them.
    let labels = |service: &str, number: u32| {
        format!(
            "--label com.docker.compose.project=shop --label com.docker.compose.service={service} \
             --label com.docker.compose.container-number={number} --label com.docker.compose.config-hash=0a1b \
             --label com.docker.compose.oneoff=False --label com.docker.compose.project.working_dir=/srv/shop \
             --label com.docker.compose.depends_on= --network shop_default --network-alias {service}"
        )
    };
    rig.run(&format!("--name shop-web-1 {}", labels("web", 1)), OBEDIENT)?;
    rig.run(&format!("--name shop-db-1 {}", labels("db", 1)), OBEDIENT)?;
    rig.run(&format!("--name shop-web-run-9 {}", labels("web", 2).replace("oneoff=False", "oneoff=True")), OBEDIENT)?;
    rig.run(&format!("--name keeper {}", labels("named", 1)), OBEDIENT)?;
    let target = |name: &str, scope: &str| TargetRef {
        kind: TargetKind::ComposeService,
        name: name.into(),
        scope: scope.into(),
    };
    let web = target("web", "shop");
    let others = || ["shop-db-1", "shop-web-run-9", "keeper"].map(|name| rig.fate(name).unwrap_or_default());
    let before = others();
    rig.scale(&web, 3)?;
    let list = "ps --filter label=com.docker.compose.project=shop --filter label=com.docker.compose.service=web --filter label=com.docker.compose.oneoff=False --format {{.Names}}";
    let found: BTreeSet<String> = rig.engine.typed(list)?.lines().map(str::to_owned).collect();
    assert_eq!(found, names(&["shop-web-1", "shop-web-2", "shop-web-3"]));
    let (old, new) = (rig.described("shop-web-1")?, rig.described("shop-web-3")?);
    for (label, value) in old["Config"]["Labels"].as_object().context("labels")? {
        let expected = if label.ends_with("container-number") { "3".into() } else { value.clone() };
        assert_eq!(new["Config"]["Labels"][label], expected, "{label}");
    }
    assert_eq!(
        new["Config"]["Labels"].as_object().map(|all| all.len()),
        old["Config"]["Labels"].as_object().map(|all| all.len())
    );
    let aliases = new["NetworkSettings"]["Networks"]["shop_default"]["Aliases"].to_string();
    assert!(
        aliases.contains("\"web\"") && aliases.contains("\"shop-web-3\"") && !aliases.contains("\"shop-web-1\""),
        "{aliases}"
    );
    assert_eq!(rig.observe(&web)?.spec_replicas, 3);
    rig.scale(&web, 0)?;
    assert!(rig.names("--all")?.contains("shop-web-1") && !rig.names("")?.contains("shop-web-1"));
    assert!(!rig.names("--all")?.contains("shop-web-2"));
    rig.scale(&web, 1)?;
    assert_eq!(others(), before);
    for (target, expected) in [
        (target("web", ""), "scaleTargetRef.project"),
        (target("named", "shop"), "container_name"),
        (target("web", "other"), "compose.project=other"),
    ] {
        let refused = rig.scale(&target, 2).expect_err(expected);
        assert!(refused.message.contains(expected), "{refused}");
    }
    rig.check_bystander()
}

#[test]
fn podman_has_replicas_too() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(engine) = Engine::podman(&folder.path().join("podman"))? else { return Ok(()) };
    let rig = Rig::with(engine, folder.path())?;
    rig.run(
        "--name shop --label skerry.io/service=web --label team=a --env A=b --volume data:/data --volume /new \
         --memory 64m --cpus 0.5 --restart on-failure:3",
        OBEDIENT,
    )?;
    let web = service("web");
    assert_eq!(rig.observe(&web)?.spec_replicas, 1);
    rig.scale(&web, 3)?;
    assert_eq!(rig.names("")?, names(&["shop", "web-3", "web-4"]));
    let (old, new) = (rig.described("shop")?, rig.described("web-3")?);
    for pointer in [
        "/Config/Cmd",
        "/Config/Image",
        "/Image",
        "/HostConfig/RestartPolicy",
        "/HostConfig/Memory",
        "/HostConfig/MemorySwap",
        "/HostConfig/NanoCpus",
        "/HostConfig/NetworkMode",
        "/HostConfig/Ulimits",
        "/HostConfig/PidMode",
        "/HostConfig/IpcMode",
    ] {
        assert_eq!(new.pointer(pointer), old.pointer(pointer), "{pointer}");
    }
    assert_eq!(new["Config"]["Labels"]["team"], "a");
    assert_eq!(new["Config"]["Labels"]["skerry.io/replica"], "3");
    let variables = |container: &Value| container["Config"]["Env"].to_string();
    assert!(variables(&new).contains("A=b") && variables(&new) != variables(&old), "its own host name");
    let mount = |container: &Value, path: &str| {
        let mounts = container["Mounts"].as_array().cloned().unwrap_or_default();
        mounts.into_iter().find(|mount| mount["Destination"] == path).unwrap_or_default()["Name"].clone()
    };
    assert_eq!(mount(&new, "/data"), mount(&old, "/data"));
    assert!(mount(&new, "/new") != mount(&old, "/new") && mount(&new, "/new").is_string());
    let seen = rig.observe(&web)?;
    assert_eq!(seen.pods.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(), ["shop", "web-3", "web-4"]);
    for pod in &seen.pods {
        let [container] = &pod.containers[..] else { panic!("{pod:?}") };
        assert_eq!((container.cpu_request_milli, container.memory_request), (Some(500), Some(64 << 20)));
        assert!(pod.ready.is_some_and(|ready| ready.is_ready), "{pod:?}");
    }
    rig.scale(&web, 1)?;
    assert_eq!(rig.names("--all")?, names(&["shop"]));
    rig.scale(&web, 0)?;
    assert_eq!((rig.names("--all")?, rig.observe(&web)?.spec_replicas), (names(&["shop"]), 0));
    rig.scale(&web, 2)?;
    assert_eq!(rig.names("")?, names(&["shop", "web-3"]));
    // Calls that Podman answers in its own way. Without a restart policy: killing one that is started again takes long.
    rig.run("--name plain --label a=b", OBEDIENT)?;
    let client = rig.client();
    rig.runtime.block_on(async {
        assert!(client.version().await?.is_podman);
        let words = |line: &str| vec!["/bin/sh".to_owned(), "-c".to_owned(), line.to_owned()];
        let second = Duration::from_secs(10);
        let ran = client.exec("web-3", &words("echo out; exit 7"), second).await?;
        assert_eq!((ran.code, ran.output.as_str()), (7, "out\n"));
        let absent = client.exec("web-3", &["/no/such".to_owned()], second).await?;
        assert_eq!(absent.code, 127);
        let resources =
            docker::Resources { cpu_milli: Some(250), memory: Some(48 << 20), ..docker::Resources::default() };
        client.update("web-3", &resources).await?;
        let limit = client
            .exec("web-3", &words("cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max"), second)
            .await?;
        assert!(limit.output.contains(&(48 << 20).to_string()), "{limit:?}");
        client.kill("plain", "KILL").await?;
        assert_eq!(client.wait("plain", 3 * second).await?, 137);
        assert_eq!(client.kill("plain", "KILL").await.map_err(|error| error.reason()), Err("Conflict"));
        client.remove("plain").await?;
        client.remove("plain").await?;
        assert_eq!(client.image("nope:1").await.map_err(|error| error.reason()), Err("NotFound"));
        let mut actions = Vec::new();
        client
            .events(Some(UnixMillis(0)), &[("a", "b")], &[], &mut |event| {
                let is_last = actions.len() > 20 || event.action == "remove" || event.action == "destroy";
                actions.push(event.action);
                !is_last
            })
            .await?;
        assert!(
            actions.iter().any(|action| action == "start") && actions.iter().any(|action| action == "die"),
            "{actions:?}"
        );
        anyhow::Ok(())
    })?;
    rig.check_bystander()
}
