//! Lines of files that are not rotated.

use super::*;
use skerry_model::{Bytes, Level, OutputStream};
use std::os::unix::fs::symlink;

#[test]
fn appended_lines_arrive_once_and_in_order() {
    let mut rig = Rig::with(|config| {
        config.files[0].labels.insert("site".to_owned(), "north".to_owned());
    });
    rig.append("a.log", "one\nERROR two\n");
    rig.poll_after(0);
    rig.append("a.log", "three\n");
    rig.poll_after(250);
    rig.poll_after(250);
    assert_eq!(rig.lines(), ["one", "ERROR two", "three"]);
    let record = &rig.records[1];
    assert_eq!((record.level, record.output, record.at), (Level::Error, OutputStream::None, UnixMillis(WALL_MS)));
    let path = rig.path("a.log").display().to_string();
    assert_eq!(record.labels.to_string(), format!(r#"{{filename="{path}",site="north",source="app"}}"#));
    assert_eq!((rig.stats.lines.value(), rig.stats.bytes.value()), (3, 17));
    assert!(rig.losses.is_empty());
}

#[test]
fn bytes_pass_unchanged_but_for_the_line_end() {
    let mut rig = Rig::new();
    rig.append("a.log", b"crlf\r\n\n\0nul\xff\xfe\n  spaces \n");
    rig.poll_after(0);
    let lines: Vec<&[u8]> = rig.records.iter().map(|record| &record.line[..]).collect();
    assert_eq!(lines, [&b"crlf\r"[..], b"", b"\0nul\xff\xfe", b"  spaces "]);
}

#[test]
fn an_unfinished_line_waits_for_its_end_also_over_a_restart() {
    let mut rig = Rig::new();
    rig.append("a.log", "whole\npar");
    rig.poll_after(0);
    rig.append("a.log", "ti");
    rig.poll_after(250);
    assert_eq!(rig.lines(), ["whole"]);
    rig.restart();
    rig.poll_after(60_000);
    rig.append("a.log", "al\n");
    rig.poll_after(250);
    assert_eq!(rig.lines(), ["whole", "partial"]);
}

#[test]
fn a_line_of_ten_megabytes_is_cut_counted_and_passed() {
    let mut rig = Rig::with(|config| config.line_bytes_max = Bytes(1000));
    rig.append("a.log", "before\n");
    let mut writer = rig.writer("a.log");
    for _ in 0..10 {
        writer.write_all(&vec![b'x'; 1 << 20]).unwrap();
        rig.poll_after(250);
        rig.restart();
    }
    writer.write_all(b"\nafter\n").unwrap();
    rig.poll_after(250);
    assert_eq!(rig.lines(), ["before", &"x".repeat(1000), "after"]);
    assert_eq!(rig.losses(), [(LossReason::Oversize, Some(1))]);
}

#[test]
fn batches_are_bounded_and_their_positions_cover_their_records() {
    let mut rig = Rig::new();
    let text: String = (0..5000).map(|n| format!("line {n}\n")).collect();
    rig.append("a.log", &text);
    rig.append("b.log", "x".repeat(100_000).as_str().to_owned().repeat(8) + "\n");
    let mut rounds = 0;
    loop {
        let (input, more) = rig.round();
        assert!(input.records.len() <= 1000);
        assert!(input.records.iter().map(|record| record.line.len()).sum::<usize>() <= 512 << 10);
        rounds += 1;
        rig.commit(input);
        if !more {
            break;
        }
        rig.restart();
    }
    assert!(rounds >= 6);
    let numbered: Vec<String> = rig.lines().into_iter().filter(|line| line.starts_with("line")).collect();
    assert_eq!(numbered.join("\n") + "\n", text);
    assert_eq!(rig.records.len(), 5001);
}

#[test]
fn one_long_backlog_does_not_hold_up_the_others() {
    let mut rig = Rig::new();
    rig.append("a.log", "backlog\n".repeat(50_000));
    rig.append("b.log", "fresh\n");
    let (first, _) = rig.round();
    let (second, _) = rig.round();
    let fresh = |input: &LogInput| input.records.iter().any(|record| record.line == b"fresh");
    assert!(fresh(&first) || fresh(&second));
}

#[test]
fn start_at_the_end_skips_what_was_there_and_nothing_else() {
    let mut rig = Rig::with(|config| config.files[0].start = Start::End);
    rig.append("old.log", "skipped\nbegun ");
    rig.poll_after(0);
    rig.append("old.log", "line\n");
    rig.append("new.log", "from its begin\n");
    rig.poll_after(5_000);
    rig.restart();
    rig.append("later.log", "while down\n");
    rig.poll_after(5_000);
    assert_eq!(rig.lines(), ["begun line", "from its begin", "while down"]);
}

#[test]
fn an_unreadable_file_is_reported_once_and_the_others_go_on() {
    let mut rig = Rig::new();
    // A link to itself cannot be opened by anyone, root included.
    fs::create_dir(rig.path("d")).unwrap();
    rig.append("a.log", "one\n");
    rig.append("b.log", "two\n");
    rig.poll_after(0);
    fs::remove_file(rig.path("a.log")).unwrap();
    symlink(rig.path("a.log"), rig.path("a.log")).unwrap();
    rig.append("b.log", "three\n");
    for _ in 0..5 {
        rig.poll_after(250);
    }
    assert_eq!(rig.lines(), ["one", "two", "three"]);
    let problems = rig.stats.problems();
    assert!(
        problems.iter().any(|problem| problem.contains("a.log") && problem.contains("tried again")),
        "{problems:?}"
    );
    assert!(rig.stats.files_unreadable.value() == 1 && rig.stats.read_errors.value() >= 5);
    fs::remove_file(rig.path("a.log")).unwrap();
    rig.append("a.log", "four\n");
    rig.settle();
    assert_eq!(rig.lines().last().unwrap(), "four");
    assert_eq!(rig.stats.problems(), [""; 0]);
    assert_eq!(rig.stats.files_unreadable.value(), 0);
}

#[test]
fn files_past_the_limit_wait_and_are_read_when_there_is_room() {
    let mut rig = Rig::with(|config| config.files_max = 2);
    for name in ["a.log", "b.log", "c.log"] {
        rig.append(name, format!("{name}\n"));
    }
    rig.settle();
    assert_eq!(rig.lines(), ["a.log", "b.log"]);
    assert_eq!((rig.stats.files_open.value(), rig.stats.files_waiting.value()), (2, 1));
    assert!(rig.stats.problems()[0].contains("files_max"));
    fs::remove_file(rig.path("a.log")).unwrap();
    rig.settle();
    assert_eq!(rig.lines(), ["a.log", "b.log", "c.log"]);
    assert_eq!(rig.stats.problems(), [""; 0]);
}

#[test]
fn a_file_that_vanishes_is_read_to_its_end_and_forgotten() {
    let mut rig = Rig::new();
    rig.append("a.log", "one\n");
    rig.poll_after(0);
    assert_eq!(rig.positions.len(), 2);
    rig.append("a.log", "two\nno end");
    fs::remove_file(rig.path("a.log")).unwrap();
    rig.settle();
    assert_eq!(rig.lines(), ["one", "two", "no end"]);
    assert_eq!(rig.positions.keys().collect::<Vec<_>>(), ["input/app"]);
    assert_eq!(rig.stats.files_open.value(), 0);
    assert!(rig.losses.is_empty());
}

#[test]
fn a_file_that_vanished_while_down_is_a_loss() {
    let mut rig = Rig::new();
    rig.append("a.log", "one\n");
    rig.poll_after(0);
    fs::remove_file(rig.path("a.log")).unwrap();
    rig.restart();
    rig.settle();
    assert_eq!(rig.losses(), [(LossReason::SourceGone, None)]);
    assert_eq!(rig.losses[0].range.from, UnixMillis(WALL_MS));
    assert_eq!(rig.losses[0].source, rig.path("a.log").display().to_string());
    assert_eq!(rig.positions.keys().collect::<Vec<_>>(), ["input/app"]);
}

#[test]
fn a_missing_folder_keeps_the_position() {
    let mut rig = Rig::with(|_| {});
    let sub = rig.path("mnt");
    fs::create_dir(&sub).unwrap();
    rig.config.files[0].paths = vec![format!("{}/*.log", sub.display())];
    rig.restart();
    rig.append("mnt/a.log", "one\n");
    rig.poll_after(0);
    rig.rename("mnt", "unmounted");
    rig.restart();
    rig.settle();
    assert!(rig.stats.problems()[0].contains("mount"));
    rig.rename("unmounted", "mnt");
    rig.append("mnt/a.log", "two\n");
    rig.settle();
    assert_eq!(rig.lines(), ["one", "two"]);
    assert!(rig.losses.is_empty());
}

#[test]
fn a_damaged_position_reads_again_and_says_so() {
    let mut rig = Rig::new();
    rig.append("a.log", "one\n");
    rig.poll_after(0);
    let key = rig.positions.keys().find(|key| key.starts_with("file/")).unwrap().clone();
    rig.positions.get_mut(&key).unwrap()[20] ^= 1;
    rig.restart();
    rig.poll_after(250);
    assert_eq!(rig.lines(), ["one", "one"]);
    assert_eq!(rig.losses(), [(LossReason::Corrupt, None)]);
}

#[test]
fn a_config_that_no_longer_names_a_file_keeps_its_position() {
    let mut rig = Rig::new();
    rig.append("a.log", "one\n");
    rig.poll_after(0);
    let files = std::mem::take(&mut rig.config.files);
    rig.restart();
    rig.settle();
    rig.config.files = files;
    rig.restart();
    rig.append("a.log", "two\n");
    rig.settle();
    assert_eq!(rig.lines(), ["one", "two"]);
}

#[test]
fn one_file_under_two_names_is_read_once() {
    let mut rig = Rig::new();
    rig.append("a.log", "one\n");
    symlink(rig.path("a.log"), rig.path("link.log")).unwrap();
    rig.settle();
    rig.append("a.log", "two\n");
    rig.settle();
    assert_eq!(rig.lines(), ["one", "two"]);
}

#[test]
fn files_whose_handles_a_server_forgot_go_on_where_they_were() {
    let mut rig = Rig::with(|config| {
        config.files[0].multiline = Some(serde_json::from_str(r#"{"start": "^\\d"}"#).unwrap());
    });
    rig.append("a.log", "1\n2\n  more\n");
    rig.poll_after(250);
    rig.tailer.forget_handles();
    rig.append("a.log", "  again\n3\n");
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", "4\n");
    rig.settle();
    assert_eq!(rig.lines(), ["1", "2\n  more\n  again", "3", "4"]);
    assert!(rig.losses.is_empty());
    assert_eq!(rig.stats.files_open.value(), 1);
}

#[test]
fn pods_logs_are_read_as_the_kubelet_lays_them_out() {
    let mut rig = Rig::with(|config| {
        let folder = config.files[0].paths[0].replace("*.log", "pods/*/*/*.log");
        config.files[0].paths = vec![folder];
    });
    fs::create_dir_all(rig.path("pods/shop_web-1_9f1a/app")).unwrap();
    let at = "2026-11-20T22:18:00.123456789Z";
    rig.append(
        "pods/shop_web-1_9f1a/app/0.log",
        format!("{at} stdout F whole\n{at} stderr P cut {at}\n{at} stdout P other\n{at} stderr F , joined\nno entry\n"),
    );
    rig.settle();
    let found: Vec<_> =
        rig.records.iter().map(|record| (record.output, String::from_utf8_lossy(&record.line).into_owned())).collect();
    assert_eq!(
        found,
        [
            (OutputStream::Stdout, "whole".into()),
            (OutputStream::Stderr, format!("cut {at}, joined")),
            (OutputStream::None, "no entry".into())
        ],
        "what stdout has not ended waits"
    );
    let labels = &rig.records[0].labels;
    assert_eq!(["namespace", "pod", "container"].map(|name| labels.value(name)), ["shop", "web-1", "app"]);
    assert_eq!(rig.records[0].at, UnixMillis(1_795_213_080_123));
}
