//! Logs of Docker's json-file driver.

use super::*;
use skerry_model::{Level, OutputStream};

const TIME: &str = "2026-11-20T22:18:00.5Z";

fn entry(stream: &str, log: &str) -> String {
    format!("{{\"log\":{},\"stream\":\"{stream}\",\"time\":\"{TIME}\"}}\n", serde_json::to_string(log).unwrap())
}

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn rig() -> (Rig, ContainerInfo) {
    let rig = Rig::with(|config| {
        config.files.clear();
        config.containers.enabled = true;
        config.containers.exclude = vec!["noisy-*".to_owned()];
    });
    fs::create_dir(rig.path(ID)).unwrap();
    let container = ContainerInfo {
        id: ID.to_owned(),
        name: "web".to_owned(),
        image: "nginx:1".to_owned(),
        labels: [("com.docker.compose.project", "shop"), ("com.docker.compose.service", "front")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        state: "running".to_owned(),
        health: None,
        exit_code: None,
        oom_killed: false,
        started_at: None,
        restarts: 0,
        pid: None,
        json_log_path: Some(rig.path(ID).join("c.log").display().to_string()),
        network: Default::default(),
    };
    (rig, container)
}

fn log() -> String {
    format!("{ID}/c.log")
}

#[test]
fn entries_become_records_with_the_containers_labels() {
    let (mut rig, container) = rig();
    rig.append(&log(), entry("stdout", "hello \"you\"\n") + &entry("stderr", "ERROR: oh\r\n") + "not json\n");
    rig.list(&[container.clone(), ContainerInfo { name: "noisy-1".to_owned(), id: "x".to_owned(), ..container }]);
    rig.poll_after(0);
    assert_eq!(rig.lines(), ["hello \"you\"", "ERROR: oh\r", "not json"]);
    let at = UnixMillis(WALL_MS + 500);
    let told: Vec<_> = rig.records.iter().map(|record| (record.output, record.level, record.at)).collect();
    assert_eq!(told[0], (OutputStream::Stdout, Level::Unknown, at));
    assert_eq!(told[1], (OutputStream::Stderr, Level::Error, at));
    assert_eq!(told[2], (OutputStream::None, Level::Unknown, UnixMillis(WALL_MS)));
    let labels = &rig.records[0].labels;
    for (name, value) in [
        ("source", "containers"),
        ("container", "web"),
        ("container_id", &ID[..12]),
        ("image", "nginx:1"),
        ("compose_project", "shop"),
        ("compose_service", "front"),
    ] {
        assert_eq!(labels.value(name), value);
    }
    assert_eq!(rig.stats.parse_failures.value(), 1);
    assert!(rig.losses.is_empty());
}

#[test]
fn podmans_lines_are_entries_too() {
    let (mut rig, container) = rig();
    // As Podman 4.3.1 writes with its k8s-file driver, times and texts shortened.
    let lines = [
        ("stdout", "P", "xx"),
        ("stdout", "P", "yy"),
        ("stderr", "F", "err"),
        ("stdout", "F", "z"),
        ("stdout", "P", "last"),
    ];
    rig.append(
        &log(),
        lines.map(|(output, tag, text)| format!("2026-11-20T22:18:00.5+00:00 {output} {tag} {text}\n")).concat(),
    );
    rig.list(std::slice::from_ref(&container));
    rig.poll_after(0);
    assert_eq!(rig.lines(), ["err", "xxyyz"]);
    let told: Vec<_> = rig.records.iter().map(|record| (record.output, record.at)).collect();
    let at = UnixMillis(WALL_MS + 500);
    assert_eq!(told, [(OutputStream::Stderr, at), (OutputStream::Stdout, at)]);
    rig.list(&[ContainerInfo { state: "exited".to_owned(), ..container }]);
    rig.settle();
    assert_eq!(rig.lines(), ["err", "xxyyz", "last"]);
    assert_eq!(rig.stats.parse_failures.value(), 0);
    assert!(rig.losses.is_empty());
}

#[test]
fn cut_entries_are_joined_per_output_whatever_comes_between() {
    let (mut rig, container) = rig();
    rig.list(&[container]);
    rig.append(&log(), entry("stdout", "a1 ") + &entry("stderr", "b1\n") + &entry("stdout", "a2 "));
    rig.poll_after(0);
    rig.append(&log(), entry("stderr", "b2 ") + &entry("stdout", "a3\n") + &entry("stdout", "c\n"));
    rig.poll_after(250);
    rig.append(&log(), entry("stderr", "b3\n"));
    rig.poll_after(250);
    assert_eq!(rig.lines(), ["b1", "a1 a2 a3", "c", "b2 b3"]);
}

#[test]
fn cut_entries_are_joined_over_restarts_and_rotation() {
    let (mut rig, container) = rig();
    let pieces = ["a1 ", "a2 ", "a3 ", "a4 ", "a5\n", "next\n"];
    for (n, piece) in pieces.iter().enumerate() {
        rig.append(&log(), entry("stdout", piece) + &entry("stderr", &format!("e{n}\n")));
        if n % 2 == 1 {
            rig.rename(&log(), &format!("{ID}/c.log.{}", 5 - n));
            rig.append(&log(), "");
        }
        rig.restart();
        rig.list(std::slice::from_ref(&container));
        rig.poll_after(250);
    }
    assert_eq!(rig.lines(), ["e0", "e1", "e2", "e3", "a1 a2 a3 a4 a5", "e4", "next", "e5"]);
    assert!(rig.losses.is_empty());
}

#[test]
fn a_joined_record_keeps_to_the_longest_length() {
    let (mut rig, container) = rig();
    rig.config.line_bytes_max = skerry_model::Bytes(20_000);
    rig.restart();
    rig.list(&[container]);
    rig.append(&log(), entry("stdout", &"x".repeat(16_384)).repeat(3) + &entry("stdout", "end\n"));
    rig.append(&log(), entry("stdout", "next\n"));
    rig.poll_after(0);
    assert_eq!(rig.lines(), ["x".repeat(20_000).as_str(), "next"]);
    assert_eq!(rig.losses(), [(LossReason::Oversize, Some(1))]);
}

#[test]
fn the_last_words_of_a_stopped_container_are_passed_on() {
    let (mut rig, container) = rig();
    rig.list(std::slice::from_ref(&container));
    rig.append(&log(), entry("stdout", "no newline at the end"));
    rig.settle();
    assert_eq!(rig.records.len(), 0);
    rig.list(&[ContainerInfo { state: "exited".to_owned(), ..container }]);
    rig.settle();
    assert_eq!(rig.lines(), ["no newline at the end"]);
    rig.restart();
    rig.settle();
    assert_eq!(rig.records.len(), 1);
}

#[test]
fn a_container_removed_while_down_is_a_loss_and_forgotten() {
    let (mut rig, container) = rig();
    rig.list(std::slice::from_ref(&container));
    rig.append(&log(), entry("stdout", "1\n"));
    rig.poll_after(0);
    fs::remove_dir_all(rig.path(ID)).unwrap();
    rig.restart();
    rig.settle();
    assert!(rig.losses.is_empty(), "without a list nothing is known about containers");
    rig.list(&[ContainerInfo { id: "other".to_owned(), json_log_path: None, ..container }]);
    rig.settle();
    assert_eq!(rig.losses(), [(LossReason::SourceGone, None)]);
    assert_eq!(rig.positions.keys().collect::<Vec<_>>(), ["input/containers"]);
}

#[test]
fn a_container_removed_while_running_is_read_to_its_end() {
    let (mut rig, container) = rig();
    rig.list(std::slice::from_ref(&container));
    rig.append(&log(), entry("stdout", "1\n"));
    rig.poll_after(0);
    rig.append(&log(), entry("stdout", "2\n"));
    fs::remove_dir_all(rig.path(ID)).unwrap();
    rig.list(&[]);
    rig.settle();
    assert_eq!(rig.lines(), ["1", "2"]);
    assert!(rig.losses.is_empty());
    assert_eq!(rig.positions.keys().collect::<Vec<_>>(), ["input/containers"]);
}

#[test]
fn a_log_that_cannot_be_seen_is_reported() {
    let (mut rig, container) = rig();
    rig.list(&[container]);
    rig.settle();
    assert!(rig.stats.problems()[0].contains("mount"), "{:?}", rig.stats.problems());
    rig.append(&log(), entry("stdout", "1\n"));
    rig.settle();
    assert_eq!(rig.lines(), ["1"]);
    assert_eq!(rig.stats.problems(), [""; 0]);
}

#[test]
fn traces_of_containers_are_joined_per_output_over_restarts() {
    let (mut rig, container) = rig();
    let settings = serde_json::from_str(r#"{"builtin": ["java"], "timeout": "1m"}"#).unwrap();
    rig.config.containers.multiline = Some(settings);
    rig.restart();
    let entries = [
        ("stdout", "a.b.SomeException: x\n"),
        ("stderr", "c.d.OtherError: y\n"),
        ("stdout", "\tat a.b.C.d("),
        ("stderr", "\tat c.d.E.f(E.java:1)\n"),
        ("stdout", "C.java:1)\n"),
        ("stderr", "done\n"),
        ("stdout", "\tat a.b.C.e(C.java:2)\n"),
        ("stdout", "INFO on\n"),
    ];
    for (output, text) in entries {
        rig.append(&log(), entry(output, text));
        rig.list(std::slice::from_ref(&container));
        rig.poll_after(250);
        rig.restart();
    }
    assert_eq!(
        rig.lines(),
        [
            "c.d.OtherError: y\n\tat c.d.E.f(E.java:1)",
            "done",
            "a.b.SomeException: x\n\tat a.b.C.d(C.java:1)\n\tat a.b.C.e(C.java:2)",
            "INFO on"
        ]
    );
}
