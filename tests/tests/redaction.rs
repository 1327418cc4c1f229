//! No secret that redaction knows leaves the memory it was read into: not to the node's database or its log, not to the
//! fleet, and it does not stay in the agent's memory either.

use anyhow::{Context, ensure};
use rusqlite::{Connection, OpenFlags};
use skerry_chunk::{Limits, LogReader};
use skerry_tests::lab::{Binaries, Lab, wait_for};
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What stands in every planted line and is no secret: that it is found shows that the search works.
const PLAIN: &str = "plainly-visible";

/// Planted secrets, one of each detector and of an own pattern, and the line that each stands in.
fn secrets() -> Vec<(&'static str, String)> {
    let key: String = (0..64u8).map(|n| char::from(b'A' + n % 37 * 5 % 26)).collect();
    [
        ("eve.harrington.93@planted.example.org", "mail from {} came"),
        ("4539 1488 0343 6467", "card {} charged"),
        ("DE89 3704 0044 0532 0130 00", "paid by {} today"),
        ("203.0.113.77", "client {} connected"),
        ("mF_9.B5f-4.1JqMplanted", "Authorization: Bearer {} taken"),
        ("pin-8812739104", "the door opened with {} at noon"),
        (key.as_str(), "-----BEGIN RSA PRIVATE KEY-----\n {}\n -----END RSA PRIVATE KEY-----"),
    ]
    .map(|(secret, line)| (line, secret.to_owned()))
    .into()
}

/// Lines of a plain file: each secret once as it is, once within JSON that a parser takes apart.
fn plain_lines() -> String {
    let mut text = String::new();
    for (line, secret) in secrets() {
        let line = line.replace("{}", &secret);
        text += &format!("{PLAIN} {line}\n");
        text += &format!("{}\n", serde_json::json!({"msg": format!("{PLAIN} {line}"), "n": 1, "user": {"deep": line}}));
    }
    text
}

/// The same as a container's log; one of them is cut by the driver in the middle of the secret.
fn container_lines() -> String {
    let mut entries = 0;
    let mut entry = |text: &str| {
        entries += 1;
        let log = serde_json::Value::from(text);
        format!("{{\"log\":{log},\"stream\":\"stderr\",\"time\":\"2026-11-20T22:18:00.{entries:09}Z\"}}\n")
    };
    let mut text = String::new();
    for (line, secret) in secrets() {
        let (before, after) = line.split_once("{}").unwrap_or_default();
        let (first, second) = secret.split_at(secret.len() / 2);
        text += &entry(&format!("{PLAIN} {before}{first}"));
        text += &entry(&format!("{second}{after}\n"));
    }
    text
}

/// Whether bytes hold a text, as it is or as JSON has it.
fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Every stored log record of a node's database, as text.
fn stored(database: &Path) -> anyhow::Result<String> {
    let db = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut select = db.prepare("SELECT body FROM block WHERE kind = 2 ORDER BY id")?;
    let mut text = String::new();
    for body in select.query_map([], |row| row.get::<_, Vec<u8>>(0))? {
        for record in LogReader::open(&body?, &Limits::default())?.records()? {
            text += &format!("{:?} {:?} {}\n", record.labels, record.fields, String::from_utf8_lossy(&record.line));
        }
    }
    Ok(text)
}

/// How often each text stands in the writable memory of a process, with the map of the first place.
fn in_memory(pid: u32, texts: &[&str]) -> anyhow::Result<Vec<(usize, String)>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let mut memory = fs::File::open(format!("/proc/{pid}/mem"))?;
    let mut found = vec![(0, String::new()); texts.len()];
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (range, rest) = line.split_once(' ').context("a map")?;
        let (from, to) = range.split_once('-').context("a range")?;
        let (from, to) = (u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?);
        let mut bytes = Vec::new();
        memory.seek(SeekFrom::Start(from))?;
        // A map may be gone by now, or be a device's.
        let _ = Read::by_ref(&mut memory).take(to - from).read_to_end(&mut bytes);
        for (text, (count, place)) in texts.iter().zip(&mut found) {
            let hits: Vec<usize> = (0..bytes.len().saturating_sub(text.len()))
                .filter(|at| bytes[*at..].starts_with(text.as_bytes()))
                .collect();
            if let (Some(first), true) = (hits.first(), *count == 0) {
                let around = &bytes[first.saturating_sub(60)..(first + 100).min(bytes.len())];
                *place = format!("{rest} at {:x}: {}", from + *first as u64, String::from_utf8_lossy(around));
            }
            *count += hits.len();
        }
    }
    Ok(found)
}

#[test]
fn planted_secrets_are_nowhere() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut lab = Lab::init(Binaries::build()?, folder.path())?;
    lab.start_server()?;
    let mut node = lab.agent("pi-4", "")?;
    lab.join(&mut node, "edge")?;
    let shown = node.folder.display();
    let stages = "[{parser: {format: json, message: msg, keep_fields: [user.deep, user]}}, {redact: {detect: [email, \
                  card, iban, ip, bearer, private_key], patterns: ['pin-[0-9]+']}}]";
    let multiline = "{continuation: '^ ', timeout: 200ms}";
    lab.apply(
        "group/edge",
        &format!(
            "  collect:\n    interval: 1s\n  store:\n    log_interval: 1s\n    write_budget: 0B\n  logs:\n    poll: 20ms\n    \
             rescan: 100ms\n    pipeline: {stages}\n    files:\n      - {{name: plain, paths: ['{shown}/app.log'], \
             multiline: {multiline}}}\n      - {{name: web, paths: ['{shown}/c.log'], format: docker-json, multiline: \
             {multiline}}}\n"
        ),
    )?;
    lab.wait_config("pi-4", "group/edge", 1)?;

    // In several writes, so that buffers are filled, kept and grown.
    for _ in 0..3 {
        let file = |name: &str| fs::File::options().append(true).create(true).open(node.folder.join(name));
        let append = |name: &str, text: String| -> anyhow::Result<()> {
            let file = file(name)?;
            let at = file.metadata()?.len();
            Ok(file.write_all_at(text.as_bytes(), at)?)
        };
        for (name, text) in [("app.log", plain_lines()), ("c.log", container_lines())] {
            // Opened to append, so that the offset does not matter; a large line pushes the buffers about.
            append(name, text.clone())?;
            append(name, if name == "c.log" { text } else { format!("{} {text}", "z".repeat(150_000)) })?;
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
    }
    let wanted = 3 * 2 * secrets().len();
    let at_centre = wait_for("the lines", || {
        let plain = lab.text("/api/v1/nodes/pi-4/logs?limit=10000&label.source=plain")?;
        let web = lab.text("/api/v1/nodes/pi-4/logs?limit=10000&label.source=web")?;
        ensure!(
            plain.matches(PLAIN).count() >= 2 * wanted && web.matches(PLAIN).count() >= wanted,
            "not all lines came"
        );
        Ok(plain + &web)
    })?;
    let texts: Vec<String> = secrets().into_iter().map(|(_, secret)| secret).collect();
    let nowhere = |place: &str, bytes: &[u8]| {
        for text in &texts {
            assert!(!holds(bytes, text), "{text:?} stands in {place}");
        }
    };
    nowhere("what the fleet answers", at_centre.as_bytes());
    let records = stored(&node.folder.join("data/agent.db"))?;
    assert!(records.contains(PLAIN), "{records}");
    nowhere("the node's records", records.as_bytes());
    // The files as they lie on the disk, blocks or not.
    for (base, data) in
        [(node.folder.join("data"), "the node's files"), (folder.path().join("data"), "the fleet's files")]
    {
        for entry in fs::read_dir(&base).with_context(|| base.display().to_string())? {
            let path = entry?.path();
            if path.is_file() {
                nowhere(&format!("{data}, {}", path.display()), &fs::read(&path)?);
            }
        }
    }
    nowhere("the agent's log", &fs::read(node.log())?);

    // The core, as a debugger would take it: nothing waits any more, since every line was joined and stored.
    let pid = node.id().context("the agent runs")?;
    let sought: Vec<&str> = texts.iter().map(String::as_str).chain(["pi-4"]).collect();
    let found = match in_memory(pid, &sought) {
        Err(error) => {
            eprintln!("SKIPPED memory: {error:#}; run as root");
            return Ok(());
        }
        Ok(found) => found,
    };
    let (control, secrets) = found.split_last().context("the last one")?;
    assert!(control.0 > 0, "the search finds not even the node's name");
    for (text, (count, place)) in texts.iter().zip(secrets) {
        assert_eq!(*count, 0, "{text:?} stands in the agent's memory, first in {place}");
    }
    node.stop()
}
