//! The whole fleet as users run it: real processes, real sockets, real files. What goes in at a node has to come out
//! at the centre, exactly once, whatever happens between.

use anyhow::{Context, ensure};
use rusqlite::params;
use skerry_seal::{AgentVersion, ConfigDoc, Revision, SigningKey};
use skerry_tests::lab::{Binaries, Lab, Node, wait_for};
use skerry_tests::proxy::Proxy;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Settings that let a test see in seconds what takes minutes in the field.
const QUICK: &str = "  collect:\n    interval: 1s\n  store:\n    log_interval: 1s\n    write_budget: 0B\n  sync:\n    \
                     reconnect_min: 100ms\n    reconnect_max: 1s\n    ack_timeout: 3s\n";

/// A fleet that runs, with one node that has joined it and reads `app.log*` in its folder.
struct Rig {
    lab: Lab,
    node: Node,
    _folder: tempfile::TempDir,
}

impl Rig {
    fn start() -> anyhow::Result<Self> {
        Self::start_with(|_| Ok(()))
    }

    /// `prepare` may change the server's file before it starts.
    fn start_with(prepare: impl FnOnce(&Lab) -> anyhow::Result<()>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut lab = Lab::init(Binaries::build()?, folder.path())?;
        prepare(&lab)?;
        lab.start_server()?;
        let mut node = lab.agent("pi-4", "")?;
        lab.join(&mut node, "edge")?;
        lab.apply("group/edge", &Self::spec(&node))?;
        lab.wait_config("pi-4", "group/edge", 1)?;
        Ok(Self { lab, node, _folder: folder })
    }

    fn spec(node: &Node) -> String {
        let path = node.folder.join("app.log");
        format!(
            "{QUICK}  logs:\n    poll: 20ms\n    rescan: 100ms\n    files:\n      - name: app\n        paths: ['{}']\n",
            path.display()
        )
    }

    fn log(&self) -> PathBuf {
        self.node.folder.join("app.log")
    }

    /// Every line of the node's app.log at the centre, oldest first.
    fn lines(&self) -> anyhow::Result<Vec<String>> {
        let list = self.lab.api("/nodes/pi-4/logs?limit=10000&label.source=app")?;
        ensure!(list["more"] == false, "more lines than one answer holds");
        let records = list["records"].as_array().context("records")?;
        Ok(records.iter().filter_map(|record| record["line"].as_str().map(str::to_owned)).collect())
    }

    /// Waits until the centre has `count` lines, and returns them.
    fn wait_lines(&self, count: usize) -> anyhow::Result<Vec<String>> {
        wait_for("the lines", || {
            let lines = self.lines()?;
            ensure!(lines.len() >= count, "{} of {count} lines are at the centre", lines.len());
            Ok(lines)
        })
    }

    /// Waits for an event of that kind whose text contains `text`.
    fn wait_event(&self, kind: &str, text: &str) -> anyhow::Result<()> {
        wait_for("an event", || {
            let list = self.lab.api("/nodes/pi-4/events?limit=1000")?;
            let events = list["events"].as_array().context("events")?;
            let found = events
                .iter()
                .any(|event| event["kind"] == kind && event["text"].as_str().is_some_and(|told| told.contains(text)));
            ensure!(found, "no event {kind} with {text:?} in {events:?}");
            Ok(())
        })
    }
}

/// Appends numbered lines `from..=to`.
fn write_lines(path: &Path, from: usize, to: usize) -> anyhow::Result<()> {
    let mut file = File::options().append(true).create(true).open(path)?;
    for n in from..=to {
        writeln!(file, "line number {n}")?;
    }
    Ok(())
}

/// Each number once, in order.
fn assert_numbered(lines: &[String], count: usize) {
    let expected: Vec<String> = (1..=count).map(|n| format!("line number {n}")).collect();
    if lines == expected {
        return;
    }
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for line in lines {
        *seen.entry(line).or_default() += 1;
    }
    let missing: Vec<_> = expected.iter().filter(|line| !seen.contains_key(line.as_str())).take(20).collect();
    let twice: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).take(20).collect();
    panic!("{} lines of {count}; missing {missing:?}; more than once {twice:?}", lines.len());
}

#[test]
fn data_of_every_kind_reads_back_equal() -> anyhow::Result<()> {
    let mut rig = Rig::start()?;
    let mut file = File::create(rig.log())?;
    let written = ["plain", "", "  spaces kept  ", "ünïcode ✓", "tab\tinside", "{\"json\": [1, 2]}", "last"];
    for line in written {
        writeln!(file, "{line}")?;
    }
    file.write_all(b"no UTF-8: \xff\xfe\n")?;
    // Longer than a record may be: the rest of it is cut, and that is counted.
    let long = "x".repeat(300 * 1024);
    writeln!(file, "{long}")?;
    file.sync_all()?;
    let lines = wait_for("the lines", || {
        let lines = rig.lines()?;
        ensure!(lines.iter().any(|line| line.starts_with("xxx")), "{} lines", lines.len());
        Ok(lines)
    })?;
    let short: Vec<&str> = lines.iter().map(String::as_str).filter(|line| line.len() < 1000).collect();
    // An empty line carries nothing and is no record.
    let expected: Vec<&str> =
        written.into_iter().filter(|line| !line.is_empty()).chain(["no UTF-8: \u{fffd}\u{fffd}"]).collect();
    let without_empty: Vec<&str> = short.into_iter().filter(|line| !line.is_empty()).collect();
    assert_eq!(without_empty, expected);
    wait_for("the loss", || {
        let losses = rig.lab.api("/nodes/pi-4/losses")?;
        let losses = losses["losses"].as_array().context("losses")?;
        ensure!(losses.iter().any(|loss| loss["reason"] == "oversize"), "{losses:?}");
        Ok(())
    })?;

    // Values that do not change between the node's own answer and the centre's.
    let local = rig.node.text("/metrics")?;
    for metric in ["node_memory_MemTotal_bytes", "node_boot_time_seconds", "node_uname_info"] {
        let line = local.lines().find(|line| line.starts_with(metric)).with_context(|| metric.to_owned())?;
        let value: f64 = line.rsplit(' ').next().context("a value")?.parse()?;
        let answer = rig.lab.api(&format!("/query?query={metric}"))?;
        let series = &answer["data"]["result"][0];
        assert_eq!(series["metric"]["node"], "pi-4", "{answer}");
        let central: f64 = series["value"][1].as_str().context("a value")?.parse()?;
        assert!((central - value).abs() < f64::EPSILON, "{metric}: {value} on the node, {central} at the centre");
    }
    // As many series at the centre as the node shows. Some come and go with the states of processes.
    wait_for("as many series at the centre", || {
        let names = rig.node.text("/metrics")?.lines().filter(|line| line.starts_with("node_")).count();
        let answer = rig.lab.api("/query?query=%7B__name__%3D~%22node_.%2B%22%7D")?;
        let central = answer["data"]["result"].as_array().context("series")?.len();
        ensure!(central >= names, "{names} series on the node, {central} at the centre");
        Ok(())
    })?;

    // The same PromQL at both ends: the node answers from its own store.
    for expr in ["count({__name__=~\"node_.*\"})", "sum by (mode) (node_cpu_seconds_total) > bool 0", "node_load1 * 0"]
    {
        let encoded: String = expr.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let values = |answer: &serde_json::Value| -> Vec<serde_json::Value> {
            let result = answer["data"]["result"].as_array().cloned().unwrap_or_default();
            result.iter().map(|series| series["value"][1].clone()).collect()
        };
        wait_for("the same answer at both ends", || {
            let local: serde_json::Value =
                serde_json::from_str(&rig.node.text(&format!("/api/v1/query?query={encoded}"))?)?;
            let central = rig.lab.api(&format!("/query?query={encoded}"))?;
            ensure!(!values(&local).is_empty(), "{expr}: {local}");
            ensure!(values(&local) == values(&central), "{expr}: {local} on the node, {central} at the centre");
            Ok(())
        })?;
    }

    rig.wait_event("config_applied", "group/edge 1.1")?;
    rig.node.stop()?;
    rig.node.start()?;
    rig.wait_event("stopped", "in order")?;
    rig.lab.stop_server()
}

#[test]
fn what_was_taken_while_the_link_was_down_arrives_once() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let proxy = runtime.block_on(Proxy::start(nowhere));
    let address = proxy.address();
    let mut rig = Rig::start_with(|lab| {
        proxy.open(SocketAddr::from(([127, 0, 0, 1], lab.mqtt)));
        lab.edit_config(&format!("public: 127.0.0.1:{}", lab.mqtt), &format!("public: {address}"))
    })?;
    write_lines(&rig.log(), 1, 100)?;
    rig.wait_lines(100)?;

    // The link is cut and stays cut: the node goes on, and keeps what it takes.
    proxy.close();
    wait_for("the centre to notice", || {
        ensure!(rig.lab.node("pi-4")?["reach"] == "gone", "still connected");
        Ok(())
    })?;
    write_lines(&rig.log(), 101, 300)?;
    wait_for("the node to keep the lines", || {
        let status = rig.node.status()?;
        ensure!(status["backlog"]["logs"].as_u64() >= Some(1), "{status}");
        ensure!(status["ready"]["ready"] == true, "{status}");
        Ok(())
    })?;
    assert_eq!(rig.lines()?.len(), 100);
    proxy.open(SocketAddr::from(([127, 0, 0, 1], rig.lab.mqtt)));
    assert_numbered(&rig.wait_lines(300)?, 300);

    // The server is stopped, and comes back.
    rig.lab.stop_server()?;
    write_lines(&rig.log(), 301, 500)?;
    wait_for("the node to keep the lines", || {
        let status = rig.node.status()?;
        ensure!(status["backlog"]["logs"].as_u64() >= Some(1), "{status}");
        Ok(())
    })?;
    rig.lab.start_server()?;
    assert_numbered(&rig.wait_lines(500)?, 500);

    // Many short cuts while lines are written.
    for round in 0..10 {
        write_lines(&rig.log(), 501 + round * 20, 520 + round * 20)?;
        proxy.cut();
    }
    assert_numbered(&rig.wait_lines(700)?, 700);
    wait_for("an empty backlog", || {
        let status = rig.node.status()?;
        let waiting: u64 = status["backlog"].as_object().context("backlog")?.values().filter_map(|n| n.as_u64()).sum();
        ensure!(waiting <= 2, "{waiting} wait");
        Ok(())
    })?;
    let losses = rig.lab.api("/nodes/pi-4/losses")?;
    assert_eq!(losses["losses"], serde_json::json!([]), "nothing was lost");
    Ok(())
}

#[test]
fn twenty_kills_of_agent_and_server_lose_and_double_no_line() -> anyhow::Result<()> {
    const LINES: usize = 6000;
    const KILLS: u64 = 20;
    let mut rig = Rig::start()?;
    let seed: u64 = std::env::var("SKERRY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut random = seed;
    let mut next = move |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let path = rig.log();
    let (kill_in, kills) = std::sync::mpsc::sync_channel::<()>(1);
    let writer = std::thread::spawn(move || -> anyhow::Result<()> {
        let mut file = File::options().append(true).create(true).open(&path)?;
        let per_kill = LINES / usize::try_from(KILLS)?;
        for n in 1..=LINES {
            writeln!(file, "line number {n}")?;
            if n % 500 == 0 {
                // Rotation by rename, as logrotate does it, one generation after the other.
                for generation in (1..LINES / 500).rev() {
                    let from = path.with_extension(format!("log.{generation}"));
                    if from.exists() {
                        std::fs::rename(from, path.with_extension(format!("log.{}", generation + 1)))?;
                    }
                }
                std::fs::rename(&path, path.with_extension("log.1"))?;
                file = File::options().append(true).create(true).open(&path)?;
            }
            // Each kill falls somewhere between two lines, while others are still being read, stored or sent.
            if n % per_kill == per_kill / 2 {
                kill_in.send(())?;
            }
            if n % 10 == 0 {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    });
    let (mut agent_kills, mut server_kills) = (0, 0);
    while kills.recv().is_ok() {
        std::thread::sleep(Duration::from_millis(next(400)));
        // The agent, the server, or both at once.
        let which = next(3);
        if which != 1 {
            rig.node.kill();
            agent_kills += 1;
        }
        if which != 0 {
            rig.lab.kill_server();
            server_kills += 1;
        }
        std::thread::sleep(Duration::from_millis(next(200)));
        if which != 1 {
            rig.node.start()?;
        }
        if which != 0 {
            rig.lab.start_server()?;
        }
    }
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    assert!(agent_kills + server_kills >= KILLS, "{agent_kills} and {server_kills}");
    assert!(agent_kills > 4 && server_kills > 4, "{agent_kills} and {server_kills}: another SKERRY_SEED");
    let lines = rig.wait_lines(LINES).with_context(|| format!("seed {seed}"))?;
    assert_numbered(&lines, LINES);
    let losses = rig.lab.api("/nodes/pi-4/losses")?;
    let of_logs = losses["losses"].as_array().context("losses")?.iter().filter(|loss| loss["stream"] == "logs").count();
    assert_eq!(of_logs, 0, "no line was lost, so none may stand in the ledger: {losses}");
    Ok(())
}

/// What a server in an enemy's hands could send: documents put past its own checks, straight into its database.
fn plant(lab: &Lab, doc: &ConfigDoc, key: &SigningKey, as_stream: &str, as_version: i64) -> anyhow::Result<()> {
    let envelope = doc.seal(&[key])?;
    plant_envelope(lab, &envelope, as_stream, as_version)
}

fn plant_envelope(lab: &Lab, envelope: &[u8], as_stream: &str, as_version: i64) -> anyhow::Result<()> {
    let file = rusqlite::Connection::open(lab.folder.join("data/fleet.db"))?;
    file.execute(
        "INSERT INTO config(stream, epoch, version, received, hash, envelope) VALUES(?, 1, ?, 0, zeroblob(32), ?)",
        params![as_stream, as_version, envelope],
    )?;
    Ok(())
}

#[test]
fn forged_foreign_and_old_configs_are_refused_and_told() -> anyhow::Result<()> {
    let mut rig = Rig::start()?;
    let key = |name: &str| -> anyhow::Result<SigningKey> {
        Ok(SigningKey::from_pkcs8(&std::fs::read(rig.lab.folder.join(format!("admin/keys/{name}.p8")))?)?)
    };
    let (config_key, assign_key, foreign) = (key("config-1")?, key("assign-1")?, SigningKey::generate()?);
    let trust = rig.lab.api("/trust")?;
    let body = format!(
        "apiVersion: skerry.io/v1\nkind: NodeConfig\nmetadata:\n  name: group/edge\nspec:\n{}",
        Rig::spec(&rig.node)
    );
    let doc = |stream: &str, version: u64| -> anyhow::Result<ConfigDoc> {
        Ok(ConfigDoc {
            fleet: trust["fleet"].as_str().context("fleet")?.parse()?,
            stream: stream.parse()?,
            revision: Revision::new(1, version),
            issued: skerry_model::UnixMillis(1_700_000_000_000),
            not_after: None,
            min_agent: AgentVersion::ANY,
            body: body.replace("group/edge", stream).into_bytes(),
            secrets: Vec::new(),
        })
    };

    // The server's own checks say so at once.
    let folder = rig.lab.folder.clone();
    let upload = |lab: &Lab, doc: &ConfigDoc, key: &SigningKey| -> anyhow::Result<String> {
        let path = folder.join("document.cose");
        std::fs::write(&path, doc.seal(&[key])?)?;
        let output = lab.cli_output(&["upload", &path.display().to_string()])?;
        assert!(!output.status.success(), "was taken");
        Ok(String::from_utf8(output.stderr)?)
    };
    let old = doc("group/edge", 1)?;
    assert!(upload(&rig.lab, &doc("group/edge", 2)?, &foreign)?.contains("refused"));
    assert!(upload(&rig.lab, &doc("group/edge", 2)?, &assign_key)?.contains("refused"));
    let told = upload(&rig.lab, &old, &config_key)?;
    assert!(told.contains("equivocation"), "{told}");

    // And the node's, where the server would not.
    let before = rig.node.status()?["configs"].clone();
    for (n, (planted, key, code)) in [
        (doc("group/edge", 900)?, &foreign, "signatures"),
        (doc("node/other", 901)?, &config_key, "other_stream"),
        (doc("group/edge", 1)?, &config_key, "equivocation"),
    ]
    .into_iter()
    .enumerate()
    {
        rig.lab.stop_server()?;
        plant(&rig.lab, &planted, key, "group/edge", 900 + i64::try_from(n)?)?;
        rig.lab.start_server()?;
        let refused = rig.wait_event("config_refused", code);
        refused.with_context(|| code.to_owned())?;
    }
    // An older one: the node has adopted version 2 by then.
    rig.lab.stop_server()?;
    {
        let file = rusqlite::Connection::open(rig.lab.folder.join("data/fleet.db"))?;
        file.execute("DELETE FROM config WHERE version >= 900", [])?;
    }
    rig.lab.start_server()?;
    rig.lab.apply("group/edge", &Rig::spec(&rig.node))?;
    rig.lab.wait_config("pi-4", "group/edge", 2)?;
    let first = {
        let file = rusqlite::Connection::open(rig.lab.folder.join("data/fleet.db"))?;
        file.query_row("SELECT envelope FROM config WHERE version = 1", [], |row| row.get::<_, Vec<u8>>(0))?
    };
    rig.lab.stop_server()?;
    plant_envelope(&rig.lab, &first, "group/edge", 950)?;
    rig.lab.start_server()?;
    rig.wait_event("config_refused", "rollback")?;
    let after = rig.node.status()?["configs"].clone();
    assert_eq!(before, serde_json::json!(["group/edge@1.1"]));
    assert_eq!(after, serde_json::json!(["group/edge@1.2"]));
    let events = rig.lab.cli(&["events", "pi-4"])?;
    assert!(events.contains("config_refused"), "{events}");
    Ok(())
}

#[test]
fn a_bad_config_goes_back_and_says_why() -> anyhow::Result<()> {
    let rig = Rig::start()?;
    // Well signed, but the agent cannot run it: unknown key. The dry run refuses it with its place.
    rig.lab.apply("group/edge", "  collect:\n    intervall: 5s\n")?;
    rig.wait_event("config_refused", "intervall")?;
    let status = rig.node.status()?;
    assert_eq!(status["configs"], serde_json::json!(["group/edge@1.1"]));
    // The mend is the next version.
    rig.lab.apply("group/edge", &Rig::spec(&rig.node))?;
    rig.lab.wait_config("pi-4", "group/edge", 3)
}

#[test]
fn a_revoked_node_is_cut_off_and_stays_out() -> anyhow::Result<()> {
    let mut rig = Rig::start()?;
    wait_for("the connection", || {
        ensure!(rig.lab.node("pi-4")?["reach"] == "connected", "not connected");
        Ok(())
    })?;
    // The node would stay for ever by itself: that it goes is the server's doing.
    rig.lab.cli(&["revoke", "pi-4", "--yes"])?;
    wait_for("the cut", || {
        ensure!(rig.lab.node("pi-4")?["reach"] == "gone", "still connected");
        Ok(())
    })?;
    // It comes back neither by itself nor after a restart of either side.
    rig.node.stop()?;
    rig.lab.stop_server()?;
    rig.lab.start_server()?;
    rig.node.start()?;
    wait_for("the node to be refused", || {
        let metrics = rig.lab.text("/metrics")?;
        let refused =
            metrics.lines().find(|line| line.contains("refused_total{reason=\"revoked\"}")).context("metric")?;
        ensure!(!refused.ends_with(" 0"), "{refused}");
        Ok(())
    })?;
    assert_eq!(rig.lab.node("pi-4")?["state"], "revoked");
    assert_eq!(rig.lab.node("pi-4")?["reach"], "gone");
    // The node itself goes on with what it does alone.
    wait_for("the node's own work", || {
        ensure!(rig.node.status()?["ready"]["ready"] == true, "not ready");
        Ok(())
    })
}

#[test]
fn logs_are_followed_live() -> anyhow::Result<()> {
    let rig = Rig::start()?;
    let mut follow = std::process::Command::new(rig.lab.binaries.path("skerry"))
        .arg("--dir")
        .arg(rig.lab.folder.join("admin"))
        .args(["logs", "pi-4", "-f", "--label", "source=app", "--grep", "needle"])
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let out = follow.stdout.take().context("its output")?;
    // Lines are written until one arrives: the question reaches the node when it does.
    let (done, until) = std::sync::mpsc::sync_channel::<()>(0);
    let path = rig.log();
    let writer = std::thread::spawn(move || -> anyhow::Result<()> {
        let mut file = File::options().append(true).create(true).open(path)?;
        let mut n = 0;
        while until
            .recv_timeout(Duration::from_millis(100))
            .is_err_and(|e| e == std::sync::mpsc::RecvTimeoutError::Timeout)
        {
            n += 1;
            writeln!(file, "hay {n}\nneedle {n}")?;
        }
        Ok(())
    });
    let mut first = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut first)?;
    drop(done);
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    follow.kill()?;
    follow.wait()?;
    assert!(first.contains("needle ") && !first.contains("hay"), "{first:?}");
    Ok(())
}
