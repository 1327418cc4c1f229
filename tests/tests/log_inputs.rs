//! Log inputs with real senders: util-linux's logger, rsyslog, Fluentd's logger for Python, another MessagePack
//! implementation, systemd's journal. Every numbered line has to be stored once, also when the agent is killed in
//! between. Skipped, and said so, where a sender is not installed.

use anyhow::{Context, ensure};
use skerry_agent::clock::Clock;
use skerry_model::{LogRecord, LossReason, UnixMillis};
use skerry_tests::alone::{Alone, assert_each_once};
use skerry_tests::lab::{Running, free_port, wait_for};
use skerry_tests::peers::is_installed;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

fn lines<'a>(records: &'a [LogRecord], source: &str) -> Vec<std::borrow::Cow<'a, str>> {
    let of = records.iter().filter(|record| record.labels.value("source") == source);
    of.map(|record| String::from_utf8_lossy(&record.line)).collect()
}

fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn util_linuxs_logger_and_rsyslog_send_syslog() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (udp, tcp) = (free_port()?, free_port()?);
    let socket = folder.path().join("log");
    let shown = socket.display();
    let mut agent = Alone::new(
        folder.path(),
        &format!(
            "logs:\n  containers: {{enabled: false}}\n  syslog:\n    - {{name: udp, listen: 'udp://127.0.0.1:{udp}'}}\n    - {{name: tcp, listen: 'tcp://127.0.0.1:{tcp}'}}\n    - {{name: local, listen: 'unix://{shown}'}}\n"
        ),
    )?;
    agent.start()?;
    wait_for("the socket", || {
        ensure!(socket.exists(), "no socket yet: {}", agent.log());
        Ok(())
    })?;
    let logger = |args: &[&str]| succeed(Command::new("logger").args(args));
    let (udp, tcp, path) = (udp.to_string(), tcp.to_string(), shown.to_string());
    for n in 1..=20 {
        let text = format!("line {n}");
        let (at, sd) = (["--server", "127.0.0.1", "--port"], "test@1");
        let dialect = if n % 2 == 0 { "--rfc5424" } else { "--rfc3164" };
        logger(&[&at[..], &[&udp, "--udp", dialect, "-t", "peer", "-p", "daemon.err", &text]].concat())?;
        let framing: &[&str] = if n % 3 == 0 { &["--octet-count"] } else { &[] };
        logger(
            &[
                &at[..],
                &[&tcp, "--tcp", "--rfc5424", "--sd-id", sd, "--sd-param", "n=\"1\"", "-t", "peer"],
                framing,
                &[&text],
            ]
            .concat(),
        )?;
        logger(&["--socket", &path, "-t", "peer", "--id=7", &text])?;
    }
    for source in ["udp", "tcp", "local"] {
        agent.wait_records(source, "syslog", 20.0)?;
    }
    let mut expected = 20;
    if Path::new("/usr/sbin/rsyslogd").exists() {
        let input = folder.path().join("input");
        std::fs::write(&input, (21..=2020).map(|n| format!("line {n}\n")).collect::<String>())?;
        let conf = folder.path().join("rsyslog.conf");
        let text = format!(
            "global(workDirectory=\"{0}\")\nmodule(load=\"imfile\")\ninput(type=\"imfile\" File=\"{1}\" Tag=\"peer:\")\naction(type=\"omfwd\" target=\"127.0.0.1\" port=\"{tcp}\" protocol=\"tcp\" template=\"RSYSLOG_SyslogProtocol23Format\" TCP_Framing=\"octet-counted\")\n",
            folder.path().display(),
            input.display()
        );
        std::fs::write(&conf, text)?;
        let mut command = Command::new("/usr/sbin/rsyslogd");
        command.arg("-n").arg("-f").arg(&conf).arg("-i").arg(folder.path().join("rsyslog.pid"));
        let sender = Running::spawn(&mut command, &folder.path().join("rsyslog.log"))?;
        agent.wait_records("tcp", "syslog", 2020.0)?;
        sender.stop()?;
        expected = 2020;
    } else {
        eprintln!("SKIPPED rsyslog: install the Debian package rsyslog");
    }
    let (records, ledger) = agent.stop()?;
    let numbers = |source: &str| {
        let number = |line: &std::borrow::Cow<'_, str>| line.trim().strip_prefix("line ").and_then(|n| n.parse().ok());
        lines(&records, source).iter().filter_map(number).collect::<Vec<u64>>()
    };
    assert_each_once(numbers("udp"), 20);
    assert_each_once(numbers("local"), 20);
    assert_each_once(numbers("tcp"), expected);
    let first =
        |source: &str| records.iter().find(|record| record.labels.value("source") == source).context("a record");
    let record = first("udp")?;
    assert_eq!((record.labels.value("app"), record.labels.value("facility")), ("peer", "daemon"));
    assert_eq!(record.level, skerry_model::Level::Error);
    // The sender wrote its own zone's time without naming it.
    assert!(record.at.since(UnixMillis(Clock::system().wall().0 - 600_000)) > Duration::ZERO, "{record:?}");
    assert_eq!(first("tcp")?.fields.value("test_n"), "1", "{:?}", first("tcp")?);
    assert_eq!(first("local")?.fields.value("pid"), "7");
    assert!(ledger.is_empty(), "{ledger:?}");
    Ok(())
}

/// Sends chunks with another MessagePack implementation, and each again until it is acknowledged; ends when a file is
/// there, and tells how many chunks it sent.
const SENDER: &str = r#"
import gzip, itertools, msgpack, os, socket, sys, time
path, stop, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
conn = None
for chunk in itertools.count():
    if os.path.exists(stop):
        break
    entries = b"".join(
        msgpack.packb([msgpack.ExtType(0, (1795219200 + n).to_bytes(4, "big") + b"\0\0\0\1"), {"message": f"line {n}", "n": n, "deep": {"a": [1]}}])
        for n in range(chunk * size + 1, (chunk + 1) * size + 1))
    option = {"chunk": f"chunk-{chunk}", "size": size}
    if chunk % 2:
        entries, option["compressed"] = gzip.compress(entries), "gzip"
    if chunk % 4 == 2:
        unpacker = msgpack.Unpacker(ext_hook=msgpack.ExtType)
        unpacker.feed(entries)
        entries = list(unpacker)
    body = msgpack.packb(["peer.app", entries, option])
    while True:
        try:
            if conn is None:
                conn = socket.socket(socket.AF_UNIX)
                conn.settimeout(5)
                conn.connect(path)
                unpacker = msgpack.Unpacker()
            conn.sendall(body)
            while True:
                read = conn.recv(4096)
                if not read:
                    raise OSError("closed")
                unpacker.feed(read)
                answer = next(iter(unpacker), None)
                if answer is not None:
                    assert answer == {"ack": f"chunk-{chunk}"}, answer
                    break
            break
        except OSError:
            if conn is not None:
                conn.close()
            conn = None
            time.sleep(0.05)
print(chunk)
"#;

#[test]
fn acknowledged_chunks_are_stored_once_through_crashes() -> anyhow::Result<()> {
    let python = "/usr/bin/python3";
    if !Command::new(python).args(["-c", "import msgpack"]).output().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: install the Debian package python3-msgpack");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("forward");
    let mut agent = Alone::new(
        folder.path(),
        &format!(
            "logs:\n  containers: {{enabled: false}}\n  forward:\n    - {{name: app, listen: 'unix://{}'}}\n",
            socket.display()
        ),
    )?;
    agent.start()?;
    let (stop, size) = (folder.path().join("stop"), 2500u64);
    let mut command = Command::new(python);
    command.args(["-c", SENDER]).arg(&socket).arg(&stop).arg(size.to_string());
    let mut sender = Running::spawn(&mut command, &folder.path().join("sender.log"))?;
    // Moments spread over the work of a chunk and over the agent's start.
    for crash in 0..8 {
        std::thread::sleep(Duration::from_millis(300 + 137 * (crash % 5)));
        agent.kill();
        agent.start()?;
    }
    // The last run takes as many as there have to be, however slow the others were to start.
    agent.wait_records("app", "forward", 25_000.0)?;
    std::fs::write(&stop, "")?;
    wait_for("the sender to end", || {
        ensure!(sender.has_ended(), "it still sends");
        Ok(())
    })?;
    let told = std::fs::read_to_string(folder.path().join("sender.log"))?;
    let chunks: u64 = told.trim().parse().with_context(|| told.clone())?;
    ensure!(chunks > 8, "only {chunks} chunks");
    let (records, ledger) = agent.stop()?;
    let numbers = lines(&records, "app").iter().filter_map(|line| line.strip_prefix("line ")?.parse().ok()).collect();
    assert_each_once(numbers, chunks * size);
    let record = records.iter().find(|record| record.line == b"line 1").context("the first")?;
    assert_eq!(record.at, UnixMillis(1_795_219_201_000));
    assert_eq!(
        (record.labels.value("tag"), record.fields.value("n"), record.fields.value("deep_a")),
        ("peer.app", "1", "[1]")
    );
    assert!(!ledger.iter().any(|loss| loss.source == "app"), "{ledger:?}");
    Ok(())
}

#[test]
fn fluentds_logger_for_python_sends() -> anyhow::Result<()> {
    let python = "/usr/bin/python3";
    if !Command::new(python).args(["-c", "import fluent.sender"]).output().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: install the Debian package python3-fluent-logger");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let port = free_port()?;
    let mut agent = Alone::new(
        folder.path(),
        &format!(
            "logs:\n  containers: {{enabled: false}}\n  forward:\n    - {{name: py, listen: 'tcp://127.0.0.1:{port}'}}\n"
        ),
    )?;
    agent.start()?;
    wait_for("the port", || Ok(std::net::TcpStream::connect(("127.0.0.1", port))?))?;
    let script = format!(
        "import fluent.sender\ns = fluent.sender.FluentSender('py', host='127.0.0.1', port={port}, nanosecond_precision=True)\nfor n in range(1, 1001):\n    assert s.emit('log', {{'message': f'line {{n}}', 'level': 'warning'}}), s.last_error\ns.close()\n"
    );
    succeed(Command::new(python).args(["-c", &script])).with_context(|| agent.log())?;
    agent.wait_records("py", "forward", 1000.0)?;
    let (records, _) = agent.stop()?;
    let found = lines(&records, "py");
    assert!(
        found.iter().map(|line| line.to_string()).eq((1..=1000).map(|n| format!("line {n}"))),
        "in order, each once"
    );
    assert_eq!((records[0].labels.value("tag"), records[0].level), ("py.log", skerry_model::Level::Warn));
    // Nobody acknowledged these: a crash is told to the ledger, because what was in memory cannot come again.
    agent.start()?;
    wait_for("the port", || Ok(std::net::TcpStream::connect(("127.0.0.1", port))?))?;
    agent.kill();
    agent.start()?;
    wait_for("the port", || Ok(std::net::TcpStream::connect(("127.0.0.1", port))?))?;
    let (_, ledger) = agent.stop()?;
    let gap = ledger.iter().find(|loss| loss.source == "py").context("the gap")?;
    assert_eq!((gap.reason, gap.count), (LossReason::Crash, None));
    Ok(())
}

#[test]
fn systemds_own_journal_is_read_through_crashes() -> anyhow::Result<()> {
    let daemon = "/lib/systemd/systemd-journald";
    if !rustix::process::getuid().is_root() || !Path::new(daemon).exists() || !is_installed("journalctl") {
        eprintln!("SKIPPED: needs root and the Debian package systemd");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let mut agent = Alone::new(
        folder.path(),
        "logs:\n  containers: {enabled: false}\n  journal:\n    enabled: true\n    matches: ['SYSLOG_IDENTIFIER=peer']\n",
    )?;
    // A journal of its own, in a mount namespace that the agent enters too.
    let script = format!(
        "mount -t tmpfs none /run && mkdir -p /run/systemd/journal /run/log/journal && {{ [ -s /etc/machine-id ] || {{ echo 0123456789abcdef0123456789abcdef >{0}/id && mount --bind {0}/id /etc/machine-id; }}; }} && exec {daemon}",
        folder.path().display()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]);
    let journald = Running::spawn(&mut command, &folder.path().join("journald.log"))?;
    let inside = ["nsenter".to_owned(), "--mount".to_owned(), format!("--target={}", journald.id())];
    let socket = format!("/proc/{}/root/run/systemd/journal/dev-log", journald.id());
    if wait_for("journald", || {
        ensure!(Path::new(&socket).exists(), "no socket");
        Ok(())
    })
    .is_err()
    {
        eprintln!("SKIPPED: journald does not start here");
        return Ok(());
    }
    let log = |text: String| {
        succeed(Command::new("logger").args(["--socket", &socket, "-t", "peer", "-p", "user.err", &text]))
    };
    agent.wrapper = inside.to_vec();
    for n in 1..=600 {
        if n % 100 == 50 {
            agent.kill();
            agent.start()?;
        }
        log(format!("line {n}"))?;
    }
    wait_for("the last line", || {
        let shown = Command::new(&inside[0])
            .args(&inside[1..])
            .args(["journalctl", "-n1", "-ocat", "SYSLOG_IDENTIFIER=peer"])
            .output()?;
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        ensure!(shown.contains("line 600"), "{shown}");
        Ok(())
    })?;
    let (mut last, mut looks) = (0.0, 0);
    wait_for("the agent to have read it", || {
        let now = agent.metric("skerry_log_input_records_total{kind=\"journal\",source=\"journal\"}")?;
        looks = if now == last && now > 50.0 { looks + 1 } else { 0 };
        last = now;
        ensure!(looks >= 100, "{now} records since the last start");
        Ok(())
    })?;
    let (records, ledger) = agent.stop()?;
    let numbers =
        lines(&records, "journal").iter().filter_map(|line| line.strip_prefix("line ")?.parse().ok()).collect();
    assert_each_once(numbers, 600);
    assert_eq!((records[0].level, records[0].fields.value("SYSLOG_IDENTIFIER")), (skerry_model::Level::Error, "peer"));
    assert!(!ledger.iter().any(|loss| loss.source == "journal"), "{ledger:?}");
    journald.stop()?;
    Ok(())
}
