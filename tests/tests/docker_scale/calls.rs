//! Each call of the client against the real engine.

use super::rig::Rig;
use anyhow::ensure;
use skerry_agent::docker;
use skerry_model::UnixMillis;
use skerry_tests::lab::wait_for;
use std::path::Path;
use std::time::Duration;

#[test]
fn every_call_does_what_it_says() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(rig) = Rig::start(folder.path())? else { return Ok(()) };
    calls(&rig, folder.path())
}

fn calls(rig: &Rig, folder: &Path) -> anyhow::Result<()> {
    let client = rig.client();
    let reason = |outcome: Result<(), docker::EngineError>| outcome.expect_err("a failure").reason();
    rig.runtime.block_on(async {
        let version = client.version().await?;
        assert!(!version.is_podman && version.spoken >= (1, 24) && version.spoken <= (1, 44), "{version:?}");
        let body = serde_json::json!({
            "Image": "lines:1", "Cmd": ["/bin/sh", "-c", "sleep 1000"], "Labels": {"a": "b c", "d": ""},
            "HostConfig": {"NetworkMode": "none", "Memory": 33_554_432, "MemorySwap": 67_108_864},
        });
        let id = client.create("made", &body).await?;
        assert_eq!(reason(client.create("made", &body).await.map(drop)), "Conflict");
        assert_eq!(client.inspect("made").await?.status(), docker::Status::Created);
        let mut events = Vec::new();
        client.start(&id).await?;
        client.start(&id).await?;
        for (labels, count) in [
            (&[("a", "b c")][..], 1),
            (&[("a", ""), ("d", "")], 1),
            (&[("a", "b")], 0),
            (&[("a", "b c"), ("x", "")], 0),
        ] {
            let found = client.list(labels).await?;
            assert_eq!(found.len(), count, "{labels:?}");
            assert!(found.iter().all(|one| one.id == id && one.name == "made" && one.label("a") == Some("b c")));
        }
        let made = client.inspect(&id).await?;
        assert!(
            made.pid().is_some() && made.started().is_some() && made.health().is_none() && made.address().is_none()
        );
        // Commands: their code, both their streams in one, and one that does not end.
        let words = |line: &str| vec!["/bin/sh".to_owned(), "-c".to_owned(), line.to_owned()];
        let second = Duration::from_secs(10);
        let ran = client.exec(&id, &words("echo out; echo err >&2; exit 7"), second).await?;
        assert_eq!((ran.code, ran.output.contains("out\n"), ran.output.contains("err\n")), (7, true, true), "{ran:?}");
        let much = client.exec(&id, &words("head -c 100000 /dev/zero | tr '\\0' x"), second).await?;
        assert_eq!((much.code, much.output.len()), (0, 4096));
        let late = client.exec(&id, &words("sleep 5"), Duration::from_millis(500)).await;
        assert_eq!(reason(late.map(drop)), "Timeout");
        // One that hangs is ended with what it began, and is no more than one at a time.
        for limit in [20, 100, 500, 1000] {
            let limit = Duration::from_millis(limit);
            let hangs = client.exec(&id, &words("sleep 4711 & sleep 4711; true"), limit).await;
            assert_eq!(reason(hangs.map(drop)), "Timeout");
        }
        wait_for("the end of commands that hang", || {
            let left = rig.engine.docker(&["top", &id])?;
            ensure!(!left.contains("4711") && left.contains("sleep 1000"), "{left}");
            Ok(())
        })?;
        let absent = client.exec(&id, &["/no/such".to_owned()], second).await;
        assert!(
            absent.as_ref().map_or_else(|error| error.reason() == "Refused", |ran| [126, 127].contains(&ran.code)),
            "{absent:?}"
        );
        // Limits while it runs.
        let resources =
            docker::Resources { cpu_milli: Some(250), memory: Some(48 << 20), ..docker::Resources::default() };
        client.update(&id, &resources).await?;
        let host = client.inspect(&id).await?.raw()["HostConfig"].clone();
        assert_eq!((&host["NanoCpus"], &host["Memory"]), (&250_000_000.into(), &(48 << 20).into()));
        client.rename(&id, "renamed").await?;
        assert_eq!(client.inspect("renamed").await?.id(), id);
        assert_eq!(reason(client.wait(&id, Duration::from_millis(300)).await.map(drop)), "Timeout");
        client.kill(&id, "KILL").await?;
        assert_eq!(client.wait(&id, second).await?, 137);
        client.stop(&id, second).await?;
        assert_eq!(reason(client.kill(&id, "TERM").await), "Conflict");
        assert_eq!(reason(client.exec(&id, &words("true"), second).await.map(drop)), "Conflict");
        client.remove(&id).await?;
        client.remove(&id).await?;
        assert_eq!(reason(client.inspect(&id).await.map(drop)), "NotFound");
        for odd in ["../images/json?x=", "..", "", "a/b", "\0\r\n"] {
            assert!(["NotFound", "Refused"].contains(&reason(client.start(odd).await)), "{odd}");
        }
        // What happened, from a moment in the past on.
        client
            .events(Some(UnixMillis(0)), &[("a", "b c")], &[], &mut |event| {
                let is_last = event.action == "destroy";
                events.push(event);
                !is_last
            })
            .await?;
        let actions: Vec<&str> =
            events.iter().map(|event| event.action.split(':').next().unwrap_or_default()).collect();
        for action in ["create", "start", "exec_create", "kill", "die", "destroy"] {
            assert!(actions.contains(&action), "{action} in {actions:?}");
        }
        assert!(events.iter().all(|event| event.id == id && event.at > UnixMillis(0)));
        // Images by name and id, from a file, and none.
        let image = client.image("lines:1").await?;
        assert_eq!(client.image(&image.id).await?, image);
        assert!(image.tags.contains(&"lines:1".to_owned()) && client.images().await?.contains(&image));
        let tar = folder.join("saved.tar");
        rig.engine.docker(&["save", "--output", &tar.display().to_string(), "lines:1"])?;
        rig.engine.typed("tag lines:1 kept:1")?;
        rig.engine.typed("rmi lines:1")?;
        assert_eq!(reason(client.image("lines:1").await.map(drop)), "NotFound");
        assert_eq!(client.load(&tar).await?, ["lines:1"]);
        assert_eq!(client.image("lines:1").await?.id, image.id);
        std::fs::write(&tar, "no archive")?;
        assert_eq!(reason(client.load(&tar).await.map(drop)), "Refused");
        assert_eq!(reason(client.load(&folder.join("absent")).await.map(drop)), "Refused");
        let pulled = client.pull("127.0.0.1:1/no/such:1", second).await;
        assert!(["NotFound", "Refused"].contains(&reason(pulled)));
        anyhow::Ok(())
    })?;
    rig.check_bystander()
}
