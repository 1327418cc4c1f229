//! Log records forwarded to other stores: each line of a node is there once, or is in the ledger, whatever happens
//! between. The stores are stand-ins (see [`skerry_tests::logstore`]) but for rsyslogd, which is Debian's; without it that
//! test is skipped, and says so.

use anyhow::{Context, ensure};
use skerry_tests::lab::{Binaries, Lab, Node, Running, free_port, wait_for};
use skerry_tests::logstore::{BUSY, Kind, LogStore, Mood, REFUSED, SyslogSink};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const QUICK: &str = "  collect:\n    interval: 1s\n  store:\n    log_interval: 1s\n    write_budget: 0B\n  sync:\n    \
                     reconnect_min: 100ms\n    reconnect_max: 500ms\n    ack_timeout: 3s\n";

/// A fleet whose file ends with `sections`, and a node that reads `app.log` in its folder.
struct Rig {
    lab: Lab,
    node: Node,
    folder: tempfile::TempDir,
    written: usize,
}

impl Rig {
    fn start(sections: impl FnOnce(&Path) -> String) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut lab = Lab::init(Binaries::build()?, folder.path())?;
        let path = folder.path().join("server/fleet.yaml");
        let text = std::fs::read_to_string(&path)?;
        std::fs::write(&path, format!("{text}\n{}", sections(folder.path())))?;
        lab.start_server()?;
        let mut node = lab.agent("pi-4", "")?;
        lab.join(&mut node, "edge")?;
        let log = node.folder.join("app.log");
        let spec = format!(
            "{QUICK}  logs:\n    poll: 20ms\n    rescan: 100ms\n    files:\n      - name: app\n        paths: ['{}']\n",
            log.display()
        );
        lab.apply("group/edge", &spec)?;
        lab.wait_config("pi-4", "group/edge", 1)?;
        Ok(Self { lab, node, folder, written: 0 })
    }

    /// Writes `count` numbered lines, the last with `word` in it.
    fn write(&mut self, count: usize, word: &str) -> anyhow::Result<()> {
        let path: PathBuf = self.node.folder.join("app.log");
        let mut file = File::options().append(true).create(true).open(path)?;
        for nth in 1..=count {
            self.written += 1;
            let word = if nth == count { word } else { "" };
            writeln!(file, "line number {} {word}", self.written)?;
        }
        Ok(())
    }

    fn view(&self, target: &str) -> anyhow::Result<serde_json::Value> {
        let all = self.lab.api("/forward")?;
        let all = all["targets"].as_array().context("targets")?;
        Ok(all.iter().find(|view| view["name"] == target).context("the target")?.clone())
    }
}

/// How often each number is there.
fn numbers<'a>(lines: impl IntoIterator<Item = &'a str>) -> BTreeMap<usize, usize> {
    let mut found = BTreeMap::new();
    for line in lines {
        let number = line.split("line number ").nth(1).and_then(|rest| rest.split(' ').next()?.trim().parse().ok());
        *found.entry(number.unwrap_or(0)).or_default() += 1;
    }
    found
}

fn missing(found: &BTreeMap<usize, usize>, expected: &BTreeSet<usize>) -> Vec<usize> {
    expected.iter().filter(|number| !found.contains_key(number)).copied().collect()
}

/// Lines of a file target and of what was rotated before it.
fn file_lines(folder: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("all.log")) {
            text.push_str(&std::fs::read_to_string(path)?);
        }
    }
    Ok(text)
}

/// A generator, so that a run that failed can be made again.
fn xorshift(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn every_line_is_there_once_over_kill_9_and_stores_that_fail() -> anyhow::Result<()> {
    let (loki, elastic) = (LogStore::start(Kind::Loki)?, LogStore::start(Kind::Elastic)?);
    let (otlp, syslog) = (LogStore::start(Kind::Otlp)?, SyslogSink::start()?);
    let common = "timeout: 500ms, batch: {bytes: 1KiB, wait: 50ms}, backoff: {min: 20ms, max: 100ms}";
    let mut rig = Rig::start(|folder| {
        std::fs::create_dir(folder.join("out")).expect("a new folder");
        format!(
            "forward:\n  - {{name: loki, loki: {{url: 'http://127.0.0.1:{}', tenant: shop}}, {common}}}\n  \
             - {{name: elastic, elasticsearch: {{url: 'http://127.0.0.1:{}'}}, {common}}}\n  \
             - {{name: otlp, otlp: {{url: 'http://127.0.0.1:{}'}}, {common}}}\n  \
             - {{name: syslog, syslog: {{address: 'tcp://127.0.0.1:{}'}}, {common}}}\n  \
             - {{name: file, file: {{path: ../out/all.log, format: raw, max_bytes: 2KiB, keep: 10000}}, {common}}}\n",
            loki.port, elastic.port, otlp.port, syslog.port
        )
    })?;
    let moods = [
        Mood::Take,
        Mood::Answer(500),
        Mood::Swallow,
        Mood::Answer(429),
        Mood::Silent,
        Mood::Answer(401),
        Mood::Take,
        Mood::Swallow,
    ];
    let mut random = 0x5eed_u64;
    const KILLS: usize = 24;
    for kill in 0..KILLS {
        for store in [&loki, &elastic, &otlp] {
            let at = usize::try_from(xorshift(&mut random) % moods.len() as u64)?;
            store.set(moods[at]);
        }
        let before = loki.requests() + elastic.requests() + otlp.requests();
        rig.write(40, if kill % 4 == 0 { BUSY } else { "" })?;
        let more = 1 + xorshift(&mut random) % 8;
        wait_for("requests", || {
            let came = loki.requests() + elastic.requests() + otlp.requests() - before;
            ensure!(came >= more, "{came} of {more}");
            Ok(())
        })?;
        rig.lab.kill_server();
        rig.lab.start_server()?;
    }
    // What a target tells while it fails.
    loki.set(Mood::Answer(401));
    rig.write(10, "")?;
    wait_for("the failure to be shown", || {
        let view = rig.view("loki")?;
        let error = view["error"].as_str().unwrap_or_default();
        ensure!(error.contains("HTTP 401") && error.contains("credentials"), "{view}");
        Ok(())
    })?;
    ensure!(rig.lab.cli(&["get", "forward"])?.contains("failing for"), "the CLI tells");
    for store in [&loki, &elastic, &otlp] {
        store.set(Mood::Take);
    }
    let expected: BTreeSet<usize> = (1..=rig.written).collect();
    let out = rig.folder.path().join("out");
    wait_for("all lines to be everywhere", || {
        for store in [&loki, &elastic, &otlp] {
            let lines = store.lines();
            let missing = missing(&numbers(lines.iter().map(String::as_str)), &expected);
            ensure!(missing.is_empty(), "{store:?} misses {}", missing.len());
        }
        let messages = syslog.messages();
        ensure!(missing(&numbers(messages.iter().map(String::as_str)), &expected).is_empty(), "syslog");
        ensure!(missing(&numbers(file_lines(&out)?.lines()), &expected).is_empty(), "file");
        Ok(())
    })
    .map_err(|error| anyhow::anyhow!("{}", error.to_string().chars().take(300).collect::<String>()))?;
    let once = |what: &str, found: BTreeMap<usize, usize>| {
        let wrong: Vec<_> = found.iter().filter(|(number, times)| **times != 1 || !expected.contains(number)).collect();
        assert!(wrong.is_empty(), "{what}: {wrong:?}");
    };
    let text = file_lines(&out)?;
    once("file", numbers(text.lines()));
    for store in [&loki, &elastic] {
        once("a store that tells records apart", numbers(store.lines().iter().map(String::as_str)));
    }
    ensure!(loki.last_head().to_ascii_lowercase().contains("x-scope-orgid: shop"), "{}", loki.last_head());
    // Those that do not tell records apart have at most one batch of each crash or lost answer again.
    let repeated = |found: BTreeMap<usize, usize>| found.values().map(|times| times - 1).sum::<usize>();
    let (otlp_lines, messages) = (otlp.lines(), syslog.messages());
    let twice = (
        repeated(numbers(otlp_lines.iter().map(String::as_str))),
        repeated(numbers(messages.iter().map(String::as_str))),
    );
    println!("{} lines over {KILLS} kills; sent again: {} by OTLP, {} by syslog", rig.written, twice.0, twice.1);
    ensure!(std::fs::read_dir(&out)?.count() > 5, "the file was rotated");
    let losses = rig.lab.api("/nodes/pi-4/losses")?;
    let told: Vec<_> = losses["losses"].as_array().context("losses")?.iter().collect();
    ensure!(told.iter().all(|loss| !loss["source"].as_str().unwrap_or_default().starts_with("forward:")), "{losses}");

    // One line that no store wants, among others.
    rig.write(20, REFUSED)?;
    rig.write(20, "")?;
    let refused = rig.written - 20;
    let expected: BTreeSet<usize> = (1..=rig.written).filter(|number| *number != refused).collect();
    wait_for("the others", || {
        for store in [&loki, &elastic, &otlp] {
            let missing = missing(&numbers(store.lines().iter().map(String::as_str)), &expected);
            ensure!(missing.is_empty(), "misses {missing:?}");
        }
        Ok(())
    })?;
    wait_for("the ledger", || {
        let losses = rig.lab.api("/nodes/pi-4/losses")?;
        for target in ["loki", "elastic", "otlp"] {
            let of = |loss: &&serde_json::Value| loss["source"] == format!("forward:{target}");
            let all: Vec<_> = losses["losses"].as_array().context("losses")?.iter().filter(of).collect();
            ensure!(all.len() == 1 && all[0]["count"] == 1 && all[0]["reason"] == "refused", "{target}: {losses}");
        }
        Ok(())
    })?;
    wait_for("the metrics", || {
        let metrics = rig.lab.text("/metrics")?;
        for line in [
            "skerry_fleet_forward_refused_records_total{target=\"loki\"} 1\n",
            "skerry_fleet_forward_refused_records_total{target=\"file\"} 0\n",
            "skerry_fleet_forward_up{target=\"otlp\"} 1\n",
        ] {
            ensure!(metrics.contains(line), "{line:?} is missing in {metrics}");
        }
        Ok(())
    })?;
    rig.lab.stop_server()
}

#[test]
fn a_target_gets_what_it_asks_for_and_a_late_one_the_past() -> anyhow::Result<()> {
    let (narrow, late) = (LogStore::start(Kind::Loki)?, LogStore::start(Kind::Elastic)?);
    let quick = "batch: {wait: 50ms}";
    let mut rig = Rig::start(|_| {
        format!(
            "forward:\n  - {{name: narrow, loki: {{url: 'http://127.0.0.1:{}', labels: [node], external_labels: {{env: \
             test}}}}, selector: '{{source=\"app\",site=~\"n.*\"}}', {quick}}}\n",
            narrow.port
        )
    })?;
    rig.write(10, "")?;
    wait_for("the lines to be left out", || {
        let view = rig.view("narrow")?;
        ensure!(view["excluded_records"] == 10, "{view}");
        Ok(())
    })?;
    rig.lab.cli(&["assign", "pi-4", "--label", "site=north", "--yes"])?;
    // The label counts for what is sent a few seconds after it was signed.
    wait_for("lines with the label", || {
        rig.write(1, "")?;
        ensure!(!narrow.lines().is_empty(), "none yet");
        Ok(())
    })?;
    ensure!(narrow.names()[0].starts_with("{env=\"test\", node=\"pi-4\"} "), "{:?}", narrow.names()[0]);
    // A target that is added later, and begins with what is held.
    rig.lab.stop_server()?;
    let extra = format!(
        "batch: {{wait: 50ms}}}}\n  - {{name: late, from: beginning, elasticsearch: {{url: 'http://127.0.0.1:{}', index: \
         app-%Y}}, selector: '{{source=\"app\"}}', {quick}}}\n",
        late.port
    );
    rig.lab.edit_config("batch: {wait: 50ms}}\n", &extra)?;
    rig.lab.start_server()?;
    rig.write(5, "")?;
    let all: BTreeSet<usize> = (1..=rig.written).collect();
    wait_for("the past", || {
        let missing = missing(&numbers(late.lines().iter().map(String::as_str)), &all);
        ensure!(missing.is_empty(), "misses {missing:?}");
        Ok(())
    })?;
    let once = numbers(narrow.lines().iter().map(String::as_str));
    ensure!(once.values().all(|times| *times == 1), "the other is sent nothing again: {once:?}");
    rig.lab.stop_server()
}

#[test]
fn rsyslogd_takes_messages_over_tcp_and_udp() -> anyhow::Result<()> {
    let program = Path::new("/usr/sbin/rsyslogd");
    if !program.exists() {
        eprintln!("SKIPPED 1 test: install the Debian package rsyslog");
        return Ok(());
    }
    let (tcp, udp) = (free_port()?, free_port()?);
    let place = tempfile::tempdir()?;
    let (config, out) = (place.path().join("rsyslog.conf"), place.path().join("out"));
    let text = format!(
        "global(workDirectory=\"{}\")\nmodule(load=\"imtcp\")\nmodule(load=\"imudp\")\n\
         template(name=\"t\" type=\"string\" \
         string=\"%inputname%|%pri%|%timestamp:::date-rfc3339%|%hostname%|%app-name%|%structured-data%|%msg%\\n\")\n\
         ruleset(name=\"r\") {{ action(type=\"omfile\" file=\"{}\" template=\"t\") }}\n\
         input(type=\"imtcp\" port=\"{tcp}\" address=\"127.0.0.1\" ruleset=\"r\")\n\
         input(type=\"imudp\" port=\"{udp}\" address=\"127.0.0.1\" ruleset=\"r\")\n",
        place.path().display(),
        out.display()
    );
    std::fs::write(&config, text)?;
    let mut command = Command::new(program);
    command.args(["-n", "-f"]).arg(&config).arg("-i").arg(place.path().join("pid"));
    let _rsyslogd = Running::spawn(&mut command, &place.path().join("log"))?;
    // A datagram to a port where nobody listens yet is gone.
    wait_for("rsyslogd", || Ok(std::net::TcpStream::connect(("127.0.0.1", tcp)).map(drop)?))?;
    let mut rig = Rig::start(|_| {
        format!(
            "forward:\n  - {{name: tcp, syslog: {{address: 'tcp://127.0.0.1:{tcp}', facility: 16}}, batch: {{wait: \
             50ms}}}}\n  - {{name: udp, syslog: {{address: 'udp://127.0.0.1:{udp}'}}, batch: {{wait: 50ms}}}}\n"
        )
    })?;
    rig.write(50, "with \"quotes\" and ünïcode")?;
    let lines = wait_for("the lines", || {
        let text = std::fs::read_to_string(&out)?;
        ensure!(text.lines().count() >= 100, "{} lines", text.lines().count());
        Ok(text)
    })?;
    for (input, priority) in [("imtcp", "133"), ("imudp", "13")] {
        let of: Vec<&str> = lines.lines().filter(|line| line.starts_with(&format!("{input}|"))).collect();
        assert_eq!(numbers(of.iter().copied()), (1..=50).map(|number| (number, 1)).collect(), "{input}");
        let parts: Vec<&str> = of[49].splitn(7, '|').collect();
        assert_eq!((parts[1], parts[3], parts[4]), (priority, "pi-4", "app"), "{parts:?}");
        ensure!(parts[5].contains("[labels@32473 ") && parts[5].contains(" source=\"app\""), "{parts:?}");
        assert_eq!(parts[6].trim_start(), "line number 50 with \"quotes\" and ünïcode");
    }
    rig.lab.stop_server()
}
