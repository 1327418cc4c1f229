//! Ship policies and budgets of log records in the real agent and fleet: what goes to the centre, what stays on the node,
//! through kill -9, and what an alert brings.

use anyhow::{Context, ensure};
use skerry_promql::Matcher;
use skerry_tests::lab::{Binaries, Lab, Node, value_of, wait_for, wait_rise};
use skerry_tests::records;
use skerry_tests::web::web;
use std::fs::File;
use std::io::Write;

/// Settings that let a test see in seconds what takes minutes in the field.
const QUICK: &str = "  collect:\n    interval: 1s\n  store:\n    log_interval: 1s\n    write_budget: 0B\n";
const SYNC: &str = "  sync:\n    reconnect_min: 100ms\n    reconnect_max: 1s\n    ack_timeout: 3s\n";

fn spec(node: &Node, store: &str) -> String {
    let file = |name: &str| {
        let path = node.folder.join(format!("{name}.log"));
        format!("      - name: {name}\n        paths: ['{}']\n", path.display())
    };
    let files: String = ["app", "held", "dear", "free"].into_iter().map(file).collect();
    format!(
        "{QUICK}{store}  push:\n    gateway: true\n{SYNC}  logs:\n    poll: 20ms\n    rescan: 100ms\n    files:\n{files}"
    )
}

fn write(node: &Node, name: &str, lines: impl IntoIterator<Item = String>) -> anyhow::Result<()> {
    let mut file = File::options().append(true).create(true).open(node.folder.join(format!("{name}.log")))?;
    for line in lines {
        writeln!(file, "{line}")?;
    }
    Ok(())
}

/// Lines of a file at the centre, oldest first.
fn arrived(lab: &Lab, name: &str) -> anyhow::Result<Vec<String>> {
    let list = lab.api(&format!("/nodes/pi-4/logs?limit=10000&label.source={name}"))?;
    ensure!(list["more"] == false, "more lines than one answer holds");
    let records = list["records"].as_array().context("records")?;
    Ok(records.iter().filter_map(|record| record["line"].as_str().map(str::to_owned)).collect())
}

/// Lines of a file in the node's own database, which no process has open.
fn stored(node: &Node, name: &str) -> anyhow::Result<Vec<String>> {
    let (found, _) = records::read(&node.folder.join("data/agent.db"), vec![Matcher::equal("source", name)])?;
    Ok(found.into_iter().map(|record| String::from_utf8_lossy(&record.line).into_owned()).collect())
}

/// Lines of a file as the running node tells them, oldest first.
fn live(node: &Node, name: &str) -> anyhow::Result<Vec<String>> {
    let path = format!("/loki/api/v1/query_range?query=%7Bsource%3D%22{name}%22%7D&limit=5000&direction=forward");
    let answer: serde_json::Value = serde_json::from_str(&node.text(&path)?)?;
    let streams = answer["data"]["result"].as_array().context("streams")?;
    let values = streams.iter().filter_map(|stream| stream["values"].as_array()).flatten();
    Ok(values.filter_map(|value| value[1].as_str().map(str::to_owned)).collect())
}

/// Lines by their numbers. What was read in one millisecond stands by place first (shipped or kept), and within a place in
/// its order: that is checked.
fn in_order(lines: Vec<String>) -> anyhow::Result<Vec<String>> {
    let number = |line: &String| line.rsplit(' ').next().and_then(|n| n.parse::<usize>().ok()).context("a number");
    for level in ["ERROR", "INFO"] {
        let of_level = lines.iter().filter(|line| line.starts_with(level));
        let numbers = of_level.map(number).collect::<anyhow::Result<Vec<usize>>>()?;
        ensure!(numbers.is_sorted(), "lines of level {level} are out of order: {numbers:?}");
    }
    let mut numbered = lines.into_iter().map(|line| Ok((number(&line)?, line))).collect::<anyhow::Result<Vec<_>>>()?;
    numbered.sort();
    Ok(numbered.into_iter().map(|(_, line)| line).collect())
}

fn line(n: usize) -> String {
    let level = if n.is_multiple_of(5) { "ERROR" } else { "INFO" };
    format!("{level} line number {n}")
}

#[test]
fn errors_alone_reach_the_centre_and_everything_is_on_the_node_through_kills() -> anyhow::Result<()> {
    const LINES: usize = 3000;
    let folder = tempfile::tempdir()?;
    let mut lab = Lab::init(Binaries::build()?, folder.path())?;
    lab.start_server()?;
    let mut node = lab.agent("pi-4", "")?;
    lab.join(&mut node, "edge")?;
    let policies = "    log_ship:\n      - {match: '{source=\"held\"}', policy: on-alert, when: 'alarm > 0', around: 1m}\n      \
                    - {match: '{source=\"app\"}', policy: level, at_least: error}\n";
    lab.apply("group/edge", &spec(&node, policies))?;
    lab.wait_config("pi-4", "group/edge", 1)?;
    for round in 0..6 {
        let lines = round * LINES / 6..(round + 1) * LINES / 6;
        write(&node, "app", lines.clone().map(line))?;
        write(&node, "held", lines.clone().map(line))?;
        // In the middle of reading, and right after a commit.
        let seen = if round % 2 == 0 { lines.start } else { lines.end - 5 };
        wait_for("lines of this round", || {
            let last = arrived(&lab, "app")?.last().cloned().unwrap_or_default();
            let last: usize = last.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or_default();
            ensure!(last >= seen, "the centre has lines up to {last}, {seen} are expected");
            Ok(())
        })?;
        node.kill();
        node.start()?;
    }
    let errors: Vec<String> = (0..LINES).filter(|n| n.is_multiple_of(5)).map(line).collect();
    wait_for("all errors", || {
        let lines = arrived(&lab, "app")?.len();
        ensure!(lines >= errors.len(), "{lines} of {}", errors.len());
        Ok(())
    })?;
    assert_eq!(arrived(&lab, "app")?, errors, "the errors, each once, and nothing else");
    assert_eq!(arrived(&lab, "held")?, Vec::<String>::new(), "nobody has alarmed");
    // An alarm brings the last minute, and is not over when the next kill comes.
    let push = format!("http://127.0.0.1:{}/metrics/job/test", node.http);
    wait_for("the push", || Ok(web().put(&push).send("alarm 1\n").map(drop)?))?;
    wait_for("what was held back", || {
        let lines = arrived(&lab, "held")?.len();
        ensure!(lines > 0, "nothing of it");
        Ok(())
    })?;
    node.kill();
    node.start()?;
    // Groups are pushed again where the agent had not stored them yet.
    wait_for("the push", || Ok(web().put(&push).send("alarm 1\n").map(drop)?))?;
    write(&node, "held", (LINES..LINES + 10).map(line))?;
    wait_for("what came after the alarm", || {
        let last = arrived(&lab, "held")?.last().cloned().unwrap_or_default();
        ensure!(last == line(LINES + 9), "{last:?} is the last");
        Ok(())
    })?;
    node.stop()?;
    let all: Vec<String> = (0..LINES).map(line).collect();
    assert_eq!(in_order(stored(&node, "app")?)?, all, "all lines are on the node, each once");
    let held: Vec<String> = (0..LINES + 10).map(line).collect();
    assert_eq!(in_order(stored(&node, "held")?)?, held, "whether shipped or not");
    let mut shipped = arrived(&lab, "held")?;
    let count = shipped.len();
    shipped.sort();
    shipped.dedup();
    assert_eq!(shipped.len(), count, "nothing twice");
    assert!(shipped.iter().all(|line| held.contains(line)));
    let losses = lab.api("/nodes/pi-4/losses")?.to_string();
    assert!(!losses.contains("\"logs\""), "no log record is lost: {losses}");
    Ok(())
}

/// Text that does not compress well.
fn noise(n: usize) -> String {
    let mut state = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut text = format!("{n} ");
    for _ in 0..200 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text.push_str(&format!("{:x}", state >> 16));
    }
    text
}

#[test]
fn a_source_whose_budget_blocks_waits_alone_while_the_centre_is_away() -> anyhow::Result<()> {
    const LINES: usize = 4000;
    let folder = tempfile::tempdir()?;
    let mut lab = Lab::init(Binaries::build()?, folder.path())?;
    lab.start_server()?;
    let mut node = lab.agent("pi-4", "")?;
    lab.join(&mut node, "edge")?;
    let budgets = "    log_budgets:\n      - {match: '{source=\"dear\"}', max_bytes: 256KiB, policy: block}\n";
    lab.apply("group/edge", &spec(&node, budgets))?;
    lab.wait_config("pi-4", "group/edge", 1)?;
    lab.kill_server();
    // Several times the budget, in its file, while the others go on.
    for round in 0..10 {
        write(&node, "dear", (round * LINES / 10..(round + 1) * LINES / 10).map(noise))?;
        write(&node, "free", [format!("free {round}")])?;
        wait_for("the others to go on", || {
            let last = live(&node, "free")?.pop();
            ensure!(last == Some(format!("free {round}")), "{last:?} is the last");
            Ok(())
        })?;
    }
    // What is read by now is stored by then, and whoever did not wait would have read all. Who waits may have read beyond
    // the budget what was under way when it was full: up to 2 MiB, 800 lines, were seen.
    let series = "skerry_store_commits_total ";
    wait_rise(series, 4.0, || value_of(&node.text("/metrics")?, series))?;
    node.kill();
    let (dear, free) = (stored(&node, "dear")?, stored(&node, "free")?);
    assert!(dear.len() > 20 && dear.len() < LINES / 2, "{} of its lines were taken", dear.len());
    assert_eq!(free, (0..10).map(|n| format!("free {n}")).collect::<Vec<_>>(), "the others went on");
    node.start()?;
    lab.start_server()?;
    wait_for("all lines", || {
        let lines = arrived(&lab, "dear")?.len();
        ensure!(lines >= LINES, "{lines} of {LINES}");
        Ok(())
    })?;
    assert_eq!(arrived(&lab, "dear")?, (0..LINES).map(noise).collect::<Vec<_>>());
    assert_eq!(arrived(&lab, "free")?, (0..10).map(|n| format!("free {n}")).collect::<Vec<_>>());
    node.stop()?;
    let losses = lab.api("/nodes/pi-4/losses")?.to_string();
    assert!(!losses.contains("\"logs\""), "no log record is lost: {losses}");
    Ok(())
}
