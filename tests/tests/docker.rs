//! A real Docker engine of its own: its containers' metrics and log lines have to reach the centre with their names.
//! Skipped, and said so, where no engine can be started.

use anyhow::{Context, ensure};
use skerry_tests::alone::{Alone, assert_each_once};
use skerry_tests::engine::Engine;
use skerry_tests::lab::{Binaries, Lab, wait_for};

#[test]
fn containers_of_a_real_engine_reach_the_centre() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(engine) = Engine::start(&folder.path().join("docker"))? else { return Ok(()) };
    engine.image("lines:1")?;
    let script = "for n in $(seq 1 200); do echo \"from container $n\"; done; while true; do sleep 1; done";
    let run = [
        "run",
        "--detach",
        "--network=none",
        "--name",
        "web-1",
        "--label",
        "site=here",
        "--memory",
        "64m",
        "lines:1",
        "/bin/sh",
        "-c",
        script,
    ];
    let id = engine.docker(&run)?;
    // One that ends with a code, and one that takes more memory than it has.
    let ended = ["--detach", "--network=none", "--name", "ended-1", "lines:1", "/bin/sh", "-c", "exit 3"];
    engine.docker(&[&["run"], &ended[..]].concat())?;
    let grows = "a=xxxxxxxxxxxxxxxx; while true; do a=$a$a; done";
    let greedy =
        ["--detach", "--network=none", "--name", "greedy-1", "--memory", "16m", "lines:1", "/bin/sh", "-c", grows];
    engine.docker(&[&["run"], &greedy[..]].concat())?;

    let mut lab = Lab::init(Binaries::build()?, folder.path())?;
    lab.start_server()?;
    let sections = format!(
        "containers:\n  sockets: ['{}']\n  interval: 1s\ncollect:\n  interval: 1s\nstore:\n  log_interval: 1s\n",
        engine.socket().display()
    );
    let mut node = lab.agent("pi-4", &sections)?;
    lab.join(&mut node, "edge")?;

    let lines = wait_for("the container's lines", || {
        let list = lab.api("/nodes/pi-4/logs?limit=1000&label.container=web-1")?;
        let records = list["records"].as_array().context("records")?.clone();
        ensure!(records.len() >= 200, "{} of 200 lines", records.len());
        Ok(records)
    })?;
    let text: Vec<&str> = lines.iter().filter_map(|record| record["line"].as_str()).collect();
    let expected: Vec<String> = (1..=200).map(|n| format!("from container {n}")).collect();
    assert_eq!(text, expected);
    assert_eq!(lines[0]["labels"]["image"], "lines:1");

    let series = wait_for("the container's metrics", || {
        let answer = lab.api("/query?query=container_memory_usage_bytes%7Bname%3D%22web-1%22%7D")?;
        let series = answer["data"]["result"][0].clone();
        ensure!(series.is_object(), "{answer}");
        Ok(series)
    })?;
    assert!(series["metric"]["id"].as_str().is_some_and(|path| path.contains(&id)), "{series}");
    assert_eq!(series["metric"]["container_label_site"], "here");
    let limit = lab.api("/query?query=container_spec_memory_limit_bytes%7Bname%3D%22web-1%22%7D")?;
    assert_eq!(limit["data"]["result"][0]["value"][1], "67108864", "{limit}");
    for (expression, expected) in [
        ("container_state{name=\"web-1\",state=\"running\"}", "1"),
        ("container_state{name=\"ended-1\",state=\"running\"}", "0"),
        ("container_exit_code{name=\"ended-1\"}", "3"),
        ("container_oom_killed{name=\"greedy-1\"}", "1"),
        ("container_restarts_total{name=\"web-1\"}", "0"),
        ("container_info{name=\"web-1\",image=\"lines:1\",container_label_site=\"here\"}", "1"),
        ("container_processes{name=\"web-1\"} >= bool 1", "1"),
        ("container_memory_failures_total{name=\"web-1\",failure_type=\"pgfault\",scope=\"container\"} > bool 0", "1"),
        ("time() - container_start_time_seconds{name=\"web-1\"} < bool 600", "1"),
    ] {
        wait_for(expression, || {
            let query: String = url_encoded(expression);
            let answer = lab.api(&format!("/query?query={query}"))?;
            ensure!(answer["data"]["result"][0]["value"][1] == expected, "{expression}: {answer}");
            Ok(())
        })?;
    }
    // A container that is gone ends with its series.
    engine.docker(&["rm", "--force", "web-1"])?;
    wait_for("the end of the container's series", || {
        let answer = lab.api(&format!("/query?query={}", url_encoded("count({name=\"web-1\"})")))?;
        ensure!(answer["data"]["result"].as_array().is_some_and(Vec::is_empty), "{answer}");
        Ok(())
    })?;
    node.stop()?;
    lab.stop_server()
}

fn url_encoded(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

#[test]
fn lines_of_both_log_drivers_are_stored_once_through_crashes() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(engine) = Engine::start(&folder.path().join("docker"))? else { return Ok(()) };
    engine.image("lines:1")?;
    let forward = folder.path().join("forward");
    let mut agent = Alone::new(
        folder.path(),
        &format!(
            "containers:\n  sockets: ['{}']\n  interval: 1s\nlogs:\n  rescan: 1s\n  forward:\n    - {{name: docker, listen: 'unix://{}'}}\n",
            engine.socket().display(),
            forward.display()
        ),
    )?;
    agent.start()?;
    wait_for("the socket", || {
        ensure!(forward.exists(), "no socket: {}", agent.log());
        Ok(())
    })?;
    // One line in the middle is so long that both drivers cut it into parts of 16 KiB.
    let script = |count: u32| {
        format!(
            "for n in $(seq 1 {count}); do echo \"line $n\"; if [ $n = 30 ]; then head -c 40000 /dev/zero | tr '\\0' x; echo; fi; sleep 0.01; done; while true; do sleep 1; done"
        )
    };
    let counts = [("by-file", 900), ("by-forward", 400)];
    let (by_file, by_forward) = (script(counts[0].1), script(counts[1].1));
    let run = ["run", "--detach", "--network=none", "--name"];
    engine
        .docker(&[&run[..], &["by-file", "--log-driver=json-file", "lines:1", "/bin/sh", "-c", &by_file]].concat())?;
    let address = format!("fluentd-address=unix://{}", forward.display());
    let driver = ["by-forward", "--log-driver=fluentd", "--log-opt", &address, "--log-opt", "fluentd-request-ack=true"];
    let options = ["--log-opt", "fluentd-retry-wait=100ms", "lines:1", "/bin/sh", "-c", &by_forward];
    engine.docker(&[&run[..], &driver[..], &options[..]].concat())?;
    for n in 0..4 {
        std::thread::sleep(std::time::Duration::from_millis(1800 + 130 * n));
        agent.kill();
        agent.start()?;
    }
    let mut last = (-1.0, -1.0);
    wait_long("the last lines", 60, || {
        std::thread::sleep(std::time::Duration::from_secs(4));
        let now = (
            agent.metric("skerry_log_input_records_total{kind=\"forward\",source=\"docker\"}")?,
            agent.metric("skerry_logs_lines_total")?,
        );
        let stands = now == last;
        last = now;
        ensure!(stands, "{now:?} records since the last start");
        Ok(())
    })?;
    let (records, ledger) = agent.stop()?;
    let of = |name: &str| {
        let of: Vec<&skerry_model::LogRecord> =
            records.iter().filter(|record| record.labels.value("container") == name).collect();
        let number = |record: &&skerry_model::LogRecord| {
            std::str::from_utf8(&record.line).ok()?.strip_prefix("line ")?.parse().ok()
        };
        (
            of.iter().filter_map(number).collect::<Vec<u64>>(),
            of.iter().filter(|r| r.line.starts_with(b"x")).map(|r| r.line.len()).sum::<usize>(),
        )
    };
    for (name, count) in counts {
        let (numbers, long) = of(name);
        assert_each_once(numbers, count.into());
        assert_eq!(long, 40_000, "{name}");
    }
    assert!(!ledger.iter().any(|loss| loss.source == "docker"), "{ledger:?}");
    Ok(())
}

/// As [`wait_for`], with so many attempts and no pause of its own.
fn wait_long(what: &str, attempts: u32, mut condition: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    for _ in 1..attempts {
        if condition().is_ok() {
            return Ok(());
        }
    }
    condition().with_context(|| format!("gave up waiting for {what}"))
}
