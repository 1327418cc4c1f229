use super::*;
use crate::program::lives;
use std::os::unix::fs::PermissionsExt;

struct Script {
    folder: tempfile::TempDir,
}

impl Script {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("script");
        std::fs::write(&path, format!("#!/bin/sh\ncd {}\n{text}\n", folder.path().display())).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    async fn run(&self, more: &str, limit: Duration) -> Outcome {
        let path = self.folder.path().join("script");
        told("exec_configs", &format!("{{program: {}{more}}}", path.display()), limit).await
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }
}

#[tokio::test]
async fn a_program_gets_the_group_and_no_shell_looks_at_its_arguments() {
    let script = Script::new("cat > in; printf '%s|' \"$@\" > args; env > env; pwd > dir");
    let more =
        ", args: ['{{ .Status }}', '; touch x $(touch y) `touch z` | *'], env: {LEVEL: '{{ .CommonLabels.severity }}'}";
    assert_eq!(script.run(more, AMPLE).await, Outcome::Sent);
    assert_eq!(script.file("args"), "firing|; touch x $(touch y) `touch z` | *|");
    assert_eq!(script.file("in").as_bytes(), data(true).webhook_json(0));
    let env = script.file("env");
    for line in ["LEVEL=critical", "ALERT_STATUS=firing", "ALERT_NAME=Hot", "ALERT_FIRING=1", "ALERT_RESOLVED=0"] {
        assert!(env.lines().any(|known| known == line), "{line} in {env}");
    }
    assert!(!env.contains("CARGO"), "nothing is inherited: {env}");
    for touched in ["x", "y", "z"] {
        assert!(!script.folder.path().join(touched).exists());
    }
}

#[tokio::test]
async fn what_ends_badly_says_why() {
    let outcome = Script::new("echo no modem; echo at all >&2; exit 3").run("", AMPLE).await;
    assert!(is_retry(&outcome, "ended with status 3: no modem at all"), "{outcome:?}");
    let outcome = Script::new("kill -9 $$").run("", AMPLE).await;
    assert!(is_retry(&outcome, "signal 9"), "{outcome:?}");
    assert!(is_failed(&told("exec_configs", "{program: /nowhere/buzz}", AMPLE).await, "/nowhere/buzz"));
    let script = Script::new("exit 0");
    std::fs::set_permissions(script.folder.path().join("script"), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(is_failed(&script.run("", AMPLE).await, "ermission denied"));
    assert_eq!(Script::new("exec <&-; exit 0").run("", AMPLE).await, Outcome::Sent, "input that nobody reads");
}

#[tokio::test]
async fn time_is_bounded_even_for_what_forks_and_leaves_its_group() {
    // A child in the group, one that left it, one that left it and lost its parent; all ignore what can be ignored.
    let script = Script::new(
        "trap '' TERM INT HUP
        (trap '' TERM INT HUP; exec sleep 600) & echo $! > one
        setsid sh -c 'echo $$ > two; exec sleep 600' &
        (setsid sh -c 'echo $$ > three; exec sleep 600' &)
        while [ ! -s two ] || [ ! -s three ]; do sleep 0.01; done
        touch ready
        while :; do sleep 600; done",
    );
    let begin = Instant::now();
    let outcome = script.run(", timeout: 5s", AMPLE).await;
    assert!(is_retry(&outcome, "time was up"), "{outcome:?}");
    assert!(begin.elapsed() < Duration::from_secs(13), "{:?}", begin.elapsed());
    assert!(script.folder.path().join("ready").exists(), "it came as far as forking");
    for name in ["one", "two", "three"] {
        assert!(!lives(&script.file(name)), "{name} lives");
    }
}

#[tokio::test]
async fn what_a_program_leaves_behind_ends_with_it() {
    let script = Script::new(
        "sleep 600 & echo $! > one
        setsid sh -c 'echo $$ > two; exec sleep 600' &
        while [ ! -s two ]; do sleep 0.01; done",
    );
    assert_eq!(script.run("", AMPLE).await, Outcome::Sent);
    for name in ["one", "two"] {
        assert!(!lives(&script.file(name)), "{name} lives");
    }
}

#[tokio::test]
async fn what_it_says_is_bounded() {
    let script = Script::new("exec yes aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    let begin = Instant::now();
    let outcome = script.run("", AMPLE).await;
    // `yes` is ended by the pipe that nobody listens to.
    assert!(is_retry(&outcome, "aaaa") && begin.elapsed() < Duration::from_secs(8), "{outcome:?}");
    assert!(outcome.error().unwrap().len() < 2000);
}

#[tokio::test]
async fn a_try_that_is_called_off_leaves_nothing_running() {
    let script = Script::new("echo $$ > one; exec sleep 600");
    let path = script.folder.path().join("one");
    {
        let run = script.run("", AMPLE);
        tokio::pin!(run);
        let ready = async {
            while std::fs::read_to_string(&path).unwrap_or_default().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            outcome = &mut run => panic!("{outcome:?}"),
            () = ready => {}
        }
    }
    let pid = script.file("one");
    let gone = async {
        while lives(&pid) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(AMPLE, gone).await.expect("it was killed");
}

#[tokio::test]
async fn lamps_are_switched_and_pipes_without_readers_do_not_hang() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("brightness");
    let entry = format!("{{path: {}, firing: '255', resolved: '0'}}", path.display());
    let (shell, templates) = (shell(), Templates::new(&[], |_| None).unwrap());
    let lamp = integration("file_configs", &entry);
    let group = |key: &str, is_firing| Data { group_key: key.into(), ..data(is_firing) };
    for (group, expected) in
        [(group("a", true), "255"), (group("b", true), "255"), (group("a", false), "255"), (group("b", false), "0")]
    {
        assert_eq!(shell.tell(&lamp, &group, &templates, NOW, AMPLE).await, Outcome::Sent);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    }
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let outcome = told("file_configs", &format!("{{path: {}}}", pipe.display()), AMPLE).await;
    assert!(is_retry(&outcome, "pipe"), "{outcome:?}");
    assert!(is_retry(&told("file_configs", "{path: /sys/class/leds/none/brightness}", AMPLE).await, "/sys/class/leds"));
}
