//! Records of several lines: what waits, what a restart reads again, and what the bounds do.

use super::*;

fn rig(settings: &str) -> Rig {
    Rig::with(|config| config.files[0].multiline = Some(serde_json::from_str(settings).unwrap()))
}

const JAVA: &str = r#"{"builtin": ["java", "python"]}"#;
const TRACE: &str = "a.b.SomeException: x\n\tat a.b.C.d(C.java:1)\n\tat a.b.C.e(C.java:2)";

#[test]
fn a_trace_is_one_record_and_other_lines_do_not_wait() {
    let mut rig = rig(JAVA);
    rig.append("a.log", format!("before\n{TRACE}\nafter\n"));
    rig.poll_after(0);
    assert_eq!(rig.lines(), ["before", TRACE, "after"]);
    rig.append("a.log", format!("{TRACE}\n"));
    rig.poll_after(250);
    assert_eq!(rig.records.len(), 3, "the trace may go on");
    rig.poll_after(750);
    assert_eq!(rig.records.len(), 3);
    rig.poll_after(250);
    assert_eq!(rig.lines()[3], TRACE);
    rig.restart();
    rig.settle();
    assert_eq!(rig.records.len(), 4);
}

#[test]
fn what_waits_is_read_again_after_a_kill_and_comes_once() {
    let mut rig = rig(r#"{"start": "^\\d", "timeout": "5s"}"#);
    let lines = ["1 a", "  b", "  c", "2 d", "  e", "3 f"];
    for line in lines {
        rig.append("a.log", format!("{line}\n"));
        rig.poll_after(250);
        rig.restart();
        rig.poll_after(250);
    }
    assert_eq!(rig.lines(), ["1 a\n  b\n  c", "2 d\n  e"]);
    rig.poll_after(5_000);
    assert_eq!(rig.lines()[2..], ["3 f"]);
    assert!(rig.losses.is_empty());
}

#[test]
fn a_record_goes_on_in_the_next_generation() {
    let mut rig = rig(r#"{"start": "^\\d"}"#);
    rig.append("a.log", "1 a\n  b\n");
    rig.poll_after(250);
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", "  c\n2 d\n");
    rig.restart();
    rig.poll_after(250);
    rig.poll_after(5_000);
    rig.settle();
    assert_eq!(rig.lines(), ["1 a\n  b\n  c", "2 d"]);
}

#[test]
fn lines_that_waited_come_one_by_one_when_the_config_joins_no_more() {
    let mut rig = rig(r#"{"start": "^\\d"}"#);
    rig.append("a.log", "1 a\n  b\n");
    rig.poll_after(250);
    assert_eq!(rig.records.len(), 0);
    rig.config.files[0].multiline = None;
    rig.restart();
    rig.append("a.log", "  c\n");
    rig.settle();
    rig.restart();
    rig.settle();
    assert_eq!(rig.lines(), ["1 a", "  b", "  c"]);
}

#[test]
fn too_long_a_record_is_split_and_counted() {
    let mut rig = rig(r#"{"start": "^!", "max_lines": 10}"#);
    let text: String = (0..25).map(|n| format!("{n}\n")).collect();
    rig.append("a.log", format!("!\n{text}!\n"));
    rig.settle();
    let sizes: Vec<usize> = rig.lines().iter().map(|record| record.split('\n').count()).collect();
    assert_eq!(sizes, [10, 10, 6, 1]);
    assert_eq!(rig.stats.multiline_splits.value(), 2);
    assert!(rig.losses.is_empty(), "nothing was cut");
}

#[test]
fn a_cut_line_ends_a_record_and_is_counted() {
    let mut rig = rig(r#"{"start": "^!"}"#);
    let long = "x".repeat(300_000);
    rig.append("a.log", format!("!1\n  2\n{long}\n  3\n!4\n"));
    rig.settle();
    assert_eq!(rig.lines(), ["!1\n  2", &long[..256 << 10], "  3", "!4"]);
    assert_eq!(rig.losses(), [(LossReason::Oversize, Some(1))]);
}

#[test]
fn what_all_files_have_waiting_is_bounded() {
    // Each record takes 80 KB; a hundred of them are more than what may wait.
    let mut rig = rig(r#"{"start": "^!", "timeout": "1m"}"#);
    for file in 0..100 {
        rig.append(
            &format!("{file}.log"),
            format!("!{file}\n{}", format!("  more{}\n", " ".repeat(194)).repeat(400)).repeat(3),
        );
    }
    rig.settle();
    assert!(rig.records.len() > 200, "{} records", rig.records.len());
    rig.poll_after(61_000);
    let lines: usize = rig.lines().iter().map(|record| record.split('\n').count()).sum();
    assert_eq!(lines, 100 * 3 * 401);
}
