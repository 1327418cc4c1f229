//! README.md is true: its reference is what the programs say, its files are good, its commands run.

use anyhow::{Context, ensure};
use skerry_tests::lab::{Binaries, free_port};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")
}

fn readme() -> String {
    std::fs::read_to_string(path()).expect("README.md")
}

/// The code blocks of a language, each with the name in its first line's comment.
fn blocks(language: &str) -> Vec<(String, String)> {
    let (text, mut found) = (readme(), Vec::new());
    let mut rest = text.as_str();
    let fence = format!("```{language}\n");
    while let Some((_, after)) = rest.split_once(&fence) {
        let (block, after) = after.split_once("```").expect("a closed block");
        let name = block.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default();
        found.push((name.to_owned(), block.to_owned()));
        rest = after;
    }
    found
}

/// The text between a pair of marks is `expected`; with `SKERRY_UPDATE=1` it is made so.
fn assert_part(mark: &str, expected: &str) {
    let text = readme();
    let (begin, end) = (format!("<!-- {mark}: begin -->\n"), format!("<!-- {mark}: end -->"));
    let (head, rest) = text.split_once(&begin).expect("the beginning mark");
    let (found, tail) = rest.split_once(&end).expect("the end mark");
    if found == expected {
        return;
    }
    if std::env::var_os("SKERRY_UPDATE").is_some() {
        std::fs::write(path(), format!("{head}{begin}{expected}{end}{tail}")).expect("write README.md");
        return;
    }
    panic!(
        "README.md's {mark} is not what the code says; SKERRY_UPDATE=1 cargo test -p skerry-tests --test readme mends it"
    );
}

#[test]
fn the_references_are_the_codes() {
    assert_part("config-reference", &skerry_agent::config::reference());
    let mut table = "| Key | Default | Meaning |\n|---|---|---|\n".to_owned();
    let retention = skerry_fleet::store::Config::REFERENCE.iter().map(|(k, d, m)| (format!("retention.{k}"), *d, *m));
    let own = skerry_fleet::config::REFERENCE.iter().map(|(k, d, m)| ((*k).to_owned(), *d, *m));
    let targets = skerry_fleet::remote::config::REFERENCE;
    let targets = targets.iter().map(|(k, d, m)| (format!("remote_write[].{k}"), *d, *m));
    let forward = skerry_fleet::forward::config::REFERENCE;
    let forward = forward.iter().map(|(k, d, m)| (format!("forward[].{k}"), *d, *m));
    let rules = skerry_fleet::rules::config::REFERENCE.iter().map(|(k, d, m)| (format!("rules.{k}"), *d, *m));
    let alerting = skerry_fleet::alerts::config::REFERENCE.iter().map(|(k, d, m)| (format!("alerting.{k}"), *d, *m));
    for (key, default, meaning) in own.chain(retention).chain(targets).chain(forward).chain(rules).chain(alerting) {
        table.push_str(&format!("| `{key}` | {default} | {meaning} |\n"));
    }
    assert_part("fleet-reference", &table);
    let mut series = "| Series | Meaning |\n|---|---|\n".to_owned();
    for (name, meaning) in skerry_fleet::rules::nodes::REFERENCE {
        series.push_str(&format!("| `{name}` | {meaning} |\n"));
    }
    assert_part("fleet-node-series", &series);
}

/// Ends a group of processes, whatever became of the test.
struct Group(u32);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.0).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }
}

#[test]
fn the_first_fleet_runs_as_it_is_written() -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt;
    let binaries = Binaries::build()?;
    let folder = tempfile::tempdir()?;
    let here = folder.path().display().to_string();
    // What depends on the machine is changed; all else stays as it is written.
    let ports = [("9480", "<A>", free_port()?), ("8883", "<B>", free_port()?), ("9481", "<C>", free_port()?)];
    let fit = |text: &str| {
        // In two steps: one of the free ports may hold the digits of another one that is replaced.
        let text = ports.iter().fold(text.to_owned(), |text, (from, mark, _)| text.replace(from, mark));
        let text = ports.iter().fold(text, |text, (_, mark, to)| text.replace(mark, &to.to_string()));
        text.replace("/var/lib/skerry", &format!("{here}/node")).replace("/etc/skerry/token", &format!("{here}/token"))
    };
    let files = blocks("yaml");
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "agent.yaml",
            "edge.yaml",
            "metrics.yaml",
            "pipeline.yaml",
            "remote-write.yaml",
            "forward.yaml",
            "alerts.yaml",
            "scaling.yaml",
            "targets.yaml",
            "workloads.yaml",
        ]
    );
    for (name, text) in &files {
        std::fs::write(folder.path().join(name), fit(text))?;
    }
    let (_, script) = blocks("sh").into_iter().find(|(name, _)| name == "first-fleet").context("the block")?;
    let path = binaries.path("skerry").parent().context("the folder of the programs")?.display().to_string();
    let search = format!("{path}:{}", std::env::var("PATH").unwrap_or_default());
    let child = Command::new("sh")
        .args(["-e", "-c", &fit(&script)])
        .current_dir(folder.path())
        .env("PATH", search)
        .env("HOME", folder.path())
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(folder.path().join("out"))?)
        .stderr(std::fs::File::create(folder.path().join("err"))?)
        .process_group(0)
        .spawn()?;
    let group = Group(child.id());
    let mut child = child;
    let status = child.wait()?;
    drop(group);
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    let (out, err) = (read("out"), read("err"));
    ensure!(status.success(), "{status}\n{out}\n{err}");
    // Files that the script does not name are checked by the program that reads them.
    let fleet = folder.path().join("server/fleet.yaml");
    let whole = std::fs::read_to_string(&fleet)? + &read("remote-write.yaml") + &read("forward.yaml");
    std::fs::write(&fleet, whole)?;
    for (program, file) in [
        ("skerry-agent", folder.path().join("metrics.yaml")),
        ("skerry-agent", folder.path().join("alerts.yaml")),
        ("skerry-agent", folder.path().join("workloads.yaml")),
        ("skerry-agent", folder.path().join("scaling.yaml")),
        ("skerry-agent", folder.path().join("targets.yaml")),
        ("skerry-fleet", fleet),
    ] {
        let checked = Command::new(binaries.path(program)).arg("check-config").arg(&file).output()?;
        let told = String::from_utf8_lossy(&checked.stderr);
        ensure!(checked.status.success(), "{program} check-config {}: {told}", file.display());
    }
    for wanted in
        ["Made fleet", "node pi-4 assigned", "group/edge 1.1 taken in", "node_load1{node=\"pi-4\"", "kind: NodeConfig"]
    {
        assert!(out.contains(wanted), "{wanted:?} is missing in\n{out}\n{err}");
    }
    Ok(())
}
