use super::key;
use super::place::Place;
use super::task::run_program;
use crate::logs::inputs::rig::Rig;
use crate::logs::inputs::stats::Count;
use skerry_model::{Level, LossReason, UnixMillis};
use std::os::unix::fs::PermissionsExt;

/// An entry as journalctl exports it.
fn entry(n: u64) -> String {
    format!(
        "__CURSOR=s=aa;i={n:x};b=b;m=1;t=2;x=3\n__REALTIME_TIMESTAMP={}\nPRIORITY=4\n_SYSTEMD_UNIT=web.service\nMESSAGE=line {n}\n\n",
        1_000_000 * n
    )
}

/// A program in the place of journalctl: writes its arguments to `args`, then does what `script` says.
fn program(rig: &Rig, script: &str) -> String {
    let path = rig.folder.path().join("journalctl");
    let args = rig.folder.path().join("args");
    std::fs::write(&path, format!("#!/bin/sh\necho \"$*\" >>{}\n{script}\n", args.display())).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

fn start(rig: &Rig, program: &str, more: &str) -> tokio::task::JoinHandle<Result<(), crate::logs::inputs::StoreEnded>> {
    let json = format!(r#"{{"journal": {{"enabled": true, "name": "in"{more}}}}}"#);
    let input = Rig::checked(&json).journal.unwrap();
    let source = rig.source(&input.common);
    let (state, stop, program) = (rig.positions.get(&key("in")).cloned(), rig.stop.clone(), program.to_owned());
    tokio::spawn(async move { run_program(&program, input, source, state, stop).await })
}

fn args(rig: &Rig) -> Vec<String> {
    std::fs::read_to_string(rig.folder.path().join("args")).unwrap().lines().map(str::to_owned).collect()
}

/// Writes entries to a file that the program shows.
fn shows(rig: &Rig, numbers: impl Iterator<Item = u64>) -> String {
    let path = rig.folder.path().join("entries");
    std::fs::write(&path, numbers.map(entry).collect::<String>()).unwrap();
    program(rig, &format!("cat {}; exec sleep 600", path.display()))
}

#[tokio::test]
async fn reading_goes_on_behind_the_last_entry() {
    let mut rig = Rig::new();
    let more = r#", "units": ["web"], "matches": ["_UID=0"], "priority": "warning", "path": "/j""#;
    let task = start(&rig, &shows(&rig, 1..=1500), more);
    rig.until("all", |rig| rig.records.len() == 1500).await;
    rig.stop.cancel();
    rig.rest(task).await;
    let record = &rig.records[6];
    assert_eq!((&*record.line, record.at, record.level), (&b"line 7"[..], UnixMillis(7000), Level::Warn));
    assert_eq!(record.labels.to_string(), "{source=\"in\",unit=\"web.service\"}");
    let place = Place::decode(&rig.positions[&key("in")]).unwrap();
    assert_eq!((place.cursor.as_str(), place.at), ("s=aa;i=5dc;b=b;m=1;t=2;x=3", UnixMillis(1_500_000)));
    // The next run is shown the last entry again, and takes what follows it.
    let mut next = Rig::new();
    next.positions = rig.positions.clone();
    let task = start(&next, &shows(&next, 1500..=1502), more);
    next.until("two", |rig| rig.records.len() == 2).await;
    next.stop.cancel();
    next.rest(task).await;
    assert_eq!(next.lines(), ["line 1501", "line 1502"]);
    assert!(next.losses.is_empty());
    let expected = "--output=export --follow --no-pager --no-tail --cursor=s=aa;i=5dc;b=b;m=1;t=2;x=3 --directory /j --priority=4 --unit=web _UID=0";
    assert_eq!(args(&next), [expected]);
}

#[tokio::test]
async fn what_was_vacuumed_stands_in_the_ledger() {
    for (more, count) in [("", Some(39)), (r#", "units": ["web"]"#, None)] {
        let mut rig = Rig::new();
        let task = start(&rig, &shows(&rig, 1..=10), more);
        rig.until("all", |rig| rig.records.len() == 10).await;
        rig.stop.cancel();
        rig.rest(task).await;
        let mut next = Rig::new();
        next.positions = rig.positions.clone();
        let task = start(&next, &shows(&next, 50..=51), more);
        next.until("two", |rig| rig.records.len() == 2).await;
        next.stop.cancel();
        next.rest(task).await;
        let loss = &next.losses[0];
        assert_eq!((next.losses.len(), loss.reason, loss.count), (1, LossReason::SourceGone, count));
        assert_eq!((loss.range.from, loss.range.to), (UnixMillis(10_000), UnixMillis(50_000)));
    }
}

#[tokio::test]
async fn the_end_is_behind_the_last_entry_that_was_there() {
    let mut rig = Rig::new();
    let task = start(&rig, &shows(&rig, 9..=10), r#", "start": "end""#);
    rig.until("the one after", |rig| rig.records.len() == 1).await;
    rig.stop.cancel();
    rig.rest(task).await;
    assert_eq!(
        (rig.lines(), args(&rig)),
        (vec!["line 10".to_owned()], vec!["--output=export --follow --no-pager --lines=1".to_owned()])
    );
}

#[tokio::test]
async fn a_program_that_ends_is_started_again_and_its_words_are_shown() {
    let mut rig = Rig::new();
    let script = format!("printf '{}'; echo 'No permission to read' >&2; exit 1", entry(1).replace('\n', "\\n"));
    let task = start(&rig, &program(&rig, &script), "");
    // Each start shows the entry again; it is taken once. What is shown may stand behind the complaint or before it.
    rig.until("the entry", |rig| rig.records.len() == 1).await;
    let is_told = |rig: &Rig| rig.board.read().problems().iter().any(|told| told.contains("No permission to read"));
    while rig.count(Count::Starts) < 2 || !is_told(&rig) {
        tokio::task::yield_now().await;
    }
    rig.stop.cancel();
    rig.rest(task).await;
    assert_eq!(rig.lines(), ["line 1"]);
    // One that is not there is named.
    let rig = Rig::new();
    let task = start(&rig, "/nowhere/journalctl", "");
    while rig.board.read().problems().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(rig.board.read().problems()[0].contains("not installed"));
    rig.stop.cancel();
    task.await.unwrap().unwrap();
}

#[test]
fn a_damaged_place_is_none() {
    for state in ["", "1\n2\n3\n", "1\n2\n3\na b", "2\n2\n3\nx", "1\n2\n3\nx\ny", "1\nx\n3\nx"] {
        assert_eq!(Place::decode(state.as_bytes()), None, "{state:?}");
    }
}
