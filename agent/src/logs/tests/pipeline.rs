//! Files and the stages that their records pass through.

use super::*;
use skerry_logs::pipeline::Stages;

fn stages(json: &str) -> Stages {
    serde_json::from_str(json).unwrap()
}

#[test]
fn losses_leave_with_the_position_behind_their_records() {
    let mut rig = Rig::with(|config| {
        config.files[0].pipeline = stages(r#"[{"drop": {"line": "secret"}}]"#);
        config.pipeline = stages(r#"[{"drop": {"line": "noise"}}]"#);
    });
    rig.append("a.log", "kept\nsecret\nnoise\nnoise\n");
    let (input, _) = {
        rig.now_ms += 250;
        rig.round()
    };
    assert_eq!(input.records.len(), 1);
    assert_eq!(input.losses.len(), 1, "{:?}", input.losses);
    assert_eq!((input.losses[0].reason, input.losses[0].count), (LossReason::Filtered, Some(3)));
    assert!(input.losses[0].source.ends_with("/a.log"));
    assert!(input.positions.iter().any(|update| update.key.starts_with("file/app/")));
    // A round that drops all still moves the position on, with its losses.
    rig.commit(input);
    rig.append("a.log", "noise\n");
    rig.poll_after(250);
    rig.restart();
    rig.settle();
    assert_eq!(rig.lines(), ["kept"]);
    assert_eq!(rig.losses.iter().filter_map(|loss| loss.count).sum::<u64>(), 4);
    assert_eq!(rig.stats.lines.value(), 0, "nothing is read twice");
}

#[test]
fn joined_records_pass_as_one() {
    let mut rig = Rig::with(|config| {
        config.files[0].multiline = Some(serde_json::from_str(r#"{"builtin": ["java"]}"#).unwrap());
        config.files[0].pipeline = stages(r#"[{"keep": {"line": "C\\.java"}}]"#);
    });
    rig.append("a.log", "a.b.SomeException: x\n\tat a.b.C.d(C.java:1)\nother\n");
    rig.settle();
    assert_eq!(rig.lines(), ["a.b.SomeException: x\n\tat a.b.C.d(C.java:1)"]);
}

#[test]
fn windows_are_told_when_they_end_and_when_the_inputs_do() {
    let mut rig = Rig::with(|config| config.files[0].pipeline = stages(r#"[{"dedup": {"window": "10s"}}]"#));
    rig.append("a.log", "same\n".repeat(5));
    rig.poll_after(250);
    assert_eq!(rig.lines(), ["same"]);
    rig.poll_after(11_000);
    assert_eq!(rig.records.len(), 2, "{:?}", rig.lines());
    rig.append("a.log", "same\n".repeat(3));
    rig.poll_after(250);
    let told = rig.records.len();
    let last = rig.tailer.end(Mono(rig.now_ms), UnixMillis(WALL_MS));
    assert_eq!(told + last.records.len(), 4, "{:?}", last.records);
}

#[test]
fn metrics_of_stages_reach_the_agents_own() {
    let stage = r#"[{"to_metric": {"name": "lines_seen_total", "type": "counter"}}]"#;
    let mut rig = Rig::with(|config| config.pipeline = stages(stage));
    rig.append("a.log", "1\n2\n");
    rig.append("b.log", "3\n");
    rig.settle();
    let observed = rig.stats.observations();
    assert_eq!(observed.iter().map(|one| one.value).sum::<f64>(), 3.0, "{observed:?}");
}
